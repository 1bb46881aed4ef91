//! The store on Redis.
//!
//! | key | type | content |
//! | --- | --- | --- |
//! | `{ns}:r:<key>` | string | `<version>:<value>` |
//! | `{ns}:index` | sorted set, all scores 0 | every key, for listing in key order |
//! | `{ns}:sequence` | integer | number of the newest notice |
//! | `{ns}:log` | list | the last 1,000 notices, oldest first |
//! | `{ns}:snapshot` | string | whoever takes a snapshot; while it is there, commits note what they change |
//! | `{ns}:changed` | set | the keys that were changed since the snapshot was begun |
//!
//! The braces make a cluster keep all of it on one node, so that a commit can be one script. What is promised is only
//! as durable as the server: see [`RedisStore::verify_durable`].

mod server;
mod snapshot;

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::aio::ConnectionManagerConfig;
use redis::{FromRedisValue, Script, ScriptInvocation};
use tokio::sync::mpsc;

pub use server::{Lack, Persistence, RedisSeen};

use super::redis_link::RedisLink;
use super::{Changes, Expect, Piece, Store, StoreError, Versioned, Write};
use crate::secret::Secret;
use crate::tls::ServiceTls;

/// Notices that are kept.
const LOG_LENGTH: usize = 1_000;

/// Records per round trip of a listing.
const PAGE: usize = 500;

/// How long one command may take, and how long a connection.
const WITHIN: Duration = Duration::from_secs(2);

/// Checks every expectation, then writes everything. `KEYS`: index, sequence, log, snapshot, changed, then one per write.
/// `ARGV`: the notice's presence (`1` or `0`), the notice, the log's length, then four per write: plain key, `put` or `delete`,
/// expected version (empty: any, `0`: absent), value. Answers with the number of the write that conflicts, or 0.
static COMMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local versions = {}
        for i = 6, #KEYS do
            local at = 3 + (i - 6) * 4
            local version = versions[KEYS[i]]
            if version == nil then
                local found = redis.call('GETRANGE', KEYS[i], 0, 20)
                version = tonumber(string.match(found, '^(%d+):')) or 0
            end
            local expected = ARGV[at + 3]
            if expected ~= '' and tonumber(expected) ~= version then
                return i - 5
            end
            if ARGV[at + 2] == 'put' then
                versions[KEYS[i]] = version + 1
            else
                versions[KEYS[i]] = 0
            end
            ARGV[at + 3] = string.format('%.0f', version + 1)
        end
        local noted = redis.call('EXISTS', KEYS[4]) == 1
        for i = 6, #KEYS do
            local at = 3 + (i - 6) * 4
            if noted then
                redis.call('SADD', KEYS[5], ARGV[at + 1])
            end
            if ARGV[at + 2] == 'put' then
                redis.call('SET', KEYS[i], ARGV[at + 3] .. ':' .. ARGV[at + 4])
                redis.call('ZADD', KEYS[1], 0, ARGV[at + 1])
            else
                redis.call('DEL', KEYS[i])
                redis.call('ZREM', KEYS[1], ARGV[at + 1])
            end
        end
        if ARGV[1] == '1' then
            redis.call('INCR', KEYS[2])
            redis.call('RPUSH', KEYS[3], ARGV[2])
            redis.call('LTRIM', KEYS[3], -tonumber(ARGV[3]), -1)
        end
        return 0
        ",
    )
});

/// `KEYS`: sequence, log. `ARGV`: the sequence after which to begin. Answers with the newest sequence, whether some
/// are missing, and the notices. The log has no gaps, so a notice's number follows from its place.
static CHANGES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local newest = tonumber(redis.call('GET', KEYS[1]) or '0')
        local kept = redis.call('LLEN', KEYS[2])
        local wanted = newest - tonumber(ARGV[1])
        if wanted == 0 then
            return {newest, 0, {}}
        end
        -- Asked for more than ever was: the asker remembers another life of this store.
        if wanted < 0 then
            return {newest, 1, {}}
        end
        local missed = 0
        if wanted > kept then
            wanted = kept
            missed = 1
        end
        if wanted == 0 then
            return {newest, missed, {}}
        end
        return {newest, missed, redis.call('LRANGE', KEYS[2], -wanted, -1)}
        ",
    )
});

