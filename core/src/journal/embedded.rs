//! [`JournalStore`] in the embedded data file.
//!
//! An entry expires 24 hours after its last write. Revisions begin with the clock's milliseconds, so a key that has
//! expired and is created again does not repeat one.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redb::ReadableTable;

use super::{JournalError, JournalStore, Revision};
use crate::clock::Millis;
use crate::embedded::expiry::{self, Expired, Kind};
use crate::embedded::tables::{JOURNAL, Tables};
use crate::embedded::{Embedded, EmbeddedError};

/// Life of an entry after its last write.
const LIFE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone)]
pub struct EmbeddedJournal {
    file: Embedded,
}

impl EmbeddedJournal {
    pub fn new(file: Embedded) -> Self {
        Self { file }
    }
}

#[async_trait]
impl JournalStore for EmbeddedJournal {
    async fn create(&self, key: &str, value: Bytes) -> Result<Option<Revision>, JournalError> {
        let (key, now) = (key.to_owned(), self.file.clock().now());
        let revision = Revision(u64::try_from(now.0).unwrap_or(0).max(1));
        let entry = encode(revision, now, &value);
        let created = self
            .file
            .write(key.len() + entry.len(), move |tables| {
                if head(tables, &key)?.is_some_and(|head| head.lives(now)) {
                    return Ok(false);
                }
                tables.journal()?.insert(key.as_str(), entry.as_slice())?;
                expiry::note(tables, Kind::Journal, &key, now.plus(LIFE))?;
                Ok(true)
            })
            .await?;
        Ok(created.then_some(revision))
    }

    async fn update(&self, key: &str, value: Bytes, at: Revision) -> Result<Option<Revision>, JournalError> {
        let (key, now) = (key.to_owned(), self.file.clock().now());
        let revision = Revision(at.0 + 1);
        let entry = encode(revision, now, &value);
        let updated = self
            .file
            .write(key.len() + entry.len(), move |tables| {
                if !head(tables, &key)?.is_some_and(|head| head.lives(now) && head.revision == at) {
                    return Ok(false);
                }
                // The note made at its creation stays; the sweep sees when it was last written.
                tables.journal()?.insert(key.as_str(), entry.as_slice())?;
                Ok(true)
            })
            .await?;
        Ok(updated.then_some(revision))
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, Revision)>, JournalError> {
        let now = self.file.clock().now();
        Ok(self.file.read(|transaction| {
            let table = transaction.open_table(JOURNAL)?;
            let Some(entry) = table.get(key)? else { return Ok(None) };
            Ok(Head::of(entry.value())
                .filter(|(head, _)| head.lives(now))
                .map(|(head, value)| (Bytes::copy_from_slice(value), head.revision)))
        })?)
    }
}

struct Head {
    revision: Revision,
    written: Millis,
}

impl Head {
    fn of(entry: &[u8]) -> Option<(Self, &[u8])> {
        let (revision, rest) = entry.split_first_chunk()?;
        let (written, value) = rest.split_first_chunk()?;
        let head =
            Self { revision: Revision(u64::from_le_bytes(*revision)), written: Millis(i64::from_le_bytes(*written)) };
        Some((head, value))
    }

    fn expires(&self) -> Millis {
        self.written.plus(LIFE)
    }

    fn lives(&self, now: Millis) -> bool {
        now < self.expires()
    }
}

fn encode(revision: Revision, now: Millis, value: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(16 + value.len());
    entry.extend_from_slice(&revision.0.to_le_bytes());
    entry.extend_from_slice(&now.0.to_le_bytes());
    entry.extend_from_slice(value);
    entry
}

fn head(tables: &mut Tables<'_>, key: &str) -> Result<Option<Head>, redb::Error> {
    let found = tables.read_journal()?.get(key)?;
    Ok(found.and_then(|entry| Head::of(entry.value()).map(|(head, _)| head)))
}

/// Removes the entry, or says when to look again because it was written since.
pub(crate) fn expire(tables: &mut Tables<'_>, key: &str, now: Millis) -> Result<Expired, redb::Error> {
    match head(tables, key)? {
        Some(head) if head.lives(now) => Ok((0, Some(head.expires()))),
        Some(_) => {
            tables.journal()?.remove(key)?;
            Ok((1, None))
        }
        None => Ok((0, None)),
    }
}

impl From<EmbeddedError> for JournalError {
    fn from(error: EmbeddedError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
