//! The fence against a second side effect.
//!
//! Before the first byte of any call that is not a `read`, its executor writes an *intent* by compare-and-set. Whoever
//! holds the intent may call; a redelivered job finds it and does not. The ack of the queue proves nothing.

mod accepted;
pub mod embedded;
mod keys;
mod lost;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod nats;
mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

pub use keys::{Binding, Earlier};
pub use lost::LostNote;
pub use record::{JournalState, Record, is_final, may_be_taken_over, may_follow};

use crate::clock::{Clock, Millis};
use crate::ids::{ExecutionId, InstanceId};
use crate::job::{Job, Outcome};

/// Compare-and-set storage, durable when it answers. Entries live 24 hours.
#[async_trait]
pub trait JournalStore: Send + Sync + 'static {
    /// Writes if absent. `Ok(None)` = somebody else was first.
    ///
    /// # Errors
    /// When the outcome of the write is not known to be either.
    async fn create(&self, key: &str, value: Bytes) -> Result<Option<Revision>, JournalError>;

    /// Writes if the revision is still this one. `Ok(None)` = it is not.
    ///
    /// # Errors
    /// When the outcome of the write is not known to be either.
    async fn update(&self, key: &str, value: Bytes, at: Revision) -> Result<Option<Revision>, JournalError>;

    /// # Errors
    /// When the store cannot be reached.
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Revision)>, JournalError>;

    /// As [`Self::get`], but what another process wrote a moment ago may be missing yet. Costs less where any copy may
    /// answer; nothing that guards an effect is decided by it.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn get_recent(&self, key: &str) -> Result<Option<(Bytes, Revision)>, JournalError> {
        self.get(key).await
    }
}

/// Position of a write; grows with each write to the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal cannot be reached: {0}")]
    Unavailable(String),
    #[error("a journal entry is unreadable: {0}")]
    Unreadable(String),
}

/// What the journal says when an executor wants to call.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a claim lives for a moment")]
pub enum Claim {
    /// The caller holds the intent and may call, now and only now.
    Granted(Intent),
    /// It ended before; here is how.
    Ended(Box<Outcome>),
    /// Another start holds an open intent that may not be taken over: the outcome is unknown from now on.
    Unknown,
}

/// An intent this process holds.
#[derive(Debug)]
pub struct Intent {
    record: Record,
    revision: Revision,
}

impl Intent {
    /// Another start held it before, and may have called. The count of deliveries does not tell: most of those that come
    /// again never got as far, and one whose count was lost may have.
    pub fn is_taken_over(&self) -> bool {
        self.record.fence > 1
    }
}

