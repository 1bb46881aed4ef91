//! A call that was made before: under the same idempotency key, or by a client whose stream broke before the answer.

use std::time::Duration;

use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::fleet;
use plugboard_core::job::{Envelope, Job};
use plugboard_core::journal::{Binding, Earlier, LostNote};
use plugboard_core::manifest::Effect;

use crate::answer::Answer;
use crate::arguments::Call;
use crate::retold::replayed;
use crate::state::Gateway;
use crate::submit::{journal_away, running};

/// How often whoever waits for another's call looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Calls that a vendor would do twice if they were made anew: a new call carries a new key.
pub(crate) fn is_told_once(effect: Effect) -> bool {
    matches!(effect, Effect::Once | Effect::Keyed)
}

/// A call that was made before, and whether its answer was lost.
pub(crate) struct Before {
    earlier: Earlier,
    lost: Option<LostNote>,
}

impl Gateway {
    /// The call that this one repeats. A read is made as often as it is asked for.
    pub(crate) async fn earlier(&self, job: &Job, call: &Call) -> Result<Option<Before>, CallError> {
        match &call.idempotency_key {
            _ if job.effect == Effect::Read => Ok(None),
            Some(key) => self.of_key(job, key).await,
            None if is_told_once(job.effect) && !call.repeat => self.of_lost_answer(job).await,
            None => Ok(None),
        }
    }

    async fn of_key(&self, job: &Job, key: &str) -> Result<Option<Before>, CallError> {
        let unsent =
            self.unsent(job, CallError::new(ErrorCode::Cancelled, "The call was never started. Nothing was sent."));
        match self.journal.bind(job, key, &unsent).await.map_err(|error| journal_away(&error))? {
            Binding::Ours => Ok(None),
            Binding::Earlier(earlier) => Ok(Some(Before { earlier, lost: None })),
            Binding::Conflict => {
                let message =
                    "This `idempotency_key` was used for another call: another account, operation or arguments.";
                let fix = Fix::new(FixKind::ChangeArgument)
                    .field("idempotency_key")
                    .hint("Use a new key for a new call, or exactly the same arguments for the same one.");
                Err(CallError::new(ErrorCode::IdempotencyConflict, message).field("idempotency_key").fix(fix))
            }
        }
    }

    async fn of_lost_answer(&self, job: &Job) -> Result<Option<Before>, CallError> {
        let lost = self.journal.lost(job).await.map_err(|error| journal_away(&error))?;
        Ok(lost.map(|(earlier, note)| Before { earlier, lost: Some(note) }))
    }

    /// A call that only its key knows of: whoever took it in is gone, perhaps before it was in the queue, and its caller is
    /// here again. It is made here, as what it was; if it does lie in the queue, the journal decides which start may call.
    pub(crate) async fn orphan(&self, job: &Job, before: &Before) -> Result<Option<Job>, CallError> {
        let Earlier { execution_id, deadline, begun, .. } = &before.earlier;
        let whose = Some(job.organization.clone());
        if *begun || fleet::call(self.fleet.as_ref(), whose, execution_id.clone()).await.is_some() {
            return Ok(None);
        }
        // Asking took its time.
        if self.journal.look(execution_id).await.map_err(|error| journal_away(&error))?.is_some() {
            return Ok(None);
        }
        tracing::info!(%execution_id, "a call is made whose gateway is gone");
        let orphan = Job { execution_id: execution_id.clone(), deadline: *deadline, ..job.clone() };
        Ok(Some(Job { ticket: self.ticket(&orphan), ..orphan }))
    }

    /// The answer of an earlier call; a handle if it does not end in time.
    pub(crate) async fn replay(&self, job: &Job, before: Before, wait: Duration) -> Answer {
        let Earlier { execution_id, deadline, outcome, .. } = before.earlier;
        let outcome = match outcome {
            Some(outcome) => Some(outcome),
            None => tokio::time::timeout(wait, self.recorded(&execution_id, LOOK_EVERY)).await.ok(),
        };
        let Some(outcome) = outcome else {
            let earlier = Job { execution_id, deadline, ..job.clone() };
            return Answer::of(&Envelope { replayed: Some(true), ..running(&earlier, self.clock.now()) });
        };
        // Told: the next equal call is a new one.
        if let Some(note) = before.lost
            && let Err(error) = self.journal.delivered(note).await
        {
            tracing::warn!(%error, "an answer that is told now may be told again to an equal call");
        }
        self.present(&job.organization, replayed(outcome)).await
    }

    /// A call that was refused before it was published holds no key.
    pub(crate) async fn free_key(&self, job: &Job, error: &CallError) {
        let unsent = self.unsent(job, error.clone());
        if let Err(error) = self.journal.close(job, &unsent).await {
            tracing::warn!(%error, "the key of a call that was not made stays bound until its deadline");
        }
    }
}
