//! Calls as a console shows them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::error::Origin;
use crate::ids::{AccountId, ExecutionId, InstanceId, KeyId, OrganizationId, ServiceKey, Subject};
use crate::job::CallState;
use crate::manifest::Effect;
use crate::telemetry::metrics::StageTimes;

/// What is known of one call without looking at what was asked and answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallEntry {
    /// `None`: it was refused before it became a job.
    pub execution_id: Option<ExecutionId>,
    pub organization: OrganizationId,
    /// `None`: only the journal knows of the call.
    pub key: Option<KeyId>,
    pub subject: Option<Subject>,
    /// The name of the agent that the key belongs to.
    pub agent: Option<String>,
    pub service: Option<ServiceKey>,
    pub operation: Option<String>,
    pub account: Option<AccountId>,
    pub account_label: Option<String>,
    pub effect: Option<Effect>,
    /// Its caller has a handle and waits for nothing.
    pub background: bool,
    pub state: CallState,
    /// `OK`, `RUNNING` or an error code.
    pub code: String,
    pub origin: Option<Origin>,
    pub started: Millis,
    /// Until its caller had the answer; `None`: it is under way.
    pub total_us: Option<u64>,
    /// Of it, as far as an executor has told.
    pub stages: StageTimes,
    /// Requests made to the vendor.
    pub attempts: Option<u32>,
    pub replayed: bool,
    /// The vendor's.
    pub status: Option<u16>,
    /// The gateway that answered it; `None`: none remembers it.
    pub gateway: Option<InstanceId>,
    /// For its own organization only.
    pub content: Option<Arc<Content>>,
}

/// What a call was about. Never for an operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// What the caller was told went wrong.
    pub message: Option<String>,
    pub request: Shown,
}

/// A request with what may be secret in it masked, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    Masked(Box<str>),
    /// By the deployment's settings.
    Off,
    /// It was refused before it was known what it is.
    Unchecked,
    /// No gateway remembers it.
    Forgotten,
}

impl CallEntry {
    /// A call of which nothing more is known.
    pub fn running(organization: OrganizationId, started: Millis) -> Self {
        Self {
            execution_id: None,
            organization,
            key: None,
            subject: None,
            agent: None,
            service: None,
            operation: None,
            account: None,
            account_label: None,
            effect: None,
            background: false,
            state: CallState::Running,
            code: "RUNNING".to_owned(),
            origin: None,
            started,
            total_us: None,
            stages: StageTimes::default(),
            attempts: None,
            replayed: false,
            status: None,
            gateway: None,
            content: None,
        }
    }

    /// Without what belongs to its organization alone.
    #[must_use]
    pub fn without_content(self) -> Self {
        Self { content: None, ..self }
    }

    pub fn position(&self) -> Position {
        let (started, id) = self.place();
        Position { started, id: id.to_owned() }
    }

    /// What calls are put in order by.
    pub fn place(&self) -> (Millis, &str) {
        (self.started, self.execution_id.as_ref().map(ExecutionId::as_str).unwrap_or_default())
    }

    /// Bytes of memory, about.
    pub fn weight(&self) -> usize {
        let texts = [&self.agent, &self.operation, &self.account_label];
        let content = self.content.as_ref().map_or(0, |content| {
            let request = match &content.request {
                Shown::Masked(request) => request.len(),
                Shown::Off | Shown::Unchecked | Shown::Forgotten => 0,
            };
            size_of::<Content>() + request + content.message.as_ref().map_or(0, String::len)
        });
        let ids = 64 + self.subject.as_ref().map_or(0, |subject| subject.0.len());
        size_of::<Self>()
            + self.code.len()
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + ids
            + content
    }
}

/// Where a page of calls begins: after this one, in the order from the newest to the oldest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub started: Millis,
    pub id: String,
}

impl Position {
    pub fn parse(text: &str) -> Option<Self> {
        let (started, id) = text.split_once('.')?;
        Some(Self { started: Millis(started.parse().ok()?), id: id.to_owned() })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.started.0, self.id)
    }
}

/// Which calls are wanted. What is not given fits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallFilter {
    pub organization: Option<OrganizationId>,
    pub service: Option<String>,
    /// `OK`, `RUNNING` or an error code.
    pub code: Option<String>,
    pub state: Option<CallState>,
    /// Begins with, of an id; is part of, of a name. Compared without case.
    pub text: Option<String>,
    pub since: Option<Millis>,
    /// The last of the page before.
    pub after: Option<Position>,
    pub limit: usize,
}

impl CallFilter {
    pub fn fits(&self, call: &CallEntry) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
        };
        self.organization.as_ref().is_none_or(|organization| *organization == call.organization)
            && same(&self.service, call.service.as_ref().map(ServiceKey::as_str))
            && same(&self.code, Some(&call.code))
            && self.state.is_none_or(|state| state == call.state)
            && self.since.is_none_or(|since| call.started >= since)
            && self.after.as_ref().is_none_or(|after| call.place() < (after.started, after.id.as_str()))
            && self.text.as_deref().is_none_or(|text| says(call, text))
    }
}

fn says(call: &CallEntry, text: &str) -> bool {
    let text = text.to_lowercase();
    let names = [
        call.execution_id.as_ref().map(ExecutionId::as_str),
        Some(call.organization.as_str()),
        call.key.as_ref().map(KeyId::as_str),
        call.subject.as_ref().map(|subject| subject.0.as_str()),
        call.agent.as_deref(),
        call.service.as_ref().map(ServiceKey::as_str),
        call.operation.as_deref(),
        call.account.as_ref().map(AccountId::as_str),
        call.account_label.as_deref(),
        Some(call.code.as_str()),
    ];
    names.into_iter().flatten().any(|name| name.to_lowercase().contains(&text))
}

/// Calls, the newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallPage {
    pub calls: Vec<CallEntry>,
    /// The page after this one begins behind it.
    pub next: Option<Position>,
}

impl CallPage {
    /// What several gateways have found.
    pub fn of(mut calls: Vec<CallEntry>, limit: usize) -> Self {
        calls.sort_by(|one, other| other.place().cmp(&one.place()));
        let more = calls.len() > limit;
        calls.truncate(limit);
        let next = calls.last().filter(|_| more).map(CallEntry::position);
        Self { calls, next }
    }
}
