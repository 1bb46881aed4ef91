//! Makes the calls: takes jobs from the queue, fetches the account's fields, calls the vendor, shapes the answer,
//! writes the journal and replies.
//!
//! | module | what it does |
//! | --- | --- |
//! | `worker` | takes jobs, bounds how many run at once, hands back what does not end in time |
//! | `attempt` | one job from start to end: every path ends with exactly one of ack and nack |
//! | `http` | job → request, answer → outcome; pure |
//! | `transport` | where credentials go in a request, one file a placement |
//! | `lines`, `breaker`, `budget` | when a host is left alone, and how often it is asked again |
//! | `meters` | what is counted on every call |
//! | `congestions`, `presence` | what holds calls up now, and what an executor tells of itself |
//! | `upstream` | the port to the vendors |
//! | `chance` | what a test decides: random parts of waits, nonces |
//! | `scrub` | takes secret values out of what vendors send |
//! | [`sandbox`] | the built-in vendor that answers every operation's example |
//!
//! This crate does not know MCP, REST, sessions, API keys, OAuth dances, the master key, or where manifests are kept.

mod attempt;
mod breaker;
mod budget;
#[cfg(test)]
mod catalog_tests;
mod chance;
mod config;
mod congestions;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod http;
mod lines;
mod meters;
mod presence;
pub mod sandbox;
mod scrub;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;
mod transport;
pub mod wiring;
mod worker;

use std::sync::Arc;

use futures::future::BoxFuture;
use plugboard_core::blobs::Blobs;
use plugboard_core::catalog::CatalogHandle;
use plugboard_core::clock::Clock;
use plugboard_core::identity::{CallLog, Vault};
use plugboard_core::job::{Job, Outcome};
use plugboard_core::journal::Journal;
use plugboard_core::limits::Limits;
use plugboard_core::manifest::Effect;
use plugboard_core::queue::{Express, JobQueue, NotRun, QueueError, Replies, Shares};
use plugboard_core::secret::SecretKey;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use config::Config;
pub use plugboard_core::egress::Upstream;

use crate::congestions::Congestions;
use crate::lines::Lines;
use crate::meters::Meters;

/// Everything an executor works with.
#[derive(Clone)]
pub struct Deps {
    pub queue: Arc<dyn JobQueue>,
    pub replies: Arc<dyn Replies>,
    pub journal: Journal,
    pub blobs: Arc<dyn Blobs>,
    pub vault: Arc<dyn Vault>,
    pub catalog: Arc<CatalogHandle>,
    pub upstream: Arc<dyn Upstream>,
    pub clock: Arc<dyn Clock>,
    /// Root of the idempotency keys that vendors see. The same in every executor of a deployment, or a job taken
    /// over by another executor would carry another key.
    pub idempotency_root: SecretKey,
    /// Enters each call in the audit log; `None`: nowhere.
    pub calls: Option<CallLog>,
    /// Keeps the vendors' limits; `None`: nobody does, in the sandbox.
    pub limits: Option<Limits>,
    pub(crate) lines: Lines,
    pub(crate) congestions: Congestions,
    pub(crate) meters: Meters,
}

/// Takes jobs and makes calls until told to stop.
pub struct Executor {
    config: Config,
    deps: Arc<Deps>,
    /// One permit for each job that may run.
    slots: Arc<Semaphore>,
    /// Who may have them. A job from the queue comes with its own.
    shares: Arc<Shares>,
    /// Dropped when the last call has ended.
    ended: Option<DropGuard>,
}

impl Executor {
    pub fn new(config: Config, deps: Deps, shares: Arc<Shares>) -> Self {
        let slots = config.slots.clamp(1, Semaphore::MAX_PERMITS);
        metrics::gauge!("plugboard_executor_slots").set(slots as f64);
        let slots = Semaphore::new(slots);
        Self { config, deps: Arc::new(deps), slots: Arc::new(slots), shares, ended: None }
    }

    /// Cancelled when nothing is run any more.
    #[must_use]
    pub fn announcing(mut self, ended: CancellationToken) -> Self {
        self.ended = Some(ended.drop_guard());
        self
    }

    /// The express lane into this executor's slots.
    pub fn express(&self) -> Arc<dyn Express> {
        let Self { deps, slots, shares, .. } = self;
        Arc::new(ExpressSlots { deps: deps.clone(), slots: slots.clone(), shares: shares.clone() })
    }

    /// Runs until `stop`, then finishes what is running for at most [`Config::grace`] and hands back the rest.
    ///
    /// # Errors
    /// [`QueueError::Closed`] when the queue ended by itself.
    pub async fn run(self, stop: CancellationToken) -> Result<(), QueueError> {
        let _ended = self.ended;
        worker::run(self.config, self.deps, self.slots, stop).await
    }
}

/// Runs jobs that came past the queue, in the slots of an [`Executor`].
pub struct ExpressSlots {
    deps: Arc<Deps>,
    slots: Arc<Semaphore>,
    shares: Arc<Shares>,
}

/// Jobs from the queue come first: a freed slot is theirs when one of them waits.
impl Express for ExpressSlots {
    fn run(self: Arc<Self>, job: Arc<Job>) -> BoxFuture<'static, Result<Outcome, NotRun>> {
        let not_taken = || Box::pin(std::future::ready(Err(NotRun::NotTaken)));
        let Ok(permit) = self.slots.clone().try_acquire_owned() else { return not_taken() };
        let Some(share) = self.shares.enter(&job) else { return not_taken() };
        let is_read = job.effect == Effect::Read;
        let running = worker::express(self.deps.clone(), job, (permit, share));
        if is_read {
            return Box::pin(running);
        }
        // Whoever waits may leave; what has begun is to be brought to an end all the same.
        let running = tokio::spawn(running);
        Box::pin(async move { running.await.unwrap_or(Err(NotRun::Lost)) })
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("config", &self.config).finish_non_exhaustive()
    }
}
