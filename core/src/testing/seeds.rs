//! Seeded runs: chance that repeats itself, and the search for a seed that fails.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::{Clock, Millis};

/// splitmix64: small, fast, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// From 0 up to, but not including, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True in so many of ten thousand draws.
    pub fn happens(&mut self, of_ten_thousand: u32) -> bool {
        self.below(10_000) < u64::from(of_ten_thousand)
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// At least `least`, below `end`.
    pub fn millis(&mut self, least: u64, end: u64) -> Duration {
        Duration::from_millis(least + self.below(end - least))
    }
}

thread_local! {
    static SOURCE: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// What this thread's production code draws from now on comes from here; `None`: from anywhere.
pub fn draw_from(source: Option<Random>) {
    SOURCE.set(source);
}

/// `None`: this thread draws from anywhere.
pub fn drawn<T>(draw: impl FnOnce(&mut Random) -> T) -> Option<T> {
    SOURCE.with_borrow_mut(|source| source.as_mut().map(draw))
}

/// When every run begins.
const BEGINNING: Millis = Millis(1_800_000_000_000);

/// The time of a run, which is tokio's own, as a process sees it whose clock is off by `skew` milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    pub began: Instant,
    pub skew: i64,
}

impl Clock for RunClock {
    fn now(&self) -> Millis {
        Millis(BEGINNING.plus(self.began.elapsed()).0 + self.skew)
    }
}

/// Runs seeds from 0 on all processors until one fails, or `end`: the lowest that failed, and what it found. `begin` is
/// called once on each thread.
pub fn search<S>(
    end: u64,
    begin: impl Fn() -> S + Sync,
    run: impl Fn(&S, u64) -> Vec<String> + Sync,
) -> Option<(u64, Vec<String>)> {
    let (next, first) = (AtomicU64::new(0), Mutex::new(None::<(u64, Vec<String>)>));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let stage = begin();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || first.lock().as_ref().is_some_and(|(found, _)| *found < seed) {
                        return;
                    }
                    let violations = run(&stage, seed);
                    let mut first = first.lock();
                    if !violations.is_empty() && first.as_ref().is_none_or(|(found, _)| seed < *found) {
                        *first = Some((seed, violations));
                    }
                }
            });
        }
    });
    first.into_inner()
}

/// So many seeds as usual, or as `SIMULATION_SEEDS` says. A build that is not optimised has time for a twentieth.
pub fn seeds(usual: u64) -> u64 {
    let usual = if cfg!(debug_assertions) { usual / 20 } else { usual };
    std::env::var("SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}
