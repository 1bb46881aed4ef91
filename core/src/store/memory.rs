//! [`Store`] in memory, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Changes, Expect, Piece, Store, StoreError, Versioned, Write, given_up};

/// Clones share their records.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<String, Versioned>,
    notices: Vec<Bytes>,
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        Ok(self.inner.lock().records.get(key).cloned())
    }

    async fn commit(&self, writes: Vec<Write>, notice: Option<Bytes>) -> Result<(), StoreError> {
        let mut inner = self.inner.lock();
        for write in &writes {
            let (Write::Put { key, expect, .. } | Write::Delete { key, expect }) = write;
            let version = inner.records.get(key).map(|record| record.version);
            let holds = match *expect {
                Expect::Absent => version.is_none(),
                Expect::Version(wanted) => version == Some(wanted),
                Expect::Anything => true,
            };
            if !holds {
                return Err(StoreError::Conflict { key: key.clone() });
            }
        }
        for write in writes {
            match write {
                Write::Put { key, value, .. } => {
                    let version = inner.records.get(&key).map_or(0, |record| record.version) + 1;
                    inner.records.insert(key, Versioned { value, version });
                }
                Write::Delete { key, .. } => {
                    inner.records.remove(&key);
                }
            }
        }
        inner.notices.extend(notice);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        let inner = self.inner.lock();
        let from = inner.records.range(prefix.to_owned()..);
        let under = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(under.map(|(key, record)| (key.clone(), record.clone())).collect())
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, StoreError> {
        let mut under = self.list(prefix).await?;
        under.retain(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        under.truncate(limit);
        Ok(under)
    }

    async fn snapshot(&self, to: mpsc::Sender<Vec<Piece>>) -> Result<(), StoreError> {
        let records = self.inner.lock().records.clone();
        to.send(records.into_iter().map(Piece::from).collect()).await.map_err(given_up)
    }

    async fn changes_after(&self, sequence: u64) -> Result<Changes, StoreError> {
        let inner = self.inner.lock();
        let upto = inner.notices.len() as u64;
        let seen = usize::try_from(sequence).unwrap_or(usize::MAX).min(inner.notices.len());
        Ok(Changes { notices: inner.notices[seen..].to_vec(), upto, missed: sequence > upto })
    }
}
