//! What every [`Store`] promises: versions, expectations, whole batches, a log of changes, durable when it answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::World;
use super::journal::race;
use crate::store::{Expect, Piece, Store, StoreError, Write};

type Port = Arc<dyn Store>;

/// Runs all checks. A batch names a key at most once.
pub async fn store_contract<W: World<Port = dyn Store>>(make: impl AsyncFn() -> W) {
    versions_grow_by_one(make().await).await;
    expectations_hold_or_nothing_happens(make().await).await;
    a_batch_is_whole(make().await).await;
    deletes(make().await).await;
    lists_by_prefix_in_key_order(make().await).await;
    pages_go_on_where_the_last_one_ended(make().await).await;
    keeps_any_bytes(make().await).await;
    one_of_many_writers_wins(make().await).await;
    loses_no_update(make().await).await;
    is_one_store_for_all_processes(make().await).await;
    the_change_log_counts(make().await).await;
    the_change_log_keeps_a_thousand(make().await).await;
    notices_of_racing_writers_are_all_there(make().await).await;
    a_snapshot_is_of_one_moment(make().await).await;
    a_snapshot_that_is_given_up_harms_nothing(make().await).await;
    survives_a_crash(make().await).await;
}

async fn put(store: &Port, key: &str, value: &str, expect: Expect) -> Result<(), StoreError> {
    store.commit(vec![Write::put(key, Bytes::copy_from_slice(value.as_bytes()), expect)], None).await
}

async fn version(store: &Port, key: &str) -> Option<u64> {
    store.get(key).await.unwrap().map(|found| found.version)
}

fn assert_conflict(result: Result<(), StoreError>, at: &str) {
    match result {
        Err(StoreError::Conflict { key }) => assert_eq!(key, at, "the key whose expectation did not hold"),
        other => panic!("expected a conflict at {at}: {other:?}"),
    }
}

async fn versions_grow_by_one<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    assert_eq!(store.get("org/1").await.unwrap(), None);
    for round in 1..=3 {
        put(&store, "org/1", &round.to_string(), Expect::Anything).await.unwrap();
        let found = store.get("org/1").await.unwrap().unwrap();
        assert_eq!((found.value, found.version), (Bytes::from(round.to_string()), round));
    }
    put(&store, "org/1", "4", Expect::Version(3)).await.unwrap();
    assert_eq!(version(&store, "org/1").await, Some(4));
    put(&store, "org/2", "1", Expect::Anything).await.unwrap();
    assert_eq!(version(&store, "org/2").await, Some(1), "versions belong to a key");
}

async fn expectations_hold_or_nothing_happens<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    assert_conflict(put(&store, "k", "x", Expect::Version(1)).await, "k");
    assert_conflict(put(&store, "k", "x", Expect::Version(0)).await, "k");
    assert_eq!(store.get("k").await.unwrap(), None);
    put(&store, "k", "one", Expect::Absent).await.unwrap();
    assert_conflict(put(&store, "k", "x", Expect::Absent).await, "k");
    put(&store, "k", "two", Expect::Version(1)).await.unwrap();
    assert_conflict(put(&store, "k", "x", Expect::Version(1)).await, "k");
    assert_conflict(put(&store, "k", "x", Expect::Version(3)).await, "k");
    assert_conflict(store.commit(vec![Write::delete("k", Expect::Version(1))], None).await, "k");
    assert_conflict(store.commit(vec![Write::delete("k", Expect::Absent)], None).await, "k");
    let found = store.get("k").await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (Bytes::from_static(b"two"), 2));
}

