//! Dead letters as messages of their stream.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::super::QueueError;
use super::super::dead_letters::{DeadLetterPage, DeadLetters, Letter};
use super::super::subjects::HEADER_REASON;
use super::NatsQueue;
use crate::ids::{ExecutionId, OrganizationId};

const WITHIN: Duration = Duration::from_secs(2);

/// The server's code for "no message found".
const NOT_FOUND: u64 = 10037;

#[derive(Deserialize)]
struct Answer {
    message: Option<Found>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Found {
    seq: u64,
    subject: String,
    #[serde(default)]
    data: String,
    #[serde(default)]
    hdrs: String,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl NatsQueue {
    async fn ask_dead(&self, subject: String, question: serde_json::Value) -> Result<Answer, QueueError> {
        let answer = self.link.ask(subject, None, Bytes::from(question.to_string()), WITHIN).await;
        let answer = answer.map_err(|trouble| QueueError::Unavailable(format!("{trouble:?}")))?;
        serde_json::from_slice(&answer.payload).map_err(|error| QueueError::Unreadable(error.to_string()))
    }

    /// The first message from this sequence on whose subject fits.
    async fn next_dead(&self, from: u64, subject: &str) -> Result<Option<Found>, QueueError> {
        let question = json!({"seq": from, "next_by_subj": subject});
        let answer = self.ask_dead(self.link.names().dead_read(), question).await?;
        match answer.error {
            Some(error) if error.err_code == NOT_FOUND => Ok(None),
            Some(error) => Err(QueueError::Unavailable(error.description)),
            None => Ok(answer.message),
        }
    }

    fn letter(&self, found: &Found) -> Letter {
        let id = ExecutionId::trusted(found.subject.rsplit('.').next().unwrap_or_default());
        if found.subject == self.link.names().dead_unreadable(&id) {
            return Letter::unreadable(id, &found.reason());
        }
        match STANDARD.decode(&found.data) {
            Ok(bytes) => Letter::found(id, &bytes),
            Err(error) => Letter::unreadable(id, &error.to_string()),
        }
    }
}

/// In the order in which they were put aside.
#[async_trait]
impl DeadLetters for NatsQueue {
    async fn list(
        &self,
        organization: Option<&OrganizationId>,
        from: Option<&str>,
        limit: usize,
    ) -> Result<DeadLetterPage, QueueError> {
        let subject = self.link.names().dead_of(organization, None);
        let mut sequence = match from {
            None => 1,
            Some(from) => from.parse().map_err(|_| QueueError::Unreadable("this is no page".to_owned()))?,
        };
        let mut page = DeadLetterPage::default();
        while let Some(found) = self.next_dead(sequence, &subject).await? {
            if page.letters.len() == limit {
                page.next = Some(found.seq.to_string());
                break;
            }
            sequence = found.seq + 1;
            page.letters.push(self.letter(&found));
        }
        Ok(page)
    }

    async fn get(&self, organization: Option<&OrganizationId>, id: &ExecutionId) -> Result<Option<Letter>, QueueError> {
        let subject = self.link.names().dead_of(organization, Some(id));
        Ok(self.next_dead(1, &subject).await?.map(|found| self.letter(&found)))
    }

    async fn remove(&self, id: &ExecutionId) -> Result<bool, QueueError> {
        let subject = self.link.names().dead_of(None, Some(id));
        let Some(found) = self.next_dead(1, &subject).await? else { return Ok(false) };
        let answer = self.ask_dead(self.link.names().dead_delete(), json!({"seq": found.seq})).await?;
        match answer.error {
            // Somebody else was faster.
            Some(error) if error.err_code == NOT_FOUND => Ok(false),
            Some(error) => Err(QueueError::Unavailable(error.description)),
            None => Ok(true),
        }
    }
}

impl Found {
    /// Why a message of the queue was put aside as it was.
    fn reason(&self) -> String {
        let headers = STANDARD.decode(&self.hdrs).unwrap_or_default();
        let headers = String::from_utf8_lossy(&headers);
        let mut fields = headers.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(name, _)| *name == HEADER_REASON).map(|(_, why)| why.to_owned()).unwrap_or_default()
    }
}
