//! Where the time of a call goes.

use std::time::Duration;

use metrics::Histogram;

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
    fn stages_stand_in_their_places() {
        for (at, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, at, "{}", stage.as_str());
        }
    }
}
