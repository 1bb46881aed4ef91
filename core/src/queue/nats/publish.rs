//! Publishing, with packing.
//!
//! Each lane (class and shard) has one publish under way at a time. Jobs that arrive meanwhile leave together in the
//! next one: up to [`PACK_JOBS`] jobs and [`PACK_BYTES`] bytes, and never later than they could have left alone. So one
//! caller has the latency of a plain publish, and many callers share the cost of each disk write.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::subjects::{self, Lane};
use super::super::{QueueError, wire};
use super::link::{NatsLink, STORE_FAILED, Stored, message_id_headers};
use super::recent::{Known, Recent};
use super::spread::Spread;
use super::survey::Looks;
use crate::ids::{ExecutionId, OrganizationId};
use crate::job::Job;

/// Jobs in one message at most.
pub const PACK_JOBS: usize = 64;

/// Bytes of one packed message at most, unless a single job is larger.
pub const PACK_BYTES: usize = 512 * 1024;

/// Bytes of a single job at most. NATS takes messages of 1 MiB; bodies over 256 KiB lie in the payload store, so only
/// a programming error gets here.
pub const JOB_BYTES: usize = 900 * 1024;

/// How long one attempt waits for its acknowledgement. The next carries the same id, so the server stores it once.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How long a job is tried in all, from its arrival.
const GIVE_UP: Duration = Duration::from_secs(15);

/// Pause after an answer that says "not now", such as during the election of a leader.
const PAUSE: Duration = Duration::from_millis(100);

/// Jobs that wait in one lane for their turn.
const LANE_CAPACITY: usize = 4_096;

/// One stream message.
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) id: String,
    pub(super) payload: Bytes,
    pub(super) jobs: Vec<ExecutionId>,
}

/// A job that waits for its lane.
struct Pending {
    id: ExecutionId,
    organization: OrganizationId,
    /// A whole message with this job alone. Protobuf messages concatenated are read as one with all their jobs, so a
    /// pack is made by joining bytes and each job is encoded once, in its caller's task.
    bytes: Bytes,
    until: Instant,
    /// More than one when the same job was published again before it left.
    answers: Vec<oneshot::Sender<Result<(), QueueError>>>,
}

pub(super) struct Publisher {
    lanes: Vec<Arc<LaneQueue>>,
    spread: Spread,
    storer: Arc<Storer>,
}

impl Publisher {
    pub(super) fn new(link: &NatsLink, looks: Arc<Looks>) -> Self {
        let storer = Arc::new(Storer { link: link.clone(), recent: Recent::default() });
        let lane = |lane| Arc::new(LaneQueue { lane, storer: storer.clone(), state: Mutex::default() });
        Self { lanes: Lane::all().map(lane).collect(), spread: Spread::new(looks), storer }
    }

    /// Where this job would wait now: there, or in one of the two.
    pub(super) fn lanes_of(&self, job: &Job) -> [Option<Lane>; 2] {
        if self.spread.is_within_pace(job) { [Some(Lane::of(job)), None] } else { Lane::bulk(job).map(Some) }
    }

    pub(super) async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        let until = Instant::now() + GIVE_UP;
        let id = job.execution_id.clone();
        match self.storer.recent.lookup(&id) {
            Known::No => {}
            Known::Stored => return Ok(()),
            Known::Unconfirmed(message) => {
                return self.storer.store(&message, until, true).await.map_err(|failure| failure.for_job(&id));
            }
        }
        let lane = self.lanes.get(self.spread.lane(job).index()).ok_or(QueueError::Closed)?;
        let organization = job.organization.clone();
        let bytes = wire::encode_job(job);
        if bytes.len() > JOB_BYTES {
            return Err(QueueError::Unreadable(format!(
                "{id} has {} bytes, of {JOB_BYTES} allowed: large bodies belong in the payload store",
                bytes.len()
            )));
        }
        match lane.enter(Pending { id: id.clone(), organization, bytes, until, answers: Vec::new() })? {
            Entered::Waiting(answered) => answered.await.unwrap_or(Err(QueueError::Unconfirmed(id))),
            Entered::Alone(turn, pending) => {
                // Callers that are ready to publish go along: the busier the process, the larger the packs.
                tokio::task::yield_now().await;
                let pending = match lane.lead(pending) {
                    Led::Others(answered) => {
                        drop(turn);
                        return answered.await.unwrap_or(Err(QueueError::Unconfirmed(id)));
                    }
                    Led::Nobody(pending) => pending,
                };
                // Alone indeed: this caller does it by itself, without a detour through another task.
                let stored = lane.storer.store_pack(lane.lane, std::slice::from_ref(&pending)).await;
                drop(turn);
                stored.map_err(|failure| failure.for_job(&id))
            }
        }
    }
}

