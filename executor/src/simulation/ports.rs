//! Journal, payloads, accounts, catalog and replies as one process sees them: the adapters in memory, behind the faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use plugboard_core::blobs::{BlobError, BlobId, Blobs};
use plugboard_core::catalog::{Catalog, CatalogError, ManifestDocument};
use plugboard_core::identity::{Change, Grant, IdentityError, Vault};
use plugboard_core::ids::{ExecutionId, InstanceId, OrganizationId};
use plugboard_core::job::Outcome;
use plugboard_core::journal::memory::MemoryJournal;
use plugboard_core::journal::{Journal, JournalError, JournalState, JournalStore, Revision, may_follow};
use plugboard_core::queue::{Inbox, QueueError, Replies};
use plugboard_core::secret::AccountFields;
use tokio::sync::mpsc;

use super::process::{Fault, Process};
use crate::testing::fields;
use plugboard_core::broken::broken;

pub(super) struct JournalPort {
    store: MemoryJournal,
    process: Arc<Process>,
    /// The same entries without the faults.
    plain: Journal,
}

impl JournalPort {
    pub(super) fn new(store: &MemoryJournal, process: &Arc<Process>) -> Self {
        let me = InstanceId::trusted("in_check");
        let plain = Journal::new(Arc::new(store.clone()), process.world.clock(0), me);
        Self { store: store.clone(), process: process.clone(), plain }
    }

    /// The state of an execution's entry; there are other entries, too.
    async fn state(&self, key: &str) -> Option<JournalState> {
        let id = ExecutionId::parse(key)?;
        self.plain.look(&id).await.ok().flatten().map(|record| record.state)
    }

    /// Writes, and sees to it that the entry goes a way that the rules have.
    async fn write(&self, key: &str, value: Bytes, at: Revision) -> Result<Option<Revision>, JournalError> {
        let before = self.state(key).await;
        let written = self.store.update(key, value, at).await?;
        if let (Some(before), Some(after), true) = (before, self.state(key).await, written.is_some())
            && !may_follow(before, after)
        {
            self.process.world.violated(format!("the journal's rules, from {before:?} to {after:?}: {key}"));
        }
        Ok(written)
    }
}

fn away(_: Fault) -> JournalError {
    JournalError::Unavailable("simulated".into())
}

#[async_trait]
impl JournalStore for JournalPort {
    async fn create(&self, key: &str, value: Bytes) -> Result<Option<Revision>, JournalError> {
        let about = format!("create {key}");
        self.process.call("journal", &about, self.store.create(key, value)).await.map_err(away)?
    }

    async fn update(&self, key: &str, value: Bytes, at: Revision) -> Result<Option<Revision>, JournalError> {
        let write = async {
            let at = match self.store.get(key).await? {
                Some((_, present)) if broken("no_compare_and_set") => present,
                _ => at,
            };
            self.write(key, value, at).await
        };
        self.process.call("journal", &format!("update {key}"), write).await.map_err(away)?
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, Revision)>, JournalError> {
        self.process.call("journal", &format!("get {key}"), self.store.get(key)).await.map_err(away)?
    }
}

/// Payloads by an id that follows from the run alone.
#[derive(Default)]
pub(super) struct Payloads(Mutex<BTreeMap<String, Bytes>>);

impl Payloads {
    pub(super) fn keep(&self, data: Bytes) -> BlobId {
        let mut kept = self.0.lock();
        let id = BlobId::trusted(format!("blob_{:032x}", kept.len()));
        kept.insert(id.as_str().to_owned(), data);
        id
    }
}

pub(super) struct BlobsPort {
    pub(super) payloads: Arc<Payloads>,
    pub(super) process: Arc<Process>,
}

#[async_trait]
impl Blobs for BlobsPort {
    async fn put(&self, _: &OrganizationId, data: Bytes) -> Result<BlobId, BlobError> {
        let put = async { self.payloads.keep(data) };
        self.process.call("blobs", "put", put).await.map_err(|_| BlobError::Unavailable("simulated".into()))
    }

