//! Calls that were accepted and that nobody has begun.

use super::{Closed, Journal, JournalError, JournalState, Record};
use crate::ids::ServiceKey;
use crate::job::{Accepted, Outcome};

impl Journal {
    /// Ends an accepted call whose deadline has passed and that nobody has begun: it may never have reached the queue, and
    /// its handle would say "running" for ever. What is still on its way is stopped by this entry, as by any other end.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn close_accepted(&self, accepted: &Accepted, outcome: &Outcome) -> Result<Closed, JournalError> {
        let record = Record {
            state: JournalState::Closed,
            execution_id: accepted.execution_id.clone(),
            organization: accepted.organization.clone(),
            subject: accepted.subject.clone(),
            // An id does not tell it, and nobody is told.
            service: ServiceKey::trusted("unknown"),
            effect: accepted.effect,
            owner: None,
            fence: 1,
            // Compared when an open intent is taken over, and this is none.
            request_hash: [0; 32],
            updated_at: self.clock.now(),
            deadline: accepted.deadline,
            outcome: Some(outcome.clone()),
        };
        self.close_as(&record).await
    }
}
