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

/// What lies there of a letter that this version cannot read. It can be dropped, and not made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLetter {
    pub id: ExecutionId,
    /// `unreadable: ` and why.
    pub reason: String,
}

/// A letter as it is found.
#[derive(Debug, Clone)]
pub enum Letter {
    Read(Box<DeadLetter>),
    Unreadable(UnreadableLetter),
}

impl Letter {
    /// What is kept under this id.
    pub(crate) fn found(id: ExecutionId, bytes: &[u8]) -> Self {
        match decode(bytes) {
            Ok(letter) => Self::Read(Box::new(letter)),
            Err(QueueError::Unreadable(why)) => Self::unreadable(id, &why),
            Err(error) => Self::unreadable(id, &error.to_string()),
        }
    }

    pub(crate) fn unreadable(id: ExecutionId, why: &str) -> Self {
        Self::Unreadable(UnreadableLetter { id, reason: format!("unreadable: {why}") })
    }

    pub fn id(&self) -> &ExecutionId {
        match self {
            Self::Read(letter) => &letter.job.execution_id,
            Self::Unreadable(letter) => &letter.id,
        }
    }

    pub fn read(self) -> Option<DeadLetter> {
        match self {
            Self::Read(letter) => Some(*letter),
            Self::Unreadable(_) => None,
        }
    }
}

/// Some letters, and where the next ones begin.
#[derive(Debug, Default)]
pub struct DeadLetterPage {
    pub letters: Vec<Letter>,
    /// For [`DeadLetters::list`]; `None`: these were the last.
    pub next: Option<String>,
}

/// What [`super::JobQueue::bury`] has put aside. Letters live for 30 days.
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// The letters of one organization, or of all, from `from` on; at most `limit`. Of those that cannot be read nobody
    /// may know whose they are: all of them are among the letters of all.
    ///
    /// # Errors
    /// When the store cannot answer, or `from` is not what a page named.
    async fn list(
        &self,
        organization: Option<&OrganizationId>,
        from: Option<&str>,
        limit: usize,
    ) -> Result<DeadLetterPage, QueueError>;

    /// One letter, if it is of this organization, or anybody's.
    ///
    /// # Errors
    /// When the store cannot answer.
    async fn get(&self, organization: Option<&OrganizationId>, id: &ExecutionId) -> Result<Option<Letter>, QueueError>;

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

    async fn get(&self, _: Option<&OrganizationId>, _: &ExecutionId) -> Result<Option<Letter>, QueueError> {
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
