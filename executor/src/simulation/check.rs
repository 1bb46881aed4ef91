//! Whether a run kept its promises: the ledger against the answers against the journal.

use std::collections::BTreeSet;

use plugboard_core::job::Outcome;
use plugboard_core::journal::{JournalState, Record, is_final};
use plugboard_core::manifest::Effect;

use super::call::{Call, Word};
use super::ledger::Line;

/// All that is known of one call when everything has ended.
pub(super) struct Facts<'a> {
    pub(super) call: &'a Call,
    pub(super) lines: Vec<Line>,
    pub(super) record: Option<Record>,
    /// Every outcome that an executor sent, also those that nobody waited for any more.
    pub(super) replies: Vec<Outcome>,
    /// What callers were told of it, be it their own call or one that they repeated.
    pub(super) told: Vec<Outcome>,
    /// The queue had taken it.
    pub(super) stored: bool,
}

impl Facts<'_> {
    /// How it ended, in short.
    pub(super) fn end(&self) -> String {
        let record = self.record.as_ref().map(|record| (record.state, record.outcome.as_ref().map(Word::of)));
        match record {
            Some((state, Some(word))) => format!("{} {state:?} {word:?}", self.call.job.effect.as_str()),
            Some((state, None)) => format!("{} {state:?}", self.call.job.effect.as_str()),
            None => format!("{} not recorded", self.call.job.effect.as_str()),
        }
    }

    fn acted(&self) -> usize {
        self.lines.iter().filter(|line| line.acted).count()
    }

    fn is_read(&self) -> bool {
        self.call.job.effect == Effect::Read
    }

    fn outcomes(&self) -> Vec<&Outcome> {
        let recorded = self.record.as_ref().and_then(|record| record.outcome.as_ref());
        self.replies.iter().chain(&self.told).chain(recorded).collect()
    }

    /// The same call was made before as `first`, and its effect may not have come twice.
    pub(super) fn violates_as_repeat(&self, first: &Facts<'_>) -> Option<String> {
        let single = matches!(self.call.job.effect, Effect::Once | Effect::Keyed);
        let twice = single && self.acted() + first.acted() > 1;
        twice.then(|| format!("I6, done again by a repeat: {first:?} {self:?}"))
    }

    /// What is wrong with it.
    pub(super) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut demand = |holds: bool, what: &str| {
            if !holds {
                let job = &self.call.job;
                found.push(format!("{what}: {} {} {self:?}", job.execution_id, job.effect.as_str()));
            }
        };
        self.ends(&mut demand);
        self.happens_as_declared(&mut demand);
        for outcome in self.outcomes() {
            self.is_true(Word::of(outcome), &mut demand);
        }
        self.is_one_answer(&mut demand);
        found
    }

    fn ends(&self, demand: &mut impl FnMut(bool, &str)) {
        let recorded = self.record.as_ref().is_some_and(|record| is_final(record.state));
        let by_reply = self.is_read() && self.call.job.interactive();
        demand(!self.stored || by_reply || recorded, "I1, a job that never ended");
    }

    fn happens_as_declared(&self, demand: &mut impl FnMut(bool, &str)) {
        let same = |of: fn(&Line) -> Option<&str>| {
            let all: BTreeSet<_> = self.lines.iter().map(of).collect();
            all.len() <= 1
        };
        match self.call.job.effect {
            Effect::Read => {}
            Effect::Once => {
                demand(self.acted() <= 1, "I2, done twice");
                let asked = self.lines.iter().filter(|line| !line.unauthorized).count();
                demand(asked <= 1, "I2, asked twice for what may be done once");
            }
            Effect::Keyed => {
                demand(self.acted() <= 1, "I3, done twice under keys");
                demand(same(|line| line.key.as_deref()), "I3, another key");
                demand(self.lines.iter().all(|line| line.key.is_some()), "I3, no key");
                demand(same(|line| Some(&line.request)), "I3, another request under the same key");
            }
            Effect::Idempotent => demand(same(|line| Some(&line.request)), "I3, another request"),
        }
    }

    fn is_true(&self, word: Word, demand: &mut impl FnMut(bool, &str)) {
        match word {
            Word::Succeeded | Word::Applied => demand(self.acted() > 0, "I4, said to be done and never done"),
            // It has no intent, so one start may say so and another make it: there is nothing to double.
            Word::NotSent if self.is_read() => {}
            Word::NotSent => demand(self.lines.is_empty(), "I4, said not to be sent and sent"),
            Word::Rejected => demand(self.is_read() || self.acted() == 0, "I4, said to be rejected and done"),
            Word::Unknown => {
                let begun = self.record.as_ref().is_some_and(|record| record.state != JournalState::Closed);
                demand(self.is_read() || begun, "I5, said to be unknown and never begun");
            }
        }
    }

    fn is_one_answer(&self, demand: &mut impl FnMut(bool, &str)) {
        if self.is_read() {
            return;
        }
        let definite = |outcome: &&&Outcome| Word::of(outcome) != Word::Unknown;
        let outcomes = self.outcomes();
        let answers: BTreeSet<_> = outcomes.iter().filter(definite).map(|outcome| &outcome.envelope).collect();
        demand(answers.len() <= 1, "I6, two answers");
        let recorded = match &self.record {
            Some(Record { outcome: Some(outcome), .. }) => Some(Word::of(outcome)),
            // An intent that nobody has closed by the deadline is told to be unknown, too.
            Some(record) => {
                matches!(record.state, JournalState::Unknown | JournalState::Intent).then_some(Word::Unknown)
            }
            None => None,
        };
        let owned = matches!(recorded, Some(Word::Succeeded | Word::Applied | Word::Unknown));
        demand(self.acted() == 0 || owned, "I5, done and not to be found");
    }
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let record = self.record.as_ref().map(|record| (record.state, record.outcome.as_ref().map(Word::of)));
        f.debug_struct("Facts")
            .field("lines", &self.lines)
            .field("record", &record)
            .field("replies", &self.replies.iter().map(Word::of).collect::<Vec<_>>())
            .field("told", &self.call.told)
            .finish_non_exhaustive()
    }
}
