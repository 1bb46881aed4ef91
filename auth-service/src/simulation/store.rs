//! The store as one service sees it: in memory, behind the faults. It sees what becomes durable, and which refresh tokens
//! may have left.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use plugboard_core::store::memory::MemoryStore;
use plugboard_core::store::{Changes, Piece, Store, StoreError, Versioned, Write};
use tokio::sync::mpsc;

use super::process::{Fault, Process};
use super::run::Cast;
use crate::accounts;
use crate::oauth::ACCESS_TOKEN;
use crate::oauth::records::LeaseRecord;
use crate::records::{AccountRecord, decode};

pub(super) struct StorePort {
    pub(super) store: MemoryStore,
    pub(super) process: Arc<Process>,
    pub(super) cast: Arc<OnceLock<Cast>>,
}

fn away(fault: Fault) -> StoreError {
    StoreError::Unavailable(format!("simulated: {fault:?}"))
}

impl StorePort {
    /// Before it is done: from now on a death takes the account along.
    fn before(&self, writes: &[Write]) {
        for (account, lease) in writes.iter().filter_map(|write| self.lease(write)) {
            if lease.is_some_and(|lease| lease.sent) {
                self.process.asking.lock().insert(account);
            }
        }
    }

    fn after(&self, writes: &[Write]) {
        for write in writes {
            if let Some((account, lease)) = self.lease(write)
                && lease.is_none_or(|lease| !lease.sent)
            {
                self.process.asking.lock().remove(&account);
            }
            let Write::Put { key, value, .. } = write else { continue };
            if let Some(account) = self.cast().and_then(|cast| cast.number_of(key, "account/")) {
                let found = Versioned { value: value.clone(), version: 1 };
                let record: AccountRecord = decode(key, &found).expect("an account");
                let masters = &self.cast().expect("a cast").masters;
                let fields = accounts::open(masters, &record).expect("an envelope that opens");
                let token = fields[ACCESS_TOKEN].expose();
                self.process.world.keep(token);
                let (state, reason) = (&record.state, &record.state_reason);
                self.process.note("stores", &format!("account {account} {token} {state} {reason}"));
            }
        }
    }

    fn cast(&self) -> Option<&Cast> {
        self.cast.get()
    }

    /// Whose lease a write is about, and what it becomes.
    fn lease(&self, write: &Write) -> Option<(usize, Option<LeaseRecord>)> {
        let (Write::Put { key, .. } | Write::Delete { key, .. }) = write;
        let account = self.cast()?.number_of(key, "refresh/")?;
        let lease = match write {
            Write::Put { value, .. } => {
                let found = Versioned { value: value.clone(), version: 1 };
                Some(decode(key, &found).expect("a lease"))
            }
            Write::Delete { .. } => None,
        };
        Some((account, lease))
    }
}

#[async_trait]
impl Store for StorePort {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        self.process.call(key, self.store.get(key)).await.map_err(away)?
    }

    async fn commit(&self, writes: Vec<Write>, notice: Option<Bytes>) -> Result<(), StoreError> {
        let (Write::Put { key, .. } | Write::Delete { key, .. }) = &writes[0];
        let about = format!("commit {key}");
        let act = async {
            self.before(&writes);
            let done = self.store.commit(writes.clone(), notice).await;
            if done.is_ok() {
                self.after(&writes);
            }
            done
        };
        self.process.call(&about, act).await.map_err(away)?
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.process.call(prefix, self.store.list(prefix)).await.map_err(away)?
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.process.call(prefix, self.store.page(prefix, after, limit)).await.map_err(away)?
    }

    async fn snapshot(&self, to: mpsc::Sender<Vec<Piece>>) -> Result<(), StoreError> {
        self.process.call("snapshot", self.store.snapshot(to)).await.map_err(away)?
    }

    async fn changes_after(&self, sequence: u64) -> Result<Changes, StoreError> {
        self.process.call("changes", self.store.changes_after(sequence)).await.map_err(away)?
    }
}
