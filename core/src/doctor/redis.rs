//! What is made of a look at Redis.

use super::{Finding, Part, Room, bytes, clocks};
use crate::store::redis::{Lack, RedisSeen};

/// What the settings say of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// `redis.allow_volatile`.
    pub allow_volatile: bool,
    /// `redis.require_durable`.
    pub require_durable: bool,
    /// The settings are those of an executor, who keeps the vendors' limits there and nothing else.
    pub limits_alone: bool,
}

const UNKNOWN: &str = "run this with the settings of an auth service, whose user may ask; of a managed server look at its \
                       console";

/// `address`: without what is secret in it.
pub fn judge(address: &str, seen: &RedisSeen, wanted: Wanted) -> Vec<Finding> {
    let version = seen.version.as_deref().map_or_else(String::new, |version| format!(", version {version}"));
    let mut findings = vec![Part::Redis.ok(format!("answers at {address}{version}"))];
    findings.extend(persistence(seen, wanted));
    findings.extend(role(seen));
    findings.extend(replicas(seen));
    findings.extend(memory(seen));
    if seen.written == Some(false) {
        findings.push(Part::Redis.fail(
            "the last write to its append-only file failed: it takes no more writes",
            "its log says why; most often the disk is full",
        ));
    }
    findings.push(match &seen.clock {
        Some(look) => clocks::judge("Redis", look),
        None => Part::Clock.skipped("Redis does not tell the time to this user (TIME)"),
    });
    findings
}

/// One that does not answer.
pub fn judge_away(address: &str, why: &str) -> Vec<Finding> {
    let remedy =
        "see that redis-server runs there and may be reached, and that user and password in redis.url are right";
    vec![Part::Redis.fail(format!("{address} does not answer: {why}"), remedy)]
}

fn persistence(seen: &RedisSeen, wanted: Wanted) -> Vec<Finding> {
    let lacks = seen.persistence.lacks();
    if wanted.limits_alone && lacks.as_ref().is_none_or(|lacks| !lacks.is_empty()) {
        let why = "what a restart loses: an executor keeps the vendors' limits here and nothing else; ask with the \
                   settings of an auth service, if accounts are in it as well";
        return vec![Part::Redis.skipped(why)];
    }
    let Some(lacks) = lacks else {
        let seen =
            "it does not tell its settings (CONFIG is not allowed to this user): what a restart loses is not known";
        return vec![if wanted.require_durable {
            Part::Redis.fail(format!("{seen}, and redis.require_durable is set"), UNKNOWN)
        } else {
            Part::Redis.warn(seen, UNKNOWN)
        }];
    };
    if lacks.is_empty() {
        return vec![Part::Redis.ok("keeps all it has confirmed: appendonly yes, appendfsync always, noeviction")];
    }
    lacks.iter().map(|lack| lacking(lack, wanted)).collect()
}

/// As the start of an auth service takes it.
fn lacking(lack: &Lack, wanted: Wanted) -> Finding {
    let Lack { setting, wanted: value, loses, everything } = *lack;
    let seen = format!("{setting} is not {value}: {loses}");
    let remedy = format!("set `{setting} {value}` in redis.conf and restart it, or `CONFIG SET {setting} {value}`");
    if wanted.require_durable || everything && !wanted.allow_volatile {
        Part::Redis.fail(seen, remedy)
    } else {
        Part::Redis.warn(seen, remedy)
    }
}

fn role(seen: &RedisSeen) -> Option<Finding> {
    let role = seen.role.as_deref().filter(|role| *role != "master")?;
    Some(Part::Redis.fail(format!("it is a {role}, and takes no writes"), "name the master in redis.url"))
}

/// Where there are some, or are to be.
fn replicas(seen: &RedisSeen) -> Option<Finding> {
    let (there, needed) = (seen.replicas?, seen.replicas_wanted.unwrap_or_default());
    if there == 0 && needed == 0 {
        return None;
    }
    let said = format!("{there} replicas, min-replicas-to-write {needed}");
    Some(if there < needed {
        Part::Redis
            .fail(format!("{said}: it takes no writes"), "bring the replicas back, or lower min-replicas-to-write")
    } else if needed == 0 {
        Part::Redis.warn(
            format!("{said}: a failover forgets what no replica had yet, a refreshed token for instance"),
            "set `min-replicas-to-write 1`",
        )
    } else {
        Part::Redis.ok(said)
    })
}

