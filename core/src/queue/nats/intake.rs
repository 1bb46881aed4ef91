//! Receiving: pull requests sized by the room there is, packs taken apart into deliveries.
//!
//! Pulls are made by hand instead of through the client's stream, which prefetches a number of messages whatever they
//! hold: here the room is counted in jobs, and a message may hold 64.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode, Subscriber, jetstream};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::super::subjects::{HEADER_DELAY, HEADER_REASON, HEADER_STARTS};
use super::super::{QueueError, wire};
use super::demand::Demand;
use super::holds::{Adopted, Command, Fetched, Held, JobHold, Ledger};
use super::keeper::not_now;
use super::link::{NatsLink, message_id_headers, put_header};
use super::topology;

/// Messages asked for ahead at most. Enough to keep a fast executor busy over a network of 2 ms; when all of them turn
/// out to be full packs, this is by how much `slots` is exceeded.
const AHEAD: usize = 32;

/// A pull request ends after this long, and the server says so. Short, because this is how a pull is given up: the
/// alternative, to end the subscription, loses a message that is on its way at that moment for ten seconds.
const PULL_EXPIRES: Duration = Duration::from_secs(1);

/// Nothing heard for this long, not even the end of a pull: the subscription is made anew.
const DEAF_AFTER: Duration = Duration::from_secs(4);

/// No job for this long although there is room: the server is asked whether any wait. (Clients have stalled silently.)
const IDLE_CHECK: Duration = Duration::from_secs(10);

/// How often we look after all this, and for how long nobody may ask for jobs before no more are fetched and those that
/// were are handed back.
const TICK: Duration = Duration::from_millis(500);

/// Pause before asking again when nobody answers for the consumer.
const NOBODY_PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Intake {
    pub(super) link: NatsLink,
    pub(super) ledger: Arc<Ledger>,
    pub(super) keeper: mpsc::UnboundedSender<Command>,
    pub(super) fetched: mpsc::UnboundedSender<Fetched>,
    pub(super) demand: Arc<Demand>,
    pub(super) slots: usize,
    pub(super) max_ack_pending: i64,
    pub(super) closed: CancellationToken,
}

/// One subscription and what was asked for through it.
struct Pull {
    inbox: String,
    messages: Subscriber,
    /// Messages asked for and not yet received.
    outstanding: usize,
    last_heard: Instant,
    /// When a job came, or when we last asked why none did.
    last_job: Instant,
    connections: u64,
}

impl Intake {
    /// Ends a moment after the queue was closed: what the last pulls still bring must be handed back.
    pub(super) async fn run(self) {
        // Jobs per message, a moving average.
        let mut weight = 1.0_f64;
        let mut wanted = true;
        let mut ends: Option<Instant> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Some(mut pull) = self.closed.run_until_cancelled(self.subscribe()).await else { return };
        loop {
            if ends.is_some_and(|ends| pull.outstanding == 0 || Instant::now() >= ends) {
                self.demand.hand_back().await;
                return;
            }
            if wanted {
                self.top_up(&mut pull, weight).await;
            } else if pull.outstanding == 0 {
                // What others could do at once must not wait here. Not before the last pull has ended, which would
                // only fetch it again.
                self.demand.hand_back().await;
            }
            tokio::select! {
                message = pull.messages.next() => match message {
                    Some(message) => self.take(&mut pull, message, &mut weight).await,
                    // The client has ended, and with it this process' part in the queue.
                    None => return,
                },
                () = self.ledger.room.notified() => {}
                () = self.demand.returned(), if !wanted && ends.is_none() => wanted = true,
                () = self.closed.cancelled(), if ends.is_none() => {
                    wanted = false;
                    ends = Some(Instant::now() + PULL_EXPIRES + TICK);
                }
                _ = tick.tick() => {
                    if self.demand.look_gone() {
                        wanted = false;
                    }
                    if ends.is_none() && self.stalled(&mut pull).await {
                        pull = self.subscribe().await;
                    }
                }
            }
        }
    }

