//! What a check has found.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// What a finding is about, in the order in which findings are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Gateway,
    Tls,
    Nats,
    Queue,
    Redis,
    Keys,
    Clock,
    Catalog,
    Egress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// It was not looked at; the finding says why.
    Skipped,
    /// Calls go on; something is to be done all the same.
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub part: Part,
    pub state: State,
    pub seen: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Part {
    pub const ALL: [Self; 9] = [
        Self::Gateway,
        Self::Tls,
        Self::Nats,
        Self::Queue,
        Self::Redis,
        Self::Keys,
        Self::Clock,
        Self::Catalog,
        Self::Egress,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Tls => "tls",
            Self::Nats => "nats",
            Self::Queue => "queue",
            Self::Redis => "redis",
            Self::Keys => "keys",
            Self::Clock => "clock",
            Self::Catalog => "catalog",
            Self::Egress => "egress",
        }
    }

    pub fn ok(self, seen: impl Into<String>) -> Finding {
        Finding { part: self, state: State::Ok, seen: seen.into(), remedy: None }
    }

    pub fn skipped(self, why: impl Into<String>) -> Finding {
        Finding { part: self, state: State::Skipped, seen: why.into(), remedy: None }
    }

    pub fn warn(self, seen: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { part: self, state: State::Warn, seen: seen.into(), remedy: Some(remedy.into()) }
    }

    pub fn fail(self, seen: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { part: self, state: State::Fail, seen: seen.into(), remedy: Some(remedy.into()) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no part of this name; there are {}", Part::ALL.map(Part::as_str).join(", "))]
pub struct UnknownPart;

impl FromStr for Part {
    type Err = UnknownPart;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|part| part.as_str() == text).ok_or(UnknownPart)
    }
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Nothing of it has to be mended for calls to go well.
pub fn is_healthy(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.state != State::Fail)
}
