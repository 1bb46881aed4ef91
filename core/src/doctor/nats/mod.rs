//! What is made of a look at NATS.

mod monitor;
mod queue;
mod streams;

use super::{Finding, Part, Room, bytes, clocks};
use crate::queue::nats::inspect::{AccountSeen, NatsSeen, ServerSeen};

pub use monitor::{Monitored, judge_monitor, read_monitor};

/// The oldest server that is good enough, as `deploy/local/install-servers` has it: an older one whose `sync_interval` is
/// `always` makes two flushes of a message where one is enough.
pub const OLDEST: &str = "2.15.1";

/// What the settings want.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// `nats.replicas`.
    pub replicas: usize,
    /// A monitoring port says how servers write to disk; then nothing needs to be said of it here.
    pub monitored: bool,
}

/// All of it: servers, streams, what lies in them, clocks.
pub fn judge(seen: &NatsSeen, wanted: Wanted) -> Vec<Finding> {
    let mut findings = servers(seen);
    let Some(account) = &seen.account else { return findings };
    findings.extend(cluster(seen, wanted.replicas));
    findings.push(jetstream(account));
    if account.is_ok() {
        findings.extend(streams::judge(seen, wanted.replicas));
        findings.extend(queue::judge(seen));
    }
    if !wanted.monitored {
        findings.push(Part::Nats.skipped(
            "whether servers write to disk before they answer (sync_interval) is not told to clients: give \
             --nats-monitor, or see that each server has `sync_interval: always`",
        ));
    }
    findings.extend(seen.clocks.iter().map(|(name, look)| clocks::judge(&format!("the NATS server {name}"), look)));
    if seen.clocks.is_empty() && account.is_ok() {
        findings.push(Part::Clock.skipped("NATS told no time: it does so with the state of a stream"));
    }
    findings
}

/// One away of several is no reason to stop, but to look.
fn servers(seen: &NatsSeen) -> Vec<Finding> {
    let reached = seen.servers.iter().any(|(_, server)| server.is_ok());
    let told = seen.servers.iter().map(|(address, server)| match server {
        Ok(server) => self::server(address, server),
        Err(why) => {
            let said = format!("no connection to {address}: {why}");
            let remedy = "see that nats-server runs there and may be reached, and that nats.user and nats.password are \
                          those of its configuration";
            if reached { Part::Nats.warn(said, remedy) } else { Part::Nats.fail(said, remedy) }
        }
    });
    let mut findings: Vec<Finding> = told.collect();
    if findings.is_empty() {
        findings.push(Part::Nats.fail("nats.urls is empty", "name at least one server"));
    }
    findings
}

fn server(address: &str, server: &ServerSeen) -> Finding {
    let ServerSeen { name, version, .. } = server;
    let seen = format!("nats-server {version} at {address} ({name})");
    if !at_least(version, OLDEST) {
        return Part::Nats.warn(
            format!("{seen} is older than {OLDEST}"),
            format!("use {OLDEST} or later: with sync_interval always an older one flushes twice for each message"),
        );
    }
    if !server.asks_who && !is_loopback(address) {
        return Part::Nats.warn(
            format!("{seen} lets anybody in"),
            "give it the users of deploy/kubernetes/base/nats/nats.conf: whoever reaches it may read and take jobs",
        );
    }
    Part::Nats.ok(seen)
}

fn is_loopback(address: &str) -> bool {
    let host = address.split("://").last().unwrap_or_default();
    ["127.", "localhost", "[::1]"].iter().any(|start| host.starts_with(start))
}

/// `nats.replicas` and what there are servers for.
fn cluster(seen: &NatsSeen, replicas: usize) -> Option<Finding> {
    let server = seen.servers.iter().find_map(|(_, server)| server.as_ref().ok())?;
    match &server.cluster {
        None if replicas > 1 => Some(Part::Nats.fail(
            format!("nats.replicas = {replicas}, but {} is a server by itself", server.name),
            "make a cluster of three servers, or set nats.replicas = 1 in every service",
        )),
        None => {
            Some(Part::Nats.ok("one server by itself, one copy of each stream: what is on its disk is all there is"))
        }
        Some(cluster) if replicas == 1 => Some(Part::Nats.warn(
            format!("nats.replicas = 1 in the cluster {cluster:?}: each stream lies on one of its servers"),
            "set nats.replicas = 3 in every service, so that the loss of a server loses nothing",
        )),
        Some(cluster) => {
            Some(Part::Nats.ok(format!("cluster {cluster:?}, {replicas} copies of each stream are wanted")))
        }
    }
}

