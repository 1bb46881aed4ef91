//! Answers that exist already: earlier calls by execution id, large answers by slice.

use plugboard_core::blobs::BlobId;
use plugboard_core::error::{CallError, EffectOutcome, ErrorCode};
use plugboard_core::identity::Principal;
use plugboard_core::ids::{ExecutionId, OrganizationId, Subject};
use plugboard_core::job::{Accepted, CallState, Envelope, Outcome, Payload, TruncatedData};
use plugboard_core::journal::{Closed, JournalError, is_final};
use plugboard_core::manifest::Effect;
use plugboard_core::telemetry::metrics::StageTimes;
use serde_json::json;

use crate::answer::Answer;
use crate::arguments::Slice;
use crate::config::WHOLE_ANSWER_LIMIT;
use crate::state::Gateway;
use crate::submit::never_started;

/// The journal's entries of a call live for a day; what had none by then has been forgotten. Milliseconds.
const KEPT: i64 = 24 * 3600 * 1_000;

impl Gateway {
    /// Makes an outcome the caller's answer.
    pub(crate) async fn present(&self, organization: &OrganizationId, outcome: Outcome) -> Answer {
        let stages = outcome.stages;
        let mut answer = self.presented(organization, outcome).await;
        answer.stages = stages;
        answer
    }

    async fn presented(&self, organization: &OrganizationId, outcome: Outcome) -> Answer {
        match &outcome.data {
            None => Answer::with_data(&outcome.envelope, None),
            Some(Payload::Inline(data)) => Answer::with_data(&outcome.envelope, Some(data)),
            Some(Payload::Blob { id, bytes }) if *bytes > WHOLE_ANSWER_LIMIT => by_handle(&outcome, id, *bytes),
            Some(Payload::Blob { id, bytes }) => match self.blobs.get(organization, id).await {
                Ok(Some(data)) => Answer::with_data(&outcome.envelope, Some(&data)),
                // The call has succeeded; only its data is out of reach right now.
                Ok(None) | Err(_) => by_handle(&outcome, id, *bytes),
            },
        }
    }

    /// How did this call end.
    pub(crate) async fn look(&self, principal: &Principal, organization: &OrganizationId, id: &ExecutionId) -> Answer {
        match self.try_look(principal, organization, id).await {
            Ok(answer) => answer,
            Err(error) => Answer::failed(error),
        }
    }

    async fn try_look(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
        id: &ExecutionId,
    ) -> Result<Answer, CallError> {
        let away = |error| {
            tracing::warn!(%error, "the journal did not answer");
            CallError::overloaded("Earlier calls cannot be looked up right now.", 1_000)
        };
        let mine = |org: &OrganizationId, subject: &Option<Subject>| {
            org == organization && (subject.is_none() || *subject == principal.subject)
        };
        if let Some(record) = self.journal.look(id).await.map_err(away)? {
            if !mine(&record.organization, &record.subject) {
                return Err(no_such_execution());
            }
            if let Some(outcome) = record.outcome {
                return Ok(self.present(organization, outcome).await);
            }
            let over = is_final(record.state) || self.clock.now() > record.deadline;
            return Ok(Answer::of(&undecided(id, over, record.effect)));
        }
        let accepted = self.execution_ids.read(id, organization, principal.subject.as_ref());
        let accepted = accepted.ok_or_else(no_such_execution)?;
        let late = self.clock.now().0.checked_sub(accepted.deadline.0).filter(|late| *late > 0);
        match late {
            Some(late) if late > KEPT => Err(no_such_execution()),
            Some(_) if accepted.effect != Effect::Read => self.never_begun(&accepted).await.map_err(away),
            late => Ok(Answer::of(&undecided(id, late.is_some(), accepted.effect))),
        }
    }

