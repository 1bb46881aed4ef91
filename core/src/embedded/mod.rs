//! The embedded data file: one `plugboard.redb` that holds the store, the journal, large payloads and unfinished jobs
//! of an all-in-one Plugboard.
//!
//! **Writing.** One thread applies all waiting operations in one transaction with one sync to disk (group commit) and
//! then answers all of them. An answer means: on disk, for a crash of the process and of the machine alike.
//!
//! **Reading** takes a snapshot and does not wait for writers. Single records are read on the caller's task: redb keeps
//! hot pages in memory and a miss is one short read, cheaper than the way to a blocking thread and back. Lists and large
//! payloads do take that way.
//!
//! **One process.** The file is locked; a second process is told so.
//!
//! **After a crash** redb reads and checks the whole file before it opens it, which takes seconds per gigabyte; the log
//! tells how far it is. Saving that would cost a second sync in every commit.
//!
//! | setting | value |
//! | --- | --- |
//! | operations in one commit | 2,048 or 8 MiB, whichever comes first |
//! | longest wait of an operation nobody waits for (an ack) | 20 ms |
//! | removal of expired records | every 60 s, 256 records at a time |
//! | page cache | 64 MiB |

pub(crate) mod expiry;
pub(crate) mod tables;
mod writer;

use std::cell::Cell;
use std::fs::{DirBuilder, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable};
use tokio::sync::oneshot;

use self::tables::Tables;
use self::writer::{Operation, Shared};
use crate::clock::Clock;

/// Name of the data file in its directory.
pub const FILE_NAME: &str = "plugboard.redb";

/// Memory for pages of the file. Bytes.
const CACHE_BYTES: usize = 64 << 20;

const FORMAT: u64 = 1;

/// The open data file. Clones are the same file; it is closed, and its lock released, with [`Embedded::close`] or when
/// the last clone is dropped.
#[derive(Clone)]
pub struct Embedded {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    path: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum EmbeddedError {
    #[error("another plugboard uses this data directory: {}", .0.display())]
    InUse(PathBuf),
    #[error("cannot open {}: {reason}", path.display())]
    Open { path: PathBuf, reason: String },
    #[error("{} was written by a later version (format {found}, this one knows {FORMAT})", path.display())]
    Format { path: PathBuf, found: u64 },
    #[error("the data file is closed")]
    Closed,
    #[error("the data file failed: {0}")]
    Failed(String),
}

impl From<redb::Error> for EmbeddedError {
    fn from(error: redb::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Embedded {
    /// Opens `directory/plugboard.redb`, making both if need be, readable by the owner alone. Blocks while it does.
    ///
    /// # Errors
    /// [`EmbeddedError::InUse`] when another process has it open; else when it cannot be made, read or understood.
    pub fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, EmbeddedError> {
        let path = directory.join(FILE_NAME);
        let failed = |reason: String| EmbeddedError::Open { path: path.clone(), reason };
        let io = |error: std::io::Error| failed(error.to_string());
        make_private_directory(directory).map_err(io)?;
        let file = open_private_file(&path).map_err(io)?;
        let backend = redb::backends::FileBackend::new(file);
        let database = backend
            .and_then(|backend| {
                let mut builder = Database::builder();
                builder.set_cache_size(CACHE_BYTES).set_repair_callback(tell_progress());
                builder.create_with_backend(backend)
            })
            .map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => EmbeddedError::InUse(directory.to_owned()),
                error => failed(error.to_string()),
            })?;
        check_format(&database, &path)?;
        // The name of a new file is durable only once its directory is.
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;

        let shared = Arc::new(Shared::new(database, clock));
        let writer = shared.clone();
        let thread = std::thread::Builder::new()
            .name("plugboard-writer".to_owned())
            .spawn(move || writer::run(&writer))
            .map_err(io)?;
        Ok(Self { handle: Arc::new(Handle { shared, path, thread: Mutex::new(Some(thread)) }) })
    }

    /// Writes what waits, closes the file and releases its lock. Blocks while it does; later calls do nothing, and
    /// later reads and writes fail with [`EmbeddedError::Closed`].
    pub fn close(&self) {
        self.handle.end(true);
    }

    /// Ends as a killed process does: what was not answered is forgotten.
    #[cfg(any(test, feature = "testing"))]
    pub fn crash(&self) {
        self.handle.end(false);
    }

