//! The journal on a JetStream key-value bucket.
//!
//! Writes are plain publishes with the expected revision in a header: one round trip, and the server's answer is the
//! verdict. Nothing is ever decided by reading first. Reads ask the stream's leader: a follower may not have seen the
//! very write that a lost compare-and-set was about.
//!
//! A write whose answer was lost is written again under the same expectation. When that is refused, the entry is read:
//! each write carries an identity of its own, so it is known whether it was ours that came first.

mod absence;

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use self::absence::Absence;
use super::{JournalError, JournalStore, Revision};
use crate::queue::nats::{NatsLink, Stored, ensure_journal, put_header};
use crate::queue::subjects::HEADER_WRITE;

/// How long one attempt waits for its answer.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How long an operation is tried in all.
const GIVE_UP: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(50);

/// The revision is another. The sequence number of the last write is known.
const WRONG_REVISION: u64 = 10071;

/// Errors that say "ask again": another write of the same key is being agreed on in the cluster (10164), or the
/// expectation cannot be checked at the moment (10163).
const NOT_DECIDED: [u64; 2] = [10163, 10164];

const NOT_FOUND: u64 = 10037;

/// [`JournalStore`] on JetStream.
#[derive(Debug, Clone)]
pub struct NatsJournal {
    link: NatsLink,
    /// Of the subjects of all entries.
    prefix: Arc<str>,
    absence: Arc<Absence>,
}

impl NatsJournal {
    /// Makes the bucket when it is absent.
    ///
    /// # Errors
    /// When it is absent and cannot be made.
    pub async fn open(link: &NatsLink) -> Result<Self, JournalError> {
        ensure_journal(link).await.map_err(|error| JournalError::Unavailable(error.to_string()))?;
        Ok(Self { link: link.clone(), prefix: link.names().journal("").into(), absence: Arc::default() })
    }

