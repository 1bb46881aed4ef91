//! The only file here that names adapters.

use std::sync::Arc;

use plugboard_core::blobs::nats::NatsBlobs;
use plugboard_core::blobs::{BlobError, Blobs};
use plugboard_core::catalog::{CatalogError, CatalogHandle, GrpcCatalog};
use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::egress::{Egress, PolicyError};
use plugboard_core::fleet::nats::NatsMember;
use plugboard_core::identity::{
    CachedVault, CallLog, Custody, EndpointError, GrpcCustody, GrpcVault, ServiceRole, Vault, service_token,
};
use plugboard_core::ids::InstanceId;
use plugboard_core::journal::nats::NatsJournal;
use plugboard_core::journal::{Journal, JournalError, JournalStore};
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::limits::leased::LeasedLimiter;
use plugboard_core::limits::local::LocalLimiter;
use plugboard_core::limits::redis::RedisLimiter;
use plugboard_core::limits::redis_slots::RedisSlots;
use plugboard_core::limits::{Concurrency, LimitError, Limits, Soft};
use plugboard_core::queue::nats::{NatsConfig, NatsExpressHost, NatsLink, NatsQueue, NatsQueueConfig, NatsReplies};
use plugboard_core::queue::{ExpressKind, JobQueue, QueueError, Replies, Shares};
use plugboard_core::readiness::{Health, Readiness};
use plugboard_core::secret::SecretKey;
use plugboard_core::store::redis::RedisConfig;
use plugboard_core::tls::Tls;
use tokio_util::sync::CancellationToken;

use crate::congestions::Congestions;
use crate::lines::Lines;
use crate::meters::Meters;
use crate::{Config, Deps, Executor};

/// What an executor stands on, whichever shape it runs in.
pub struct Parts {
    pub queue: Arc<dyn JobQueue>,
    /// Those that the queue knows.
    pub shares: Arc<Shares>,
    pub replies: Arc<dyn Replies>,
    pub journal: Arc<dyn JournalStore>,
    pub blobs: Arc<dyn Blobs>,
    pub vault: Arc<dyn Vault>,
    /// Where calls are entered in the audit log.
    pub custody: Arc<dyn Custody>,
    pub catalog: Arc<CatalogHandle>,
    pub egress: Egress,
    /// The vendors' limits; `None` in the sandbox.
    pub limits: Option<Limits>,
    pub idempotency_root: SecretKey,
}

