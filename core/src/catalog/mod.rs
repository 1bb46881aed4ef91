//! The catalog as gateways and executors see it: an immutable snapshot in memory, replaced whole.

mod grpc;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

pub use grpc::{GrpcCatalog, MAX_MESSAGE};

use crate::ids::ServiceKey;
use crate::manifest::search::SearchIndex;
use crate::manifest::{CompileError, Connector};

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

/// All connectors of one moment, compiled, in key order.
#[derive(Debug, Default)]
pub struct Snapshot {
    connectors: Vec<Arc<Connector>>,
    by_key: HashMap<ServiceKey, usize>,
    /// Built by the first search.
    search: OnceLock<SearchIndex>,
}

impl Snapshot {
    pub fn new(mut connectors: Vec<Arc<Connector>>) -> Self {
        connectors.sort_by(|a, b| a.key().cmp(b.key()));
        let by_key = connectors.iter().enumerate().map(|(at, c)| (c.key().clone(), at)).collect();
        Self { connectors, by_key, search: OnceLock::new() }
    }

    pub fn get(&self, key: &ServiceKey) -> Option<&Arc<Connector>> {
        self.by_key.get(key).map(|at| &self.connectors[*at])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Connector>> {
        self.connectors.iter()
    }

    /// The connectors that fit the words best, best first.
    pub fn search(&self, query: &str) -> Vec<Arc<Connector>> {
        let index = self.search.get_or_init(|| SearchIndex::build(self.connectors.iter()));
        let hits = index.search(query, self.connectors.len());
        hits.iter().filter_map(|hit| self.get(&hit.key).cloned()).collect()
    }

    pub fn len(&self) -> usize {
        self.connectors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.connectors.is_empty()
    }
}

/// A live view of the catalog, shared by all calls of a process.
pub struct CatalogHandle {
    source: Arc<dyn Catalog>,
    current: ArcSwap<Snapshot>,
    /// Every version this process has compiled, so that a job can use the one it was validated against.
    compiled: moka::sync::Cache<String, Arc<Connector>>,
    ready: tokio::sync::watch::Sender<bool>,
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
            compiled: moka::sync::Cache::new(2_000),
            ready: tokio::sync::watch::Sender::new(false),
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

    /// Follows the catalog; run it as a supervised task. While the catalog is away the last snapshot stays.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.source.watch().await {
                Ok(mut stream) => loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        documents = stream.next() => match documents {
                            Some(documents) => self.replace(&documents),
                            None => break,
                        }
                    }
                },
                Err(error) => tracing::warn!(%error, "the catalog cannot be watched; trying again"),
            }
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
        if let Some(connector) = self.compiled.get(digest) {
            return Ok(Some(connector));
        }
        let Some(document) = self.source.by_digest(digest).await? else { return Ok(None) };
        self.compile(&document).map(Some)
    }

    fn replace(&self, documents: &[ManifestDocument]) {
        let mut connectors = Vec::with_capacity(documents.len());
        for document in documents {
            match self.compile(document) {
                Ok(connector) => connectors.push(connector),
                // One bad manifest must not take the others away.
                Err(error) => tracing::error!(%error, "a manifest is left out"),
            }
        }
        self.current.store(Arc::new(Snapshot::new(connectors)));
        self.ready.send_replace(true);
    }

    fn compile(&self, document: &ManifestDocument) -> Result<Arc<Connector>, CatalogError> {
        if let Some(connector) = self.compiled.get(&document.digest) {
            return Ok(connector);
        }
        let connector = Connector::from_document(document)
            .map_err(|source| CatalogError::Incompatible { key: document.key.as_str().to_owned(), source })?;
        let connector = Arc::new(connector);
        self.compiled.insert(document.digest.clone(), connector.clone());
        Ok(connector)
    }
}
