//! The only file here that names adapters.

use std::sync::Arc;

use plugboard_core::catalog::{CatalogError, CatalogHandle, GrpcCatalog};
use plugboard_core::clock::SystemClock;
use plugboard_core::egress::{Egress, PolicyError};
use plugboard_core::identity::{ServiceRole, service_token};
use plugboard_core::job::TicketKey;
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::secret::SecretKey;
use plugboard_core::store::redis::{RedisConfig, RedisStore};
use plugboard_core::store::{Store, StoreError};

use crate::{AuthService, Config, Deps, MasterKey, MasterKeys};

/// What the auth service stands on, whichever shape it runs in.
pub struct Parts {
    pub store: Arc<dyn Store>,
    /// Followed by whoever made it.
    pub catalog: Arc<CatalogHandle>,
    pub egress: Egress,
    pub master_key: SecretKey,
    pub ticket_key: SecretKey,
}

/// Where the other services are, and how to be let in.
pub struct Remote {
    pub redis: RedisConfig,
    pub catalog: String,
    pub cluster_secret: SecretKey,
    pub master_key: SecretKey,
    pub ticket_key: SecretKey,
}

#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    #[error("redis: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Egress(#[from] PolicyError),
}

/// Joins the parts and starts what follows changes.
pub fn assemble(config: &Config, parts: Parts, life: &Lifecycle) -> Arc<AuthService> {
    let deps = Deps {
        store: parts.store,
        catalog: parts.catalog,
        egress: parts.egress,
        clock: Arc::new(SystemClock),
        // The first key of a ring; rotation adds others.
        master_keys: MasterKeys::new(MasterKey { id: "1".to_owned(), key: parts.master_key }),
        ticket_key: TicketKey::new(parts.ticket_key),
    };
    let service = AuthService::new(config, deps);
    life.supervise("change feed", service.clone().run_changes(life.stopping()));
    service
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
    let catalog = CatalogHandle::new(Arc::new(GrpcCatalog::connect_lazy(&remote.catalog)?.with_token(&token)?));
    life.supervise("catalog changes", catalog.clone().follow(life.stopping()));
    let store = RedisStore::connect(&remote.redis).await?;
    for warning in store.verify_durable().await? {
        tracing::warn!("{warning}");
    }
    let parts = Parts {
        store: Arc::new(store),
        catalog: catalog.clone(),
        egress: egress(&catalog)?,
        master_key: remote.master_key,
        ticket_key: remote.ticket_key,
    };
    Ok((assemble(config, parts, life), catalog))
}