    /// The data file.
    pub fn path(&self) -> &Path {
        &self.handle.path
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.handle.shared.clock
    }

    /// Reads from a snapshot of all that was answered before.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, EmbeddedError> {
        let transaction = match &*self.handle.shared.database.read() {
            Some(database) => database.begin_read().map_err(redb::Error::from)?,
            None => return Err(EmbeddedError::Closed),
        };
        Ok(read(&transaction)?)
    }

    /// The same for what is long, away from the caller's task.
    pub(crate) async fn read_long<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, EmbeddedError> {
        let this = self.clone();
        match tokio::task::spawn_blocking(move || this.read(read)).await {
            Ok(result) => result,
            Err(error) => Err(EmbeddedError::Failed(error.to_string())),
        }
    }

    /// Applies `apply` and waits until it is durable. A caller that stops waiting does not stop the write.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        apply: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, EmbeddedError> {
        let (answer, answered) = oneshot::channel();
        self.write_then(bytes, apply, move |result| {
            let _ = answer.send(result);
        });
        answered.await.unwrap_or(Err(EmbeddedError::Closed))
    }

    /// Applies `apply` and, when it is durable or has failed, calls `done` on the writer's thread, which must not be
    /// held up. Operations are applied in the order of the calls.
    pub(crate) fn write_then<T: Send + 'static>(
        &self,
        bytes: usize,
        apply: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
        done: impl FnOnce(Result<T, EmbeddedError>) + Send + 'static,
    ) {
        self.handle.shared.submit(Box::new(Task { bytes, apply: Some(apply), value: None, done }), true);
    }

    /// Applies `apply` when there is something else to write, soon; nobody learns when.
    pub(crate) fn write_lazily(&self, apply: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error> + Send + 'static) {
        let task = Task { bytes: 0, apply: Some(apply), value: None, done: |_: Result<(), EmbeddedError>| {} };
        self.handle.shared.submit(Box::new(task), false);
    }

    /// Removes everything that has expired.
    #[cfg(test)]
    pub(crate) async fn sweep(&self) {
        let now = self.clock().now();
        while self.write(0, move |tables| expiry::sweep(tables, now, 16)).await.unwrap() {}
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("path", &self.handle.path).finish_non_exhaustive()
    }
}

impl Handle {
    fn end(&self, orderly: bool) {
        self.shared.end(orderly);
        let thread = self.thread.lock().take();
        // The last clone may be dropped by an operation, on the writer's own thread.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end(true);
    }
}

struct Task<A, D, T> {
    bytes: usize,
    apply: Option<A>,
    value: Option<T>,
    done: D,
}

impl<A, D, T> Operation for Task<A, D, T>
where
    A: FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send,
    D: FnOnce(Result<T, EmbeddedError>) + Send,
    T: Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        if let Some(apply) = self.apply.take() {
            self.value = Some(apply(tables)?);
        }
        Ok(())
    }

    fn done(self: Box<Self>, result: Result<(), EmbeddedError>) {
        let value = self.value;
        (self.done)(result.and_then(|()| value.ok_or(EmbeddedError::Closed)));
    }
}

fn check_format(database: &Database, path: &Path) -> Result<(), EmbeddedError> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    let found = {
        let meta = transaction.open_table(tables::META).map_err(redb::Error::from)?;
        let found = meta.get("format").map_err(redb::Error::from)?;
        found.map(|format| format.value())
    };
    match found {
        Some(FORMAT) => {}
        Some(found) => return Err(EmbeddedError::Format { path: path.to_owned(), found }),
        None => {
            let mut meta = transaction.open_table(tables::META).map_err(redb::Error::from)?;
            meta.insert("format", FORMAT).map_err(redb::Error::from)?;
        }
    }
    tables::create_all(&transaction)?;
    transaction.commit().map_err(redb::Error::from)?;
    Ok(())
}

/// Logs each tenth of the check after a crash.
fn tell_progress() -> impl Fn(&mut redb::RepairSession) {
    let next = Cell::new(0.0);
    move |check| {
        if check.progress() >= next.get() {
            tracing::warn!("checking the data file after a crash: {:.0} %", check.progress() * 100.0);
            next.set((check.progress() * 10.0).floor() / 10.0 + 0.1);
        }
    }
}

fn make_private_directory(directory: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn open_private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests;
