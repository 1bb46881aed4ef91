//! What every [`JobQueue`] promises.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use super::{JobBuilder, World, eventually};
use crate::clock::Clock as _;
use crate::ids::{ExecutionId, InstanceId, OrganizationId};
use crate::job::Job;
use crate::manifest::Effect;
use crate::queue::{ACK_WAIT, Delivery, JobQueue, Letter, QueueDepth, QueueError, wire};

type Port = Arc<dyn JobQueue>;

/// Long enough for what happens at once, shorter than [`ACK_WAIT`].
const SOON: Duration = Duration::from_secs(5);

const DURABLE: [Effect; 4] = [Effect::Read, Effect::Idempotent, Effect::Keyed, Effect::Once];

/// A world of a queue.
#[async_trait]
pub trait QueueWorld: World<Port = dyn JobQueue> {
    /// The time that must pass before a delivery that is still held would be handed out again, if it were.
    fn patience(&self) -> Duration {
        ACK_WAIT + Duration::from_secs(3)
    }

    /// Jobs that one organization may have in the queue, or up to three times as many where it has several lanes; at most
    /// a few hundred, or the check takes long.
    fn bound_per_organization(&self) -> Option<usize> {
        None
    }

    /// Whether [`JobQueue::bury`] puts anything aside.
    fn keeps_dead_letters(&self) -> bool {
        true
    }

    /// Puts these bytes where the letter of this execution would lie. False: this world cannot.
    async fn leave_letter(&mut self, _id: &ExecutionId, _bytes: &'static [u8]) -> bool {
        false
    }
}

/// Runs all checks.
pub async fn queue_contract<W: QueueWorld>(make: impl AsyncFn() -> W) {
    delivers_what_was_published(make().await).await;
    the_same_id_adds_nothing(make().await).await;
    what_is_dropped_comes_back_at_once(make().await).await;
    a_nack_waits_its_delay(make().await).await;
    what_is_held_or_acked_is_not_delivered_again(make().await).await;
    delivers_every_job_to_somebody(make().await).await;
    loses_nothing_to_cancelled_receivers(make().await).await;
    loses_nothing_to_receivers_dropped_at_any_point(make().await).await;
    counts_waiting_and_held(make().await).await;
    tells_how_long_jobs_have_waited(make().await).await;
    what_is_confirmed_survives(make().await).await;
    starts_are_counted_over_a_crash(make().await).await;
    one_organization_cannot_fill_the_queue(make().await).await;
    a_burst_of_one_delays_the_others_little(make().await).await;
    buries(make().await).await;
}

async fn next(queue: &Port) -> Delivery {
    timeout(SOON, queue.receive()).await.expect("nothing was delivered").unwrap()
}

async fn nothing_within(queue: &Port, time: Duration) {
    if let Ok(delivery) = timeout(time, queue.receive()).await {
        panic!("delivered without need: {:?}", delivery.unwrap());
    }
}

fn wire_form(job: &Job) -> bytes::Bytes {
    wire::encode_job(job)
}

/// One job of each kind: background of every class, and interactive of every class.
fn one_of_each(gateway: &InstanceId) -> Vec<Job> {
    DURABLE
        .into_iter()
        .flat_map(|effect| [JobBuilder::new(effect), JobBuilder::new(effect).reply_to(gateway)])
        .map(JobBuilder::build)
        .collect()
}

async fn delivers_what_was_published<W: QueueWorld>(mut world: W) {
    let (gateway, executor) = (world.open().await, world.open().await);
    for job in one_of_each(&InstanceId::generate()) {
        gateway.publish(job.clone().into()).await.unwrap();
        let delivery = next(&executor).await;
        assert_eq!(wire_form(&delivery.job), wire_form(&job));
        assert_eq!(delivery.starts, 1);
        delivery.ack();
    }
    let bare = JobBuilder::new(Effect::Once).body(None).build();
    gateway.publish(bare.clone().into()).await.unwrap();
    let delivery = next(&executor).await;
    assert_eq!(wire_form(&delivery.job), wire_form(&bare));
    delivery.ack();
}

