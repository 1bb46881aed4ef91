//! Everything that lives on NATS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use plugboard_core::blobs::Blobs;
use plugboard_core::blobs::nats::NatsBlobs;
use plugboard_core::clock::SystemClock;
use plugboard_core::fleet::nats::{NatsFleet, NatsMember};
use plugboard_core::fleet::{Fleet, Member};
use plugboard_core::ids::{ExecutionId, InstanceId, OrganizationId};
use plugboard_core::journal::JournalStore;
use plugboard_core::journal::nats::NatsJournal;
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::queue::nats::{
    NatsConfig, NatsExpress, NatsExpressHost, NatsLink, NatsQueue, NatsQueueConfig, NatsReplies,
};
use plugboard_core::queue::{Express, ExpressKind, JobQueue, Replies, Shares};
use plugboard_core::secret::SecretKey;
use plugboard_core::testing::{
    ExpressWorld, FleetWorld, QueueWorld, World, blobs_contract, express_contract, fleet_contract, journal_contract,
    queue_contract, replies_contract,
};
use plugboard_tests::cable::Cable;
use plugboard_tests::servers::{NatsServer, namespace};

/// Processes under one namespace, connected through a cable of their own.
struct Processes {
    namespace: String,
    cable: Cable,
}

impl Processes {
    async fn new() -> Self {
        Self { namespace: namespace(), cable: Cable::to(NatsServer::shared().address()).await }
    }

    async fn connect(&self) -> NatsLink {
        let config = NatsConfig {
            urls: vec![format!("nats://{}", self.cable.address())],
            namespace: self.namespace.clone(),
            ..NatsConfig::default()
        };
        NatsLink::connect(&config).await.unwrap()
    }

    /// To the others, a process without its cable is dead.
    async fn crash(&mut self) {
        self.cable = Cable::to(NatsServer::shared().address()).await;
    }
}

struct QueueProcesses(Processes);

const BOUND: usize = 100;

#[async_trait]
impl World for QueueProcesses {
    type Port = dyn JobQueue;

    async fn open(&mut self) -> Arc<Self::Port> {
        let config = NatsQueueConfig { max_waiting_per_subject: BOUND as i64, ..NatsQueueConfig::default() };
        let link = self.0.connect().await;
        Arc::new(NatsQueue::open(&link, config, Shares::new(256), Arc::new(SystemClock)).await.unwrap())
    }

    async fn crash(&mut self) -> bool {
        self.0.crash().await;
        true
    }
}

#[async_trait]
impl QueueWorld for QueueProcesses {
    fn bound_per_organization(&self) -> Option<usize> {
        Some(BOUND)
    }

    async fn leave_letter(&mut self, id: &ExecutionId, bytes: &'static [u8]) -> bool {
        let client = async_nats::connect(NatsServer::shared().url()).await.unwrap();
        let subject = format!("{}.dead.{}.{id}", self.0.namespace, OrganizationId::generate());
        let jetstream = async_nats::jetstream::new(client);
        jetstream.publish(subject, bytes.into()).await.unwrap().await.unwrap();
        true
    }
}

struct ReplyProcesses(Processes);

#[async_trait]
impl World for ReplyProcesses {
    type Port = dyn Replies;

    async fn open(&mut self) -> Arc<Self::Port> {
        Arc::new(NatsReplies::new(&self.0.connect().await))
    }
}

struct JournalProcesses(Processes);

#[async_trait]
impl World for JournalProcesses {
    type Port = dyn JournalStore;

    async fn open(&mut self) -> Arc<Self::Port> {
        Arc::new(NatsJournal::open(&self.0.connect().await).await.unwrap())
    }

    async fn crash(&mut self) -> bool {
        self.0.crash().await;
        true
    }
}

struct BlobProcesses(Processes);

#[async_trait]
impl World for BlobProcesses {
    type Port = dyn Blobs;

    async fn open(&mut self) -> Arc<Self::Port> {
        Arc::new(NatsBlobs::open(&self.0.connect().await, SecretKey::new([9; 32])).await.unwrap())
    }

    async fn crash(&mut self) -> bool {
        self.0.crash().await;
        true
    }

    async fn lies_in_clear(&mut self, needle: &[u8]) -> Option<bool> {
        let folder = NatsServer::shared().stream_directory(&format!("{}_PAYLOADS", self.0.namespace)).join("msgs");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        let contents: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        // The place is right: the subjects, which are not secret, are found there.
        let marker = self.0.namespace.as_bytes();
        assert!(contents.iter().any(|content| memchr::memmem::find(content, marker).is_some()), "{files:?}");
        Some(contents.iter().any(|content| memchr::memmem::find(content, needle).is_some()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_keeps_its_contract() {
    queue_contract(async || QueueProcesses(Processes::new().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_keep_their_contract() {
    replies_contract(async || ReplyProcesses(Processes::new().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_keeps_its_contract() {
    journal_contract(async || JournalProcesses(Processes::new().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_keep_their_contract() {
    blobs_contract(async || BlobProcesses(Processes::new().await)).await;
}

struct ExpressProcesses {
    kind: ExpressKind,
    gateways: Processes,
    executors: Processes,
}

#[async_trait]
impl ExpressWorld for ExpressProcesses {
    fn kind(&self) -> ExpressKind {
        self.kind
    }

    async fn gateway(&mut self, me: &InstanceId) -> Arc<dyn Express> {
        NatsExpress::open(&self.gateways.connect().await, self.kind, me).await.unwrap()
    }

    async fn executor(&mut self, runner: Arc<dyn Express>) {
        let (link, clock) = (self.executors.connect().await, Arc::new(SystemClock));
        let host = NatsExpressHost::open(&link, self.kind, clock, runner).await.unwrap();
        tokio::spawn(host.run(Lifecycle::new().stopping(), Duration::ZERO));
    }

    async fn kill_executors(&mut self) {
        self.executors.crash().await;
    }
}

async fn the_express_lane_keeps_its_contract(kind: ExpressKind) {
    express_contract(async || {
        let gateways = Processes::new().await;
        let mut executors = Processes::new().await;
        executors.namespace.clone_from(&gateways.namespace);
        ExpressProcesses { kind, gateways, executors }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_express_lane_of_reads_keeps_its_contract() {
    the_express_lane_keeps_its_contract(ExpressKind::Reads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_express_lane_of_effects_keeps_its_contract() {
    the_express_lane_keeps_its_contract(ExpressKind::Effects).await;
}

struct FleetProcesses {
    askers: Processes,
    members: Processes,
}

#[async_trait]
impl FleetWorld for FleetProcesses {
    async fn asker(&mut self) -> Arc<dyn Fleet> {
        NatsFleet::open(&self.askers.connect().await, &InstanceId::generate()).await.unwrap()
    }

    async fn join(&mut self, member: Arc<dyn Member>) {
        let member = NatsMember::open(&self.members.connect().await, member).await.unwrap();
        tokio::spawn(member.run(Lifecycle::new().stopping()));
    }

    async fn kill_members(&mut self) -> bool {
        self.members.crash().await;
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_keeps_its_contract() {
    fleet_contract(async || {
        let askers = Processes::new().await;
        let mut members = Processes::new().await;
        members.namespace.clone_from(&askers.namespace);
        FleetProcesses { askers, members }
    })
    .await;
}