    /// Subscribes, after making sure that there is a consumer. Tries until it succeeds.
    async fn subscribe(&self) -> Pull {
        let mut told = false;
        loop {
            let trouble = match topology::ensure_consumer(&self.link, self.max_ack_pending).await {
                Ok(()) => {
                    let inbox = self.link.client().new_inbox();
                    match self.link.client().subscribe(inbox.clone()).await {
                        Ok(messages) => {
                            let now = Instant::now();
                            return Pull {
                                inbox,
                                messages,
                                outstanding: 0,
                                last_heard: now,
                                last_job: now,
                                connections: self.link.connections(),
                            };
                        }
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) => error.to_string(),
            };
            if !told {
                tracing::warn!(%trouble, "cannot receive jobs yet; trying on");
                told = true;
            }
            tokio::time::sleep(NOBODY_PAUSE).await;
        }
    }

    /// Asks for as many messages as there is room for.
    async fn top_up(&self, pull: &mut Pull, weight: f64) {
        let room = self.slots.saturating_sub(self.ledger.jobs());
        if room == 0 {
            self.ledger.wait_for_room();
            return;
        }
        let wanted = ((room as f64 / weight) as usize).clamp(1, AHEAD);
        if pull.outstanding > wanted / 2 {
            return;
        }
        let batch = wanted - pull.outstanding;
        let request = format!("{{\"batch\":{batch},\"expires\":{}}}", PULL_EXPIRES.as_nanos());
        if self.link.send(self.link.names().pull(), Some(pull.inbox.clone()), request.into()).await {
            if pull.outstanding == 0 {
                pull.last_heard = Instant::now();
            }
            pull.outstanding += batch;
        }
    }

    async fn take(&self, pull: &mut Pull, message: Message, weight: &mut f64) {
        pull.last_heard = Instant::now();
        if let Some(status) = message.status {
            self.status(pull, status, message.headers.as_ref()).await;
            return;
        }
        pull.outstanding = pull.outstanding.saturating_sub(1);
        pull.last_job = pull.last_heard;
        let jobs = self.open(message).await;
        *weight = (*weight * 0.9 + jobs.max(1) as f64 * 0.1).max(1.0);
    }

    /// The server's remarks about a pull request.
    async fn status(&self, pull: &mut Pull, status: StatusCode, headers: Option<&HeaderMap>) {
        match status.as_u16() {
            // It ended, with this many messages still asked for.
            408 | 409 => match number(headers, "Nats-Pending-Messages") {
                Some(pending) => pull.outstanding = pull.outstanding.saturating_sub(pending as usize),
                None => pull.outstanding = 0,
            },
            _ => {
                pull.outstanding = 0;
                tokio::time::sleep(NOBODY_PAUSE).await;
            }
        }
    }

    /// Takes a message apart. Returns the number of jobs.
    async fn open(&self, message: Message) -> usize {
        let message = jetstream::Message { message, context: self.link.jetstream() };
        let (Some(ack_to), Ok(info)) = (message.reply.as_ref().map(ToString::to_string), message.info()) else {
            return 0;
        };
        let sequence = info.stream_sequence;
        let delivered = u32::try_from(info.delivered).unwrap_or(u32::MAX);
        match self.ledger.adopt(sequence, &ack_to) {
            Adopted::No => {}
            Adopted::Yes => return 0,
            Adopted::AckAgain => {
                self.tell(Command::Ack { message: sequence, ack_to });
                return 0;
            }
        }
        let headers = message.headers.as_ref();
        let before = number(headers, HEADER_STARTS).unwrap_or(0) as u32;
        let delay = number(headers, HEADER_DELAY);
        if let (Some(delay), 1) = (delay, delivered) {
            self.link.send(ack_to, None, not_now(Duration::from_millis(delay))).await;
            return 0;
        }
        let payload = message.payload.clone();
        let jobs = match wire::decode_jobs(payload.clone()) {
            Ok(jobs) => jobs,
            Err(error) => {
                self.set_aside(&message, sequence, &ack_to, &error).await;
                return 0;
            }
        };
        // The delivery that was handed back at once because of its delay was no start.
        let starts = before.saturating_add(delivered).saturating_sub(u32::from(delay.is_some()));
        let count = jobs.len() as u32;
        let held =
            Held { ack_to: ack_to.clone(), payload, open: count, starts, last_beat: Instant::now(), acked: false };
        self.ledger.insert(sequence, held);
        match count {
            0 => {
                self.tell(Command::Ack { message: sequence, ack_to });
            }
            1 => self.deliver(jobs, sequence, starts),
            // Whoever held this pack before may have been killed by one of its jobs. From here on each is on its own.
            _ if delivered > 1 => self.tell(Command::Split { message: sequence }),
            _ => self.deliver(jobs, sequence, starts),
        }
        count as usize
    }

    fn deliver(&self, jobs: Vec<crate::job::Job>, message: u64, starts: u32) {
        let packed = jobs.len() > 1;
        for (position, job) in jobs.into_iter().enumerate() {
            let position = packed.then_some(position as u32);
            let hold = JobHold::new(self.ledger.clone(), self.keeper.clone(), message, position);
            // A closed receiver drops the hold, which hands the job back.
            let _ = self.fetched.send(Fetched { job, starts, hold });
        }
    }

    /// A message that this version cannot read is put among the dead letters as it is; unread it would come back for
    /// ever. When that fails it does come back.
    async fn set_aside(&self, message: &jetstream::Message, sequence: u64, ack_to: &str, error: &QueueError) {
        tracing::error!(message.sequence = sequence, %error, "a queue message is unreadable");
        let names = self.link.names();
        let mut headers = message_id_headers(&format!("unreadable.{}.{sequence}", names.jobs_stream()));
        put_header(&mut headers, HEADER_REASON, &error.to_string());
        let within = Duration::from_secs(2);
        let stored = self.link.store(names.dead_unreadable(), headers, message.payload.clone(), within).await;
        if matches!(stored, super::link::Stored::Yes { .. }) {
            self.link.send(ack_to.to_owned(), None, "+ACK".into()).await;
        }
    }

    /// Whether the subscription must be made anew.
    async fn stalled(&self, pull: &mut Pull) -> bool {
        if !self.link.connected() {
            return false;
        }
        // The server forgets pulls of a connection that ended.
        if pull.connections != self.link.connections() {
            return true;
        }
        if pull.outstanding == 0 {
            return false;
        }
        if pull.last_heard.elapsed() >= DEAF_AFTER {
            tracing::warn!("nothing heard from the queue; subscribing again");
            return true;
        }
        if pull.last_job.elapsed() < IDLE_CHECK {
            return false;
        }
        pull.last_job = Instant::now();
        match topology::depth(&self.link).await {
            Ok(depth) if depth.waiting > 0 => {
                tracing::warn!(waiting = depth.waiting, "jobs wait but none arrive; subscribing again");
                true
            }
            _ => false,
        }
    }

    fn tell(&self, command: Command) {
        let _ = self.keeper.send(command);
    }
}

fn number(headers: Option<&HeaderMap>, name: &'static str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}
