//! Receiving: pull requests sized by the room there is, packs taken apart into deliveries.
//!
//! Pulls are made by hand instead of through the client's stream, which prefetches a number of messages whatever they
//! hold: here the room is counted in jobs, and a message may hold 64.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode, Subscriber, jetstream};
use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::super::subjects::{HEADER_DELAY, HEADER_REASON, HEADER_STARTS, Source};
use super::super::{QueueError, wire};
use super::demand::{Demand, WAITING_HERE};
use super::holds::{Adopted, Command, Fetched, Held, JobHold, Ledger};
use super::keeper::not_now;
use super::link::{NatsLink, message_id_headers, put_header};
use super::topology;
use crate::ids::ExecutionId;
use crate::job::Job;

/// Messages asked for ahead at most, of one source. Enough to keep a fast executor busy over a network of 2 ms; when all
/// of them turn out to be full packs, this is by how much the room is exceeded.
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

/// Pause before asking again when nobody answers for the consumers.
const NOBODY_PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Intake {
    pub(super) link: NatsLink,
    pub(super) ledger: Arc<Ledger>,
    pub(super) keeper: mpsc::UnboundedSender<Command>,
    pub(super) demand: Arc<Demand>,
    pub(super) max_ack_pending: i64,
    pub(super) closed: CancellationToken,
}

/// One subscription, at `<inbox>.<number of a source>`, and what was asked for through it.
struct Pulls {
    inbox: String,
    messages: Subscriber,
    of: [Pull; Source::COUNT],
    connections: u64,
    /// When the server was last asked why no job came.
    checked: Instant,
}

/// What was asked for from one source.
#[derive(Clone, Copy)]
struct Pull {
    /// Messages asked for and not yet received.
    outstanding: usize,
    last_heard: Instant,
    last_job: Instant,
    /// Jobs per message, a moving average.
    weight: f64,
}

impl Pull {
    /// Jobs come from there. What is asked for in vain takes no room.
    fn is_busy(&self) -> bool {
        self.last_job.elapsed() < TICK
    }
}

impl Pulls {
    fn outstanding(&self) -> usize {
        self.of.iter().map(|pull| pull.outstanding).sum()
    }
}

impl Intake {
    /// Ends a moment after the queue was closed: what the last pulls still bring must be handed back.
    pub(super) async fn run(self) {
        let mut wanted = true;
        let mut ends: Option<Instant> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Some(mut pulls) = self.closed.run_until_cancelled(self.subscribe()).await else { return };
        loop {
            if ends.is_some_and(|ends| pulls.outstanding() == 0 || Instant::now() >= ends) {
                self.demand.hand_back();
                return;
            }
            if wanted {
                self.top_up(&mut pulls).await;
            } else if pulls.outstanding() == 0 {
                // What others could do at once must not wait here. Not before the last pull has ended, which would
                // only fetch it again.
                self.demand.hand_back();
            }
            tokio::select! {
                message = pulls.messages.next() => match message {
                    Some(message) => self.take(&mut pulls, message).await,
                    // The client has ended, and with it this process' part in the queue.
                    None => return,
                },
                () = self.demand.room.notified() => {}
                () = self.demand.returned(), if !wanted && ends.is_none() => wanted = true,
                () = self.closed.cancelled(), if ends.is_none() => {
                    wanted = false;
                    ends = Some(Instant::now() + PULL_EXPIRES + TICK);
                }
                _ = tick.tick() => {
                    self.demand.make_way();
                    if self.demand.look_gone() {
                        wanted = false;
                    }
                    if ends.is_none() && self.stalled(&mut pulls).await {
                        pulls = self.subscribe().await;
                    }
                }
            }
        }
    }

