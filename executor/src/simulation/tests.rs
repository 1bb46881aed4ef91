//! The runs that every build makes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use plugboard_core::job::Outcome;

use super::call::{Told, Word};
use super::run::{Report, Sky, Stage, run};
use crate::broken::choose;

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
];

/// Runs seeds from 0 on all processors until one fails, or `end`. The seed that failed, and what it found.
fn search(end: u64, variant: Option<&'static str>) -> Option<(u64, Report)> {
    let (next, first) = (AtomicU64::new(0), Mutex::new(None::<(u64, Report)>));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                choose(variant);
                let stage = Stage::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || first.lock().as_ref().is_some_and(|(found, _)| *found < seed) {
                        return;
                    }
                    let report = run(&stage, seed, Sky::Drawn, false);
                    let mut first = first.lock();
                    if !report.violations.is_empty() && first.as_ref().is_none_or(|(found, _)| seed < *found) {
                        *first = Some((seed, report));
                    }
                }
            });
        }
    });
    first.into_inner()
}

/// Plays a seed again, to be read.
fn explain(seed: u64, report: &Report) -> String {
    let played = run(&Stage::new(), seed, Sky::Drawn, true);
    format!("seed {seed} fails; add it to KEPT\n{}\n\n{}", played.lines.join("\n"), report.violations.join("\n"))
}

/// A build that is not optimised has time for fewer.
fn seeds() -> u64 {
    let usual = if cfg!(debug_assertions) { 500 } else { 10_000 };
    std::env::var("SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

#[test]
fn ten_thousand_seeds() {
    if let Some((seed, report)) = search(seeds(), None) {
        panic!("{}", explain(seed, &report));
    }
}

#[test]
fn what_once_failed_holds() {
    let stage = Stage::new();
    for seed in KEPT {
        let report = run(&stage, *seed, Sky::Drawn, false);
        assert!(report.violations.is_empty(), "{}", explain(*seed, &report));
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
                matches!(&told, Told::Left) || matches!(&told, Told::Outcome(outcome) if succeeded(outcome)),
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
        let found = search(300, Some(variant));
        let Some((seed, report)) = found else { panic!("nobody noticed {variant}") };
        println!("{variant}: seed {seed}, {}", report.violations.first().map_or("", String::as_str));
    }
}
