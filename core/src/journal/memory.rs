//! [`JournalStore`] in memory, for tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{JournalError, JournalStore, Revision};
use crate::clock::{Clock, Millis};

const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Clones share their entries.
#[derive(Clone)]
pub struct MemoryJournal {
    entries: Arc<Mutex<Entries>>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<String, (Bytes, Revision, Millis)>,
    writes: u64,
}

impl MemoryJournal {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { entries: Arc::default(), clock }
    }

    fn write(&self, key: &str, value: Bytes, at: Option<Revision>) -> Option<Revision> {
        let now = self.clock.now();
        let mut entries = self.entries.lock();
        let found = entries.by_key.get(key).filter(|(_, _, written)| now < written.plus(LIFE));
        if found.map(|(_, revision, _)| *revision) != at {
            return None;
        }
        entries.writes += 1;
        let revision = Revision(entries.writes);
        entries.by_key.insert(key.to_owned(), (value, revision, now));
        Some(revision)
    }
}

#[async_trait]
impl JournalStore for MemoryJournal {
    async fn create(&self, key: &str, value: Bytes) -> Result<Option<Revision>, JournalError> {
        Ok(self.write(key, value, None))
    }

    async fn update(&self, key: &str, value: Bytes, at: Revision) -> Result<Option<Revision>, JournalError> {
        Ok(self.write(key, value, Some(at)))
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, Revision)>, JournalError> {
        let now = self.clock.now();
        let entries = self.entries.lock();
        let found = entries.by_key.get(key).filter(|(_, _, written)| now < written.plus(LIFE));
        Ok(found.map(|(value, revision, _)| (value.clone(), *revision)))
    }
}
