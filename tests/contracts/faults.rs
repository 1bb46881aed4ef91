//! The queue on NATS in trouble: servers killed, connections cut, packs with a bad job in them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plugboard_core::clock::SystemClock;
use plugboard_core::ids::{ExecutionId, OrganizationId};
use plugboard_core::job::Job;
use plugboard_core::manifest::Effect;
use plugboard_core::queue::nats::{NatsConfig, NatsLink, NatsQueue, NatsQueueConfig};
use plugboard_core::queue::{ACK_WAIT, Delivery, JobQueue, QueueDepth, QueueError, Shares};
use plugboard_core::testing::JobBuilder;
use plugboard_tests::cable::Cable;
use plugboard_tests::servers::{NatsServer, namespace};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(5);

/// Longer than the queue tries to publish.
const GIVES_UP: Duration = Duration::from_secs(17);

/// A process with a cable of its own.
struct Process {
    queue: Arc<NatsQueue>,
    cable: Cable,
}

impl Process {
    async fn start(server: &NatsServer, namespace: &str) -> Self {
        let cable = Cable::to(server.address()).await;
        let config = NatsConfig {
            urls: vec![format!("nats://{}", cable.address())],
            namespace: namespace.to_owned(),
            ..NatsConfig::default()
        };
        let link = NatsLink::connect(&config).await.unwrap();
        let queue =
            NatsQueue::open(&link, NatsQueueConfig::default(), Shares::new(256), Arc::new(SystemClock)).await.unwrap();
        Self { queue: Arc::new(queue), cable }
    }

    async fn next(&self) -> Delivery {
        timeout(SOON, self.queue.receive()).await.expect("nothing was delivered").unwrap()
    }

