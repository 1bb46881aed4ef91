//! What every [`Express`] lane promises: a job runs at once or is not taken, and whoever asked learns which.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::time::timeout;

use super::{JobBuilder, outcome};
use crate::ids::InstanceId;
use crate::job::{Job, Outcome};
use crate::manifest::Effect;
use crate::queue::{ACK_WAIT, Express, ExpressKind, NotRun};

const SOON: Duration = Duration::from_secs(5);

/// One gateway, and executors that come and go.
#[async_trait]
pub trait ExpressWorld: Send {
    fn kind(&self) -> ExpressKind;

    /// The lane as the gateway `me` sees it.
    async fn gateway(&mut self, me: &InstanceId) -> Arc<dyn Express>;

    /// An executor that works on what arrives with `runner`. Returns when it is heard of.
    async fn executor(&mut self, runner: Arc<dyn Express>);

    /// Ends every executor, as `kill -9` does.
    async fn kill_executors(&mut self);
}

/// Runs all checks.
pub async fn express_contract<W: ExpressWorld>(make: impl AsyncFn() -> W) {
    an_outcome_comes_back_to_its_call(make().await).await;
    what_has_no_room_is_not_taken(make().await).await;
    without_an_executor_nothing_is_taken(make().await).await;
    what_is_lost_is_not_said_to_be_untaken(make().await).await;
    a_slow_call_is_waited_for(make().await).await;
    a_call_of_a_dead_executor_is_not_taken(make().await).await;
}

/// Answers each job with its own path after a while; `room` is how many it takes at once.
struct Runner {
    takes: Duration,
    room: usize,
    running: Arc<AtomicUsize>,
}

impl Runner {
    fn after(takes: Duration, room: usize) -> Arc<Self> {
        Arc::new(Self { takes, room, running: Arc::default() })
    }
}

impl Express for Runner {
    fn run(self: Arc<Self>, job: Arc<Job>) -> BoxFuture<'static, Result<Outcome, NotRun>> {
        Box::pin(async move {
            if self.running.fetch_add(1, Ordering::SeqCst) >= self.room {
                self.running.fetch_sub(1, Ordering::SeqCst);
                return Err(NotRun::NotTaken);
            }
            tokio::time::sleep(self.takes).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            Ok(outcome(&job.execution_id, job.path.as_bytes()))
        })
    }
}

fn job(kind: ExpressKind, me: &InstanceId, path: &str) -> Arc<Job> {
    let effect = match kind {
        ExpressKind::Reads => Effect::Read,
        ExpressKind::Effects => Effect::Once,
    };
    let mut job = JobBuilder::new(effect).reply_to(me).build();
    path.clone_into(&mut job.path);
    Arc::new(job)
}

async fn an_outcome_comes_back_to_its_call<W: ExpressWorld>(mut world: W) {
    let me = InstanceId::generate();
    world.executor(Runner::after(Duration::from_millis(5), 1_000)).await;
    let lane = world.gateway(&me).await;
    let calls: Vec<_> = (0..300)
        .map(|number| {
            let job = job(world.kind(), &me, &format!("/{number}"));
            let ran = lane.clone().run(job.clone());
            tokio::spawn(async move { (ran.await, outcome(&job.execution_id, job.path.as_bytes())) })
        })
        .collect();
    for call in calls {
        let (ran, expected) = timeout(SOON, call).await.unwrap().unwrap();
        assert_eq!(ran, Ok(expected));
    }
}

async fn what_has_no_room_is_not_taken<W: ExpressWorld>(mut world: W) {
    let me = InstanceId::generate();
    world.executor(Runner::after(Duration::from_millis(800), 1)).await;
    let lane = world.gateway(&me).await;
    let first = tokio::spawn(lane.clone().run(job(world.kind(), &me, "/first")));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let refused = timeout(Duration::from_millis(400), lane.run(job(world.kind(), &me, "/second"))).await;
    assert_eq!(refused.expect("a refusal comes at once"), Err(NotRun::NotTaken));
    assert!(timeout(SOON, first).await.unwrap().unwrap().is_ok());
}

/// Does not know what became of its job.
struct Loser;

impl Express for Loser {
    fn run(self: Arc<Self>, _: Arc<Job>) -> BoxFuture<'static, Result<Outcome, NotRun>> {
        Box::pin(std::future::ready(Err(NotRun::Lost)))
    }
}

async fn what_is_lost_is_not_said_to_be_untaken<W: ExpressWorld>(mut world: W) {
    let me = InstanceId::generate();
    world.executor(Arc::new(Loser)).await;
    let lane = world.gateway(&me).await;
    let ran = timeout(SOON, lane.run(job(world.kind(), &me, "/lost"))).await.unwrap();
    assert_eq!(ran, Err(NotRun::Lost));
}

async fn without_an_executor_nothing_is_taken<W: ExpressWorld>(mut world: W) {
    let me = InstanceId::generate();
    let lane = world.gateway(&me).await;
    assert!(timeout(SOON, lane.run(job(world.kind(), &me, "/x"))).await.unwrap().is_err());
}

async fn a_slow_call_is_waited_for<W: ExpressWorld>(mut world: W) {
    let me = InstanceId::generate();
    world.executor(Runner::after(Duration::from_millis(3_500), 10)).await;
    let lane = world.gateway(&me).await;
    assert!(timeout(SOON, lane.run(job(world.kind(), &me, "/slow"))).await.unwrap().is_ok());
}

async fn a_call_of_a_dead_executor_is_not_taken<W: ExpressWorld>(mut world: W) {
    let me = InstanceId::generate();
    world.executor(Runner::after(Duration::from_secs(60), 10)).await;
    let lane = world.gateway(&me).await;
    let call = tokio::spawn(lane.run(job(world.kind(), &me, "/lost")));
    tokio::time::sleep(Duration::from_millis(700)).await;
    world.kill_executors().await;
    // It is heard to have begun, so an effect is waited for as the queue would.
    let soon = match world.kind() {
        ExpressKind::Reads => SOON,
        ExpressKind::Effects => ACK_WAIT + SOON,
    };
    // It had begun: nobody may say that nothing was sent.
    assert_eq!(timeout(soon, call).await.unwrap().unwrap(), Err(NotRun::Lost));
}
