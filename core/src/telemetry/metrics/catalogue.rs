//! Every metric there is: its name, what it counts, and which labels it may have.

use metrics::Unit;

/// Which services count it. One process that is all of them has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Gateway,
    Executor,
    Auth,
    Catalog,
}

impl Service {
    pub const ALL: [Self; 4] = [Self::Gateway, Self::Executor, Self::Auth, Self::Catalog];
}

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

#[derive(Debug)]
pub struct Label {
    pub name: &'static str,
    /// All there are; empty where manifests or the code's own lists say, which are closed as well, and long.
    pub values: &'static [&'static str],
}

#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub help: &'static str,
    pub labels: &'static [Label],
    pub services: &'static [Service],
}

/// Seconds, from what a memory answers to what a vendor takes.
const CALL: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const STAGE: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
const PACK: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

const GATEWAY: &[Service] = &[Service::Gateway];
const EXECUTOR: &[Service] = &[Service::Executor];
const AUTH: &[Service] = &[Service::Auth];
const CALLING: &[Service] = &[Service::Gateway, Service::Executor];
const EVERYWHERE: &[Service] = &Service::ALL;

const fn open(name: &'static str) -> Label {
    Label { name, values: &[] }
}

const fn closed(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values }
}

const fn counter(
    name: &'static str,
    help: &'static str,
    labels: &'static [Label],
    services: &'static [Service],
) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, help, labels, services }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    labels: &'static [Label],
    services: &'static [Service],
) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Unit::Count, help, labels, services }
}

const fn seconds(
    name: &'static str,
    help: &'static str,
    buckets: &'static [f64],
    labels: &'static [Label],
    services: &'static [Service],
) -> Metric {
    Metric { name, kind: Kind::Histogram(buckets), unit: Unit::Seconds, help, labels, services }
}

const fn pack(name: &'static str, help: &'static str, services: &'static [Service]) -> Metric {
    Metric { name, kind: Kind::Histogram(PACK), unit: Unit::Count, help, labels: &[], services }
}

/// `bulk`: of organizations that send more than most.
const CLASSES: &[Label] = &[closed("class", &["interactive", "background", "interactive_bulk", "background_bulk"])];
const EXPRESS: &[Label] = &[closed("lane", &["reads", "effects"])];