/// Jobs of one class and shard on their way out, one message at a time.
struct LaneQueue {
    lane: Lane,
    storer: Arc<Storer>,
    state: Mutex<LaneState>,
}

#[derive(Default)]
struct LaneState {
    /// A message is under way; whoever comes now leaves with the next.
    busy: bool,
    waiting: VecDeque<Pending>,
}

enum Entered {
    Alone(Turn, Pending),
    Waiting(oneshot::Receiver<Result<(), QueueError>>),
}

enum Led {
    Nobody(Pending),
    Others(oneshot::Receiver<Result<(), QueueError>>),
}

impl LaneQueue {
    fn enter(self: &Arc<Self>, mut pending: Pending) -> Result<Entered, QueueError> {
        let mut state = self.state.lock();
        if !state.busy {
            state.busy = true;
            return Ok(Entered::Alone(Turn(self.clone()), pending));
        }
        if state.waiting.len() >= LANE_CAPACITY {
            return Err(QueueError::Unavailable("too many jobs wait to be published".to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        pending.answers.push(answer);
        state.waiting.push_back(pending);
        Ok(Entered::Waiting(answered))
    }

    /// Puts a job in front of those that wait, if any do.
    fn lead(&self, mut pending: Pending) -> Led {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            return Led::Nobody(pending);
        }
        let (answer, answered) = oneshot::channel();
        pending.answers.push(answer);
        state.waiting.push_front(pending);
        Led::Others(answered)
    }

    /// Jobs for the next message; without any, the lane is at rest.
    fn next(&self) -> Option<Vec<Pending>> {
        let mut state = self.state.lock();
        let mut pack: Vec<Pending> = Vec::new();
        let mut bytes = 0;
        while pack.len() < PACK_JOBS {
            let fits = |next: &mut Pending| bytes == 0 || bytes + next.bytes.len() <= PACK_BYTES;
            let Some(next) = state.waiting.pop_front_if(fits) else { break };
            // A job that is already in it, or was stored while this one waited, adds nothing. (Unless its organization
            // went beyond its pace in between: then the other lane brings it once more, and the journal fences.)
            if let Some(same) = pack.iter_mut().find(|other| other.id == next.id) {
                same.answers.extend(next.answers);
            } else if matches!(self.storer.recent.lookup(&next.id), Known::Stored) {
                answer(vec![next], &Ok(()));
            } else {
                bytes += next.bytes.len();
                pack.push(next);
            }
        }
        state.busy = !pack.is_empty();
        state.busy.then_some(pack)
    }
}

/// The right to use the lane. However its use ends, those who waited go next.
struct Turn(Arc<LaneQueue>);

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut pack) = self.0.next() else { return };
        let lane = self.0.clone();
        // Without a runtime nobody waits any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            loop {
                lane.storer.publish(lane.lane, pack).await;
                match lane.next() {
                    Some(next) => pack = next,
                    None => return,
                }
            }
        });
    }
}

struct Storer {
    link: NatsLink,
    recent: Recent,
}

/// Why a whole message failed.
#[derive(Clone)]
enum Failure {
    Unavailable(String),
    Full,
    Unconfirmed,
}

impl Failure {
    fn for_job(&self, id: &ExecutionId) -> QueueError {
        match self {
            Self::Unavailable(why) => QueueError::Unavailable(why.clone()),
            Self::Full => QueueError::Full,
            Self::Unconfirmed => QueueError::Unconfirmed(id.clone()),
        }
    }
}

