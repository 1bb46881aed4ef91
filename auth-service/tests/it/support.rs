//! A service on a store that can fail, with a small catalog and a vendor that can be told what to answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use auth_service::key_source::FixedKeys;
use auth_service::{AuthService, Config, Deps, MasterKey, MasterKeys, RevokedCredentials, Told, VendorRevoker};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use plugboard_core::catalog::{Catalog, CatalogError, CatalogHandle, ManifestDocument};
use plugboard_core::clock::{Clock, FakeClock, Millis};
use plugboard_core::egress::{Egress, EgressPolicy};
use plugboard_core::identity::{
    Account, Custody, Directory, Grant, GrpcCustody, GrpcDirectory, GrpcVault, NewAccount, Organization, ServiceAuth,
    ServiceRole, Vault, service_token,
};
use plugboard_core::ids::{AccountId, ExecutionId, OrganizationId, ServiceKey};
use plugboard_core::job::{TicketFacts, TicketKey};
use plugboard_core::manifest::{Manifest, document};
use plugboard_core::secret::{Secret, SecretKey};
use plugboard_core::store::memory::MemoryStore;
use plugboard_core::store::{Changes, Piece, Store, StoreError, Versioned, Write};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const START: i64 = 1_800_000_000_000;

/// A memory store that can be taken away, and counts what is read.
#[derive(Clone, Default)]
pub(crate) struct TestStore {
    pub(crate) inner: MemoryStore,
    pub(crate) down: Arc<AtomicBool>,
    pub(crate) gets: Arc<AtomicUsize>,
}

impl TestStore {
    /// Gives way first, as a real store would, so that racing callers interleave.
    async fn check(&self) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        if self.down.load(Ordering::SeqCst) { Err(StoreError::Unavailable("taken away".into())) } else { Ok(()) }
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Everything stored, as a thief of the store would see it.
    pub(crate) async fn dump(&self) -> Vec<(String, Versioned)> {
        self.inner.list("").await.unwrap()
    }
}

#[async_trait]
impl Store for TestStore {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        self.check().await?;
        // What replicas look at by themselves is nobody's request.
        if !key.starts_with("platform/") {
            self.gets.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.get(key).await
    }

    async fn commit(&self, writes: Vec<Write>, notice: Option<Bytes>) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.commit(writes, notice).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.check().await?;
        self.inner.list(prefix).await
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.check().await?;
        self.inner.page(prefix, after, limit).await
    }

    async fn snapshot(&self, to: mpsc::Sender<Vec<Piece>>) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.snapshot(to).await
    }

    async fn changes_after(&self, sequence: u64) -> Result<Changes, StoreError> {
        self.check().await?;
        self.inner.changes_after(sequence).await
    }
}

pub(crate) fn master_key(id: &str, byte: u8) -> MasterKey {
    MasterKey { id: id.into(), key: SecretKey::new([byte; 32]) }
}

/// Answers in turn, the last one for ever; remembers what it was told with.
#[derive(Clone)]
pub(crate) struct TestRevoker {
    pub(crate) answers: Arc<Mutex<Vec<Told>>>,
    pub(crate) told: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
}

impl Default for TestRevoker {
    fn default() -> Self {
        Self { answers: Arc::new(Mutex::new(vec![Told::Revoked])), told: Arc::default() }
    }
}

#[async_trait]
impl VendorRevoker for TestRevoker {
    async fn revoke(&self, account: RevokedCredentials<'_>) -> Told {
        let fields = account.fields.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        self.told.lock().push(fields);
        let mut answers = self.answers.lock();
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    }
}

pub(crate) struct TestCatalog(pub(crate) Vec<ManifestDocument>);

#[async_trait]
impl Catalog for TestCatalog {
    async fn watch(&self) -> Result<BoxStream<'static, Vec<ManifestDocument>>, CatalogError> {
        Ok(stream::iter([self.0.clone()]).chain(stream::pending()).boxed())
    }

    async fn by_digest(&self, digest: &str) -> Result<Option<ManifestDocument>, CatalogError> {
        Ok(self.0.iter().find(|document| document.digest == digest).cloned())
    }
}

fn manifest(key: &str, name: &str, fields: &serde_json::Value, transport: &serde_json::Value) -> ManifestDocument {
    let manifest: Manifest = serde_json::from_value(json!({
        "key": key, "name": name, "tagline": name, "description": name, "category": "crm",
        "docs": "https://vendor.example/docs", "version": "1",
        "auth": {"flows": [{"kind": "credentials", "label": "Key", "fields": fields}]},
        "transport": transport,
        "modules": {"api": {"summary": "API", "base_url": "https://api.vendor.example"}},
        "operations": [],
        "verified": {"how": "documentation", "on": "2026-11-22"},
    }))
    .unwrap();
    document(&manifest).unwrap()
}

