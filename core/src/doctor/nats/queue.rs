//! What lies in the queue, and whether anybody fetches it.

use std::time::Duration;

use super::super::{Finding, Part};
use crate::queue::nats::inspect::{ConsumerSeen, Difference, NatsSeen, Seen};

/// As the alerts have it (`queue-old.md`): with a caller who waits, and without.
const OLD: Duration = Duration::from_secs(30);
const OLD_IN_BACKGROUND: Duration = Duration::from_secs(600);

const EXECUTORS: &str = "start an executor, which makes them; if one runs, read its log, and compare nats.namespace";

pub(super) fn judge(seen: &NatsSeen) -> Vec<Finding> {
    let mut findings = consumers(seen);
    let known: Vec<(&str, &ConsumerSeen)> = seen
        .consumers
        .iter()
        .filter_map(|(name, consumer)| match consumer {
            Seen::Is(consumer) => Some((name.as_str(), consumer)),
            _ => None,
        })
        .collect();
    if !known.is_empty() {
        findings.push(fetched(&known));
        findings.push(waiting(&known));
    }
    findings.extend(dead_letters(seen));
    findings
}

/// All of them in one line where they are as they are to be.
fn consumers(seen: &NatsSeen) -> Vec<Finding> {
    let mut findings = Vec::new();
    let absent: Vec<&str> =
        seen.consumers.iter().filter(|(_, each)| *each == Seen::Absent).map(|(name, _)| name.as_str()).collect();
    if !absent.is_empty() {
        let many = if absent.len() == seen.consumers.len() { "all of " } else { "" };
        let seen = format!("consumers are not there, {many}{}: nobody is given their jobs", absent.join(", "));
        findings.push(Part::Queue.fail(seen, EXECUTORS));
    }
    for (name, consumer) in &seen.consumers {
        match consumer {
            Seen::Unknown(why) => {
                let seen = format!("the state of the consumer {name} is not known: {why}");
                findings.push(Part::Queue.fail(seen, "see what is said of its stream"));
            }
            Seen::Is(consumer) => findings.extend(consumer.differences.iter().map(|each| different(name, each))),
            Seen::Absent => {}
        }
    }
    if findings.is_empty() {
        findings.push(Part::Queue.ok(format!("all {} consumers are there, as they are to be", seen.consumers.len())));
    }
    findings
}

fn different(name: &str, Difference { setting, found, wanted }: &Difference) -> Finding {
    let seen = format!("the consumer {name} has {setting} = {found}, wanted is {wanted}");
    let remedy = "restart an executor, which changes it; without the right to, change it by hand";
    // Jobs that are given out no more lie where nobody sees them.
    if *setting == "max_deliver" || *setting == "filter_subject" || *setting == "ack_policy" {
        Part::Queue.fail(seen, remedy)
    } else {
        Part::Queue.warn(seen, remedy)
    }
}

/// An executor with all slots taken asks for nothing, but then it holds something.
fn fetched(consumers: &[(&str, &ConsumerSeen)]) -> Finding {
    let pulls: u64 = consumers.iter().map(|(_, each)| each.pulls).sum();
    let held: u64 = consumers.iter().map(|(_, each)| each.held).sum();
    match (pulls, held) {
        (0, 0) => Part::Queue.warn("no executor asks for jobs at this moment", "start an executor, or read its log"),
        (0, held) => {
            Part::Queue.ok(format!("executors hold {held} messages and ask for no more: their slots are taken"))
        }
        (pulls, held) => Part::Queue.ok(format!("executors ask for jobs ({pulls} requests) and hold {held} messages")),
    }
}

fn waiting(consumers: &[(&str, &ConsumerSeen)]) -> Finding {
    let waiting: u64 = consumers.iter().map(|(_, each)| each.waiting).sum();
    let oldest = consumers.iter().filter_map(|(name, each)| Some((each.oldest?, *name))).max();
    let Some((oldest, name)) = oldest else {
        return Part::Queue.ok(match waiting {
            0 => "no job waits".to_owned(),
            waiting => format!("{waiting} messages wait"),
        });
    };
    let seen = format!("{waiting} messages wait, the oldest for {} s, in {name}", oldest.as_secs());
    let too_old = consumers.iter().any(|(_, each)| {
        let limit = if each.callers_wait { OLD } else { OLD_IN_BACKGROUND };
        each.oldest.is_some_and(|oldest| oldest > limit)
    });
    if too_old {
        Part::Queue.warn(seen, "see deploy/kubernetes/runbooks/queue-old.md: are there executors with free slots?")
    } else {
        Part::Queue.ok(seen)
    }
}

