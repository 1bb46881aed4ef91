//! One run: accounts that sign in, services that live and die, callers with tickets of every kind; then calm, and a count.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use plugboard_core::catalog::{Catalog, CatalogError, CatalogHandle, ManifestDocument};
use plugboard_core::clock::Millis;
use plugboard_core::identity::{ClientOwner, Connect, Directory, Grant, IdentityError, NewOAuthClient, Vault};
use plugboard_core::ids::{AccountId, ExecutionId, OrganizationId, ServiceKey};
use plugboard_core::job::{TicketFacts, TicketKey};
use plugboard_core::manifest::credentials::CheckedCredentials;
use plugboard_core::manifest::{FlowKind, document};
use plugboard_core::secret::{Secret, SecretKey};
use plugboard_core::store::memory::MemoryStore;
use plugboard_core::testing::{Random, draw_from};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::process::Process;
use super::store::StorePort;
use super::vendor::{HOST, Vendor, VendorPort};
use super::world::{FAULTS, Weather, World};
use crate::accounts::SignedIn;
use crate::key_source::FixedKeys;
use crate::oauth::{ACCESS_TOKEN, REFRESH_TOKEN};
use crate::records::SignInRecord;
use crate::{AuthService, Config, Deps, MasterKey, MasterKeys};

const SERVICE: &str = "rotating";
const CLIENT: &str = "client";

/// Of a ticket, at most.
const DEADLINE: Duration = Duration::from_secs(30);
/// In the calm: longer than a lease, and than a vendor is left alone for.
const RESTS: Duration = Duration::from_secs(45);

/// Who is in the store, by number.
pub(super) struct Cast {
    pub(super) masters: MasterKeys,
    accounts: Vec<(OrganizationId, AccountId)>,
}

impl Cast {
    /// The account that a record of this kind is of.
    pub(super) fn number_of(&self, key: &str, kind: &str) -> Option<usize> {
        let (organization, account) = key.strip_prefix(kind)?.split_once('/')?;
        self.accounts.iter().position(|(owner, id)| owner.as_str() == organization && id.as_str() == account)
    }
}

pub(super) struct Report {
    pub(super) violations: Vec<String>,
    pub(super) lines: Vec<String>,
    pub(super) kinds: std::collections::BTreeSet<String>,
}

struct OneCatalog(ManifestDocument);

#[async_trait]
impl Catalog for OneCatalog {
    async fn watch(&self) -> Result<BoxStream<'static, Vec<ManifestDocument>>, CatalogError> {
        Ok(stream::iter([vec![self.0.clone()]]).chain(stream::pending()).boxed())
    }

    async fn by_digest(&self, _digest: &str) -> Result<Option<ManifestDocument>, CatalogError> {
        Ok(Some(self.0.clone()))
    }
}

/// What stays the same in all runs.
pub(super) struct Stage {
    manifest: ManifestDocument,
}

impl Stage {
    pub(super) fn new() -> Self {
        let manifest = json!({
            "key": SERVICE, "name": "Rotating", "tagline": "For tests", "description": "For tests.", "category": "data",
            "docs": "https://vendor.example/docs", "version": "1",
            "auth": {"flows": [{"kind": "popup_oauth", "label": "Sign in", "oauth": {
                "authorize_url": format!("https://{HOST}/authorize"), "token_url": format!("https://{HOST}/token"),
                "scopes": ["read"], "refresh": {"rotates": true},
            }}]},
            "transport": {"headers": {"Authorization": "Bearer {token}"}},
            "modules": {"api": {"summary": "API", "base_url": format!("https://{HOST}")}},
            "operations": [],
            "verified": {"how": "documentation", "on": "2026-11-22"},
        });
        Self { manifest: document(&serde_json::from_value(manifest).expect("a manifest")).expect("a document") }
    }
}