/// `ozon` (two secrets' worth of fields), `bitrix24` (a host field), `cdek` and `basic` (token grants).
fn catalog() -> Vec<ManifestDocument> {
    let token = |client_auth: &str| {
        json!({"token": {
            "kind": "client_credentials", "url": "https://auth.vendor.example/oauth/token",
            "client_id": "{account.client_id}", "client_secret": "{account.client_secret}",
            "client_auth": client_auth,
        }})
    };
    let client = json!({
        "client_id": {"label": "Client id", "secret": false, "sandbox": "demo"},
        "client_secret": {"label": "Client secret"},
    });
    vec![
        manifest(
            "ozon",
            "Ozon Seller",
            &json!({"client_id": {"label": "Client ID", "secret": false}, "api_key": {"label": "API key"}}),
            &json!({}),
        ),
        manifest(
            "bitrix24",
            "Bitrix24",
            &json!({
                "portal_host": {"label": "Portal", "host": true, "secret": false},
                "webhook": {"label": "Webhook"},
                "zone": {"label": "Zone", "secret": false, "optional": true, "default": "eu"},
            }),
            &json!({}),
        ),
        manifest("cdek", "CDEK", &client, &token("body")),
        manifest("basic", "Basic", &client, &token("basic")),
    ]
}

/// A token endpoint that answers as told and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Vendor {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    pub(crate) script: Arc<Mutex<Script>>,
}

#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) status: u16,
    /// `{n}` becomes the number of the request.
    pub(crate) body: String,
    pub(crate) delay: Duration,
}

impl Vendor {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let vendor = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            script: Arc::new(Mutex::new(Script {
                status: 200,
                body: r#"{"access_token":"token-{n}","expires_in":1000}"#.into(),
                delay: Duration::ZERO,
            })),
        };
        let serving = vendor.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(socket));
            }
        });
        vendor
    }

    async fn serve(self, mut socket: TcpStream) {
        let mut received = Vec::new();
        let mut piece = [0; 4096];
        while !is_whole(&received) {
            match socket.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(read) => received.extend_from_slice(&piece[..read]),
            }
        }
        let number = {
            let mut requests = self.requests.lock();
            requests.push(String::from_utf8_lossy(&received).into_owned());
            requests.len()
        };
        let Script { status, body, delay } = self.script.lock().clone();
        tokio::time::sleep(delay).await;
        let body = body.replace("{n}", &number.to_string());
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = socket.write_all(answer.as_bytes()).await;
    }

    pub(crate) fn calls(&self) -> usize {
        self.requests.lock().len()
    }

    pub(crate) fn answer(&self, status: u16, body: &str) {
        let mut script = self.script.lock();
        script.status = status;
        script.body = body.to_owned();
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    body.len() >= length.unwrap_or(0)
}

/// One world: a store, a clock, a vendor. Services in it are replicas of each other.
pub(crate) struct World {
    pub(crate) store: TestStore,
    pub(crate) clock: FakeClock,
    pub(crate) vendor: Vendor,
    pub(crate) tickets: TicketKey,
    pub(crate) cluster: SecretKey,
    pub(crate) config: Config,
    /// Master keys, the same for every replica.
    pub(crate) keys: Arc<FixedKeys>,
    pub(crate) revoker: TestRevoker,
    stop: CancellationToken,
    _stops_at_the_end: DropGuard,
}

pub(crate) async fn world() -> World {
    world_with(Config::default()).await
}

pub(crate) async fn world_with(config: Config) -> World {
    let stop = CancellationToken::new();
    World {
        store: TestStore::default(),
        clock: FakeClock::at(START),
        vendor: Vendor::start().await,
        tickets: TicketKey::new(SecretKey::new([7; 32])),
        cluster: SecretKey::new([8; 32]),
        config,
        keys: Arc::new(FixedKeys::in_memory(vec![master_key("1", 5)])),
        revoker: TestRevoker::default(),
        _stops_at_the_end: stop.clone().drop_guard(),
        stop,
    }
}

impl World {
    pub(crate) async fn service(&self) -> Arc<AuthService> {
        self.service_until(self.stop.clone()).await
    }

    pub(crate) async fn service_until(&self, stop: CancellationToken) -> Arc<AuthService> {
        let service = self.idle_service().await;
        tokio::spawn(service.clone().run_changes(stop));
        service
    }

    /// Without its change loop.
    pub(crate) async fn idle_service(&self) -> Arc<AuthService> {
        let service = self.unopened_service().await;
        service.open_key_ring().await.unwrap();
        service
    }

    /// Its key ring is to be opened first.
    pub(crate) async fn unopened_service(&self) -> Arc<AuthService> {
        let catalog = CatalogHandle::new(Arc::new(TestCatalog(catalog())));
        tokio::spawn(catalog.clone().follow(self.stop.clone()));
        catalog.ready().await;
        let policy = EgressPolicy::default()
            .with_allowance("127.0.0.1".parse().unwrap())
            .with_upstream(format!("http://{}", self.vendor.address).parse().unwrap());
        let deps = Deps {
            store: Arc::new(self.store.clone()),
            catalog,
            egress: Arc::new(Egress::new(policy).unwrap()),
            clock: Arc::new(self.clock.clone()),
            master_keys: MasterKeys::read(self.keys.as_ref()).await.unwrap(),
            key_source: self.keys.clone(),
            revoker: Some(Arc::new(self.revoker.clone())),
            ticket_key: self.tickets.clone(),
        };
        AuthService::new(&self.config, deps)
    }

