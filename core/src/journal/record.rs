//! One entry of the journal and its legal transitions.

use bytes::Bytes;
use plugboard_proto::jobs::v1 as wire;
use prost::Message;

use super::JournalError;
use crate::clock::Millis;
use crate::ids::{ExecutionId, InstanceId, OrganizationId, ServiceKey, Subject};
use crate::job::{Job, Outcome};
use crate::manifest::Effect;
use crate::queue::MessageWriter;
use crate::queue::wire::{effect_from_wire, effect_to_wire, outcome_bytes, outcome_from_wire, write_outcome};

const FORMAT: u32 = 1;
/// Room for one without its outcome.
const RECORD_BYTES: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalState {
    /// The request may have left.
    Intent,
    Done,
    /// Ended with nothing sent.
    Closed,
    Unknown,
    /// Declared unknown, then told by its late owner.
    DoneLate,
}

/// No transition leaves such a state, except that a late owner may tell what an unknown call did.
pub fn is_final(state: JournalState) -> bool {
    !matches!(state, JournalState::Intent)
}

/// Whether another start may make such a call again while its intent is open.
pub fn may_be_taken_over(effect: Effect) -> bool {
    matches!(effect, Effect::Idempotent | Effect::Keyed)
}

/// The whole state machine.
pub fn may_follow(from: JournalState, to: JournalState) -> bool {
    use JournalState::{Closed, Done, DoneLate, Intent, Unknown};
    matches!((from, to), (Intent, Intent | Done | Closed | Unknown) | (Unknown, DoneLate))
}

#[derive(Debug, Clone)]
pub struct Record {
    pub state: JournalState,
    pub execution_id: ExecutionId,
    pub organization: OrganizationId,
    pub subject: Option<Subject>,
    pub service: ServiceKey,
    pub effect: Effect,
    pub owner: Option<InstanceId>,
    pub fence: u64,
    pub request_hash: [u8; 32],
    pub updated_at: Millis,
    pub deadline: Millis,
    pub outcome: Option<Outcome>,
}

impl Record {
    pub(crate) fn intent(job: &Job, owner: &InstanceId, now: Millis) -> Self {
        Self {
            state: JournalState::Intent,
            execution_id: job.execution_id.clone(),
            organization: job.organization.clone(),
            subject: job.subject.clone(),
            service: job.service.clone(),
            effect: job.effect,
            owner: Some(owner.clone()),
            fence: 1,
            request_hash: job.request_hash,
            updated_at: now,
            deadline: job.deadline,
            outcome: None,
        }
    }

    pub(super) fn taken_over_by(&self, owner: &InstanceId, now: Millis) -> Self {
        Self { owner: Some(owner.clone()), fence: self.fence + 1, updated_at: now, ..self.clone() }
    }

    pub(super) fn with_state(&self, state: JournalState, now: Millis) -> Self {
        debug_assert!(may_follow(self.state, state), "{:?} → {state:?}", self.state);
        Self { state, updated_at: now, ..self.clone() }
    }

    pub(crate) fn ended(&self, state: JournalState, outcome: Outcome, now: Millis) -> Self {
        Self { outcome: Some(outcome), ..self.with_state(state, now) }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let state = match self.state {
            JournalState::Intent => wire::JournalState::Intent,
            JournalState::Done => wire::JournalState::Done,
            JournalState::Closed => wire::JournalState::Closed,
            JournalState::Unknown => wire::JournalState::Unknown,
            JournalState::DoneLate => wire::JournalState::DoneLate,
        };
        let mut record = MessageWriter::new(RECORD_BYTES + self.outcome.as_ref().map_or(0, outcome_bytes));
        record.number(1, FORMAT.into());
        record.choice(2, state);
        record.text(3, self.execution_id.as_str());
        record.text(4, self.organization.as_str());
        record.text(5, self.subject.as_ref().map_or("", |subject| &subject.0));
        record.text(6, self.service.as_str());
        record.choice(7, effect_to_wire(self.effect));
        record.text(8, self.owner.as_ref().map_or("", InstanceId::as_str));
        record.number(9, self.fence);
        record.bytes(10, &self.request_hash);
        record.signed(11, self.updated_at.0);
        record.signed(12, self.deadline.0);
        if let Some(outcome) = &self.outcome {
            record.message(13, |message| write_outcome(message, outcome));
        }
        record.finish()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, JournalError> {
        let unreadable = |what: &str| JournalError::Unreadable(what.to_owned());
        let record = wire::JournalRecord::decode(bytes).map_err(|error| unreadable(&error.to_string()))?;
        if record.format != FORMAT {
            return Err(unreadable(&format!("format {}", record.format)));
        }
        Ok(Self {
            state: match record.state() {
                wire::JournalState::Intent => JournalState::Intent,
                wire::JournalState::Done => JournalState::Done,
                wire::JournalState::Closed => JournalState::Closed,
                wire::JournalState::Unknown => JournalState::Unknown,
                wire::JournalState::DoneLate => JournalState::DoneLate,
                wire::JournalState::Unspecified => return Err(unreadable("state")),
            },
            effect: effect_from_wire(record.effect()),
            execution_id: ExecutionId::trusted(record.execution_id),
            organization: OrganizationId::trusted(record.organization_id),
            subject: (!record.subject.is_empty()).then_some(Subject(record.subject)),
            service: ServiceKey::trusted(record.service),
            owner: (!record.owner.is_empty()).then(|| InstanceId::trusted(record.owner)),
            fence: record.fence,
            request_hash: record.request_hash.as_ref().try_into().map_err(|_| unreadable("request hash"))?,
            updated_at: Millis(record.updated_at_ms),
            deadline: Millis(record.deadline_ms),
            outcome: record.outcome.map(outcome_from_wire),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_states_stay_final() {
        use JournalState::{Closed, Done, DoneLate, Intent, Unknown};
        let all = [Intent, Done, Closed, Unknown, DoneLate];
        for from in all {
            for to in all {
                if is_final(from) {
                    assert_eq!(may_follow(from, to), (from, to) == (Unknown, DoneLate), "{from:?} → {to:?}");
                }
            }
        }
    }
}
