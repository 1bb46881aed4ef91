//! One entry of the journal and its legal transitions.

use bytes::Bytes;
use plugboard_proto::jobs::v1 as wire;
use prost::Message;

use super::JournalError;
use crate::clock::Millis;
use crate::ids::{ExecutionId, InstanceId, OrganizationId, ServiceKey, Subject};
use crate::job::{Job, Outcome};
use crate::manifest::Effect;

const FORMAT: u32 = 1;

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
        let record = wire::JournalRecord {
            format: FORMAT,
            state: match self.state {
                JournalState::Intent => wire::JournalState::Intent,
                JournalState::Done => wire::JournalState::Done,
                JournalState::Closed => wire::JournalState::Closed,
                JournalState::Unknown => wire::JournalState::Unknown,
                JournalState::DoneLate => wire::JournalState::DoneLate,
            }
            .into(),
            execution_id: self.execution_id.as_str().to_owned(),
            organization_id: self.organization.as_str().to_owned(),
            subject: self.subject.as_ref().map(|subject| subject.0.clone()).unwrap_or_default(),
            service: self.service.as_str().to_owned(),
            effect: crate::queue::wire::effect_to_wire(self.effect).into(),
            owner: self.owner.as_ref().map(|owner| owner.as_str().to_owned()).unwrap_or_default(),
            fence: self.fence,
            request_hash: Bytes::copy_from_slice(&self.request_hash),
            updated_at_ms: self.updated_at.0,
            deadline_ms: self.deadline.0,
            outcome: self.outcome.clone().map(crate::queue::wire::outcome_to_wire),
        };
        record.encode_to_vec().into()
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
            effect: crate::queue::wire::effect_from_wire(record.effect()),
            execution_id: ExecutionId::trusted(record.execution_id),
            organization: OrganizationId::trusted(record.organization_id),
            subject: (!record.subject.is_empty()).then_some(Subject(record.subject)),
            service: ServiceKey::trusted(record.service),
            owner: (!record.owner.is_empty()).then(|| InstanceId::trusted(record.owner)),
            fence: record.fence,
            request_hash: record.request_hash.as_ref().try_into().map_err(|_| unreadable("request hash"))?,
            updated_at: Millis(record.updated_at_ms),
            deadline: Millis(record.deadline_ms),
            outcome: record.outcome.map(crate::queue::wire::outcome_from_wire),
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
