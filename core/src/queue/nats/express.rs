//! The express lane between processes, on core NATS.
//!
//! A gateway sends jobs to a subject that the executors share as a queue group; an executor answers with outcomes, with
//! the names of jobs it has no slot for, and every [`SIGN_EVERY`] with the names of those that still run. A job of
//! which nothing was heard for [`LOST_AFTER`] counts as lost: its executor is dead, paused or cut off, and the
//! lane is left alone for a while ([`REST`]), because the server goes on handing jobs to whoever is subscribed. One that has an
//! effect and was begun is waited for as long as the queue waits for a delivery: to look for it sooner could end as
//! "unknown" what only a broken connection has hidden.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::Subscriber;
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::express::{Express, ExpressKind, NotRun};
use super::super::{ACK_WAIT, QueueError, wire};
use super::link::NatsLink;
use super::packing::{PacketLane, PacketLanes};
use crate::clock::Clock;
use crate::ids::{ExecutionId, InstanceId};
use crate::job::{Job, Outcome};

/// How often an executor names the jobs that still run.
const SIGN_EVERY: Duration = Duration::from_millis(500);
/// Without a word for this long, a job is lost, unless it was begun and is no read.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// How often we look for such jobs.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the lane is left alone after a job was lost on it: doubled each time, until something comes back. Executors that
/// do not know the lane, or a server that forbids it, cost a call nothing but its first try.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(16);
/// Jobs of one gateway on the lane; more go to the queue, which bounds each organization.
const MOST: usize = 8_192;
/// How long the server may take to confirm the subscription.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(5);
/// The executors, as one receiver.
const GROUP: &str = "executors";

/// A gateway's end.
pub struct NatsExpress {
    kind: ExpressKind,
    link: NatsLink,
    jobs: Arc<PacketLane>,
    waiting: Mutex<Waiting>,
    receiving: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    calls: HashMap<ExecutionId, Call>,
    /// The lane is left alone until then.
    rests_until: Option<Instant>,
    /// How often it was since the last outcome.
    rests: u32,
}

struct Call {
    answer: oneshot::Sender<Result<Outcome, NotRun>>,
    heard: Instant,
    taken: bool,
}

impl std::fmt::Debug for NatsExpress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsExpress").field("waiting", &self.waiting.lock().calls.len()).finish_non_exhaustive()
    }
}

impl Drop for NatsExpress {
    fn drop(&mut self) {
        self.receiving.cancel();
    }
}

impl NatsExpress {
    /// # Errors
    /// When the answers cannot be subscribed to.
    pub async fn open(link: &NatsLink, kind: ExpressKind, me: &InstanceId) -> Result<Arc<Self>, QueueError> {
        let subject = link.names().express_news(kind, me);
        let news = link.client().subscribe(subject.clone()).await.map_err(unavailable)?;
        // The server must know of the subscription before the first job leaves.
        link.round_trip(SUBSCRIBED_WITHIN).await?;
        let packed = metrics::histogram!("plugboard_express_pack_jobs");
        let jobs = PacketLane::new(link.names().express(kind), Some(subject), packed);
        let receiving = CancellationToken::new();
        let this =
            Arc::new(Self { kind, link: link.clone(), jobs, waiting: Mutex::default(), receiving: receiving.clone() });
        tokio::spawn(hear(Arc::downgrade(&this), news, receiving));
        Ok(this)
    }

    /// `None`: the lane is full or left alone.
    fn enter(&self, id: &ExecutionId) -> Option<oneshot::Receiver<Result<Outcome, NotRun>>> {
        let mut waiting = self.waiting.lock();
        let now = Instant::now();
        if waiting.calls.len() >= MOST || waiting.rests_until.is_some_and(|until| now < until) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        waiting.calls.insert(id.clone(), Call { answer, heard: now, taken: false });
        Some(answered)
    }

