//! Outcomes that are told otherwise than they were written.

use plugboard_core::error::EffectOutcome;
use plugboard_core::job::{Envelope, Outcome};

use crate::answer::Answer;

/// Of a call that was made before.
pub(crate) fn replayed(outcome: Outcome) -> Outcome {
    rewritten(outcome, |envelope| Some(Envelope { replayed: Some(true), ..envelope }))
}

/// Of a read that one executor may have sent, and another has not.
pub(crate) fn perhaps_sent(outcome: Outcome) -> Outcome {
    rewritten(outcome, |envelope| {
        let error = envelope.error.filter(|error| error.outcome == EffectOutcome::NotSent)?;
        let Envelope { ok, state, error, .. } = Envelope::failed(error.outcome(EffectOutcome::Unknown, true));
        Some(Envelope { ok, state, error, attempts: None, ..envelope })
    })
}

/// What cannot be read is told as it is: better than nothing.
fn rewritten(outcome: Outcome, change: impl FnOnce(Envelope) -> Option<Envelope>) -> Outcome {
    match serde_json::from_slice(&outcome.envelope).ok().and_then(change) {
        Some(envelope) => Outcome { envelope: Answer::of(&envelope).json, ..outcome },
        None => outcome,
    }
}

#[cfg(test)]
mod tests {
    use plugboard_core::error::{CallError, ErrorCode};
    use plugboard_core::ids::ExecutionId;
    use plugboard_core::job::CallState;
    use plugboard_core::testing::outcome;
    use serde_json::{Value, json};

    use super::*;

    fn told(envelope: &Envelope, tell: fn(Outcome) -> Outcome) -> Value {
        let written = Outcome { envelope: Answer::of(envelope).json, ..outcome(&ExecutionId::generate(), b"null") };
        serde_json::from_slice(&tell(written).envelope).unwrap()
    }

    #[test]
    fn a_read_that_may_have_been_sent_is_not_told_as_unsent() {
        let late = CallError::new(ErrorCode::DeadlineExceeded, "Too late.").retryable(true);
        let unsent = Envelope { attempts: Some(0), ..Envelope::failed(late.outcome(EffectOutcome::NotSent, true)) };
        let told = |envelope: &Envelope| told(envelope, perhaps_sent);
        let envelope = told(&unsent);
        assert_eq!((&envelope["error"]["outcome"], &envelope["attempts"]), (&json!("unknown"), &Value::Null));
        assert_eq!(envelope["error"]["safe_to_retry"], true);
        // Anything else is as it was.
        let done = Envelope { attempts: Some(2), ..Envelope::new(CallState::Succeeded) };
        assert_eq!(told(&done)["attempts"], 2);
        let refused = CallError::new(ErrorCode::UpstreamRejected, "No.").outcome(EffectOutcome::Rejected, false);
        assert_eq!(told(&Envelope::failed(refused.clone()))["error"]["outcome"], json!(refused.outcome));
    }

    #[test]
    fn what_cannot_be_read_is_told_as_it_is() {
        let written = Outcome { envelope: "?".into(), ..outcome(&ExecutionId::generate(), b"null") };
        assert_eq!(replayed(written.clone()), written);
        assert_eq!(told(&Envelope::new(CallState::Succeeded), replayed)["replayed"], true);
    }
}
