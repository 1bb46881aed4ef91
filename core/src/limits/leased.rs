//! Tokens of fast buckets, taken in handfuls: one question for as many requests as are expected.
//!
//! A handful is sized by the pace at which the last one was used, so that one executor takes little that the others would miss.
//! What is not used within its time is given up: a bucket never lets more through than its rate, only later. How much later
//! is bounded twice: fifty milliseconds of the flow for fifty milliseconds, or a hundredth of a burst for half a second.
//!
//! While calls go on, the next handful is fetched before the last is at its end, so that nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Bucket, LimitError, Limiter, Turn, to_micros};

/// A handful is used within this time.
const AHEAD: Duration = Duration::from_millis(50);
/// A small one within this.
const AHEAD_OF_FEW: Duration = Duration::from_millis(500);
/// Small: this part of a burst. A vendor does not notice when so few come together with what follows.
const FEW: u32 = 100;
/// The next handful is fetched when of the last one this part is left, of its tokens or of its time.
const LEFT: u32 = 8;
/// How long a bucket without enough for a handful is asked by each call for itself.
const DRY: Duration = AHEAD;
/// Buckets that are remembered before those that nobody uses are forgotten.
const BUCKETS: usize = 10_000;
/// How long one is not used until then.
const IDLE: Duration = Duration::from_secs(60);

pub struct LeasedLimiter<L> {
    inner: Arc<L>,
    lines: Mutex<Lines>,
}

/// By the bucket's key.
struct Lines {
    known: HashMap<String, Arc<Line>>,
    forget_at: usize,
}

impl Lines {
    fn of(&mut self, key: &str) -> Arc<Line> {
        if let Some(line) = self.known.get(key) {
            return line.clone();
        }
        if self.known.len() >= self.forget_at {
            let now = Instant::now();
            self.known.retain(|_, line| !line.is_idle(now));
            // So that the look costs little for each that comes, however many are in use.
            self.forget_at = BUCKETS.max(self.known.len() * 2);
        }
        self.known.entry_ref(key).or_default().clone()
    }
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

#[derive(Debug, Clone, Copy)]
struct Hand {
    tokens: u32,
    /// As many as it had at first.
    size: u32,
    since: Instant,
    life: Duration,
}

impl Hand {
    fn new(size: u32, since: Instant, bounds: Bounds) -> Self {
        Self { tokens: size, size, since, life: bounds.life(size) }
    }

    fn has(&self, now: Instant) -> bool {
        self.tokens > 0 && now < self.since + self.life
    }

    fn take(&mut self, now: Instant) -> bool {
        let has = self.has(now);
        self.tokens -= u32::from(has);
        has
    }

    /// Of one token there is no part to fetch the next at.
    fn nears_its_end(&self, now: Instant) -> bool {
        self.size > 1 && (self.tokens <= self.size / LEFT || now + self.life / LEFT >= self.since + self.life)
    }

    /// What would be used in a life at the pace of this one, and a quarter; twice its size at most.
    fn next_size(&self, now: Instant, bounds: Bounds) -> u32 {
        let pace = self.life.as_secs_f64() / (now - self.since).as_secs_f64().max(f64::EPSILON);
        let used = f64::from(self.size - self.tokens);
        // Casts saturate.
        ((used * pace * 1.25) as u32).min(self.size.saturating_mul(2)).clamp(1, bounds.most)
    }
}

/// The handfuls of a bucket, and those who wait for one.
///
/// Nobody stands in line for the lock: where each waits for the one before, a busy process lets them in one by one, whenever
/// a worker comes to it, and whoever comes meanwhile stands behind them. Such a line does not dissolve.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
    fetched: Notify,
}

impl Line {
    fn is_idle(&self, now: Instant) -> bool {
        let state = self.state.lock();
        !state.fetching && state.hand.is_none_or(|hand| now >= hand.since + IDLE)
    }
}

#[derive(Default)]
struct State {
    hand: Option<Hand>,
    next: Option<Hand>,
    dry_until: Option<Instant>,
    /// Somebody fetches a handful at this moment.
    fetching: bool,
}

