//! What every [`JournalStore`] promises: compare-and-set, durable when it answers, entries that live 24 hours.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{World, eventually};
use crate::ids::ExecutionId;
use crate::journal::JournalStore;

type Port = Arc<dyn JournalStore>;

/// Runs all checks. Keys are execution ids.
pub async fn journal_contract<W: World<Port = dyn JournalStore>>(make: impl AsyncFn() -> W) {
    creates_once(make().await).await;
    updates_at_the_right_revision_only(make().await).await;
    keeps_keys_apart(make().await).await;
    keeps_long_values(make().await).await;
    many_ask_at_once(make().await).await;
    one_of_many_creates_wins(make().await).await;
    one_of_many_updates_wins(make().await).await;
    loses_no_update(make().await).await;
    is_one_journal_for_all_processes(make().await).await;
    survives_a_crash(make().await).await;
    forgets_after_a_day(make().await).await;
}

fn key() -> String {
    ExecutionId::generate().as_str().to_owned()
}

async fn creates_once<W: World<Port = dyn JournalStore>>(mut world: W) {
    let journal = world.open().await;
    let key = key();
    assert!(journal.get(&key).await.unwrap().is_none(), "an entry before it was created");
    let revision = journal.create(&key, Bytes::from_static(b"one")).await.unwrap().expect("first create");
    assert!(journal.create(&key, Bytes::from_static(b"two")).await.unwrap().is_none(), "second create");
    assert_eq!(journal.get(&key).await.unwrap(), Some((Bytes::from_static(b"one"), revision)));
}

async fn updates_at_the_right_revision_only<W: World<Port = dyn JournalStore>>(mut world: W) {
    let journal = world.open().await;
    let key = key();
    let first = journal.create(&key, Bytes::from_static(b"one")).await.unwrap().unwrap();
    let second = journal.update(&key, Bytes::from_static(b"two"), first).await.unwrap().expect("fresh revision");
    assert!(second > first, "revisions grow");
    assert!(journal.update(&key, Bytes::from_static(b"three"), first).await.unwrap().is_none(), "stale revision");
    assert_eq!(journal.get(&key).await.unwrap(), Some((Bytes::from_static(b"two"), second)));
    // The same bytes again are a write like any other.
    let third = journal.update(&key, Bytes::from_static(b"two"), second).await.unwrap().expect("fresh revision");
    assert!(third > second);

    let absent = self::key();
    assert!(journal.update(&absent, Bytes::from_static(b"x"), first).await.unwrap().is_none(), "absent entry");
    let recent = async || journal.get_recent(&key).await.unwrap();
    let newest = Some((Bytes::from_static(b"two"), third));
    eventually(Duration::from_secs(5), "the newest value wherever it is read", async || recent().await == newest).await;
    assert!(journal.get_recent(&absent).await.unwrap().is_none(), "an entry nobody created");
    assert!(journal.get(&absent).await.unwrap().is_none(), "a refused update creates nothing");
}

async fn keeps_keys_apart<W: World<Port = dyn JournalStore>>(mut world: W) {
    let journal = world.open().await;
    let (one, two) = (key(), key());
    let at = journal.create(&one, Bytes::from_static(b"1")).await.unwrap().unwrap();
    journal.create(&two, Bytes::from_static(b"2")).await.unwrap().unwrap();
    journal.update(&one, Bytes::from_static(b"1b"), at).await.unwrap().unwrap();
    assert_eq!(journal.get(&one).await.unwrap().unwrap().0, "1b");
    assert_eq!(journal.get(&two).await.unwrap().unwrap().0, "2");
}

/// An outcome with its data inline is the longest value: a little over the inline limit, any bytes.
/// Who asks for something absent learns nothing wrong about what is there, however they are asked together.
async fn many_ask_at_once<W: World<Port = dyn JournalStore>>(mut world: W) {
    let journal = world.open().await;
    let present = key();
    let at = journal.create(&present, Bytes::from_static(b"here")).await.unwrap().unwrap();
    let there = Some((Bytes::from_static(b"here"), at));
    let found = async || journal.get_recent(&present).await.unwrap() == there;
    eventually(Duration::from_secs(5), "an entry wherever it is read", found).await;
    let keys: Vec<_> = (0..200).map(|number| if number % 50 == 7 { present.clone() } else { key() }).collect();
    let answers = futures::future::join_all(keys.iter().map(|key| journal.get_recent(key))).await;
    for (key, answer) in keys.iter().zip(answers) {
        assert_eq!(answer.unwrap(), if *key == present { there.clone() } else { None });
    }
}

async fn keeps_long_values<W: World<Port = dyn JournalStore>>(mut world: W) {
    let journal = world.open().await;
    let key = key();
    let long: Bytes = (0..crate::blobs::INLINE_LIMIT + 8 * 1024).map(|at| (at % 251) as u8).collect();
    let at = journal.create(&key, long.clone()).await.unwrap().unwrap();
    assert_eq!(journal.get(&key).await.unwrap(), Some((long.clone(), at)));
    let longer: Bytes = long.iter().rev().copied().collect();
    let at = journal.update(&key, longer.clone(), at).await.unwrap().unwrap();
    assert_eq!(journal.get(&key).await.unwrap(), Some((longer, at)));
}

