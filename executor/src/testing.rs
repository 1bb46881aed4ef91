//! Manifests, fakes and a loopback vendor for the tests of this crate.

mod vendor;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use plugboard_core::blobs::{BlobError, BlobId, Blobs};
use plugboard_core::catalog::{Catalog, CatalogError, CatalogHandle, ManifestDocument};
use plugboard_core::clock::{Clock, Millis, SystemClock};
use plugboard_core::egress::{Allowance, Egress, EgressPolicy};
use plugboard_core::identity::{Change, Grant, IdentityError, Vault};
use plugboard_core::ids::{AccountId, ExecutionId, InstanceId, KeyId, OrganizationId};
use plugboard_core::job::{Job, Outcome, Payload, TraceContext};
use plugboard_core::journal::{Journal, JournalError, JournalStore, Revision};
use plugboard_core::manifest::signature::Stamp;
use plugboard_core::manifest::{Connector, Manifest, document};
use plugboard_core::queue::{DeadLetters, Delivery, Hold, Inbox, JobQueue, NoDeadLetters, QueueError, Replies, Survey};
use plugboard_core::secret::{AccountFields, Secret, SecretKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::Deps;
use crate::congestions::Congestions;
use crate::lines::Lines;
pub(crate) use vendor::{Act, Vendor};

/// 2026-11-22, 12:00:00 UTC.
pub(crate) const STAMP: Stamp = Stamp { at: Millis(1_795_348_800_000), nonce: [0xa5; 16] };

/// A manifest with the given parts and sensible rest.
pub(crate) fn manifest(parts: Value) -> Manifest {
    let mut base = json!({
        "key": "shop", "name": "Shop", "tagline": "t", "description": "d", "category": "ecommerce",
        "docs": "https://docs.example", "version": "1",
        "auth": {"flows": [{"kind": "credentials", "label": "Keys", "fields": {
            "api_key": {"label": "k"}, "client_id": {"label": "c", "secret": false},
            "host": {"label": "h", "host": true, "secret": false}, "note": {"label": "n", "optional": true},
            "region": {"label": "r", "secret": false, "optional": true, "default": "eu"},
        }}]},
        "modules": {"api": {"summary": "s", "base_url": "https://api.shop.example"}},
        "operations": [
            operation("list", "GET", "/orders", "read"),
            operation("replace", "PUT", "/orders/{id}", "idempotent"),
            operation("pay", "POST", "/payments", "keyed"),
            operation("send", "POST", "/messages", "once"),
        ],
        "verified": {"how": "documentation", "on": "2026-11-22"},
    });
    for (name, value) in parts.as_object().unwrap() {
        base[name] = value.clone();
    }
    serde_json::from_value(base).unwrap()
}

pub(crate) fn operation(id: &str, method: &str, path: &str, effect: &str) -> Value {
    let parameters: serde_json::Map<String, Value> = path
        .split('{')
        .skip(1)
        .map(|part| (part[..part.find('}').unwrap()].trim_end_matches('+').to_owned(), json!({"type": "string"})))
        .collect();
    let mut operation = json!({
        "id": id, "module": "api", "method": method, "path": path, "summary": "s", "effect": effect,
        "path_params": parameters, "response_example": {"example": id},
    });
    if method != "GET" {
        operation["body"] = json!({"type": "object"});
    }
    operation
}

pub(crate) fn rpc_operation(id: &str, method: &str, effect: &str) -> Value {
    json!({
        "id": id, "module": "api", "method": method, "summary": "s", "effect": effect,
        "body": {"type": "object"}, "response_example": {"example": id},
    })
}

pub(crate) fn connector(parts: Value) -> Connector {
    Connector::from_manifest(manifest(parts)).unwrap()
}

/// Bearer, an idempotency header.
pub(crate) fn bearer() -> Value {
    json!({
        "transport": {"headers": {"Authorization": "Bearer {account.api_key}"}},
        "idempotency": {"header": "Idempotency-Key", "retention_seconds": 86400},
    })
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> AccountFields {
    let mut fields = AccountFields::default();
    for (name, value) in pairs {
        match *name {
            "token" => fields.token = Some(Secret::new(*value)),
            "host" | "client_id" | "region" => {
                fields.public.insert((*name).to_owned(), (*value).to_owned());
            }
            _ => {
                fields.secret.insert((*name).to_owned(), Secret::new(*value));
            }
        }
    }
    fields
}

/// A job for an operation; ids are the same each time, for snapshots.
pub(crate) fn job(connector: &Connector, operation: &str, path: &str) -> Job {
    let (described, _) = connector.operation(operation).unwrap();
    Job {
        execution_id: ExecutionId::trusted("ex_00000000000000000000000000000001"),
        organization: OrganizationId::trusted("org_00000000000000000000000000000001"),
        subject: None,
        key_id: KeyId::trusted("key_00000000000000000000000000000001"),
        service: connector.key().clone(),
        account: AccountId::trusted("acc_00000000000000000000000000000001"),
        account_label: "Main".to_owned(),
        module: described.module.clone(),
        operation: Some(operation.to_owned()),
        manifest_digest: connector.digest().to_owned(),
        effect: described.effect,
        method: described.method.clone(),
        path: path.to_owned(),
        query: Vec::new(),
        body: None,
        headers: Vec::new(),
        request_hash: [7; 32],
        ticket: [8; 32],
        accepted_at: SystemClock.now(),
        deadline: SystemClock.now().plus(Duration::from_secs(20)),
        reply_to: Some(InstanceId::trusted("in_gateway")),
        trace: TraceContext::default(),
    }
}

pub(crate) fn inline(body: &Value) -> Option<Payload> {
    Some(Payload::Inline(Bytes::from(body.to_string())))
}

/// A catalog of fixed manifests.
pub(crate) struct FixedCatalog(pub(crate) Vec<ManifestDocument>);

#[async_trait]
impl Catalog for FixedCatalog {
    async fn watch(&self) -> Result<BoxStream<'static, Vec<ManifestDocument>>, CatalogError> {
        let now = self.0.clone();
        Ok(futures::stream::iter([now]).chain(futures::stream::pending()).boxed())
    }

    async fn by_digest(&self, digest: &str) -> Result<Option<ManifestDocument>, CatalogError> {
        Ok(self.0.iter().find(|document| document.digest == digest).cloned())
    }
}

pub(crate) fn catalog(manifests: &[Manifest]) -> Arc<CatalogHandle> {
    CatalogHandle::new(Arc::new(FixedCatalog(manifests.iter().map(|m| document(m).unwrap()).collect())))
}

/// The journal's storage in memory; can be told to fail.
#[derive(Default)]
pub(crate) struct MemoryJournal {
    entries: Mutex<HashMap<String, (Bytes, u64)>>,
    pub(crate) failures: AtomicUsize,
}

impl MemoryJournal {
    fn fail(&self) -> Result<(), JournalError> {
        let failing = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() { Err(JournalError::Unavailable("test".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl JournalStore for MemoryJournal {
    async fn create(&self, key: &str, value: Bytes) -> Result<Option<Revision>, JournalError> {
        self.fail()?;
        let mut entries = self.entries.lock();
        if entries.contains_key(key) {
            return Ok(None);
        }
        entries.insert(key.to_owned(), (value, 1));
        Ok(Some(Revision(1)))
    }

    async fn update(&self, key: &str, value: Bytes, at: Revision) -> Result<Option<Revision>, JournalError> {
        self.fail()?;
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(key).filter(|entry| entry.1 == at.0) else { return Ok(None) };
        *entry = (value, at.0 + 1);
        Ok(Some(Revision(at.0 + 1)))
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, Revision)>, JournalError> {
        self.fail()?;
        Ok(self.entries.lock().get(key).map(|(value, at)| (value.clone(), Revision(*at))))
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Acked,
    Nacked(Duration),
    /// Dropped without a word.
    Dropped,
}

struct TestHold {
    fates: Arc<Mutex<Vec<Fate>>>,
    done: bool,
}

impl Hold for TestHold {
    fn ack(mut self: Box<Self>) {
        self.done = true;
        self.fates.lock().push(Fate::Acked);
    }

    fn nack(mut self: Box<Self>, delay: Duration) {
        self.done = true;
        self.fates.lock().push(Fate::Nacked(delay));
    }
}

impl Drop for TestHold {
    fn drop(&mut self) {
        if !self.done {
            self.fates.lock().push(Fate::Dropped);
        }
    }
}

/// Queue, replies, blobs and vault in one.
pub(crate) struct World {
    pub(crate) fates: Arc<Mutex<Vec<Fate>>>,
    pub(crate) replies: Mutex<Vec<Outcome>>,
    pub(crate) reply_failures: AtomicUsize,
    pub(crate) buried: Mutex<Vec<String>>,
    pub(crate) blobs: Mutex<HashMap<String, Bytes>>,
    pub(crate) blobs_down: Mutex<bool>,
    /// Answers of the vault in turn; the last one stays.
    pub(crate) vault: Mutex<Vec<Result<AccountFields, IdentityError>>>,
    pub(crate) refreshes: AtomicUsize,
    /// The account has been revoked by somebody.
    pub(crate) revoked: AtomicBool,
    sender: mpsc::UnboundedSender<(Job, u32)>,
    jobs: tokio::sync::Mutex<mpsc::UnboundedReceiver<(Job, u32)>>,
}

impl World {
    pub(crate) fn new(fields: AccountFields) -> Arc<Self> {
        let (sender, jobs) = mpsc::unbounded_channel();
        Arc::new(Self {
            fates: Arc::default(),
            replies: Mutex::default(),
            reply_failures: AtomicUsize::new(0),
            buried: Mutex::default(),
            blobs: Mutex::default(),
            blobs_down: Mutex::new(false),
            vault: Mutex::new(vec![Ok(fields)]),
            refreshes: AtomicUsize::new(0),
            revoked: AtomicBool::new(false),
            sender,
            jobs: tokio::sync::Mutex::new(jobs),
        })
    }

    pub(crate) fn enqueue(&self, job: Job, starts: u32) {
        self.sender.send((job, starts)).unwrap();
    }

    pub(crate) fn delivery(&self, job: Job, starts: u32) -> Delivery {
        Delivery::new(job, starts, Box::new(TestHold { fates: Arc::clone(&self.fates), done: false }))
    }
}

#[async_trait]
impl JobQueue for World {
    async fn publish(&self, job: Arc<Job>) -> Result<(), QueueError> {
        self.enqueue((*job).clone(), 1);
        Ok(())
    }

    async fn receive(&self) -> Result<Delivery, QueueError> {
        match self.jobs.lock().await.recv().await {
            Some((job, starts)) => Ok(self.delivery(job, starts)),
            None => Err(QueueError::Closed),
        }
    }

    async fn bury(&self, job: &Job, reason: &str, _: u32) -> Result<(), QueueError> {
        self.buried.lock().push(format!("{}: {reason}", job.execution_id));
        Ok(())
    }

    async fn survey(&self) -> Result<Survey, QueueError> {
        Ok(Survey::default())
    }

    fn wait_ahead(&self, _: &Job) -> Duration {
        Duration::ZERO
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        &NoDeadLetters
    }
}

#[async_trait]
impl Replies for World {
    async fn send(&self, _: &InstanceId, outcome: Outcome) -> Result<(), QueueError> {
        let failing = self.reply_failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() {
            return Err(QueueError::Unavailable("test".into()));
        }
        self.replies.lock().push(outcome);
        Ok(())
    }

    async fn subscribe(&self, _: &InstanceId, _: Inbox) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }
}

#[async_trait]
impl Blobs for World {
    async fn put(&self, _: &OrganizationId, data: Bytes) -> Result<BlobId, BlobError> {
        if *self.blobs_down.lock() {
            return Err(BlobError::Unavailable("test".into()));
        }
        let id = BlobId::generate();
        self.blobs.lock().insert(id.as_str().to_owned(), data);
        Ok(id)
    }

    async fn get(&self, _: &OrganizationId, id: &BlobId) -> Result<Option<Bytes>, BlobError> {
        Ok(self.blobs.lock().get(id.as_str()).cloned())
    }
}

#[async_trait]
impl Vault for World {
    async fn resolve(&self, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
        if grant.refresh {
            self.refreshes.fetch_add(1, Ordering::SeqCst);
        }
        if self.revoked.load(Ordering::SeqCst) {
            return Err(IdentityError::Revoked);
        }
        let mut answers = self.vault.lock();
        let answer =
            if answers.len() > 1 { answers.remove(0) } else { std::mem::replace(&mut answers[0], Err(gone())) };
        if answers.is_empty() || matches!(answers[0], Err(IdentityError::NotFound { what: "nothing" })) {
            *answers = vec![again(&answer)];
        }
        answer.map(Arc::new)
    }

    fn holds(&self, _: &Grant, _: &Arc<AccountFields>) -> bool {
        !self.revoked.load(Ordering::SeqCst)
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
        Ok(futures::stream::pending().boxed())
    }
}

fn gone() -> IdentityError {
    IdentityError::NotFound { what: "nothing" }
}

fn again(answer: &Result<AccountFields, IdentityError>) -> Result<AccountFields, IdentityError> {
    match answer {
        Ok(fields) => Ok(fields.clone()),
        Err(IdentityError::NeedsReauth) => Err(IdentityError::NeedsReauth),
        Err(IdentityError::TicketRefused) => Err(IdentityError::TicketRefused),
        Err(IdentityError::VendorRefused { message }) => Err(IdentityError::VendorRefused { message: message.clone() }),
        Err(_) => Err(IdentityError::Unavailable("test".into())),
    }
}

/// Every call goes to `addr` instead.
pub(crate) fn diverted(addr: SocketAddr) -> Egress {
    let base = format!("http://{addr}").parse().unwrap();
    Egress::new(EgressPolicy::default().with_upstream(base).with_allowance(Allowance::exactly(addr))).unwrap()
}

/// A bench for attempts.
pub(crate) struct Bench {
    pub(crate) world: Arc<World>,
    pub(crate) store: Arc<MemoryJournal>,
    pub(crate) connector: Connector,
    pub(crate) deps: Deps,
}

impl Bench {
    pub(crate) fn new(parts: Value, account: AccountFields, vendor: SocketAddr) -> Self {
        let manifest = manifest(parts);
        let world = World::new(account);
        let store = Arc::new(MemoryJournal::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let deps = Deps {
            queue: world.clone(),
            replies: world.clone(),
            journal: Journal::new(store.clone(), clock.clone(), InstanceId::generate()),
            blobs: world.clone(),
            vault: world.clone(),
            catalog: catalog(std::slice::from_ref(&manifest)),
            upstream: Arc::new(diverted(vendor)),
            clock,
            idempotency_root: SecretKey::new([1; 32]),
            calls: None,
            limits: None,
            lines: Lines::default(),
            congestions: Congestions::default(),
            meters: crate::meters::Meters::default(),
        };
        Self { connector: Connector::from_manifest(manifest).unwrap(), world, store, deps }
    }

    /// The same world as another process sees it.
    pub(crate) fn other_executor(&self) -> Deps {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Deps { journal: Journal::new(self.store.clone(), clock, InstanceId::generate()), ..self.deps.clone() }
    }

    /// A job with an id of its own.
    pub(crate) fn job(&self, operation: &str, path: &str) -> Job {
        Job { execution_id: ExecutionId::generate(), ..job(&self.connector, operation, path) }
    }

    pub(crate) async fn run(&self, job: &Job, starts: u32) -> Fate {
        self.run_on(&self.deps, job, starts).await
    }

    pub(crate) async fn run_on(&self, deps: &Deps, job: &Job, starts: u32) -> Fate {
        crate::attempt::run(deps, self.world.delivery(job.clone(), starts)).await;
        self.world.fates.lock().pop().unwrap()
    }

    /// The last reply: envelope and inline data.
    pub(crate) fn reply(&self) -> (Value, Value) {
        let outcome = self.world.replies.lock().pop().expect("a reply");
        let data = match &outcome.data {
            None => Value::Null,
            Some(Payload::Inline(data)) => serde_json::from_slice(data).unwrap(),
            Some(Payload::Blob { id, .. }) => json!({ "blob": id.as_str() }),
        };
        (serde_json::from_slice(&outcome.envelope).unwrap(), data)
    }

    pub(crate) fn has_reply(&self) -> bool {
        !self.world.replies.lock().is_empty()
    }
}

/// A port on which nobody listens.
pub(crate) async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Field values that fit a manifest's own account form.
pub(crate) fn sandbox_fields(manifest: &Manifest) -> AccountFields {
    let mut account = AccountFields::default();
    for (name, field) in manifest.auth.flows.iter().flat_map(|flow| &flow.fields) {
        let made_up = if field.host { "sandbox.example".to_owned() } else { format!("sandbox-{name}") };
        let value = field.sandbox.clone().unwrap_or(made_up);
        if field.secret {
            account.secret.insert(name.clone(), Secret::new(value));
        } else {
            account.public.insert(name.clone(), value);
        }
    }
    // What a sign-in would tell, and the token that it or a grant would bring.
    for (name, kept) in manifest.auth.flows.iter().filter_map(|flow| flow.oauth.as_ref()).flat_map(|oauth| &oauth.keep)
    {
        let made_up = if kept.host { "sandbox.example".to_owned() } else { format!("sandbox-{name}") };
        if account.get(name).is_none() {
            account.public.insert(name.clone(), made_up);
        }
    }
    account.token = Some(Secret::new("sandbox-token"));
    account
}

/// The same job, too late.
pub(crate) fn expired(mut job: Job) -> Job {
    job.deadline = Millis(SystemClock.now().0 - 1);
    job
}