fn dead_letters(seen: &NatsSeen) -> Option<Finding> {
    let dead = seen.streams.iter().find(|(name, _)| name.ends_with("DEAD"))?;
    let Seen::Is(stream) = &dead.1 else { return None };
    Some(match stream.messages {
        0 => Part::Queue.ok("no call was given up"),
        letters => Part::Queue.warn(
            format!("{letters} calls were given up after five starts and lie among the dead letters"),
            "`plugboard jobs list` with the operator's key; make them again (`jobs replay`) or drop them (`jobs drop`)",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::State;
    use super::*;
    use crate::queue::nats::inspect::StreamSeen;

    fn idle() -> ConsumerSeen {
        ConsumerSeen { pulls: 2, callers_wait: true, ..ConsumerSeen::default() }
    }

    fn with(consumers: Vec<Seen<ConsumerSeen>>, dead: u64) -> NatsSeen {
        let names = ["executors_waiting", "executors_background"].map(str::to_owned);
        let stream = StreamSeen { messages: dead, replicas: 1, ..StreamSeen::default() };
        NatsSeen {
            consumers: names.into_iter().zip(consumers).collect(),
            streams: vec![("p_DEAD".to_owned(), Seen::Is(stream))],
            ..NatsSeen::default()
        }
    }

    fn told(seen: &NatsSeen) -> Vec<(State, String)> {
        judge(seen).into_iter().map(|finding| (finding.state, finding.seen)).collect()
    }

    #[test]
    fn an_idle_queue_is_well() {
        let found = told(&with(vec![Seen::Is(idle()), Seen::Is(idle())], 0));
        assert!(found.iter().all(|(state, _)| *state == State::Ok), "{found:?}");
        assert!(found[0].1.contains("all 2 consumers"), "{found:?}");
    }

    #[test]
    fn absent_consumers_are_named() {
        let found = told(&with(vec![Seen::Is(idle()), Seen::Absent], 0));
        assert_eq!(found[0].0, State::Fail);
        assert!(found[0].1.contains("executors_background") && !found[0].1.contains("executors_waiting"), "{found:?}");
        let found = told(&with(vec![Seen::Absent, Seen::Absent], 0));
        assert!(found[0].1.contains("all of executors_waiting, executors_background"), "{found:?}");
    }

    #[test]
    fn a_consumer_that_gives_up_jobs_fails() {
        let difference = |setting| Difference { setting, found: "5".to_owned(), wanted: "-1".to_owned() };
        let of = |setting| ConsumerSeen { differences: vec![difference(setting)], ..idle() };
        assert_eq!(told(&with(vec![Seen::Is(of("max_deliver")), Seen::Is(idle())], 0))[0].0, State::Fail);
        assert_eq!(told(&with(vec![Seen::Is(of("max_ack_pending")), Seen::Is(idle())], 0))[0].0, State::Warn);
    }

    #[test]
    fn nobody_who_fetches_is_said() {
        let gone = ConsumerSeen { pulls: 0, ..idle() };
        assert_eq!(told(&with(vec![Seen::Is(gone.clone()), Seen::Is(gone.clone())], 0))[1].0, State::Warn);
        let full = ConsumerSeen { held: 9, ..gone.clone() };
        assert_eq!(told(&with(vec![Seen::Is(full), Seen::Is(gone)], 0))[1].0, State::Ok);
    }

    #[test]
    fn old_jobs_are_said_by_who_waits() {
        let waits = |seconds, callers_wait| {
            let oldest = Some(Duration::from_secs(seconds));
            let consumer = ConsumerSeen { waiting: 3, oldest, callers_wait, ..idle() };
            told(&with(vec![Seen::Is(consumer), Seen::Is(idle())], 0))[2].clone()
        };
        let (state, said) = waits(31, true);
        assert_eq!(state, State::Warn);
        assert_eq!(said, "3 messages wait, the oldest for 31 s, in executors_waiting");
        assert_eq!([waits(5, true).0, waits(31, false).0, waits(601, false).0], [State::Ok, State::Ok, State::Warn]);
    }

    #[test]
    fn dead_letters_are_counted() {
        let found = told(&with(vec![Seen::Is(idle()), Seen::Is(idle())], 4));
        let last = found.last().unwrap();
        assert!(last.0 == State::Warn && last.1.starts_with("4 calls were given up"), "{found:?}");
    }
}
