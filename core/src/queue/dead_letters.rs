//! Jobs given up, for whoever operates the deployment.

use async_trait::async_trait;
use plugboard_proto::jobs::v1 as proto;
use prost::Message;

use super::{QueueError, wire};
use crate::clock::Millis;
use crate::ids::{ExecutionId, OrganizationId};
use crate::job::Job;

/// A job given up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub job: Job,
    pub reason: String,
    /// How often it was started.
    pub starts: u32,
    pub at: Millis,
}

/// Some letters, and where the next ones begin.
#[derive(Debug, Default)]
pub struct DeadLetterPage {
    pub letters: Vec<DeadLetter>,
    /// For [`DeadLetters::list`]; `None`: these were the last.
    pub next: Option<String>,
}

/// What [`super::JobQueue::bury`] has put aside. Letters live for 30 days.
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// The letters of one organization, or of all, from `from` on; at most `limit`.
    ///
    /// # Errors
    /// When the store cannot answer, or `from` is not what a page named.
    async fn list(
        &self,
        organization: Option<&OrganizationId>,
        from: Option<&str>,
        limit: usize,
    ) -> Result<DeadLetterPage, QueueError>;

    /// # Errors
    /// When the store cannot answer.
    async fn get(&self, id: &ExecutionId) -> Result<Option<DeadLetter>, QueueError>;

    /// Drops a letter. False: there is none.
    ///
    /// # Errors
    /// When the store cannot answer.
    async fn remove(&self, id: &ExecutionId) -> Result<bool, QueueError>;
}

/// Of a queue that puts nothing aside.
#[derive(Debug)]
pub struct NoDeadLetters;

#[async_trait]
impl DeadLetters for NoDeadLetters {
    async fn list(&self, _: Option<&OrganizationId>, _: Option<&str>, _: usize) -> Result<DeadLetterPage, QueueError> {
        Ok(DeadLetterPage::default())
    }

    async fn get(&self, _: &ExecutionId) -> Result<Option<DeadLetter>, QueueError> {
        Ok(None)
    }

    async fn remove(&self, _: &ExecutionId) -> Result<bool, QueueError> {
        Ok(false)
    }
}

pub(crate) fn decode(letter: &[u8]) -> Result<DeadLetter, QueueError> {
    let letter = proto::DeadLetter::decode(letter).map_err(|error| QueueError::Unreadable(error.to_string()))?;
    wire::known_job(letter.format)?;
    let job = letter.job.ok_or_else(|| QueueError::Unreadable("a dead letter without its job".to_owned()))?;
    Ok(DeadLetter {
        job: wire::job_from_wire(job)?,
        reason: letter.reason,
        starts: letter.starts,
        at: Millis(letter.at_ms),
    })
}
