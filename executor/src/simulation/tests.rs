//! The runs that every build makes.

use std::collections::BTreeSet;

use plugboard_core::job::Outcome;
use plugboard_core::testing::{search, seeds};

use super::call::{Told, Word};
use super::run::{Sky, Stage, run};
use plugboard_core::broken::choose;

/// Seeds that once found something: a refusal for a key that was still being worked on (11), a refusal that a start which
/// had only stood still got past later (6959). A change of what a run draws makes other runs of them; what they found is
/// in the tests of `course`, too.
const KEPT: &[u64] = &[11, 6_959];

/// What must have happened in some hundred runs: faults, ends, and what callers are told.
const HAPPENS: &[&str] = &[
    "dies at blobs",
    "dies at catalog",
    "dies at journal",
    "dies at queue",
    "dies at replies",
    "dies at vault",
    "dies at vendor",
    "stands still",
    "is stopped",
    "gateway dies",
    "hangs up",
    "repeats",
    "journal refused",
    "journal answer lost",
    "queue answer lost",
    "reply lost",
    "acks, unheard",
    "nacks, unheard",
    "no sign of life",
    "hands back",
    "buries",
    "no connection",
    "express",
    "express, late",
    "express, not arrived",
    "express, unheard",
    "answers again",
    "is at it",
    "settles",
    "sends FailsAfter",
    "sends Large",
    "sends Limited",
    "sends LostOnItsWay",
    "sends ResetAfter",
    "sends ResetAndLate",
    "sends ResetBefore",
    "sends Silent",
    "sends Slow",
    "sends TooLarge",
    "sends Truncated",
    "sends Unauthorized",
    "once Closed NotSent",
    "once Done Succeeded",
    "once Done Rejected",
    "once Done Applied",
    "once Done Unknown",
    "once Unknown",
    "once DoneLate Succeeded",
    "keyed Done Succeeded",
    "keyed Done Unknown",
    "idempotent Done Unknown",
    "tells Succeeded",
    "tells NotSent",
    "tells Rejected",
    "tells Applied",
    "tells Unknown",
    "tells nothing: Lost",
    "tells nothing: Handle",
];

/// The first seed that fails, and what it found.
fn first_failure(end: u64, variant: Option<&'static str>) -> Option<(u64, Vec<String>)> {
    let begin = || {
        choose(variant);
        Stage::new()
    };
    search(end, begin, |stage, seed| run(stage, seed, Sky::Drawn, false).violations)
}

/// Plays a seed again, to be read.
fn explain(seed: u64, violations: &[String]) -> String {
    let played = run(&Stage::new(), seed, Sky::Drawn, true);
    format!("seed {seed} fails; add it to KEPT\n{}\n\n{}", played.lines.join("\n"), violations.join("\n"))
}

#[test]
fn ten_thousand_seeds() {
    if let Some((seed, violations)) = first_failure(seeds(10_000), None) {
        panic!("{}", explain(seed, &violations));
    }
}

#[test]
fn what_once_failed_holds() {
    let stage = Stage::new();
    for seed in KEPT {
        let violations = run(&stage, *seed, Sky::Drawn, false).violations;
        assert!(violations.is_empty(), "{}", explain(*seed, &violations));
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let stage = Stage::new();
    let hashes = || (0..100).map(|seed| run(&stage, seed, Sky::Drawn, false).hash).collect::<Vec<_>>();
    let (one, other) = (hashes(), hashes());
    let differs = one.iter().zip(&other).position(|(one, other)| one != other);
    if let Some(seed) = differs {
        let lines = || run(&stage, seed as u64, Sky::Drawn, true).lines;
        let (one, other) = (lines(), lines());
        let at = one.iter().zip(&other).position(|(one, other)| one != other);
        panic!("seed {seed} differs at {:?}", at.map(|at| (&one[at], &other[at])));
    }
}

#[test]
fn without_faults_nothing_is_unknown() {
    let stage = Stage::new();
    let succeeded = |outcome: &Outcome| Word::of(outcome) == Word::Succeeded;
    for seed in 0..50 {
        let report = run(&stage, seed, Sky::Clear, false);
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        for told in report.told {
            assert!(
                matches!(&told, Told::Left | Told::Handle)
                    || matches!(&told, Told::Outcome(outcome) if succeeded(outcome)),
                "{told:?}"
            );
        }
    }
}

/// Faults that never come prove nothing: of each kind there are some, and every way to end is taken.
#[test]
fn everything_happens() {
    let stage = Stage::new();
    let mut missing: BTreeSet<&str> = HAPPENS.iter().copied().collect();
    for seed in 0..1_000 {
        let seen = run(&stage, seed, Sky::Drawn, false).seen;
        missing.retain(|what| !seen.contains(*what));
        if missing.is_empty() {
            return;
        }
    }
    panic!("in no run: {missing:?}");
}

/// A check that cannot fail says nothing: each of these breaks one rule, and must be noticed.
#[test]
fn what_is_broken_is_noticed() {
    let variants = [
        "ack_before_call",
        "no_intent",
        "call_again",
        "retry_after_reset",
        "timeout_as_not_sent",
        "new_key_per_attempt",
        "superseded_speaks",
        "no_compare_and_set",
    ];
    for variant in variants {
        let found = first_failure(2_000, Some(variant));
        let Some((seed, violations)) = found else { panic!("nobody noticed {variant}") };
        println!("{variant}: seed {seed}, {}", violations.first().map_or("", String::as_str));
    }
}
