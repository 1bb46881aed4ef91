//! What happened in a run, in order: as a hash always, as lines when somebody wants to read it.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

#[derive(Default)]
pub(super) struct Trace {
    /// Its keys are fixed, so equal traces hash alike in every process.
    hash: DefaultHasher,
    seen: BTreeSet<String>,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(kept: bool) -> Self {
        Self { lines: kept.then(Vec::new), ..Self::default() }
    }

    pub(super) fn note(&mut self, at: u128, actor: &str, what: &str, about: &str) {
        (at, actor, what, about).hash(&mut self.hash);
        if !self.seen.contains(what) {
            self.seen.insert(what.to_owned());
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at:>7} ms  {actor:<8} {what:<28} {about}"));
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// What was noted.
    pub(super) fn seen(&self) -> &BTreeSet<String> {
        &self.seen
    }

    pub(super) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
