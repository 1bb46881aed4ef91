//! The express lane: a read whose caller waits needs no queue, if somebody has a place for it now.
//!
//! What every adapter promises (and the contract suite in `testing::express` checks):
//! - A job is run at once or not taken. What is not taken belongs on the [`JobQueue`](super::JobQueue), which is fair and
//!   has room; so this lane needs neither order nor bounds of its own.
//! - "Not taken" comes soon, also when whoever took the job is gone, and never hides an answer: reads may run twice.
//! - Only reads with a waiting caller travel here. Nothing is journaled, nothing is redelivered.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::job::{Job, Outcome};

/// Why a job has no outcome here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRun {
    /// Nobody began it.
    NotTaken,
    /// Whoever may have taken it is not heard of any more: it may have been begun, or done.
    Lost,
}

pub trait Express: Send + Sync + 'static {
    /// Dropping the future gives the job up; it may run on.
    fn run(self: Arc<Self>, job: Arc<Job>) -> BoxFuture<'static, Result<Outcome, NotRun>>;
}

/// Takes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExpress;

impl Express for NoExpress {
    fn run(self: Arc<Self>, _job: Arc<Job>) -> BoxFuture<'static, Result<Outcome, NotRun>> {
        Box::pin(std::future::ready(Err(NotRun::NotTaken)))
    }
}