    /// A call that nobody had begun when its deadline passed.
    async fn never_begun(&self, accepted: &Accepted) -> Result<Answer, JournalError> {
        let (id, organization) = (&accepted.execution_id, &accepted.organization);
        let envelope = Envelope { execution_id: Some(id.as_str().to_owned()), ..Envelope::failed(never_started()) };
        let unsent = Outcome {
            execution_id: id.clone(),
            envelope: Answer::of(&envelope).json,
            data: None,
            stages: StageTimes::default(),
        };
        Ok(match self.journal.close_accepted(accepted, &unsent).await? {
            Closed::Yes => self.present(organization, unsent).await,
            Closed::AlreadyEnded(outcome) => self.present(organization, *outcome).await,
            // It was begun at the last moment.
            Closed::IntentOpen => Answer::of(&undecided(id, false, accepted.effect)),
        })
    }

    /// A slice of a kept answer, as text.
    pub(crate) async fn slice(&self, organization: &OrganizationId, slice: &Slice) -> Answer {
        match self.try_slice(organization, slice).await {
            Ok(answer) => answer,
            Err(error) => Answer::failed(error),
        }
    }

    async fn try_slice(&self, organization: &OrganizationId, slice: &Slice) -> Result<Answer, CallError> {
        let gone =
            || CallError::argument("result_id", "There is no such result: it was not yours, or its 24 hours are over.");
        let id = BlobId::parse(&slice.result_id).ok_or_else(gone)?;
        let stored = self.blobs.get(organization, &id).await.map_err(|error| {
            tracing::warn!(%error, "a kept answer could not be read");
            CallError::overloaded("Kept answers cannot be read right now.", 1_000)
        })?;
        let data = stored.ok_or_else(gone)?;
        let text = std::str::from_utf8(&data).map_err(|_| CallError::internal())?;
        let start = text.char_indices().nth(usize::try_from(slice.offset).unwrap_or(usize::MAX));
        let rest = start.map_or("", |(at, _)| &text[at..]);
        let end = rest.char_indices().nth(usize::try_from(slice.limit).unwrap_or(usize::MAX));
        let part = end.map_or(rest, |(at, _)| &rest[..at]);
        let taken = part.chars().count() as u64;
        let has_more = end.is_some();
        let envelope = Envelope {
            page: Some(plugboard_core::job::Page {
                next: has_more.then(|| json!({"result_id": slice.result_id, "offset": slice.offset + taken})),
                has_more,
                total: None,
            }),
            ..Envelope::new(CallState::Succeeded)
        };
        let head = Answer::of(&envelope).json;
        let body = serde_json::to_vec(part).map_err(|_| CallError::internal())?;
        Ok(Answer::with_data(&head, Some(&body)))
    }
}

/// An answer whose data stays where it is.
fn by_handle(outcome: &Outcome, id: &BlobId, bytes: u64) -> Answer {
    let Ok(mut envelope) = serde_json::from_slice::<Envelope>(&outcome.envelope) else {
        return Answer::with_data(&outcome.envelope, None);
    };
    envelope.truncated = Some(TruncatedData { result_id: id.as_str().to_owned(), bytes, outline: None });
    envelope.warnings.push(format!(
        "The answer has {bytes} bytes. Read it in parts: connector_execute with `result_id`, `offset` and `limit` (characters)."
    ));
    Answer::of(&envelope)
}

fn no_such_execution() -> CallError {
    CallError::argument(
        "execution_id",
        "There is no such call: it was not yours, ended over 24 hours ago, or was a read answered at once.",
    )
}

/// A call without a recorded end. `over`: nobody works on it any more.
fn undecided(id: &ExecutionId, over: bool, effect: Effect) -> Envelope {
    let repeatable = matches!(effect, Effect::Read | Effect::Idempotent);
    let envelope = if over {
        let error = CallError::new(
            ErrorCode::OutcomeUnknown,
            "The call was begun and its end is not recorded. Whether the vendor did it is not known.",
        )
        .retryable(repeatable)
        .outcome(EffectOutcome::Unknown, repeatable);
        Envelope::failed(error)
    } else {
        Envelope::new(CallState::Running)
    };
    Envelope { execution_id: Some(id.as_str().to_owned()), ..envelope }
}
