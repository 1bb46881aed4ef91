//! The only file here that names adapters.

use std::sync::Arc;

use plugboard_core::blobs::nats::NatsBlobs;
use plugboard_core::blobs::{BlobError, Blobs};
use plugboard_core::catalog::{CatalogError, CatalogHandle, GrpcCatalog};
use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::fleet::Fleet;
use plugboard_core::fleet::nats::{NatsFleet, NatsMember};
use plugboard_core::identity::{
    CachedDirectory, CallLog, Connect, Custody, Directory, EndpointError, GrpcConnect, GrpcCustody, GrpcDirectory,
    ServiceRole, service_token,
};
use plugboard_core::ids::InstanceId;
use plugboard_core::job::{ExecutionIds, TicketKey};
use plugboard_core::journal::nats::NatsJournal;
use plugboard_core::journal::{Journal, JournalError, JournalStore};
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::queue::nats::{NatsConfig, NatsExpress, NatsLink, NatsQueue, NatsQueueConfig, NatsReplies};
use plugboard_core::queue::{Express, ExpressKind, JobQueue, QueueError, Replies, Shares};
use plugboard_core::readiness::{Health, Readiness};
use plugboard_core::secret::SecretKey;
use plugboard_core::tls::Tls;
use tokio_util::sync::CancellationToken;

use crate::calls::RecentCalls;
use crate::config::GatewayConfig;
use crate::connect_link::ConnectLinks;
use crate::console::Sessions;
use crate::meters::Meters;
use crate::pages::Pages;
use crate::state::Gateway;
use crate::waiters::{Callers, Waiters};

/// What a gateway stands on, whichever shape it runs in.
pub struct Parts {
    pub directory: Arc<dyn Directory>,
    pub custody: Arc<dyn Custody>,
    pub connect: Arc<dyn Connect>,
    /// Followed by whoever made it.
    pub catalog: Arc<CatalogHandle>,
    pub queue: Arc<dyn JobQueue>,
    pub express: Arc<dyn Express>,
    /// For what is not a read.
    pub express_effects: Arc<dyn Express>,
    pub journal: Arc<dyn JournalStore>,
    pub blobs: Arc<dyn Blobs>,
    pub fleet: Arc<dyn Fleet>,
    pub ticket_key: SecretKey,
    pub sandbox: bool,
    /// What stands behind these parts; the catalog and the auth service are added.
    pub readiness: Readiness,
}

/// Where the other services are, and how to be let in.
pub struct Remote {
    pub nats: NatsConfig,
    pub queue: NatsQueueConfig,
    pub auth: Vec<String>,
    pub catalog: String,
    pub cluster_secret: SecretKey,
    pub ticket_key: SecretKey,
    pub payload_key: SecretKey,
    pub sandbox: bool,
    pub tls: Tls,
}

#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("peers.auth: {0}")]
    Auth(#[from] EndpointError),
}

/// Joins the parts, and starts what writes the audit log.
pub fn assemble(config: GatewayConfig, me: InstanceId, parts: Parts, life: &Lifecycle) -> Arc<Gateway> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (call_log, writer) = CallLog::new(Arc::new(parts.custody.clone()), clock.clone());
    life.supervise("call log", writer.run(life.stopping()));
    let directory = CachedDirectory::new(parts.directory, clock.clone());
    let (manifests, keys) = (parts.catalog.clone(), directory.clone());
    let readiness = parts.readiness.with("catalog", move || manifests.health()).with("auth", move || keys.health());
    Arc::new(Gateway {
        config,
        directory,
        custody: parts.custody,
        call_log,
        connect: parts.connect,
        connect_links: ConnectLinks::new(&parts.ticket_key),
        calls: RecentCalls::new(me.clone(), clock.clone()),
        fleet: parts.fleet,
        console: Sessions::new(&parts.ticket_key),
        since: clock.now(),
        catalog: parts.catalog,
        pages: Pages::default(),
        queue: parts.queue,
        express: parts.express,
        express_effects: parts.express_effects,
        journal: Journal::new(parts.journal, clock.clone(), me.clone()),
        blobs: parts.blobs,
        clock,
        execution_ids: ExecutionIds::new(&parts.ticket_key.derive("execution ids")),
        ticket_key: TicketKey::new(parts.ticket_key),
        me,
        waiters: Waiters::default(),
        callers: Callers::default(),
        parting: CancellationToken::new(),
        meters: Meters::default(),
        readiness,
        sandbox: parts.sandbox,
    })
}

/// A gateway of the distributed shape.
///
/// # Errors
/// When NATS does not serve within its time, or an address is malformed. The other services are connected when they
/// are first needed.
pub async fn distributed(
    config: GatewayConfig,
    remote: Remote,
    life: &Lifecycle,
) -> Result<(Arc<Gateway>, Arc<dyn Replies>), WiringError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let token = service_token(&remote.cluster_secret, ServiceRole::Gateway);
    let tls = remote.tls.services.as_ref();
    let catalog = CatalogHandle::new(Arc::new(GrpcCatalog::connect_lazy(&remote.catalog, tls)?.with_token(&token)?));
    life.supervise("catalog changes", catalog.clone().follow(life.stopping()));
    let link = NatsLink::connect(&remote.nats).await?;
    // It receives nothing, so it has no slots to divide.
    let queue = NatsQueue::open(&link, remote.queue, Shares::new(0), clock).await?;
    let me = InstanceId::generate();
    let replies: Arc<dyn Replies> = Arc::new(NatsReplies::new(&link));
    let broker = link.clone();
    let parts = Parts {
        directory: Arc::new(GrpcDirectory::new(&remote.auth, &token, tls)?),
        custody: Arc::new(GrpcCustody::new(&remote.auth, &token, tls)?),
        connect: Arc::new(GrpcConnect::new(&remote.auth, &token, tls)?),
        catalog,
        fleet: NatsFleet::open(&link, &me).await?,
        queue: Arc::new(queue),
        express: NatsExpress::open(&link, ExpressKind::Reads, &me).await?,
        express_effects: NatsExpress::open(&link, ExpressKind::Effects, &me).await?,
        journal: Arc::new(NatsJournal::open(&link).await?),
        blobs: Arc::new(NatsBlobs::open(&link, remote.payload_key).await?),
        ticket_key: remote.ticket_key,
        sandbox: remote.sandbox,
        readiness: remote
            .tls
            .watched_by(Readiness::new(life.leaving()))
            .with("nats", move || Health::up_if(link.connected(), "no connection")),
    };
    let gateway = assemble(config, me, parts, life);
    life.supervise("console questions", NatsMember::open(&broker, gateway.clone()).await?.run(life.stopping()));
    Ok((gateway, replies))
}