    /// Serves a service on loopback until `stop`; the handle ends when the server has drained.
    pub(crate) async fn serve(
        &self,
        service: Arc<AuthService>,
        stop: CancellationToken,
    ) -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = auth_service::grpc::router(service, ServiceAuth::new(&self.cluster));
        let server = tonic::transport::Server::builder()
            .add_routes(routes)
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned());
        (url, tokio::spawn(async move { server.await.unwrap() }))
    }

    pub(crate) fn grpc_directory(&self, urls: &[String]) -> GrpcDirectory {
        GrpcDirectory::new(urls, &service_token(&self.cluster, ServiceRole::Gateway), None).unwrap()
    }

    pub(crate) fn grpc_custody(&self, urls: &[String]) -> GrpcCustody {
        GrpcCustody::new(urls, &service_token(&self.cluster, ServiceRole::Gateway), None).unwrap()
    }

    pub(crate) fn grpc_vault(&self, urls: &[String]) -> GrpcVault {
        GrpcVault::new(urls, &service_token(&self.cluster, ServiceRole::Executor), None).unwrap()
    }

    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub(crate) fn deadline(&self) -> Millis {
        self.clock.now().plus(Duration::from_secs(20))
    }

    /// A grant as a gateway would mint it for this account.
    pub(crate) fn grant(&self, organization: &OrganizationId, service: &str, account: &AccountId) -> Grant {
        self.grant_until(organization, service, account, self.deadline())
    }

    pub(crate) fn grant_until(
        &self,
        organization: &OrganizationId,
        service: &str,
        account: &AccountId,
        deadline: Millis,
    ) -> Grant {
        let (execution_id, service) = (ExecutionId::generate(), ServiceKey::trusted(service));
        let facts = TicketFacts {
            execution_id: &execution_id,
            organization,
            service: &service,
            account,
            request_hash: &[9; 32],
            deadline,
        };
        Grant {
            ticket: self.tickets.sign(facts),
            organization: organization.clone(),
            account: account.clone(),
            request_hash: [9; 32],
            deadline,
            refresh: false,
            execution_id,
            service,
        }
    }
}

/// The ports, however they are reached.
pub(crate) struct Ports {
    pub(crate) world: World,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) custody: Arc<dyn Custody>,
}

impl Ports {
    pub(crate) async fn in_process(config: Config) -> Self {
        let world = world_with(config).await;
        let service = world.service().await;
        Self { world, directory: service.clone(), custody: service.clone(), vault: service }
    }

    pub(crate) async fn over_grpc(config: Config) -> Self {
        let world = world_with(config).await;
        let service = world.service().await;
        let (url, _) = world.serve(service, world.stop_token()).await;
        let urls = [url];
        let (directory, vault) = (world.grpc_directory(&urls), world.grpc_vault(&urls));
        let custody = Arc::new(world.grpc_custody(&urls));
        Self { directory: Arc::new(directory), vault: Arc::new(vault), custody, world }
    }

    pub(crate) async fn organization(&self) -> Organization {
        self.directory.create_organization("Acme").await.unwrap().0
    }

    pub(crate) async fn account(
        &self,
        organization: &OrganizationId,
        service: &str,
        fields: &[(&str, &str)],
    ) -> Account {
        self.directory.create_account(new_account(organization, service, fields)).await.unwrap()
    }
}

/// Runs the same tests on both ways to reach the ports.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => { on_both!(auth_service::Config::default() => $($name),+); };
    ($config:expr => $($name:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::Ports::in_process($config).await).await; })+
        }
        mod over_grpc {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::Ports::over_grpc($config).await).await; })+
        }
    };
}
pub(crate) use on_both;

pub(crate) fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

pub(crate) fn new_account(organization: &OrganizationId, service: &str, credentials: &[(&str, &str)]) -> NewAccount {
    NewAccount {
        organization: organization.clone(),
        service: ServiceKey::trusted(service),
        label: None,
        owner: None,
        credentials: fields(credentials),
    }
}

pub(crate) const OZON: [(&str, &str); 2] = [("client_id", "42"), ("api_key", "canary-ozon")];
pub(crate) const BITRIX: [(&str, &str); 2] = [("portal_host", "https://a.bitrix24.ru/"), ("webhook", "canary-hook")];
pub(crate) const CDEK: [(&str, &str); 2] = [("client_id", "me"), ("client_secret", "canary-cdek")];

/// Tries until it holds; how long it took.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if holds().await {
            return start.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

/// The variant and text of an error, for comparison.
pub(crate) fn text<T: std::fmt::Debug>(result: Result<T, plugboard_core::identity::IdentityError>) -> String {
    format!("{:?}", result.unwrap_err())
}
