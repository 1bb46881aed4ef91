//! The work queue and the way back.
//!
//! What every adapter promises (and the contract suite in `testing::queue` checks):
//! - `publish` returns only when the job survives the death of any one process, with one exception: a `read` whose
//!   caller waits may be kept by the gateway alone.
//! - Publishing the same execution id again within ten minutes adds nothing, with the same exception: there a repeat
//!   does no harm.
//! - Every job is delivered at least once. A delivery that is neither acked nor nacked within ten seconds of its last
//!   sign of life is delivered again; holding a [`Delivery`] is the sign of life.
//! - `starts` counts deliveries and is never reset by a restart.
//! - Callers who wait come first, organizations take turns, and none takes more than its part of the slots
//!   ([`Shares`]): a burst of one delays the others by a few jobs at most.
//! - A delivery is no licence to call: the journal decides ([`crate::journal`]).

pub mod dead_letters;
pub mod express;
pub mod local;
mod message_writer;
pub mod nats;
mod ready;
mod shares;
pub mod subjects;
pub mod survey;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{ExecutionId, InstanceId};
use crate::job::{Job, Outcome};

pub use dead_letters::{DeadLetter, DeadLetterPage, DeadLetters, Letter, NoDeadLetters, UnreadableLetter};
pub use express::{BEGUN_WITHIN, Express, ExpressKind, NoExpress, NotRun};
pub(crate) use message_writer::MessageWriter;
pub use shares::{Share, Shares};
pub use survey::{Line, Survey};

/// A job is given up and put among the dead letters after this many starts.
pub const MAX_STARTS: u32 = 5;

/// Without a sign of life for this long, a delivery goes to another executor.
pub const ACK_WAIT: Duration = Duration::from_secs(10);

/// Interval of the signs of life.
pub const HEARTBEAT: Duration = Duration::from_secs(3);

#[async_trait]
pub trait JobQueue: Send + Sync + 'static {
    /// # Errors
    /// [`QueueError::Unconfirmed`] says that the job may run all the same.
    async fn publish(&self, job: Arc<Job>) -> Result<(), QueueError>;

    /// Waits for the next job. Cancel-safe: a job is never lost between the queue and the caller.
    ///
    /// # Errors
    /// When the queue is closed for good; passing trouble is waited out inside.
    async fn receive(&self) -> Result<Delivery, QueueError>;

    /// Puts a job that was started too often aside, with its reason; kept 30 days.
    ///
    /// # Errors
    /// When it could not be stored; the delivery must then not be acked.
    async fn bury(&self, job: &Job, reason: &str, starts: u32) -> Result<(), QueueError>;

    /// A look at everything that lies here.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn survey(&self) -> Result<Survey, QueueError>;

    /// How long the first in the line that this job would join has waited, as the last [`JobQueue::survey`] saw it.
    fn wait_ahead(&self, job: &Job) -> Duration;

    /// Jobs waiting and jobs held by executors.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn depth(&self) -> Result<QueueDepth, QueueError> {
        Ok(self.survey().await?.depth())
    }

    /// What [`JobQueue::bury`] has put aside.
    fn dead_letters(&self) -> &dyn DeadLetters;
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    pub waiting: u64,
    pub held: u64,
}

/// A job in an executor's hands. Dropping it without [`Delivery::ack`] hands it back.
pub struct Delivery {
    pub job: Arc<Job>,
    /// How often this job was handed out, this time included.
    pub starts: u32,
    hold: Box<dyn Hold>,
}

impl Delivery {
    pub fn new(job: impl Into<Arc<Job>>, starts: u32, hold: Box<dyn Hold>) -> Self {
        Self { job: job.into(), starts, hold }
    }

    /// The job has ended; it will not be delivered again.
    pub fn ack(self) {
        self.hold.ack();
    }

    /// Deliver again after `delay`.
    pub fn nack(self, delay: Duration) {
        self.hold.nack(delay);
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("job", &self.job).field("starts", &self.starts).finish_non_exhaustive()
    }
}

/// An adapter's end of a [`Delivery`]. Dropping it unresolved hands the job back at once.
pub trait Hold: Send + Sync {
    fn ack(self: Box<Self>);
    fn nack(self: Box<Self>, delay: Duration);
}

/// Outcomes on their way to the gateway that waits. At most once: what must not be lost is in the journal.
#[async_trait]
pub trait Replies: Send + Sync + 'static {
    /// # Errors
    /// When the outcome could not be handed to the transport.
    async fn send(&self, to: &InstanceId, outcome: Outcome) -> Result<(), QueueError>;

    /// From here on every outcome for `me` goes to `inbox`, as long as the adapter lives; the last subscription of an
    /// instance counts. Returns when no outcome can be missed any more.
    ///
    /// # Errors
    /// When the subscription could not be made.
    async fn subscribe(&self, me: &InstanceId, inbox: Inbox) -> Result<(), QueueError>;
}

/// Takes an outcome. Called where it arrives, so that it pays for no further task: it must not wait for anything.
pub type Inbox = Arc<dyn Fn(Outcome) + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Nothing was stored.
    #[error("the queue cannot be reached: {0}")]
    Unavailable(String),
    /// Nothing was stored: the organization's backlog is at its bound.
    #[error("the queue is full")]
    Full,
    /// Sent, but never confirmed: {0} may run.
    #[error("the queue did not confirm {0} in time; it may still run")]
    Unconfirmed(ExecutionId),
    #[error("the queue is closed")]
    Closed,
    /// Data of a format this version does not know.
    #[error("the queue holds something unreadable: {0}")]
    Unreadable(String),
}
