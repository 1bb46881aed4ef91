//! The contract suites over the embedded and the memory adapters, and what only a data file can do.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::blobs::embedded::EmbeddedBlobs;
use crate::blobs::memory::MemoryBlobs;
use crate::blobs::{BlobError, Blobs};
use crate::clock::{FakeClock, SystemClock};
use crate::ids::{ExecutionId, OrganizationId};
use crate::journal::JournalStore;
use crate::journal::embedded::EmbeddedJournal;
use crate::journal::memory::MemoryJournal;
use crate::manifest::Effect;
use crate::queue::local::{LocalQueue, LocalQueueLimits, LocalReplies};
use crate::queue::{JobQueue, Replies, Shares};
use crate::secret::SecretKey;
use crate::store::embedded::EmbeddedStore;
use crate::store::memory::MemoryStore;
use crate::store::{Expect, Store, Write};
use crate::testing::{
    JobBuilder, QueueWorld, World, blobs_contract, journal_contract, queue_contract, replies_contract, store_contract,
};

const NOW: i64 = 1_790_000_000_000;

/// A data file and the ports made from it.
struct FileWorld<P: ?Sized> {
    directory: TempDir,
    clock: FakeClock,
    file: Option<Embedded>,
    make: fn(Embedded) -> Arc<P>,
}

impl<P: ?Sized> FileWorld<P> {
    fn new(make: fn(Embedded) -> Arc<P>) -> Self {
        Self { directory: TempDir::new().unwrap(), clock: FakeClock::at(NOW), file: None, make }
    }

    fn file(&mut self) -> Embedded {
        let open = || Embedded::open(self.directory.path(), Arc::new(self.clock.clone())).unwrap();
        self.file.get_or_insert_with(open).clone()
    }
}

#[async_trait]
impl<P: ?Sized + Send + Sync + 'static> World for FileWorld<P> {
    type Port = P;

    async fn open(&mut self) -> Arc<P> {
        (self.make)(self.file())
    }

    async fn crash(&mut self) -> bool {
        if let Some(file) = self.file.take() {
            file.crash();
        }
        true
    }

    fn clock(&self) -> Option<FakeClock> {
        Some(self.clock.clone())
    }

    async fn lies_in_clear(&mut self, needle: &[u8]) -> Option<bool> {
        let bytes = std::fs::read(self.directory.path().join(FILE_NAME)).unwrap();
        Some(bytes.windows(needle.len()).any(|window| window == needle))
    }
}

/// A local queue over a data file, or in memory.
struct LocalWorld {
    file: Option<FileWorld<()>>,
    queue: Option<LocalQueue>,
    clock: FakeClock,
}

const LIMITS: LocalQueueLimits = LocalQueueLimits { total: 2_000, per_organization: 100, bytes: 64 << 20 };

impl LocalWorld {
    fn durable() -> Self {
        let file = FileWorld::new(|_| Arc::new(()));
        Self { clock: file.clock.clone(), file: Some(file), queue: None }
    }

    fn in_memory() -> Self {
        Self { clock: FakeClock::at(NOW), file: None, queue: None }
    }
}

#[async_trait]
impl World for LocalWorld {
    type Port = dyn JobQueue;

    async fn open(&mut self) -> Arc<dyn JobQueue> {
        let queue = match (self.queue.take(), &mut self.file) {
            (Some(queue), _) => queue,
            (None, Some(file)) => LocalQueue::open(file.file(), LIMITS, Shares::new(256)).await.unwrap(),
            (None, None) => LocalQueue::in_memory(Arc::new(self.clock.clone()), LIMITS),
        };
        self.queue = Some(queue.clone());
        Arc::new(queue)
    }

    async fn crash(&mut self) -> bool {
        let Some(file) = &mut self.file else { return false };
        self.queue = None;
        file.crash().await
    }

    fn clock(&self) -> Option<FakeClock> {
        Some(self.clock.clone())
    }
}

