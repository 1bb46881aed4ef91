//! The express lane: a call whose caller waits needs no queue, if somebody has a place for it now.
//!
//! What every adapter promises (and the contract suite in `testing::express` checks):
//! - A job is run at once or not taken. What is not taken belongs on the [`JobQueue`](super::JobQueue), which is fair and
//!   has room; so this lane needs neither order nor bounds of its own.
//! - "Not taken" comes soon, also when whoever took the job is gone, and never hides an answer.
//! - Only calls with a waiting caller travel here, and nothing is redelivered. A read may run twice. Anything else is begun
//!   within [`BEGUN_WITHIN`] or not at all, and with an intent in the journal, which decides when it comes by the queue too.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::job::{Job, Outcome};

/// How long whoever takes a job that is no read may need until its intent is written. The gateway counts on it: a job
/// without an intent is begun by nobody any more when twice this time has passed.
pub const BEGUN_WITHIN: Duration = Duration::from_secs(1);

/// What a lane carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpressKind {
    Reads,
    /// Everything else.
    Effects,
}

impl ExpressKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Effects => "effects",
        }
    }
}

/// Why a job has no outcome here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRun {
    /// Nobody began it.
    NotTaken,
    /// Whoever may have taken it is not heard of any more: it may have been begun, or done.
    Lost,
}

pub trait Express: Send + Sync + 'static {
    /// Dropping the future gives the job up. A read may run on; what has an effect does.
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