    async fn write(&self, key: &str, value: Bytes, expected: u64) -> Result<Option<Revision>, JournalError> {
        let identity = format!("{}.{}", self.link.process(), self.link.next_number());
        let until = Instant::now() + GIVE_UP;
        let mut doubtful = false;
        loop {
            let trouble = if self.link.connected_by(until).await {
                // Made for each attempt, since hardly any write needs a second.
                let (subject, headers) = (self.subject(key)?, expectation(expected, &identity));
                match self.link.store(subject, headers, value.clone(), ATTEMPT).await {
                    Stored::Yes { sequence } => return Ok(Some(Revision(sequence))),
                    Stored::Refused { code: WRONG_REVISION, .. } if doubtful => {
                        return self.was_it_us(key, &identity).await;
                    }
                    Stored::Refused { code: WRONG_REVISION, .. } => return Ok(None),
                    Stored::Refused { code, text } if NOT_DECIDED.contains(&code) => text,
                    Stored::Refused { text, .. } if !doubtful => return Err(JournalError::Unavailable(text)),
                    Stored::Refused { text, .. } | Stored::NotSent(text) => text,
                    Stored::Unknown(text) => {
                        doubtful = true;
                        text
                    }
                }
            } else {
                "no connection".to_owned()
            };
            if Instant::now() + PAUSE >= until {
                return Err(JournalError::Unavailable(trouble));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// After a refusal that an earlier attempt of ours may have caused.
    async fn was_it_us(&self, key: &str, identity: &str) -> Result<Option<Revision>, JournalError> {
        let found = self.read(key).await?;
        Ok(found.filter(|entry| entry.write == identity).map(|entry| entry.revision))
    }

    async fn read(&self, key: &str) -> Result<Option<Entry>, JournalError> {
        let request: Bytes = serde_json::json!({ "last_by_subj": self.subject(key)? }).to_string().into();
        let until = Instant::now() + GIVE_UP;
        loop {
            let trouble = if self.link.connected_by(until).await {
                match self.link.ask(self.link.names().journal_read(), None, request.clone(), ATTEMPT).await {
                    Ok(answer) => match understand(&answer.payload)? {
                        Read::Found(entry) => return Ok(Some(entry)),
                        Read::Absent => return Ok(None),
                        Read::Trouble(text) => text,
                    },
                    Err(trouble) => format!("{trouble:?}"),
                }
            } else {
                "no connection".to_owned()
            };
            if Instant::now() + PAUSE >= until {
                return Err(JournalError::Unavailable(trouble));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn subject(&self, key: &str) -> Result<String, JournalError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'=');
        if key.is_empty() || !key.bytes().all(allowed) {
            return Err(JournalError::Unreadable(format!("{key:?} is no journal key")));
        }
        Ok([&*self.prefix, key].concat())
    }
}

#[async_trait]
impl JournalStore for NatsJournal {
    async fn create(&self, key: &str, value: Bytes) -> Result<Option<Revision>, JournalError> {
        self.write(key, value, 0).await
    }

    async fn update(&self, key: &str, value: Bytes, at: Revision) -> Result<Option<Revision>, JournalError> {
        // Revision 0 would mean "absent".
        if at.0 == 0 { Ok(None) } else { self.write(key, value, at.0).await }
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, Revision)>, JournalError> {
        Ok(self.read(key).await?.map(|entry| (entry.value, entry.revision)))
    }

    async fn get_recent(&self, key: &str) -> Result<Option<(Bytes, Revision)>, JournalError> {
        if self.absence.is_sure(&self.link, self.subject(key)?).await { Ok(None) } else { self.get(key).await }
    }
}

fn expectation(expected: u64, identity: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put_header(&mut headers, "Nats-Expected-Last-Subject-Sequence", &expected.to_string());
    put_header(&mut headers, HEADER_WRITE, identity);
    headers
}

struct Entry {
    value: Bytes,
    revision: Revision,
    /// Identity of the write that made it.
    write: String,
}

enum Read {
    Found(Entry),
    Absent,
    Trouble(String),
}

#[derive(Deserialize)]
struct Answer {
    message: Option<StoredMessage>,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct StoredMessage {
    seq: u64,
    #[serde(default)]
    data: String,
    #[serde(default)]
    hdrs: String,
}

#[derive(Deserialize)]
struct AnswerError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

fn understand(answer: &[u8]) -> Result<Read, JournalError> {
    let unreadable = |error: &dyn std::fmt::Display| JournalError::Unreadable(error.to_string());
    let answer: Answer = serde_json::from_slice(answer).map_err(|error| unreadable(&error))?;
    if let Some(error) = answer.error {
        let absent = error.err_code == NOT_FOUND;
        return Ok(if absent { Read::Absent } else { Read::Trouble(error.description) });
    }
    let Some(message) = answer.message else { return Ok(Read::Absent) };
    let value = STANDARD.decode(message.data).map_err(|error| unreadable(&error))?;
    let headers = STANDARD.decode(message.hdrs).map_err(|error| unreadable(&error))?;
    let headers = String::from_utf8_lossy(&headers);
    // A marker that an operator's tool left when it deleted the key.
    if header(&headers, "KV-Operation").is_some() {
        return Ok(Read::Absent);
    }
    let write = header(&headers, HEADER_WRITE).unwrap_or_default().to_owned();
    Ok(Read::Found(Entry { value: value.into(), revision: Revision(message.seq), write }))
}

/// One header out of the raw block as the server stores it.
fn header<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    block.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_the_answers_of_a_stream() {
        let found = br#"{"type":"x","message":{"subject":"$KV.journal.ex_1","seq":7,"hdrs":
            "TkFUUy8xLjANClBsdWdib2FyZC1Xcml0ZTogYS4xDQoNCg==","data":"aGk=","time":"2026-01-01T00:00:00Z"}}"#;
        let Ok(Read::Found(entry)) = understand(found) else { panic!("not found") };
        assert_eq!((entry.value.as_ref(), entry.revision.0, entry.write.as_str()), (&b"hi"[..], 7, "a.1"));
        let absent = br#"{"error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
        assert!(matches!(understand(absent), Ok(Read::Absent)));
        let trouble = br#"{"error":{"code":503,"err_code":10008,"description":"unavailable"}}"#;
        assert!(matches!(understand(trouble), Ok(Read::Trouble(_))));
        assert!(understand(b"<html>").is_err());
    }
}
