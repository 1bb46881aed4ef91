//! The catalog as gateways and executors see it: an immutable snapshot in memory, replaced whole.

mod grpc;
mod snapshot;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use grpc::{GrpcCatalog, MAX_MESSAGE};
pub use snapshot::{Listed, Snapshot};

use crate::ids::ServiceKey;
use crate::manifest::{CompileError, Connector};
use crate::readiness::Health;

/// A manifest as the catalog service hands it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestDocument {
    pub key: ServiceKey,
    /// SHA-256 (hex) of `json`.
    pub digest: String,
    /// Canonical JSON.
    pub json: Bytes,
}

/// What the catalog service offers.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// The whole catalog now, and again after each change. The stream ends when the connection does.
    ///
    /// # Errors
    /// When it cannot be opened.
    async fn watch(&self) -> Result<BoxStream<'static, Vec<ManifestDocument>>, CatalogError>;

    /// A manifest by digest, also one that has been replaced.
    ///
    /// # Errors
    /// When the catalog service cannot answer.
    async fn by_digest(&self, digest: &str) -> Result<Option<ManifestDocument>, CatalogError>;
}

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the catalog cannot be reached: {0}")]
    Unavailable(String),
    #[error("the catalog sent a manifest this version does not understand: {key}: {source}")]
    Incompatible { key: String, source: CompileError },
}

/// Replaced versions that are kept; of more, the first is forgotten.
const REPLACED: usize = 2_000;

/// A live view of the catalog, shared by all calls of a process.
pub struct CatalogHandle {
    source: Arc<dyn Catalog>,
    current: ArcSwap<Snapshot>,
    /// Replaced versions that this process has seen, so that a job can use the one it was validated against.
    replaced: Mutex<IndexMap<String, Arc<Listed>>>,
    ready: tokio::sync::watch::Sender<bool>,
    /// Changes are heard of now.
    followed: AtomicBool,
}

impl std::fmt::Debug for CatalogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CatalogHandle").field("connectors", &self.snapshot().len()).finish_non_exhaustive()
    }
}

impl CatalogHandle {
    pub fn new(source: Arc<dyn Catalog>) -> Arc<Self> {
        Arc::new(Self {
            source,
            current: ArcSwap::default(),
            replaced: Mutex::default(),
            ready: tokio::sync::watch::Sender::new(false),
            followed: AtomicBool::new(false),
        })
    }

    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Returns when the first snapshot is in.
    pub async fn ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives as long as self, so waiting cannot fail.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// The last snapshot serves on while the catalog is away.
    pub fn health(&self) -> Health {
        match (self.is_ready(), self.followed.load(Ordering::Relaxed)) {
            (false, _) => Health::Down("not loaded yet"),
            (true, false) => Health::Reduced("no connection: the last manifests serve on"),
            (true, true) => Health::Up,
        }
    }

    /// Follows the catalog; run it as a supervised task. While the catalog is away the last snapshot stays.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.source.watch().await {
                Ok(mut stream) => loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        documents = stream.next() => match documents {
                            Some(documents) => {
                                self.replace(&documents);
                                self.followed.store(true, Ordering::Relaxed);
                            }
                            None => break,
                        }
                    }
                },
                Err(error) => tracing::warn!(%error, "the catalog cannot be watched; trying again"),
            }
            self.followed.store(false, Ordering::Relaxed);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(250)) => {}
            }
        }
    }

    /// The version a job was validated against.
    ///
    /// # Errors
    /// When this process does not have it and the catalog cannot be asked.
    pub async fn by_digest(&self, digest: &str) -> Result<Option<Arc<Connector>>, CatalogError> {
        let current = self.current.load().by_digest(digest).cloned();
        if let Some(listed) = current.or_else(|| self.replaced.lock().get(digest).cloned()) {
            return Ok(listed.connector());
        }
        let Some(document) = self.source.by_digest(digest).await? else { return Ok(None) };
        let listed = Listed::new(document.clone()).map_err(|source| incompatible(&document, source))?;
        let listed = Arc::new(listed);
        self.keep_replaced(document.digest, listed.clone());
        Ok(listed.connector())
    }

    fn keep_replaced(&self, digest: String, listed: Arc<Listed>) {
        let mut replaced = self.replaced.lock();
        replaced.insert(digest, listed);
        if replaced.len() > REPLACED {
            replaced.shift_remove_index(0);
        }
    }

    fn replace(&self, documents: &[ManifestDocument]) {
        let before = self.current.load_full();
        let mut connectors = Vec::with_capacity(documents.len());
        for document in documents {
            let known = before.by_digest(&document.digest).cloned().map(Ok);
            match known.unwrap_or_else(|| Listed::new(document.clone()).map(Arc::new)) {
                Ok(listed) => connectors.push(listed),
                // One bad manifest must not take the others away.
                Err(source) => tracing::error!(error = %incompatible(document, source), "a manifest is left out"),
            }
        }
        let now = Snapshot::new(connectors);
        // Jobs that were validated against what is replaced are still on their way.
        for old in before.iter().filter(|old| now.by_digest(old.digest()).is_none()) {
            self.keep_replaced(old.digest().to_owned(), old.clone());
        }
        self.current.store(Arc::new(now));
        self.ready.send_replace(true);
    }
}

fn incompatible(document: &ManifestDocument, source: CompileError) -> CatalogError {
    CatalogError::Incompatible { key: document.key.as_str().to_owned(), source }
}