impl State {
    fn take(&mut self, now: Instant) -> Option<u32> {
        if self.hand.is_none_or(|hand| !hand.has(now))
            && let Some(next) = self.next.take()
        {
            self.hand = Some(next);
        }
        let hand = self.hand.as_mut()?;
        hand.take(now).then_some(hand.tokens)
    }

    fn next_size(&self, now: Instant, bounds: Bounds) -> u32 {
        self.hand.map_or(1, |hand| hand.next_size(now, bounds))
    }

    fn dries(&mut self, now: Instant) {
        (self.hand, self.dry_until) = (None, Some(now + DRY));
    }

    fn is_dry(&self, now: Instant) -> bool {
        self.dry_until.is_some_and(|until| now < until)
    }
}

/// What a call does about its token.
enum Way {
    Has { remaining: u32 },
    Asks,
    Waits,
    Fetches { size: u32 },
}

/// One fetches, and the others look again when it ends, however it does.
struct Fetching(Arc<Line>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.state.lock().fetching = false;
        self.0.fetched.notify_waiters();
    }
}

impl<L: Limiter> LeasedLimiter<L> {
    pub fn new(inner: L) -> Self {
        let lines = Lines { known: HashMap::new(), forget_at: BUCKETS };
        Self { inner: Arc::new(inner), lines: Mutex::new(lines) }
    }

    fn way(&self, line: &Arc<Line>, bucket: &Bucket, bounds: Bounds) -> Way {
        let now = Instant::now();
        let mut state = line.state.lock();
        let Some(remaining) = state.take(now) else {
            return match state.is_dry(now) {
                true => Way::Asks,
                false if std::mem::replace(&mut state.fetching, true) => Way::Waits,
                false => Way::Fetches { size: state.next_size(now, bounds) },
            };
        };
        let ends = state.next.is_none() && state.hand.is_some_and(|hand| hand.nears_its_end(now));
        if ends && !std::mem::replace(&mut state.fetching, true) {
            let size = state.next_size(now, bounds);
            drop(state);
            let fetching = Fetching(line.clone());
            tokio::spawn(fetch_next(self.inner.clone(), fetching, bucket.clone(), size, bounds));
        }
        Way::Has { remaining }
    }

    /// Takes a handful, and a token from it.
    async fn fetch(
        &self,
        fetching: Fetching,
        bucket: &Bucket,
        size: u32,
        bounds: Bounds,
        patience: Duration,
    ) -> Result<Turn, LimitError> {
        let line = &fetching.0;
        let since = Instant::now();
        if size == 1 {
            // It is no handful, so whoever waits need not wait for it.
            line.state.lock().hand = Some(Hand { tokens: 0, ..Hand::new(1, since, bounds) });
            drop(fetching);
            return self.inner.take(bucket, 1, patience).await;
        }
        let taken = self.inner.take(bucket, size, Duration::ZERO).await;
        if let Ok(Turn::Now { remaining }) = taken {
            let mut hand = Hand::new(size, since, bounds);
            hand.tokens -= 1;
            line.state.lock().hand = Some(hand);
            return Ok(Turn::Now { remaining: remaining.saturating_add(hand.tokens) });
        }
        // Near the limit every token counts.
        line.state.lock().dries(since);
        drop(fetching);
        taken?;
        self.inner.take(bucket, 1, patience).await
    }
}

/// The handful after the one that is used.
async fn fetch_next<L: Limiter>(inner: Arc<L>, fetching: Fetching, bucket: Bucket, size: u32, bounds: Bounds) {
    let since = Instant::now();
    // Whatever else it says, the call that finds nothing left will hear it.
    if let Ok(Turn::Now { .. }) = inner.take(&bucket, size, Duration::ZERO).await {
        fetching.0.state.lock().next = Some(Hand::new(size, since, bounds));
    }
}

#[async_trait]
impl<L: Limiter> Limiter for LeasedLimiter<L> {
    async fn take(&self, bucket: &Bucket, cost: u32, patience: Duration) -> Result<Turn, LimitError> {
        let bounds = Bounds::of(bucket);
        if cost != 1 || bounds.most < 2 {
            return self.inner.take(bucket, cost, patience).await;
        }
        let line = self.lines.lock().of(&bucket.key);
        loop {
            // Before the look, so that no handful that comes in between is missed.
            let fetched = line.fetched.notified();
            match self.way(&line, bucket, bounds) {
                Way::Has { remaining } => return Ok(Turn::Now { remaining }),
                Way::Asks => return self.inner.take(bucket, 1, patience).await,
                Way::Waits => fetched.await,
                Way::Fetches { size } => {
                    return self.fetch(Fetching(line.clone()), bucket, size, bounds, patience).await;
                }
            }
        }
    }

