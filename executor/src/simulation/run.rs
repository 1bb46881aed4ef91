//! One run: a seed decides everything in it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use plugboard_core::catalog::{CatalogHandle, ManifestDocument};
use plugboard_core::ids::{ExecutionId, InstanceId};
use plugboard_core::job::{Job, Outcome, Payload, RequestParts};
use plugboard_core::journal::memory::MemoryJournal;
use plugboard_core::journal::{Journal, JournalStore};
use plugboard_core::limits::Limits;
use plugboard_core::manifest::{Connector, Effect, document};
use plugboard_core::queue::Shares;
use plugboard_core::secret::SecretKey;
use plugboard_core::testing::{Random, draw_from};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::call::{Call, Told};
use super::check::Facts;
use super::gateway::{Gateway, Lanes, Manner};
use super::ports::{Arrivals, BlobsPort, CatalogPort, JournalPort, Payloads, RepliesPort, VaultPort};
use super::process::Process;
use super::queue::{Queue, QueuePort};
use super::trace::Trace;
use super::vendor::{Vendor, VendorPort};
use super::weather::Weather;
use super::world::World;
use crate::congestions::Congestions;
use crate::lines::Lines;
use crate::testing::{bearer, manifest};
use crate::{Config, Deps, Executor};

/// After the last deadline and the last fault, everything has ended within this time.
const SETTLED: Duration = Duration::from_secs(120);
/// Numbers of calls that repeat others.
const REPEATS: usize = 1_000;
/// Longest that a vendor takes to act.
const VENDOR_RESTS: Duration = Duration::from_secs(60);

const OPERATIONS: [(&str, &str); 4] =
    [("list", "/orders"), ("replace", "/orders/7"), ("pay", "/payments"), ("send", "/messages")];

/// What is the same in every run.
pub(super) struct Stage {
    /// One for each effect.
    jobs: Arc<[Job]>,
    document: ManifestDocument,
}

impl Stage {
    pub(super) fn new() -> Self {
        let mut parts = bearer();
        parts["transport"]["headers"]["Authorization"] = json!("Bearer {token}");
        parts["transport"]["token"] = json!({
            "kind": "client_credentials", "url": "https://api.shop.example/token",
            "client_id": "{account.client_id}", "client_secret": "{account.api_key}",
        });
        parts["rate_limits"] = json!({ "default": { "scope": "account", "requests": 20, "per_seconds": 5 } });
        let manifest = manifest(parts);
        let document = document(&manifest).expect("a document");
        let connector = Connector::from_manifest(manifest).expect("a manifest");
        let job = |(operation, path)| crate::testing::job(&connector, operation, path);
        Self { jobs: OPERATIONS.map(job).into(), document }
    }
}

/// How bad a run is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sky {
    /// As the seed has it.
    Drawn,
    Clear,
}

pub(super) struct Report {
    pub(super) hash: u64,
    pub(super) violations: Vec<String>,
    pub(super) told: Vec<Told>,
    /// What happened.
    pub(super) seen: BTreeSet<String>,
    pub(super) lines: Vec<String>,
}

