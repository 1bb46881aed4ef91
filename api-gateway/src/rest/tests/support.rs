//! What stands in for the other services.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use plugboard_core::catalog::{Catalog, CatalogError, CatalogHandle, ManifestDocument};
use plugboard_core::clock::{Millis, SystemClock};
use plugboard_core::fleet::local::LocalFleet;
use plugboard_core::identity::{
    Account, AccountChange, AccountState, CachedDirectory, CallLog, Change, Custody, Directory, IdentityError,
    IssuedKey, Key, NewAccount, NewKey, Organization, Principal, Scope, Scopes, fold_label,
};
use plugboard_core::ids::{AccountId, InstanceId, KeyId, OrganizationId, Subject};
use plugboard_core::job::{ExecutionIds, TicketKey};
use plugboard_core::journal::Journal;
use plugboard_core::manifest::{Manifest, document};
use plugboard_core::queue::NoExpress;
use plugboard_core::readiness::{Health, Readiness};
use plugboard_core::secret::{Secret, SecretKey};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::connect::FakeConnect;
use super::fake_custody::FakeCustody;
use super::vendor::{FakeVendor, Nothing};
use crate::calls::RecentCalls;
use crate::config::GatewayConfig;
use crate::connect_link::ConnectLinks;
use crate::console::Sessions;
use crate::state::Gateway;
use crate::waiters::Waiters;

/// 2026-11-22T21:20:00Z
pub(super) const NOW: Millis = Millis(1_795_382_400_000);

/// One platform with two organizations.
pub(super) struct World {
    pub(super) router: Router,
    pub(super) gateway: Arc<Gateway>,
    pub(super) auth: Arc<FakeAuth>,
    pub(super) custody: Arc<FakeCustody>,
    pub(super) connecting: Arc<FakeConnect>,
    pub(super) vendor: Arc<FakeVendor>,
    pub(super) org: OrganizationId,
    pub(super) other: OrganizationId,
    _stop: tokio_util::sync::DropGuard,
}