#[async_trait]
impl QueueWorld for LocalWorld {
    fn patience(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn bound_per_organization(&self) -> Option<usize> {
        Some(LIMITS.per_organization)
    }

    fn keeps_dead_letters(&self) -> bool {
        self.file.is_some()
    }

    async fn leave_letter(&mut self, id: &ExecutionId, bytes: &'static [u8]) -> bool {
        let Some(world) = &mut self.file else { return false };
        let (file, key) = (world.file(), id.as_str().to_owned());
        let write = file.write(bytes.len(), move |tables| {
            tables.dead_letters()?.insert(key.as_str(), bytes)?;
            Ok(())
        });
        write.await.unwrap();
        true
    }
}

struct MemoryWorld<P: ?Sized> {
    port: Arc<P>,
    clock: FakeClock,
}

impl<P: ?Sized> MemoryWorld<P> {
    fn new(make: fn(Arc<dyn Clock>) -> Arc<P>) -> Self {
        let clock = FakeClock::at(NOW);
        Self { port: make(Arc::new(clock.clone())), clock }
    }
}

#[async_trait]
impl<P: ?Sized + Send + Sync + 'static> World for MemoryWorld<P> {
    type Port = P;

    async fn open(&mut self) -> Arc<P> {
        self.port.clone()
    }