async fn a_batch_is_whole<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    put(&store, "a", "1", Expect::Absent).await.unwrap();
    put(&store, "b", "1", Expect::Absent).await.unwrap();
    let batch = |last: Expect| {
        vec![
            Write::put("a", "2", Expect::Version(1)),
            Write::delete("b", Expect::Version(1)),
            Write::put("c", "1", Expect::Absent),
            Write::put("d", "1", last),
        ]
    };
    assert_conflict(store.commit(batch(Expect::Version(9)), Some(Bytes::from_static(b"no"))).await, "d");
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "1");
    assert_eq!(version(&store, "b").await, Some(1));
    assert_eq!(store.get("c").await.unwrap(), None);
    assert_eq!(store.get("d").await.unwrap(), None);
    assert_eq!(store.changes_after(0).await.unwrap().notices, Vec::<Bytes>::new(), "no notice of what did not happen");

    store.commit(batch(Expect::Absent), Some(Bytes::from_static(b"yes"))).await.unwrap();
    assert_eq!(version(&store, "a").await, Some(2));
    assert_eq!(store.get("b").await.unwrap(), None);
    assert_eq!(version(&store, "c").await, Some(1));
    assert_eq!(version(&store, "d").await, Some(1));
    assert_eq!(store.changes_after(0).await.unwrap().notices, ["yes"]);
    store.commit(Vec::new(), None).await.unwrap();
}

async fn deletes<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    put(&store, "k", "1", Expect::Absent).await.unwrap();
    store.commit(vec![Write::delete("k", Expect::Version(1))], None).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), None);
    assert_eq!(store.list("").await.unwrap(), Vec::new());
    store.commit(vec![Write::delete("k", Expect::Anything)], None).await.unwrap();
    assert_conflict(store.commit(vec![Write::delete("k", Expect::Version(1))], None).await, "k");
    put(&store, "k", "anew", Expect::Absent).await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap().value, "anew");
}

/// Keys are text of any kind: patterns of some stores, separators of others, every script.
const ODD_KEYS: [&str; 16] = [
    "p/",
    "p/ spaced out ",
    "p/*",
    "p/?",
    "p/[a-z]",
    "p/\\",
    "p/a",
    "p/a/b",
    "p/a:b{c}",
    "p/a\nb",
    "p/ключ",
    "p/日本",
    "p/🔌",
    "p/%2F..",
    "p/\u{10FFFF}",
    "p/\"quoted'",
];

async fn lists_by_prefix_in_key_order<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    for key in ["o", "p", "p0", "p.", "q", "P/a", "[a-z]/x", "*/x"] {
        put(&store, key, "outside", Expect::Absent).await.unwrap();
    }
    for key in ODD_KEYS.iter().rev() {
        put(&store, key, key, Expect::Absent).await.unwrap();
    }
    let mut wanted: Vec<String> = ODD_KEYS.map(str::to_owned).to_vec();
    wanted.sort_unstable();
    let listed = store.list("p/").await.unwrap();
    assert_eq!(listed.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), wanted, "byte order");
    for (key, found) in &listed {
        assert_eq!((found.value.as_ref(), found.version), (key.as_bytes(), 1));
        assert_eq!(store.get(key).await.unwrap().as_ref(), Some(found), "{key:?}");
    }
    let under = |prefix: &'static str| {
        let store = store.clone();
        async move { store.list(prefix).await.unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>() }
    };
    assert_eq!(under("p/a").await, ["p/a", "p/a\nb", "p/a/b", "p/a:b{c}"]);
    assert_eq!(under("p/*").await, ["p/*"], "no pattern");
    assert_eq!(under("p/?").await, ["p/?"], "no pattern");
    assert_eq!(under("[a-z]").await, ["[a-z]/x"], "no pattern");
    assert_eq!(under("*").await, ["*/x"], "no pattern");
    assert_eq!(under("p/\\").await, ["p/\\"], "no escape");
    assert_eq!(under("p/\u{10FFFF}").await, ["p/\u{10FFFF}"], "nothing follows the greatest key");
    assert_eq!(under("none/").await, Vec::<String>::new());
    assert_eq!(under("").await.len(), ODD_KEYS.len() + 8);
}

