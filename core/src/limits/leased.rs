//! Tokens of fast buckets, taken in handfuls: one question for as many requests as are expected.
//!
//! A handful is sized by what was used of the last one, so that one executor takes little that the others would miss. What
//! is not used within its time is given up: a bucket never lets more through than its rate, only later. How much later
//! is bounded twice: fifty milliseconds of the flow for fifty milliseconds, or a hundredth of a burst for half a second.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Bucket, LimitError, Limiter, Turn, to_micros};

/// A handful is used within this time.
const AHEAD: Duration = Duration::from_millis(50);
/// A small one within this.
const AHEAD_OF_FEW: Duration = Duration::from_millis(500);
/// Small: this part of a burst. A vendor does not notice when so few come together with what follows.
const FEW: u32 = 100;
const BUCKETS: u64 = 10_000;

pub struct LeasedLimiter<L> {
    inner: L,
    hands: Cache<String, Arc<Mutex<Hand>>>,
}

/// How large handfuls may be, and how long they live.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    few: u32,
    most: u32,
}

impl Bounds {
    fn of(bucket: &Bucket) -> Self {
        let few = bucket.burst / FEW;
        let flow = u32::try_from(to_micros(AHEAD) / bucket.interval).unwrap_or(u32::MAX);
        // Never a whole burst: the other executors want some of it.
        Self { few, most: flow.max(few).min(bucket.burst / 4) }
    }

    fn life(self, handful: u32) -> Duration {
        if handful <= self.few { AHEAD_OF_FEW } else { AHEAD }
    }
}

#[derive(Default)]
struct Hand {
    tokens: u32,
    /// As many as it had at first.
    size: u32,
    until: Option<Instant>,
}

impl Hand {
    fn new(size: u32, until: Instant) -> Self {
        Self { tokens: size, size, until: Some(until) }
    }

    fn take(&mut self, now: Instant) -> bool {
        let lives = self.tokens > 0 && self.until.is_some_and(|until| now < until);
        self.tokens -= u32::from(lives);
        lives
    }

    /// The size of the next handful: twice this one if it was used up before its time, what was used and a quarter if it
    /// was not, one after a rest.
    fn next_size(&self, now: Instant, bounds: Bounds) -> u32 {
        let rested = bounds.life(self.size);
        let wanted = match self.until {
            Some(until) if now < until => self.size.saturating_mul(2),
            Some(until) if now < until + rested => {
                let used = self.size - self.tokens;
                used + used / 4
            }
            _ => 1,
        };
        wanted.clamp(1, bounds.most)
    }
}

impl<L: Limiter> LeasedLimiter<L> {
    pub fn new(inner: L) -> Self {
        let hands = Cache::builder().max_capacity(BUCKETS).time_to_idle(Duration::from_secs(60)).build();
        Self { inner, hands }
    }
}

#[async_trait]
impl<L: Limiter> Limiter for LeasedLimiter<L> {
    async fn take(&self, bucket: &Bucket, cost: u32, patience: Duration) -> Result<Turn, LimitError> {
        let bounds = Bounds::of(bucket);
        if cost != 1 || bounds.most < 2 {
            return self.inner.take(bucket, cost, patience).await;
        }
        let hand = self.hands.get_with_by_ref(&bucket.key, Arc::default);
        // Whoever comes while a handful is being fetched gets its token from it.
        let mut hand = hand.lock().await;
        let now = Instant::now();
        if hand.take(now) {
            return Ok(Turn::Now { remaining: hand.tokens });
        }
        let size = hand.next_size(now, bounds);
        let mut taken = (size, self.inner.take(bucket, size, if size == 1 { patience } else { Duration::ZERO }).await?);
        if size > 1 && !matches!(taken.1, Turn::Now { .. }) {
            // Near the limit every token counts.
            taken = (1, self.inner.take(bucket, 1, patience).await?);
        }
        let (size, turn) = taken;
        let Turn::Now { remaining } = turn else {
            *hand = Hand::default();
            return Ok(turn);
        };
        *hand = Hand::new(size, now + bounds.life(size));
        hand.tokens -= 1;
        Ok(Turn::Now { remaining: remaining.saturating_add(hand.tokens) })
    }

    async fn rest(&self, bucket: &Bucket, rest: Duration) -> Result<(), LimitError> {
        self.hands.invalidate(&bucket.key);
        self.inner.rest(bucket, rest).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Says yes to everything, and counts.
    #[derive(Default)]
    struct Counted {
        questions: AtomicU32,
        tokens: AtomicU32,
    }

    #[async_trait]
    impl Limiter for Arc<Counted> {
        async fn take(&self, _: &Bucket, cost: u32, _: Duration) -> Result<Turn, LimitError> {
            self.questions.fetch_add(1, Ordering::Relaxed);
            self.tokens.fetch_add(cost, Ordering::Relaxed);
            Ok(Turn::Now { remaining: 0 })
        }

        async fn rest(&self, _: &Bucket, _: Duration) -> Result<(), LimitError> {
            Ok(())
        }
    }

    /// Calls at an even pace; how many questions were asked and tokens taken.
    async fn spend(per_second: u32, calls: u32, pause: Duration) -> (u32, u32) {
        let counted = Arc::new(Counted::default());
        let limiter = LeasedLimiter::new(counted.clone());
        let bucket =
            Bucket { key: "ozon:all:acc_1".to_owned(), interval: 1_000_000 / i64::from(per_second), burst: per_second };
        for _ in 0..calls {
            limiter.take(&bucket, 1, Duration::ZERO).await.unwrap();
            tokio::time::sleep(pause).await;
        }
        (counted.questions.load(Ordering::Relaxed), counted.tokens.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_for_many_and_hardly_more_than_is_used() {
        // The limit, the calls, the pause between two; the most questions that may be asked.
        for (per_second, calls, pause, most) in [
            (1_000_000, 20_000, 1, 60),
            (1_000, 1_000, 2, 110),
            (1_000, 100, 100, 30),
            (100, 100, 20, 60),
            (100, 100, 1_200, 100),
            (10, 100, 100, 100),
        ] {
            let (questions, tokens) = spend(per_second, calls, Duration::from_millis(pause)).await;
            assert!(questions <= most, "{calls} calls, {pause} ms apart, at {per_second}/s: {questions} questions");
            let enough = calls + calls / 2 + 2 * per_second / FEW + 4;
            assert!(tokens <= enough, "{calls} calls, {pause} ms apart, at {per_second}/s: {tokens} tokens");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_used_in_time_is_given_up() {
        let bounds = Bounds { few: 10, most: 50 };
        for (size, life) in [(10, AHEAD_OF_FEW), (11, AHEAD)] {
            let now = Instant::now();
            let mut hand = Hand::new(size, now + bounds.life(size));
            assert!(hand.take(now + life - Duration::from_millis(1)));
            assert!(!hand.take(now + life));
            assert_eq!(hand.tokens, size - 1);
        }
    }
}
