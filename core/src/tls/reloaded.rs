//! Files that are renewed while the process runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::error::TlsError;
use super::pem::rfc3339;
use crate::clock::{Clock, Millis, SystemClock};
use crate::readiness::Health;

/// Between two looks at files that were found broken: most are only being written.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// One certificate, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub setting: &'static str,
    pub path: PathBuf,
    /// DNS and URI names; of a CA none.
    pub names: Vec<String>,
    /// Unix time.
    pub begins: i64,
    pub ends: i64,
    /// Label of the metric.
    pub(super) label: &'static str,
}

impl Description {
    /// RFC 3339.
    pub fn ends_at(&self) -> String {
        rfc3339(self.ends)
    }
}

/// Makes something of files.
pub(super) trait Source: Send + Sync + 'static {
    type Made: Send + Sync + 'static;

    /// # Errors
    /// When a file cannot be used now.
    fn load(&self, now: Millis) -> Result<Loaded<Self::Made>, TlsError>;
}

pub(super) struct Loaded<T> {
    pub made: T,
    /// Of all files: the same files need not be looked at again.
    pub digest: [u8; 32],
    pub certificates: Vec<Description>,
}

/// What was made of files, and is made anew when they change. Files that cannot be used leave the old.
pub struct Reloaded<S: Source> {
    source: S,
    current: ArcSwap<Loaded<S::Made>>,
    /// How often it was renewed.
    generation: AtomicU64,
    broken: AtomicBool,
    /// What was last said about broken files: once is enough.
    told: Mutex<String>,
    clock: Arc<dyn Clock>,
}

impl<S: Source> Reloaded<S> {
    pub fn open(source: S) -> Result<Arc<Self>, TlsError> {
        Self::open_at(source, Arc::new(SystemClock))
    }

    pub fn open_at(source: S, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TlsError> {
        let loaded = source.load(clock.now())?;
        measure(&loaded.certificates);
        Ok(Arc::new(Self {
            source,
            current: ArcSwap::from_pointee(loaded),
            generation: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            told: Mutex::default(),
            clock,
        }))
    }

    pub fn source(&self) -> &S {
        &self.source
    }

    pub fn current(&self) -> arc_swap::Guard<Arc<Loaded<S::Made>>> {
        self.current.load()
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn describe(&self) -> Vec<Description> {
        self.current.load().certificates.clone()
    }

    /// Looks at the files now.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = self.source.load(self.clock.now())?;
        self.broken.store(false, Ordering::Release);
        self.told.lock().clear();
        if loaded.digest == self.current.load().digest {
            return Ok(());
        }
        measure(&loaded.certificates);
        let ends = loaded.certificates.iter().map(|each| each.ends).min().map_or_else(String::new, rfc3339);
        self.current.store(Arc::new(loaded));
        self.generation.fetch_add(1, Ordering::AcqRel);
        tracing::info!(first_ends = ends, "certificates were renewed");
        Ok(())
    }

    pub async fn follow(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let pause = if failures == 1 { SECOND_LOOK.min(every) } else { every };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            let this = self.clone();
            // A file system may be slow, and a network's.
            match tokio::task::spawn_blocking(move || this.reload()).await {
                // Three files are not written at once: only what is still so a moment later is told.
                Ok(Err(error)) if failures > 0 => self.tell(&error),
                Ok(Err(_)) => {}
                _ => {
                    failures = 0;
                    continue;
                }
            }
            failures = failures.saturating_add(1);
        }
    }

    pub(super) fn tell(&self, error: &TlsError) {
        self.broken.store(true, Ordering::Release);
        let text = error.to_string();
        let mut told = self.told.lock();
        if *told != text {
            tracing::error!(%error, "a new certificate cannot be used; the old one stays");
            *told = text;
        }
    }

    pub fn health(&self) -> Health {
        let now = self.clock.now().0 / 1000;
        if self.current.load().certificates.iter().any(|each| each.ends <= now) {
            return Health::Reduced("a certificate has ended: no new connection can be made with it");
        }
        match self.broken.load(Ordering::Acquire) {
            true => Health::Reduced("a new certificate cannot be used; the old one stays"),
            false => Health::Up,
        }
    }
}

fn measure(certificates: &[Description]) {
    for each in certificates {
        let ends = each.ends as f64;
        metrics::gauge!("plugboard_certificate_expiration_timestamp_seconds", "certificate" => each.label).set(ends);
    }
}