/// While the job waits, while it is held, and after it ended.
async fn the_same_id_adds_nothing<W: QueueWorld>(mut world: W) {
    let (queue, other) = (world.open().await, world.open().await);
    let job = JobBuilder::new(Effect::Once).build();
    for _ in 0..3 {
        queue.publish(job.clone().into()).await.unwrap();
    }
    other.publish(job.clone().into()).await.unwrap();
    let held = next(&queue).await;
    queue.publish(job.clone().into()).await.unwrap();
    nothing_within(&queue, Duration::from_millis(500)).await;
    held.ack();
    queue.publish(job.clone().into()).await.unwrap();
    other.publish(job.into()).await.unwrap();
    nothing_within(&queue, Duration::from_millis(500)).await;

    // Publishes of one id that race are one job.
    let job = JobBuilder::new(Effect::Keyed).build();
    let racers: Vec<_> = (0..16)
        .map(|_| {
            let (queue, job) = (queue.clone(), job.clone());
            tokio::spawn(async move { queue.publish(job.into()).await })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap().unwrap();
    }
    next(&queue).await.ack();
    nothing_within(&queue, Duration::from_millis(500)).await;

    // After ten minutes the id is forgotten; the journal still fences.
    if let Some(clock) = world.clock() {
        clock.advance(Duration::from_secs(9 * 60));
        queue.publish(job.clone().into()).await.unwrap();
        nothing_within(&queue, Duration::from_millis(200)).await;
    }
}

async fn what_is_dropped_comes_back_at_once<W: QueueWorld>(mut world: W) {
    let queue = world.open().await;
    for job in one_of_each(&InstanceId::generate()) {
        queue.publish(job.clone().into()).await.unwrap();
        for start in 1..=crate::queue::MAX_STARTS + 2 {
            let delivery = next(&queue).await;
            assert_eq!(delivery.job.execution_id, job.execution_id);
            assert_eq!(delivery.starts, start, "every delivery counts; the queue never gives up by itself");
            assert_eq!(wire_form(&delivery.job), wire_form(&job));
            drop(delivery);
        }
        next(&queue).await.ack();
    }
    nothing_within(&queue, Duration::from_millis(300)).await;
}

async fn a_nack_waits_its_delay<W: QueueWorld>(mut world: W) {
    let queue = world.open().await;
    for job in
        [JobBuilder::new(Effect::Once).build(), JobBuilder::new(Effect::Read).reply_to(&InstanceId::generate()).build()]
    {
        let delay = Duration::from_millis(700);
        queue.publish(job.clone().into()).await.unwrap();
        let delivery = next(&queue).await;
        let at = Instant::now();
        delivery.nack(delay);
        let again = next(&queue).await;
        // Timers of brokers are coarse to the millisecond.
        assert!(at.elapsed() + Duration::from_millis(20) >= delay, "came back after {:?}", at.elapsed());
        assert_eq!((&again.job.execution_id, again.starts), (&job.execution_id, 2));
        let at = Instant::now();
        again.nack(Duration::ZERO);
        let again = next(&queue).await;
        assert!(at.elapsed() < SOON);
        assert_eq!(again.starts, 3);
        again.ack();
    }
    // A job that waits its delay holds nobody up.
    let late = JobBuilder::new(Effect::Once).build();
    let other = JobBuilder::new(Effect::Once).organization(&late.organization).build();
    queue.publish(late.clone().into()).await.unwrap();
    next(&queue).await.nack(Duration::from_secs(2));
    queue.publish(other.clone().into()).await.unwrap();
    let first = next(&queue).await;
    assert_eq!(first.job.execution_id, other.execution_id);
    first.ack();
    let second = next(&queue).await;
    assert_eq!(second.job.execution_id, late.execution_id);
    second.ack();
}

async fn what_is_held_or_acked_is_not_delivered_again<W: QueueWorld>(mut world: W) {
    let (queue, other) = (world.open().await, world.open().await);
    let gateway = InstanceId::generate();
    let mut held = Vec::new();
    for (at, job) in one_of_each(&gateway).into_iter().chain(one_of_each(&gateway)).enumerate() {
        queue.publish(job.into()).await.unwrap();
        let delivery = next(if at % 2 == 0 { &queue } else { &other }).await;
        if at < 8 {
            delivery.ack();
        } else {
            held.push(delivery);
        }
    }
    nothing_within(&other, world.patience()).await;
    for delivery in held {
        delivery.ack();
    }
    nothing_within(&queue, Duration::from_millis(300)).await;
}

/// Order is not promised; that each comes, and comes once while nobody dies, is.
async fn delivers_every_job_to_somebody<W: QueueWorld>(mut world: W) {
    const PUBLISHERS: usize = 8;
    const EACH: usize = 40;
    let publisher = world.open().await;
    let executors = [world.open().await, world.open().await, world.open().await];
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let publisher = publisher.clone();
            tokio::spawn(async move {
                let organization = OrganizationId::generate();
                let gateway = InstanceId::generate();
                let mut sent = Vec::new();
                for at in 0..EACH {
                    let job = JobBuilder::new(DURABLE[at % 4]).organization(&organization);
                    let job = if at % 3 == 0 { job.reply_to(&gateway).build() } else { job.build() };
                    sent.push(job.execution_id.clone());
                    publisher.publish(job.into()).await.unwrap();
                }
                sent
            })
        })
        .collect();
    let working: Vec<_> = executors
        .into_iter()
        .map(|queue| {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while let Ok(delivery) = timeout(Duration::from_secs(2), queue.receive()).await {
                    let delivery = delivery.unwrap();
                    assert_eq!(delivery.starts, 1);
                    seen.push(delivery.job.execution_id.clone());
                    delivery.ack();
                }
                seen
            })
        })
        .collect();
    let mut sent = HashSet::new();
    for task in publishing {
        sent.extend(task.await.unwrap());
    }
    let mut seen = HashMap::<ExecutionId, u32>::new();
    for task in working {
        for id in task.await.unwrap() {
            *seen.entry(id).or_default() += 1;
        }
    }
    assert_eq!(sent.len(), PUBLISHERS * EACH);
    assert_eq!(seen.keys().cloned().collect::<HashSet<_>>(), sent);
    assert!(seen.values().all(|times| *times == 1));
}

