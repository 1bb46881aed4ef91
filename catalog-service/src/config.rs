//! Settings of the catalog service.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where manifests come from.
///
/// | setting | default | meaning |
/// | --- | --- | --- |
/// | `built_in` | true | serve the manifests that are compiled in |
/// | `directories` | none | further manifests; a later one replaces an earlier one with the same key |
/// | `poll_ms` | 2000 | how often the directories are looked at; 0 never |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub built_in: bool,
    pub directories: Vec<PathBuf>,
    pub poll_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { built_in: true, directories: Vec::new(), poll_ms: 2_000 }
    }
}

impl Config {
    /// How often the directories are looked at, if they are.
    pub fn poll(&self) -> Option<Duration> {
        (self.poll_ms > 0 && !self.directories.is_empty()).then(|| Duration::from_millis(self.poll_ms))
    }
}
