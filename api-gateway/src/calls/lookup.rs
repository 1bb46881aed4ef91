//! One call by its id: as gateways remember it, and as it ended according to the journal.

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::clock::Millis;
use plugboard_core::fleet::{self, CallEntry, CallFilter, CallPage, Content, Shown};
use plugboard_core::ids::{AccountId, ExecutionId, OrganizationId, ServiceKey};
use plugboard_core::job::{CallState, Envelope};
use plugboard_core::journal::Record;

use super::entry::{ended, message};
use crate::state::Gateway;

/// Calls in a page that the journal is asked for.
const MOST_ASKED: usize = 20;

impl Gateway {
    /// `whose`: of this organization only; `None`: anybody's, without content.
    pub(crate) async fn find_call(&self, whose: Option<&OrganizationId>, id: &ExecutionId) -> Option<CallEntry> {
        let remembered = fleet::call(self.fleet.as_ref(), whose.cloned(), id.clone()).await;
        if remembered.as_ref().is_some_and(|call| call.state != CallState::Running) {
            return remembered;
        }
        let record = match self.journal.look(id).await {
            Ok(record) => record.filter(|record| whose.is_none_or(|whose| *whose == record.organization)),
            Err(error) => {
                tracing::warn!(%error, "the journal could not tell of a call");
                None
            }
        };
        let Some(record) = record else { return remembered };
        let call = as_recorded(remembered.unwrap_or_else(|| unremembered(id, &record)), &record);
        Some(if whose.is_some() { call } else { call.without_content() })
    }
}

impl Gateway {
    /// A page of calls, in which what nobody waited for is told as the journal has it. Of the newest ones: each is a
    /// question, and whoever wants to know of another asks for it by its id.
    pub(crate) async fn find_calls(&self, filter: CallFilter) -> CallPage {
        let page = fleet::calls(self.fleet.as_ref(), filter.clone()).await;
        let mut asked = 0;
        let told = page.calls.into_iter().map(|call| {
            let open = call.background && call.state == CallState::Running;
            asked += usize::from(open);
            self.told(call, open && asked <= MOST_ASKED)
        });
        let told = futures::future::join_all(told).await;
        // One that has ended since may not be what is looked for.
        CallPage { calls: told.into_iter().filter(|call| filter.fits(call)).collect(), next: page.next }
    }

    async fn told(&self, call: CallEntry, ask: bool) -> CallEntry {
        let Some(id) = call.execution_id.clone().filter(|_| ask) else { return call };
        match self.journal.look(&id).await {
            Ok(Some(record)) if record.organization == call.organization => {
                as_recorded(call, &record).without_content()
            }
            _ => call,
        }
    }
}

/// A call of which no gateway knows any more.
fn unremembered(id: &ExecutionId, record: &Record) -> CallEntry {
    CallEntry {
        execution_id: Some(id.clone()),
        subject: record.subject.clone(),
        service: Some(record.service.clone()),
        effect: Some(record.effect),
        ..CallEntry::running(record.organization.clone(), record.updated_at)
    }
}

/// With the end that the journal has.
fn as_recorded(call: CallEntry, record: &Record) -> CallEntry {
    let Some(outcome) = &record.outcome else { return call };
    let Ok(envelope) = serde_json::from_slice::<Envelope>(&outcome.envelope) else { return call };
    let took = envelope.duration_ms.map(Duration::from_millis);
    let request = call.content.as_ref().map_or(Shown::Forgotten, |content| content.request.clone());
    let content = Some(Arc::new(Content { message: message(Some(&envelope)), request }));
    let account = envelope.account.as_ref();
    let known = CallEntry {
        service: call.service.or_else(|| envelope.service.clone().map(ServiceKey::trusted)),
        operation: call.operation.or_else(|| envelope.operation.clone()),
        account: call.account.or_else(|| account.map(|account| AccountId::trusted(account.id.as_str()))),
        account_label: call.account_label.or_else(|| account.map(|account| account.label.clone())),
        started: match (call.gateway.is_some(), took) {
            // Told of at its end.
            (false, Some(took)) => {
                Millis(record.updated_at.0.saturating_sub(i64::try_from(took.as_millis()).unwrap_or_default()))
            }
            _ => call.started,
        },
        total_us: took.and_then(|took| u64::try_from(took.as_micros()).ok()),
        stages: outcome.stages,
        content,
        ..call
    };
    ended(known, &envelope)
}
