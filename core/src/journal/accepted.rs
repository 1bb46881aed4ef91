//! A note that a call was accepted whose caller left with a handle.
//!
//! Until an executor starts it, such a call has no journal entry; the note tells "not yet" from "never heard of".

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Journal, JournalError};
use crate::clock::Millis;
use crate::ids::{ExecutionId, OrganizationId, Subject};
use crate::job::Job;
use crate::manifest::Effect;

/// What is known about an accepted call before it starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accepted {
    pub organization: OrganizationId,
    pub subject: Option<Subject>,
    pub effect: Effect,
    deadline_ms: i64,
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
            deadline_ms: job.deadline.0,
        };
        let json = serde_json::to_vec(&note).map_err(|error| JournalError::Unreadable(error.to_string()))?;
        // A second note of the same call says the same.
        self.store.create(&key(&job.execution_id), Bytes::from(json)).await.map(drop)
    }

    /// # Errors
    /// When the journal cannot answer.
    pub async fn accepted(&self, id: &ExecutionId) -> Result<Option<Accepted>, JournalError> {
        let Some((json, _)) = self.store.get(&key(id)).await? else { return Ok(None) };
        serde_json::from_slice(&json).map(Some).map_err(|error| JournalError::Unreadable(error.to_string()))
    }
}