async fn loses_nothing_to_cancelled_receivers<W: QueueWorld>(mut world: W) {
    const JOBS: usize = 60;
    let queue = world.open().await;
    let gateway = InstanceId::generate();
    let publisher = queue.clone();
    let publishing = tokio::spawn(async move {
        let mut sent = HashSet::new();
        for at in 0..JOBS {
            let job = JobBuilder::new(DURABLE[at % 4]);
            let job = if at % 2 == 0 { job.reply_to(&gateway).build() } else { job.build() };
            sent.insert(job.execution_id.clone());
            publisher.publish(job.into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sent
    });
    // Impatient receivers: they give up all the time, and hand back what they get.
    let impatient: Vec<_> = (0..4)
        .map(|at| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for round in 0..100u64 {
                    let patience = Duration::from_micros(50 * ((round + at) % 40));
                    drop(timeout(patience, queue.receive()).await);
                }
            })
        })
        .collect();
    let sent = publishing.await.unwrap();
    for task in impatient {
        task.await.unwrap();
    }
    let mut seen = HashSet::new();
    while seen.len() < JOBS {
        let delivery = timeout(Duration::from_secs(20), queue.receive())
            .await
            .unwrap_or_else(|_| panic!("{} jobs are lost", JOBS - seen.len()))
            .unwrap();
        seen.insert(delivery.job.execution_id.clone());
        delivery.ack();
    }
    assert_eq!(seen, sent);
}