/// An answer, decoded.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {:?}", self.text))
    }

    /// The body of a success.
    #[track_caller]
    pub(super) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// A problem document of this status and code.
    #[track_caller]
    pub(super) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], "about:blank");
        for text in ["title", "detail"] {
            assert!(!problem[text].as_str().unwrap().is_empty(), "{problem}");
        }
        problem
    }

    /// A problem that names a field.
    #[track_caller]
    pub(super) fn wrong(&self, field: &str) -> Value {
        let problem = self.refused(400, "INVALID_ARGUMENT");
        assert_eq!(problem["field"], field, "{problem}");
        problem
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with_url("https://plugboard.example").await
    }

    pub(super) async fn with_url(public_url: &str) -> Self {
        let (auth, org, other) = FakeAuth::with_keys();
        let waiters = Waiters::default();
        let vendor = FakeVendor::new(waiters.clone());
        let clock = Arc::new(SystemClock);
        let directory = CachedDirectory::new(auth.clone(), clock.clone());
        let custody = Arc::new(FakeCustody::default());
        let port: Arc<dyn Custody> = custody.clone();
        let (call_log, writer) = CallLog::new(Arc::new(port), clock.clone());
        let catalog = CatalogHandle::new(Arc::new(FakeCatalog));
        let stop = CancellationToken::new();
        tokio::spawn(catalog.clone().follow(stop.clone()));
        catalog.ready().await;
        tokio::spawn(writer.run(stop.clone()));
        let me = InstanceId::generate();
        let fleet = Arc::new(LocalFleet::default());
        let connecting = Arc::new(FakeConnect::default());
        let (manifests, keys) = (catalog.clone(), directory.clone());
        let readiness = Readiness::default()
            .with("catalog", move || manifests.health())
            .with("auth", move || Health::up_if(keys.is_fresh(), "no connection"));
        let gateway = Arc::new(Gateway {
            config: config(public_url),
            directory,
            custody: custody.clone(),
            call_log,
            connect: connecting.clone(),
            connect_links: ConnectLinks::new(&SecretKey::new([7; 32])),
            catalog,
            pages: crate::pages::Pages::default(),
            queue: vendor.clone(),
            express: vendor.clone(),
            express_effects: Arc::new(NoExpress),
            journal: Journal::new(Arc::new(Nothing), clock.clone(), me.clone()),
            blobs: Arc::new(Nothing),
            clock: clock.clone(),
            execution_ids: ExecutionIds::new(&SecretKey::new([2; 32])),
            ticket_key: TicketKey::new(SecretKey::new([1; 32])),
            me: me.clone(),
            since: NOW,
            calls: RecentCalls::new(me, clock),
            fleet: fleet.clone(),
            console: Sessions::new(&SecretKey::new([7; 32])),
            waiters,
            callers: crate::waiters::Callers::default(),
            parting: CancellationToken::new(),
            meters: crate::meters::Meters::default(),
            readiness,
            sandbox: false,
        });
        fleet.join(gateway.clone());
        let router = crate::rest::router(gateway.clone()).merge(crate::console::router(gateway.clone()));
        Self { router, gateway, auth, custody, connecting, vendor, org, other, _stop: stop.drop_guard() }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status, headers: head.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// A request with a key, and a JSON body where there is one.
    pub(super) async fn ask(&self, method: Method, path: &str, key: &str, body: Option<Value>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = match body {
            None => Body::empty(),
            Some(json) => {
                request = request.header("content-type", "application/json");
                Body::from(json.to_string())
            }
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(super) async fn get(&self, path: &str, key: &str) -> Reply {
        self.ask(Method::GET, path, key, None).await
    }

    pub(super) async fn post(&self, path: &str, key: &str, body: Value) -> Reply {
        self.ask(Method::POST, path, key, Some(body)).await
    }

    pub(super) async fn patch(&self, path: &str, key: &str, body: Value) -> Reply {
        self.ask(Method::PATCH, path, key, Some(body)).await
    }

    pub(super) async fn delete(&self, path: &str, key: &str) -> Reply {
        self.ask(Method::DELETE, path, key, None).await
    }

    /// Connects `alpha` and returns the id.
    pub(super) async fn connect(&self, key: &str, label: &str, owner: Option<&str>) -> String {
        let mut wanted = json!({"service": "alpha", "label": label, "credentials": {"api_token": "canary-1"}});
        if let Some(owner) = owner {
            wanted["owner"] = json!(owner);
        }
        let created = self.post("/api/v1/connections", key, wanted).await.expect(201);
        created["id"].as_str().unwrap().to_owned()
    }
}

fn config(public_url: &str) -> GatewayConfig {
    GatewayConfig {
        listen: "127.0.0.1:8700".to_owned(),
        grpc_listen: String::new(),
        public_url: public_url.to_owned(),
        allowed_origins: Vec::new(),
        allowed_hosts: Vec::new(),
        service_header: false,
        default_wait_ms: 45_000,
        default_deadline_ms: 60_000,
        stop_grace_ms: 0,
        drain_ms: 12_000,
        console_requests: true,
    }
}

/// The auth service.
#[derive(Default)]
pub(super) struct FakeAuth {
    keys: Mutex<Vec<(String, Principal, Key)>>,
    pub(super) accounts: Mutex<Vec<Account>>,
    /// What was last stored as credentials.
    pub(super) stored: Mutex<BTreeMap<String, String>>,
    pub(super) away: AtomicBool,
}

impl FakeAuth {
    /// Keys are named `<who>`: `op`, `admin`, `reader`, `writer`, `chat`, `anna` (reads as the end user anna),
    /// `anna-admin`, and `stranger`, the admin of another organization.
    fn with_keys() -> (Arc<Self>, OrganizationId, OrganizationId) {
        let auth = Self::default();
        let (org, other) = (OrganizationId::generate(), OrganizationId::generate());
        auth.add("operator-key", None, &[], None);
        auth.add("admin", Some(&org), &[Scope::Admin], None);
        auth.add("reader", Some(&org), &[Scope::ReadTools], None);
        auth.add("writer", Some(&org), &[Scope::WriteTools], None);
        auth.add("chat", Some(&org), &[Scope::Chat], None);
        auth.add("anna", Some(&org), &[Scope::ReadTools], Some("anna"));
        auth.add("anna-admin", Some(&org), &[Scope::Admin], Some("anna"));
        auth.add("stranger", Some(&other), &[Scope::Admin], None);
        (Arc::new(auth), org, other)
    }

    fn add(&self, secret: &str, organization: Option<&OrganizationId>, scopes: &[Scope], subject: Option<&str>) {
        let subject = subject.map(|name| Subject(name.to_owned()));
        let scopes: Scopes = scopes.iter().copied().collect();
        let of = organization.cloned().unwrap_or_else(OrganizationId::generate);
        let key = key(of, secret, scopes, subject.clone(), 90);
        let principal = Principal {
            key_id: key.id.clone(),
            organization: organization.cloned(),
            scopes,
            subject,
            agent: None,
            expires_at: Millis(i64::MAX),
        };
        self.keys.lock().push((secret.to_owned(), principal, key));
    }

    fn here(&self) -> Result<(), IdentityError> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(IdentityError::Unavailable("connection refused at 10.0.0.7".into())),
            false => Ok(()),
        }
    }

    /// What the directory would refuse, as the real one does.
    fn check(&self, org: &OrganizationId, label: &str, but: Option<&AccountId>) -> Result<(), IdentityError> {
        if label.contains(':') {
            return Err(IdentityError::invalid("label", "a label has no colon"));
        }
        let accounts = self.accounts.lock();
        let same = |account: &&Account| {
            account.organization == *org && fold_label(&account.label) == fold_label(label) && Some(&account.id) != but
        };
        match accounts.iter().find(same) {
            Some(account) => Err(IdentityError::Exists { what: format!("the account {:?}", account.label) }),
            None => Ok(()),
        }
    }

    fn store(&self, credentials: &BTreeMap<String, Secret>) -> BTreeMap<String, String> {
        let mut stored = self.stored.lock();
        stored.extend(credentials.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
        stored.iter().filter(|(name, _)| *name == "host").map(|(n, v)| (n.clone(), v.clone())).collect()
    }
}

fn key(organization: OrganizationId, secret: &str, scopes: Scopes, subject: Option<Subject>, days: u32) -> Key {
    Key {
        id: KeyId::generate(),
        organization,
        name: format!("key {secret}"),
        prefix: format!("sk-org-{}", secret.chars().take(4).collect::<String>()),
        scopes,
        subject,
        agent: None,
        created_at: NOW,
        expires_at: Millis(NOW.0 + i64::from(days) * 86_400_000),
        revoked_at: None,
        last_used_at: None,
    }
}

#[async_trait]
impl Directory for FakeAuth {
    async fn verify_key(&self, key: &Secret) -> Result<Principal, IdentityError> {
        self.here()?;
        let keys = self.keys.lock();
        let found = keys.iter().find(|(secret, _, stored)| secret == key.expose() && stored.revoked_at.is_none());
        found.map(|(_, principal, _)| principal.clone()).ok_or(IdentityError::KeyRefused)
    }

    async fn accounts(&self, organization: &OrganizationId) -> Result<Vec<Account>, IdentityError> {
        self.here()?;
        Ok(self.accounts.lock().iter().filter(|account| account.organization == *organization).cloned().collect())
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
        self.here()?;
        Ok(stream::iter([Change::Beat]).chain(stream::pending()).boxed())
    }

    async fn create_organization(&self, name: &str) -> Result<(Organization, IssuedKey), IdentityError> {
        if name.trim().is_empty() {
            return Err(IdentityError::invalid("name", "is empty"));
        }
        let organization = Organization { id: OrganizationId::generate(), name: name.to_owned() };
        self.add("first-key", Some(&organization.id), &[Scope::Admin], None);
        let key = key(organization.id.clone(), "first-key", Scopes::all(), None, 90);
        Ok((organization, IssuedKey { key, secret: Secret::new("first-key") }))
    }

    async fn issue_key(&self, request: NewKey) -> Result<IssuedKey, IdentityError> {
        let secret = format!("issued-{}", self.keys.lock().len());
        let scopes: Vec<_> = request.scopes.iter().collect();
        self.add(&secret, Some(&request.organization), &scopes, request.subject.as_ref().map(|s| s.0.as_str()));
        let mut keys = self.keys.lock();
        let (_, _, stored) = keys.last_mut().unwrap();
        stored.name = request.name;
        stored.expires_at = Millis(NOW.0 + i64::from(request.expires_in_days) * 86_400_000);
        Ok(IssuedKey { key: stored.clone(), secret: Secret::new(secret) })
    }

    async fn keys(&self, organization: &OrganizationId) -> Result<Vec<Key>, IdentityError> {
        self.here()?;
        let keys = self.keys.lock();
        Ok(keys.iter().map(|(_, _, key)| key).filter(|key| key.organization == *organization).cloned().collect())
    }

    async fn revoke_key(&self, organization: &OrganizationId, key: &KeyId) -> Result<Key, IdentityError> {
        let mut keys = self.keys.lock();
        let found = keys.iter_mut().find(|(_, _, one)| one.id == *key && one.organization == *organization);
        let (_, _, stored) = found.ok_or(IdentityError::NotFound { what: "the API key" })?;
        stored.revoked_at = Some(NOW);
        Ok(stored.clone())
    }

    async fn create_account(&self, request: NewAccount) -> Result<Account, IdentityError> {
        self.here()?;
        let label = request.label.clone().unwrap_or_else(|| "Alpha".to_owned());
        self.check(&request.organization, &label, None)?;
        if !request.credentials.contains_key("api_token") {
            return Err(IdentityError::invalid("credentials.api_token", "is missing (API token)"));
        }
        let account = Account {
            id: AccountId::generate(),
            organization: request.organization,
            service: request.service,
            label,
            owner: request.owner,
            state: AccountState::Connected,
            state_reason: String::new(),
            state_since: NOW,
            public_fields: self.store(&request.credentials),
            created_at: NOW,
            updated_at: NOW,
        };
        self.accounts.lock().push(account.clone());
        Ok(account)
    }

    async fn update_account(&self, request: AccountChange) -> Result<Account, IdentityError> {
        if let Some(label) = &request.label {
            self.check(&request.organization, label, Some(&request.account))?;
        }
        let public = self.store(&request.credentials);
        let mut accounts = self.accounts.lock();
        let fits =
            |account: &&mut Account| account.id == request.account && account.organization == request.organization;
        let account = accounts.iter_mut().find(fits).ok_or(IdentityError::NotFound { what: "the account" })?;
        if let Some(label) = request.label {
            account.label = label;
        }
        account.public_fields = public;
        account.updated_at = Millis(NOW.0 + 1_500);
        Ok(account.clone())
    }

    async fn delete_account(&self, org: &OrganizationId, id: &AccountId) -> Result<Account, IdentityError> {
        let mut accounts = self.accounts.lock();
        let at = accounts.iter().position(|account| account.id == *id && account.organization == *org);
        Ok(accounts.remove(at.ok_or(IdentityError::NotFound { what: "the account" })?))
    }
}

/// The catalog: `alpha`, with a test; `beta`, for admins, without one; a connector of one organization.
struct FakeCatalog;

#[async_trait]
impl Catalog for FakeCatalog {
    async fn watch(&self) -> Result<BoxStream<'static, Vec<ManifestDocument>>, CatalogError> {
        let documents = vec![document(&beta()).unwrap(), document(&own()).unwrap(), document(&alpha()).unwrap()];
        Ok(stream::iter([documents]).chain(stream::pending()).boxed())
    }

    async fn by_digest(&self, _: &str) -> Result<Option<ManifestDocument>, CatalogError> {
        Ok(None)
    }
}

