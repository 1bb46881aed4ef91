//! The invariants, judged from the vendor's ledger, the callers' log and what was found in the end: never from what the
//! product says of itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::calls::{self, Call};
use crate::driver::DEADLINE;
use crate::fairness;
use crate::records::{Answer, Class, Fault, Records};
use crate::script::SKIP;
use crate::table::{Row, Verdict};

/// The promise is 30 s; a machine that is busy with other things gets twice that.
const RECOVERS_WITHIN_MS: u64 = 60_000;

/// After a dead executor's silence, and for a slow machine as long again.
const TAKEN_OVER_WITHIN_MS: u64 = 20_000;

/// What can explain a refresh that got lost was this long ago at most.
const EXPLAINS_WITHIN_MS: u64 = 90_000;

/// A job is put aside by the delivery after its last start.
const MOST_STARTS: u32 = 6;

pub(crate) fn check(records: &Records) -> Vec<Row> {
    let calls = calls::of(records);
    vec![
        faults(records),
        lost(records, &calls),
        doubled(&calls),
        keyed(&calls),
        false_success(&calls),
        false_not_sent(&calls),
        silent(&calls),
        two_answers(&calls),
        foreign(records, &calls),
        dead_letters(records),
        secrets(records),
        canary(records, &calls),
        refreshes(records),
        fairness::check(records, &calls),
        recovery(records),
        audit(records),
    ]
}

pub(crate) fn is_red(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.verdict == Verdict::Red)
}

fn faults(records: &Records) -> Row {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for fault in records.faults.iter().filter(|fault| fault.took) {
        *kinds.entry(&fault.kind).or_default() += 1;
    }
    let listed: Vec<String> = kinds.iter().map(|(kind, times)| format!("{times} {kind}")).collect();
    let met: BTreeSet<&str> =
        failpoints(records).filter(|fault| fault.took).map(|fault| fault.target.as_str()).collect();
    let missed: BTreeSet<&str> = failpoints(records).map(|fault| fault.target.as_str()).collect();
    let missed = missed.difference(&met).map(|name| format!("the failpoint {name} was never met")).collect();
    let mut note = format!("{} of 12 failpoints met", met.len());
    let skipped: BTreeSet<&str> =
        records.faults.iter().filter(|fault| fault.kind == SKIP).map(|fault| fault.target.as_str()).collect();
    skipped.iter().for_each(|what| note.push_str(&format!("; not made: {what}")));
    Row::judged("–", "faults happen", listed.join(", "), missed, note)
}

fn failpoints(records: &Records) -> impl Iterator<Item = &Fault> {
    records.faults.iter().filter(|fault| fault.kind == "failpoint")
}

