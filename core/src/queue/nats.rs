//! The queue on NATS JetStream.
//!
//! | file | what it does |
//! | --- | --- |
//! | `link` | the connection: bounded waits, answers that tell "not stored" from "not known" |
//! | `topology`, `start` | streams, consumers, buckets; a start waits until they can be made |
//! | `spread` | which lane a job takes, so that a burst delays nobody else |
//! | `publish`, `recent` | packing and publishing; what was published a short while ago |
//! | `intake`, `demand` | pulling while somebody receives, taking packs apart |
//! | `holds`, `keeper` | acks, signs of life, jobs that leave their pack |
//! | `survey` | how much lies in the stream, and since when |
//! | [`inspect`] | all of it, as servers and leaders tell it, for a doctor |
//! | `replies` | outcomes back to the gateways |
//! | `express` | calls whose callers wait, without a stream |
//! | `packing` | packets of what is sent without a stream |
//!
//! **Packing and its duties.** A message may hold up to 64 jobs. Each is a [`Delivery`] of its own; the message is
//! acked when all have ended. A job that is handed back leaves its pack, published by itself, so that it holds nobody
//! up. A pack that is delivered a second time, perhaps because one of its jobs killed its executor, is not worked on:
//! its jobs are published one by one and only then delivered. Starts are counted through all of this.

mod dead_letters;
mod demand;
mod express;
mod holds;
pub mod inspect;
mod intake;
mod keeper;
mod link;
mod packing;
mod publish;
mod recent;
mod replies;
mod spread;
mod start;
mod survey;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use express::{NatsExpress, NatsExpressHost};
pub use link::{NatsConfig, NatsLink};
pub(crate) use link::{Stored, message_id_headers, put_header};
pub use publish::{JOB_BYTES, PACK_BYTES, PACK_JOBS};
pub use replies::NatsReplies;
pub(crate) use topology::{ensure_journal, ensure_payloads};

use self::demand::Demand;
use self::holds::{Command, Fetched, Ledger};
use self::intake::Intake;
use self::keeper::Keeper;
use self::publish::Publisher;
use self::survey::Looks;
use super::{DeadLetters, Delivery, JobQueue, QueueError, Shares, Survey, wire};
use crate::clock::Clock;
use crate::job::Job;

/// How long storing a dead letter is tried.
const BURY_WITHIN: Duration = Duration::from_secs(5);

/// Settings of [`NatsQueue`].
#[derive(Debug, Clone, Copy)]
pub struct NatsQueueConfig {
    /// Messages of one consumer that all executors together hold at once; more wait in the stream. Take 1.25 × the sum
    /// of all slots. Default: 4,096.
    pub max_ack_pending: i64,
    /// Messages of one organization and class that may wait: the backstop behind the gateways' own bound. Default:
    /// 50,000.
    pub max_waiting_per_subject: i64,
}

impl Default for NatsQueueConfig {
    fn default() -> Self {
        Self { max_ack_pending: 4_096, max_waiting_per_subject: 50_000 }
    }
}

/// [`JobQueue`] on JetStream.
///
/// [`Survey`] counts messages here, so a pack counts once.
pub struct NatsQueue {
    link: NatsLink,
    config: NatsQueueConfig,
    clock: Arc<dyn Clock>,
    publisher: Publisher,
    looks: Arc<Looks>,
    ledger: Arc<Ledger>,
    demand: Arc<Demand>,
    /// Started with the first `receive`, because a gateway never receives. The keeper lives as long as its senders: we
    /// hold one until the last ack is confirmed.
    receiving: OnceCell<mpsc::UnboundedSender<Command>>,
    intake: TaskTracker,
    closed: CancellationToken,
}

impl std::fmt::Debug for NatsQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsQueue").field("link", &self.link).field("config", &self.config).finish_non_exhaustive()
    }
}

impl NatsQueue {
    /// Makes the streams when they are absent. `shares`: the slots of who receives.
    ///
    /// # Errors
    /// When they are absent and cannot be made.
    pub async fn open(
        link: &NatsLink,
        config: NatsQueueConfig,
        shares: Arc<Shares>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, QueueError> {
        topology::ensure_jobs(link, config.max_waiting_per_subject).await?;
        let (ledger, looks) = (Arc::<Ledger>::default(), Arc::<Looks>::default());
        Ok(Self {
            link: link.clone(),
            config,
            clock,
            publisher: Publisher::new(link, looks.clone()),
            looks,
            demand: Arc::new(Demand::new(shares, ledger.room.clone())),
            ledger,
            receiving: OnceCell::new(),
            intake: TaskTracker::new(),
            closed: CancellationToken::new(),
        })
    }

    async fn start_receiving(&self) -> Result<mpsc::UnboundedSender<Command>, QueueError> {
        let (keeper, commands) = mpsc::unbounded_channel();
        Keeper::start(self.link.clone(), self.ledger.clone(), commands)
            .await
            .map_err(|error| QueueError::Unavailable(error.to_string()))?;
        let intake = Intake {
            link: self.link.clone(),
            ledger: self.ledger.clone(),
            keeper: keeper.clone(),
            demand: self.demand.clone(),
            max_ack_pending: self.config.max_ack_pending,
            closed: self.closed.clone(),
        };
        self.intake.spawn(intake.run());
        Ok(keeper)
    }

    /// Stops receiving: jobs that were fetched ahead are handed back, and `receive` answers [`QueueError::Closed`].
    /// Then waits, for at most `within`, until the server has confirmed every ack. Deliveries that are still held
    /// stay valid.
    pub async fn close(&self, within: Duration) {
        let until = Instant::now() + within;
        self.closed.cancel();
        self.intake.close();
        if tokio::time::timeout_at(until, self.intake.wait()).await.is_err() {
            tracing::warn!("some jobs that were fetched ahead could not be handed back in time");
        }
        while self.ledger.messages() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for NatsQueue {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

#[async_trait]
impl JobQueue for NatsQueue {
    async fn publish(&self, job: Arc<Job>) -> Result<(), QueueError> {
        self.publisher.publish(&job).await
    }

    async fn receive(&self) -> Result<Delivery, QueueError> {
        self.receiving.get_or_try_init(|| self.start_receiving()).await?;
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(QueueError::Closed),
            Fetched { job, starts, hold, .. } = self.demand.next() => Ok(Delivery::new(job, starts, Box::new(hold))),
        }
    }

    async fn bury(&self, job: &Job, reason: &str, starts: u32) -> Result<(), QueueError> {
        let until = Instant::now() + BURY_WITHIN;
        let subject = self.link.names().dead(&job.organization, &job.execution_id);
        let headers = message_id_headers(job.execution_id.as_str());
        let letter = wire::encode_dead_letter(job, reason, starts, self.clock.now());
        loop {
            let within = until.saturating_duration_since(Instant::now()).min(Duration::from_secs(2));
            let stored = self.link.store(subject.clone(), headers.clone(), letter.clone(), within).await;
            if matches!(stored, Stored::Yes { .. }) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(QueueError::Unavailable(format!("the dead letter was not stored: {stored:?}")));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn survey(&self) -> Result<Survey, QueueError> {
        self.looks.look(&self.link).await
    }

    fn wait_ahead(&self, job: &Job) -> Duration {
        let lanes = self.publisher.lanes_of(job);
        lanes.into_iter().flatten().map(|lane| self.looks.wait(lane.source())).min().unwrap_or_default()
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self
    }
}
