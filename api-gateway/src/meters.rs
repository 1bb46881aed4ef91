//! What a gateway counts on every call. A handle is looked up once for each operation of a service, with what the call
//! has, and nothing is copied after that.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, Equivalent, HashMap};
use metrics::{Counter, Histogram};
use parking_lot::{Mutex, RwLock};
use plugboard_core::error::{CallError, ErrorCode, Origin};
use plugboard_core::telemetry::metrics::Stages;

/// Calls of what no manifest names.
const OTHER: &str = "other";
/// Enough to keep busy threads from meeting at one lock.
const SHARDS: usize = 16;

/// Why a call was refused although nothing was wrong with it: too many of its organization wait.
pub(crate) const BACKLOG: &str = "the backlog is full";
/// Likewise of a call that would wait for too long.
pub(crate) const AGE: &str = "calls have waited for too long";

pub struct Meters {
    pub(crate) stages: Stages,
    pub(crate) keys: KeyChecks,
    lines: [RwLock<HashMap<Key, Arc<Line>>>; SHARDS],
    hasher: DefaultHashBuilder,
}

pub(crate) struct KeyChecks {
    pub(crate) ok: Counter,
    pub(crate) missing: Counter,
    pub(crate) refused: Counter,
    pub(crate) unavailable: Counter,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    service: Box<str>,
    operation: Box<str>,
}

#[derive(Hash)]
struct KeyRef<'a> {
    service: &'a str,
    operation: &'a str,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.service == *key.service && *self.operation == *key.operation
    }
}

/// Of one operation.
struct Line {
    seconds: Histogram,
    ok: Counter,
    failed: Mutex<HashMap<(ErrorCode, &'static str), Counter>>,
}

impl Default for Meters {
    fn default() -> Self {
        let checks = |result| metrics::counter!("plugboard_key_checks_total", "result" => result);
        Self {
            stages: Stages::default(),
            keys: KeyChecks {
                ok: checks("ok"),
                missing: checks("missing"),
                refused: checks("refused"),
                unavailable: checks("unavailable"),
            },
            lines: std::array::from_fn(|_| RwLock::default()),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Meters {
    /// A call was answered. `service` and `operation` are a manifest's own; `None`: there is none of this name.
    pub(crate) fn answered(
        &self,
        service: Option<&str>,
        operation: Option<&str>,
        failure: Option<(ErrorCode, Origin)>,
        took: Duration,
    ) {
        let line = self.line(service.unwrap_or(OTHER), operation.unwrap_or(OTHER));
        line.seconds.record(took.as_secs_f64());
        match failure {
            None => line.ok.increment(1),
            Some((code, origin)) => {
                let of_failure =
                    || counter(service.unwrap_or(OTHER), operation.unwrap_or(OTHER), code.as_str(), origin.as_str());
                line.failed.lock().entry((code, origin.as_str())).or_insert_with(of_failure).increment(1);
            }
        }
    }

    fn line(&self, service: &str, operation: &str) -> Arc<Line> {
        let key = KeyRef { service, operation };
        // The remainder is below SHARDS.
        let shard = &self.lines[(self.hasher.hash_one(&key) % SHARDS as u64) as usize];
        if let Some(line) = shard.read().get(&key) {
            return line.clone();
        }
        let line = Arc::new(Line {
            seconds: metrics::histogram!("plugboard_call_seconds", "service" => service.to_owned()),
            ok: counter(service, operation, "OK", ""),
            failed: Mutex::default(),
        });
        let key = Key { service: service.into(), operation: operation.into() };
        shard.write().entry(key).or_insert(line).clone()
    }

    /// A call that never became a job.
    pub(crate) fn refused(&self, error: &CallError) {
        let reason = match error.origin {
            _ if error.cause.as_deref() == Some(BACKLOG) => "backlog",
            _ if error.cause.as_deref() == Some(AGE) => "age",
            Origin::Caller => "caller",
            Origin::Policy => "policy",
            Origin::Credential => "credential",
            Origin::Platform | Origin::Network | Origin::Upstream => "platform",
        };
        metrics::counter!("plugboard_refused_total", "reason" => reason).increment(1);
    }
}

fn counter(service: &str, operation: &str, code: &'static str, origin: &'static str) -> Counter {
    metrics::counter!(
        "plugboard_calls_total",
        "service" => service.to_owned(),
        "operation" => operation.to_owned(),
        "code" => code,
        "origin" => origin,
    )
}