    async fn get(&self, _: &OrganizationId, id: &BlobId) -> Result<Option<Bytes>, BlobError> {
        let get = async { self.payloads.0.lock().get(id.as_str()).cloned() };
        let about = format!("get {id}");
        self.process.call("blobs", &about, get).await.map_err(|_| BlobError::Unavailable("simulated".into()))
    }
}

pub(super) struct VaultPort {
    /// Tokens issued so far.
    pub(super) tokens: Arc<AtomicU32>,
    pub(super) process: Arc<Process>,
}

impl VaultPort {
    fn is_revoked(&self) -> bool {
        self.process.world.weather.revoked.is_some_and(|at| self.process.world.elapsed() >= at)
    }
}

#[async_trait]
impl Vault for VaultPort {
    async fn resolve(&self, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
        let resolve = async {
            let renewed = u32::from(grant.refresh);
            (self.is_revoked(), self.tokens.fetch_add(renewed, Ordering::Relaxed) + renewed)
        };
        match self.process.call("vault", if grant.refresh { "refresh" } else { "resolve" }, resolve).await {
            Ok((true, _)) => Err(IdentityError::Revoked),
            Ok((false, token)) => {
                let token = format!("token-{token:08}");
                Ok(Arc::new(fields(&[("api_key", "k-1234567890"), ("client_id", "c"), ("token", &token)])))
            }
            Err(_) => Err(IdentityError::Unavailable("simulated".into())),
        }
    }

    fn holds(&self, _: &Grant, _: &Arc<AccountFields>) -> bool {
        !self.is_revoked() && !self.process.world.fault(2_000)
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
        Ok(futures::stream::pending().boxed())
    }
}

pub(super) struct CatalogPort {
    pub(super) document: ManifestDocument,
    pub(super) process: Arc<Process>,
}

#[async_trait]
impl Catalog for CatalogPort {
    async fn watch(&self) -> Result<BoxStream<'static, Vec<ManifestDocument>>, CatalogError> {
        Ok(futures::stream::pending().boxed())
    }

    async fn by_digest(&self, digest: &str) -> Result<Option<ManifestDocument>, CatalogError> {
        let find = async { (self.document.digest == digest).then(|| self.document.clone()) };
        let found = self.process.call("catalog", "by_digest", find).await;
        found.map_err(|_| CatalogError::Unavailable("simulated".into()))
    }
}

/// Where outcomes arrive: all of them are kept for the check, and those somebody waits for are handed over.
#[derive(Default)]
pub(super) struct Arrivals {
    pub(super) all: Mutex<Vec<Outcome>>,
    waiting: Mutex<BTreeMap<String, mpsc::UnboundedSender<Outcome>>>,
}

impl Arrivals {
    pub(super) fn wait(&self, id: &str) -> mpsc::UnboundedReceiver<Outcome> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.waiting.lock().insert(id.to_owned(), sender);
        receiver
    }

    fn arrive(&self, outcome: Outcome) {
        if let Some(sender) = self.waiting.lock().get(outcome.execution_id.as_str()) {
            let _ = sender.send(outcome.clone());
        }
        self.keep(outcome);
    }

    /// For the check alone.
    pub(super) fn keep(&self, outcome: Outcome) {
        self.all.lock().push(outcome);
    }
}

pub(super) struct RepliesPort {
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) process: Arc<Process>,
}

#[async_trait]
impl Replies for RepliesPort {
    async fn send(&self, _: &InstanceId, outcome: Outcome) -> Result<(), QueueError> {
        let world = &self.process.world;
        let about = format!("send {}", outcome.execution_id);
        let send = async {
            if world.fault(world.weather.reply_lost) {
                self.process.note("reply lost", outcome.execution_id.as_str());
            } else {
                self.arrivals.arrive(outcome);
            }
        };
        self.process.call("replies", &about, send).await.map_err(|_| QueueError::Unavailable("simulated".into()))
    }

    async fn subscribe(&self, _: &InstanceId, _: Inbox) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }
}