    fn answer(&self, id: &ExecutionId, outcome: Result<Outcome, NotRun>) {
        let call = {
            let mut waiting = self.waiting.lock();
            waiting.rests = 0;
            waiting.calls.remove(id)
        };
        if let Some(call) = call {
            let _ = call.answer.send(outcome);
        }
    }

    fn hear(&self, message: async_nats::Message) {
        if message.status.is_some() {
            // No executor is subscribed: nobody took what nothing was heard of.
            return self.give_up(|call, _| !call.taken);
        }
        match wire::decode_express_news(message.payload) {
            Ok(news) => {
                for outcome in news.outcomes {
                    self.answer(&outcome.execution_id.clone(), Ok(outcome));
                }
                for id in &news.refused {
                    self.answer(id, Err(NotRun::NotTaken));
                }
                let mut waiting = self.waiting.lock();
                for id in &news.running {
                    if let Some(call) = waiting.calls.get_mut(id) {
                        call.heard = Instant::now();
                        call.taken = true;
                    }
                }
            }
            Err(error) => tracing::error!(%error, "a packet of the express lane is unreadable"),
        }
    }

    /// How long it may be quiet about a call.
    fn patience(&self, call: &Call) -> Duration {
        match self.kind {
            ExpressKind::Effects if call.taken => ACK_WAIT,
            _ => LOST_AFTER,
        }
    }

    /// Without a connection it is us who are silent. A read is made elsewhere sooner than it is waited for.
    fn excuse_what_cannot_be_heard(&self) {
        if self.kind == ExpressKind::Effects && !self.link.connected() {
            let now = Instant::now();
            self.waiting.lock().calls.values_mut().for_each(|call| call.heard = now);
        }
    }

    /// Sends to the queue what nobody works on.
    fn give_up(&self, lost: impl Fn(&Call, Instant) -> bool) {
        let now = Instant::now();
        let mut waiting = self.waiting.lock();
        let gone: Vec<Call> = waiting.calls.extract_if(|_, call| lost(call, now)).map(|(_, call)| call).collect();
        if gone.is_empty() {
            return;
        }
        waiting.rests_until = Some(now + (REST * (1 << waiting.rests.min(8))).min(LONGEST_REST));
        waiting.rests += 1;
        drop(waiting);
        let lane = self.kind.as_str();
        metrics::counter!("plugboard_express_lost_total", "lane" => lane).increment(gone.len() as u64);
        tracing::warn!(count = gone.len(), lane, "calls on the express lane found no executor; they go to the queue");
        for call in gone {
            let _ = call.answer.send(Err(NotRun::Lost));
        }
    }
}

/// Until the gateway's end is dropped.
async fn hear(express: Weak<NatsExpress>, mut news: Subscriber, stop: CancellationToken) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return,
            message = news.next() => message,
            _ = look.tick() => {
                let Some(express) = express.upgrade() else { return };
                express.excuse_what_cannot_be_heard();
                express.give_up(|call, now| now.saturating_duration_since(call.heard) >= express.patience(call));
                let waiting = express.waiting.lock().calls.len();
                metrics::gauge!("plugboard_express_waiting", "lane" => express.kind.as_str()).set(waiting as f64);
                continue;
            }
        };
        match (message, express.upgrade()) {
            (Some(message), Some(express)) => express.hear(message),
            _ => return,
        }
    }
}

impl Express for NatsExpress {
    fn run(self: Arc<Self>, job: Arc<Job>) -> BoxFuture<'static, Result<Outcome, NotRun>> {
        Box::pin(async move {
            if !self.link.connected() {
                return Err(NotRun::NotTaken);
            }
            let answered = self.enter(&job.execution_id).ok_or(NotRun::NotTaken)?;
            // Whoever gives up waiting leaves no trace.
            let left = Leaving { express: &self, id: &job.execution_id };
            self.jobs.send(&self.link, wire::encode_job(&job)).await.map_err(|_| NotRun::Lost)?;
            let outcome = answered.await.unwrap_or(Err(NotRun::Lost));
            drop(left);
            outcome
        })
    }
}

