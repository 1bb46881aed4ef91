//! The callers' side, as the gateway has it: publish, wait for the reply, look into the journal, settle at the deadline,
//! close what a caller has left.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use plugboard_core::clock::Clock;
use plugboard_core::error::{CallError, ErrorCode};
use plugboard_core::job::{Envelope, Job, Outcome};
use plugboard_core::journal::{Closed, Journal};
use plugboard_core::manifest::Effect;
use plugboard_core::queue::{Express, JobQueue, QueueError};

use super::call::Told;
use super::ports::Arrivals;
use super::process::Process;
use super::queue::QueuePort;

/// After the deadline an executor still has this long to say how it ended.
const GRACE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// The express lanes that are open: one for each executor that lives.
#[derive(Default)]
pub(super) struct Lanes(Mutex<Vec<Option<Lane>>>);

type Lane = (Arc<Process>, Arc<dyn Express>);

impl Lanes {
    pub(super) fn set(&self, executor: usize, lane: Option<Lane>) {
        let mut lanes = self.0.lock();
        if lanes.len() <= executor {
            lanes.resize_with(executor + 1, || None);
        }
        lanes[executor] = lane;
    }

    fn pick(&self, process: &Process) -> Option<Lane> {
        let lanes = self.0.lock();
        let open: Vec<&Lane> = lanes.iter().flatten().collect();
        let at = process.world.draw(|random| random.below(open.len() as u64)) as usize;
        open.get(at).map(|lane| (*lane).clone())
    }
}

/// How a caller behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Hangs up after this time.
    pub(super) leaves: Option<Duration>,
}

pub(super) struct Gateway {
    pub(super) process: Arc<Process>,
    pub(super) queue: QueuePort,
    pub(super) journal: Journal,
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Gateway {
    pub(super) async fn make(&self, job: Arc<Job>, manner: Manner) -> Told {
        if !job.interactive() {
            return self.in_background(job).await;
        }
        let Some(leaves) = manner.leaves else { return self.wait(job).await };
        let waited = tokio::select! {
            biased;
            told = self.wait(job.clone()) => Some(told),
            () = tokio::time::sleep(leaves) => None,
        };
        if let Some(told) = waited {
            return told;
        }
        self.process.note("hangs up", job.execution_id.as_str());
        if job.effect != Effect::Read {
            let unsent = unsent(&job, ErrorCode::Cancelled);
            let _ = self.journal.close(&job, &unsent).await;
        }
        Told::Left
    }

    async fn in_background(&self, job: Arc<Job>) -> Told {
        if self.journal.note_accepted(&job).await.is_err() {
            return Told::Refused;
        }
        match self.queue.publish(job).await {
            Ok(()) | Err(QueueError::Unconfirmed(_)) => Told::Left,
            Err(_) => Told::Refused,
        }
    }

    async fn wait(&self, job: Arc<Job>) -> Told {
        let within = self.clock.now().until(job.deadline) + GRACE;
        let run = async {
            match job.effect {
                Effect::Read => self.read(job.clone()).await,
                _ => self.write(job.clone()).await,
            }
        };
        match tokio::time::timeout(within, run).await {
            Ok(told) => told,
            Err(_) => self.settle(&job).await,
        }
    }

    async fn read(&self, job: Arc<Job>) -> Told {
        if let Some((executor, lane)) = self.lanes.pick(&self.process) {
            let taken = tokio::select! {
                biased;
                outcome = lane.run(job.clone()) => outcome,
                () = executor.death() => None,
            };
            if let Some(outcome) = taken {
                return Told::Outcome(outcome);
            }
        }
        let mut waiter = self.arrivals.wait(job.execution_id.as_str());
        match self.queue.publish(job).await {
            Ok(()) | Err(QueueError::Unconfirmed(_)) => {}
            Err(_) => return Told::Refused,
        }
        match waiter.recv().await {
            Some(outcome) => Told::Outcome(outcome),
            None => Told::Unknown,
        }
    }

    async fn write(&self, job: Arc<Job>) -> Told {
        let mut waiter = self.arrivals.wait(job.execution_id.as_str());
        match self.queue.publish(job.clone()).await {
            Ok(()) | Err(QueueError::Unconfirmed(_)) => {}
            Err(_) => return Told::Refused,
        }
        tokio::select! {
            biased;
            Some(outcome) = waiter.recv() => Told::Outcome(outcome),
            outcome = self.recorded(&job) => Told::Outcome(outcome),
        }
    }

    async fn recorded(&self, job: &Job) -> Outcome {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Ok(Some(record)) = self.journal.look(&job.execution_id).await
                && let Some(outcome) = record.outcome
            {
                return outcome;
            }
        }
    }

    /// The deadline has passed without a word. Only the journal can tell what may be said.
    async fn settle(&self, job: &Job) -> Told {
        self.process.note("settles", job.execution_id.as_str());
        if job.effect == Effect::Read {
            return Told::Unknown;
        }
        let unsent = unsent(job, ErrorCode::DeadlineExceeded);
        match self.journal.close(job, &unsent).await {
            Ok(Closed::Yes) => Told::Outcome(unsent),
            Ok(Closed::AlreadyEnded(outcome)) => Told::Outcome(*outcome),
            Ok(Closed::IntentOpen) | Err(_) => Told::Unknown,
        }
    }
}

fn unsent(job: &Job, code: ErrorCode) -> Outcome {
    let envelope = Envelope::failed(CallError::new(code, "Nothing was sent."));
    let envelope = Bytes::from(serde_json::to_vec(&envelope).expect("an envelope"));
    Outcome { execution_id: job.execution_id.clone(), envelope, data: None }
}
