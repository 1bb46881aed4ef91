//! What is written down of a call.

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::clock::Millis;
use plugboard_core::fleet::{CallEntry, Content, Shown};
use plugboard_core::identity::Agent;
use plugboard_core::ids::InstanceId;
use plugboard_core::job::{CallState, Envelope, Job};
use plugboard_core::telemetry::metrics::{Stage, StageTimes};

use super::masked::{self, bounded};
use super::{Begun, Caller};
use crate::answer::Answer;
use crate::seen::Seen;
use crate::state::Gateway;

/// Longest message that is kept.
const MESSAGE: usize = 500;

impl Gateway {
    pub(super) fn entry_of(&self, caller: Caller<'_>, seen: &Seen<'_>, answer: &Answer, took: Duration) -> CallEntry {
        let envelope = answer.envelope();
        let principal = caller.principal;
        let base = match &seen.job {
            Some(job) => of_job(job, principal.agent.as_deref(), &self.me),
            None => {
                let now = self.clock.now();
                let started = Millis(now.0.saturating_sub(i64::try_from(took.as_millis()).unwrap_or(i64::MAX)));
                CallEntry {
                    key: Some(principal.key_id.clone()),
                    subject: principal.subject.clone(),
                    agent: principal.agent.as_ref().map(|agent| agent.name.clone()),
                    service: seen.service().cloned(),
                    operation: seen.operation().map(str::to_owned),
                    gateway: Some(self.me.clone()),
                    ..CallEntry::running(caller.organization.clone(), started)
                }
            }
        };
        let replayed = envelope.as_ref().is_some_and(|envelope| envelope.replayed == Some(true));
        let mut stages = if replayed { StageTimes::default() } else { answer.stages };
        if stages.is_empty() {
            stages.set(Stage::Check, seen.check);
        } else {
            fill(&mut stages, seen.check, took);
        }
        let entry = CallEntry { total_us: u64::try_from(took.as_micros()).ok(), stages, replayed, ..base };
        let content = Content { message: message(envelope.as_ref()), request: self.request(seen) };
        let entry = CallEntry { content: Some(Arc::new(content)), ..entry };
        match envelope {
            Some(envelope) => ended(entry, &envelope),
            None => entry,
        }
    }

    fn request(&self, seen: &Seen<'_>) -> Shown {
        if !self.config.console_requests {
            return Shown::Off;
        }
        match (&seen.job, &seen.connector) {
            (Some(job), Some(connector)) => Shown::Masked(masked::request(job, connector).into()),
            // What does not fit its manifest could be anything, secrets in the wrong place too.
            _ => Shown::Unchecked,
        }
    }
}

/// A call that is under way.
pub(super) fn running(begun: &Begun, me: &InstanceId) -> CallEntry {
    of_job(&begun.job, begun.agent.as_deref(), me)
}

fn of_job(job: &Job, agent: Option<&Agent>, me: &InstanceId) -> CallEntry {
    CallEntry {
        execution_id: Some(job.execution_id.clone()),
        key: Some(job.key_id.clone()),
        subject: job.subject.clone(),
        agent: agent.map(|agent| agent.name.clone()),
        service: Some(job.service.clone()),
        operation: job.operation.clone(),
        account: Some(job.account.clone()),
        account_label: Some(job.account_label.clone()),
        effect: Some(job.effect),
        background: !job.interactive(),
        gateway: Some(me.clone()),
        ..CallEntry::running(job.organization.clone(), job.accepted_at)
    }
}

/// With what an envelope tells of the end.
pub(crate) fn ended(entry: CallEntry, envelope: &Envelope) -> CallEntry {
    let code = match (&envelope.error, envelope.state) {
        (Some(error), _) => error.code.as_str(),
        (None, CallState::Running) => "RUNNING",
        (None, _) => "OK",
    };
    CallEntry {
        state: envelope.state,
        code: code.to_owned(),
        origin: envelope.error.as_ref().map(|error| error.origin),
        attempts: envelope.attempts,
        status: envelope.status,
        ..entry
    }
}

pub(crate) fn message(envelope: Option<&Envelope>) -> Option<String> {
    let error = envelope?.error.as_ref()?;
    Some(bounded(&masked::text(&error.message), MESSAGE))
}

/// What the executor cannot have told: the check, and all that came after the vendor's last word.
fn fill(stages: &mut StageTimes, check: Duration, took: Duration) {
    stages.set(Stage::Check, check);
    let known = [Stage::Check, Stage::Limit, Stage::Credentials, Stage::Vendor];
    let rest = took.saturating_sub(known.into_iter().map(|stage| stages.of(stage)).sum());
    // Whole milliseconds between the clocks of two machines: it may be told as longer than it can have been.
    let queue = stages.of(Stage::Queue).min(rest);
    stages.set(Stage::Queue, queue);
    stages.set(Stage::Answer, rest - queue);
}
