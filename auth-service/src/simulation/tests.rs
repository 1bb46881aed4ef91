//! The runs that every build makes.

use std::collections::BTreeSet;

use plugboard_core::testing::{search, seeds};

use super::run::{Stage, run};
use plugboard_core::broken::choose;

const SEEDS: u64 = 1_000;

/// What must have happened in some runs.
const HAPPENS: &[&str] = &[
    "dies",
    "stands still",
    "store refused",
    "store answer lost",
    "asks, Answered",
    "asks, NoConnection",
    "asks, LostOnItsWay",
    "asks, ResetBefore",
    "asks, ResetAfter",
    "asks, Slow",
    "asks, Down",
    "asks, Limited",
    "asks, Silent",
    "renews",
    "refuses",
    "stores",
    "gives a token",
    "tells an error",
    "is shown a ticket: forged",
    "is shown a ticket: edited account",
    "is shown a ticket: edited both",
    "is shown a ticket: edited deadline",
    "is shown a ticket: ended",
    "is shown a ticket: foreign",
    "a service died",
    "a service stood still",
    "an answer was lost",
    "well in the end",
    "ended",
];

fn first_failure(end: u64, variant: Option<&'static str>) -> Option<(u64, Vec<String>)> {
    let begin = || {
        choose(variant);
        Stage::new()
    };
    search(end, begin, |stage, seed| run(stage, seed).violations)
}

#[test]
fn a_thousand_seeds() {
    if let Some((seed, violations)) = first_failure(seeds(SEEDS), None) {
        let played = run(&Stage::new(), seed);
        panic!("seed {seed} fails\n{}\n\n{}", played.lines.join("\n"), violations.join("\n"));
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let stage = Stage::new();
    for seed in 0..20 {
        assert_eq!(run(&stage, seed).lines.len(), run(&stage, seed).lines.len(), "seed {seed}");
    }
}

#[test]
fn everything_happens() {
    let stage = Stage::new();
    let mut missing: BTreeSet<&str> = HAPPENS.iter().copied().collect();
    for seed in 0..400 {
        let kinds = run(&stage, seed).kinds;
        missing.retain(|what| !kinds.contains(*what));
        if missing.is_empty() {
            return;
        }
    }
    panic!("never happened: {missing:?}");
}

/// The variant turns red, and for this invariant.
fn assert_red(variant: &'static str, invariant: &str) {
    let (seed, violations) = first_failure(seeds(SEEDS), Some(variant)).expect("no seed notices");
    assert!(violations.iter().any(|violation| violation.starts_with(invariant)), "seed {seed}: {violations:?}");
}

#[test]
fn another_tenants_record_is_noticed() {
    assert_red("no_tenant_check", "I7");
}

#[test]
fn a_lease_without_compare_and_set_is_noticed() {
    assert_red("lock_without_cas", "I11");
}
