//! Each invariant turns red for what it is there to find, and stays green for what only looks like it.

use crate::checker::check;
use crate::records::{
    Answer, Asked, Class, DeadLetter, Entry, Facts, Fault, OAuthFacts, Phase, Records, Request, Told,
};
use crate::script::ANY_CALL;
use crate::table::Verdict;

fn asked(marker: &str, class: Class, from: u64, answer: Answer) -> Asked {
    Asked {
        marker: marker.to_owned(),
        tenant: "t00".to_owned(),
        class,
        module: "api".to_owned(),
        body: if class == Class::Read { String::new() } else { "b1".to_owned() },
        kind: "call".to_owned(),
        from,
        to: from + 5,
        answer,
    }
}

fn told(state: &str, outcome: Option<&str>, execution: &str) -> Told {
    Told {
        state: state.to_owned(),
        code: outcome.map(|_| "SOME_CODE".to_owned()),
        outcome: outcome.map(str::to_owned),
        execution_id: Some(execution.to_owned()),
        ..Told::default()
    }
}

fn request(seq: u64, at: u64, marker: &str, effect: bool) -> Request {
    Request {
        seq,
        at,
        marker: marker.to_owned(),
        method: "POST".to_owned(),
        path: format!("/api/messages/{marker}"),
        key: Some("k".to_owned()),
        body: "b1".to_owned(),
        credential: "own".to_owned(),
        behaviour: "ok".to_owned(),
        complete: true,
        effect,
    }
}

/// A call that went well: asked at 0, at the vendor at 1.
fn well(class: Class) -> Records {
    let mut success = told("succeeded", None, "x1");
    success.effect = Some(1);
    let mut facts = Facts { jobs_left: Some(0), ..Facts::default() };
    facts.credentials.insert("t00".to_owned(), "own".to_owned());
    let asked = asked("t00-1", class, 0, Answer::Told(success));
    let fault = |name: &str| Fault {
        kind: "failpoint".to_owned(),
        target: name.to_owned(),
        at: 0,
        healed: 1,
        recovered: Some(2),
        took: true,
    };
    Records {
        ledger: vec![Entry::Request(Request { body: asked.body.clone(), ..request(1, 1, "t00-1", true) })],
        asked: vec![asked],
        faults: ANY_CALL.into_iter().map(fault).collect(),
        phases: Vec::new(),
        facts,
    }
}

fn again(records: &mut Records, from: u64, answer: Answer) {
    let class = records.asked[0].class;
    records.asked.push(asked("t00-1", class, from, answer));
}

fn red(records: &Records) -> Vec<String> {
    let rows = check(records).into_iter().filter(|row| row.verdict == Verdict::Red);
    rows.map(|row| format!("{} {}", row.invariant, row.promise)).collect()
}

#[track_caller]
fn assert_red(records: &Records, invariant: &str) {
    let red = red(records);
    assert_eq!(red.len(), 1, "{red:?}");
    assert!(red[0].starts_with(invariant), "{red:?}");
}

#[test]
fn a_call_that_went_well_is_green() {
    for class in [Class::Once, Class::Keyed, Class::Idempotent] {
        assert_eq!(red(&well(class)), [""; 0]);
    }
}

#[test]
fn a_call_without_an_end_is_lost() {
    let mut records = well(Class::Once);
    records.asked[0].answer = Answer::Lost { why: "broken".to_owned() };
    assert_red(&records, "I1");
    records.asked[0].answer = Answer::Told(told("running", None, "x1"));
    assert!(red(&records).iter().all(|row| row.starts_with("I1")));
    // A handle that never came to an end, although the call was made anew.
    let mut records = well(Class::Once);
    records.asked.insert(0, asked("t00-1", Class::Once, 0, Answer::Told(told("running", None, "x0"))));
    assert_red(&records, "I1");
}

#[test]
fn a_second_request_of_a_once_call_is_red_even_without_effect() {
    let mut records = well(Class::Once);
    records.ledger.push(Entry::Request(request(2, 2, "t00-1", true)));
    assert_red(&records, "I2");
    records.ledger[1] = Entry::Request(request(2, 2, "t00-1", false));
    assert_red(&records, "I2");
    // Half a request is none.
    let partial = Request { complete: false, ..request(2, 2, "t00-1", false) };
    records.ledger[1] = Entry::Request(partial);
    assert_eq!(red(&records), [""; 0]);
}

