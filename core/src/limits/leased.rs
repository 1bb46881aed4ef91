//! Tokens of fast buckets, taken in handfuls: one question for as many requests as go in 50 ms.
//!
//! What is not used within that time is given up, so a bucket never lets more through than its rate, and loses a handful
//! at most.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Bucket, LimitError, Limiter, Turn, to_micros};

/// A handful is used within this time.
const AHEAD: Duration = Duration::from_millis(50);
/// Fewer tokens than this in that time are asked for one by one.
const PAYS_FROM: u32 = 4;
const BUCKETS: u64 = 10_000;

pub struct LeasedLimiter<L> {
    inner: L,
    hands: Cache<String, Arc<Mutex<Hand>>>,
}

#[derive(Default)]
struct Hand {
    tokens: u32,
    until: Option<Instant>,
}

impl Hand {
    fn take(&mut self) -> bool {
        let lives = self.until.is_some_and(|until| Instant::now() < until);
        if !lives || self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }
}

impl<L: Limiter> LeasedLimiter<L> {
    pub fn new(inner: L) -> Self {
        let hands = Cache::builder().max_capacity(BUCKETS).time_to_idle(Duration::from_secs(60)).build();
        Self { inner, hands }
    }

    fn handful(bucket: &Bucket) -> u32 {
        let flow = u32::try_from(to_micros(AHEAD) / bucket.interval).unwrap_or(u32::MAX);
        // Never a whole burst: the other executors want some of it.
        flow.min(bucket.burst / 4)
    }
}

#[async_trait]
impl<L: Limiter> Limiter for LeasedLimiter<L> {
    async fn take(&self, bucket: &Bucket, cost: u32, patience: Duration) -> Result<Turn, LimitError> {
        let handful = Self::handful(bucket);
        if cost != 1 || handful < PAYS_FROM {
            return self.inner.take(bucket, cost, patience).await;
        }
        let hand = self.hands.get_with_by_ref(&bucket.key, Arc::default);
        // Whoever comes while a handful is being fetched gets its token from it.
        let mut hand = hand.lock().await;
        if hand.take() {
            return Ok(Turn::Now { remaining: hand.tokens });
        }
        let began = Instant::now();
        match self.inner.take(bucket, handful, Duration::ZERO).await? {
            Turn::Now { remaining } => {
                *hand = Hand { tokens: handful - 1, until: Some(began + AHEAD) };
                Ok(Turn::Now { remaining: remaining.saturating_add(hand.tokens) })
            }
            // Near the limit every token counts.
            Turn::After(_) | Turn::TooLate(_) => self.inner.take(bucket, 1, patience).await,
        }
    }

    async fn rest(&self, bucket: &Bucket, rest: Duration) -> Result<(), LimitError> {
        self.hands.invalidate(&bucket.key);
        self.inner.rest(bucket, rest).await
    }
}