/// A receiver that is polled a few times only is dropped wherever it waits, or with the job it has just got.
async fn loses_nothing_to_receivers_dropped_at_any_point<W: QueueWorld>(mut world: W) {
    let queue = world.open().await;
    for polls in 0..24usize {
        let job = JobBuilder::new(DURABLE[polls % 4]);
        let job = if polls % 8 < 4 { job.reply_to(&InstanceId::generate()).build() } else { job.build() };
        let id = job.execution_id.clone();
        queue.publish(job.into()).await.unwrap();
        for _ in 0..3 {
            let mut receiving = queue.receive();
            for _ in 0..polls / 4 {
                if futures::poll!(&mut receiving).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let delivery = timeout(SOON, queue.receive()).await.expect("the job is lost").unwrap();
        assert_eq!(delivery.job.execution_id, id);
        delivery.ack();
    }
}

async fn counts_waiting_and_held<W: QueueWorld>(mut world: W) {
    let queue = world.open().await;
    let depth_is = async |waiting, held| {
        let name = format!("{waiting} waiting, {held} held");
        eventually(SOON, &name, || async { queue.depth().await.unwrap() == QueueDepth { waiting, held } }).await;
    };
    depth_is(0, 0).await;
    for _ in 0..5 {
        queue.publish(JobBuilder::new(Effect::Once).build().into()).await.unwrap();
    }
    eventually(SOON, "five jobs are counted", || async {
        let depth = queue.depth().await.unwrap();
        // An adapter may fetch ahead of its receivers; together they are five.
        depth.waiting + depth.held == 5
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&queue).await);
    }
    depth_is(0, 5).await;
    held.drain(..2).for_each(Delivery::ack);
    depth_is(0, 3).await;
    held.drain(..).for_each(Delivery::ack);
    depth_is(0, 0).await;
}

/// A line in which nobody is served grows older, for its own class only, until it is empty.
async fn tells_how_long_jobs_have_waited<W: QueueWorld>(mut world: W) {
    let (gateway, organization) = (InstanceId::generate(), OrganizationId::generate());
    let clock = world.clock();
    let job = || {
        let mut job = JobBuilder::new(Effect::Once).organization(&organization).reply_to(&gateway).build();
        job.accepted_at = clock.as_ref().map_or(job.accepted_at, |clock| clock.now());
        job
    };
    // Somebody must have come once, for an adapter may not know its lines before; then everybody is gone.
    let executor = world.open().await;
    executor.publish(job().into()).await.unwrap();
    next(&executor).await.ack();
    let empty = async |queue: &Port| {
        queue.depth().await.unwrap() == QueueDepth::default() && queue.wait_ahead(&job()).is_zero()
    };
    eventually(SOON, "the line is empty", || empty(&executor)).await;
    world.crash().await;
    let queue = world.open().await;
    for _ in 0..50 {
        queue.publish(job().into()).await.unwrap();
    }
    eventually(SOON, "the line grows older", || async {
        if let Some(clock) = &clock {
            clock.advance(Duration::from_millis(100));
        }
        let survey = queue.survey().await.unwrap();
        let oldest = survey.lines.iter().map(|line| line.oldest).max().unwrap_or_default();
        let ahead = queue.wait_ahead(&job());
        survey.unaccounted == 0 && ahead > Duration::from_millis(200) && oldest >= ahead
    })
    .await;
    assert!(queue.wait_ahead(&JobBuilder::new(Effect::Once).organization(&organization).build()).is_zero());
    // All of them, and what was acked a moment before the death and may come again.
    eventually(SOON, "the line is empty again", || async {
        if let Ok(delivery) = timeout(Duration::from_millis(50), queue.receive()).await {
            delivery.unwrap().ack();
        }
        empty(&queue).await
    })
    .await;
}

/// Jobs of every kind but the interactive read come back after the death of all processes, held or not.
async fn what_is_confirmed_survives<W: QueueWorld>(mut world: W) {
    let queue = world.open().await;
    let gateway = InstanceId::generate();
    let exempt = |job: &Job| job.effect == Effect::Read && job.interactive();
    let ended: Vec<_> = one_of_each(&gateway).into_iter().filter(|job| !exempt(job)).collect();
    for job in &ended {
        queue.publish(job.clone().into()).await.unwrap();
        next(&queue).await.ack();
    }
    let held_jobs: Vec<_> = one_of_each(&gateway).into_iter().filter(|job| !exempt(job)).collect();
    let mut held = Vec::new();
    for job in &held_jobs {
        queue.publish(job.clone().into()).await.unwrap();
        held.push(next(&queue).await);
    }
    let waiting: Vec<_> = one_of_each(&gateway).into_iter().filter(|job| !exempt(job)).collect();
    for job in &waiting {
        queue.publish(job.clone().into()).await.unwrap();
    }
    // An ack is confirmed a moment later; what it has not confirmed yet may come again.
    tokio::time::sleep(Duration::from_millis(500)).await;
    if !world.crash().await {
        return;
    }
    drop(held);
    let queue = world.open().await;
    let mut missing: HashMap<_, _> =
        held_jobs.iter().chain(&waiting).map(|job| (job.execution_id.clone(), wire_form(job))).collect();
    while !missing.is_empty() {
        let delivery = timeout(world.patience() + SOON, queue.receive())
            .await
            .unwrap_or_else(|_| panic!("lost: {:?}", missing.keys()))
            .unwrap();
        let wanted = missing.remove(&delivery.job.execution_id).expect("neither ended nor twice");
        assert_eq!(wire_form(&delivery.job), wanted);
        delivery.ack();
    }
    // What is known to the queue is still known after the crash.
    for job in waiting {
        queue.publish(job.into()).await.unwrap();
    }
    nothing_within(&queue, Duration::from_millis(500)).await;
}

/// A job that kills its executor is counted too, whether it was the first delivery or a later one.
async fn starts_are_counted_over_a_crash<W: QueueWorld>(mut world: W) {
    let mut queue = world.open().await;
    let job = JobBuilder::new(Effect::Once).build();
    queue.publish(job.clone().into()).await.unwrap();
    for start in 1..=3 {
        let delivery = timeout(world.patience() + SOON, queue.receive()).await.expect("redelivered").unwrap();
        assert_eq!((&delivery.job.execution_id, delivery.starts), (&job.execution_id, start));
        if !world.crash().await {
            return;
        }
        drop(delivery);
        queue = world.open().await;
    }
    let delivery = timeout(world.patience() + SOON, queue.receive()).await.expect("redelivered").unwrap();
    assert_eq!(delivery.starts, 4);
    drop(delivery);
    let delivery = next(&queue).await;
    assert_eq!(delivery.starts, 5);
    delivery.ack();
}

/// Whatever of the burst can run is running, and held.
async fn a_burst_of_one_delays_the_others_little<W: QueueWorld>(mut world: W) {
    // Within the bound of every world.
    const BURST: usize = 95;
    let (gateway, executor) = (world.open().await, world.open().await);
    let quiet = OrganizationId::generate();
    let noisy = OrganizationId::generate();
    for _ in 0..BURST {
        gateway.publish(JobBuilder::new(Effect::Once).organization(&noisy).build().into()).await.unwrap();
    }
    let background = JobBuilder::new(Effect::Once).organization(&quiet);
    let waiting = JobBuilder::new(Effect::Once).organization(&quiet).reply_to(&InstanceId::generate());
    for job in [background, waiting] {
        gateway.publish(job.build().into()).await.unwrap();
    }
    let (mut held, mut found) = (Vec::new(), 0);
    while found < 2 {
        let delivery = next(&executor).await;
        found += usize::from(delivery.job.organization == quiet);
        held.push(delivery);
    }
    assert!(held.len() <= 80, "both came after {} of {BURST} jobs of another organization", held.len() - 2);
    let rest = BURST + 2 - held.len();
    held.into_iter().for_each(Delivery::ack);
    for _ in 0..rest {
        next(&executor).await.ack();
    }
}

async fn one_organization_cannot_fill_the_queue<W: QueueWorld>(mut world: W) {
    let Some(bound) = world.bound_per_organization() else { return };
    let queue = world.open().await;
    let greedy = OrganizationId::generate();
    let job = || JobBuilder::new(Effect::Once).organization(&greedy).build();
    let mut taken = 0;
    let refused = loop {
        let job = job();
        match queue.publish(job.clone().into()).await {
            Ok(()) => taken += 1,
            Err(QueueError::Full) => break job,
            Err(error) => panic!("{error}"),
        }
        assert!(taken <= 3 * bound, "no end is in sight");
    };
    assert!(taken >= bound, "refused after {taken} of {bound}");
    queue.publish(JobBuilder::new(Effect::Once).build().into()).await.expect("others go on");
    for _ in 0..=taken {
        next(&queue).await.ack();
    }
    // A refused job was not remembered as published.
    eventually(SOON, "room after the acks", || async { queue.publish(refused.clone().into()).await.is_ok() }).await;
    let delivery = next(&queue).await;
    assert_eq!(delivery.job.execution_id, refused.execution_id);
    delivery.ack();
}

async fn buries<W: QueueWorld>(mut world: W) {
    let queue = world.open().await;
    let job = JobBuilder::new(Effect::Once).build();
    queue.publish(job.clone().into()).await.unwrap();
    let delivery = next(&queue).await;
    queue.bury(&delivery.job, "started too often", 6).await.unwrap();
    delivery.ack();
    nothing_within(&queue, Duration::from_millis(300)).await;
    if !world.keeps_dead_letters() {
        return;
    }
    let other = JobBuilder::new(Effect::Once).build();
    assert_ne!(job.organization, other.organization);
    queue.bury(&other, "another's", 6).await.unwrap();
    let queue = if world.crash().await { world.open().await } else { queue };

    let letters = queue.dead_letters();
    let all = async |organization: Option<&OrganizationId>, limit| {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let page = letters.list(organization, from.as_deref(), limit).await.unwrap();
            assert!(page.letters.len() <= limit);
            found.extend(page.letters.iter().map(|letter| letter.id().clone()));
            from = page.next;
            if from.is_none() {
                found.sort();
                return found;
            }
        }
    };
    let mut both = vec![job.execution_id.clone(), other.execution_id.clone()];
    both.sort();
    assert_eq!((all(None, 10).await, all(None, 1).await), (both.clone(), both));
    assert_eq!(all(Some(&job.organization), 10).await, std::slice::from_ref(&job.execution_id));
    assert_eq!(all(Some(&OrganizationId::generate()), 10).await, []);

    let letter = letters.get(None, &job.execution_id).await.unwrap().unwrap().read().unwrap();
    assert_eq!((letter.reason.as_str(), letter.starts), ("started too often", 6));
    assert_eq!((&letter.job.execution_id, letter.job.request_hash), (&job.execution_id, job.request_hash));
    assert!(letters.get(None, &ExecutionId::generate()).await.unwrap().is_none());
    let owned_by = async |organization| letters.get(Some(organization), &job.execution_id).await.unwrap().is_some();
    assert_eq!((owned_by(&job.organization).await, owned_by(&other.organization).await), (true, false));

    assert!(letters.remove(&job.execution_id).await.unwrap());
    assert!(!letters.remove(&job.execution_id).await.unwrap());
    assert!(letters.get(None, &job.execution_id).await.unwrap().is_none());
    assert_eq!(all(None, 10).await, std::slice::from_ref(&other.execution_id));

    // What a later version has written, say: nobody can make it again, and it does not stay for ever.
    let unreadable = ExecutionId::generate();
    if !world.leave_letter(&unreadable, b"\xff\xff").await {
        return;
    }
    let mut both = vec![unreadable.clone(), other.execution_id];
    both.sort();
    assert_eq!(all(None, 1).await, both);
    let Letter::Unreadable(letter) = letters.get(None, &unreadable).await.unwrap().unwrap() else {
        panic!("it was read");
    };
    assert!(letter.id == unreadable && letter.reason.starts_with("unreadable: "), "{letter:?}");
    assert!(letters.remove(&unreadable).await.unwrap());
    assert!(letters.get(None, &unreadable).await.unwrap().is_none());
}