    async fn rest(&self, bucket: &Bucket, rest: Duration) -> Result<(), LimitError> {
        self.lines.lock().known.remove(&bucket.key);
        self.inner.rest(bucket, rest).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

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
            let mut hand = Hand::new(size, now, bounds);
            assert!(hand.take(now + life - Duration::from_millis(1)));
            assert!(!hand.take(now + life));
            assert_eq!(hand.tokens, size - 1);
        }
    }
    /// Takes a while for each question; has tokens for as long as it is not dry.
    #[derive(Default)]
    struct Slow {
        dry: AtomicBool,
        away: AtomicBool,
    }

    const QUESTION: Duration = Duration::from_millis(20);

    #[async_trait]
    impl Limiter for Arc<Slow> {
        async fn take(&self, _: &Bucket, cost: u32, _: Duration) -> Result<Turn, LimitError> {
            tokio::time::sleep(QUESTION).await;
            if self.away.load(Ordering::Relaxed) {
                return Err(LimitError("away".to_owned()));
            }
            let enough = cost == 1 || !self.dry.load(Ordering::Relaxed);
            Ok(if enough { Turn::Now { remaining: 0 } } else { Turn::TooLate(QUESTION) })
        }

        async fn rest(&self, _: &Bucket, _: Duration) -> Result<(), LimitError> {
            Ok(())
        }
    }

    /// The longest that one of many calls at once waits.
    async fn longest(limiter: &Arc<LeasedLimiter<Arc<Slow>>>, bucket: &Bucket) -> Duration {
        let began = Instant::now();
        let calls = (0..500).map(|_| {
            let (limiter, bucket) = (limiter.clone(), bucket.clone());
            tokio::spawn(async move {
                let _ = limiter.take(&bucket, 1, Duration::ZERO).await;
            })
        });
        futures::future::join_all(calls.collect::<Vec<_>>()).await;
        began.elapsed()
    }

    fn fast() -> Bucket {
        Bucket { key: "ozon:all:acc_1".to_owned(), interval: 10, burst: 100_000 }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_while_calls_go_on() {
        let limiter = LeasedLimiter::new(Arc::new(Slow::default()));
        let bucket = fast();
        for number in 0..2_000 {
            let began = Instant::now();
            limiter.take(&bucket, 1, Duration::ZERO).await.unwrap();
            // The first handfuls are used up sooner than the next can come.
            assert!(number < 500 || began.elapsed().is_zero(), "call {number} waited");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_is_forgotten() {
        let limiter = LeasedLimiter::new(Arc::new(Counted::default()));
        let take = async |number: usize| {
            let bucket = Bucket { key: format!("ozon:all:acc_{number}"), ..fast() };
            limiter.take(&bucket, 1, Duration::ZERO).await.unwrap();
            limiter.lines.lock().known.len()
        };
        for number in 0..BUCKETS + 1_000 {
            assert_eq!(take(number).await, number + 1, "what is in use is not");
        }
        tokio::time::sleep(IDLE).await;
        for number in BUCKETS..BUCKETS * 2 + 2_000 {
            assert!(take(number).await <= BUCKETS * 2 + 2_000);
        }
        assert!(limiter.lines.lock().known.len() <= BUCKETS + 2_000);
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_do_not_stand_in_line() {
        let slow = Arc::new(Slow::default());
        let limiter = Arc::new(LeasedLimiter::new(slow.clone()));
        let bucket = fast();
        // One, two, four ... until there are enough.
        assert!(longest(&limiter, &bucket).await <= QUESTION * 10);
        for trouble in [&slow.dry, &slow.away] {
            trouble.store(true, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(longest(&limiter, &bucket).await <= QUESTION * 3);
            trouble.store(false, Ordering::Relaxed);
        }
    }
}
