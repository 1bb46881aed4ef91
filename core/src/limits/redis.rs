//! [`Limiter`] on Redis: the clock is the server's, and each question is one script.

use std::sync::LazyLock;
use std::time::Duration;

use ::redis::aio::ConnectionManagerConfig;
use ::redis::{Script, ScriptInvocation};
use async_trait::async_trait;

use super::{Bucket, LimitError, Limiter, Turn, micros, to_micros};
use crate::store::redis::RedisConfig;
use crate::store::redis_link::RedisLink;

/// A call waits this long for an answer, and then the limit is kept locally. Of a bucket that lets one a minute through, a
/// token too many is worth waiting for, as long as a Redis takes whose disk is busy.
const WITHIN: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(2);

/// `KEYS`: the bucket. `ARGV`: interval, burst, cost, patience. Answers with the verdict (0 now, 1 after, 2 too late) and
/// with what remains or the wait. The same algorithm as in `gcra`, which a test holds it to.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
        local cost, patience = tonumber(ARGV[3]), tonumber(ARGV[4])
        local stored = tonumber(redis.call('GET', KEYS[1]) or '0')
        local next = math.max(stored, now) + interval * cost
        local wait = next - interval * burst - now
        if wait > patience then
            return {2, string.format('%.0f', wait)}
        end
        redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.floor((next - now) / 1000) + 1)
        if wait > 0 then
            return {1, string.format('%.0f', wait)}
        end
        return {0, string.format('%.0f', math.floor(-wait / interval))}
        ",
    )
});

/// `KEYS`: the bucket. `ARGV`: interval, burst, rest.
static REST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local stored = tonumber(redis.call('GET', KEYS[1]) or '0')
        local next = math.max(stored, now + tonumber(ARGV[3]) + tonumber(ARGV[1]) * (tonumber(ARGV[2]) - 1))
        redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.floor((next - now) / 1000) + 1)
        return 0
        ",
    )
});

/// Cheap to clone.
#[derive(Clone)]
pub struct RedisLimiter {
    link: RedisLink,
    prefix: String,
}

impl RedisLimiter {
    /// Connects when it is first needed.
    ///
    /// # Errors
    /// When the address makes no sense.
    pub fn new(config: &RedisConfig) -> Result<Self, LimitError> {
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(WITHIN * 4))
            .set_response_timeout(Some(LONGEST))
            .set_number_of_retries(1)
            .set_max_delay(WITHIN);
        let link = RedisLink::lazy(config, settings).map_err(|error| LimitError(error.to_string()))?;
        Ok(Self { link, prefix: format!("{}:limit:", config.namespace) })
    }

    /// Each has a slot of its own in a cluster.
    pub(super) fn key_of(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) async fn run<T: ::redis::FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, LimitError> {
        self.run_within(WITHIN, script).await
    }

    async fn run_within<T: ::redis::FromRedisValue>(
        &self,
        within: Duration,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, LimitError> {
        let mut connection = self.link.connection();
        match tokio::time::timeout(within, script.invoke_async(&mut connection)).await {
            Ok(answer) => answer.map_err(away),
            Err(_) => Err(LimitError("Redis does not answer".to_owned())),
        }
    }
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn take(&self, bucket: &Bucket, cost: u32, patience: Duration) -> Result<Turn, LimitError> {
        let mut script = TAKE.key(self.key_of(&bucket.key));
        let patience = to_micros(patience.min(Duration::from_secs(86_400)));
        script.arg(bucket.interval).arg(bucket.burst).arg(cost.clamp(1, bucket.burst)).arg(patience);
        let within = micros(bucket.interval).clamp(WITHIN, LONGEST);
        let (verdict, number): (u8, i64) = self.run_within(within, &script).await?;
        Ok(match verdict {
            0 => Turn::Now { remaining: u32::try_from(number).unwrap_or(u32::MAX) },
            1 => Turn::After(micros(number)),
            _ => Turn::TooLate(micros(number)),
        })
    }

    async fn rest(&self, bucket: &Bucket, rest: Duration) -> Result<(), LimitError> {
        let mut script = REST.key(self.key_of(&bucket.key));
        script.arg(bucket.interval).arg(bucket.burst).arg(to_micros(rest));
        self.run::<u8>(&script).await.map(drop)
    }
}

fn away(error: ::redis::RedisError) -> LimitError {
    LimitError(error.to_string())
}
