//! What is live: who is there, and which calls are made now and lately. Nothing of it is stored anywhere; each process
//! answers for itself, from memory.
//!
//! What every adapter promises (and the contract suite in `testing::fleet` checks):
//! - A question is put to every [`Member`] that can be reached, and to each once.
//! - What is not answered within [`WITHIN`] is not waited for: a member that is away hides nobody else.
//! - Answers belong to their question, also when several are asked at once.
//! - A member that has nothing to say of a question is not in its answers.
//!
//! Gateways and executors are members. The other services are no part of the broker's world; how they are, the gateways
//! tell by their readiness.

mod calls;
pub mod local;
pub mod nats;
mod presence;
mod rates;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::ids::{ExecutionId, OrganizationId};

pub use calls::{CallEntry, CallFilter, CallPage, Content, Position, Shown};
pub use presence::{Breaker, Congestion, Crowd, Presence, Reason, Work};
pub use rates::{Activity, Minute, Rates};

/// How long answers are waited for.
pub const WITHIN: Duration = Duration::from_millis(300);

/// What a console wants to know. `organization`: of this one only; `None`: of everybody, and then without content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    Presence,
    Rates { organization: Option<OrganizationId> },
    Calls(CallFilter),
    Call { organization: Option<OrganizationId>, execution_id: ExecutionId },
}

impl Question {
    /// Whose answer counts is remembered by kind: not everybody answers everything.
    fn kind(&self) -> Kind {
        match self {
            Self::Presence => Kind::Presence,
            Self::Rates { .. } => Kind::Rates,
            Self::Calls(_) => Kind::Calls,
            Self::Call { .. } => Kind::Call,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Presence,
    Rates,
    Calls,
    Call,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Presence(Presence),
    Rates(Rates),
    Calls(Vec<CallEntry>),
    /// `None`: not here.
    Call(Option<Box<CallEntry>>),
}

/// One process, or one service in it.
pub trait Member: Send + Sync + 'static {
    /// From memory, and at once. `None`: this is nothing that it knows of.
    fn answer(&self, question: &Question) -> Option<Answer>;
}

/// Everybody there is.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    async fn ask(&self, question: Question) -> Vec<Answer>;
}

/// Who is there, in an order that stays the same.
pub async fn presences(fleet: &dyn Fleet) -> Vec<Presence> {
    let answers = fleet.ask(Question::Presence).await;
    let mut there: Vec<Presence> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Answer::Presence(presence) => Some(presence),
            _ => None,
        })
        .collect();
    there.sort_by(|one, other| {
        (&one.service, one.since, &one.instance).cmp(&(&other.service, other.since, &other.instance))
    });
    there
}

/// What all gateways together have answered, minute by minute.
pub async fn rates(fleet: &dyn Fleet, organization: Option<OrganizationId>) -> Rates {
    let answers = fleet.ask(Question::Rates { organization }).await;
    answers.into_iter().fold(Rates::default(), |mut sum, answer| {
        if let Answer::Rates(rates) = answer {
            sum.add(rates);
        }
        sum
    })
}

/// The newest calls that fit, of all gateways.
pub async fn calls(fleet: &dyn Fleet, filter: CallFilter) -> CallPage {
    let limit = filter.limit;
    let answers = fleet.ask(Question::Calls(filter)).await;
    let found = answers.into_iter().flat_map(|answer| match answer {
        Answer::Calls(calls) => calls,
        _ => Vec::new(),
    });
    CallPage::of(found.collect(), limit)
}

/// One call, with its content if it is asked for by its organization.
pub async fn call(
    fleet: &dyn Fleet,
    organization: Option<OrganizationId>,
    execution_id: ExecutionId,
) -> Option<CallEntry> {
    let answers = fleet.ask(Question::Call { organization, execution_id }).await;
    let found = answers.into_iter().filter_map(|answer| match answer {
        Answer::Call(call) => call.map(|call| *call),
        _ => None,
    });
    // A call under way here, and told as running by another who only handed it on, is one call.
    found.max_by_key(|call| (call.total_us.is_some(), call.started))
}

/// Cheap to hand around.
pub type Members = Vec<Arc<dyn Member>>;