impl Storer {
    async fn publish(&self, lane: Lane, pack: Vec<Pending>) {
        metrics::histogram!("plugboard_queue_pack_jobs").record(pack.len() as f64);
        let result = self.store_pack(lane, &pack).await;
        let mixed = pack.windows(2).any(|pair| match pair {
            [left, right] => left.organization != right.organization,
            _ => false,
        });
        if mixed && matches!(result, Err(Failure::Full)) {
            // Mixed packs share one bound, which one organization's jobs may have reached. Nothing was stored, so each
            // organization is asked for by itself.
            for part in by_organization(pack) {
                let result = self.store_pack(lane, &part).await;
                answer(part, &result);
            }
        } else {
            answer(pack, &result);
        }
    }

    async fn store_pack(&self, lane: Lane, pack: &[Pending]) -> Result<(), Failure> {
        let Some(first) = pack.first() else { return Ok(()) };
        // The one who waits longest decides.
        let until = first.until;
        if Instant::now() >= until {
            return Err(Failure::Unavailable("it waited too long for its turn".to_owned()));
        }
        let names = self.link.names();
        let one_organization = pack.iter().all(|pending| pending.organization == first.organization);
        let subject = names.job(lane, one_organization.then_some(&first.organization));
        let (id, payload) = if pack.len() == 1 {
            (first.id.as_str().to_owned(), first.bytes.clone())
        } else {
            let number = self.link.next_number();
            (subjects::pack_id(self.link.process(), number), join(pack))
        };
        let jobs = pack.iter().map(|pending| pending.id.clone()).collect();
        self.store(&Arc::new(Message { subject, id, payload, jobs }), until, false).await
    }

    /// Repeats under the same id until it is known what became of it, or the time is up. `doubtful`: an earlier
    /// attempt may have arrived. Only a confirmation changes that, since a refusal may mean the later attempt alone.
    async fn store(&self, message: &Arc<Message>, until: Instant, mut doubtful: bool) -> Result<(), Failure> {
        let mut trouble = "no connection".to_owned();
        loop {
            if self.link.connected_by(until).await {
                let headers = message_id_headers(&message.id);
                let within = ATTEMPT.min(until.saturating_duration_since(Instant::now())).max(PAUSE);
                let stored = self.link.store(message.subject.clone(), headers, message.payload.clone(), within).await;
                match stored {
                    Stored::Yes { .. } => {
                        self.recent.stored(message);
                        return Ok(());
                    }
                    Stored::Refused { code, .. } if code == STORE_FAILED && !doubtful => return Err(Failure::Full),
                    Stored::Refused { code, text } => trouble = format!("{text} ({code})"),
                    Stored::NotSent(why) => trouble = why,
                    Stored::Unknown(why) => {
                        doubtful = true;
                        trouble = why;
                    }
                }
            }
            if Instant::now() + PAUSE >= until {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if doubtful {
            self.recent.unconfirmed(message);
            tracing::warn!(message.id, jobs = message.jobs.len(), %trouble, "a published message was not confirmed");
            return Err(Failure::Unconfirmed);
        }
        tracing::warn!(message.id, jobs = message.jobs.len(), %trouble, "a message could not be published");
        Err(Failure::Unavailable(trouble))
    }
}

fn answer(pack: Vec<Pending>, result: &Result<(), Failure>) {
    for pending in pack {
        for answer in pending.answers {
            let own = result.as_ref().map_err(|failure| failure.for_job(&pending.id)).copied();
            // The caller may have left; its job is published all the same.
            let _ = answer.send(own);
        }
    }
}

fn join(pack: &[Pending]) -> Bytes {
    let mut joined = BytesMut::with_capacity(pack.iter().map(|pending| pending.bytes.len()).sum());
    for pending in pack {
        joined.extend_from_slice(&pending.bytes);
    }
    joined.freeze()
}

fn by_organization(pack: Vec<Pending>) -> Vec<Vec<Pending>> {
    let mut parts: Vec<Vec<Pending>> = Vec::new();
    for pending in pack {
        let same =
            |part: &&mut Vec<Pending>| part.first().is_some_and(|first| first.organization == pending.organization);
        match parts.iter_mut().find(same) {
            Some(part) => part.push(pending),
            None => parts.push(vec![pending]),
        }
    }
    parts
}
