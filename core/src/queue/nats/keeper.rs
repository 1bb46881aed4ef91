//! One task that speaks to the server about held messages: acks, signs of life, and jobs that leave their pack.
//!
//! None of this is waited for by a job. Acks are repeated until the server confirms them; until then their messages stay
//! in the ledger, so that a redelivery is recognized and acked instead of worked on again.
//!
//! One confirmation stands for many acks: they travel on one connection and the consumer takes them in order, so when
//! the last of them, sent a second time as a request, is answered, the others have been taken. A confirmation for
//! each would cost a call two more messages. (Should a cluster change the consumer's leader in between, an ack before
//! it may be lost; then the job is delivered again, and the journal has its end.)

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::subjects::{HEADER_DELAY, HEADER_STARTS, Lane, Source, alone_id, returned_id};
use super::super::{HEARTBEAT, wire};
use super::holds::{Command, Ledger};
use super::link::{NatsLink, Stored, message_id_headers, put_header};
use crate::failpoint::failpoint;
use crate::job::Job;

/// How often we look for messages that need a sign of life.
const TICK: Duration = Duration::from_millis(500);

/// How often acks are confirmed.
const CONFIRM_EVERY: Duration = Duration::from_millis(100);

/// Acks that are not confirmed by then are sent again.
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);

/// Pause between attempts to store a job that leaves its pack. It goes on for as long as the process lives: the pack
/// is kept alive meanwhile, so nothing is lost and nobody else starts it.
const RETRY: Duration = Duration::from_millis(500);

/// How long a queue that is dropped still works on it.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

const ACK: &[u8] = b"+ACK";
const IN_PROGRESS: &[u8] = b"+WPI";

pub(super) struct Keeper {
    link: NatsLink,
    ledger: Arc<Ledger>,
    /// Confirmations arrive at `<inbox>.<number>`.
    inbox: String,
    /// By source: each consumer takes its acks in order, and says nothing about those of the others.
    acks: [Acks; Source::COUNT],
    /// Publications under way; each ends with its message and the number of jobs that left it.
    leaving: JoinSet<(u64, u32)>,
}

impl Keeper {
    /// # Errors
    /// When the client has ended.
    pub(super) async fn start(
        link: NatsLink,
        ledger: Arc<Ledger>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Result<(), async_nats::SubscribeError> {
        let inbox = link.client().new_inbox();
        let confirmations = link.client().subscribe(format!("{inbox}.*")).await?;
        let keeper = Self { link, ledger, inbox, acks: Default::default(), leaving: JoinSet::new() };
        tokio::spawn(keeper.run(commands, confirmations));
        Ok(())
    }

    /// Ends with the last hold.
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>, mut confirmations: Subscriber) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut confirm = tokio::time::interval(CONFIRM_EVERY);
        confirm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.carry_out(command).await,
                    None => return self.finish().await,
                },
                Some(confirmation) = confirmations.next() => self.confirmed(&confirmation),
                Some(left) = self.leaving.join_next(), if !self.leaving.is_empty() => {
                    if let Ok((message, jobs)) = left {
                        self.left(message, jobs).await;
                    }
                }
                _ = confirm.tick(), if self.acks.iter().any(|acks| !acks.sent.is_empty()) => self.confirm().await,
                _ = tick.tick() => self.keep_alive().await,
            }
        }
    }

    /// The last hold is gone; jobs may still be on their way out of their packs.
    async fn finish(mut self) {
        let rest = async {
            while let Some(left) = self.leaving.join_next().await {
                if let Ok((message, jobs)) = left {
                    self.left(message, jobs).await;
                }
            }
        };
        let _ = tokio::time::timeout(FINISH_WITHIN, rest).await;
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Ack { message, source, ack_to } => self.ack(message, source, ack_to).await,
            Command::Return { ack_to, delay } => {
                // If this is lost the message comes back all the same, ten seconds later.
                self.link.send(ack_to, None, not_now(delay)).await;
            }
            Command::Leave { message, job, delay } => {
                self.leave(message, Some(job), |job, source, starts| Alone {
                    id: alone_id(&job.execution_id),
                    lane: source.lane(job),
                    starts,
                    delay,
                });
            }
            // No job was started by the delivery that led to this.
            Command::Split { message } => self.leave(message, None, |job, source, starts| Alone {
                id: alone_id(&job.execution_id),
                lane: source.lane(job),
                starts: starts.saturating_sub(1),
                delay: Duration::ZERO,
            }),
            Command::NotStarted { message, job } => self.leave(message, Some(job), |job, source, starts| Alone {
                id: returned_id(&job.execution_id, message),
                lane: source.lane(job),
                starts: starts.saturating_sub(1),
                delay: Duration::ZERO,
            }),
            Command::ToBulk { message, job } => self.leave(message, Some(job), |job, _, starts| Alone {
                id: returned_id(&job.execution_id, message),
                lane: Lane::bulk(job)[0],
                starts: starts.saturating_sub(1),
                delay: Duration::ZERO,
            }),
        }
    }

    async fn ack(&mut self, message: u64, source: Source, ack_to: String) {
        let sent = self.link.send(ack_to, None, Bytes::from_static(ACK)).await;
        let acks = &mut self.acks[source.index()];
        if !sent {
            // As if it had been sent on a connection that is gone.
            acks.connection = 0;
        }
        acks.sent.push_back(message);
    }

    /// Asks whether everything that was sent so far has arrived, or sends it again when the last question was in vain.
    async fn confirm(&mut self) {
        if !self.link.connected() {
            return;
        }
        let connection = self.link.connections();
        for acks in self.acks.iter_mut().filter(|acks| !acks.sent.is_empty()) {
            acks.confirm(&self.link, &self.ledger, &self.inbox, connection).await;
        }
    }

    fn confirmed(&mut self, confirmation: &async_nats::Message) {
        // A status means that nobody took the ack, for instance while the consumer has no leader: try again.
        if confirmation.status.is_some() {
            return;
        }
        let number: Option<u64> = confirmation.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let by_number = |acks: &&mut Acks| acks.asked.as_ref().is_some_and(|asked| Some(asked.number) == number);
        let Some(acks) = self.acks.iter_mut().find(by_number) else { return };
        let Some(asked) = acks.asked.take() else { return };
        for message in acks.sent.drain(..asked.acks.min(acks.sent.len())) {
            self.ledger.remove(message);
        }
        failpoint("after_ack", "");
    }

    async fn keep_alive(&self) {
        if !self.link.connected() {
            return;
        }
        for ack_to in self.ledger.beats_due(HEARTBEAT) {
            self.link.send(ack_to, None, Bytes::from_static(IN_PROGRESS)).await;
        }
    }

    async fn left(&mut self, message: u64, jobs: u32) {
        for _ in 0..jobs {
            if let Some((source, ack_to)) = self.ledger.close_job(message) {
                self.ack(message, source, ack_to).await;
            }
        }
    }

    /// Publishes one job of the message, or all, each by itself. Only then do they leave the message.
    fn leave(&mut self, message: u64, job: Option<u32>, how: impl Fn(&Job, Source, u32) -> Alone) {
        let Some((source, payload, starts)) = self.ledger.content(message) else { return };
        // It was read before, so it is readable; if not, the message stays and its starts are counted.
        let Ok(mut jobs) = wire::decode_jobs(payload) else { return };
        if let Some(position) = job {
            jobs = jobs.into_iter().skip(position as usize).take(1).collect();
        }
        let link = self.link.clone();
        let leaving: Vec<_> = jobs.into_iter().map(|job| (how(&job, source, starts), job)).collect();
        self.leaving.spawn(async move {
            let count = leaving.len() as u32;
            join_all(leaving.into_iter().map(|(alone, job)| publish_alone(&link, job, alone))).await;
            (message, count)
        });
    }
}

