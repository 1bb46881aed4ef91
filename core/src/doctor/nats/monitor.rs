//! What the monitoring port of a server says (`/jsz?config=true`) that its clients are not told.

use std::time::Duration;

use serde::Deserialize;

use super::super::{Finding, Part, Room, bytes};

/// As far as it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Monitored {
    #[serde(default)]
    storage: u64,
    /// Absent where JetStream is off.
    config: Option<Config>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Config {
    #[serde(default)]
    max_storage: u64,
    /// Nanoseconds.
    #[serde(default)]
    sync_interval: u64,
    #[serde(default)]
    sync_always: bool,
}

/// # Errors
/// When it is no answer of a nats-server.
pub fn read_monitor(answer: &[u8]) -> Result<Monitored, String> {
    serde_json::from_slice(answer).map_err(|_| "the answer is not that of a nats-server's /jsz".to_owned())
}

/// `copies`: of each stream, as the settings want it.
pub fn judge_monitor(address: &str, answer: &Result<Monitored, String>, copies: usize) -> Vec<Finding> {
    let monitored = match answer {
        Ok(monitored) => monitored,
        Err(why) => {
            let remedy = "give the address of its `http:` port, or leave --nats-monitor out";
            return vec![Part::Nats.fail(format!("the monitoring port {address} does not answer: {why}"), remedy)];
        }
    };
    let Some(config) = &monitored.config else {
        return vec![Part::Nats.fail(format!("JetStream is off at {address}"), "give it a block `jetstream { … }`")];
    };
    vec![sync(address, config, copies), room(address, monitored.storage, config.max_storage)]
}

fn sync(address: &str, config: &Config, copies: usize) -> Finding {
    if config.sync_always {
        return Part::Nats.ok(format!("{address}: what it has answered is on disk (sync_interval: always)"));
    }
    let after = Duration::from_nanos(config.sync_interval).as_secs();
    let loses = if copies > 1 { "a power cut of several servers" } else { "a power cut" };
    Part::Nats.warn(
        format!("{address}: what it has answered is on disk up to {after} s later: {loses} loses accepted calls"),
        "set `sync_interval: always` in the block `jetstream` of every server; leave it only where that may be",
    )
}

fn room(address: &str, stored: u64, most: u64) -> Finding {
    let seen = format!("{address}: {} stored of {}", bytes(stored), bytes(most));
    let remedy = "give it a larger disk and max_file_store: when it is full no call is accepted";
    Room::of(stored, most).judge(Part::Nats, seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::super::State;
    use super::*;

    fn states(answer: &str) -> Vec<State> {
        let answer = read_monitor(answer.as_bytes());
        judge_monitor("http://n1:8222", &answer, 3).iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn how_a_server_writes_is_told_by_its_monitoring_port() {
        let always = r#"{"memory":0,"storage":10,"config":{"max_storage":1000,"sync_interval":120000000000,
            "sync_always":true}}"#;
        assert_eq!(states(always), [State::Ok, State::Ok]);
        let lazy = r#"{"storage":900,"config":{"max_storage":1000,"sync_interval":120000000000}}"#;
        assert_eq!(states(lazy), [State::Warn, State::Warn]);
        let said = judge_monitor("http://n1:8222", &read_monitor(lazy.as_bytes()), 1);
        assert!(said[0].seen.contains("120 s later: a power cut loses"), "{said:?}");
        assert_eq!(states(r#"{"disabled":true}"#), [State::Fail]);
        assert_eq!(states("<html>"), [State::Fail]);
    }
}
