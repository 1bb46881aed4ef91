//! Calls of this gateway now and lately, for whoever looks on. In memory, and bounded: failures and slow calls are kept
//! longer than good ones, and of many good ones some.
//!
//! What a call pays: two entries into a lock that its organization shares with a sixteenth of the others, each for a
//! look-up and a few words; a number in a histogram; two references. Only what is kept is written down, outside of the
//! lock, and masked then.

mod entry;
mod limits;
mod lookup;
mod masked;
mod recent;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::fleet::{Answer as Told, Member, Presence, Question};
use plugboard_core::identity::{Agent, Principal};
use plugboard_core::ids::OrganizationId;
use plugboard_core::job::Job;

pub use self::recent::RecentCalls;
pub(crate) use self::recent::UnderWay;

use crate::answer::Answer;
use crate::seen::Seen;
use crate::state::Gateway;

/// Who makes a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) organization: &'a OrganizationId,
}

/// A call that its caller waits for.
#[derive(Debug, Clone)]
struct Begun {
    job: Arc<Job>,
    agent: Option<Arc<Agent>>,
}

impl Gateway {
    /// Of a call that has its answer: counted, and kept if it is worth it.
    pub(crate) fn note_call(&self, caller: Caller<'_>, seen: &mut Seen<'_>, answer: &Answer, took: Duration) {
        let kept = match seen.under_way.take() {
            Some(under_way) => under_way.end(answer.ok, took),
            None => self.calls.count(caller.organization, answer.ok, took),
        };
        if kept.is_none() {
            return;
        }
        self.calls.keep(self.entry_of(caller, seen, answer, took));
    }
}

impl Member for Gateway {
    fn answer(&self, question: &Question) -> Option<Told> {
        Some(match question {
            Question::Presence => {
                Told::Presence(Presence::new("gateway", &self.me, self.since, self.readiness.report()))
            }
            Question::Rates { organization } => Told::Rates(self.calls.rates(organization.as_ref())),
            Question::Calls(filter) => Told::Calls(self.calls.find(filter)),
            Question::Call { organization, execution_id } => {
                Told::Call(self.calls.get(organization.as_ref(), execution_id).map(Box::new))
            }
        })
    }
}
