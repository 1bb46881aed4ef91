//! All connectors of one moment.

use hashbrown::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::ManifestDocument;
use crate::ids::ServiceKey;
use crate::manifest::search::SearchIndex;
use crate::manifest::{Brief, CompileError, Connector};

/// A connector of the catalog. What lists need is at hand; the rest, some hundred kilobytes, is compiled when somebody
/// first uses it: of a hundred connectors a process mostly serves a few.
#[derive(Debug)]
pub struct Listed {
    brief: Brief,
    document: ManifestDocument,
    compiled: OnceLock<Arc<Connector>>,
}

impl Listed {
    /// # Errors
    /// When the document is no manifest that this version understands.
    pub fn new(document: ManifestDocument) -> Result<Self, CompileError> {
        // Compiled once to see that it can be, and let go.
        let brief = Brief::of(Connector::from_document(&document)?.manifest());
        Ok(Self { brief, document, compiled: OnceLock::new() })
    }

    pub fn key(&self) -> &ServiceKey {
        &self.document.key
    }

    pub fn digest(&self) -> &str {
        &self.document.digest
    }

    pub fn brief(&self) -> &Brief {
        &self.brief
    }

    /// The connector, kept from now on. Absent only where the check of [`Listed::new`] was wrong.
    pub fn connector(&self) -> Option<Arc<Connector>> {
        if let Some(connector) = self.compiled.get() {
            return Some(connector.clone());
        }
        let connector = self.look()?;
        Some(self.compiled.get_or_init(|| connector).clone())
    }

    /// The connector for a look at all of them: not kept unless it is anyway.
    pub fn look(&self) -> Option<Arc<Connector>> {
        if let Some(connector) = self.compiled.get() {
            return Some(connector.clone());
        }
        match Connector::from_document(&self.document) {
            Ok(connector) => Some(Arc::new(connector)),
            Err(error) => {
                tracing::error!(key = %self.document.key, %error, "a manifest that compiled does so no more");
                None
            }
        }
    }
}

/// Of the next snapshot; the empty one, before the first, has 0.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// All connectors of one moment, in key order.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// No two snapshots of a process have the same.
    serial: u64,
    connectors: Vec<Arc<Listed>>,
    by_key: HashMap<ServiceKey, usize>,
    by_digest: HashMap<String, usize>,
    /// Built by the first search.
    search: OnceLock<SearchIndex>,
}

impl Snapshot {
    pub fn new(mut connectors: Vec<Arc<Listed>>) -> Self {
        connectors.sort_by(|a, b| a.key().cmp(b.key()));
        let by_key = connectors.iter().enumerate().map(|(at, c)| (c.key().clone(), at)).collect();
        let by_digest = connectors.iter().enumerate().map(|(at, c)| (c.digest().to_owned(), at)).collect();
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Self { serial, connectors, by_key, by_digest, search: OnceLock::new() }
    }

    /// Tells snapshots apart.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    pub fn get(&self, key: &ServiceKey) -> Option<Arc<Connector>> {
        self.listed(key)?.connector()
    }

    pub fn by_digest(&self, digest: &str) -> Option<&Arc<Listed>> {
        self.by_digest.get(digest).map(|at| &self.connectors[*at])
    }

    pub fn listed(&self, key: &ServiceKey) -> Option<&Arc<Listed>> {
        self.by_key.get(key).map(|at| &self.connectors[*at])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Listed>> {
        self.connectors.iter()
    }

    /// Every connector for a look, one after the other.
    pub fn look(&self) -> impl Iterator<Item = Arc<Connector>> {
        self.connectors.iter().filter_map(|listed| listed.look())
    }

    /// The connectors that fit the words best, best first.
    pub fn search(&self, query: &str) -> Vec<Arc<Listed>> {
        let index = self.search.get_or_init(|| SearchIndex::build(self.look()));
        let hits = index.search(query, self.connectors.len());
        hits.iter().filter_map(|hit| self.listed(&hit.key).cloned()).collect()
    }

    pub fn len(&self) -> usize {
        self.connectors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.connectors.is_empty()
    }
}