async fn pages_go_on_where_the_last_one_ended<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    for at in 0..7 {
        put(&store, &format!("q/{at}"), "v", Expect::Absent).await.unwrap();
    }
    for key in ["p", "q", "q.", "q0", "r/0"] {
        put(&store, key, "outside", Expect::Absent).await.unwrap();
    }
    let page = async |after: Option<&str>, limit: usize| {
        let found = store.page("q/", after, limit).await.unwrap();
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 3).await, ["q/0", "q/1", "q/2"]);
    assert_eq!(page(Some("q/2"), 3).await, ["q/3", "q/4", "q/5"]);
    assert_eq!(page(Some("q/5"), 3).await, ["q/6"]);
    assert_eq!(page(Some("q/6"), 3).await, Vec::<String>::new());
    assert_eq!(page(None, 0).await, Vec::<String>::new());
    // A place need not be a key, nor be within the prefix.
    assert_eq!(page(Some("q/5x"), 9).await, ["q/6"]);
    assert_eq!(page(Some("a"), 2).await, ["q/0", "q/1"]);
    assert_eq!(page(Some("z"), 2).await, Vec::<String>::new());
    // What is removed meanwhile is not met, and does not end the walk.
    store.commit(vec![Write::delete("q/3", Expect::Anything)], None).await.unwrap();
    assert_eq!(page(Some("q/3"), 2).await, ["q/4", "q/5"]);
    // Many pages of the store's own.
    for at in 0..1_200 {
        put(&store, &format!("many/{at:04}"), "v", Expect::Absent).await.unwrap();
    }
    let many = store.page("many/", Some("many/0099"), 1_050).await.unwrap();
    assert_eq!((many.len(), many[0].0.as_str(), many[1_049].0.as_str()), (1_050, "many/0100", "many/1149"));
    assert_eq!(store.page("many/", Some("many/0099"), 2_000).await.unwrap().len(), 1_100);
}

async fn keeps_any_bytes<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    let all: Bytes = (0..=255).collect();
    let long: Bytes = all.repeat(1024).into();
    for (at, value) in [Bytes::new(), all, long].into_iter().enumerate() {
        let key = format!("bytes/{at}");
        store.commit(vec![Write::put(key.as_str(), value.clone(), Expect::Absent)], Some(value.clone())).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().unwrap().value, value);
        assert_eq!(store.changes_after(at as u64).await.unwrap().notices, [value]);
    }
    assert_eq!(store.list("bytes/").await.unwrap().len(), 3);
}

