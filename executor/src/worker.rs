//! Takes jobs from the queue and runs each in its own task.

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::job::{Job, Outcome};
use plugboard_core::queue::{NotRun, QueueError, Share};
use plugboard_core::telemetry::RunningCall;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::meters::Meters;
use crate::{Config, Deps, attempt};

/// Rest after an error of the queue that is not its end.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// See [`crate::Executor::run`].
pub(crate) async fn run(
    config: Config,
    deps: Arc<Deps>,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
) -> Result<(), QueueError> {
    let mut tasks = JoinSet::new();
    let end = loop {
        // The slot comes first: a job in hand without a slot would only age.
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            permit = slots.clone().acquire_owned() => match permit {
                Ok(permit) => permit,
                Err(_) => break Ok(()),
            },
        };
        let delivery = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            delivery = deps.queue.receive() => delivery,
        };
        match delivery {
            Ok(delivery) => {
                let call = RunningCall::new(delivery.job.clone(), delivery.starts);
                let deps = Arc::clone(&deps);
                let task = async move {
                    let _permit = permit;
                    let _running = Running::begin(&deps);
                    attempt::run(&deps, delivery).await;
                };
                tasks.spawn(call.around(task));
            }
            Err(QueueError::Closed) => break Err(QueueError::Closed),
            Err(error) => {
                tracing::warn!(%error, "no job could be received; trying again");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
        while let Some(ended) = tasks.try_join_next() {
            report(ended);
        }
    };
    finish(tasks, &slots, &config).await;
    end
}

/// See [`crate::Executor`] as an express lane.
pub(crate) async fn express(
    deps: Arc<Deps>,
    job: Arc<Job>,
    place: (OwnedSemaphorePermit, Share),
) -> Result<Outcome, NotRun> {
    let _place = place;
    let _running = Running::begin(&deps);
    RunningCall::new(job.clone(), 1).around(attempt::express(&deps, &job)).await
}

/// Waits for the tasks, and for calls that came past the queue; a task that has not ended by then is dropped, which hands its
/// job back.
async fn finish(mut tasks: JoinSet<()>, slots: &Semaphore, config: &Config) {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            report(ended);
        }
        // Whoever asks for all of them gets each that is freed, so nothing new is begun either.
        let _ = slots.acquire_many(u32::try_from(config.slots).unwrap_or(u32::MAX)).await;
    };
    if tokio::time::timeout(config.grace(), all).await.is_err() && !tasks.is_empty() {
        tracing::warn!(jobs = tasks.len(), "jobs did not end in time and are handed back");
        tasks.shutdown().await;
    }
}

/// A panic ends one task. Its delivery was dropped by the unwinding, so the job comes again and the start counts.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        metrics::counter!("plugboard_panics_total").increment(1);
        tracing::error!("a job made its executor panic; it is handed back");
    }
}

/// Counts a running job, also when it ends by panic or abort.
struct Running(Meters);

impl Running {
    fn begin(deps: &Deps) -> Self {
        deps.meters.begun();
        Self(deps.meters.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.over();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Act, Bench, Fate, Vendor, bearer, fields};

    async fn bench(script: Vec<Act>) -> (Bench, Vendor) {
        let vendor = Vendor::start(script).await;
        (Bench::new(bearer(), fields(&[("api_key", "k-1234567890")]), vendor.addr), vendor)
    }

    fn slots(count: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(count))
    }

    async fn eventually(what: impl Fn() -> bool) {
        for _ in 0..500 {
            if what() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never happened");
    }

    #[tokio::test]
    async fn runs_jobs_until_stopped_and_finishes_what_it_began() {
        let (bench, _vendor) = bench(vec![Act::json(200, json!({}))]).await;
        let stop = CancellationToken::new();
        for _ in 0..20 {
            bench.world.enqueue(bench.job("send", "/messages"), 1);
        }
        let config = Config { slots: 3, ..Config::default() };
        let worker = tokio::spawn(run(config, Arc::new(bench.deps.clone()), slots(3), stop.clone()));
        eventually(|| bench.world.fates.lock().len() == 20).await;
        stop.cancel();
        assert!(worker.await.unwrap().is_ok());
        assert!(bench.world.fates.lock().iter().all(|fate| *fate == Fate::Acked));
    }

    #[tokio::test]
    async fn no_more_jobs_than_slots_are_taken() {
        let (bench, vendor) = bench(vec![Act::Sleep]).await;
        let stop = CancellationToken::new();
        for _ in 0..5 {
            bench.world.enqueue(bench.job("send", "/messages"), 1);
        }
        let config = Config { slots: 2, grace_seconds: 0 };
        let worker = tokio::spawn(run(config, Arc::new(bench.deps.clone()), slots(2), stop.clone()));
        eventually(|| vendor.calls() == 2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(vendor.calls(), 2);
        stop.cancel();
        worker.await.unwrap().unwrap();
        // What did not end in time is handed back, not acked.
        assert_eq!(*bench.world.fates.lock(), [Fate::Dropped, Fate::Dropped]);
    }

    #[tokio::test]
    async fn calls_that_came_past_the_queue_are_waited_for() {
        let (bench, _vendor) = bench(Vec::new()).await;
        let (stop, slots) = (CancellationToken::new(), slots(2));
        let under_way = slots.clone().acquire_owned().await.unwrap();
        let config = Config { slots: 2, ..Config::default() };
        let mut worker = tokio::spawn(run(config, Arc::new(bench.deps.clone()), slots.clone(), stop.clone()));
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_millis(200), &mut worker).await;
        assert!(ended.is_err() && slots.try_acquire().is_err(), "it waits, and begins nothing new");
        drop(under_way);
        worker.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_panic_hands_its_job_back_and_hurts_nobody_else() {
        let (bench, _vendor) = bench(vec![Act::json(200, json!({}))]).await;
        let stop = CancellationToken::new();
        let poison = bench.job("send", "/messages");
        let id = poison.execution_id.clone();
        let mut deps = bench.deps.clone();
        deps.clock = Arc::new(Panicking);
        let worker = tokio::spawn(run(Config::default(), Arc::new(deps), slots(256), stop.clone()));
        bench.world.enqueue(poison, 1);
        eventually(|| bench.world.fates.lock().contains(&Fate::Dropped)).await;
        assert!(!worker.is_finished(), "{id}");
        stop.cancel();
        worker.await.unwrap().unwrap();
    }

    struct Panicking;

    impl plugboard_core::clock::Clock for Panicking {
        fn now(&self) -> plugboard_core::clock::Millis {
            panic!("a poisonous job");
        }
    }
}