    /// Subscribes, after making sure that there are consumers. Tries until it succeeds.
    async fn subscribe(&self) -> Pulls {
        let mut told = false;
        loop {
            let trouble = match topology::ensure_consumers(&self.link, self.max_ack_pending).await {
                Ok(()) => {
                    let inbox = self.link.client().new_inbox();
                    match self.link.client().subscribe(format!("{inbox}.*")).await {
                        Ok(messages) => {
                            let now = Instant::now();
                            let pull = Pull { outstanding: 0, last_heard: now, last_job: now, weight: 1.0 };
                            return Pulls {
                                inbox,
                                messages,
                                of: [pull; Source::COUNT],
                                connections: self.link.connections(),
                                checked: now,
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

    /// Asks for as many messages as there is room for. With no free slot nothing is asked for: another executor may have
    /// one.
    async fn top_up(&self, pulls: &mut Pulls) {
        let waiting = self.demand.waiting();
        let running = self.ledger.jobs().saturating_sub(waiting);
        let free = self.demand.slots().saturating_sub(running);
        if free == 0 {
            self.ledger.wait_for_room();
            return;
        }
        // Jobs of organizations that have their part wait here too, so more than the free slots may.
        let room = (2 * free).saturating_sub(waiting);
        let part = part_of_each(room, pulls.of.iter().filter(|pull| pull.is_busy()).count());
        for source in Source::all() {
            let most = if source.is_waiting() { free } else { free.min(WAITING_HERE) };
            let here = most.saturating_sub(self.demand.waiting_from(source)).min(part);
            if here == 0 {
                continue;
            }
            let pull = &mut pulls.of[source.index()];
            let wanted = ((here as f64 / pull.weight) as usize).clamp(1, AHEAD);
            if pull.outstanding <= wanted / 2 {
                let batch = wanted - pull.outstanding;
                let request = format!("{{\"batch\":{batch},\"expires\":{}}}", PULL_EXPIRES.as_nanos());
                let reply = format!("{}.{}", pulls.inbox, source.index());
                if self.link.send(self.link.names().pull(source), Some(reply), request.into()).await {
                    if pull.outstanding == 0 {
                        pull.last_heard = Instant::now();
                    }
                    pull.outstanding += batch;
                }
            }
        }
    }

    async fn take(&self, pulls: &mut Pulls, message: Message) {
        if let Some(status) = message.status {
            let number = message.subject.rsplit('.').next().and_then(|number| number.parse::<usize>().ok());
            if let Some(pull) = number.and_then(|number| pulls.of.get_mut(number)) {
                self.status(pull, status, message.headers.as_ref()).await;
            }
            return;
        }
        let Some(source) = self.link.names().source_of(&message.subject) else { return };
        let jobs = self.open(message, source).await;
        let pull = &mut pulls.of[source.index()];
        pull.last_heard = Instant::now();
        pull.last_job = pull.last_heard;
        pull.outstanding = pull.outstanding.saturating_sub(1);
        pull.weight = (pull.weight * 0.9 + jobs.max(1) as f64 * 0.1).max(1.0);
    }

    /// The server's remarks about a pull request.
    async fn status(&self, pull: &mut Pull, status: StatusCode, headers: Option<&HeaderMap>) {
        pull.last_heard = Instant::now();
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
    async fn open(&self, message: Message, source: Source) -> usize {
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
                self.tell(Command::Ack { message: sequence, source, ack_to });
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
        let held = Held {
            ack_to: ack_to.clone(),
            source,
            payload,
            open: count,
            starts,
            last_beat: Instant::now(),
            acked: false,
        };
        self.ledger.insert(sequence, held);
        match count {
            0 => {
                self.tell(Command::Ack { message: sequence, source, ack_to });
            }
            1 => self.deliver(jobs, source, sequence, starts),
            // Whoever held this pack before may have been killed by one of its jobs. From here on each is on its own.
            _ if delivered > 1 => self.tell(Command::Split { message: sequence }),
            _ => self.deliver(jobs, source, sequence, starts),
        }
        count as usize
    }

    fn deliver(&self, jobs: Vec<Job>, source: Source, message: u64, starts: u32) {
        let packed = jobs.len() > 1;
        for (position, job) in jobs.into_iter().enumerate() {
            let position = packed.then_some(position as u32);
            let hold = JobHold::new(self.ledger.clone(), self.keeper.clone(), message, position);
            self.demand.push(Fetched { job, starts, source, since: Instant::now(), hold });
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
        // By this id, made of its place in the queue, it is listed and dropped.
        let subject = names.dead_unreadable(&ExecutionId::trusted(format!("ex_{sequence:032x}")));
        let stored = self.link.store(subject, headers, message.payload.clone(), within).await;
        if matches!(stored, super::link::Stored::Yes { .. }) {
            self.link.send(ack_to.to_owned(), None, "+ACK".into()).await;
        }
    }

    /// Whether the subscription must be made anew.
    async fn stalled(&self, pulls: &mut Pulls) -> bool {
        if !self.link.connected() {
            return false;
        }
        // The server forgets pulls of a connection that ended.
        if pulls.connections != self.link.connections() {
            return true;
        }
        let asked = || Source::all().filter(|source| pulls.of[source.index()].outstanding > 0);
        if asked().any(|source| pulls.of[source.index()].last_heard.elapsed() >= DEAF_AFTER) {
            tracing::warn!("nothing heard from the queue; subscribing again");
            return true;
        }
        if pulls.checked.elapsed() < IDLE_CHECK {
            return false;
        }
        let idle = asked().filter(|source| pulls.of[source.index()].last_job.elapsed() >= IDLE_CHECK);
        let consumers = join_all(idle.map(|source| topology::consumer(&self.link, source))).await;
        pulls.checked = Instant::now();
        let waiting: u64 = consumers.into_iter().flatten().flatten().map(|consumer| consumer.num_pending).sum();
        if waiting > 0 {
            tracing::warn!(waiting, "jobs wait but none arrive; subscribing again");
        }
        waiting > 0
    }

    fn tell(&self, command: Command) {
        let _ = self.keeper.send(command);
    }
}

/// The room for jobs of each source, when jobs come from so many. Never none while there is room: who is left out has no
/// pull at the server, and its jobs lie there until the others rest.
fn part_of_each(room: usize, busy: usize) -> usize {
    room.div_ceil(busy.max(1))
}

fn number(headers: Option<&HeaderMap>, name: &'static str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_source_is_left_out_while_there_is_room() {
        for busy in 0..=Source::COUNT {
            for room in 1..=512 {
                let part = part_of_each(room, busy);
                assert!(part >= 1 && part * busy < room + busy.max(1), "{room} for {busy}: {part}");
            }
        }
        assert_eq!(part_of_each(0, 3), 0);
        assert_eq!(part_of_each(512, 0), 512);
    }
}