/// Acks on their way.
#[derive(Default)]
struct Acks {
    /// Messages, in the order in which their acks were sent.
    sent: VecDeque<u64>,
    asked: Option<Asked>,
    /// The connection on which they were sent, as far as we know.
    connection: u64,
}

impl Acks {
    async fn confirm(&mut self, link: &NatsLink, ledger: &Ledger, inbox: &str, connection: u64) {
        match &self.asked {
            Some(asked) if asked.connection == connection && asked.at.elapsed() < CONFIRM_WITHIN => return,
            None if self.connection == connection => {}
            // What was sent on a connection that ended may be lost.
            _ => {
                for message in &self.sent {
                    if let Some(ack_to) = ledger.ack_to(*message) {
                        link.send(ack_to, None, Bytes::from_static(ACK)).await;
                    }
                }
                self.connection = connection;
            }
        }
        let Some(ack_to) = self.sent.back().and_then(|last| ledger.ack_to(*last)) else {
            // It was confirmed before, as another delivery.
            self.sent.pop_back();
            return;
        };
        let number = link.next_number();
        self.asked = Some(Asked { number, acks: self.sent.len(), at: Instant::now(), connection });
        link.send(ack_to, Some(format!("{inbox}.{number}")), Bytes::from_static(ACK)).await;
    }
}

/// A request for confirmation.
struct Asked {
    number: u64,
    /// How many of the acks sent are covered.
    acks: usize,
    at: Instant,
    connection: u64,
}

/// How a job that left its message is published.
struct Alone {
    id: String,
    lane: Lane,
    /// Starts so far.
    starts: u32,
    delay: Duration,
}

async fn publish_alone(link: &NatsLink, job: Job, alone: Alone) {
    let subject = link.names().job(alone.lane, Some(&job.organization));
    let mut headers = message_id_headers(&alone.id);
    put_header(&mut headers, HEADER_STARTS, &alone.starts.to_string());
    if !alone.delay.is_zero() {
        put_header(&mut headers, HEADER_DELAY, &alone.delay.as_millis().to_string());
    }
    let id = job.execution_id.clone();
    let payload = wire::encode_job(&job);
    let mut told = false;
    loop {
        match link.store(subject.clone(), headers.clone(), payload.clone(), CONFIRM_WITHIN).await {
            Stored::Yes { .. } => return,
            trouble if !told => {
                tracing::warn!(execution.id = %id, ?trouble, "a job could not leave its pack yet; trying on");
                told = true;
            }
            _ => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// A negative ack; the server waits for the delay, in nanoseconds.
pub(super) fn not_now(delay: Duration) -> Bytes {
    if delay.is_zero() {
        Bytes::from_static(b"-NAK")
    } else {
        format!("-NAK {{\"delay\": {}}}", delay.as_nanos()).into()
    }
}
