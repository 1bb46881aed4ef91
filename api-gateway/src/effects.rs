//! Calls that have an effect and whose callers wait: run at once where there is a place, else through the queue.
//!
//! The journal decides which start may call, so a job may be on both ways. A handle is given only for what does not end with
//! this process: an intent, or a job in the queue.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use plugboard_core::error::CallError;
use plugboard_core::ids::ExecutionId;
use plugboard_core::job::{Job, Outcome};
use plugboard_core::journal::Closed;
use plugboard_core::queue::{ACK_WAIT, BEGUN_WITHIN, NotRun};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::departure::Departure;
use crate::state::Gateway;

/// How often a waiting call looks into the journal, in case its reply was lost.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// When a job on the express lane has an intent, or will never have one.
const DECIDED_AFTER: Duration = BEGUN_WITHIN.saturating_mul(2);

/// A caller who leaves sooner could be given a handle for what nobody has begun.
const LEAST_WAIT: Duration = BEGUN_WITHIN.saturating_mul(3);

/// What became of a job on the express lane.
enum AtOnce {
    Over(Outcome),
    /// Its caller's patience has ended; its executor goes on.
    GoesOn,
    /// The queue is to have it.
    NotRun(NotRun),
}

impl Gateway {
    /// Makes a call and waits for its outcome. `None`: there was none in time, and the call goes on, to be found by its
    /// handle.
    pub(crate) async fn write(
        self: &Arc<Self>,
        job: &Arc<Job>,
        within: Duration,
    ) -> Result<Option<Outcome>, CallError> {
        let departure = Departure::watch(self, job);
        let written = self.write_and_wait(job, within).await;
        departure.disarm();
        written
    }

    async fn write_and_wait(self: &Arc<Self>, job: &Arc<Job>, within: Duration) -> Result<Option<Outcome>, CallError> {
        let ends = Instant::now() + within;
        let not_run = match within >= LEAST_WAIT {
            false => NotRun::NotTaken,
            true => match self.at_once(job, ends).await {
                AtOnce::Over(outcome) => return Ok(Some(outcome)),
                AtOnce::GoesOn => return Ok(None),
                AtOnce::NotRun(not_run) => not_run,
            },
        };
        let mut waiter = self.waiters.register(&job.execution_id);
        match not_run {
            NotRun::NotTaken => self.hand_in(job).await?,
            // Who may have begun is not refused for coming late.
            NotRun::Lost => {
                if let Err(error) = self.enqueue(job).await {
                    return self.nowhere(job, error).await;
                }
            }
        }
        let outcome = timeout_at(ends, async {
            tokio::select! {
                biased;
                Some(outcome) = waiter.outcome() => Some(outcome),
                outcome = self.recorded(&job.execution_id, LOOK_EVERY) => Some(outcome),
                () = self.parting.cancelled() => None,
            }
        });
        Ok(outcome.await.ok().flatten())
    }

    async fn at_once(self: &Arc<Self>, job: &Arc<Job>, ends: Instant) -> AtOnce {
        let decided = Instant::now() + DECIDED_AFTER;
        let over = async {
            tokio::select! {
                () = sleep_until(ends) => {}
                () = self.parting.cancelled() => sleep_until(decided.min(ends)).await,
            }
        };
        let mut run: BoxFuture<'static, _> = Box::pin(self.clone().express_effect(job.clone()));
        let ran = tokio::select! {
            biased;
            ran = &mut run => ran,
            outcome = self.recorded(&job.execution_id, LOOK_EVERY) => Ok(outcome),
            () = over => return self.leave_to_executor(job, run).await,
        };
        match ran {
            Ok(outcome) => AtOnce::Over(outcome),
            Err(not_run) => AtOnce::NotRun(not_run),
        }
    }

    async fn express_effect(self: Arc<Self>, job: Arc<Job>) -> Result<Outcome, NotRun> {
        let began = Instant::now();
        match self.express_effects.clone().run(job.clone()).await {
            Err(NotRun::Lost) => self.after_silence(&job.execution_id, began).await,
            ran => ran,
        }
    }

    /// The executor is not heard of any more. What it has begun is left alone as long as the queue would: looked for sooner,
    /// it would end as "unknown" though only a connection is broken.
    async fn after_silence(&self, id: &ExecutionId, began: Instant) -> Result<Outcome, NotRun> {
        loop {
            match self.journal.look(id).await {
                Ok(Some(record)) => match record.outcome {
                    Some(outcome) => return Ok(outcome),
                    None if began.elapsed() < ACK_WAIT => sleep(BEGUN_WITHIN).await,
                    None => return Err(NotRun::Lost),
                },
                Ok(None) | Err(_) => return Err(NotRun::Lost),
            }
        }
    }

    /// Whoever waits is told that the call goes on, so it must not hang on this process.
    async fn leave_to_executor(
        self: &Arc<Self>,
        job: &Arc<Job>,
        run: BoxFuture<'static, Result<Outcome, NotRun>>,
    ) -> AtOnce {
        match self.journal.look(&job.execution_id).await {
            Ok(Some(record)) => match record.outcome {
                Some(outcome) => AtOnce::Over(outcome),
                None => {
                    // As long as this process lives it sees to it that the call ends, should the executor not.
                    let (this, job) = (self.clone(), job.clone());
                    tokio::spawn(async move {
                        if run.await.is_err() {
                            this.hand_in_later(job);
                        }
                    });
                    AtOnce::GoesOn
                }
            },
            Ok(None) | Err(_) => AtOnce::NotRun(NotRun::Lost),
        }
    }

    /// The queue does not take what an executor that is gone may have begun.
    async fn nowhere(self: &Arc<Self>, job: &Arc<Job>, error: CallError) -> Result<Option<Outcome>, CallError> {
        match self.journal.close(job, &self.unsent(job, error.clone())).await {
            Ok(Closed::Yes) => Err(error),
            Ok(Closed::AlreadyEnded(outcome)) => Ok(Some(*outcome)),
            // Its handle will tell what has become of it when the queue takes it again.
            Ok(Closed::IntentOpen) | Err(_) => {
                self.hand_in_later(job.clone());
                Ok(None)
            }
        }
    }

    /// Looks into the journal from time to time until it has the outcome.
    pub(crate) async fn recorded(&self, id: &ExecutionId, every: Duration) -> Outcome {
        loop {
            sleep(every).await;
            if let Ok(Some(record)) = self.journal.look(id).await
                && let Some(outcome) = record.outcome
            {
                return outcome;
            }
        }
    }
}
