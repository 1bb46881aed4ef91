//! The only file here that names adapters.

use std::sync::Arc;

use plugboard_core::catalog::{CatalogError, CatalogHandle, GrpcCatalog};
use plugboard_core::clock::SystemClock;
use plugboard_core::egress::{Egress, PolicyError};
use plugboard_core::identity::{IdentityError, ServiceRole, service_token};
use plugboard_core::job::TicketKey;
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::secret::SecretKey;
use plugboard_core::store::redis::{RedisConfig, RedisStore};
use plugboard_core::store::{Store, StoreError};
use plugboard_core::tls::Tls;

use crate::key_source::{KeySource, KeySourceError};
use crate::{AuthService, Config, Deps, MasterKeys};

/// What the auth service stands on, whichever shape it runs in.
pub struct Parts {
    pub store: Arc<dyn Store>,
    /// Followed by whoever made it.
    pub catalog: Arc<CatalogHandle>,
    pub egress: Egress,
    pub master_keys: Arc<dyn KeySource>,
    pub ticket_key: SecretKey,
}

/// Where the other services are, and how to be let in.
pub struct Remote {
    pub redis: RedisConfig,
    pub catalog: String,
    pub cluster_secret: SecretKey,
    pub master_keys: Arc<dyn KeySource>,
    pub ticket_key: SecretKey,
    pub tls: Tls,
}

#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    #[error("redis: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Egress(#[from] PolicyError),
    #[error("master keys: {0}")]
    Keys(#[from] KeySourceError),
    #[error("master keys: {0}")]
    KeyRing(IdentityError),
}

/// Joins the parts and starts what follows changes.
///
/// # Errors
/// When the master keys cannot be read, or the present one is not among them.
pub async fn assemble(config: &Config, parts: Parts, life: &Lifecycle) -> Result<Arc<AuthService>, WiringError> {
    let deps = Deps {
        master_keys: MasterKeys::read(parts.master_keys.as_ref()).await?,
        key_source: parts.master_keys,
        revoker: None,
        store: parts.store,
        catalog: parts.catalog,
        egress: Arc::new(parts.egress),
        clock: Arc::new(SystemClock),
        ticket_key: TicketKey::new(parts.ticket_key),
    };
    let service = AuthService::new(config, deps);
    service.open_key_ring().await.map_err(WiringError::KeyRing)?;
    life.supervise("change feed", service.clone().run_changes(life.stopping()));
    Ok(service)
}

/// An auth service of the distributed shape, with its catalog. `egress` is made when the catalog is known: a sandbox
/// vendor answers from it.
///
/// # Errors
/// When Redis cannot be reached or would forget accounts, or an address is malformed.
pub async fn distributed(
    config: &Config,
    remote: Remote,
    egress: impl FnOnce(&Arc<CatalogHandle>) -> Result<Egress, PolicyError>,
    life: &Lifecycle,
) -> Result<(Arc<AuthService>, Arc<CatalogHandle>), WiringError> {
    let token = service_token(&remote.cluster_secret, ServiceRole::Auth);
    let source = GrpcCatalog::connect_lazy(&remote.catalog, remote.tls.services.as_ref())?.with_token(&token)?;
    let catalog = CatalogHandle::new(Arc::new(source));
    life.supervise("catalog changes", catalog.clone().follow(life.stopping()));
    let store = RedisStore::connect(&remote.redis).await?;
    for warning in store.verify_durable().await? {
        tracing::warn!("{warning}");
    }
    let parts = Parts {
        store: Arc::new(store),
        catalog: catalog.clone(),
        egress: egress(&catalog)?,
        master_keys: remote.master_keys,
        ticket_key: remote.ticket_key,
    };
    Ok((assemble(config, parts, life).await?, catalog))
}
