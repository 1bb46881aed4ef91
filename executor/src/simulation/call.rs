//! One call of a run: what is asked, what its caller was told.

use bytes::Bytes;
use plugboard_core::error::EffectOutcome;
use plugboard_core::job::{CallState, Envelope, Job, Outcome};

/// What an outcome says happened at the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Word {
    Succeeded,
    NotSent,
    Rejected,
    /// Done, though the call failed afterwards.
    Applied,
    Unknown,
}

impl Word {
    pub(super) fn of(outcome: &Outcome) -> Self {
        Self::of_envelope(&outcome.envelope)
    }

    fn of_envelope(envelope: &Bytes) -> Self {
        let envelope: Envelope = serde_json::from_slice(envelope).expect("an envelope");
        match (envelope.state, envelope.error.map(|error| error.outcome)) {
            (CallState::Succeeded, _) => Self::Succeeded,
            (_, Some(EffectOutcome::NotSent)) => Self::NotSent,
            (_, Some(EffectOutcome::Rejected)) => Self::Rejected,
            (_, Some(EffectOutcome::Applied)) => Self::Applied,
            _ => Self::Unknown,
        }
    }
}

/// How a caller's wait ended.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// An executor's outcome, by reply or from the journal; or the gateway's own, which is in the journal too.
    Outcome(Outcome),
    /// The gateway could not find out: the outcome is not known.
    Unknown,
    /// It was given a handle before there was an outcome.
    Handle,
    /// It hung up and nobody could say more, or its gateway died.
    Left,
    /// It hung up, and the call was closed before it began.
    Cancelled,
    /// It hung up, and it is noted that its answer was lost.
    Lost,
    /// Refused before anything was stored.
    Refused,
}

impl Told {
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Outcome(outcome) => format!("{:?}", Word::of(outcome)),
            Self::Unknown => "at the deadline: unknown".to_owned(),
            Self::Handle | Self::Left | Self::Cancelled | Self::Lost | Self::Refused => format!("nothing: {self:?}"),
        }
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Outcome(outcome) => Some(outcome),
            _ => None,
        }
    }
}

pub(super) struct Call {
    pub(super) job: Job,
    /// The call that this one makes again, by its number, and whether that cannot lead to a second effect.
    pub(super) repeats: Option<(usize, bool)>,
    pub(super) told: Told,
}
