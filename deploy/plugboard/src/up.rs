//! `plugboard up`: the four libraries in one process, with the in-process queue and the embedded store.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api_gateway::{Entrance, GatewayConfig};
use auth_service::key_source::{FIRST, FileKeys, write_keys};
use auth_service::{AuthService, Bootstrap, KeySource, MasterKey};
use catalog_service::catalog::CatalogService;
use plugboard_core::blobs::Blobs;
use plugboard_core::blobs::embedded::EmbeddedBlobs;
use plugboard_core::catalog::CatalogHandle;
use plugboard_core::clock::SystemClock;
use plugboard_core::egress::Egress;
use plugboard_core::embedded::Embedded;
use plugboard_core::event_loops::EventLoops;
use plugboard_core::fleet::local::LocalFleet;
use plugboard_core::identity::{Directory, NewConnectSession};
use plugboard_core::ids::InstanceId;
use plugboard_core::journal::JournalStore;
use plugboard_core::journal::embedded::EmbeddedJournal;
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::limits::Limits;
use plugboard_core::queue::local::{LocalQueue, LocalQueueLimits, LocalReplies};
use plugboard_core::queue::{Express, NoExpress, Replies, Shares};
use plugboard_core::readiness::Readiness;
use plugboard_core::secret::{Secret, SecretKey};
use plugboard_core::store::embedded::EmbeddedStore;
use plugboard_core::telemetry::metrics::Service;
use plugboard_core::telemetry::{self, TelemetryConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::UpArgs;
use crate::greeting::Ready;
use crate::health;
use crate::print_answer;
use crate::sandbox::Door;
use crate::settings::{AuthSettings, Settings, egress_policy};

/// How long a start may take before something is wrong.
const READY_WITHIN: Duration = Duration::from_secs(20);

pub async fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(None)?;
    let drain = settings.drain(Service::Gateway)?;
    let telemetry = TelemetryConfig { log: log_filter(), ..settings.telemetry };
    let _telemetry = telemetry::init(&telemetry, "plugboard", "up")?;
    // A taken port or data directory fails before anything else is done.
    let listener = TcpListener::bind(&args.listen).await.with_context(|| format!("--listen {}", args.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    let health = health::open(&settings.mode.health_listen, "up", &Service::ALL).await?;
    let policy = egress_policy(&args.egress_allow, args.upstream.as_deref(), args.upstream_any)?;
    let door = Door::new(policy, args.sandbox).await?;
    let file = Embedded::open(&args.data, Arc::new(SystemClock))?;
    let keys = data_keys(&args.data)?;

    let life = Lifecycle::new();
    // Nothing balances between one process and itself.
    life.stop_on_signals(Duration::ZERO)?;
    let catalog = catalog(&args, &life)?;
    let egress = door.open(&catalog, &life)?;
    let master = &keys.local;
    let backlog = LocalQueueLimits::with(settings.queue.backlog_per_organization as usize);
    let shape = Shape::open(file, backlog, master).await?;
    let public_url = public_url(&settings.gateway, &settings.auth, &url);
    let auth = shape.auth(&args, public_url, &keys, catalog.clone(), egress.clone(), &life).await?;
    let store = Arc::new(EmbeddedStore::new(shape.file.clone()));
    crate::backup::serve(&args.data, store, keys.masters.clone(), &life);
    let first_keys = auth.bootstrap(seed("PLUGBOARD_SEED_OPERATOR_KEY"), seed("PLUGBOARD_SEED_API_KEY")).await?;
    let drained = CancellationToken::new();
    // The built-in vendor has no limits.
    let limits = (settings.executor.vendor_limits && !args.sandbox).then(|| Limits::alone(Arc::new(SystemClock)));
    let executor_stop = drained.clone();
    let express = shape.start_executor(auth.clone(), catalog.clone(), egress, master, limits, &life, executor_stop);
    let pages = auth_service::http::router(auth.clone());
    let gateway = shape.gateway(settings.gateway, &args, auth.clone(), catalog.clone(), express, master, &life);
    health.serve(&life).tell(gateway.readiness.clone());
    // Here a call is made by whoever received it.
    let loops = EventLoops::for_this_machine()?;
    let entrances = Entrance::dealt(listener, &loops, &life)?;
    api_gateway::run(gateway.clone(), shape.replies.clone(), entrances, pages, &life).await?;

    wait_ready(&gateway, &life).await?;
    let link = first_link(&auth, &first_keys).await?;
    announce(&args, &url, first_keys, link.as_ref(), catalog.snapshot().len());
    // Executors stop after the last waiting caller has its answer.
    let stopping = life.stopping();
    tokio::spawn(async move {
        stopping.cancelled().await;
        gateway.drained(drain).await;
        drained.cancel();
    });
    let ended = life.run_until_stopped(drain).await;
    shape.close();
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(why) => bail!("{why}"),
    }
}

/// The embedded adapters.
struct Shape {
    file: Embedded,
    queue: LocalQueue,
    shares: Arc<Shares>,
    replies: Arc<dyn Replies>,
    journal: Arc<dyn JournalStore>,
    blobs: Arc<dyn Blobs>,
    fleet: LocalFleet,
}

impl Shape {
    async fn open(file: Embedded, backlog: LocalQueueLimits, master: &SecretKey) -> anyhow::Result<Self> {
        let shares = Shares::new(executor::Config::default().slots);
        Ok(Self {
            queue: LocalQueue::open(file.clone(), backlog, shares.clone()).await?,
            shares,
            replies: Arc::new(LocalReplies::default()),
            fleet: LocalFleet::default(),
            journal: Arc::new(EmbeddedJournal::new(file.clone())),
            blobs: Arc::new(EmbeddedBlobs::new(file.clone(), master.derive("payloads"))),
            file,
        })
    }

    async fn auth(
        &self,
        args: &UpArgs,
        public_url: String,
        keys: &DataKeys,
        catalog: Arc<CatalogHandle>,
        egress: Egress,
        life: &Lifecycle,
    ) -> anyhow::Result<Arc<AuthService>> {
        let config = auth_service::Config {
            sandbox: args.sandbox,
            allow_private_hosts: !args.egress_allow.is_empty(),
            public_url,
        };
        let parts = auth_service::wiring::Parts {
            store: Arc::new(EmbeddedStore::new(self.file.clone())),
            catalog,
            egress,
            master_keys: keys.masters.clone(),
            ticket_key: keys.local.derive("tickets"),
        };
        Ok(auth_service::wiring::assemble(&config, parts, life).await?)
    }

    #[allow(clippy::too_many_arguments, reason = "everything an executor stands on")]
    fn start_executor(
        &self,
        auth: Arc<AuthService>,
        catalog: Arc<CatalogHandle>,
        egress: Egress,
        master: &SecretKey,
        limits: Option<Limits>,
        life: &Lifecycle,
        stop: CancellationToken,
    ) -> Arc<dyn Express> {
        let parts = executor::wiring::Parts {
            queue: Arc::new(self.queue.clone()),
            shares: self.shares.clone(),
            replies: self.replies.clone(),
            journal: self.journal.clone(),
            blobs: self.blobs.clone(),
            vault: auth.clone(),
            custody: auth,
            catalog,
            egress,
            limits,
            idempotency_root: master.derive("vendor idempotency keys"),
        };
        let (executor, _) = executor::wiring::assemble(executor::Config::default(), parts, life);
        let express = executor.express();
        self.fleet.join(executor.presence(Readiness::new(life.leaving())));
        life.supervise_result("executor", executor.run(stop));
        express
    }

    #[allow(clippy::too_many_arguments, reason = "everything a gateway stands on")]
    fn gateway(
        &self,
        config: GatewayConfig,
        args: &UpArgs,
        auth: Arc<AuthService>,
        catalog: Arc<CatalogHandle>,
        express: Arc<dyn Express>,
        master: &SecretKey,
        life: &Lifecycle,
    ) -> Arc<api_gateway::Gateway> {
        let parts = api_gateway::wiring::Parts {
            directory: auth.clone(),
            custody: auth.clone(),
            connect: auth,
            catalog,
            queue: Arc::new(self.queue.clone()),
            express,
            // What was accepted is to survive the end of this process, which is gateway and executor at once.
            express_effects: Arc::new(NoExpress),
            journal: self.journal.clone(),
            blobs: self.blobs.clone(),
            fleet: Arc::new(self.fleet.clone()),
            ticket_key: master.derive("tickets"),
            sandbox: args.sandbox,
            readiness: Readiness::new(life.leaving()),
        };
        let config = GatewayConfig { listen: args.listen.clone(), ..config };
        let gateway = api_gateway::wiring::assemble(config, InstanceId::generate(), parts, life);
        self.fleet.join(gateway.clone());
        gateway
    }

    fn close(&self) {
        self.queue.close();
        self.file.close();
    }
}

/// Pages share the gateway's listener: unless told otherwise, its URL is theirs.
fn public_url(gateway: &GatewayConfig, auth: &AuthSettings, url: &str) -> String {
    let asked = std::env::var("PLUGBOARD_AUTH__PUBLIC_URL").is_ok();
    let given = if asked { &auth.public_url } else { &gateway.public_url };
    if given.is_empty() { url.to_owned() } else { given.clone() }
}

/// Manifests, built in and from `--connectors`, followed by one handle for all services.
fn catalog(args: &UpArgs, life: &Lifecycle) -> anyhow::Result<Arc<CatalogHandle>> {
    let config = catalog_service::config::Config { directories: args.connectors.clone(), ..Default::default() };
    let service = CatalogService::open(config)?;
    life.supervise("manifest files", service.clone().follow_files(life.stopping()));
    let catalog = CatalogHandle::new(service);
    life.supervise("catalog changes", catalog.clone().follow(life.stopping()));
    Ok(catalog)
}

async fn wait_ready(gateway: &api_gateway::Gateway, life: &Lifecycle) -> anyhow::Result<()> {
    let ready = async {
        gateway.catalog.ready().await;
        while !gateway.ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        waited = tokio::time::timeout(READY_WITHIN, ready) => {
            waited.context("not ready in time; PLUGBOARD_TELEMETRY__LOG=info tells more")
        }
        // A signal during the start, or a part that failed: the drain tells which.
        () = life.stopping().cancelled_owned() => Ok(()),
    }
}

/// With the first keys comes a link to the connect screen. Whoever reads the one reads the other, so what is connected by
/// it needs no claim.
async fn first_link(auth: &AuthService, keys: &Bootstrap) -> anyhow::Result<Option<Secret>> {
    let Some(key) = &keys.api_key else { return Ok(None) };
    let principal = auth.verify_key(key).await?;
    let Some(organization) = principal.organization else { return Ok(None) };
    let (key, subject, services, return_url) = (principal.key_id, None, Vec::new(), None);
    let wanted =
        NewConnectSession { organization, key, subject, services, return_url, by_call: false, mend_only: false };
    Ok(Some(auth.create_trusted_session(wanted).await?.url))
}

fn announce(args: &UpArgs, url: &str, keys: Bootstrap, link: Option<&Secret>, services: usize) {
    let text = |key: Option<Secret>| key.map(|key| key.expose().to_owned());
    let link = link.map(|link| link.expose().to_owned());
    let ready = Ready::new(url, text(keys.operator_key), text(keys.api_key), link);
    if args.json {
        print_answer(&ready.to_json());
    } else {
        print_answer(&ready.to_text(services, args.sandbox, &args.data.display().to_string()));
    }
}

/// `up` speaks by its greeting; logs are for trouble unless asked for.
fn log_filter() -> String {
    std::env::var("PLUGBOARD_TELEMETRY__LOG").unwrap_or_else(|_| "warn".to_owned())
}

fn seed(name: &str) -> Option<Secret> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new)
}

