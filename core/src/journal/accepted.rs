//! A note that a call was accepted whose caller left with a handle.
//!
//! Until an executor starts it, such a call has no journal entry; the note tells "not yet" from "never heard of".

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Closed, Journal, JournalError, JournalState, Record};
use crate::clock::Millis;
use crate::ids::{ExecutionId, OrganizationId, ServiceKey, Subject};
use crate::job::{Job, Outcome};
use crate::manifest::Effect;

/// What is known about an accepted call before it starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accepted {
    pub organization: OrganizationId,
    pub subject: Option<Subject>,
    pub effect: Effect,
    /// Notes of earlier versions do not have it; it is told to nobody.
    #[serde(default = "unnamed")]
    service: ServiceKey,
    deadline_ms: i64,
}

fn unnamed() -> ServiceKey {
    ServiceKey::trusted("unknown")
}

impl Accepted {
    pub fn deadline(&self) -> Millis {
        Millis(self.deadline_ms)
    }
}

fn key(id: &ExecutionId) -> String {
    format!("accepted_{}", id.as_str())
}

impl Journal {
    /// Written before the handle is given away.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn note_accepted(&self, job: &Job) -> Result<(), JournalError> {
        let note = Accepted {
            organization: job.organization.clone(),
            subject: job.subject.clone(),
            effect: job.effect,
            service: job.service.clone(),
            deadline_ms: job.deadline.0,
        };
        let json = serde_json::to_vec(&note).map_err(|error| JournalError::Unreadable(error.to_string()))?;
        // A second note of the same call says the same.
        self.store.create(&key(&job.execution_id), Bytes::from(json)).await.map(drop)
    }

    /// Ends an accepted call whose deadline has passed and that nobody has begun: it may never have reached the queue, and
    /// its handle would say "running" for ever. What is still on its way is stopped by this entry, as by any other end.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn close_accepted(
        &self,
        id: &ExecutionId,
        note: &Accepted,
        outcome: &Outcome,
    ) -> Result<Closed, JournalError> {
        let record = Record {
            state: JournalState::Closed,
            execution_id: id.clone(),
            organization: note.organization.clone(),
            subject: note.subject.clone(),
            service: note.service.clone(),
            effect: note.effect,
            owner: None,
            fence: 1,
            // Compared when an open intent is taken over, and this is none.
            request_hash: [0; 32],
            updated_at: self.clock.now(),
            deadline: note.deadline(),
            outcome: Some(outcome.clone()),
        };
        self.close_as(&record).await
    }

    /// # Errors
    /// When the journal cannot answer.
    pub async fn accepted(&self, id: &ExecutionId) -> Result<Option<Accepted>, JournalError> {
        let Some((json, _)) = self.store.get(&key(id)).await? else { return Ok(None) };
        serde_json::from_slice(&json).map(Some).map_err(|error| JournalError::Unreadable(error.to_string()))
    }
}