fn alpha() -> Manifest {
    serde_json::from_value(json!({
        "key": "alpha", "name": "Alpha", "tagline": "A", "description": "First of all.", "category": "crm",
        "docs": "https://alpha.example/docs", "version": "1", "verified": {"how": "documentation", "on": "2026-11-22"},
        "auth": {"test": "whoami", "flows": [{
            "kind": "credentials", "label": "API token", "help": "Settings, API.", "fields": {
                "host": {"label": "Host", "secret": false, "optional": true, "host": true},
                "api_token": {"label": "API token", "hint": "starts with canary", "pattern": "canary-.+"}
            }}]},
        "modules": {"api": {"summary": "All", "base_url": "https://alpha.example"}},
        "operations": [{
            "id": "whoami", "module": "api", "method": "POST", "path": "/whoami", "summary": "Who.", "effect": "read",
            "effect_reason": "A query.", "body": {"type": "object", "additionalProperties": false},
            "request_example": {"body": {}}, "response_example": {"name": "Anna"}
        }]
    }))
    .unwrap()
}

fn beta() -> Manifest {
    let mut manifest = alpha();
    manifest.key = "beta".to_owned();
    manifest.name = "Beta".to_owned();
    manifest.admin_only = true;
    manifest.auth.test = None;
    manifest
}

fn own() -> Manifest {
    Manifest { key: "custom_api.mine".to_owned(), ..alpha() }
}
