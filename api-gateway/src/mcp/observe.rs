//! Counters of the endpoint.
//!
//! | metric | labels |
//! | --- | --- |
//! | `plugboard_mcp_requests_total` | `era`, `version`, `method`, `outcome` |
//! | `plugboard_mcp_header_mismatch_total` | `method`; the alarm for clients whose headers and bodies disagree |
//!
//! Labels come from closed lists: neither tenants nor the names clients give themselves may multiply the series.

use std::sync::Arc;

use hashbrown::HashMap;
use metrics::Counter;
use parking_lot::RwLock;

use super::protocol::ProtocolVersion;

/// The methods that are counted by name.
const METHODS: [&str; 20] = [
    "tools/call",
    "tools/list",
    "server/discover",
    "initialize",
    "ping",
    "notifications/initialized",
    "notifications/cancelled",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
    "subscriptions/listen",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
];

type Key = (Option<ProtocolVersion>, &'static str, &'static str);

/// Keeps the handles: looking one up by its labels costs more than counting.
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: RwLock<HashMap<Key, Counter>>,
}

impl Counters {
    fn count(&self, version: Option<ProtocolVersion>, method: &'static str, outcome: &'static str) {
        if outcome == "header_mismatch" {
            metrics::counter!("plugboard_mcp_header_mismatch_total", "method" => method).increment(1);
        }
        let key = (version, method, outcome);
        if let Some(counter) = self.requests.read().get(&key) {
            return counter.increment(1);
        }
        let counter = metrics::counter!(
            "plugboard_mcp_requests_total",
            "era" => version.map_or("none", |version| version.era().as_str()),
            "version" => version.map_or("none", ProtocolVersion::as_str),
            "method" => method,
            "outcome" => outcome,
        );
        counter.increment(1);
        self.requests.write().insert(key, counter);
    }
}

/// One message on its way to being counted; a message whose client hung up counts as `cancelled`.
#[derive(Debug)]
pub(super) struct Tally {
    counters: Arc<Counters>,
    version: Option<ProtocolVersion>,
    method: &'static str,
    outcome: &'static str,
}

impl Tally {
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        Self { counters: Arc::clone(counters), version: None, method: "none", outcome: "cancelled" }
    }

    pub(super) fn method(&mut self, method: &str) {
        self.method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
    }

    pub(super) fn version(&mut self, version: ProtocolVersion) {
        self.version = Some(version);
    }

    pub(super) fn finish(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.counters.count(self.version, self.method, self.outcome);
    }
}
