//! The rate limits of vendors, kept before a vendor has to say so, by all executors together.
//!
//! A bucket is a generic cell rate algorithm (GCRA): one number, the theoretical arrival time of the next request. Whoever
//! asks says how long it would wait; its turn is reserved, so that those who wait go in order and nobody asks twice.
//!
//! [`redis`] holds the buckets of a deployment, [`local`] those of one process; [`leased`] takes tokens of fast buckets in
//! handfuls, and [`Soft`] goes on with a local limit while the shared one is away: a vendor that is asked too often says so,
//! a vendor that is not asked at all helps nobody.
//!
//! [`concurrency`] bounds the calls under way at once; [`redis_slots`] divides them among the executors of a deployment.

pub mod concurrency;
mod gcra;
pub mod leased;
pub mod local;
pub mod redis;
pub mod redis_slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

pub use concurrency::Concurrency;

use self::concurrency::Alone;
use crate::clock::Clock;
use crate::manifest::RateLimit;

/// One bucket of one account, app or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Whose, and which.
    pub key: String,
    /// Time between two requests of an even flow. Microseconds.
    pub interval: i64,
    /// Requests that may go at once after a rest.
    pub burst: u32,
}

impl Bucket {
    pub fn new(key: String, limit: &RateLimit) -> Self {
        let (requests, seconds) = (i64::from(limit.requests.max(1)), i64::from(limit.per_seconds.max(1)));
        let burst = limit.burst.unwrap_or(limit.requests).max(1);
        Self { key, interval: (seconds * 1_000_000 / requests).max(1), burst }
    }

    /// How long the bucket takes to fill again.
    pub fn full_after(&self) -> Duration {
        micros(self.interval.saturating_mul(i64::from(self.burst)))
    }
}

/// What a bucket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Now {
        /// Requests that could go at once after this one.
        remaining: u32,
    },
    /// The turn is reserved: wait this long.
    After(Duration),
    /// Longer than the asker would wait; nothing is reserved.
    TooLate(Duration),
}

/// Keeps buckets. The contract suite `testing::limits` says what every one of them does.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Takes `cost` tokens, now or within `patience`.
    ///
    /// # Errors
    /// When the buckets cannot be reached.
    async fn take(&self, bucket: &Bucket, cost: u32, patience: Duration) -> Result<Turn, LimitError>;

    /// The vendor has said how long it wants to be left alone.
    ///
    /// # Errors
    /// When the buckets cannot be reached.
    async fn rest(&self, bucket: &Bucket, rest: Duration) -> Result<(), LimitError>;
}

/// What an executor asks before it calls.
#[derive(Clone)]
pub struct Limits {
    pub rates: Arc<dyn Limiter>,
    pub slots: Arc<Concurrency>,
}

impl Limits {
    /// Of a process that is alone.
    pub fn alone(clock: Arc<dyn Clock>) -> Self {
        Self { rates: Arc::new(local::LocalLimiter::new(clock)), slots: Arc::new(Concurrency::new(Arc::new(Alone))) }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the limits cannot be reached: {0}")]
pub struct LimitError(pub String);

/// A shared limiter, and a local one for when it is away.
pub struct Soft {
    shared: Arc<dyn Limiter>,
    local: local::LocalLimiter,
    away: AtomicBool,
}

impl Soft {
    pub fn new(shared: Arc<dyn Limiter>, local: local::LocalLimiter) -> Self {
        Self { shared, local, away: AtomicBool::new(false) }
    }

    /// Whether the shared limits answered when they were last asked.
    pub fn is_shared(&self) -> bool {
        !self.away.load(Ordering::Relaxed)
    }

    fn heard<T>(&self, answer: Result<T, LimitError>) -> Option<T> {
        match answer {
            Ok(answer) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("the shared limits are back");
                }
                Some(answer)
            }
            Err(error) => {
                metrics::counter!("plugboard_limits_away_total").increment(1);
                if !self.away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "each process keeps the limits for itself meanwhile");
                }
                None
            }
        }
    }
}

#[async_trait]
impl Limiter for Soft {
    async fn take(&self, bucket: &Bucket, cost: u32, patience: Duration) -> Result<Turn, LimitError> {
        match self.heard(self.shared.take(bucket, cost, patience).await) {
            Some(turn) => Ok(turn),
            None => self.local.take(bucket, cost, patience).await,
        }
    }

    async fn rest(&self, bucket: &Bucket, rest: Duration) -> Result<(), LimitError> {
        // Both, for the shared one may be away when its turn comes.
        self.local.rest(bucket, rest).await?;
        self.heard(self.shared.rest(bucket, rest).await);
        Ok(())
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn to_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
