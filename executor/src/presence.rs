//! What an executor tells of itself.

use std::sync::Arc;

use plugboard_core::clock::Millis;
use plugboard_core::fleet::{Answer, Member, Presence, Question, Work};
use plugboard_core::readiness::Readiness;

use crate::{Deps, Executor};

/// Of each list. A console shows what is wrong, and no inventory.
const MOST_TOLD: usize = 100;

struct ExecutorPresence {
    deps: Arc<Deps>,
    slots: usize,
    since: Millis,
    readiness: Readiness,
}

impl Executor {
    /// This executor, as one of the fleet, under the name by which the journal knows it.
    pub fn presence(&self, readiness: Readiness) -> Arc<dyn Member> {
        let (deps, slots) = (self.deps.clone(), self.config.slots);
        Arc::new(ExecutorPresence { since: deps.clock.now(), deps, slots, readiness })
    }
}

impl Member for ExecutorPresence {
    fn answer(&self, question: &Question) -> Option<Answer> {
        let Question::Presence = question else { return None };
        let mut work = Work {
            slots: self.slots,
            in_flight: self.deps.meters.running(),
            breakers: self.deps.lines.open(),
            congestions: self.deps.congestions.now(),
            crowds: self.deps.limits.as_ref().map(|limits| limits.slots.crowds()).unwrap_or_default(),
        };
        work.breakers.truncate(MOST_TOLD);
        work.congestions.truncate(MOST_TOLD);
        work.crowds.truncate(MOST_TOLD);
        let presence = Presence::new("executor", self.deps.journal.me(), self.since, self.readiness.report());
        Some(Answer::Presence(Presence { work: Some(work), ..presence }))
    }
}