struct Leaving<'a> {
    express: &'a NatsExpress,
    id: &'a ExecutionId,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.express.waiting.lock().calls.remove(self.id);
    }
}

/// An executor's end: runs what arrives on a lane of its own.
pub struct NatsExpressHost {
    jobs: Subscriber,
    desk: Arc<Desk>,
}

impl std::fmt::Debug for NatsExpressHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsExpressHost").field("link", &self.desk.link).finish_non_exhaustive()
    }
}

impl NatsExpressHost {
    /// Returns when jobs arrive.
    ///
    /// # Errors
    /// When they cannot be subscribed to.
    pub async fn open(
        link: &NatsLink,
        kind: ExpressKind,
        clock: Arc<dyn Clock>,
        lane: Arc<dyn Express>,
    ) -> Result<Self, QueueError> {
        let subject = link.names().express(kind);
        let jobs = link.client().queue_subscribe(subject, GROUP.to_owned()).await.map_err(unavailable)?;
        link.round_trip(SUBSCRIBED_WITHIN).await?;
        let desk = Desk {
            kind,
            link: link.clone(),
            clock,
            lane,
            gateways: PacketLanes::new(metrics::histogram!("plugboard_express_pack_outcomes")),
        };
        Ok(Self { jobs, desk: Arc::new(desk) })
    }

    /// Until `stop`; then what is running may end within `grace`.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let tasks = TaskTracker::new();
        loop {
            let message = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                message = self.jobs.next() => message,
            };
            let Some(message) = message else { break };
            match wire::decode_jobs(message.payload) {
                Ok(received) => {
                    for job in received {
                        tasks.spawn(self.desk.clone().work(Arc::new(job)));
                    }
                }
                Err(error) => tracing::error!(%error, "a packet of the express lane is unreadable"),
            }
        }
        // From here on the server hands jobs to the others.
        let _ = self.jobs.unsubscribe().await;
        tasks.close();
        let _ = tokio::time::timeout(grace, tasks.wait()).await;
    }
}

fn unavailable(error: impl std::fmt::Display) -> QueueError {
    QueueError::Unavailable(error.to_string())
}

struct Desk {
    kind: ExpressKind,
    link: NatsLink,
    clock: Arc<dyn Clock>,
    lane: Arc<dyn Express>,
    gateways: PacketLanes,
}

impl Desk {
    async fn work(self: Arc<Self>, job: Arc<Job>) {
        let Some(gateway) = job.reply_to.clone() else { return };
        let id = job.execution_id.clone();
        // Its gateway has given up on it and sent it elsewhere; so has this process slept, or the clocks differ.
        if job.accepted_at.until(self.clock.now()) >= LOST_AFTER {
            return self.tell(&gateway, wire::ExpressNews::refused(id)).await;
        }
        let mut running = self.lane.clone().run(job);
        let outcome = loop {
            match tokio::time::timeout(SIGN_EVERY, &mut running).await {
                Ok(outcome) => break outcome,
                Err(_) => self.tell(&gateway, wire::ExpressNews::running(id.clone())).await,
            }
        };
        let news = match outcome {
            Ok(outcome) => wire::ExpressNews::outcome(outcome),
            Err(NotRun::NotTaken) => wire::ExpressNews::refused(id),
            // It may have been begun, which only silence says.
            Err(NotRun::Lost) => return,
        };
        self.tell(&gateway, news).await;
    }

    async fn tell(&self, gateway: &InstanceId, news: wire::ExpressNews) {
        let part = wire::encode_express_news(&news);
        let lane = self.gateways.to(gateway, || self.link.names().express_news(self.kind, gateway));
        if let Err(error) = lane.send(&self.link, part).await {
            // The gateway hears nothing and sends the call elsewhere.
            tracing::warn!(%error, "a gateway could not be told about a call");
        }
    }
}
