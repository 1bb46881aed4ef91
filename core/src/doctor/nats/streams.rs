//! Streams as they are beside what they are to be.

use super::super::{Finding, Part, Room, bytes};
use crate::queue::nats::inspect::{Difference, Follower, NatsSeen, Seen, StreamSeen};

/// Without these a stream does not keep what it is given, or gives it to the wrong ones.
const ESSENTIAL: [&str; 6] = ["subjects", "storage", "retention", "discard", "sealed", "no_ack"];

pub(super) fn judge(seen: &NatsSeen, replicas: usize) -> Vec<Finding> {
    seen.streams.iter().flat_map(|(name, stream)| of_one(name, stream, replicas)).collect()
}

/// What is wrong with it, or one line that says how it is.
fn of_one(name: &str, stream: &Seen<StreamSeen>, replicas: usize) -> Vec<Finding> {
    let stream = match stream {
        Seen::Is(stream) => stream,
        Seen::Absent => {
            return vec![Part::Nats.fail(
                format!("the stream {name} is not there"),
                "start a gateway, which makes it; if one runs, compare nats.namespace, and read its log",
            )];
        }
        Seen::Unknown(why) => {
            return vec![Part::Nats.fail(
                format!("the state of the stream {name} is not known: {why}"),
                "bring the majority of the cluster's servers back, and give the user the rights of \
                 deploy/kubernetes/base/nats/nats.conf",
            )];
        }
    };
    let mut findings: Vec<Finding> = copies(name, stream, replicas)
        .into_iter()
        .chain(followers(name, stream))
        .chain(settings(name, &stream.differences))
        .chain(fill(name, stream))
        .collect();
    if findings.is_empty() {
        findings.push(Part::Nats.ok(summary(name, stream)));
    }
    findings
}

fn summary(name: &str, stream: &StreamSeen) -> String {
    let copies = match (stream.replicas, &stream.leader) {
        (1, _) => "one copy".to_owned(),
        (copies, Some(leader)) => format!("{copies} copies, led by {leader}, all current"),
        (copies, None) => format!("{copies} copies"),
    };
    let limit = match (stream.most_messages, stream.most_bytes) {
        (None, None) => String::new(),
        (_, Some(most)) => format!(" of {}", bytes(most)),
        (Some(most), None) => format!(" (at most {most} messages)"),
    };
    format!("stream {name}: {copies}, {} messages, {}{limit}", stream.messages, bytes(stream.bytes))
}

fn copies(name: &str, stream: &StreamSeen, replicas: usize) -> Option<Finding> {
    let seen = format!("the stream {name} has num_replicas = {}, and nats.replicas = {replicas}", stream.replicas);
    if stream.replicas < replicas {
        let remedy = format!(
            "restart a gateway and an executor, which change it; without the right to, `nats stream edit {name} --replicas \
             {replicas}`"
        );
        return Some(Part::Nats.fail(seen, remedy));
    }
    (stream.replicas > replicas).then(|| {
        Part::Nats
            .warn(seen, format!("set nats.replicas = {} in every service, if that many are meant", stream.replicas))
    })
}

fn followers(name: &str, stream: &StreamSeen) -> Vec<Finding> {
    if stream.replicas > 1 && stream.leader.is_none() {
        return vec![Part::Nats.fail(
            format!("the stream {name} has no leader: nothing can be written to it"),
            "bring the majority of its servers back; a choice takes up to 20 seconds",
        )];
    }
    let behind = stream.followers.iter().filter(|follower| follower.offline || !follower.current);
    behind
        .map(|follower| {
            let Follower { name: server, lag, silent, .. } = follower;
            let silent = silent.as_secs();
            Part::Nats.warn(
                format!(
                    "a copy of the stream {name} is not current: {server}, last heard {silent} s ago, {lag} behind"
                ),
                "look at that server and its disk: until the copy is current, the loss of another server stops calls",
            )
        })
        .collect()
}

fn settings(name: &str, differences: &[Difference]) -> Vec<Finding> {
    // Copies were judged by themselves.
    let differences = differences.iter().filter(|each| each.setting != "num_replicas");
    differences
        .map(|Difference { setting, found, wanted }| {
            let seen = format!("the stream {name} has {setting} = {found}, wanted is {wanted}");
            if ESSENTIAL.contains(setting) {
                let remedy = "somebody else made it: use another nats.namespace, or, when nothing in it is needed, delete \
                              it and restart a gateway";
                Part::Nats.fail(seen, remedy)
            } else {
                let remedy = "restart a gateway and an executor, which change it; if they have no right to, change it by \
                              hand; if it is meant, leave it. max_msgs_per_subject is queue.backlog_per_organization";
                Part::Nats.warn(seen, remedy)
            }
        })
        .collect()
}