fn memory(seen: &RedisSeen) -> Option<Finding> {
    let (used, most) = (seen.memory_used?, seen.memory_most.unwrap_or_default());
    if most == 0 {
        return Some(Part::Redis.ok(format!("uses {} of memory; maxmemory sets no limit", bytes(used))));
    }
    let said = format!("uses {} of memory, maxmemory is {}", bytes(used), bytes(most));
    let remedy = "raise maxmemory: when it is reached, writes are refused or records dropped";
    Some(Room::of(used, most).judge(Part::Redis, said, remedy))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::store::redis::Persistence;

    fn good() -> RedisSeen {
        RedisSeen {
            persistence: with("yes", "always", "noeviction"),
            version: Some("7.2.16".to_owned()),
            role: Some("master".to_owned()),
            replicas: Some(0),
            replicas_wanted: Some(0),
            written: Some(true),
            memory_used: Some(1_000),
            memory_most: Some(0),
            clock: None,
        }
    }

    fn with(append_only: &str, append_fsync: &str, eviction: &str) -> Persistence {
        Persistence {
            append_only: Some(append_only.to_owned()),
            append_fsync: Some(append_fsync.to_owned()),
            eviction: Some(eviction.to_owned()),
        }
    }

    /// What is not well.
    fn wrong(seen: &RedisSeen, wanted: Wanted) -> Vec<(State, String, String)> {
        let found = judge("redis://r:6379", seen, wanted).into_iter();
        let wrong = found.filter(|finding| matches!(finding.state, State::Warn | State::Fail));
        wrong.map(|finding| (finding.state, finding.seen, finding.remedy.unwrap())).collect()
    }

    #[test]
    fn a_good_one_is_well() {
        assert_eq!(wrong(&good(), Wanted::default()), []);
        let said = &judge("redis://r:6379", &good(), Wanted::default())[0].seen;
        assert_eq!(said, "answers at redis://r:6379, version 7.2.16");
    }

    #[test]
    fn what_a_restart_loses_fails_and_names_the_setting() {
        let volatile = RedisSeen { persistence: with("no", "everysec", "noeviction"), ..good() };
        let found = wrong(&volatile, Wanted::default());
        assert_eq!((found.len(), found[0].0), (1, State::Fail));
        assert!(found[0].1.contains("appendonly is not yes") && found[0].2.contains("appendonly yes"), "{found:?}");
        let allowed = Wanted { allow_volatile: true, ..Wanted::default() };
        assert_eq!(wrong(&volatile, allowed)[0].0, State::Warn);
    }

    #[test]
    fn the_other_settings_fail_where_they_are_required() {
        let lazy = RedisSeen { persistence: with("yes", "everysec", "allkeys-lru"), ..good() };
        for (wanted, state) in
            [(Wanted::default(), State::Warn), (Wanted { require_durable: true, ..Wanted::default() }, State::Fail)]
        {
            let found = wrong(&lazy, wanted);
            assert!(found.iter().all(|each| each.0 == state), "{found:?}");
            assert!(found[0].2.contains("appendfsync always") && found[1].2.contains("maxmemory-policy noeviction"));
        }
    }

    #[test]
    fn limits_need_not_be_kept() {
        let volatile = RedisSeen { persistence: with("no", "everysec", "noeviction"), ..good() };
        let executor = Wanted { limits_alone: true, ..Wanted::default() };
        for seen in [volatile, RedisSeen::default()] {
            assert_eq!(wrong(&seen, executor), []);
            assert!(judge("r", &seen, executor).iter().any(|finding| finding.state == State::Skipped));
        }
    }

    #[test]
    fn what_is_not_told_is_not_taken_for_good() {
        let silent = RedisSeen::default();
        assert_eq!(wrong(&silent, Wanted::default())[0].0, State::Warn);
        let required = Wanted { require_durable: true, ..Wanted::default() };
        assert_eq!(wrong(&silent, required)[0].0, State::Fail);
    }

    #[test]
    fn replicas_memory_and_disk() {
        let replicas = |there, needed| RedisSeen { replicas: Some(there), replicas_wanted: Some(needed), ..good() };
        assert_eq!(wrong(&replicas(1, 1), Wanted::default()), []);
        assert_eq!(wrong(&replicas(0, 1), Wanted::default())[0].0, State::Fail);
        assert_eq!(wrong(&replicas(2, 0), Wanted::default())[0].0, State::Warn);
        let memory = |used| RedisSeen { memory_used: Some(used), memory_most: Some(100), ..good() };
        assert_eq!(wrong(&memory(50), Wanted::default()), []);
        assert_eq!(wrong(&memory(85), Wanted::default())[0].0, State::Warn);
        assert_eq!(wrong(&memory(99), Wanted::default())[0].0, State::Fail);
        let full = RedisSeen { written: Some(false), ..good() };
        assert!(wrong(&full, Wanted::default())[0].1.contains("append-only file"));
        let replica = RedisSeen { role: Some("slave".to_owned()), ..good() };
        assert!(wrong(&replica, Wanted::default())[0].2.contains("master"));
    }
}