#[test]
fn a_repeat_has_the_same_key_and_body() {
    let mut records = well(Class::Keyed);
    records.ledger.push(Entry::Request(request(2, 2, "t00-1", false)));
    assert_eq!(red(&records), [""; 0]);
    for other in [
        Request { key: Some("other".to_owned()), ..request(2, 2, "t00-1", false) },
        Request { body: "other".to_owned(), ..request(2, 2, "t00-1", false) },
        request(2, 2, "t00-1", true),
    ] {
        records.ledger[1] = Entry::Request(other);
        assert_red(&records, "I3");
    }
}

#[test]
fn success_needs_its_effect_in_the_ledger() {
    let mut records = well(Class::Once);
    records.ledger.clear();
    assert_red(&records, "I4 false success");
    records.ledger.push(Entry::Request(request(1, 1, "t00-1", false)));
    assert_red(&records, "I4 false success");
}

#[test]
fn nothing_sent_means_nothing_sent() {
    let mut records = well(Class::Once);
    records.asked[0].answer = Answer::Told(told("failed", Some("not_sent"), "x1"));
    assert_red(&records, "I4 false `not_sent`");
    // Half a request is something.
    records.ledger = vec![Entry::Request(Request { complete: false, ..request(1, 1, "t00-1", false) })];
    assert_red(&records, "I4 false `not_sent`");
    // It came with the next call.
    let mut records = well(Class::Once);
    records.asked[0].answer = Answer::Told(told("failed", Some("not_sent"), "x0"));
    let Answer::Told(success) = well(Class::Once).asked[0].answer.clone() else { panic!("it went well") };
    again(&mut records, 10, Answer::Told(success));
    records.ledger = vec![Entry::Request(request(1, 11, "t00-1", true))];
    assert_eq!(red(&records), [""; 0]);
}

#[test]
fn what_was_done_is_never_told_as_refused() {
    let mut records = well(Class::Once);
    records.asked[0].answer = Answer::Told(told("failed", Some("rejected"), "x1"));
    assert_red(&records, "I5");
    records.asked[0].answer = Answer::Told(told("unknown", Some("unknown"), "x1"));
    assert_eq!(red(&records), [""; 0]);
}

#[test]
fn a_key_has_one_answer() {
    let mut records = well(Class::Once);
    again(&mut records, 10, Answer::Told(told("failed", Some("rejected"), "x1")));
    assert!(red(&records).iter().any(|row| row.starts_with("I6")), "{:?}", red(&records));
    // What was unknown may become known.
    let mut records = well(Class::Once);
    records.asked.insert(0, asked("t00-1", Class::Once, 0, Answer::Told(told("unknown", Some("unknown"), "x1"))));
    assert_eq!(red(&records), [""; 0]);
}

#[test]
fn a_foreign_credential_is_seen() {
    let mut records = well(Class::Once);
    records.ledger = vec![Entry::Request(Request { credential: "other".to_owned(), ..request(1, 1, "t00-1", true) })];
    assert_red(&records, "I7");
}

#[test]
fn dead_letters_have_a_reason_and_an_end() {
    let letter = |starts, reason: &str| DeadLetter {
        execution_id: "x9".to_owned(),
        reason: reason.to_owned(),
        starts,
        has_job: true,
    };
    let mut records = well(Class::Once);
    records.facts.poison = Some("x9".to_owned());
    assert_red(&records, "I8");
    records.facts.dead_letters = vec![letter(6, "started 6 times")];
    assert_eq!(red(&records), [""; 0]);
    records.facts.dead_letters = vec![letter(6, "")];
    assert_red(&records, "I8");
    let mut records = well(Class::Once);
    records.facts.jobs_left = Some(1);
    assert_red(&records, "I8");
}

#[test]
fn what_was_found_in_the_end_is_judged() {
    let mut records = well(Class::Once);
    records.facts.secrets_found.push("in a log".to_owned());
    assert_red(&records, "I9");
    let mut records = well(Class::Once);
    records.facts.canary_connections = 1;
    assert_red(&records, "I10");
    let mut records = well(Class::Once);
    records.facts.audit_faults.push("a link is missing".to_owned());
    assert_red(&records, "I14");
}

