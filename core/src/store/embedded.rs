//! [`Store`] in the embedded data file.

use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;
use redb::{ReadableTable, ReadableTableMetadata};
use tokio::sync::mpsc;

use super::{Changes, Expect, PIECES, Piece, Store, StoreError, Versioned, Write, given_up};
use crate::embedded::tables::{CHANGES, STORE, Tables};
use crate::embedded::{Embedded, EmbeddedError};

/// Notices the change log keeps.
const LOG_KEEPS: u64 = 10_000;

#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    file: Embedded,
}

impl EmbeddedStore {
    pub fn new(file: Embedded) -> Self {
        Self { file }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        let found = self.file.read(|transaction| {
            let table = transaction.open_table(STORE)?;
            let found = table.get(key)?;
            Ok(found.map(|record| decode(record.value())))
        })?;
        found.transpose()
    }

    async fn commit(&self, writes: Vec<Write>, notice: Option<Bytes>) -> Result<(), StoreError> {
        let bytes = writes.iter().map(size).sum::<usize>() + notice.as_ref().map_or(0, Bytes::len);
        self.file.write(bytes, move |tables| apply(tables, writes, notice)).await?
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.page(prefix, None, usize::MAX).await
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, StoreError> {
        let prefix = prefix.to_owned();
        // A key before the prefix, or below it, is a place to begin; one after it leaves nothing to find.
        let from = match after {
            Some(after) if after >= prefix.as_str() => Bound::Excluded(after.to_owned()),
            _ => Bound::Included(prefix.clone()),
        };
        self.file
            .read_long(move |transaction| {
                let table = transaction.open_table(STORE)?;
                let mut found = Vec::new();
                let from = from.as_ref().map(String::as_str);
                for entry in table.range::<&str>((from, Bound::Unbounded))? {
                    let (key, record) = entry?;
                    if found.len() >= limit || !key.value().starts_with(&prefix) {
                        break;
                    }
                    found.push(decode(record.value()).map(|record| (key.value().to_owned(), record)));
                }
                Ok(found)
            })
            .await?
            .into_iter()
            .collect()
    }

    /// A read transaction is a snapshot.
    async fn snapshot(&self, to: mpsc::Sender<Vec<Piece>>) -> Result<(), StoreError> {
        self.file
            .read_long(move |transaction| {
                let mut batch = Vec::with_capacity(PIECES);
                for entry in transaction.open_table(STORE)?.range::<&str>(..)? {
                    let (key, record) = entry?;
                    batch.push(decode(record.value()).map(|record| Piece::from((key.value().to_owned(), record))));
                    if batch.len() == PIECES
                        && let Err(error) = send(&to, &mut batch)
                    {
                        return Ok(Err(error));
                    }
                }
                Ok(send(&to, &mut batch))
            })
            .await?
    }

    async fn changes_after(&self, sequence: u64) -> Result<Changes, StoreError> {
        Ok(self.file.read(|transaction| {
            let table = transaction.open_table(CHANGES)?;
            if table.is_empty()? {
                return Ok(Changes { notices: Vec::new(), upto: 0, missed: sequence > 0 });
            }
            let mut changes = Changes::default();
            let mut first = None;
            for entry in table.range(sequence.saturating_add(1)..)? {
                let (number, notice) = entry?;
                first.get_or_insert(number.value());
                changes.notices.push(Bytes::copy_from_slice(notice.value()));
            }
            changes.upto = table.last()?.map_or(0, |(number, _)| number.value());
            // A reader ahead of the log has seen what a restored backup does not hold.
            changes.missed = sequence > changes.upto || first.is_some_and(|first| first > sequence + 1);
            Ok(changes)
        })?)
    }
}

/// From a thread that may wait.
fn send(to: &mpsc::Sender<Vec<Piece>>, batch: &mut Vec<Result<Piece, StoreError>>) -> Result<(), StoreError> {
    to.blocking_send(batch.drain(..).collect::<Result<_, _>>()?).map_err(given_up)
}

/// Expectations are checked before anything is written: other operations share the transaction.
fn apply(
    tables: &mut Tables<'_>,
    writes: Vec<Write>,
    notice: Option<Bytes>,
) -> Result<Result<(), StoreError>, redb::Error> {
    for write in &writes {
        let (Write::Put { key, expect, .. } | Write::Delete { key, expect }) = write;
        let version = version(tables, key)?;
        let holds = match *expect {
            Expect::Absent => version.is_none(),
            Expect::Version(wanted) => version == Some(wanted),
            Expect::Anything => true,
        };
        if !holds {
            return Ok(Err(StoreError::Conflict { key: key.clone() }));
        }
    }
    for write in writes {
        match write {
            Write::Put { key, value, .. } => {
                let version = version(tables, &key)?.unwrap_or(0) + 1;
                let mut record = Vec::with_capacity(8 + value.len());
                record.extend_from_slice(&version.to_le_bytes());
                record.extend_from_slice(&value);
                tables.store()?.insert(key.as_str(), record.as_slice())?;
            }
            Write::Delete { key, .. } => {
                tables.store()?.remove(key.as_str())?;
            }
        }
    }
    if let Some(notice) = notice {
        let log = tables.changes()?;
        let number = log.last()?.map_or(0, |(number, _)| number.value()) + 1;
        log.insert(number, notice.as_ref())?;
        if let Some(old) = number.checked_sub(LOG_KEEPS) {
            log.remove(old)?;
        }
    }
    Ok(Ok(()))
}

fn version(tables: &mut Tables<'_>, key: &str) -> Result<Option<u64>, redb::Error> {
    let found = tables.read_store()?.get(key)?;
    Ok(found.and_then(|record| record.value().first_chunk().map(|bytes| u64::from_le_bytes(*bytes))))
}

fn size(write: &Write) -> usize {
    match write {
        Write::Put { key, value, .. } => key.len() + value.len(),
        Write::Delete { key, .. } => key.len(),
    }
}

fn decode(record: &[u8]) -> Result<Versioned, StoreError> {
    let (version, value) =
        record.split_first_chunk().ok_or_else(|| StoreError::Unreadable("a record without version".to_owned()))?;
    Ok(Versioned { version: u64::from_le_bytes(*version), value: Bytes::copy_from_slice(value) })
}

impl From<EmbeddedError> for StoreError {
    fn from(error: EmbeddedError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