/// `KEYS`: index. `ARGV`: prefix of record keys, from (as `ZRANGEBYLEX` writes it), to, how many. Answers with keys
/// and values in turn. Reading the records within the script makes each page a snapshot.
static LIST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local keys = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, tonumber(ARGV[4]))
        local answer = {}
        for i = 1, #keys do
            answer[2 * i - 1] = keys[i]
            answer[2 * i] = redis.call('GET', ARGV[1] .. keys[i])
        end
        return answer
        ",
    )
});

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `redis://[user:password@]host:6379/0`, or `rediss://` with `tls`.
    pub url: Secret,
    /// Default: none.
    pub tls: Option<ServiceTls>,
    /// Prefix of every key. Default: `plugboard`.
    pub namespace: String,
    /// Serve from a Redis that forgets when it restarts. Default: no.
    pub allow_volatile: bool,
    /// Refuse a Redis that is not seen to keep everything it confirms. Default: no, warn.
    pub require_durable: bool,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("redis://127.0.0.1:6379/0"),
            tls: None,
            namespace: "plugboard".to_owned(),
            allow_volatile: false,
            require_durable: false,
        }
    }
}

/// [`Store`] on Redis. Cheap to clone.
#[derive(Clone)]
pub struct RedisStore {
    link: RedisLink,
    prefix: String,
    allow_volatile: bool,
    require_durable: bool,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects; later interruptions are repaired in the background, and calls meanwhile fail within 2 seconds.
    ///
    /// # Errors
    /// When the address makes no sense, the server cannot be reached, or it refuses the credentials.
    pub async fn connect(config: &RedisConfig) -> Result<Self, StoreError> {
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(WITHIN))
            .set_response_timeout(Some(WITHIN))
            .set_number_of_retries(3)
            .set_max_delay(WITHIN / 2);
        let link = RedisLink::connect(config, settings).await;
        Ok(Self {
            link: link.map_err(|error| StoreError::Unavailable(error.to_string()))?,
            prefix: format!("{{{}}}:", config.namespace.replace(['{', '}'], "_")),
            allow_volatile: config.allow_volatile,
            require_durable: config.require_durable,
        })
    }

    fn record(&self, key: &str) -> String {
        format!("{}r:{key}", self.prefix)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// One round trip of a listing.
    async fn read_page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        // No UTF-8 text contains the byte FF, so this is above every key with the prefix.
        let to = [b"(", prefix.as_bytes(), b"\xff"].concat();
        let from = match after {
            Some(after) if after >= prefix => format!("({after}"),
            _ => format!("[{prefix}"),
        };
        let mut call = LIST.key(self.key("index"));
        call.arg(self.record("")).arg(from).arg(to).arg(limit);
        let found: Vec<(String, Option<Vec<u8>>)> = self.run(&call).await?;
        let mut page = Page { seen: found.len(), last: None, records: Vec::with_capacity(found.len()) };
        for (key, raw) in found {
            if let Some(raw) = raw {
                page.records.push((key.clone(), parse(&key, raw)?));
            }
            page.last = Some(key);
        }
        Ok(page)
    }

    async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        let mut connection = self.link.connection();
        script.invoke_async(&mut connection).await.map_err(unavailable)
    }
}

struct Page {
    /// Keys of the index; one without a record was deleted by hand.
    seen: usize,
    last: Option<String>,
    records: Vec<(String, Versioned)>,
}