    async fn drained(&self) {
        let deadline = Instant::now() + SOON;
        loop {
            match self.queue.depth().await {
                Ok(QueueDepth { waiting: 0, held: 0 }) => return,
                other => assert!(Instant::now() < deadline, "not drained: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Jobs of one organization and class.
fn jobs(count: usize) -> Vec<Job> {
    let organization = OrganizationId::generate();
    (0..count).map(|_| JobBuilder::new(Effect::Once).organization(&organization).build()).collect()
}

/// Publishes all at once, so that most travel in packs, and shows that they do.
async fn publish_packed(process: &Process, jobs: &[Job]) {
    // Of one task: all are there before the first can be confirmed, however busy the machine is.
    futures::future::try_join_all(jobs.iter().map(|job| process.queue.publish(job.clone().into()))).await.unwrap();
    let depth = process.queue.depth().await.unwrap();
    assert!(depth.waiting < jobs.len() as u64 / 2, "{} jobs in {depth:?}: they were not packed", jobs.len());
}

fn ids(jobs: &[Job]) -> HashSet<ExecutionId> {
    jobs.iter().map(|job| job.execution_id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_handed_back_leaves_its_pack() {
    let namespace = namespace();
    let process = Process::start(NatsServer::shared(), &namespace).await;
    let jobs = jobs(24);
    publish_packed(&process, &jobs).await;
    let mut held = Vec::new();
    for _ in 0..jobs.len() {
        held.push(process.next().await);
    }
    assert!(held.iter().all(|delivery| delivery.starts == 1));
    let delayed = held.pop().unwrap();
    let dropped = held.pop().unwrap();
    let expected = [dropped.job.execution_id.clone(), delayed.job.execution_id.clone()];
    delayed.nack(Duration::from_millis(800));
    drop(dropped);
    // Both return while their neighbours are still held, and are counted.
    for id in expected {
        let again = process.next().await;
        assert_eq!((&again.job.execution_id, again.starts), (&id, 2));
        again.nack(Duration::ZERO);
        let again = process.next().await;
        assert_eq!((&again.job.execution_id, again.starts), (&id, 3));
        again.ack();
    }
    for delivery in held {
        delivery.ack();
    }
    process.drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_job_does_not_hold_up_its_pack() {
    let namespace = namespace();
    let server = NatsServer::shared();
    let gateway = Process::start(server, &namespace).await;
    let jobs = jobs(16);
    publish_packed(&gateway, &jobs).await;
    let bad = jobs[7].execution_id.clone();

    // The first executor dies of it, with the whole pack in its hands.
    let first = Process::start(server, &namespace).await;
    let mut held = Vec::new();
    for _ in 0..jobs.len() {
        held.push(first.next().await);
    }
    let Process { queue: _dead, cable } = first;
    drop(cable);

    // The second one gets every job by itself, and dies of the bad one after the others.
    let second = Process::start(server, &namespace).await;
    let mut missing = ids(&jobs);
    let mut poison = None;
    while !missing.is_empty() {
        let delivery = timeout(ACK_WAIT + SOON, second.queue.receive()).await.expect("redelivered").unwrap();
        assert_eq!(delivery.starts, 2);
        assert!(missing.remove(&delivery.job.execution_id));
        if delivery.job.execution_id == bad {
            poison = Some(delivery);
        } else {
            delivery.ack();
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let Process { queue: _dead, cable } = second;
    drop(cable);

    // Nothing but the bad one comes back.
    let third = Process::start(server, &namespace).await;
    let delivery = timeout(ACK_WAIT + SOON, third.queue.receive()).await.expect("redelivered").unwrap();
    assert_eq!((&delivery.job.execution_id, delivery.starts), (&bad, 3));
    delivery.ack();
    third.drained().await;
    drop((held, poison));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_hands_back_what_was_fetched_ahead_and_counts_no_start() {
    let namespace = namespace();
    let server = NatsServer::shared();
    let closing = Process::start(server, &namespace).await;
    let jobs = jobs(20);
    publish_packed(&closing, &jobs).await;
    let first = closing.next().await;
    let at = Instant::now();
    let (done, ()) = tokio::join!(closing.queue.receive_then_close(), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        first.ack();
    });
    assert!(matches!(done, Err(QueueError::Closed)), "{done:?}");
    assert!(at.elapsed() < SOON);

    let other = Process::start(server, &namespace).await;
    let mut seen = HashSet::new();
    for _ in 1..jobs.len() {
        let delivery = other.next().await;
        assert_eq!(delivery.starts, 1, "it was never started");
        assert!(seen.insert(delivery.job.execution_id.clone()));
        delivery.ack();
    }
    other.drained().await;
}

trait Close {
    async fn receive_then_close(&self) -> Result<Delivery, QueueError>;
}

impl Close for Arc<NatsQueue> {
    async fn receive_then_close(&self) -> Result<Delivery, QueueError> {
        self.close(SOON).await;
        self.receive().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_is_repeated_until_it_is_confirmed() {
    let namespace = namespace();
    let server = NatsServer::shared();
    let (process, other) = (Process::start(server, &namespace).await, Process::start(server, &namespace).await);
    process.queue.publish(jobs(1).remove(0).into()).await.unwrap();
    let delivery = process.next().await;
    process.cable.cut();
    delivery.ack();
    // It is on its way again long before the server hands the job to somebody else.
    assert!(timeout(ACK_WAIT + SOON, other.queue.receive()).await.is_err(), "an ended job was delivered again");
    other.drained().await;
}

/// The server takes the ack of a delivery that it has given up. That is why the journal is the fence, and not the ack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_ack_does_no_harm() {
    let namespace = namespace();
    let mut server = NatsServer::start();
    let (paused, other) = (Process::start(&server, &namespace).await, Process::start(&server, &namespace).await);
    let job = jobs(1).remove(0);
    paused.queue.publish(job.clone().into()).await.unwrap();
    let late = paused.next().await;
    // Nowhere to go: no sign of life for longer than the server waits.
    paused.cable.point_to(([127, 0, 0, 1], 1).into());
    paused.cable.cut();
    let second = timeout(ACK_WAIT + SOON, other.queue.receive()).await.expect("redelivered").unwrap();
    assert_eq!((&second.job.execution_id, second.starts), (&job.execution_id, 2));
    paused.cable.point_to(server.address());
    late.ack();
    tokio::time::sleep(Duration::from_secs(3)).await;
    second.ack();
    other.drained().await;
    assert!(timeout(ACK_WAIT + SOON, other.queue.receive()).await.is_err(), "an ended job was delivered again");
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_without_a_server_ends_in_time() {
    let mut server = NatsServer::start();
    let process = Process::start(&server, "").await;
    server.kill();
    process.cable.cut();
    let at = Instant::now();
    let result = timeout(GIVES_UP, process.queue.publish(jobs(1).remove(0).into())).await.expect("in time");
    assert!(matches!(result, Err(QueueError::Unavailable(_) | QueueError::Unconfirmed(_))), "{result:?}");
    assert!(timeout(SOON * 2, process.queue.depth()).await.expect("in time").is_err());
    assert!(at.elapsed() > Duration::from_secs(10), "an interruption of some seconds is waited out");
}

/// Killed and restarted three times under load: what was confirmed is delivered, nothing hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_confirmed_job_is_lost_when_nats_dies() {
    let mut server = NatsServer::start();
    let gateway = Process::start(&server, "").await;
    let executor = Process::start(&server, "").await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..16)
        .map(|_| {
            let (queue, stop) = (gateway.queue.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut confirmed, mut unconfirmed) = (HashSet::new(), HashSet::new());
                let organization = OrganizationId::generate();
                while !stop.load(Ordering::Relaxed) {
                    let job = JobBuilder::new(Effect::Once).organization(&organization).build();
                    let id = job.execution_id.clone();
                    match timeout(GIVES_UP, queue.publish(job.into())).await.expect("publish hangs") {
                        Ok(()) => confirmed.insert(id),
                        Err(QueueError::Unconfirmed(unknown)) => unconfirmed.insert(unknown),
                        Err(QueueError::Unavailable(_)) => false,
                        Err(other) => panic!("{other}"),
                    };
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (confirmed, unconfirmed)
            })
        })
        .collect();
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let (queue, noted) = (executor.queue.clone(), seen.clone());
    let working = tokio::spawn(async move {
        while let Ok(delivery) = queue.receive().await {
            let noted = noted.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                noted.lock().unwrap().insert(delivery.job.execution_id.clone());
                delivery.ack();
            });
        }
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        server.kill();
        gateway.cable.cut();
        executor.cable.cut();
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.restart();
        gateway.cable.point_to(server.address());
        executor.cable.point_to(server.address());
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut confirmed, mut unconfirmed) = (HashSet::new(), HashSet::new());
    for publisher in publishers {
        let (ok, unknown) = publisher.await.unwrap();
        confirmed.extend(ok);
        unconfirmed.extend(unknown);
    }
    assert!(confirmed.len() > 500, "{}", confirmed.len());
    let deadline = Instant::now() + ACK_WAIT + SOON;
    loop {
        let missing = confirmed.difference(&seen.lock().unwrap()).count();
        if missing == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{missing} of {} confirmed jobs are lost", confirmed.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let strangers =
        seen.lock().unwrap().iter().filter(|id| !confirmed.contains(*id) && !unconfirmed.contains(*id)).count();
    assert_eq!(strangers, 0, "jobs ran that were said not to be stored");
    working.abort();
}
