//! What callers were told, held against the vendor's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use plugboard_tests::vendor::{Received, Vendor};

/// Kinds of calls, as the verdict names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Read,
    Write,
    Background,
    Slow,
    Streamed,
    Grpc,
    Look,
}

impl Kind {
    /// With how many calls of a kind something is shown.
    const ALL: [(Self, &str, u64); 7] = [
        (Self::Read, "reads over MCP", 100),
        (Self::Write, "`once` writes over MCP", 100),
        (Self::Background, "background submits over MCP", 100),
        (Self::Slow, "very slow reads over MCP", 6),
        (Self::Streamed, "reads that become an event stream after 15 s", 6),
        (Self::Grpc, "reads over gRPC", 100),
        (Self::Look, "looks for the end of a background call", 100),
    ];
}

#[derive(Debug, Default)]
struct Counts {
    calls: BTreeMap<Kind, u64>,
    /// Each with what was answered instead of a success.
    failures: Vec<(Kind, String)>,
    /// Markers of writes that are to be in the ledger once.
    written: BTreeSet<String>,
    /// Background calls whose end nobody has heard of.
    open: BTreeSet<String>,
}

/// Shared by all callers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

impl Tally {
    pub(crate) fn count(&self, kind: Kind, answer: &Result<(), String>) {
        let mut counts = self.0.lock().unwrap();
        *counts.calls.entry(kind).or_default() += 1;
        if let Err(why) = answer {
            eprintln!("{kind:?} failed: {why}");
            counts.failures.push((kind, why.clone()));
        }
    }

    /// A write that was told as done, or as accepted.
    pub(crate) fn wrote(&self, marker: &str) {
        self.0.lock().unwrap().written.insert(marker.to_owned());
    }

    pub(crate) fn accepted(&self, execution: &str) {
        self.0.lock().unwrap().open.insert(execution.to_owned());
    }

    pub(crate) fn ended(&self, execution: &str) {
        self.0.lock().unwrap().open.remove(execution);
    }

    /// Calls, and those of them that failed.
    pub(crate) fn counts(&self) -> (u64, usize) {
        let counts = self.0.lock().unwrap();
        (counts.calls.values().sum(), counts.failures.len())
    }

    /// One line for each thing; whether all are good.
    pub(crate) fn verdict(&self, vendor: &Vendor, logs: &str) -> bool {
        let counts = self.0.lock().unwrap();
        let mut good = true;
        let mut line = |holds: bool, text: String| {
            println!("{} upgrade: {text}", if holds { "PASS" } else { "FAIL" });
            good &= holds;
        };
        for (kind, name, least) in Kind::ALL {
            let calls = counts.calls.get(&kind).copied().unwrap_or_default();
            let failed = counts.failures.iter().filter(|(one, _)| *one == kind).count();
            line(failed == 0 && calls >= least, format!("{failed} of {calls} {name} failed"));
        }
        let done = vendor.tally(marker);
        let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
        line(twice.is_empty(), format!("{} of {} writes came to the vendor twice {twice:?}", twice.len(), done.len()));
        let lost: Vec<_> = counts.written.iter().filter(|marker| !done.contains_key(*marker)).collect();
        let written = counts.written.len();
        line(lost.is_empty(), format!("{} of {written} writes that were told as done never came {lost:?}", lost.len()));
        line(counts.open.is_empty(), format!("{} background calls have no end {:?}", counts.open.len(), counts.open));
        let ends: Vec<_> = logs.lines().filter(|line| line.contains(" ended (")).collect();
        let bad: Vec<_> = ends.iter().filter(|line| !line.contains(" ended (0)")).collect();
        line(
            bad.is_empty() && !ends.is_empty(),
            format!("{} of {} stops were not clean {bad:?}", bad.len(), ends.len()),
        );
        good
    }
}

/// Every write has a name of its own.
fn marker(request: &Received) -> Option<String> {
    (request.method == "POST").then(|| request.json()["properties"]["dealname"].as_str().map(str::to_owned))?
}