pub(super) fn run(stage: &Stage, seed: u64) -> Report {
    draw_from(Some(Random::new(!seed)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let report = runtime.expect("a runtime").block_on(play(stage, seed));
    draw_from(None);
    report
}

type Running = (Arc<Process>, Arc<AuthService>);

struct Scene {
    world: Arc<World>,
    store: MemoryStore,
    vendor: Arc<Vendor>,
    catalog: Arc<CatalogHandle>,
    keys: Arc<FixedKeys>,
    tickets: TicketKey,
    cast: Arc<OnceLock<Cast>>,
    /// Those that run now.
    services: Mutex<Vec<Option<Running>>>,
}

async fn play(stage: &Stage, seed: u64) -> Report {
    let mut random = Random::new(seed);
    let many = 2 + random.below(2) as usize;
    let weather = Weather::draw(&mut random, many);
    let life = Duration::from_secs(6 + random.below(20));
    let world = World::new(weather, random);
    world.note("world", "begins", &format!("{seed} {life:?} {:?}", world.weather));
    let catalog = CatalogHandle::new(Arc::new(OneCatalog(stage.manifest.clone())));
    tokio::spawn(catalog.clone().follow(CancellationToken::new()));
    catalog.ready().await;
    let scene = Arc::new(Scene {
        vendor: Vendor::new(&world, life),
        store: MemoryStore::default(),
        catalog,
        keys: Arc::new(FixedKeys::in_memory(vec![MasterKey { id: "1".into(), key: SecretKey::new([5; 32]) }])),
        tickets: TicketKey::new(SecretKey::new([7; 32])),
        cast: Arc::default(),
        services: Mutex::new(vec![None; many]),
        world,
    });
    scene.set_up().await;
    for number in 0..many {
        tokio::spawn(live(scene.clone(), number));
    }
    callers(&scene).await;
    tokio::time::sleep(FAULTS + RESTS).await;
    scene.count().await;
    let world = &scene.world;
    Report { violations: world.violations(), lines: world.lines(), kinds: world.kinds() }
}

/// A service that is started again whenever it dies.
async fn live(scene: Arc<Scene>, number: usize) {
    for life in 0.. {
        let process = Process::new(&scene.world, number, life);
        process.note("starts", "");
        let living = async {
            let service = loop {
                match scene.service(&process, number).await {
                    Ok(service) => break service,
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            };
            scene.services.lock()[number] = Some((process.clone(), service));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = process.death() => {}
            () = living => {}
        }
        scene.services.lock()[number] = None;
        tokio::time::sleep(scene.world.draw(|random| random.millis(20, 4_000))).await;
    }
}

async fn callers(scene: &Arc<Scene>) {
    let mut callers = JoinSet::new();
    let many = scene.world.draw(|random| 10 + random.below(15));
    for _ in 0..many {
        let scene = scene.clone();
        callers.spawn(async move {
            tokio::time::sleep(scene.world.draw(|random| random.millis(0, FAULTS.as_millis() as u64))).await;
            // A token ends, and everybody notices.
            let together = scene.world.draw(|random| 1 + random.below(5));
            let account = scene.world.draw(|random| random.below(scene.accounts().len() as u64)) as usize;
            let calls = (0..together).map(|_| scene.call(account));
            futures::future::join_all(calls).await;
        });
    }
    while callers.join_next().await.is_some() {}
}

impl Scene {
    fn accounts(&self) -> &[(OrganizationId, AccountId)] {
        &self.cast.get().expect("a cast").accounts
    }

    async fn service(&self, process: &Arc<Process>, number: usize) -> Result<Arc<AuthService>, IdentityError> {
        let skew = self.world.weather.skew.get(number).copied().unwrap_or(0);
        let store = StorePort { store: self.store.clone(), process: process.clone(), cast: self.cast.clone() };
        self.assemble(Arc::new(store), process, skew).await
    }

    async fn assemble(
        &self,
        store: Arc<dyn plugboard_core::store::Store>,
        process: &Arc<Process>,
        skew: i64,
    ) -> Result<Arc<AuthService>, IdentityError> {
        let deps = Deps {
            store,
            catalog: self.catalog.clone(),
            egress: Arc::new(VendorPort { vendor: self.vendor.clone(), process: process.clone() }),
            clock: self.world.clock(skew),
            master_keys: MasterKeys::read(self.keys.as_ref()).await.expect("keys"),
            key_source: self.keys.clone(),
            revoker: None,
            ticket_key: self.tickets.clone(),
        };
        let config = Config { public_url: "https://plugboard.example".into(), ..Config::default() };
        let service = AuthService::new(&config, deps);
        service.open_key_ring().await?;
        Ok(service)
    }

    /// Two organizations whose people have signed in, before anything goes wrong.
    async fn set_up(&self) {
        let process = Process::new(&self.world, 9, 0);
        let service = self.assemble(Arc::new(self.store.clone()), &process, 0).await.expect("a service");
        let mut accounts = Vec::new();
        for name in ["Acme", "Zenith"] {
            let organization = service.create_organization(name).await.expect("an organization").0.id;
            let client = NewOAuthClient {
                owner: ClientOwner::Organization(organization.clone()),
                service: ServiceKey::trusted(SERVICE),
                client_id: CLIENT.to_owned(),
                client_secret: Some(Secret::new("secret")),
            };
            service.set_client(client).await.expect("a client");
            for _ in 0..1 + self.world.draw(|random| random.below(2)) {
                let signed_in = self.signed_in(accounts.len(), &organization);
                let account = service.accounts.connect(signed_in).await.expect("an account");
                accounts.push((organization.clone(), account.id));
            }
        }
        let masters = MasterKeys::read(self.keys.as_ref()).await.expect("keys");
        assert!(self.cast.set(Cast { masters, accounts }).is_ok());
    }

    fn signed_in(&self, number: usize, organization: &OrganizationId) -> SignedIn {
        let now = self.world.clock(0).now();
        let (access, refresh) = self.vendor.issue(number);
        self.world.keep(&access);
        let secret = BTreeMap::from([
            (ACCESS_TOKEN.to_owned(), Secret::new(access)),
            (REFRESH_TOKEN.to_owned(), Secret::new(refresh)),
        ]);
        SignedIn {
            organization: organization.clone(),
            service: ServiceKey::trusted(SERVICE),
            owner: None,
            label: None,
            account: None,
            fields: CheckedCredentials { public: BTreeMap::new(), secret },
            sign_in: SignInRecord {
                flow: FlowKind::PopupOauth.as_str().to_owned(),
                platform_client: false,
                client_id: CLIENT.to_owned(),
                generation: 1,
                obtained_at: now.0,
                expires_at: Some(now.plus(self.vendor.life()).0),
                refresh_at: Some(now.plus(self.vendor.life().mul_f64(0.8)).0),
                refreshable: true,
                unanswered: false,
                account_name: None,
            },
            claim: None,
        }
    }

    fn grant(&self, account: usize, deadline: Millis, refresh: bool) -> Grant {
        let (organization, account) = self.accounts()[account].clone();
        self.signed(organization, account, deadline, refresh)
    }

    fn signed(&self, organization: OrganizationId, account: AccountId, deadline: Millis, refresh: bool) -> Grant {
        let (execution_id, service) = (ExecutionId::generate(), ServiceKey::trusted(SERVICE));
        let facts = TicketFacts {
            execution_id: &execution_id,
            organization: &organization,
            service: &service,
            account: &account,
            request_hash: &[9; 32],
            deadline,
        };
        let ticket = self.tickets.sign(facts);
        Grant { ticket, organization, account, request_hash: [9; 32], deadline, refresh, execution_id, service }
    }

    /// One executor asks one of the services that run.
    async fn call(&self, account: usize) {
        let world = &self.world;
        let service = {
            let services = self.services.lock();
            let running: Vec<_> = services.iter().flatten().cloned().collect();
            drop(services);
            if running.is_empty() {
                return;
            }
            running[world.draw(|random| random.below(running.len() as u64)) as usize].clone()
        };
        let deadline =
            world.clock(0).now().plus(world.draw(|random| random.millis(2_000, DEADLINE.as_millis() as u64)));
        let refresh = world.draw(|random| random.happens(1_500));
        let honest = self.grant(account, deadline, refresh);
        if world.draw(|random| random.happens(3_000)) {
            self.cheat(&service, account, &honest).await;
        }
        self.resolve(&service, account, &honest).await;
    }

    /// False: there was no answer that says anything.
    async fn resolve(&self, (process, service): &Running, account: usize, grant: &Grant) -> bool {
        let answer = tokio::select! {
            biased;
            () = process.death() => return false,
            answer = service.resolve(grant) => answer,
        };
        let Ok(fields) = answer else {
            let error = answer.expect_err("no fields");
            process.note("tells an error", &format!("account {account} {error:?}"));
            return false;
        };
        let token = fields.token.as_ref().map(|token| token.expose().to_owned()).unwrap_or_default();
        process.note("gives a token", &format!("account {account} {token}"));
        match self.vendor.owner(&token) {
            Some(owner) if owner == account => {}
            owner => self.world.violated(format!("I7, a ticket for account {account} got {token} of {owner:?}")),
        }
        if !self.world.is_durable(&token) {
            self.world.violated(format!("I11, {token} was given out before it was durable"));
        }
        true
    }

    /// The same ticket, or one like it, for what it is not for.
    async fn cheat(&self, (process, service): &Running, account: usize, honest: &Grant) {
        let (foreign_organization, foreign_account) = {
            let all = self.accounts();
            let foreign = all.iter().find(|(organization, _)| *organization != honest.organization);
            foreign.expect("two organizations").clone()
        };
        let world = &self.world;
        let (what, grant) = match world.draw(|random| random.below(6)) {
            0 => ("forged", Grant { ticket: [world.draw(|random| random.next() as u8); 32], ..honest.clone() }),
            1 => ("edited account", Grant { account: foreign_account, ..honest.clone() }),
            2 => (
                "edited both",
                Grant { account: foreign_account, organization: foreign_organization, ..honest.clone() },
            ),
            3 => ("edited deadline", Grant { deadline: honest.deadline.plus(DEADLINE), ..honest.clone() }),
            4 => {
                let ended = Millis(world.clock(0).now().0 - 2_000);
                ("ended", self.grant(account, ended, false))
            }
            // Signed by the gateway by mistake.
            _ => {
                ("foreign", self.signed(honest.organization.clone(), foreign_account, honest.deadline, honest.refresh))
            }
        };
        process.note(&format!("is shown a ticket: {what}"), &format!("account {account}"));
        let opened = tokio::select! {
            biased;
            () = process.death() => return,
            answer = service.resolve(&grant) => answer.is_ok(),
        };
        if opened {
            world.violated(format!("I7, a ticket that is {what} was honoured"));
        }
    }

    /// In the calm every account can be used, but for those whose end has its reason.
    async fn count(&self) {
        let process = Process::new(&self.world, 8, 0);
        let service = self.service(&process, usize::MAX).await.expect("a service in the calm");
        let running = (process, service);
        for account in 0..self.accounts().len() {
            let mut well = false;
            for _ in 0..4 {
                let deadline = self.world.clock(0).now().plus(DEADLINE);
                well = self.resolve(&running, account, &self.grant(account, deadline, false)).await;
                if well {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(6)).await;
            }
            let explained = self.world.is_explained(account);
            let what = if well { "well in the end" } else { "ended" };
            self.world.note("check", what, &format!("account {account} {explained}"));
            if !well && !explained {
                self.world.violated(format!("I11, account {account} is lost, and nothing was lost on its way"));
            }
        }
    }
}