#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    // Calls, as their callers see them.
    counter("plugboard_calls_total", "Calls that were answered, by what came out: OK or an error code, and whose fault it was.",
        &[open("service"), open("operation"), open("code"), open("origin")], GATEWAY),
    seconds("plugboard_call_seconds", "From a call's arrival to its answer.", CALL, &[open("service")], GATEWAY),
    seconds("plugboard_stage_seconds", "Where the time of calls goes.", STAGE,
        &[closed("stage", &["check", "publish", "queue", "limit", "credentials", "vendor", "answer"])], CALLING),
    counter("plugboard_refused_total", "Calls that never became a job, by whose affair it is.",
        &[closed("reason", &["caller", "policy", "credential", "backlog", "age", "platform"])], GATEWAY),
    gauge("plugboard_callers_waiting", "Callers that wait for an answer now.", &[], GATEWAY),
    counter("plugboard_key_checks_total", "API keys that were checked.",
        &[closed("result", &["ok", "missing", "refused", "unavailable"])], GATEWAY),
    counter("plugboard_mcp_requests_total", "MCP messages.",
        &[open("era"), open("version"), open("method"), open("outcome")], GATEWAY),
    counter("plugboard_mcp_header_mismatch_total", "MCP messages whose headers and body disagree.", &[open("method")], GATEWAY),
    // The queue.
    gauge("plugboard_queue_waiting", "Messages that wait for an executor. A busy gateway packs up to 64 jobs in one.", CLASSES, GATEWAY),
    gauge("plugboard_queue_held", "Messages that executors hold and have not ended.", CLASSES, GATEWAY),
    gauge("plugboard_queue_oldest_seconds", "How long the first that waits has waited.", CLASSES, GATEWAY),
    gauge("plugboard_queue_unaccounted", "Messages that lie in the stream and are neither waiting nor held.", &[], GATEWAY),
    counter("plugboard_concurrency_refused_total", "Calls that found all places of their organization at their connector taken.", &[], EXECUTOR),
    gauge("plugboard_express_waiting", "Calls on the express lane.", EXPRESS, GATEWAY),
    counter("plugboard_express_lost_total", "Calls whose executor fell silent, or that none took; they went to the queue.", EXPRESS, GATEWAY),
    pack("plugboard_express_pack_jobs", "Calls in one message of the express lane.", GATEWAY),
    pack("plugboard_express_pack_outcomes", "Outcomes in one message of the express lane.", EXECUTOR),
    pack("plugboard_queue_pack_jobs", "Jobs in one message of the queue.", GATEWAY),
    pack("plugboard_reply_pack_outcomes", "Outcomes in one message to a gateway.", EXECUTOR),
    seconds("plugboard_embedded_commit_seconds", "One commit to the data file of a process that is all services.", STAGE, &[], GATEWAY),
    // Executors.
    gauge("plugboard_executor_slots", "Calls that may run at once.", &[], EXECUTOR),
    gauge("plugboard_executor_in_flight", "Calls that run now.", &[], EXECUTOR),
    counter("plugboard_executions_total", "Jobs that came to an end, by code and by what their call does at the vendor.",
        &[open("code"), open("effect")], EXECUTOR),
    counter("plugboard_repeats_total", "Requests that were made again.", &[], EXECUTOR),
    counter("plugboard_repeats_refused_total", "Repeats for which a host's budget was used up.", &[], EXECUTOR),
    counter("plugboard_breaker_opened_total", "Circuit breakers that opened.", &[], EXECUTOR),
    gauge("plugboard_breakers_open", "Circuit breakers that are open or being probed.", &[], EXECUTOR),
    seconds("plugboard_limit_wait_seconds", "Waits for a turn at a vendor's limit, of calls that had to wait.", CALL, &[], EXECUTOR),
    counter("plugboard_limited_total", "Calls whose turn at a vendor's limit would have come too late.", &[], EXECUTOR),
    counter("plugboard_limits_away_total", "Questions to the shared limits that were not answered; the process kept them for itself.", &[], EXECUTOR),
    counter("plugboard_dead_letters_total", "Jobs that were started too often and put aside.", &[], EXECUTOR),
    counter("plugboard_panics_total", "Jobs that made their executor panic.", &[], EXECUTOR),
    // The auth service, and what is told to it.
    counter("plugboard_resolves_total", "Questions for an account's fields.",
        &[closed("result", &["ok", "refused", "vendor", "unavailable"])], AUTH),
    counter("plugboard_refreshes_total", "Tokens that were to be renewed at a vendor.",
        &[closed("result", &["ok", "refused", "failed"])], AUTH),
    counter("plugboard_accounts_ended_total", "Accounts that must be connected again.",
        &[closed("reason", &["refresh_lost", "invalid_grant", "client_changed"])], AUTH),
    counter("plugboard_audit_calls_dropped_total", "Calls that the audit log knows only as a number.", &[], CALLING),
    // Every service.
    gauge("plugboard_build_info", "1, with what runs here.", &[open("version"), open("service")], EVERYWHERE),
    gauge("plugboard_certificate_expiration_timestamp_seconds", "When a certificate of this process ends, or the last of its CAs, where it has any: service, ca, public.", &[open("certificate")], EVERYWHERE),
    gauge("plugboard_dependency_up", "1 while a part that this service needs is there.", &[open("dependency")], EVERYWHERE),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_keep_to_the_rules() {
        let mut seen = HashSet::new();
        for Metric { name, kind, unit, help, .. } in METRICS {
            assert!(seen.insert(*name), "{name} stands twice");
            let plain = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
            assert!(plain && name.starts_with("plugboard_"), "{name}");
            assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}");
            if let Kind::Histogram(buckets) = kind {
                assert!(buckets.is_sorted() && !buckets.is_empty(), "{name}");
                assert_eq!(name.ends_with("_seconds"), *unit == Unit::Seconds, "{name}");
            }
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }
}
