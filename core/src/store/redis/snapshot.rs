//! A snapshot of a store that others write to meanwhile.
//!
//! It is read page by page, while every commit notes the keys that it changes. Those are then read again, until one script
//! finds that nothing is left: at that moment all that was sent is what is stored. No script touches more than a page,
//! so nobody waits for it. Replicas of a version without this note nothing: not while one of them still runs.

use std::sync::LazyLock;

use redis::Script;
use tokio::sync::mpsc;

use super::{PAGE, RedisStore, parse};
use crate::store::{Piece, StoreError, given_up};

/// Whoever has not gone on for this long has died. Seconds.
const FORGOTTEN: u64 = 60;

/// `KEYS`: snapshot, changed. `ARGV`: the taker, for how long. 1: begun; 0: somebody else is at it.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then
            return 0
        end
        redis.call('DEL', KEYS[2])
        return 1
        ",
    )
});

/// `KEYS`: snapshot. `ARGV`: the taker, for how long. 1: commits are still noted.
static GO_ON: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then
            return 0
        end
        return redis.call('EXPIRE', KEYS[1], ARGV[2])
        ",
    )
});

/// Reads what was changed and ends the snapshot when that was all. `KEYS`: snapshot, changed. `ARGV`: the taker, for how
/// long, prefix of record keys, how many. Answers with what is left, or -1 when changes were not noted any more, and keys
/// and values in turn.
static CHANGED: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then
            return {-1, {}}
        end
        local keys = redis.call('SPOP', KEYS[2], tonumber(ARGV[4]))
        local answer = {}
        for i = 1, #keys do
            answer[2 * i - 1] = keys[i]
            answer[2 * i] = redis.call('GET', ARGV[3] .. keys[i])
        end
        local left = redis.call('SCARD', KEYS[2])
        if left == 0 then
            redis.call('DEL', KEYS[1])
        else
            redis.call('EXPIRE', KEYS[1], ARGV[2])
        end
        return {left, answer}
        ",
    )
});

/// `KEYS`: snapshot, changed. `ARGV`: the taker.
static GIVE_UP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('GET', KEYS[1]) == ARGV[1] then
            redis.call('DEL', KEYS[1], KEYS[2])
        end
        ",
    )
});

pub(super) async fn take(store: &RedisStore, to: &mpsc::Sender<Vec<Piece>>) -> Result<(), StoreError> {
    let taker = uuid::Uuid::new_v4().to_string();
    let begun: u8 = call(store, &BEGIN, &[&taker, &FORGOTTEN.to_string()]).await?;
    if begun == 0 {
        return Err(StoreError::Unavailable(format!(
            "another snapshot is being taken; one that has died is forgotten after {FORGOTTEN} s"
        )));
    }
    let taken = read(store, to, &taker).await;
    if taken.is_err() {
        // If this fails as well, it is forgotten in its time.
        let _ = call::<Option<u8>>(store, &GIVE_UP, &[&taker]).await;
    }
    taken
}

async fn read(store: &RedisStore, to: &mpsc::Sender<Vec<Piece>>, taker: &str) -> Result<(), StoreError> {
    let seconds = FORGOTTEN.to_string();
    let mut after: Option<String> = None;
    loop {
        let page = store.read_page("", after.as_deref(), PAGE).await?;
        let full = page.seen == PAGE;
        after = page.last;
        to.send(page.records.into_iter().map(Piece::from).collect()).await.map_err(given_up)?;
        let noted: u8 = call(store, &GO_ON, &[taker, &seconds]).await?;
        if noted == 0 {
            return Err(interrupted());
        }
        if !full {
            break;
        }
    }
    loop {
        let (prefix, limit) = (store.record(""), PAGE.to_string());
        let (left, changed): (i64, Vec<Stored>) = call(store, &CHANGED, &[taker, &seconds, &prefix, &limit]).await?;
        if left < 0 {
            return Err(interrupted());
        }
        let pieces = changed.into_iter().map(|(key, raw)| {
            let value = raw.map(|raw| parse(&key, raw)).transpose()?.map(|record| record.value);
            Ok(Piece { key, value })
        });
        to.send(pieces.collect::<Result<_, StoreError>>()?).await.map_err(given_up)?;
        if left == 0 {
            return Ok(());
        }
    }
}

/// A key, and what is stored under it now.
type Stored = (String, Option<Vec<u8>>);

async fn call<T: redis::FromRedisValue>(
    store: &RedisStore,
    script: &LazyLock<Script>,
    arguments: &[&str],
) -> Result<T, StoreError> {
    let mut call = script.key(store.key("snapshot"));
    call.key(store.key("changed"));
    for argument in arguments {
        call.arg(*argument);
    }
    store.run(&call).await
}

fn interrupted() -> StoreError {
    StoreError::Unavailable(format!("the snapshot stood still for more than {FORGOTTEN} s; take it again"))
}
