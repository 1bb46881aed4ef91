//! Settings of an executor.

use std::time::Duration;

use serde::Deserialize;

/// | setting | default | meaning |
/// | --- | --- | --- |
/// | `slots` | 256 | jobs that run at once |
/// | `grace_seconds` | 25 | time for running jobs after a stop; what is left is handed back |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub slots: usize,
    pub grace_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { slots: 256, grace_seconds: 25 }
    }
}

impl Config {
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }
}