pub(super) fn run(stage: &Stage, seed: u64, sky: Sky, kept: bool) -> Report {
    draw_from(Some(Random::new(!seed)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let report = runtime.expect("a runtime").block_on(play(stage, seed, sky, kept));
    draw_from(None);
    report
}

struct Scene {
    world: Arc<World>,
    queue: Arc<Queue>,
    store: MemoryJournal,
    payloads: Arc<Payloads>,
    arrivals: Arc<Arrivals>,
    vendor: Arc<Vendor>,
    lanes: Arc<Lanes>,
    limits: Option<Limits>,
    tokens: Arc<AtomicU32>,
    document: ManifestDocument,
}

async fn play(stage: &Stage, seed: u64, sky: Sky, kept: bool) -> Report {
    let mut random = Random::new(seed);
    let executors = 2 + random.below(2) as usize;
    let weather = match sky {
        Sky::Drawn => Weather::draw(&mut random, executors),
        Sky::Clear => Weather::calm(executors),
    };
    let limited = random.happens(3_000);
    let world = World::new(weather, random, Trace::new(kept));
    world.note("world", "begins", &format!("{seed} {:?}", world.weather));
    let clock = world.clock(0);
    let scene = Arc::new(Scene {
        queue: Queue::new(&world),
        store: MemoryJournal::new(clock.clone()),
        payloads: Arc::default(),
        arrivals: Arc::default(),
        vendor: Vendor::new(&world),
        lanes: Arc::default(),
        limits: limited.then(|| Limits::alone(clock.clone())),
        tokens: Arc::default(),
        document: stage.document.clone(),
        world: world.clone(),
    });
    let mut background = JoinSet::new();
    background.spawn(scene.queue.clone().keep());
    for number in 0..executors {
        background.spawn(live(scene.clone(), number));
    }
    let calls = all_calls(stage, &scene).await;
    let end = tokio::time::Instant::now() + SETTLED;
    while !scene.queue.is_empty() && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(VENDOR_RESTS).await;
    let violations = check(&scene, &calls).await;
    let told = calls.into_iter().map(|call| call.told).collect();
    Report { hash: world.hash(), violations, told, seen: world.seen(), lines: world.lines() }
}

/// An executor that is started again whenever it ends.
async fn live(scene: Arc<Scene>, number: usize) {
    for life in 0.. {
        let world = &scene.world;
        let process = Process::executor(world, number, life);
        process.note("starts", "");
        let executor =
            Executor::new(Config { slots: 4, grace_seconds: 5 }, scene.deps(number, life, &process), Shares::new(4));
        scene.lanes.set(number, Some((process.clone(), executor.express())));
        let stop = CancellationToken::new();
        let stopping = async {
            tokio::time::sleep(world.draw(|random| random.millis(3_000, 20_000))).await;
            if world.weather.restart && !world.is_calm() {
                process.note("is stopped", "");
                stop.cancel();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = process.death() => {}
            ended = executor.run(stop.clone()) => process.note("ends", &format!("{ended:?}")),
            () = stopping => {}
        }
        scene.lanes.set(number, None);
        tokio::time::sleep(world.draw(|random| random.millis(20, 4_000))).await;
    }
}

impl Scene {
    fn journal(&self, process: &Arc<Process>) -> Arc<dyn JournalStore> {
        Arc::new(JournalPort::new(&self.store, process))
    }

    fn deps(&self, number: usize, life: u32, process: &Arc<Process>) -> Deps {
        let clock = self.world.clock(self.world.weather.skew[number]);
        let me = InstanceId::trusted(format!("in_{number:016x}{life:016x}"));
        let process = || process.clone();
        Deps {
            queue: Arc::new(QueuePort { queue: self.queue.clone(), process: process() }),
            replies: Arc::new(RepliesPort { arrivals: self.arrivals.clone(), process: process() }),
            journal: Journal::new(self.journal(&process()), clock.clone(), me),
            blobs: Arc::new(BlobsPort { payloads: self.payloads.clone(), process: process() }),
            vault: Arc::new(VaultPort { tokens: self.tokens.clone(), process: process() }),
            catalog: CatalogHandle::new(Arc::new(CatalogPort { document: self.document.clone(), process: process() })),
            upstream: Arc::new(VendorPort { vendor: self.vendor.clone(), process: process() }),
            clock,
            idempotency_root: SecretKey::new([1; 32]),
            calls: None,
            limits: self.limits.clone(),
            lines: Lines::default(),
            congestions: Congestions::default(),
            meters: crate::meters::Meters::default(),
        }
    }

    fn gateway(&self) -> Gateway {
        let process = Process::gateway(&self.world);
        let clock = self.world.clock(0);
        Gateway {
            queue: QueuePort { queue: self.queue.clone(), process: process.clone() },
            journal: Journal::new(self.journal(&process), clock.clone(), InstanceId::trusted("in_gateway")),
            arrivals: self.arrivals.clone(),
            lanes: self.lanes.clone(),
            clock,
            process,
        }
    }
}

async fn all_calls(stage: &Stage, scene: &Arc<Scene>) -> Vec<Call> {
    let gateway = Arc::new(scene.gateway());
    let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
    let mut callers = JoinSet::new();
    let many = scene.world.draw(|random| 3 + random.below(12)) as usize;
    for number in 0..many {
        let caller = Caller { scene: scene.clone(), gateway: gateway.clone(), calls: calls.clone() };
        callers.spawn(caller.call(stage.jobs.clone(), number));
    }
    while callers.join_next().await.is_some() {}
    std::mem::take(&mut *calls.lock())
}

/// One agent, with one thing to do.
struct Caller {
    scene: Arc<Scene>,
    gateway: Arc<Gateway>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Caller {
    async fn call(self, templates: Arc<[Job]>, number: usize) {
        let world = self.scene.world.clone();
        tokio::time::sleep(world.draw(|random| random.millis(0, 20_000))).await;
        let job = job(&templates, &self.scene, number);
        let leaves = world.fault(world.weather.hang_up).then(|| world.draw(|random| random.millis(0, 10_000)));
        let key = world.draw(|random| random.happens(2_000)).then(|| format!("key {number}"));
        let dies = world.fault(world.weather.crash * 3).then(|| {
            let soon = world.draw(|random| random.happens(5_000));
            world.draw(|random| random.millis(0, if soon { 12 } else { 10_000 }))
        });
        let hasty = world.draw(|random| random.happens(1_000));
        let patience = hasty.then(|| world.draw(|random| random.millis(500, 15_000)));
        let manner = Manner { leaves, dies, key: key.clone(), patience };
        if key.is_none() {
            let lost = self.make(job.clone(), manner, None).await;
            if world.draw(|random| random.happens(5_000)) && job.interactive() && leaves.is_some() {
                tokio::time::sleep(world.draw(|random| random.millis(0, 5_000))).await;
                self.make(again(&job, number), Manner::default(), Some((number, lost))).await;
            }
            return;
        }
        // The same call under the same key, at any time: before, while or after the first is made.
        let later = world.draw(|random| random.millis(0, 30_000));
        let repeat = async {
            tokio::time::sleep(later).await;
            let mut job = again(&job, number);
            job.deadline = world.clock(0).now().plus(world.draw(|random| random.millis(1_000, 60_000)));
            self.make(job, Manner { key, ..Manner::default() }, Some((number, true))).await;
        };
        tokio::join!(self.make(job.clone(), manner, None), repeat);
    }

    /// True: the caller left, and it is noted that its answer was lost.
    async fn make(&self, job: Job, manner: Manner, repeats: Option<(usize, bool)>) -> bool {
        let process = &self.gateway.process;
        process.note("accepts", &format!("{} {} {manner:?}", job.execution_id, job.effect.as_str()));
        let told = self.gateway.make(Arc::new(job.clone()), manner).await;
        process.note(&format!("tells {}", told.kind()), &format!("{} {told:?}", job.execution_id));
        let lost = matches!(told, Told::Lost | Told::Cancelled);
        self.calls.lock().push(Call { job, repeats, told });
        lost
    }
}

/// The same call as another execution.
fn again(job: &Job, number: usize) -> Job {
    let number = REPEATS + number;
    Job { execution_id: execution(number), query: query(number), ..job.clone() }
}

fn execution(number: usize) -> ExecutionId {
    ExecutionId::trusted(format!("ex_{number:032x}"))
}

fn query(number: usize) -> Vec<(String, String)> {
    vec![("call".to_owned(), number.to_string())]
}

fn job(templates: &[Job], scene: &Scene, number: usize) -> Job {
    let world = &scene.world;
    let mut job = templates[world.draw(|random| random.below(templates.len() as u64)) as usize].clone();
    let now = world.clock(0).now();
    job.execution_id = execution(number);
    job.query = query(number);
    job.accepted_at = now;
    job.deadline = now.plus(world.draw(|random| random.millis(1_000, 60_000)));
    let body = Bytes::from(json!({ "number": number }).to_string());
    job.request_hash = RequestParts {
        account: &job.account,
        module: &job.module,
        method: &job.method,
        path: &job.path,
        query: &job.query,
        headers: &job.headers,
        body: Some(&body),
    }
    .hash();
    if job.effect != Effect::Read {
        let apart = world.draw(|random| random.happens(2_000));
        job.body = Some(match apart {
            true => Payload::Blob { id: scene.payloads.keep(body.clone()), bytes: body.len() as u64 },
            false => Payload::Inline(body),
        });
    }
    if world.draw(|random| random.happens(3_000)) {
        job.reply_to = None;
    }
    job
}

async fn check(scene: &Scene, calls: &[Call]) -> Vec<String> {
    let clock = scene.world.clock(0);
    let journal = Journal::new(Arc::new(scene.store.clone()), clock, InstanceId::trusted("in_check"));
    let mut found = scene.world.violations();
    found.extend(scene.queue.left().iter().map(|id| format!("I1, still in the queue: {id}")));
    let mut facts = Vec::new();
    for call in calls {
        let id = &call.job.execution_id;
        let is_its = |outcome: &&Outcome| outcome.execution_id == *id;
        facts.push(Facts {
            call,
            lines: scene.vendor.ledger.of(number_of(id)),
            record: journal.look(id).await.expect("a journal that answers"),
            replies: scene.arrivals.all.lock().iter().filter(is_its).cloned().collect(),
            told: calls.iter().filter_map(|call| call.told.outcome()).filter(is_its).cloned().collect(),
            stored: scene.queue.has_stored(id.as_str()),
        });
    }
    for facts in &facts {
        scene.world.note("check", &facts.end(), facts.call.job.execution_id.as_str());
    }
    found.extend(facts.iter().flat_map(Facts::violations));
    for repeat in &facts {
        let Some((number, true)) = repeat.call.repeats else { continue };
        let first = facts.iter().find(|facts| number_of(&facts.call.job.execution_id) == number);
        found.extend(first.and_then(|first| repeat.violates_as_repeat(first)));
    }
    found
}

fn number_of(id: &ExecutionId) -> usize {
    usize::from_str_radix(id.as_str().trim_start_matches("ex_"), 16).expect("a call's number")
}
