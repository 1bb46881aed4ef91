//! Wall-clock time arrives as an argument, so that tests decide what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time until `later`; zero when it has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Millis;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Millis(now.saturating_add(step(now)))
    }
}

/// How far the clock of this process is off: the milliseconds in the file that `PLUGBOARD_CLOCK_OFFSET` names, looked at
/// every tenth of a second. Only builds with the feature `faults` have it, for the fault campaign; in every other build it
/// is a constant.
#[cfg(feature = "faults")]
fn step(now: i64) -> i64 {
    const LOOK_EVERY: i64 = 100;
    static FILE: std::sync::LazyLock<Option<std::path::PathBuf>> =
        std::sync::LazyLock::new(|| std::env::var_os("PLUGBOARD_CLOCK_OFFSET").map(Into::into));
    static LOOKED: AtomicI64 = AtomicI64::new(0);
    static OFFSET: AtomicI64 = AtomicI64::new(0);
    let Some(file) = &*FILE else { return 0 };
    if now.saturating_sub(LOOKED.load(Ordering::Relaxed)) >= LOOK_EVERY {
        LOOKED.store(now, Ordering::Relaxed);
        let text = std::fs::read_to_string(file).unwrap_or_default();
        OFFSET.store(text.trim().parse().unwrap_or(0), Ordering::Relaxed);
    }
    OFFSET.load(Ordering::Relaxed)
}

/// It is right.
#[cfg(not(feature = "faults"))]
#[inline(always)]
const fn step(_now: i64) -> i64 {
    0
}

/// A clock that stands still until told.
#[derive(Debug, Clone, Default)]
pub struct FakeClock(Arc<AtomicI64>);

impl FakeClock {
    pub fn at(millis: i64) -> Self {
        Self(Arc::new(AtomicI64::new(millis)))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
}