async fn one_of_many_writers_wins<W: World<Port = dyn Store>>(mut world: W) {
    let (one, two) = (world.open().await, world.open().await);
    for round in 0..8 {
        let key = format!("race/{round}");
        for expect in [Expect::Absent, Expect::Version(1)] {
            let winners = race(32, |at| {
                let store = if at % 2 == 0 { one.clone() } else { two.clone() };
                let key = key.clone();
                async move {
                    match put(&store, &key, &at.to_string(), expect).await {
                        Ok(()) => Some(at),
                        Err(StoreError::Conflict { .. }) => None,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
            .await;
            assert_eq!(winners.len(), 1, "exactly one writer wins");
            assert_eq!(one.get(&key).await.unwrap().unwrap().value, winners[0].to_string());
        }
        assert_eq!(version(&two, &key).await, Some(2));
    }
}

async fn loses_no_update<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    put(&store, "sum", "0", Expect::Absent).await.unwrap();
    race(16, |at| {
        let store = store.clone();
        async move {
            for round in 0..8 {
                loop {
                    let found = store.get("sum").await.unwrap().unwrap();
                    let number: u64 = std::str::from_utf8(&found.value).unwrap().parse().unwrap();
                    // The second key shows that a refused batch leaves nothing behind.
                    let batch = vec![
                        Write::put("sum", (number + 1).to_string(), Expect::Version(found.version)),
                        Write::put(format!("done/{at}/{round}"), "", Expect::Absent),
                    ];
                    match store.commit(batch, None).await {
                        Ok(()) => break,
                        Err(StoreError::Conflict { key }) => assert_eq!(key, "sum"),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            None::<()>
        }
    })
    .await;
    let sum = store.get("sum").await.unwrap().unwrap();
    assert_eq!((sum.value, sum.version), (Bytes::from_static(b"128"), 129));
    assert_eq!(store.list("done/").await.unwrap().len(), 128);
}

async fn is_one_store_for_all_processes<W: World<Port = dyn Store>>(mut world: W) {
    let (one, two) = (world.open().await, world.open().await);
    one.commit(vec![Write::put("k", "1", Expect::Absent)], Some(Bytes::from_static(b"n"))).await.unwrap();
    assert_conflict(put(&two, "k", "x", Expect::Absent).await, "k");
    put(&two, "k", "2", Expect::Version(1)).await.unwrap();
    assert_eq!(version(&one, "k").await, Some(2));
    assert_eq!(two.changes_after(0).await.unwrap().notices, ["n"]);
}

async fn the_change_log_counts<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    let none = store.changes_after(0).await.unwrap();
    assert_eq!((none.notices.len(), none.upto, none.missed), (0, 0, false), "nothing happened yet");
    for at in 1..=5u64 {
        let notice = Bytes::from(format!("n{at}"));
        store.commit(vec![Write::put("k", "v", Expect::Anything)], Some(notice)).await.unwrap();
        put(&store, "quiet", "v", Expect::Anything).await.unwrap();
        assert_eq!(store.changes_after(0).await.unwrap().upto, at, "one number a notice, none without");
    }
    store.commit(Vec::new(), Some(Bytes::from_static(b"n6"))).await.unwrap();
    for after in 0..=6u64 {
        let seen = store.changes_after(after).await.unwrap();
        let wanted: Vec<_> = (after + 1..=6).map(|at| Bytes::from(format!("n{at}"))).collect();
        assert_eq!((seen.notices, seen.upto, seen.missed), (wanted, 6, false), "after {after}");
    }
}

async fn the_change_log_keeps_a_thousand<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    const WRITTEN: u64 = 1_500;
    for part in 0..WRITTEN / 50 {
        race(50, |at| {
            let store = store.clone();
            async move {
                store.commit(Vec::new(), Some(Bytes::from(format!("{part}/{at}")))).await.unwrap();
                None::<()>
            }
        })
        .await;
    }
    let last = store.changes_after(WRITTEN - 1_000).await.unwrap();
    assert_eq!((last.notices.len(), last.upto, last.missed), (1_000, WRITTEN, false));
    for after in [0, 1, 499] {
        let seen = store.changes_after(after).await.unwrap();
        assert_eq!(seen.upto, WRITTEN);
        assert_eq!(seen.missed, (seen.notices.len() as u64) < WRITTEN - after, "what is gone is said to be missed");
        assert_eq!(last.notices.last(), seen.notices.last());
    }
}

/// A reader that always asks for what follows the last answer misses nothing while others write.
async fn notices_of_racing_writers_are_all_there<W: World<Port = dyn Store>>(mut world: W) {
    let (store, other) = (world.open().await, world.open().await);
    let reader = tokio::spawn(async move {
        let (mut seen, mut upto) = (Vec::new(), 0);
        while seen.len() < 256 {
            let changes = other.changes_after(upto).await.unwrap();
            assert!(!changes.missed);
            assert_eq!(changes.upto, upto + changes.notices.len() as u64);
            upto = changes.upto;
            seen.extend(changes.notices);
            tokio::task::yield_now().await;
        }
        seen
    });
    race(16, |at| {
        let store = store.clone();
        async move {
            for round in 0..16 {
                let key = format!("{at}/{round}");
                let notice = Bytes::from(key.clone());
                store.commit(vec![Write::put(key, "", Expect::Absent)], Some(notice)).await.unwrap();
            }
            None::<()>
        }
    })
    .await;
    let mut seen = reader.await.unwrap();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 256);
}

/// Every writer keeps two records that always say the same; a snapshot finds them so, however many pages lie between.
async fn a_snapshot_is_of_one_moment<W: World<Port = dyn Store>>(mut world: W) {
    let (store, other) = (world.open().await, world.open().await);
    for at in 0..1_700 {
        put(&store, &format!("m/{at:04}"), "still", Expect::Absent).await.unwrap();
    }
    const WRITERS: usize = 4;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, stop) = (other.clone(), stop.clone());
            tokio::spawn(async move {
                let mut number = 0_u64;
                while number == 0 || !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let value = number.to_string();
                    let mut batch = ["a", "z"]
                        .map(|end| Write::put(format!("{end}/{writer}"), value.clone(), Expect::Anything))
                        .to_vec();
                    // Comes, goes, and comes again.
                    let name = format!("n/{writer}");
                    batch.push(match number % 2 {
                        0 => Write::delete(name, Expect::Anything),
                        _ => Write::put(name, value, Expect::Anything),
                    });
                    store.commit(batch, None).await.unwrap();
                    tokio::task::yield_now().await;
                }
                number
            })
        })
        .collect();
    for _ in 0..5 {
        let snapshot = snapshot(&store).await.unwrap();
        let text = |key: String| snapshot.get(&key).map(|value| String::from_utf8_lossy(value).into_owned());
        for writer in 0..WRITERS {
            let number = text(format!("a/{writer}"));
            assert_eq!(number, text(format!("z/{writer}")), "of one moment");
            let odd = number.clone().filter(|number| number.parse::<u64>().unwrap() % 2 == 1);
            assert_eq!(text(format!("n/{writer}")), odd, "of the same moment");
        }
        assert_eq!(snapshot.keys().filter(|key| key.starts_with("m/")).count(), 1_700);
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let listed = store.list("").await.unwrap().into_iter().map(|(key, record)| (key, record.value));
    let listed: BTreeMap<_, _> = listed.collect();
    assert_eq!(snapshot(&store).await.unwrap(), listed, "what nobody changes is all there");
}

