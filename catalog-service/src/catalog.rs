//! The catalog of one moment, its watchers, and every version that was ever served.
//!
//! A snapshot is replaced whole or not at all: a file that does not load keeps the one before, and says why.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::{Mutex, RwLock};
use plugboard_core::catalog::{Catalog, CatalogError, ManifestDocument};
use plugboard_core::manifest::document;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::lint;
use crate::load::{self, Finding, LoadError};

/// Replaced versions that are kept. A job pins its manifest for 15 minutes at most, so this is only a bound for
/// somebody who saves a file all day.
const KEPT_VERSIONS: usize = 1_000;

/// All manifests of one moment, in order of their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CatalogSnapshot {
    /// SHA-256 (hex) over the digests of the manifests.
    pub digest: String,
    pub documents: Vec<ManifestDocument>,
}

impl CatalogSnapshot {
    fn new(documents: Vec<ManifestDocument>) -> Self {
        let mut hash = Sha256::new();
        for document in &documents {
            hash.update(document.digest.as_bytes());
        }
        Self { digest: hex::encode(hash.finalize()), documents }
    }
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys of new or changed connectors.
    pub changed: Vec<String>,
    /// Keys of connectors that are gone.
    pub removed: Vec<String>,
}

impl Reloaded {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// The catalog service itself; implements the [`Catalog`] port.
#[derive(Debug)]
pub struct CatalogService {
    config: Config,
    current: watch::Sender<Arc<CatalogSnapshot>>,
    versions: RwLock<Versions>,
    /// One reload at a time, so that an older reading never replaces a newer one.
    reloading: Mutex<()>,
}

/// Documents by digest: the current ones, and the latest of those they replaced.
#[derive(Debug, Default)]
struct Versions {
    by_digest: HashMap<String, ManifestDocument>,
    replaced: VecDeque<String>,
}

impl CatalogService {
    /// Loads the manifests the configuration names.
    ///
    /// # Errors
    /// Everything that is wrong with any file.
    pub fn open(config: Config) -> Result<Arc<Self>, LoadError> {
        let service =
            Self { config, current: watch::Sender::default(), versions: RwLock::default(), reloading: Mutex::new(()) };
        service.reload()?;
        Ok(Arc::new(service))
    }

    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.current.borrow().clone()
    }

    /// Snapshots as they change, beginning with the current one.
    pub fn snapshots(&self) -> impl futures::Stream<Item = Arc<CatalogSnapshot>> + Send + 'static {
        WatchStream::new(self.current.subscribe())
    }

    /// A manifest by digest, also one that has been replaced.
    pub fn document(&self, digest: &str) -> Option<ManifestDocument> {
        self.versions.read().by_digest.get(digest).cloned()
    }

    /// Reads everything again and swaps the snapshot if it differs. Blocks on files.
    ///
    /// # Errors
    /// Everything that is wrong with any file; the snapshot stays.
    pub fn reload(&self) -> Result<Reloaded, LoadError> {
        let _alone = self.reloading.lock();
        let made = load::each(&self.config, |source, connector| {
            let document = document(connector.manifest()).map_err(|error| load::unfit(source, &error))?;
            // The tests lint what is built in.
            Ok((document, (!source.file.starts_with(BUILT_IN)).then(|| source.file.clone())))
        })?;
        let (made, wrong): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
        let findings: Vec<Finding> = wrong.into_iter().filter_map(Result::err).collect();
        if !findings.is_empty() {
            return Err(LoadError { findings });
        }
        let (documents, files): (Vec<_>, Vec<_>) = made.into_iter().flatten().unzip();
        let before = self.snapshot();
        let change = compare(&before.documents, &documents);
        if change.is_empty() && !before.digest.is_empty() {
            return Ok(change);
        }
        let changed: HashSet<&str> = change.changed.iter().map(String::as_str).collect();
        let changed = documents.iter().zip(files).filter(|(document, _)| changed.contains(document.key.as_str()));
        say_findings(changed.filter_map(|(_, file)| file).collect());
        self.versions.write().replace(&before.documents, &documents);
        self.current.send_replace(Arc::new(CatalogSnapshot::new(documents)));
        Ok(change)
    }

    /// Looks at the extra directories until told to stop, and reloads when a file was added, changed or removed. Run
    /// it as a supervised task; without directories to look at it only waits.
    pub async fn follow_files(self: Arc<Self>, stop: CancellationToken) {
        let Some(period) = self.config.poll() else { return stop.cancelled().await };
        let mut seen = self.clone().fingerprint().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(period) => {}
            }
            let now = self.clone().fingerprint().await;
            if now == seen {
                continue;
            }
            // A file that is being written is read again once its time has stopped moving.
            tokio::time::sleep(period.min(Duration::from_millis(50))).await;
            seen = now;
            let this = self.clone();
            match tokio::task::spawn_blocking(move || this.reload()).await {
                Ok(Ok(change)) if change.is_empty() => {}
                Ok(Ok(change)) => tracing::info!(
                    changed = change.changed.join(","),
                    removed = change.removed.join(","),
                    "the catalog was reloaded"
                ),
                Ok(Err(error)) => tracing::error!(%error, "the catalog stays as it was"),
                Err(error) => tracing::error!(%error, "reading the catalog failed; it stays as it was"),
            }
        }
    }

    /// Path, size and time of every file; a directory that cannot be read has none.
    async fn fingerprint(self: Arc<Self>) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
        let read = move || {
            let directories = self.config.directories.iter();
            let files = directories.filter_map(|path| load::yaml_files(path).ok()).flatten();
            files.map(|(path, meta)| (path, meta.len(), meta.modified().ok())).collect()
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }
}

