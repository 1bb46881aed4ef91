//! Whether a loud tenant makes the others wait.
//!
//! In stretches in which nothing is broken, the first tenant makes ten times as many calls as each of the others, and then
//! as many, in turn. What is compared is how long the others' calls are under way until the vendor has them: what the
//! vendor does with them afterwards is not our doing. There is no quota of requests at once that could be broken, so how
//! many there were is only told.

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
    let mut waits: BTreeMap<bool, Vec<u64>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.tenant() != LOUD) {
        let (Some(asked), Some(request)) = (call.asked.first(), call.requests.first()) else { continue };
        let during = records.phases.iter().find(|phase| (phase.from..phase.to).contains(&asked.from));
        if let Some(phase) = during {
            waits.entry(phase.loud).or_default().push(request.at.saturating_sub(asked.from));
        }
    }
    let waits = |loud| waits.get(&loud).cloned().unwrap_or_default();
    let (quiet, loud) = (waits(false), waits(true));
    let looked_at = format!("{} calls beside a quiet tenant, {} beside a loud one", quiet.len(), loud.len());
    let (Some(before), Some(beside)) = (p95(quiet.clone()), p95(loud.clone())) else {
        return Row::told("I12", PROMISE, looked_at, at_once(records));
    };
    let found = format!("p95 until the vendor has it: {before} ms, {beside} ms; {}", at_once(records));
    if quiet.len().min(loud.len()) < ENOUGH {
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
