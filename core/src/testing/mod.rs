//! Contract suites: what a port promises, as functions every adapter is run through.
//!
//! A suite takes a maker of [`World`]s and runs each of its checks in a fresh one:
//!
//! ```ignore
//! struct NatsJournalWorld { /* server, namespace, open connections */ }
//!
//! #[async_trait]
//! impl World for NatsJournalWorld {
//!     type Port = dyn JournalStore;
//!     async fn open(&mut self) -> Arc<Self::Port> { … }
//! }
//!
//! #[tokio::test(flavor = "multi_thread")]
//! async fn keeps_the_contract() {
//!     journal_contract(async || NatsJournalWorld::new().await).await;
//! }
//! ```
//!
//! What only some adapters can do (die and come back, turn the clock, be looked into) is a method with a default that
//! says "cannot"; the checks that need it are then left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

mod blobs;
mod build;
mod catalog;
pub mod certificates;
mod express;
mod fleet;
mod fuzz;
mod journal;
mod limits;
mod queue;
mod replies;
mod seeds;
mod store;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use blobs::blobs_contract;
pub use build::{JobBuilder, outcome};
pub use catalog::{CatalogWorld, catalog_contract};
pub use express::{ExpressWorld, express_contract};
pub use fleet::{FleetWorld, fleet_contract};
pub use fuzz::{edited, fuzz, words};
pub use journal::journal_contract;
pub use limits::limits_contract;
pub use queue::{QueueWorld, queue_contract};
pub use replies::replies_contract;
pub use seeds::{Random, RunClock, draw_from, drawn, search, seeds};
pub use store::store_contract;

use crate::clock::FakeClock;

/// One set of data behind a port, and the processes that use it.
#[async_trait]
pub trait World: Send {
    /// The port, e.g. `dyn JournalStore`.
    type Port: ?Sized + Send + Sync + 'static;

    /// The port as one more process sees it. The first call finds no data; later ones share the data with the first.
    async fn open(&mut self) -> Arc<Self::Port>;

    /// Ends every process that [`World::open`] stands for, as `kill -9` does: ports and deliveries from before do
    /// nothing any more, not even when dropped, and only what was durable remains for the next `open`.
    ///
    /// `false`: this adapter's data die with its process, and what concerns durability is left out.
    async fn crash(&mut self) -> bool {
        false
    }

    /// The clock the adapter reads, if it may be turned; without one, expiry is left out.
    fn clock(&self) -> Option<FakeClock> {
        None
    }

    /// Whether these bytes can be found in the data at rest; `None` when that cannot be looked at.
    async fn lies_in_clear(&mut self, needle: &[u8]) -> Option<bool> {
        let _ = needle;
        None
    }
}

/// Waits until `what` is true, at most `limit`.
async fn eventually<F: Future<Output = bool>>(limit: Duration, name: &str, mut what: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + limit;
    loop {
        if what().await {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "not within {limit:?}: {name}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A manifest from its YAML.
pub fn manifest(yaml: &str) -> crate::manifest::Manifest {
    serde_saphyr::from_str(yaml).unwrap()
}
