//! The runs that every build makes.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use plugboard_core::job::Outcome;

use super::call::{Told, Word};
use super::run::{Report, Sky, Stage, run};
use crate::broken::choose;

/// Seeds that once found something. What they found stays found.
const KEPT: &[u64] = &[];

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

fn seeds() -> u64 {
    std::env::var("SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(10_000)
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
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..1_000 {
        for (what, times) in run(&stage, seed, Sky::Drawn, false).seen {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    for (what, times) in seen {
        println!("{what:<40} {times}");
    }
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
        let found = search(2_000, Some(variant));
        let Some((seed, report)) = found else { panic!("nobody noticed {variant}") };
        println!("{variant}: seed {seed}, {}", report.violations.first().map_or("", String::as_str));
    }
}