/// What an embedded deployment keeps secret.
struct DataKeys {
    /// Encrypt accounts: `master.key`.
    masters: Arc<dyn KeySource>,
    /// Root of what needs no rotation, because it guards nothing for longer than a day: tickets, payloads, idempotency
    /// keys. `local.key`.
    local: SecretKey,
}

pub fn master_key_file(data: &Path) -> PathBuf {
    data.join("master.key")
}

pub fn local_key_file(data: &Path) -> PathBuf {
    data.join("local.key")
}

/// The keys in the data directory: made at the first start, never again.
fn data_keys(data: &Path) -> anyhow::Result<DataKeys> {
    let path = master_key_file(data);
    if !path.is_file() {
        make_master_key(data, &path)?;
    }
    Ok(DataKeys { masters: Arc::new(FileKeys::new(path, true)), local: local_key(&local_key_file(data))? })
}

/// From now on no other master key is made here.
///
/// # Errors
/// When the directory cannot be written.
pub fn mark_keyed(data: &Path) -> std::io::Result<()> {
    std::fs::write(data.join("keyed"), "The accounts here are sealed with master.key. Back both up, apart.\n")
}

fn make_master_key(data: &Path, path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    if data.join("keyed").is_file() {
        bail!("{shown} is gone, but {} holds accounts sealed with it: put it back from your backup", data.display());
    }
    let key = MasterKey { id: FIRST.to_owned(), key: SecretKey::generate()? };
    write_keys(path, &[key]).with_context(|| format!("writing {shown}"))?;
    mark_keyed(data)?;
    say(&format!("Made {shown}, the key that seals accounts. Back it up: without it they cannot be opened."));
    Ok(())
}

/// Losing it loses calls that have not ended and large answers that are kept, and nothing else.
fn local_key(path: &Path) -> anyhow::Result<SecretKey> {
    let shown = path.display();
    if path.is_file() {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
        return SecretKey::from_hex(&text).with_context(|| format!("{shown}"));
    }
    let key = SecretKey::generate()?;
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.with_context(|| format!("writing {shown}"))?;
    file.write_all(key.to_hex().expose().as_bytes())?;
    file.sync_all()?;
    Ok(key)
}

#[allow(clippy::print_stderr, reason = "for the person at the terminal; stdout belongs to the ready line")]
pub fn say(text: &str) {
    eprintln!("{text}");
}
