//! What an executor counts on every call. Each handle is looked up once: by its name and labels that costs more than
//! counting does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram};
use plugboard_core::error::ErrorCode;
use plugboard_core::manifest::Effect;
use plugboard_core::telemetry::metrics::Stages;

/// Ends besides the error codes.
const OK: &str = "OK";
const REPLAYED: &str = "REPLAYED";

const CODES: usize = ErrorCode::ALL.len() + 2;
const EFFECTS: usize = 4;

/// How a job ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    Ok,
    /// Its outcome was known from before.
    Replayed,
    Failed(ErrorCode),
}

impl Ended {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => OK,
            Self::Replayed => REPLAYED,
            Self::Failed(code) => code.as_str(),
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Failed(code) => code as usize,
            Self::Ok => ErrorCode::ALL.len(),
            Self::Replayed => ErrorCode::ALL.len() + 1,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Meters(Arc<Handles>);

pub(crate) struct Handles {
    pub(crate) stages: Stages,
    in_flight: Gauge,
    /// The same number, to be read.
    running: AtomicUsize,
    pub(crate) repeats: Counter,
    pub(crate) limit_wait: Histogram,
    pub(crate) limited: Counter,
    executions: [[OnceLock<Counter>; EFFECTS]; CODES],
}

impl Default for Meters {
    fn default() -> Self {
        Self(Arc::new(Handles {
            stages: Stages::default(),
            in_flight: metrics::gauge!("plugboard_executor_in_flight"),
            running: AtomicUsize::default(),
            repeats: metrics::counter!("plugboard_repeats_total"),
            limit_wait: metrics::histogram!("plugboard_limit_wait_seconds"),
            limited: metrics::counter!("plugboard_limited_total"),
            executions: std::array::from_fn(|_| Default::default()),
        }))
    }
}

impl std::ops::Deref for Meters {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.0
    }
}

impl Handles {
    pub(crate) fn begun(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.in_flight.increment(1.0);
    }

    pub(crate) fn over(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.in_flight.decrement(1.0);
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    pub(crate) fn ended(&self, ended: Ended, effect: Effect) {
        let counter = self.executions.get(ended.place()).and_then(|row| row.get(effect as usize));
        let Some(counter) = counter else { return };
        let counter = counter.get_or_init(
            || metrics::counter!("plugboard_executions_total", "code" => ended.as_str(), "effect" => effect.as_str()),
        );
        counter.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_place() {
        let all = ErrorCode::ALL.into_iter().map(Ended::Failed).chain([Ended::Ok, Ended::Replayed]);
        let places: Vec<usize> = all.map(Ended::place).collect();
        assert_eq!(places, (0..CODES).collect::<Vec<_>>());
        for effect in [Effect::Read, Effect::Idempotent, Effect::Keyed, Effect::Once] {
            assert!((effect as usize) < EFFECTS);
        }
    }
}