/// The rules over the storage. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn JournalStore>,
    clock: Arc<dyn Clock>,
    me: InstanceId,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Journal {
    pub fn new(store: Arc<dyn JournalStore>, clock: Arc<dyn Clock>, me: InstanceId) -> Self {
        Self { store, clock, me }
    }

    /// As whom this process owns its entries, and so is known elsewhere.
    pub fn me(&self) -> &InstanceId {
        &self.me
    }

    /// Asks for the right to make a call that nobody has begun. `None`: there is an entry already, and it stays as it is.
    ///
    /// # Errors
    /// When the journal cannot answer: then nothing may be sent.
    pub async fn begin(&self, job: &Job) -> Result<Option<Intent>, JournalError> {
        let record = Record::intent(job, &self.me, self.clock.now());
        let written = self.store.create(job.execution_id.as_str(), record.encode()).await?;
        Ok(written.map(|revision| Intent { record, revision }))
    }

    /// Asks for the right to call, also where another start has left its traces.
    ///
    /// # Errors
    /// When the journal cannot answer: then nothing may be sent, and the job is handed back.
    pub async fn claim(&self, job: &Job) -> Result<Claim, JournalError> {
        let key = job.execution_id.as_str();
        if let Some(intent) = self.begin(job).await? {
            return Ok(Claim::Granted(intent));
        }
        // Somebody was here. Each loop loses only to a writer that moved the entry on.
        loop {
            let Some((bytes, revision)) = self.store.get(key).await? else {
                // Expired between the two reads; 24 h after the deadline nobody may start it again.
                return Ok(Claim::Unknown);
            };
            let found = Record::decode(bytes)?;
            if let Some(outcome) = found.outcome.clone() {
                return Ok(Claim::Ended(Box::new(outcome)));
            }
            if found.state != JournalState::Intent {
                return Ok(Claim::Unknown);
            }
            let take_over = may_be_taken_over(job.effect) && found.request_hash == job.request_hash;
            let next = if take_over {
                found.taken_over_by(&self.me, self.clock.now())
            } else {
                found.with_state(JournalState::Unknown, self.clock.now())
            };
            if let Some(revision) = self.store.update(key, next.encode(), revision).await? {
                return Ok(if take_over { Claim::Granted(Intent { record: next, revision }) } else { Claim::Unknown });
            }
        }
    }

    /// Writes how the call ended. An owner whose intent was meanwhile declared unknown enriches it (`DoneLate`);
    /// one that was taken over learns that its word no longer counts.
    ///
    /// # Errors
    /// When the journal cannot answer; the caller repeats until it can.
    pub async fn finish(&self, intent: &Intent, outcome: &Outcome) -> Result<Finished, JournalError> {
        self.end(intent, outcome, JournalState::Done).await
    }

    /// Gives the intent back after a failure that provably sent nothing, keeping the outcome for whoever asks.
    /// "Not sent" may be told only when it is [`Finished::Recorded`]: whoever took the call over may be sending.
    ///
    /// # Errors
    /// When the journal cannot answer; the caller repeats until it can.
    pub async fn release(&self, intent: &Intent, outcome: &Outcome) -> Result<Finished, JournalError> {
        self.end(intent, outcome, JournalState::Closed).await
    }

    async fn end(&self, intent: &Intent, outcome: &Outcome, end: JournalState) -> Result<Finished, JournalError> {
        let key = intent.record.execution_id.as_str();
        let mut record = intent.record.clone();
        let mut revision = intent.revision;
        loop {
            let state = if record.state == JournalState::Unknown { JournalState::DoneLate } else { end };
            let next = record.ended(state, outcome.clone(), self.clock.now());
            if self.store.update(key, next.encode(), revision).await?.is_some() {
                return Ok(Finished::Recorded);
            }
            let Some((bytes, at)) = self.store.get(key).await? else {
                return Ok(Finished::Superseded);
            };
            record = Record::decode(bytes)?;
            let mine = record.owner.as_ref() == Some(&self.me) && record.fence == intent.record.fence;
            match &record.outcome {
                None if mine => revision = at,
                // An earlier try was recorded though its answer was lost.
                Some(recorded) if mine && recorded == outcome => return Ok(Finished::Recorded),
                _ => return Ok(Finished::Superseded),
            }
        }
    }

    /// Ends a call for which no intent exists: nothing was sent, and nothing will be.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn close(&self, job: &Job, outcome: &Outcome) -> Result<Closed, JournalError> {
        let now = self.clock.now();
        let record = Record::intent(job, &self.me, now).ended(JournalState::Closed, outcome.clone(), now);
        self.close_as(&record).await
    }

    async fn close_as(&self, record: &Record) -> Result<Closed, JournalError> {
        if self.store.create(record.execution_id.as_str(), record.encode()).await?.is_some() {
            return Ok(Closed::Yes);
        }
        Ok(match self.look(&record.execution_id).await? {
            Some(Record { outcome: Some(outcome), .. }) => Closed::AlreadyEnded(Box::new(outcome)),
            _ => Closed::IntentOpen,
        })
    }

    /// Keeps the outcome of a call that needed no intent (a background read), so that its handle can be asked.
    ///
    /// # Errors
    /// When the journal cannot answer.
    pub async fn keep(&self, job: &Job, outcome: &Outcome) -> Result<(), JournalError> {
        let now = self.clock.now();
        let record = Record::intent(job, &self.me, now).ended(JournalState::Done, outcome.clone(), now);
        self.store.create(job.execution_id.as_str(), record.encode()).await?;
        Ok(())
    }

    /// # Errors
    /// When the journal cannot answer.
    pub async fn look(&self, id: &ExecutionId) -> Result<Option<Record>, JournalError> {
        match self.store.get(id.as_str()).await? {
            Some((bytes, _)) => Record::decode(bytes).map(Some),
            None => Ok(None),
        }
    }

    pub fn now(&self) -> Millis {
        self.clock.now()
    }
}

/// A digest of several parts as part of an entry's name. Each part goes in with its length, so that no two lists read the
/// same.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// The end user of a job; empty: nobody in particular.
fn subject_of(job: &Job) -> &[u8] {
    job.subject.as_ref().map_or(&[], |subject| subject.0.as_bytes())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    Recorded,
    /// Another executor took the call over, or its end is already written: do not reply.
    Superseded,
}

#[derive(Debug)]
pub enum Closed {
    Yes,
    AlreadyEnded(Box<Outcome>),
    /// Somebody may be calling at this moment.
    IntentOpen,
}
