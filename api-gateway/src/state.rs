//! What handlers may reach.

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::blobs::Blobs;
use plugboard_core::catalog::CatalogHandle;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::fleet::Fleet;
use plugboard_core::identity::{CachedDirectory, CallLog, Connect, Custody};
use plugboard_core::ids::InstanceId;
use plugboard_core::job::{ExecutionIds, TicketKey};
use plugboard_core::journal::Journal;
use plugboard_core::queue::{Express, JobQueue};
use plugboard_core::readiness::Readiness;
use tokio_util::sync::CancellationToken;

use crate::calls::RecentCalls;
use crate::config::GatewayConfig;
use crate::connect_link::ConnectLinks;
use crate::console::Sessions;
use crate::meters::Meters;
use crate::pages::Pages;
use crate::waiters::{Callers, Waiters};

/// The parts of one gateway. Shared behind an `Arc`.
pub struct Gateway {
    pub config: GatewayConfig,
    pub directory: Arc<CachedDirectory>,
    pub custody: Arc<dyn Custody>,
    pub call_log: CallLog,
    /// What a console shows: calls of this gateway, and who else is there.
    pub calls: RecentCalls,
    pub fleet: Arc<dyn Fleet>,
    pub console: Sessions,
    pub connect: Arc<dyn Connect>,
    pub connect_links: ConnectLinks,
    pub catalog: Arc<CatalogHandle>,
    pub pages: Pages,
    pub queue: Arc<dyn JobQueue>,
    pub express: Arc<dyn Express>,
    /// For what is not a read.
    pub express_effects: Arc<dyn Express>,
    pub journal: Journal,
    pub blobs: Arc<dyn Blobs>,
    pub clock: Arc<dyn Clock>,
    pub ticket_key: TicketKey,
    pub execution_ids: ExecutionIds,
    pub me: InstanceId,
    pub since: Millis,
    pub waiters: Waiters,
    pub callers: Callers,
    /// Fires when whoever waits here cannot wait any longer, because this gateway stops.
    pub parting: CancellationToken,
    pub meters: Meters,
    pub readiness: Readiness,
    /// Every organization has an account for every service.
    pub sandbox: bool,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("me", &self.me).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Gateway {
    /// All that a call needs is there, and no stop was asked for.
    pub fn ready(&self) -> bool {
        self.readiness.is_ready()
    }

    /// Returns when no caller waits any more, or after `limit`.
    pub async fn drained(&self, limit: Duration) {
        let empty = async {
            while !self.callers.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Whoever still waits then is told by its execution id.
        let _ = tokio::time::timeout(limit, empty).await;
    }
}
