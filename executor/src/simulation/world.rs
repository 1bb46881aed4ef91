//! What all parts of a run share: time, chance, the trace, and whether there are faults at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plugboard_core::clock::Clock;
use plugboard_core::testing::{Random, RunClock};
use tokio::time::Instant;

use super::trace::Trace;
use super::weather::{FAULTS, Weather};

pub(super) struct World {
    pub(super) weather: Weather,
    began: Instant,
    random: Mutex<Random>,
    trace: Mutex<Trace>,
    violations: Mutex<Vec<String>>,
}

impl World {
    pub(super) fn new(weather: Weather, random: Random, trace: Trace) -> Arc<Self> {
        Arc::new(Self {
            weather,
            began: Instant::now(),
            random: Mutex::new(random),
            trace: Mutex::new(trace),
            violations: Mutex::default(),
        })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn is_calm(&self) -> bool {
        self.elapsed() >= FAULTS
    }

    /// Draws a fault. Never one after the faults have ended.
    pub(super) fn fault(&self, of_ten_thousand: u32) -> bool {
        !self.is_calm() && self.random.lock().happens(of_ten_thousand)
    }

    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.random.lock())
    }

    pub(super) fn note(&self, actor: &str, what: &str, about: &str) {
        self.trace.lock().note(self.elapsed().as_millis(), actor, what, about);
    }

    /// Something happened that never may.
    pub(super) fn violated(&self, what: String) {
        self.note("check", "violation", &what);
        self.violations.lock().push(what);
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    pub(super) fn hash(&self) -> u64 {
        self.trace.lock().hash()
    }

    pub(super) fn seen(&self) -> BTreeSet<String> {
        self.trace.lock().seen().clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.trace.lock().lines().to_vec()
    }

    /// A clock that is off by so many milliseconds.
    pub(super) fn clock(self: &Arc<Self>, skew: i64) -> Arc<dyn Clock> {
        Arc::new(RunClock { began: self.began, skew })
    }
}
