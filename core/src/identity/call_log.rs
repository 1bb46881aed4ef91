//! Calls on their way into the audit log.
//!
//! A call is counted, when it ends, among those that do not differ in who called what and how it ended, and goes on.
//! What was counted is sent every 100 ms, as one batch an organization; with many organizations less often, so that a
//! process enters no more than 100 links a second. While the log cannot be written, batches wait, up to a bound; what
//! is beyond a bound is counted as dropped.
//!
//! | what | value |
//! | --- | --- |
//! | kinds of calls between two sendings | 8,192 a thread |
//! | a batch gathers for | 100 ms, or 10 ms for each organization, at most 1 s |
//! | kinds of calls waiting of one organization | 5,000 |
//! | organizations waiting | 10,000 |

mod counts;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use self::counts::Counts;
pub use self::writer::CallLogWriter;
use super::{CallBatch, CallFacts, Custody, IdentityError};
use crate::clock::Clock;
use crate::ids::{AccountId, KeyId, OrganizationId, ServiceKey, Subject};

/// Where batches go.
#[async_trait]
pub trait CallSink: Send + Sync + 'static {
    /// Enters all of them or none; at most one an organization.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`] when they may not have been entered; they come again under the same ids.
    async fn append(&self, batches: &[CallBatch]) -> Result<(), IdentityError>;
}

#[async_trait]
impl CallSink for Arc<dyn Custody> {
    async fn append(&self, batches: &[CallBatch]) -> Result<(), IdentityError> {
        self.append_calls(batches).await
    }
}

/// A call as it is noted: borrowed, for almost every call is one more of a kind that is known.
///
/// Its fields are in the order of [`Kind`]'s, so that both give the same hash.
#[derive(Debug, Clone, Copy, Hash)]
pub struct CallNote<'a> {
    pub organization: &'a OrganizationId,
    pub key: &'a KeyId,
    pub subject: Option<&'a Subject>,
    pub service: &'a ServiceKey,
    pub account: Option<&'a AccountId>,
    pub operation: Option<&'a str>,
    pub code: &'a str,
}

/// Calls that do not differ in what the log keeps of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    organization: OrganizationId,
    facts: CallFacts,
}

impl hashbrown::Equivalent<Kind> for CallNote<'_> {
    fn equivalent(&self, kind: &Kind) -> bool {
        let Kind { organization, facts } = kind;
        *self.organization == *organization
            && *self.key == facts.key
            && self.subject == facts.subject.as_ref()
            && *self.service == facts.service
            && self.account == facts.account.as_ref()
            && self.operation == facts.operation.as_deref()
            && self.code == facts.code
    }
}

impl From<&CallNote<'_>> for Kind {
    fn from(note: &CallNote<'_>) -> Self {
        Self {
            organization: note.organization.clone(),
            facts: CallFacts {
                key: note.key.clone(),
                subject: note.subject.cloned(),
                service: note.service.clone(),
                account: note.account.cloned(),
                operation: note.operation.map(str::to_owned),
                code: note.code.to_owned(),
            },
        }
    }
}

/// Where calls are noted. Cheap to clone.
#[derive(Clone)]
pub struct CallLog {
    counts: Arc<Counts>,
    /// Calls that did not fit. Whose they were is not known.
    dropped: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl CallLog {
    /// The log, and the other end of it: run that as a supervised task.
    pub fn new(sink: Arc<dyn CallSink>, clock: Arc<dyn Clock>) -> (Self, CallLogWriter) {
        Self::with_room(counts::KINDS, sink, clock)
    }

    fn with_room(kinds: usize, sink: Arc<dyn CallSink>, clock: Arc<dyn Clock>) -> (Self, CallLogWriter) {
        let log = Self { counts: Arc::new(Counts::with_room(kinds)), dropped: Arc::default(), clock };
        let writer = CallLogWriter::new(log.clone(), sink);
        (log, writer)
    }

    /// Never waits.
    pub fn note(&self, call: CallNote<'_>) {
        if !self.counts.add(&call, self.clock.as_ref()) {
            self.drop_calls(1);
        }
    }

    fn drop_calls(&self, calls: u64) {
        self.dropped.fetch_add(calls, Ordering::Relaxed);
        metrics::counter!("plugboard_audit_calls_dropped_total").increment(calls);
    }
}
