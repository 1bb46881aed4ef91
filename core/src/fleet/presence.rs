//! One process as it tells of itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::ids::{AccountId, InstanceId, OrganizationId, ServiceKey};
use crate::readiness::Report;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// `gateway`, `executor`.
    pub service: String,
    pub instance: InstanceId,
    pub version: String,
    pub since: Millis,
    pub ready: bool,
    /// Each part that it stands on, and how that is.
    pub parts: Vec<(String, String)>,
    /// Of an executor.
    pub work: Option<Work>,
}

impl Presence {
    pub fn new(service: &str, instance: &InstanceId, since: Millis, report: Report) -> Self {
        let part = |(name, how): (&str, &str)| (name.to_owned(), how.to_owned());
        Self {
            service: service.to_owned(),
            instance: instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since,
            ready: report.ready,
            parts: report.parts.into_iter().map(part).collect(),
            work: None,
        }
    }
}

/// What an executor does, and what holds it up. Lists are bounded; what is left out is the least.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    pub slots: usize,
    pub in_flight: usize,
    pub breakers: Vec<Breaker>,
    pub congestions: Vec<Congestion>,
    pub crowds: Vec<Crowd>,
}

/// A host that is left alone by an organization's calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    pub organization: OrganizationId,
    pub service: ServiceKey,
    pub host: String,
    pub open_for: Duration,
    /// Until one call is let through to see; zero: it is under way.
    pub rests_for: Duration,
}

/// A vendor's limit that makes calls wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Congestion {
    /// Of the call that met it.
    pub organization: OrganizationId,
    pub service: ServiceKey,
    pub account: AccountId,
    /// As the manifest names it.
    pub bucket: String,
    pub reason: Reason,
    /// Until the next call may go.
    pub wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The manifest's numbers are used up.
    UsedUp,
    /// The vendor wants to be left alone.
    AtRest,
}

/// Calls of one organization to one connector that wait because as many as may be are under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    pub organization: OrganizationId,
    pub service: ServiceKey,
    pub most: u32,
    pub in_use: u32,
    pub waiting: u32,
}