#[test]
fn refresh_tokens_are_used_once_and_accounts_lost_only_with_their_process() {
    let mut records = well(Class::Once);
    records.facts.oauth = OAuthFacts { reused: 1, ..OAuthFacts::default() };
    assert_red(&records, "I11");
    records.facts.oauth = OAuthFacts { lost: vec![50], ..OAuthFacts::default() };
    assert_red(&records, "I11");
    records.faults.push(Fault {
        kind: "kill".to_owned(),
        target: "auth-1".to_owned(),
        at: 40,
        healed: 45,
        recovered: Some(60),
        took: true,
    });
    assert_eq!(red(&records), [""; 0]);
}

#[test]
fn calls_go_on_and_failpoints_are_met() {
    let mut records = well(Class::Once);
    records.faults[0].recovered = None;
    assert_red(&records, "I13");
    let mut records = well(Class::Once);
    records.faults[0].took = false;
    assert_red(&records, "–");
}

/// Four turns of calls of another tenant, quiet and loud; so long until the vendor has each beside a loud tenant.
fn beside(loud_waits: [u64; 4]) -> Records {
    const TURN: u64 = 6_000;
    let mut records = well(Class::Read);
    for number in 0..480 {
        let (turn, from) = (number / 60, 10_000 + number * 100);
        let wait = if turn % 2 == 0 { 20 } else { loud_waits[usize::try_from(turn).unwrap() / 2] };
        let (marker, seq) = (format!("t03-{number:06}"), 10 + number);
        let mut success = told("succeeded", None, &format!("x{seq}"));
        success.effect = Some(seq);
        records.asked.push(asked(&marker, Class::Read, from, Answer::Told(success)));
        let mut request = request(seq, from + wait, &marker, true);
        request.body.clear();
        records.ledger.push(Entry::Request(request));
    }
    let phase = |turn: u64| Phase { loud: turn % 2 == 1, from: 10_000 + turn * TURN, to: 10_000 + (turn + 1) * TURN };
    records.phases = (0..8).map(phase).collect();
    records
}

#[test]
fn a_loud_tenant_may_not_make_the_others_wait() {
    assert_eq!(red(&beside([45; 4])), [] as [String; 0]);
    assert_red(&beside([90; 4]), "I12");
    assert_red(&beside([20, 90, 90, 90]), "I12");
    // A disk that was busy for a while is nobody's noise.
    assert_eq!(red(&beside([20, 900, 20, 900])), [] as [String; 0]);
}

#[test]
fn a_call_that_nobody_takes_over_is_lost() {
    let mut records = well(Class::Keyed);
    records.faults.clear();
    records.asked[0].answer = Answer::Told(told("unknown", None, "x1"));
    let Answer::Told(told) = &mut records.asked[0].answer else { unreachable!() };
    told.code = Some("OUTCOME_UNKNOWN".to_owned());
    assert_eq!(red(&records), [] as [String; 0], "it was told before its deadline");
    records.asked[0].to = 45_001;
    assert_red(&records, "I1");
    // Something was broken all the time.
    let fault = Fault {
        kind: "kill".to_owned(),
        target: "nats-1".to_owned(),
        at: 10,
        healed: 30_000,
        recovered: Some(40_000),
        took: true,
    };
    records.faults.push(fault);
    assert_eq!(red(&records), [] as [String; 0]);
}

/// As if the queue had forgotten what it had confirmed.
#[test]
fn a_call_that_was_accepted_and_never_begun_is_lost() {
    let mut records = well(Class::Once);
    records.faults.clear();
    records.ledger.clear();
    let mut later = records.asked[0].clone();
    records.asked[0].answer = Answer::Told(told("running", None, "x1"));
    (later.from, later.to, later.kind) = (45_000, 45_001, "look".to_owned());
    let mut end = told("failed", Some("not_sent"), "x1");
    end.code = Some("DEADLINE_EXCEEDED".to_owned());
    later.answer = Answer::Told(end);
    records.asked.push(later);
    assert_red(&records, "I1");
    records.asked[1].to = 44_000;
    assert_eq!(red(&records), [] as [String; 0], "it was told before its deadline");
}