async fn a_snapshot_that_is_given_up_harms_nothing<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    assert_eq!(snapshot(&store).await.unwrap(), BTreeMap::new());
    put(&store, "k", "1", Expect::Absent).await.unwrap();
    let (pieces, nobody) = mpsc::channel(1);
    drop(nobody);
    assert!(matches!(store.snapshot(pieces).await, Err(StoreError::Unavailable(_))));
    put(&store, "k", "2", Expect::Version(1)).await.unwrap();
    let wanted = BTreeMap::from([("k".to_owned(), Bytes::from_static(b"2"))]);
    assert_eq!(snapshot(&store).await.unwrap(), wanted);
}

async fn snapshot(store: &Port) -> Result<BTreeMap<String, Bytes>, StoreError> {
    let (pieces, mut arriving) = mpsc::channel(1);
    let collect = async {
        let mut found = BTreeMap::new();
        while let Some(batch) = arriving.recv().await {
            for Piece { key, value } in batch {
                match value {
                    Some(value) => found.insert(key, value),
                    None => found.remove(&key),
                };
            }
        }
        found
    };
    let (read, found) = tokio::join!(store.snapshot(pieces), collect);
    read.map(|()| found)
}

async fn survives_a_crash<W: World<Port = dyn Store>>(mut world: W) {
    let store = world.open().await;
    put(&store, "k", "1", Expect::Absent).await.unwrap();
    put(&store, "k", "2", Expect::Version(1)).await.unwrap();
    put(&store, "gone", "1", Expect::Absent).await.unwrap();
    let batch = vec![Write::delete("gone", Expect::Anything), Write::put("l", "1", Expect::Absent)];
    store.commit(batch, Some(Bytes::from_static(b"notice"))).await.unwrap();
    if !world.crash().await {
        return;
    }
    let store = world.open().await;
    let found = store.get("k").await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (Bytes::from_static(b"2"), 2));
    assert_eq!(store.get("gone").await.unwrap(), None);
    assert_eq!(version(&store, "l").await, Some(1));
    let changes = store.changes_after(0).await.unwrap();
    assert_eq!((changes.notices, changes.upto, changes.missed), (vec![Bytes::from_static(b"notice")], 1, false));
    store.commit(Vec::new(), Some(Bytes::from_static(b"next"))).await.unwrap();
    assert_eq!(store.changes_after(1).await.unwrap().notices, ["next"], "numbers go on");
}
