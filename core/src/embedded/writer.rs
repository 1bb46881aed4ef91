//! The one thread that writes: it takes all operations that wait, applies them in one transaction, syncs once, and
//! answers all of them. While it syncs, the next operations gather; nobody waits for a group to fill.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};
use redb::Database;

use super::tables::Tables;
use super::{EmbeddedError, expiry};
use crate::clock::Clock;

/// Operations in one transaction, at most.
const GROUP_OPERATIONS: usize = 2_048;
/// Bytes that the operations of one transaction announce, at most (one operation may exceed it by itself).
const GROUP_BYTES: usize = 8 << 20;
/// An operation nobody waits for is written with the next one somebody waits for, or after this time.
const LAZY: Duration = Duration::from_millis(20);
/// Interval of the removal of expired records.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Expired records removed in one transaction, so that it stays short.
const SWEEP_BUDGET: usize = 256;

/// One operation. It either writes all it has to or, refusing, nothing.
pub(super) trait Operation: Send {
    /// Roughly what it writes.
    fn bytes(&self) -> usize;
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error>;
    /// Called on the writer's thread once the outcome is durable or has failed.
    fn done(self: Box<Self>, result: Result<(), EmbeddedError>);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// What waits is still written.
    Closing,
    /// What waits is forgotten.
    Ended,
}

struct Waiting {
    operations: VecDeque<Box<dyn Operation>>,
    /// Somebody waits for one of them.
    urgent: bool,
    phase: Phase,
}

pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// `None` once closed.
    pub(super) database: RwLock<Option<Database>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Shared {
    pub(super) fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            waiting: Mutex::new(Waiting { operations: VecDeque::new(), urgent: false, phase: Phase::Open }),
            wake: Condvar::new(),
            database: RwLock::new(Some(database)),
            clock,
        }
    }

    pub(super) fn submit(&self, operation: Box<dyn Operation>, urgent: bool) {
        let mut waiting = self.waiting.lock();
        if waiting.phase != Phase::Open {
            drop(waiting);
            return operation.done(Err(EmbeddedError::Closed));
        }
        let wake = waiting.operations.is_empty() || (urgent && !waiting.urgent);
        waiting.operations.push_back(operation);
        waiting.urgent |= urgent;
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Lets the writer finish what waits (`orderly`) or forget it.
    pub(super) fn end(&self, orderly: bool) {
        let mut waiting = self.waiting.lock();
        if waiting.phase != Phase::Ended {
            waiting.phase = if orderly { Phase::Closing } else { Phase::Ended };
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// The next group; empty when it is only time to sweep. `None` at the end.
    fn next_group(&self, sweep_at: Instant) -> Option<Vec<Box<dyn Operation>>> {
        let mut waiting = self.waiting.lock();
        loop {
            match waiting.phase {
                Phase::Ended => return None,
                Phase::Closing if waiting.operations.is_empty() => return None,
                Phase::Closing => break,
                Phase::Open if waiting.urgent => break,
                Phase::Open if !waiting.operations.is_empty() => {
                    let woken = self.wake.wait_for(&mut waiting, LAZY);
                    if woken.timed_out() {
                        break;
                    }
                }
                Phase::Open => {
                    if self.wake.wait_until(&mut waiting, sweep_at).timed_out() {
                        break;
                    }
                }
            }
        }
        let mut group = Vec::with_capacity(waiting.operations.len().min(GROUP_OPERATIONS));
        let mut bytes = 0;
        while let Some(next) = waiting.operations.front() {
            bytes += next.bytes();
            if group.len() == GROUP_OPERATIONS || (bytes > GROUP_BYTES && !group.is_empty()) {
                break;
            }
            group.extend(waiting.operations.pop_front());
        }
        if waiting.operations.is_empty() {
            waiting.urgent = false;
        }
        Some(group)
    }
}

/// The thread's main function.
pub(super) fn run(shared: &Shared) {
    // Whatever ends this thread, nobody is left waiting for it.
    let _end = EndOnDrop(shared);
    let mut sweep_at = Instant::now();
    while let Some(mut group) = shared.next_group(sweep_at) {
        let sweep = Instant::now() >= sweep_at;
        let began = Instant::now();
        let result = commit(shared, &mut group, sweep);
        if !group.is_empty() {
            metrics::histogram!("plugboard_embedded_commit_seconds").record(began.elapsed().as_secs_f64());
        }
        if sweep {
            let more = matches!(result, Ok(true));
            sweep_at = if more { Instant::now() } else { Instant::now() + SWEEP_INTERVAL };
        }
        let result = result.map(|_| ()).map_err(|error| {
            tracing::error!(%error, "the data file cannot be written");
            EmbeddedError::Failed(error.to_string())
        });
        for operation in group {
            operation.done(result.clone());
        }
    }
}

/// `true`: the sweep has left something for the next time.
fn commit(shared: &Shared, group: &mut [Box<dyn Operation>], sweep: bool) -> Result<bool, redb::Error> {
    let database = shared.database.read();
    let Some(database) = database.as_ref() else { return Ok(false) };
    let transaction = database.begin_write()?;
    let mut tables = Tables::new(&transaction);
    for operation in group {
        operation.apply(&mut tables)?;
    }
    let more = sweep && expiry::sweep(&mut tables, shared.clock.now(), SWEEP_BUDGET)?;
    let dirty = tables.is_dirty();
    drop(tables);
    // A group that only found its expectations unmet has nothing to sync.
    if dirty {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(more)
}

struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        let forgotten = {
            let mut waiting = self.0.waiting.lock();
            waiting.phase = Phase::Ended;
            std::mem::take(&mut waiting.operations)
        };
        self.0.database.write().take();
        for operation in forgotten {
            operation.done(Err(EmbeddedError::Closed));
        }
    }
}
