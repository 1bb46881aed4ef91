//! Whether a service can do its work now, part by part.

use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Up,
    /// The service does its work without it, less well.
    Reduced(&'static str),
    Down(&'static str),
}

impl Health {
    /// Of a part that is there or not.
    pub fn up_if(up: bool, otherwise: &'static str) -> Self {
        if up { Self::Up } else { Self::Down(otherwise) }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Up => "ok",
            Self::Reduced(why) | Self::Down(why) => why,
        }
    }
}

type Look = Arc<dyn Fn() -> Health + Send + Sync>;

/// The parts of one service. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness {
    parts: Vec<(&'static str, Look)>,
    /// Fires when the service is about to stop.
    leaving: CancellationToken,
}

/// What is answered to whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub ready: bool,
    pub parts: indexmap::IndexMap<&'static str, &'static str>,
}

impl Report {
    /// Of a service that does not have its parts yet.
    pub fn starting() -> Self {
        Self { ready: false, parts: [("process", "starting")].into_iter().collect() }
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(name, _)| name)).finish()
    }
}

impl Readiness {
    /// `leaving`: see [`crate::lifecycle::Lifecycle::leaving`].
    pub fn new(leaving: CancellationToken) -> Self {
        Self { parts: Vec::new(), leaving }
    }

    /// Another part. `look` is asked often and must not wait.
    #[must_use]
    pub fn with(mut self, name: &'static str, look: impl Fn() -> Health + Send + Sync + 'static) -> Self {
        self.parts.push((name, Arc::new(look)));
        self
    }

    pub fn is_ready(&self) -> bool {
        !self.leaving.is_cancelled() && self.parts.iter().all(|(_, look)| !matches!(look(), Health::Down(_)))
    }

    pub fn report(&self) -> Report {
        let seen: Vec<(&'static str, Health)> = self.parts.iter().map(|(name, look)| (*name, look())).collect();
        let leaving = self.leaving.is_cancelled();
        let ready = !leaving && seen.iter().all(|(_, health)| !matches!(health, Health::Down(_)));
        let process = leaving.then_some(("process", "stopping"));
        Report { ready, parts: seen.into_iter().map(|(name, health)| (name, health.as_str())).chain(process).collect() }
    }

    /// Sets `plugboard_dependency_up` to what is so now.
    pub fn measure(&self) {
        for (name, look) in &self.parts {
            let up = if look() == Health::Up { 1.0 } else { 0.0 };
            metrics::gauge!("plugboard_dependency_up", "dependency" => *name).set(up);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_down_is_named() {
        let leaving = CancellationToken::new();
        let readiness = Readiness::new(leaving.clone())
            .with("nats", || Health::Up)
            .with("redis", || Health::Reduced("away: each process keeps the limits for itself"));
        assert!(readiness.is_ready());
        let broken = readiness.clone().with("auth", || Health::up_if(false, "no connection"));
        assert!(!broken.is_ready());
        let report = serde_json::to_value(broken.report()).unwrap();
        assert_eq!((&report["ready"], &report["parts"]["auth"]), (&false.into(), &"no connection".into()));
        assert_eq!(report["parts"]["nats"], "ok");
        leaving.cancel();
        assert!(!readiness.is_ready());
        let report = serde_json::to_value(readiness.report()).unwrap();
        assert_eq!((&report["ready"], &report["parts"]["process"]), (&false.into(), &"stopping".into()));
    }
}