fn jetstream(account: &Result<AccountSeen, String>) -> Finding {
    match account {
        Err(why) => Part::Nats.fail(
            format!("JetStream does not answer: {why}"),
            "see that each server has a block `jetstream { … }`, and its cluster a majority",
        ),
        Ok(AccountSeen { stored, most: None }) => {
            Part::Nats.ok(format!("JetStream is on, {} stored; the account has no limit", bytes(*stored)))
        }
        Ok(AccountSeen { stored, most: Some(most) }) => {
            let seen = format!("JetStream is on, {} stored of {}", bytes(*stored), bytes(*most));
            let remedy = "raise the account's limit: when it is reached no call is accepted";
            Room::of(*stored, *most).judge(Part::Nats, seen, remedy)
        }
    }
}

/// Numbers of a version, one by one; what stands after a `-` (`-RC.1`) does not count.
fn at_least(found: &str, wanted: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let plain = text.split('-').next().unwrap_or_default();
        plain.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or_default()).collect()
    };
    numbers(found) >= numbers(wanted)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const ONE: Wanted = Wanted { replicas: 1, monitored: true };

    fn seen(servers: &[Result<ServerSeen, String>]) -> NatsSeen {
        let servers = servers.iter().enumerate().map(|(at, server)| (format!("nats://n{at}:4222"), server.clone()));
        let account = AccountSeen { stored: 1_000, most: None };
        NatsSeen { servers: servers.collect(), account: Some(Ok(account)), ..NatsSeen::default() }
    }

    fn good() -> ServerSeen {
        let (name, version) = ("n1".to_owned(), OLDEST.to_owned());
        ServerSeen { name, version, cluster: None, jetstream: true, asks_who: true }
    }

    fn worst(findings: &[Finding]) -> State {
        findings.iter().map(|finding| finding.state).max().unwrap()
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(at_least("2.15.1", OLDEST) && at_least("2.15.10", OLDEST) && at_least("2.16.0-RC.1", OLDEST));
        assert!(at_least("3.0", OLDEST) && !at_least("2.9.22", OLDEST) && !at_least("2.15.0", OLDEST));
        let old = ServerSeen { version: "2.12.1".to_owned(), ..good() };
        let found = server("nats://n1:4222", &old);
        assert_eq!(found.state, State::Warn);
        assert!(found.seen.contains("2.12.1") && found.seen.contains(OLDEST));
    }

    #[test]
    fn one_server_of_several_may_be_away() {
        let away = Err("connection refused".to_owned());
        assert_eq!(worst(&servers(&seen(&[Ok(good()), away.clone()]))), State::Warn);
        let none = NatsSeen { account: None, ..seen(&[away.clone(), away]) };
        let found = judge(&none, ONE);
        assert_eq!((worst(&found), found.len()), (State::Fail, 2), "nothing else is said: {found:?}");
        assert!(found[1].seen.contains("nats://n1:4222") && found[1].seen.contains("refused"));
    }

    #[test]
    fn whoever_lets_anybody_in_is_named() {
        let open = ServerSeen { asks_who: false, ..good() };
        assert_eq!(server("nats://10.0.0.7:4222", &open).state, State::Warn);
        assert_eq!(server("nats://127.0.0.1:4222", &open).state, State::Ok);
    }

    #[test]
    fn copies_need_a_cluster() {
        let clustered = ServerSeen { cluster: Some("c".to_owned()), ..good() };
        for (server, replicas, state) in [
            (good(), 1, State::Ok),
            (good(), 3, State::Fail),
            (clustered.clone(), 1, State::Warn),
            (clustered, 3, State::Ok),
        ] {
            let found = cluster(&seen(&[Ok(server)]), replicas).unwrap();
            assert_eq!(found.state, state, "{found:?}");
            assert!(found.remedy.is_none_or(|remedy| remedy.contains("nats.replicas = ")));
        }
    }

    #[test]
    fn a_full_account_fails_and_jetstream_must_be_on() {
        let of = |stored, most| jetstream(&Ok(AccountSeen { stored, most })).state;
        assert_eq!([of(1, None), of(10, Some(100))], [State::Ok; 2]);
        assert_eq!([of(85, Some(100)), of(97, Some(100))], [State::Warn, State::Fail]);
        let off = jetstream(&Err("no responders".to_owned()));
        assert!(off.state == State::Fail && off.remedy.unwrap().contains("jetstream"));
    }

    #[test]
    fn what_clients_are_not_told_is_said_not_to_be_seen() {
        let found = judge(&seen(&[Ok(good())]), Wanted { monitored: false, ..ONE });
        let sync = found.iter().find(|finding| finding.seen.contains("sync_interval")).unwrap();
        assert_eq!(sync.state, State::Skipped);
        assert!(judge(&seen(&[Ok(good())]), ONE).iter().all(|finding| !finding.seen.contains("sync_interval")));
    }
}