/// A call that has no end; and one that may be taken over, and that nobody took over although there was time.
fn lost(records: &Records, calls: &[Call<'_>]) -> Row {
    let mut against = Vec::new();
    let asked = calls.iter().filter(|call| !call.asked.is_empty());
    let mut looked_at = 0;
    for call in asked {
        looked_at += 1;
        if call.last_end().is_none() {
            against.push(format!("{}: no end", call.marker));
        }
        let ended: BTreeSet<&str> = call.ends().filter_map(|(_, told)| told.execution_id.as_deref()).collect();
        let given: BTreeSet<&str> = call.told().filter_map(|(_, told)| told.execution_id.as_deref()).collect();
        against.extend(given.difference(&ended).map(|id| format!("{}: {id} has no end", call.marker)));
    }
    for call in calls.iter().filter(|call| there_was_time(records, call)) {
        match call.ends().next().and_then(|(_, told)| told.code.as_deref()) {
            Some("OUTCOME_UNKNOWN") if matches!(call.class(), Some(Class::Idempotent | Class::Keyed)) => {
                against.push(format!("{}: unknown at its deadline, and nobody had taken it over", call.marker));
            }
            Some("DEADLINE_EXCEEDED") if call.was_accepted() && call.requests.is_empty() => {
                against.push(format!("{}: accepted, and nobody had begun it at its deadline", call.marker));
            }
            _ => {}
        }
    }
    Row::judged("I1", "accepted calls lost", format!("{looked_at} calls"), against, "")
}

/// It was told at its deadline how it ended, and before that there was time for another executor in which nothing was broken.
fn there_was_time(records: &Records, call: &Call<'_>) -> bool {
    let (Some(first), Some((asked, _))) = (call.asked.first(), call.ends().next()) else { return false };
    let deadline = first.from + DEADLINE.as_millis() as u64;
    if asked.to < deadline {
        return false;
    }
    let mut quiet_since = first.from;
    let mut longest = 0;
    // They are written down when they end, and some last long beside others.
    let mut faults: Vec<&Fault> = records.faults.iter().collect();
    faults.sort_by_key(|fault| fault.at);
    for fault in faults {
        longest = longest.max(fault.at.min(deadline).saturating_sub(quiet_since));
        quiet_since = quiet_since.max(fault.recovered.unwrap_or(u64::MAX));
    }
    longest.max(deadline.saturating_sub(quiet_since)) >= TAKEN_OVER_WITHIN_MS
}

fn of_class<'a, 'c>(calls: &'c [Call<'a>], wanted: &'c [Class]) -> impl Iterator<Item = &'c Call<'a>> {
    calls.iter().filter(|call| call.class().is_some_and(|class| wanted.contains(&class)))
}