/// Where the other services are, and how to be let in.
pub struct Remote {
    pub nats: NatsConfig,
    pub queue: NatsQueueConfig,
    pub auth: Vec<String>,
    pub catalog: String,
    pub cluster_secret: SecretKey,
    pub payload_key: SecretKey,
    /// Where the executors of a deployment keep the vendors' limits together; `None`: they are not kept.
    pub limits: Option<RedisConfig>,
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
    #[error(transparent)]
    Egress(#[from] PolicyError),
    #[error("peers.auth: {0}")]
    Auth(#[from] EndpointError),
    #[error("redis.url: {0}")]
    Limits(#[from] LimitError),
}

/// Joins the parts and starts what they need. The executor itself is run by the caller.
pub fn assemble(config: Config, parts: Parts, life: &Lifecycle) -> (Executor, Arc<CachedVault>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let vault = CachedVault::new(parts.vault);
    life.supervise("vault changes", vault.clone().follow(life.stopping()));
    let (calls, writer) = CallLog::new(Arc::new(parts.custody), clock.clone());
    // Calls that are being finished during a drain are entered too.
    let ended = CancellationToken::new();
    life.supervise("call log", writer.run(ended.clone()));
    if let Some(limits) = &parts.limits {
        life.supervise("slots", limits.slots.clone().keep(ended.clone()));
    }
    let deps = Deps {
        calls: Some(calls),
        limits: parts.limits,
        lines: Lines::default(),
        congestions: Congestions::default(),
        meters: Meters::default(),
        queue: parts.queue,
        replies: parts.replies,
        journal: Journal::new(parts.journal, clock.clone(), InstanceId::generate()),
        blobs: parts.blobs,
        vault: vault.clone(),
        catalog: parts.catalog,
        upstream: Arc::new(parts.egress),
        clock,
        idempotency_root: parts.idempotency_root,
    };
    (Executor::new(config, deps, parts.shares).announcing(ended), vault)
}

/// An executor of the distributed shape, and whether it can work now. `egress` is made when the catalog is known: a
/// sandbox vendor answers from it.
///
/// # Errors
/// When NATS does not serve within its time, or an address is malformed.
pub async fn distributed(
    config: Config,
    remote: Remote,
    egress: impl FnOnce(&Arc<CatalogHandle>) -> Result<Egress, PolicyError>,
    life: &Lifecycle,
) -> Result<(Executor, Readiness), WiringError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let token = service_token(&remote.cluster_secret, ServiceRole::Executor);
    let tls = remote.tls.services.as_ref();
    let catalog = CatalogHandle::new(Arc::new(GrpcCatalog::connect_lazy(&remote.catalog, tls)?.with_token(&token)?));
    life.supervise("catalog changes", catalog.clone().follow(life.stopping()));
    let egress = egress(&catalog)?;
    let link = NatsLink::connect(&remote.nats).await?;
    let shares = Shares::new(config.slots);
    let shared = remote.limits.as_ref().map(|redis| shared_limits(redis, clock.clone())).transpose()?;
    let parts = Parts {
        queue: Arc::new(NatsQueue::open(&link, remote.queue, shares.clone(), clock.clone()).await?),
        shares,
        replies: Arc::new(NatsReplies::new(&link)),
        journal: Arc::new(NatsJournal::open(&link).await?),
        blobs: Arc::new(NatsBlobs::open(&link, remote.payload_key).await?),
        vault: Arc::new(GrpcVault::new(&remote.auth, &token, tls)?),
        custody: Arc::new(GrpcCustody::new(&remote.auth, &token, tls)?),
        catalog: catalog.clone(),
        egress,
        limits: shared.as_ref().map(|(limits, _)| limits.clone()),
        idempotency_root: remote.cluster_secret.derive("vendor idempotency keys"),
    };
    let (executor, vault) = assemble(config, parts, life);
    for (kind, name) in
        [(ExpressKind::Reads, "express lane of reads"), (ExpressKind::Effects, "express lane of effects")]
    {
        let express = NatsExpressHost::open(&link, kind, clock.clone(), executor.express()).await?;
        life.supervise(name, express.run(life.stopping(), config.grace()));
    }
    let broker = link.clone();
    let readiness = remote
        .tls
        .watched_by(Readiness::new(life.leaving()))
        .with("nats", move || Health::up_if(broker.connected(), "no connection"))
        .with("catalog", move || catalog.health())
        .with("auth", move || vault.health());
    let readiness = match shared {
        None => readiness,
        Some((_, rates)) => readiness.with("redis", move || match rates.is_shared() {
            true => Health::Up,
            false => Health::Reduced("no answer: each process keeps the limits for itself"),
        }),
    };
    let presence = executor.presence(readiness.clone());
    life.supervise("console questions", NatsMember::open(&link, presence).await?.run(life.stopping()));
    Ok((executor, readiness))
}

/// The limits that executors keep together, and the part of them that tells whether they are shared at the moment.
fn shared_limits(redis: &RedisConfig, clock: Arc<dyn Clock>) -> Result<(Limits, Arc<Soft>), LimitError> {
    let redis = RedisLimiter::new(redis)?;
    let leases = RedisSlots::new(redis.clone(), InstanceId::generate());
    let rates = Arc::new(Soft::new(Arc::new(LeasedLimiter::new(redis)), LocalLimiter::new(clock)));
    let slots = Arc::new(Concurrency::new(Arc::new(leases)));
    Ok((Limits { rates: rates.clone(), slots }, rates))
}
