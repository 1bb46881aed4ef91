//! What all parts of a run share: time, chance, and how bad it gets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plugboard_core::clock::Clock;
use plugboard_core::testing::{Random, RunClock};
use tokio::time::Instant;

/// How long faults are made. Afterwards everything must be well again.
pub(super) const FAULTS: Duration = Duration::from_secs(60);

/// Chances are so many of ten thousand port calls, or requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Weather {
    /// The service dies before or after what the port does.
    pub(super) crash: u32,
    /// The port does nothing and says so.
    pub(super) refused: u32,
    /// The port does it, and its answer is lost.
    pub(super) lost: u32,
    /// The port takes up to three seconds.
    pub(super) slow: u32,
    /// The service stands still for longer than a lease lives.
    pub(super) pause: u32,
    /// The vendor does not simply answer.
    pub(super) vendor: u32,
    /// When the store is away.
    pub(super) away: Option<(Duration, Duration)>,
    /// How far the clock of each service is off. Milliseconds.
    pub(super) skew: Vec<i64>,
}

impl Weather {
    pub(super) fn draw(random: &mut Random, services: usize) -> Self {
        let away = random.happens(2_000).then(|| {
            let from = random.millis(0, 50_000);
            (from, from + random.millis(500, 12_000))
        });
        Self {
            crash: random.pick(&[0, 0, 20, 100]),
            refused: random.pick(&[0, 0, 100, 800]),
            lost: random.pick(&[0, 0, 100, 800]),
            slow: random.pick(&[0, 100, 1_000]),
            pause: random.pick(&[0, 0, 10, 40]),
            vendor: random.pick(&[0, 1_000, 5_000]),
            skew: (0..services).map(|_| random.pick(&[0, 0, -1_500, 1_500])).collect(),
            away,
        }
    }
}

#[derive(Default)]
struct Seen {
    violations: Vec<String>,
    lines: Vec<String>,
    kinds: BTreeSet<String>,
    /// Accounts whose end is explained.
    explained: BTreeSet<usize>,
    durable: BTreeSet<String>,
}

pub(super) struct World {
    pub(super) weather: Weather,
    began: Instant,
    random: Mutex<Random>,
    seen: Mutex<Seen>,
}

impl World {
    pub(super) fn new(weather: Weather, random: Random) -> Arc<Self> {
        Arc::new(Self { weather, began: Instant::now(), random: Mutex::new(random), seen: Mutex::default() })
    }

    pub(super) fn is_calm(&self) -> bool {
        self.began.elapsed() >= FAULTS
    }

    pub(super) fn store_is_away(&self) -> bool {
        let now = self.began.elapsed();
        self.weather.away.is_some_and(|(from, until)| (from..until).contains(&now))
    }

    /// Draws a fault. Never one after the faults have ended.
    pub(super) fn fault(&self, of_ten_thousand: u32) -> bool {
        !self.is_calm() && self.random.lock().happens(of_ten_thousand)
    }

    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.random.lock())
    }

    pub(super) fn note(&self, actor: &str, what: &str, about: &str) {
        let mut seen = self.seen.lock();
        seen.lines.push(format!("{:>7} ms  {actor:<8} {what:<28} {about}", self.began.elapsed().as_millis()));
        if !seen.kinds.contains(what) {
            seen.kinds.insert(what.to_owned());
        }
    }

    /// Something happened that never may.
    pub(super) fn violated(&self, what: String) {
        self.note("check", "violation", &what);
        self.seen.lock().violations.push(what);
    }

    pub(super) fn explain(&self, account: usize, why: &str) {
        self.note("check", why, &format!("account {account}"));
        self.seen.lock().explained.insert(account);
    }

    pub(super) fn is_explained(&self, account: usize) -> bool {
        self.seen.lock().explained.contains(&account)
    }

    pub(super) fn keep(&self, token: &str) {
        self.seen.lock().durable.insert(token.to_owned());
    }

    pub(super) fn is_durable(&self, token: &str) -> bool {
        self.seen.lock().durable.contains(token)
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.seen.lock().violations.clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.seen.lock().lines.clone()
    }

    pub(super) fn kinds(&self) -> BTreeSet<String> {
        self.seen.lock().kinds.clone()
    }

    /// A clock that is off by so many milliseconds.
    pub(super) fn clock(&self, skew: i64) -> Arc<dyn Clock> {
        Arc::new(RunClock { began: self.began, skew })
    }
}
