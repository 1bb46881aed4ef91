//! Calls that were given up: looked at, made again, or dropped by whoever may see them.

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::clock::Millis;
use plugboard_core::error::CallError;
use plugboard_core::ids::{ExecutionId, OrganizationId};
use plugboard_core::job::{Acceptance, Job, TraceContext};
use plugboard_core::journal::JournalState;
use plugboard_core::manifest::Effect;
use plugboard_core::queue::{DeadLetterPage, Letter, QueueError};

use crate::config::MAX_DEADLINE_MS;
use crate::state::Gateway;
use crate::submit::{journal_away, noted};

/// Why a dead letter stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    #[error("there is no such dead letter")]
    Absent,
    /// What was asked for is not known any more.
    #[error("the letter cannot be read, so the call cannot be made again")]
    Unreadable,
    #[error("no page begins there")]
    NoPage,
    /// The vendor may have done it already.
    #[error("the call may have been made, and may so be made twice")]
    MayBeDuplicate,
    #[error(transparent)]
    Failed(CallError),
}

impl From<CallError> for LetterError {
    fn from(error: CallError) -> Self {
        Self::Failed(error)
    }
}

impl Gateway {
    /// `whose`: an organization's, or (`None`) everybody's.
    pub(crate) async fn dead_letters(
        &self,
        whose: Option<&OrganizationId>,
        from: Option<&str>,
        limit: usize,
    ) -> Result<DeadLetterPage, LetterError> {
        self.queue.dead_letters().list(whose, from, limit).await.map_err(|error| match error {
            QueueError::Unreadable(_) => LetterError::NoPage,
            error => away(error).into(),
        })
    }

    pub(crate) async fn dead_letter(
        &self,
        whose: Option<&OrganizationId>,
        id: &ExecutionId,
    ) -> Result<Letter, LetterError> {
        let letter = self.queue.dead_letters().get(whose, id).await.map_err(away)?;
        letter.ok_or(LetterError::Absent)
    }

    /// Makes the call again, as a new execution of the same request.
    pub(crate) async fn replay_letter(
        self: &Arc<Self>,
        whose: Option<&OrganizationId>,
        id: &ExecutionId,
        accept_duplicate: bool,
    ) -> Result<ExecutionId, LetterError> {
        let letter = self.dead_letter(whose, id).await?.read().ok_or(LetterError::Unreadable)?;
        if !accept_duplicate && self.may_be_made(&letter.job).await? {
            return Err(LetterError::MayBeDuplicate);
        }
        let deadline = self.clock.now().plus(Duration::from_millis(MAX_DEADLINE_MS.into()));
        let job = Arc::new(self.anew(letter.job, deadline));
        let new_id = job.execution_id.clone();
        self.enqueue(&job).await.map_err(noted)?;
        tracing::info!(execution_id = id.as_str(), replay = new_id.as_str(), "a dead letter is made again");
        if let Err(error) = self.queue.dead_letters().remove(id).await {
            tracing::warn!(%error, execution_id = id.as_str(), "a dead letter that is made again could not be dropped");
        }
        Ok(new_id)
    }

    pub(crate) async fn drop_letter(
        &self,
        whose: Option<&OrganizationId>,
        id: &ExecutionId,
    ) -> Result<(), LetterError> {
        self.dead_letter(whose, id).await?;
        let dropped = self.queue.dead_letters().remove(id).await.map_err(away)?;
        tracing::info!(execution_id = id.as_str(), "a dead letter is dropped");
        if dropped { Ok(()) } else { Err(LetterError::Absent) }
    }

    /// Whether a new execution could do what the old one did: a `keyed` one carries another key.
    async fn may_be_made(&self, job: &Job) -> Result<bool, CallError> {
        if matches!(job.effect, Effect::Read | Effect::Idempotent) {
            return Ok(false);
        }
        let record = self.journal.look(&job.execution_id).await.map_err(|error| noted(journal_away(&error)))?;
        // The journal forgets after a day; from then on nobody knows.
        Ok(record.is_none_or(|record| record.state != JournalState::Closed))
    }

    /// The same request as an execution of its own, in the background.
    pub(crate) fn anew(&self, job: Job, deadline: Millis) -> Job {
        let now = self.clock.now();
        let execution_id = self.execution_ids.issue(Acceptance {
            organization: &job.organization,
            subject: job.subject.as_ref(),
            effect: job.effect,
            accepted_at: now,
            deadline,
        });
        // The manifest that the call was checked against may be gone by now.
        let present = self.catalog.snapshot().listed(&job.service).map(|listed| listed.digest().to_owned());
        let mut anew = Job {
            execution_id,
            deadline,
            accepted_at: now,
            reply_to: None,
            trace: TraceContext::default(),
            manifest_digest: present.unwrap_or(job.manifest_digest),
            ..job
        };
        anew.ticket = self.ticket(&anew);
        anew
    }
}

fn away(error: QueueError) -> CallError {
    tracing::warn!(%error, "the dead letters cannot be read");
    CallError::overloaded("Dead letters cannot be reached right now.", 1_000)
}
