//! The callers' side, as the gateway has it: publish, wait for the reply, look into the journal, settle at the deadline,
//! close what a caller has left.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use plugboard_core::clock::Clock;
use plugboard_core::error::{CallError, ErrorCode};
use plugboard_core::job::{Envelope, Job, Outcome};
use plugboard_core::journal::{Binding, Closed, Journal, JournalError};
use plugboard_core::manifest::Effect;
use plugboard_core::queue::{ACK_WAIT, BEGUN_WITHIN, Express, JobQueue, NotRun, QueueError};
use plugboard_core::telemetry::metrics::StageTimes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::call::Told;
use super::ports::Arrivals;
use super::process::Process;
use super::queue::QueuePort;

/// After the deadline an executor still has this long to say how it ended.
const GRACE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Without a sign of life for this long, a job on the express lane that nobody is known to have begun is lost.
const SILENCE: Duration = Duration::from_secs(2);

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
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    /// Hangs up after this time.
    pub(super) leaves: Option<Duration>,
    /// Its gateway dies after this time.
    pub(super) dies: Option<Duration>,
    /// Its own name for the call.
    pub(super) key: Option<String>,
    /// Is given a handle after this time.
    pub(super) patience: Option<Duration>,
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
        let Some(dies) = manner.dies else { return self.serve(job, manner).await };
        let id = job.execution_id.clone();
        tokio::select! {
            biased;
            told = self.serve(job, manner) => told,
            () = tokio::time::sleep(dies) => {
                self.process.note("gateway dies", id.as_str());
                Told::Left
            }
        }
    }

    async fn serve(&self, job: Arc<Job>, manner: Manner) -> Told {
        match self.earlier(&job, manner.key.as_deref()).await {
            Ok(None) => {}
            Ok(Some(told)) => return told,
            Err(_) => return Told::Refused,
        }
        let told = match manner.leaves {
            _ if !job.interactive() => self.in_background(job.clone()).await,
            None => self.wait(job.clone(), manner.patience).await,
            Some(leaves) => tokio::select! {
                biased;
                told = self.wait(job.clone(), manner.patience) => told,
                () = tokio::time::sleep(leaves) => self.leave(&job).await,
            },
        };
        if matches!(told, Told::Refused) && manner.key.is_some() {
            // Refused before it was published: it holds no key.
            let _ = self.journal.close(&job, &unsent(&job, ErrorCode::Overloaded)).await;
        }
        told
    }

    /// What became of the call that this one repeats, if there is one.
    async fn earlier(&self, job: &Job, key: Option<&str>) -> Result<Option<Told>, JournalError> {
        let (earlier, note) = match key {
            _ if job.effect == Effect::Read => return Ok(None),
            Some(key) => match self.journal.bind(job, key, &unsent(job, ErrorCode::Cancelled)).await? {
                Binding::Ours => return Ok(None),
                Binding::Earlier(earlier) => (earlier, None),
                Binding::Conflict => return Ok(Some(Told::Refused)),
            },
            None if matches!(job.effect, Effect::Once | Effect::Keyed) => match self.journal.lost(job).await? {
                Some((earlier, note)) => (earlier, Some(note)),
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        self.process.note("repeats", &format!("{} {}", job.execution_id, earlier.execution_id));
        let Some(outcome) = earlier.outcome else { return Ok(Some(Told::Left)) };
        if let Some(note) = note {
            let _ = self.journal.delivered(note).await;
        }
        Ok(Some(Told::Outcome(outcome)))
    }

    /// The caller hangs up: what has not begun is closed, of the rest it is noted that the answer was lost.
    async fn leave(&self, job: &Job) -> Told {
        self.process.note("hangs up", job.execution_id.as_str());
        if job.effect == Effect::Read {
            return Told::Left;
        }
        match self.journal.close(job, &unsent(job, ErrorCode::Cancelled)).await {
            Ok(Closed::Yes) => Told::Cancelled,
            Ok(Closed::IntentOpen | Closed::AlreadyEnded(_)) => match self.journal.note_lost(job).await {
                Ok(()) => Told::Lost,
                Err(_) => Told::Left,
            },
            Err(_) => Told::Left,
        }
    }

    async fn in_background(&self, job: Arc<Job>) -> Told {
        match self.queue.publish(job).await {
            Ok(()) | Err(QueueError::Unconfirmed(_)) => Told::Left,
            Err(_) => Told::Refused,
        }
    }

    async fn wait(&self, job: Arc<Job>, patience: Option<Duration>) -> Told {
        let until_deadline = self.clock.now().until(job.deadline) + GRACE;
        let ends = Instant::now() + patience.map_or(until_deadline, |patience| patience.min(until_deadline));
        let told = match job.effect {
            Effect::Read => tokio::time::timeout_at(ends, self.read(job.clone())).await.ok(),
            _ => self.write(job.clone(), ends).await,
        };
        match told {
            Some(told) => told,
            None if patience.is_some_and(|patience| patience < until_deadline) => Told::Handle,
            None => self.settle(&job).await,
        }
    }

    async fn read(&self, job: Arc<Job>) -> Told {
        let mut not_run = NotRun::NotTaken;
        if let Some((executor, lane)) = self.lanes.pick(&self.process) {
            let ran = tokio::select! {
                biased;
                ran = lane.run(job.clone()) => ran,
                () = executor.death() => Err(NotRun::Lost),
            };
            match ran {
                Ok(outcome) => return Told::Outcome(outcome),
                Err(why) => not_run = why,
            }
        }
        let mut waiter = self.arrivals.wait(job.execution_id.as_str());
        match self.queue.publish(job).await {
            Ok(()) | Err(QueueError::Unconfirmed(_)) => {}
            Err(_) if not_run == NotRun::Lost => return Told::Unknown,
            Err(_) => return Told::Refused,
        }
        match waiter.recv().await {
            Some(outcome) => Told::Outcome(outcome),
            None => Told::Unknown,
        }
    }

    /// `None`: there was no outcome in time, and the call goes on.
    async fn write(&self, job: Arc<Job>, ends: Instant) -> Option<Told> {
        let mut not_run = NotRun::NotTaken;
        if ends.saturating_duration_since(Instant::now()) >= BEGUN_WITHIN * 3 {
            not_run = match self.at_once(&job, ends).await {
                Ok(told) => return told,
                Err(not_run) => not_run,
            };
        }
        let mut waiter = self.arrivals.wait(job.execution_id.as_str());
        match self.queue.publish(job.clone()).await {
            Ok(()) | Err(QueueError::Unconfirmed(_)) => {}
            Err(_) if not_run == NotRun::NotTaken => return Some(Told::Refused),
            Err(_) => return Some(self.nowhere(&job).await),
        }
        let told = tokio::time::timeout_at(ends, async {
            tokio::select! {
                biased;
                Some(outcome) = waiter.recv() => Told::Outcome(outcome),
                outcome = self.recorded(&job) => Told::Outcome(outcome),
            }
        });
        told.await.ok()
    }

    /// `Err`: the queue is to have it.
    async fn at_once(&self, job: &Arc<Job>, ends: Instant) -> Result<Option<Told>, NotRun> {
        let run = async {
            let began = Instant::now();
            match self.express(job.clone()).await {
                Err(NotRun::Lost) => self.after_silence(job, began).await,
                ran => ran,
            }
        };
        tokio::select! {
            biased;
            ran = run => ran.map(|outcome| Some(Told::Outcome(outcome))),
            outcome = self.recorded(job) => Ok(Some(Told::Outcome(outcome))),
            () = sleep_until(ends) => match self.journal.look(&job.execution_id).await {
                Ok(Some(record)) => Ok(record.outcome.map(Told::Outcome)),
                Ok(None) | Err(_) => Err(NotRun::Lost),
            },
        }
    }

    /// As between processes: the job may not arrive, or long after it was given up; so may what comes back.
    async fn express(&self, job: Arc<Job>) -> Result<Outcome, NotRun> {
        let Some((executor, lane)) = self.lanes.pick(&self.process) else { return Err(NotRun::NotTaken) };
        let world = self.process.world.clone();
        let lost = world.fault(world.weather.reply_lost);
        let late = world.fault(world.weather.pause * 10).then(|| world.draw(|random| random.millis(0, 30_000)));
        if lost {
            self.process.note("express, not arrived", job.execution_id.as_str());
            sleep(SILENCE).await;
            return Err(NotRun::Lost);
        }
        let (answer, answered) = oneshot::channel();
        let arrivals = self.arrivals.clone();
        tokio::spawn(async move {
            sleep(late.unwrap_or_default()).await;
            if executor.is_dead() {
                return;
            }
            executor.note(if late.is_some() { "express, late" } else { "express" }, job.execution_id.as_str());
            let ran = tokio::select! {
                biased;
                ran = lane.run(job.clone()) => ran,
                () = executor.death() => return,
            };
            if let Ok(outcome) = &ran {
                arrivals.keep(outcome.clone());
            }
            if world.fault(world.weather.reply_lost) {
                executor.note("express, unheard", job.execution_id.as_str());
                return;
            }
            let _ = answer.send(ran);
        });
        match late {
            Some(late) if late >= SILENCE => {
                sleep(SILENCE).await;
                Err(NotRun::Lost)
            }
            _ => match answered.await {
                Ok(ran) => ran,
                Err(_) => {
                    let silence = self.process.world.draw(|random| random.pick(&[SILENCE, ACK_WAIT]));
                    sleep(silence).await;
                    Err(NotRun::Lost)
                }
            },
        }
    }

    async fn after_silence(&self, job: &Job, began: Instant) -> Result<Outcome, NotRun> {
        loop {
            match self.journal.look(&job.execution_id).await {
                Ok(Some(record)) => match record.outcome {
                    Some(outcome) => return Ok(outcome),
                    None if began.elapsed() < ACK_WAIT => sleep(BEGUN_WITHIN).await,
                    None => return Err(NotRun::Lost),
                },
                Ok(None) | Err(_) => return Err(NotRun::Lost),
            }
        }
    }

    /// The queue does not take what an executor that is gone may have begun.
    async fn nowhere(&self, job: &Job) -> Told {
        match self.journal.close(job, &unsent(job, ErrorCode::Overloaded)).await {
            Ok(Closed::Yes) => Told::Refused,
            Ok(Closed::AlreadyEnded(outcome)) => Told::Outcome(*outcome),
            Ok(Closed::IntentOpen) | Err(_) => Told::Unknown,
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
    Outcome { execution_id: job.execution_id.clone(), envelope, data: None, stages: StageTimes::default() }
}