async fn one_of_many_creates_wins<W: World<Port = dyn JournalStore>>(mut world: W) {
    let (one, two) = (world.open().await, world.open().await);
    for _ in 0..8 {
        let key = key();
        let winners = race(32, |at| {
            let journal = if at % 2 == 0 { one.clone() } else { two.clone() };
            let key = key.clone();
            async move { journal.create(&key, Bytes::from(at.to_string())).await.unwrap().map(|_| at) }
        })
        .await;
        assert_eq!(winners.len(), 1, "exactly one create wins");
        assert_eq!(one.get(&key).await.unwrap().unwrap().0, winners[0].to_string());
    }
}

async fn one_of_many_updates_wins<W: World<Port = dyn JournalStore>>(mut world: W) {
    let (one, two) = (world.open().await, world.open().await);
    let key = key();
    let mut revision = one.create(&key, Bytes::from_static(b"start")).await.unwrap().unwrap();
    for _ in 0..8 {
        let winners =
            race(32, |at| {
                let journal = if at % 2 == 0 { one.clone() } else { two.clone() };
                let key = key.clone();
                async move {
                    journal.update(&key, Bytes::from(at.to_string()), revision).await.unwrap().map(|new| (at, new))
                }
            })
            .await;
        assert_eq!(winners.len(), 1, "exactly one update wins");
        let (at, new) = winners[0];
        assert!(new > revision, "revisions grow");
        assert_eq!(two.get(&key).await.unwrap(), Some((Bytes::from(at.to_string()), new)));
        revision = new;
    }
}

async fn loses_no_update<W: World<Port = dyn JournalStore>>(mut world: W) {
    let journal = world.open().await;
    let key = key();
    journal.create(&key, Bytes::from_static(b"0")).await.unwrap().unwrap();
    race(16, |_| {
        let (journal, key) = (journal.clone(), key.clone());
        async move {
            for _ in 0..8 {
                add_one(&journal, &key).await;
            }
            None::<()>
        }
    })
    .await;
    assert_eq!(journal.get(&key).await.unwrap().unwrap().0, "128");
}

async fn add_one(journal: &Port, key: &str) {
    loop {
        let (value, at) = journal.get(key).await.unwrap().unwrap();
        let number: u64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
        if journal.update(key, Bytes::from((number + 1).to_string()), at).await.unwrap().is_some() {
            return;
        }
    }
}

async fn is_one_journal_for_all_processes<W: World<Port = dyn JournalStore>>(mut world: W) {
    let (one, two) = (world.open().await, world.open().await);
    let key = key();
    let at = one.create(&key, Bytes::from_static(b"1")).await.unwrap().unwrap();
    assert!(two.create(&key, Bytes::from_static(b"2")).await.unwrap().is_none());
    assert_eq!(two.get(&key).await.unwrap(), Some((Bytes::from_static(b"1"), at)));
    let at = two.update(&key, Bytes::from_static(b"2"), at).await.unwrap().unwrap();
    assert_eq!(one.get(&key).await.unwrap(), Some((Bytes::from_static(b"2"), at)));
}

async fn survives_a_crash<W: World<Port = dyn JournalStore>>(mut world: W) {
    let journal = world.open().await;
    let (created, updated) = (key(), key());
    let first = journal.create(&created, Bytes::from_static(b"intent")).await.unwrap().unwrap();
    let at = journal.create(&updated, Bytes::from_static(b"intent")).await.unwrap().unwrap();
    let second = journal.update(&updated, Bytes::from_static(b"done"), at).await.unwrap().unwrap();
    if !world.crash().await {
        return;
    }
    let journal = world.open().await;
    assert_eq!(journal.get(&created).await.unwrap(), Some((Bytes::from_static(b"intent"), first)));
    assert_eq!(journal.get(&updated).await.unwrap(), Some((Bytes::from_static(b"done"), second)));
    assert!(journal.create(&created, Bytes::from_static(b"again")).await.unwrap().is_none());
    assert!(journal.update(&updated, Bytes::from_static(b"stale"), at).await.unwrap().is_none());
    let next = journal.update(&created, Bytes::from_static(b"done"), first).await.unwrap().expect("fresh revision");
    assert!(next > first, "revisions grow over a restart");
}

async fn forgets_after_a_day<W: World<Port = dyn JournalStore>>(mut world: W) {
    let journal = world.open().await;
    let Some(clock) = world.clock() else { return };
    let (key, other) = (key(), self::key());
    let hour = Duration::from_secs(3600);
    let first = journal.create(&key, Bytes::from_static(b"one")).await.unwrap().unwrap();
    journal.create(&other, Bytes::from_static(b"other")).await.unwrap().unwrap();
    clock.advance(hour * 20);
    let second = journal.update(&key, Bytes::from_static(b"two"), first).await.unwrap().unwrap();
    clock.advance(hour * 5);
    assert!(journal.get(&other).await.unwrap().is_none(), "25 hours after its only write");
    assert_eq!(journal.get(&key).await.unwrap(), Some((Bytes::from_static(b"two"), second)), "5 hours after a write");
    clock.advance(hour * 20);
    assert!(journal.get(&key).await.unwrap().is_none(), "25 hours after its last write");
    assert!(journal.update(&key, Bytes::from_static(b"late"), second).await.unwrap().is_none(), "it is gone");
    let third = journal.create(&key, Bytes::from_static(b"anew")).await.unwrap().expect("it is gone");
    assert!(third > second, "a revision is never used twice for a key");
}

/// Runs `count` tasks at once and gives back what was some.
pub(super) async fn race<T, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = Option<T>> + Send + 'static,
{
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|at| {
            let (barrier, future) = (barrier.clone(), task(at));
            tokio::spawn(async move {
                barrier.wait().await;
                future.await
            })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.extend(task.await.unwrap());
    }
    results
}