fn fill(name: &str, stream: &StreamSeen) -> Vec<Finding> {
    let measures = [
        (stream.messages, stream.most_messages, "max_msgs", format!("{} messages", stream.messages)),
        (stream.bytes, stream.most_bytes, "max_bytes", bytes(stream.bytes)),
    ];
    let findings = measures.into_iter().filter_map(|(used, most, setting, shown)| {
        let most = most?;
        let seen = format!("the stream {name} holds {shown}, and {setting} = {most}");
        let remedy = format!("raise {setting} of the stream, or take the limit away: a full one takes nothing more");
        let room = Room::of(used, most);
        (room != Room::Enough).then(|| room.judge(Part::Nats, seen, remedy))
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::State;
    use super::*;

    fn three() -> StreamSeen {
        let follower = |name: &str| Follower {
            name: name.to_owned(),
            current: true,
            offline: false,
            lag: 0,
            silent: Duration::ZERO,
        };
        let followers = vec![follower("n2"), follower("n3")];
        StreamSeen { replicas: 3, leader: Some("n1".to_owned()), followers, messages: 7, ..StreamSeen::default() }
    }

    fn told(stream: StreamSeen, replicas: usize) -> Vec<(State, String)> {
        let found = of_one("p_JOBS", &Seen::Is(stream), replicas);
        found.into_iter().map(|finding| (finding.state, finding.seen)).collect()
    }

    #[test]
    fn a_good_stream_is_one_line() {
        let found = told(three(), 3);
        assert_eq!(found, [(State::Ok, "stream p_JOBS: 3 copies, led by n1, all current, 7 messages, 0 B".to_owned())]);
    }

    #[test]
    fn an_absent_stream_is_named() {
        let found = of_one("p_DEAD", &Seen::Absent, 1);
        assert!(found[0].state == State::Fail && found[0].seen.contains("p_DEAD"), "{found:?}");
        assert!(found[0].remedy.as_ref().unwrap().contains("gateway"));
        assert_eq!(of_one("p_DEAD", &Seen::Unknown("no answer".to_owned()), 1)[0].state, State::Fail);
    }

    #[test]
    fn too_few_copies_fail_and_more_than_wanted_are_said() {
        let found = told(StreamSeen { replicas: 1, ..StreamSeen::default() }, 3);
        assert_eq!(found, [(State::Fail, "the stream p_JOBS has num_replicas = 1, and nats.replicas = 3".to_owned())]);
        assert_eq!(told(three(), 1)[0].0, State::Warn);
    }

    #[test]
    fn copies_that_are_behind_and_streams_without_a_leader() {
        let mut behind = three();
        behind.followers[0].current = false;
        behind.followers[0].lag = 12;
        behind.followers[1].offline = true;
        let found = told(behind, 3);
        assert_eq!(found.len(), 2);
        assert!(
            found[0].1.contains("n2, last heard 0 s ago, 12 behind") && found[1].1.contains("n3, last"),
            "{found:?}"
        );
        let found = told(StreamSeen { leader: None, ..three() }, 3);
        assert!(found[0].0 == State::Fail && found[0].1.contains("no leader"), "{found:?}");
    }

    #[test]
    fn settings_that_matter_fail_and_the_others_are_said() {
        let of = |setting, found: &str, wanted: &str| Difference {
            setting,
            found: found.to_owned(),
            wanted: wanted.to_owned(),
        };
        let differences =
            vec![of("storage", "Memory", "File"), of("max_age", "1s", "2s"), of("num_replicas", "3", "3")];
        let found = told(StreamSeen { differences, ..three() }, 3);
        let states: Vec<State> = found.iter().map(|each| each.0).collect();
        assert_eq!(states, [State::Fail, State::Warn], "{found:?}");
        assert!(found[0].1.contains("storage = Memory, wanted is File"));
    }

    #[test]
    fn what_is_nearly_full_is_said_before_it_is() {
        let with = |bytes, messages| StreamSeen {
            bytes,
            messages,
            most_bytes: Some(1_000),
            most_messages: Some(100),
            ..three()
        };
        assert_eq!(told(with(10, 10), 3)[0].0, State::Ok);
        let found = told(with(960, 85), 3);
        assert_eq!([found[0].0, found[1].0], [State::Warn, State::Fail], "{found:?}");
        assert!(found[1].1.contains("max_bytes = 1000"));
    }
}