#[async_trait]
impl Store for RedisStore {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        let mut connection = self.link.connection();
        let found: Option<Vec<u8>> =
            redis::cmd("GET").arg(self.record(key)).query_async(&mut connection).await.map_err(unavailable)?;
        found.map(|raw| parse(key, raw)).transpose()
    }

    /// An error other than a conflict leaves open whether it was applied: read before trying again.
    async fn commit(&self, writes: Vec<Write>, notice: Option<Bytes>) -> Result<(), StoreError> {
        let mut call = COMMIT.key(self.key("index"));
        call.key(self.key("sequence")).key(self.key("log")).key(self.key("snapshot")).key(self.key("changed"));
        call.arg(u8::from(notice.is_some())).arg(notice.as_deref().unwrap_or_default()).arg(LOG_LENGTH);
        let mut keys = Vec::with_capacity(writes.len());
        for write in writes {
            let (key, verb, expect, value) = match write {
                Write::Put { key, value, expect } => (key, "put", expect, value),
                Write::Delete { key, expect } => (key, "delete", expect, Bytes::new()),
            };
            let expected = match expect {
                Expect::Absent => "0".to_owned(),
                // Zero means "absent" to the script; no record has that version.
                Expect::Version(0) => "-1".to_owned(),
                Expect::Version(version) => version.to_string(),
                Expect::Anything => String::new(),
            };
            call.key(self.record(&key)).arg(key.as_str()).arg(verb).arg(expected).arg(value.as_ref());
            keys.push(key);
        }
        let conflict: usize = self.run(&call).await?;
        match conflict.checked_sub(1) {
            None => Ok(()),
            Some(at) => Err(StoreError::Conflict { key: keys.into_iter().nth(at).unwrap_or_default() }),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        let mut records = Vec::new();
        let mut last = None;
        loop {
            let page = self.read_page(prefix, last.as_deref(), PAGE).await?;
            let full = page.seen == PAGE;
            last = page.last;
            records.extend(page.records);
            if !full {
                return Ok(records);
            }
        }
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, StoreError> {
        let mut after = after.map(str::to_owned);
        let mut records = Vec::new();
        while records.len() < limit {
            let asked = (limit - records.len()).min(PAGE);
            let page = self.read_page(prefix, after.as_deref(), asked).await?;
            let full = page.seen == asked;
            after = page.last;
            records.extend(page.records);
            if !full {
                break;
            }
        }
        Ok(records)
    }

    async fn snapshot(&self, to: mpsc::Sender<Vec<Piece>>) -> Result<(), StoreError> {
        snapshot::take(self, &to).await
    }

    async fn changes_after(&self, sequence: u64) -> Result<Changes, StoreError> {
        let mut call = CHANGES.key(self.key("sequence"));
        call.key(self.key("log")).arg(sequence);
        let (upto, missed, notices): (u64, u8, Vec<Vec<u8>>) = self.run(&call).await?;
        Ok(Changes { notices: notices.into_iter().map(Bytes::from).collect(), upto, missed: missed != 0 })
    }
}

fn parse(key: &str, raw: Vec<u8>) -> Result<Versioned, StoreError> {
    let raw = Bytes::from(raw);
    let colon = raw.iter().position(|&byte| byte == b':');
    let version =
        colon.and_then(|at| std::str::from_utf8(raw.get(..at)?).ok()?.parse().ok().map(|version| (at, version)));
    match version {
        Some((at, version)) => Ok(Versioned { value: raw.slice(at + 1..), version }),
        None => Err(StoreError::Unreadable(key.to_owned())),
    }
}

fn unavailable(error: redis::RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_anything() {
        let record = parse("k", b"12:a:\x00\xff".to_vec()).unwrap();
        assert_eq!((record.version, record.value.as_ref()), (12, &b"a:\x00\xff"[..]));
        assert!(parse("k", b"no version".to_vec()).is_err());
        assert!(parse("k", b"".to_vec()).is_err());
    }
}
