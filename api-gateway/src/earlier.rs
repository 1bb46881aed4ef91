//! A call that was made before: under the same idempotency key, or by a client whose stream broke before the answer.

use std::time::Duration;

use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::fleet;
use plugboard_core::job::{Envelope, Job};
use plugboard_core::journal::{Binding, Earlier, JournalState, LostNote, Record, may_be_taken_over};
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
            Some(key) => Box::pin(self.of_key(job, key)).await,
            None if is_told_once(job.effect) && !call.repeat => Box::pin(self.of_lost_answer(job)).await,
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

    /// A call that nobody sees to any more, and its caller is here again: whoever took it in is gone, and so is whoever began
    /// it, if anybody has. It is made here, as what it was; the journal decides which start may call.
    pub(crate) async fn orphan(&self, job: &Job, before: &Before) -> Result<Option<Job>, CallError> {
        let Earlier { execution_id, deadline, outcome } = &before.earlier;
        // Most come while this gateway is at it: then nobody else need be asked.
        if outcome.is_some() || self.calls.get(Some(&job.organization), execution_id).is_some() {
            return Ok(None);
        }
        let whose = Some(job.organization.clone());
        if fleet::call(self.fleet.as_ref(), whose, execution_id.clone()).await.is_some() {
            return Ok(None);
        }
        if let Some(record) = self.journal.look(execution_id).await.map_err(|error| journal_away(&error))?
            && !self.is_left_alone(&record).await
        {
            return Ok(None);
        }
        tracing::info!(%execution_id, "a call is made whose gateway is gone");
        let mut orphan = Job { execution_id: execution_id.clone(), deadline: *deadline, ..job.clone() };
        orphan.ticket = self.ticket(&orphan);
        Ok(Some(orphan))
    }

    /// A call that has begun, may be repeated, and whose executor does not answer.
    async fn is_left_alone(&self, record: &Record) -> bool {
        if record.state != JournalState::Intent || !may_be_taken_over(record.effect) {
            return false;
        }
        let Some(owner) = &record.owner else { return false };
        let there = fleet::presences(self.fleet.as_ref()).await;
        // Nobody else answers either: then it is the way there that is broken.
        !there.iter().any(|one| one.instance == *owner) && there.iter().any(|one| one.service == "executor")
    }

    /// The answer of an earlier call; a handle if it does not end in time.
    pub(crate) async fn replay(&self, job: &Job, before: Before, wait: Duration) -> Answer {
        let Earlier { execution_id, deadline, outcome } = before.earlier;
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