    fn clock(&self) -> Option<FakeClock> {
        Some(self.clock.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_its_contract() {
    store_contract(async || FileWorld::new(|file| Arc::new(EmbeddedStore::new(file)) as Arc<dyn Store>)).await;
    store_contract(async || MemoryWorld::new(|_| Arc::new(MemoryStore::default()) as Arc<dyn Store>)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_keeps_its_contract() {
    let durable = |file| Arc::new(EmbeddedJournal::new(file)) as Arc<dyn JournalStore>;
    journal_contract(async || FileWorld::new(durable)).await;
    let memory = |clock| Arc::new(MemoryJournal::new(clock)) as Arc<dyn JournalStore>;
    journal_contract(async || MemoryWorld::new(memory)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_keep_their_contract() {
    let durable = |file| Arc::new(EmbeddedBlobs::new(file, SecretKey::new([1; 32]))) as Arc<dyn Blobs>;
    blobs_contract(async || FileWorld::new(durable)).await;
    let memory = |clock| Arc::new(MemoryBlobs::new(clock)) as Arc<dyn Blobs>;
    blobs_contract(async || MemoryWorld::new(memory)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_durable_queue_keeps_its_contract() {
    queue_contract(async || LocalWorld::durable()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_in_memory_keeps_its_contract() {
    queue_contract(async || LocalWorld::in_memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_keep_their_contract() {
    replies_contract(async || MemoryWorld::new(|_| Arc::new(LocalReplies::default()) as Arc<dyn Replies>)).await;
}

fn open(directory: &TempDir) -> Result<Embedded, EmbeddedError> {
    Embedded::open(directory.path(), Arc::new(FakeClock::at(NOW)))
}

#[test]
fn a_second_opener_is_told_why_it_may_not() {
    let directory = TempDir::new().unwrap();
    let file = open(&directory).unwrap();
    let refused = open(&directory).unwrap_err();
    assert!(refused.to_string().contains("another plugboard uses this data directory"), "{refused}");
    file.close();
    open(&directory).unwrap();
}

#[test]
fn the_file_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("made/here");
    let file = Embedded::open(&directory, Arc::new(SystemClock)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(file.path())), (0o700, 0o600));
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(open(&directory).unwrap());
    let database = Database::open(directory.path().join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(tables::META).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(open(&directory), Err(EmbeddedError::Format { found: 2, .. })));
    std::fs::write(directory.path().join(FILE_NAME), b"not a database").unwrap();
    assert!(matches!(open(&directory), Err(EmbeddedError::Open { .. })));
}

#[tokio::test]
async fn a_closed_file_says_so() {
    let directory = TempDir::new().unwrap();
    let file = open(&directory).unwrap();
    let store = EmbeddedStore::new(file.clone());
    file.close();
    file.close();
    let error = store.commit(vec![Write::put("k", "v", Expect::Absent)], None).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(store.get("k").await.is_err());
}

/// What was asked for before an orderly close is written, acks included.
#[tokio::test]
async fn an_orderly_close_writes_what_waits() {
    let directory = TempDir::new().unwrap();
    let file = open(&directory).unwrap();
    let queue = LocalQueue::open(file.clone(), LIMITS, Shares::new(256)).await.unwrap();
    queue.publish(JobBuilder::new(Effect::Once).build().into()).await.unwrap();
    queue.receive().await.unwrap().ack();
    file.close();
    let queue = LocalQueue::open(open(&directory).unwrap(), LIMITS, Shares::new(256)).await.unwrap();
    assert_eq!(queue.depth().await.unwrap().waiting, 0);
}

/// Expired records give their space back; those that live on are found again later.
#[tokio::test]
async fn the_sweep_removes_what_has_expired_and_nothing_else() {
    let mut world = FileWorld::new(|file| Arc::new(EmbeddedJournal::new(file)));
    let journal = world.open().await;
    let file = world.file();
    let blobs = EmbeddedBlobs::new(file.clone(), SecretKey::new([1; 32]));
    let queue = LocalQueue::open(file.clone(), LIMITS, Shares::new(256)).await.unwrap();
    let me = OrganizationId::generate();
    let hour = Duration::from_secs(3600);
    let counts = || {
        file.read(|transaction| {
            use redb::ReadableTableMetadata;
            Ok([
                transaction.open_table(tables::JOURNAL)?.len()?,
                transaction.open_table(tables::BLOBS)?.len()?,
                transaction.open_table(tables::CHUNKS)?.len()?,
                transaction.open_table(tables::DEAD_LETTERS)?.len()?,
                transaction.open_table(tables::EXPIRY)?.len()?,
            ])
        })
        .unwrap()
    };
    for at in 0..40 {
        let first = journal.create(&format!("old{at}"), Bytes::from_static(b"x")).await.unwrap().unwrap();
        if at == 0 {
            world.clock.advance(hour);
            journal.update("old0", Bytes::from_static(b"y"), first).await.unwrap().unwrap();
        }
    }
    let blob = blobs.put(&me, Bytes::from(vec![1; 600 * 1024])).await.unwrap();
    blobs.put(&me, Bytes::new()).await.unwrap();
    queue.bury(&JobBuilder::new(Effect::Once).build(), "reason", 6).await.unwrap();
    assert_eq!(counts(), [40, 2, 3, 1, 43]);
    file.sweep().await;
    assert_eq!(counts(), [40, 2, 3, 1, 43], "nothing has expired yet");

    world.clock.advance(hour * 22);
    journal.create("young", Bytes::from_static(b"x")).await.unwrap().unwrap();
    world.clock.advance(hour * 4);
    file.sweep().await;
    assert_eq!(counts(), [1, 0, 0, 1, 2]);
    assert!(journal.get("young").await.unwrap().is_some());
    assert!(blobs.get(&me, &blob).await.unwrap().is_none());
    world.clock.advance(hour * 24 * 31);
    file.sweep().await;
    assert_eq!(counts(), [0; 5]);
}

#[tokio::test]
async fn an_altered_payload_does_not_open() {
    let mut world = FileWorld::new(|file| Arc::new(EmbeddedBlobs::new(file, SecretKey::new([1; 32]))));
    let blobs = world.open().await;
    let me = OrganizationId::generate();
    let id = blobs.put(&me, Bytes::from(vec![7; 600 * 1024])).await.unwrap();
    let other_key = EmbeddedBlobs::new(world.file(), SecretKey::new([2; 32]));
    assert!(matches!(other_key.get(&me, &id).await, Err(BlobError::Damaged)));
    // Two pieces change places: each is sealed well, but elsewhere.
    let key = id.as_str().to_owned();
    let swap = move |tables: &mut Tables<'_>| {
        let piece = |tables: &mut Tables<'_>, index| -> Vec<u8> {
            tables.read_chunks().unwrap().get((key.as_str(), index)).unwrap().unwrap().value().to_vec()
        };
        let (first, second) = (piece(tables, 0), piece(tables, 1));
        tables.chunks()?.insert((key.as_str(), 0), second.as_slice())?;
        tables.chunks()?.insert((key.as_str(), 1), first.as_slice())?;
        Ok(())
    };
    world.file().write(0, swap).await.unwrap();
    assert!(matches!(blobs.get(&me, &id).await, Err(BlobError::Damaged)));
}

/// A caller that goes away while its job is being written leaves a job that runs, not one that is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_publish_given_up_halfway_is_delivered() {
    let mut world = LocalWorld::durable();
    let queue = world.open().await;
    for _ in 0..50 {
        let job = JobBuilder::new(Effect::Once).build();
        let id = job.execution_id.clone();
        // Polled once and dropped: it has had no time for a sync.
        let _ = futures::poll!(queue.publish(job.into()));
        let delivery = tokio::time::timeout(Duration::from_secs(5), queue.receive()).await.unwrap().unwrap();
        assert_eq!(delivery.job.execution_id, id);
        delivery.ack();
    }
}

const CHILD: &str = "PLUGBOARD_TEST_KILLED_CHILD";

/// Writes until it is killed, and names on stdout what was confirmed.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stdout, reason = "the parent reads it")]
async fn child_that_is_killed() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let file = Embedded::open(Path::new(&directory), Arc::new(SystemClock)).unwrap();
    let queue = LocalQueue::open(file.clone(), LocalQueueLimits::default(), Shares::new(256)).await.unwrap();
    let journal = EmbeddedJournal::new(file.clone());
    let store = EmbeddedStore::new(file);
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let (queue, journal, store) = (queue.clone(), journal.clone(), store.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                let job = JobBuilder::new(Effect::Once).build();
                let id = job.execution_id.clone();
                queue.publish(job.into()).await.unwrap();
                println!("job {id}");
                journal.create(id.as_str(), Bytes::from_static(b"intent")).await.unwrap().unwrap();
                println!("journal {id}");
                let writes = vec![Write::put(id.as_str(), "v", Expect::Absent)];
                store.commit(writes, Some(Bytes::from_static(b"n"))).await.unwrap();
                println!("store {id}");
            }
        }));
    }
    futures::future::join_all(tasks).await;
}

#[tokio::test]
async fn what_was_confirmed_outlives_a_kill() {
    let directory = TempDir::new().unwrap();
    let (mut jobs, mut entries, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=3usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "embedded::tests::child_that_is_killed"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed amid its writes; what it said until then counts.
        let mut said = 0;
        while let Some(Ok(line)) = lines.next() {
            match line.split_once(' ').map(|(what, id)| (what, ExecutionId::parse(id))) {
                Some(("job", Some(id))) => jobs.push(id),
                Some(("journal", Some(id))) => entries.push(id),
                Some(("store", Some(id))) => records.push(id),
                _ => {}
            }
            said += 1;
            if said == 600 * round {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success() && said >= 600 * round, "it ended before it was killed");
        let file = Embedded::open(directory.path(), Arc::new(SystemClock)).unwrap();
        let (journal, store) = (EmbeddedJournal::new(file.clone()), EmbeddedStore::new(file.clone()));
        for id in &entries {
            assert!(journal.get(id.as_str()).await.unwrap().is_some(), "journal entry {id} is lost");
        }
        for id in &records {
            assert!(store.get(id.as_str()).await.unwrap().is_some(), "record {id} is lost");
        }
        let stored = store.list("ex_").await.unwrap().len() as u64;
        assert_eq!(store.changes_after(0).await.unwrap().upto, stored, "a notice with each record, whole batches");
        let queue = LocalQueue::open(file, LocalQueueLimits::default(), Shares::new(256)).await.unwrap();
        let waiting = queue.depth().await.unwrap().waiting;
        let mut found = std::collections::HashSet::new();
        for _ in 0..waiting {
            let delivery = queue.receive().await.unwrap();
            assert_eq!(delivery.starts, 2, "it may have been started");
            found.insert(delivery.job.execution_id.clone());
            delivery.ack();
        }
        for id in std::mem::take(&mut jobs) {
            assert!(found.contains(&id), "job {id} is lost");
        }
    }
}