/// What is served although `connectors lint` would refuse it, is at least said: afterwards, since a lint takes many
/// times as long as a load.
fn say_findings(files: Vec<String>) {
    if files.is_empty() {
        return;
    }
    let say = move || {
        for finding in files.iter().filter_map(|file| lint::path(Path::new(file)).ok()).flatten() {
            tracing::warn!("{finding}");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("lint".to_owned()).spawn(say) {
        tracing::warn!(%error, "the manifests were not linted");
    }
}

/// Files of built-in manifests begin with this.
const BUILT_IN: &str = "connectors/";

fn compare(before: &[ManifestDocument], after: &[ManifestDocument]) -> Reloaded {
    let old: HashMap<&str, &str> = before.iter().map(|d| (d.key.as_str(), d.digest.as_str())).collect();
    let changed = after.iter().filter(|d| old.get(d.key.as_str()) != Some(&d.digest.as_str()));
    let kept: HashSet<&str> = after.iter().map(|d| d.key.as_str()).collect();
    let removed = before.iter().filter(|d| !kept.contains(d.key.as_str()));
    Reloaded {
        changed: changed.map(|d| d.key.to_string()).collect(),
        removed: removed.map(|d| d.key.to_string()).collect(),
    }
}

impl Versions {
    fn replace(&mut self, before: &[ManifestDocument], after: &[ManifestDocument]) {
        for document in after {
            self.by_digest.insert(document.digest.clone(), document.clone());
        }
        let served: HashSet<&str> = after.iter().map(|document| document.digest.as_str()).collect();
        self.replaced.retain(|digest| !served.contains(digest.as_str()));
        let gone = before.iter().filter(|old| !served.contains(old.digest.as_str()));
        self.replaced.extend(gone.map(|document| document.digest.clone()));
        while self.replaced.len() > KEPT_VERSIONS {
            if let Some(oldest) = self.replaced.pop_front() {
                self.by_digest.remove(&oldest);
            }
        }
    }
}

#[async_trait]
impl Catalog for CatalogService {
    async fn watch(&self) -> Result<BoxStream<'static, Vec<ManifestDocument>>, CatalogError> {
        Ok(self.snapshots().map(|snapshot| snapshot.documents.clone()).boxed())
    }

    async fn by_digest(&self, digest: &str) -> Result<Option<ManifestDocument>, CatalogError> {
        Ok(self.document(digest))
    }
}
