//! Measurements, by hand: `cargo test --release -p plugboard-core --features testing figures -- --ignored --nocapture`.

use std::io::{Seek, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::clock::SystemClock;
use crate::ids::{ExecutionId, InstanceId};
use crate::job::Job;
use crate::journal::JournalStore;
use crate::journal::embedded::EmbeddedJournal;
use crate::manifest::Effect;
use crate::queue::JobQueue;
use crate::queue::local::{LocalQueue, LocalQueueLimits};
use crate::testing::JobBuilder;

const NO_LIMITS: LocalQueueLimits =
    LocalQueueLimits { total: usize::MAX, per_organization: usize::MAX, bytes: usize::MAX };

async fn queue() -> (TempDir, Embedded, LocalQueue) {
    // Beside the sources, for /tmp may be in memory.
    let directory = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let file = Embedded::open(directory.path(), Arc::new(SystemClock)).unwrap();
    let queue = LocalQueue::open(file.clone(), NO_LIMITS).await.unwrap();
    (directory, file, queue)
}

fn reads(count: usize) -> Vec<Job> {
    let gateway = InstanceId::generate();
    let template = JobBuilder::new(Effect::Read).reply_to(&gateway).build();
    (0..count).map(|_| Job { execution_id: ExecutionId::generate(), ..template.clone() }).collect()
}

#[tokio::test]
#[ignore = "a measurement"]
async fn reads_on_one_core() {
    let (_directory, _file, queue) = queue().await;
    for _ in 0..5 {
        let jobs = reads(50_000);
        let began = Instant::now();
        for job in jobs {
            queue.publish(job).await.unwrap();
            queue.receive().await.unwrap().ack();
        }
        let seconds = began.elapsed().as_secs_f64();
        println!("interactive reads, one task: {:.0}/s", 50_000.0 / seconds);
        let jobs = reads(50_000);
        let began = Instant::now();
        let receiver = queue.clone();
        let receiving = tokio::spawn(async move {
            for _ in 0..50_000 {
                receiver.receive().await.unwrap().ack();
            }
        });
        for chunk in jobs.chunks(64) {
            for job in chunk {
                queue.publish(job.clone()).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
        receiving.await.unwrap();
        let seconds = began.elapsed().as_secs_f64();
        println!("interactive reads, two tasks, 64 at a time: {:.0}/s", 50_000.0 / seconds);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn durable_jobs() {
    let (directory, file, queue) = queue().await;
    let mut raw = std::fs::File::create(directory.path().join("raw")).unwrap();
    let mut syncs: Vec<Duration> = (0..300)
        .map(|_| {
            let began = Instant::now();
            raw.seek(SeekFrom::Start(0)).unwrap();
            raw.write_all(&[7; 4096]).unwrap();
            raw.sync_data().unwrap();
            began.elapsed()
        })
        .collect();
    syncs.sort_unstable();
    println!("write and fdatasync of 4 KiB: p50 {:?}, p99 {:?}", syncs[150], syncs[297]);

    for in_flight in [1, 64] {
        let began = Instant::now();
        let tasks: Vec<_> = (0..in_flight)
            .map(|_| {
                let (queue, journal) = (queue.clone(), EmbeddedJournal::new(file.clone()));
                tokio::spawn(async move {
                    let (mut publishes, mut pairs) = (Vec::new(), 0u32);
                    while began.elapsed() < Duration::from_secs(3) {
                        let job = JobBuilder::new(Effect::Once).build();
                        let at = Instant::now();
                        queue.publish(job).await.unwrap();
                        publishes.push(at.elapsed());
                        queue.receive().await.unwrap().ack();
                    }
                    while began.elapsed() < Duration::from_secs(6) {
                        let key = ExecutionId::generate();
                        let at = journal.create(key.as_str(), Bytes::from(vec![1; 300])).await.unwrap().unwrap();
                        journal.update(key.as_str(), Bytes::from(vec![2; 900]), at).await.unwrap().unwrap();
                        pairs += 1;
                    }
                    (publishes, pairs)
                })
            })
            .collect();
        let (mut publishes, mut pairs) = (Vec::new(), 0);
        for task in tasks {
            let (times, count) = task.await.unwrap();
            publishes.extend(times);
            pairs += count;
        }
        publishes.sort_unstable();
        let at = |share: f64| publishes[((publishes.len() - 1) as f64 * share) as usize];
        println!(
            "{in_flight} in flight: durable publish, receive, ack {}/s (publish p50 {:?}, p99 {:?}); \
             journal create and update {}/s",
            publishes.len() / 3,
            at(0.5),
            at(0.99),
            pairs / 3,
        );
    }
}

#[tokio::test]
#[ignore = "a measurement"]
async fn opening_after_a_crash() {
    let (directory, file, _queue) = queue().await;
    for _ in 0..16 {
        let filled = file.write(0, |tables| {
            for _ in 0..16 * 1024 {
                tables.journal()?.insert(ExecutionId::generate().as_str(), [7; 2048].as_slice())?;
            }
            Ok(())
        });
        filled.await.unwrap();
    }
    // What a killed process leaves behind.
    let crashed = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    std::fs::copy(directory.path().join(FILE_NAME), crashed.path().join(FILE_NAME)).unwrap();
    let bytes = std::fs::metadata(file.path()).unwrap().len();
    let began = Instant::now();
    drop(Embedded::open(crashed.path(), Arc::new(SystemClock)).unwrap());
    println!("a file of {} MiB opens after a crash in {:?}", bytes >> 20, began.elapsed());
    let began = Instant::now();
    drop(Embedded::open(crashed.path(), Arc::new(SystemClock)).unwrap());
    println!("and after an orderly close in {:?}", began.elapsed());
}
