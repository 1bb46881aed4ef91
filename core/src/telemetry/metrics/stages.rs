//! Where the time of a call goes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use metrics::Histogram;
use serde::{Deserialize, Serialize};

/// A part of a call's way, in the order in which calls take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Arguments against the manifest, and the account.
    Check,
    /// Until the queue has it.
    Publish,
    /// From there to an executor.
    Queue,
    /// Until there is a turn at the vendor's limit.
    Limit,
    /// Until the account's fields are there.
    Credentials,
    /// One try at the vendor.
    Vendor,
    /// From the vendor's last word until the outcome is written down and on its way back.
    Answer,
}

impl Stage {
    pub const ALL: [Self; 7] =
        [Self::Check, Self::Publish, Self::Queue, Self::Limit, Self::Credentials, Self::Vendor, Self::Answer];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Publish => "publish",
            Self::Queue => "queue",
            Self::Limit => "limit",
            Self::Credentials => "credentials",
            Self::Vendor => "vendor",
            Self::Answer => "answer",
        }
    }
}

/// Where the time of one call went, in microseconds. What is not known is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageTimes([u32; Stage::ALL.len()]);

impl StageTimes {
    pub fn of(&self, stage: Stage) -> Duration {
        Duration::from_micros(self.0.get(stage as usize).copied().unwrap_or_default().into())
    }

    pub fn set(&mut self, stage: Stage, took: Duration) {
        if let Some(time) = self.0.get_mut(stage as usize) {
            *time = micros(took);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|time| *time == 0)
    }

    /// For the wire, without the zeros at its end.
    pub fn as_micros(&self) -> &[u32] {
        let length = self.0.iter().rposition(|time| *time > 0).map_or(0, |last| last + 1);
        &self.0[..length]
    }

    /// What [`Self::as_micros`] made. A later version may know of more stages than this one.
    pub fn from_micros(micros: &[u32]) -> Self {
        let mut times = Self::default();
        times.0.iter_mut().zip(micros).for_each(|(time, told)| *time = *told);
        times
    }
}

/// An hour at most, which no call takes.
fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}

/// The stages of one call: each counts among all calls', and is kept for this one.
#[derive(Debug)]
pub struct Stopwatch<'a> {
    stages: &'a Stages,
    times: [AtomicU32; Stage::ALL.len()],
}

impl<'a> Stopwatch<'a> {
    pub fn new(stages: &'a Stages) -> Self {
        Self { stages, times: Default::default() }
    }

    /// A stage that a call passes more than once adds up.
    pub fn record(&self, stage: Stage, took: Duration) {
        self.stages.record(stage, took);
        if let Some(time) = self.times.get(stage as usize) {
            // One call is at one place at a time; atomic, because its task may move between threads.
            time.store(time.load(Ordering::Relaxed).saturating_add(micros(took)), Ordering::Relaxed);
        }
    }

    pub fn times(&self) -> StageTimes {
        StageTimes(self.times.each_ref().map(|time| time.load(Ordering::Relaxed)))
    }
}

/// One histogram for each stage, looked up once.
#[derive(Clone)]
pub struct Stages([Histogram; 7]);

impl Default for Stages {
    fn default() -> Self {
        Self(Stage::ALL.map(|stage| metrics::histogram!("plugboard_stage_seconds", "stage" => stage.as_str())))
    }
}

impl std::fmt::Debug for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stages")
    }
}

impl Stages {
    pub fn record(&self, stage: Stage, took: Duration) {
        if let Some(histogram) = self.0.get(stage as usize) {
            histogram.record(took.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adds_up_travels() {
        let stages = Stages::default();
        let watch = Stopwatch::new(&stages);
        assert!(watch.times().is_empty());
        assert!(watch.times().as_micros().is_empty());
        for millis in [3, 4] {
            watch.record(Stage::Vendor, Duration::from_millis(millis));
        }
        let times = watch.times();
        let travelled = times.as_micros();
        assert_eq!(travelled, [0, 0, 0, 0, 0, 7_000]);
        assert_eq!(StageTimes::from_micros(travelled), times);
        assert_eq!(StageTimes::from_micros(&[1; 20]).of(Stage::Answer), Duration::from_micros(1));
    }

    #[test]
    fn stages_stand_in_their_places() {
        for (at, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, at, "{}", stage.as_str());
        }
    }
}
