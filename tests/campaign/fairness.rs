//! Whether a loud tenant makes the others wait.
//!
//! In stretches in which nothing is broken, the first tenant makes ten times as many calls as each of the others, and then
//! as many, in turn. What is compared is how long the others' calls are under way until the vendor has them: what the
//! vendor does with them afterwards is not our doing. A disk that is busy for half a second delays one call in twenty of a
//! turn or two, and a loud tenant those of every turn, so the middle one of the turns speaks for all. There is no quota of
//! requests at once that could be broken, so how many there were is only told.

use std::collections::BTreeMap;

use crate::calls::Call;
use crate::records::{Entry, Records};
use crate::table::Row;

const LOUD: &str = "t00";

/// The promise, and what two busy cores move a wait by without any tenant's doing.
const GROWS_BY: f64 = 1.2;
const SLACK_MS: u64 = 25;

/// With fewer calls in either, the one in twenty that is looked at is chance.
const ENOUGH: usize = 200;

pub(crate) fn check(records: &Records, calls: &[Call<'_>]) -> Row {
    let mut turns: Vec<Vec<u64>> = vec![Vec::new(); records.phases.len()];
    for call in calls.iter().filter(|call| call.tenant() != LOUD) {
        let (Some(asked), Some(request)) = (call.asked.first(), call.requests.first()) else { continue };
        let during = records.phases.iter().position(|phase| (phase.from..phase.to).contains(&asked.from));
        if let Some(during) = during {
            turns[during].push(request.at.saturating_sub(asked.from));
        }
    }
    let of = |loud| {
        let turns = records.phases.iter().zip(&turns).filter(move |(phase, _)| phase.loud == loud);
        turns.map(|(_, waits)| waits.clone())
    };
    let number = |loud| of(loud).map(|waits| waits.len()).sum::<usize>();
    let (quiet, loud) = (number(false), number(true));
    let looked_at = format!("{quiet} calls beside a quiet tenant, {loud} beside a loud one");
    let (Some(before), Some(beside)) = (middle(of(false).filter_map(p95)), middle(of(true).filter_map(p95))) else {
        return Row::told("I12", PROMISE, looked_at, at_once(records));
    };
    let found = format!("p95 until the vendor has it: {before} ms, {beside} ms; {}", at_once(records));
    if quiet.min(loud) < ENOUGH {
        return Row::told("I12", PROMISE, looked_at, found);
    }
    let most = (before as f64 * GROWS_BY) as u64 + SLACK_MS;
    let against = (beside > most).then(|| format!("{beside} ms beside a loud tenant, {most} ms would do"));
    Row::judged("I12", PROMISE, looked_at, against.into_iter().collect(), found)
}

const PROMISE: &str = "a loud tenant makes the others wait";

fn p95(mut waits: Vec<u64>) -> Option<u64> {
    waits.sort_unstable();
    waits.get(waits.len() * 95 / 100).copied()
}

/// Of two in the middle the lower one.
fn middle(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// Of the loud tenant, at the vendor.
fn at_once(records: &Records) -> String {
    let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in &records.ledger {
        if let Entry::Answered { seq, at, .. } = entry {
            ends.insert(*seq, *at);
        }
    }
    let mut steps: Vec<(u64, i64)> = Vec::new();
    for entry in &records.ledger {
        if let Entry::Request(request) = entry
            && request.marker.starts_with(LOUD)
            && let Some(end) = ends.get(&request.seq)
        {
            steps.extend([(request.at, 1), (*end, -1)]);
        }
    }
    // Ends before beginnings of the same moment.
    steps.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, step) in steps {
        now += step;
        most = most.max(now);
    }
    format!("at most {most} requests of one tenant at once")
}