fn doubled(calls: &[Call<'_>]) -> Row {
    let once: Vec<_> = of_class(calls, &[Class::Once]).collect();
    let against = once
        .iter()
        .filter(|call| call.effects() > 1 || call.complete().count() > 1)
        .map(|call| format!("{}: {} requests, {} effects", call.marker, call.complete().count(), call.effects()))
        .collect();
    let effects: usize = once.iter().map(|call| call.effects()).sum();
    let looked_at = format!("{} `once` calls, {effects} effects", once.len());
    Row::judged("I2", "a `once` call done or sent twice", looked_at, against, "")
}

fn keyed(calls: &[Call<'_>]) -> Row {
    let repeatable: Vec<_> = of_class(calls, &[Class::Idempotent, Class::Keyed]).collect();
    let mut against = Vec::new();
    let mut repeats = 0;
    for call in &repeatable {
        let keys: BTreeSet<_> = call.complete().map(|request| &request.key).collect();
        let bodies: BTreeSet<_> = call.complete().map(|request| &request.body).collect();
        repeats += call.complete().count().saturating_sub(1);
        if call.effects() > 1 || keys.len() > 1 || bodies.len() > 1 {
            let (effects, keys, bodies) = (call.effects(), keys.len(), bodies.len());
            against.push(format!("{}: {effects} effects, {keys} keys, {bodies} bodies", call.marker));
        }
    }
    let looked_at = format!("{} calls, {repeats} repeats", repeatable.len());
    Row::judged("I3", "a repeatable call done twice, or repeated as another", looked_at, against, "")
}

fn false_success(calls: &[Call<'_>]) -> Row {
    let mut against = Vec::new();
    let mut looked_at = 0;
    for call in calls {
        for (asked, told) in call.ends().filter(|(_, told)| told.succeeded()) {
            looked_at += 1;
            let did = call.complete().any(|request| {
                let right = request.body == asked.body && (asked.class == Class::Read || request.effect);
                right && (told.effect.is_none() || told.effect == Some(request.seq))
            });
            if !did {
                against.push(format!("{}: success, effect {:?}, is not in the ledger", call.marker, told.effect));
            }
        }
    }
    Row::judged("I4", "false success", format!("{looked_at} successes"), against, "")
}

/// Nothing may have come to the vendor before the caller began anew. An answer that did not come hides what it would have
/// told, so what is said after one counts only if that call never came through.
fn false_not_sent(calls: &[Call<'_>]) -> Row {
    let mut against = Vec::new();
    let mut looked_at = 0;
    for call in calls {
        for (at, asked) in call.asked.iter().enumerate() {
            let Answer::Told(told) = &asked.answer else { continue };
            let hidden = call.asked[..at].iter().any(|earlier| match &earlier.answer {
                Answer::Lost { why } => why != "connect",
                Answer::Refused { .. } => false,
                Answer::Told(told) => !told.not_sent() && told.is_final(),
            });
            if !told.not_sent() || hidden || asked.kind == "look" && told.execution_id.is_none() {
                continue;
            }
            looked_at += 1;
            let next =
                call.asked[at + 1..].iter().find(|later| later.kind == "call").map_or(u64::MAX, |later| later.from);
            if let Some(request) = call.requests.iter().find(|request| request.at < next) {
                let (code, seq) = (told.code.as_deref().unwrap_or_default(), request.seq);
                against.push(format!("{}: {code}, not sent, and yet line {seq} of the ledger", call.marker));
            }
        }
    }
    Row::judged("I4", "false `not_sent`", format!("{looked_at} times told"), against, "")
}

fn silent(calls: &[Call<'_>]) -> Row {
    let writes: Vec<_> = of_class(calls, &[Class::Idempotent, Class::Keyed, Class::Once]).collect();
    let mut against = Vec::new();
    let (mut unknown, mut late, mut nothing) = (0, 0, 0);
    for call in &writes {
        let Some(end) = call.last_end() else { continue };
        if call.effects() > 0 && !end.succeeded() && !end.unknown() && !end.not_sent() {
            let (code, outcome) = (end.code.as_deref().unwrap_or_default(), end.outcome.as_deref().unwrap_or_default());
            against.push(format!("{}: done, and told as {code}, {outcome}", call.marker));
        }
        unknown += usize::from(end.unknown());
        nothing += usize::from(end.unknown() && call.requests.is_empty());
        late += usize::from(!end.unknown() && call.ends().any(|(_, told)| told.unknown()));
    }
    let share = 100.0 * unknown as f64 / writes.len().max(1) as f64;
    let note = format!(
        "{unknown} unknown ({share:.1} %), {nothing} of them never came to the vendor; {late} cleared up later"
    );
    Row::judged(
        "I5",
        "done, and told otherwise than as success or unknown",
        format!("{} writes", writes.len()),
        against,
        note,
    )
}

fn two_answers(calls: &[Call<'_>]) -> Row {
    let writes: Vec<_> = of_class(calls, &[Class::Idempotent, Class::Keyed, Class::Once]).collect();
    let mut against = Vec::new();
    let mut answers = 0;
    for call in &writes {
        let told: BTreeSet<String> = call
            .ends()
            .filter(|(_, told)| !told.unknown() && !told.not_sent())
            .inspect(|_| answers += 1)
            .map(|(_, told)| match told.succeeded() {
                true => format!("success {:?}", told.effect),
                false => told.code.clone().unwrap_or_default(),
            })
            .collect();
        if told.len() > 1 {
            against.push(format!("{}: {told:?}", call.marker));
        }
        if call.told().any(|(_, told)| told.code.as_deref() == Some("IDEMPOTENCY_CONFLICT")) {
            against.push(format!("{}: its own key conflicts", call.marker));
        }
    }
    Row::judged("I6", "two answers under one key", format!("{} keys, {answers} answers", writes.len()), against, "")
}

fn foreign(records: &Records, calls: &[Call<'_>]) -> Row {
    let mut against = Vec::new();
    let mut looked_at = 0;
    for call in calls {
        let Some(own) = records.facts.credentials.get(call.tenant()) else { continue };
        for request in call.requests.iter().filter(|request| request.complete) {
            looked_at += 1;
            if request.credential != *own {
                against.push(format!("{}: line {} has somebody else's credential", call.marker, request.seq));
            }
        }
    }
    Row::judged("I7", "another tenant's credential", format!("{looked_at} requests"), against, "")
}

fn dead_letters(records: &Records) -> Row {
    let facts = &records.facts;
    let mut against = Vec::new();
    let mut seen = BTreeSet::new();
    for letter in &facts.dead_letters {
        let bad = letter.reason.is_empty() || letter.starts > MOST_STARTS || !letter.has_job;
        if bad || !seen.insert(&letter.execution_id) {
            against.push(format!("{letter:?}"));
        }
    }
    if let Some(poison) = &facts.poison
        && !seen.contains(poison)
    {
        against.push(format!("{poison} was to be put aside, and was not"));
    }
    if facts.jobs_left != Some(0) {
        against.push(format!("{:?} messages are left in the queue", facts.jobs_left));
    }
    let looked_at = format!("{} letters", facts.dead_letters.len());
    Row::judged("I8", "dead letters without reason, job or end; jobs left over", looked_at, against, "")
}

fn secrets(records: &Records) -> Row {
    let facts = &records.facts;
    let looked_at = format!("{} secrets, 12 forms, all files", facts.secrets_looked_for);
    Row::judged("I9", "secrets found", looked_at, facts.secrets_found.clone(), "")
}

fn canary(records: &Records, calls: &[Call<'_>]) -> Row {
    let module = |call: &&Call<'_>| call.asked.first().is_some_and(|asked| asked.module == "canary");
    let aimed = calls.iter().filter(module).count();
    let redirects =
        calls.iter().flat_map(|call| &call.requests).filter(|request| request.behaviour == "redirect").count();
    let connections = records.facts.canary_connections;
    let against = (0..connections).map(|_| "a connection".to_owned()).collect();
    let looked_at = format!("{aimed} calls to a forbidden address, {redirects} redirects to it");
    Row::judged("I10", "forbidden addresses dialled", looked_at, against, "")
}

fn refreshes(records: &Records) -> Row {
    let oauth = &records.facts.oauth;
    let mut against: Vec<String> =
        (0..oauth.reused).map(|_| "a used refresh token was sent again".to_owned()).collect();
    // A token dies with the process that has just received it; and a process dies only when it is made to.
    let explains = |fault: &&Fault| {
        let about = ["auth", "redis", "refresh_", "all services"].iter().any(|what| fault.target.contains(what));
        about && fault.took
    };
    for at in &oauth.lost {
        let explained = records
            .faults
            .iter()
            .filter(explains)
            .any(|fault| fault.at <= *at && *at <= fault.recovered.unwrap_or(fault.healed) + EXPLAINS_WITHIN_MS);
        if !explained {
            against.push(format!("at {at} ms an account was lost, and no auth service had died"));
        }
    }
    let looked_at = format!("{} rounds, {} refreshes", oauth.rounds, oauth.refreshed);
    let note = format!("{} accounts lost with a process that had just refreshed", oauth.lost.len());
    Row::judged("I11", "refresh tokens used twice, accounts lost without cause", looked_at, against, note)
}

fn recovery(records: &Records) -> Row {
    let mut against = Vec::new();
    let mut times = Vec::new();
    for fault in &records.faults {
        match fault.recovered.map(|at| at.saturating_sub(fault.healed)) {
            Some(time) if time <= RECOVERS_WITHIN_MS => times.push(time),
            late => against.push(format!("{} {}: {late:?} ms", fault.kind, fault.target)),
        }
    }
    times.sort_unstable();
    let grown = |pick: fn(&(u64, u64, u64)) -> u64| {
        let most = records.facts.processes.values().filter_map(|looks| looks.iter().map(pick).max()).max();
        most.unwrap_or_default()
    };
    let note = format!(
        "median {} ms, worst {} ms; at most {} MiB and {} files a process",
        times.get(times.len() / 2).unwrap_or(&0),
        times.last().unwrap_or(&0),
        grown(|look| look.1),
        grown(|look| look.2)
    );
    Row::judged("I13", "calls that do not succeed again", format!("{} faults", records.faults.len()), against, note)
}

fn audit(records: &Records) -> Row {
    let facts = &records.facts;
    let looked_at = format!("{} chains", facts.audit_chains);
    Row::judged("I14", "audit chains that do not hold", looked_at, facts.audit_faults.clone(), "")
}
