//! [`Limiter`] of one process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{Bucket, LimitError, Limiter, Turn, gcra};
use crate::clock::Clock;

/// From this many buckets on, those that have filled again are forgotten.
const TIDY_FROM: usize = 10_000;

/// Clones share their buckets.
#[derive(Clone)]
pub struct LocalLimiter {
    buckets: Arc<Mutex<Buckets>>,
    clock: Arc<dyn Clock>,
}

struct Buckets {
    /// Theoretical arrival time of the next request.
    times: HashMap<String, i64>,
    tidy_at: usize,
}

impl LocalLimiter {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let buckets = Buckets { times: HashMap::new(), tidy_at: TIDY_FROM };
        Self { buckets: Arc::new(Mutex::new(buckets)), clock }
    }

    fn now(&self) -> i64 {
        self.clock.now().0.saturating_mul(1_000)
    }
}

impl Buckets {
    /// What is stored now becomes what `next` makes of it, if that is anything.
    fn update<T>(&mut self, key: &str, now: i64, next: impl FnOnce(i64) -> (T, Option<i64>)) -> T {
        if let Some(stored) = self.times.get_mut(key) {
            let (answer, time) = next(*stored);
            *stored = time.unwrap_or(*stored);
            return answer;
        }
        let (answer, time) = next(0);
        if let Some(time) = time {
            self.insert(key, time, now);
        }
        answer
    }

    fn insert(&mut self, key: &str, time: i64, now: i64) {
        if self.times.len() >= self.tidy_at {
            self.times.retain(|_, time| *time > now);
            self.tidy_at = TIDY_FROM.max(self.times.len() * 2);
        }
        self.times.insert(key.to_owned(), time);
    }
}

#[async_trait]
impl Limiter for LocalLimiter {
    async fn take(&self, bucket: &Bucket, cost: u32, patience: Duration) -> Result<Turn, LimitError> {
        let now = self.now();
        let take = |stored| gcra::take(stored, now, bucket, cost, patience);
        Ok(self.buckets.lock().update(&bucket.key, now, take))
    }

    async fn rest(&self, bucket: &Bucket, rest: Duration) -> Result<(), LimitError> {
        let now = self.now();
        let rest = |stored| ((), Some(gcra::rest(stored, now, bucket, rest)));
        self.buckets.lock().update(&bucket.key, now, rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{FakeClock, SystemClock};
    use crate::testing::limits_contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_the_contract() {
        limits_contract(Arc::new(LocalLimiter::new(Arc::new(SystemClock)))).await;
    }

    #[tokio::test]
    async fn buckets_that_are_full_again_are_forgotten() {
        let clock = Arc::new(FakeClock::at(1));
        let limiter = LocalLimiter::new(clock.clone());
        let bucket = |number: usize| Bucket { key: number.to_string(), interval: 1_000, burst: 1 };
        for number in 0..TIDY_FROM {
            limiter.take(&bucket(number), 1, Duration::ZERO).await.unwrap();
        }
        clock.advance(Duration::from_secs(1));
        limiter.take(&bucket(TIDY_FROM), 1, Duration::ZERO).await.unwrap();
        assert_eq!(limiter.buckets.lock().times.len(), 1);
    }
}
