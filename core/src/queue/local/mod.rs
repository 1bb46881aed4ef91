//! [`JobQueue`] within one process.
//!
//! A `read` whose caller waits stays in memory: if the process dies, so does the caller's connection. Every other job
//! is in the data file before `publish` returns, and is delivered again by the next process if it has not ended.
//!
//! How the promises of the port are kept here:
//! - **Sign of life.** Executors are tasks of this process, so holding a [`Delivery`] is one by itself: it is never
//!   delivered again for being held long, only when dropped, nacked, or found in the file by the next process.
//! - **Starts.** A job in the file counts as started once, because it may have been. A further start is written, with
//!   whatever else is written then, before that delivery is handed out. So after a crash a job has at least as many
//!   starts as it had deliveries; one that was still waiting may have one more.
//! - **Acks** are written within 20 ms, with what else is written. What a crash forgets of them the journal knows.
//! - **Ids** are remembered for ten minutes in memory, and those of unfinished jobs over a restart. Reads that stay in
//!   memory are not remembered: nobody publishes them again, and a repeat does nothing.
//! - **Fairness.** Callers who wait come first and organizations take turns, each within its part of the slots
//!   ([`Shares`]); within one, first come, first served.

pub(crate) mod dead_letters;
mod replies;
mod state;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redb::ReadableTable;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use replies::LocalReplies;

use self::state::{Entry, Place, State};
use super::ready::Pickup;
use super::shares::{Share, Shares};
use super::{DeadLetters, Delivery, Hold, JobQueue, QueueError, Survey, wire};
use crate::clock::Clock;
use crate::embedded::tables::{JOBS, STARTS};
use crate::embedded::{Embedded, EmbeddedError};
use crate::job::Job;
use crate::manifest::Effect;

/// Bounds of the local queue; beyond them `publish` says [`QueueError::Full`]. Jobs count until they have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalQueueLimits {
    /// Jobs of all organizations. Default 200,000.
    pub total: usize,
    /// Jobs of one organization. Default 50,000.
    pub per_organization: usize,
    /// Bytes of all jobs' inline bodies, and a kilobyte for each job. Default 256 MiB.
    pub bytes: usize,
}

impl Default for LocalQueueLimits {
    fn default() -> Self {
        Self::with(50_000)
    }
}

impl LocalQueueLimits {
    /// Four organizations may be at this bound at once.
    pub fn with(per_organization: usize) -> Self {
        Self { total: per_organization.saturating_mul(4), per_organization, bytes: 256 << 20 }
    }
}

/// Clones are the same queue.
#[derive(Clone)]
pub struct LocalQueue {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    pickup: Pickup,
    closed: CancellationToken,
    /// `None`: everything stays in memory.
    file: Option<Embedded>,
    clock: Arc<dyn Clock>,
    limits: LocalQueueLimits,
    runtime: Handle,
}

impl LocalQueue {
    /// Opens the queue of a data file, with the jobs that had not ended. To be opened once for each open file.
    ///
    /// # Errors
    /// When the file cannot be read, or holds a job of an unknown format.
    pub async fn open(file: Embedded, limits: LocalQueueLimits, shares: Arc<Shares>) -> Result<Self, QueueError> {
        let stored = file
            .read_long(|transaction| {
                let starts = transaction.open_table(STARTS)?;
                let mut found = Vec::new();
                for entry in transaction.open_table(JOBS)?.iter()? {
                    let (id, job) = entry?;
                    let started = starts.get(id.value())?.map_or(1, |starts| starts.value());
                    found.push((bytes::Bytes::copy_from_slice(job.value()), started));
                }
                Ok(found)
            })
            .await
            .map_err(unavailable)?;
        let queue = Self::with(Some(file.clone()), file.clock().clone(), limits, shares);
        let now = queue.inner.clock.now();
        for (message, starts) in stored {
            for job in wire::decode_jobs(message)? {
                let mut state = queue.inner.state.lock();
                state.published.insert(&job.execution_id, now);
                let place = state.reserve_beyond_bounds(&job);
                state.ready.push_back(Entry { job: job.into(), starts, recorded: Some(starts), place });
            }
        }
        Ok(queue)
    }

    /// A queue that keeps every job in memory, for tests of what uses a queue.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_memory(clock: Arc<dyn Clock>, limits: LocalQueueLimits) -> Self {
        Self::with(None, clock, limits, Shares::new(usize::MAX / 8))
    }

    fn with(file: Option<Embedded>, clock: Arc<dyn Clock>, limits: LocalQueueLimits, shares: Arc<Shares>) -> Self {
        let inner = Inner {
            state: Mutex::default(),
            pickup: Pickup::new(shares),
            closed: CancellationToken::new(),
            file,
            clock,
            limits,
            runtime: Handle::current(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Ends all waiting for jobs, and takes no more. Jobs already handed out can still be acked.
    pub fn close(&self) {
        self.inner.closed.cancel();
    }
}

impl std::fmt::Debug for LocalQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalQueue").field("state", &self.inner.state.lock().depth()).finish_non_exhaustive()
    }
}

#[async_trait]
impl JobQueue for LocalQueue {
    async fn publish(&self, job: Arc<Job>) -> Result<(), QueueError> {
        if self.inner.closed.is_cancelled() {
            return Err(QueueError::Closed);
        }
        match &self.inner.file {
            _ if job.effect == Effect::Read && job.interactive() => self.inner.enqueue(job),
            Some(file) => self.inner.store(file, job).await,
            None => {
                if !self.inner.state.lock().published.insert(&job.execution_id, self.inner.clock.now()) {
                    return Ok(());
                }
                let id = job.execution_id.clone();
                self.inner.enqueue(job).inspect_err(|_| self.inner.state.lock().published.remove(&id))
            }
        }
    }

    async fn receive(&self) -> Result<Delivery, QueueError> {
        let next = self.inner.pickup.next(|shares| {
            let mut state = self.inner.state.lock();
            let (entry, share) = state.ready.pop(shares)?;
            state.held += 1;
            // From here on the hold owns the job: whatever happens to this future, it goes back.
            Some(LocalHold { inner: self.inner.clone(), entry: Some(entry), _share: share })
        });
        match self.inner.closed.run_until_cancelled(next).await {
            Some(hold) => hold.deliver().await,
            None => Err(QueueError::Closed),
        }
    }

    async fn bury(&self, job: &Job, reason: &str, starts: u32) -> Result<(), QueueError> {
        match &self.inner.file {
            Some(file) => dead_letters::bury(file, job, reason, starts).await.map_err(unavailable),
            None => Ok(()),
        }
    }

    async fn survey(&self) -> Result<Survey, QueueError> {
        Ok(self.inner.state.lock().survey(self.inner.clock.now()))
    }

    fn wait_ahead(&self, job: &Job) -> Duration {
        self.inner.state.lock().wait_ahead(job, self.inner.clock.now())
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self
    }
}

impl Inner {
    /// Takes a job that stays in memory.
    fn enqueue(&self, job: Arc<Job>) -> Result<(), QueueError> {
        let mut state = self.state.lock();
        let place = state.reserve(&job, &self.limits).ok_or(QueueError::Full)?;
        state.ready.push_back(Entry { job, starts: 0, recorded: None, place });
        drop(state);
        self.pickup.came();
        Ok(())
    }

    /// Takes a job that must survive this process.
    async fn store(self: &Arc<Self>, file: &Embedded, job: Arc<Job>) -> Result<(), QueueError> {
        let id = job.execution_id.clone();
        let Some(place) = self.announce(&job)? else {
            // The first publish of this id may still be on its way to the disk: this comes after it.
            return file.write(0, |_| Ok(())).await.map_err(|_| QueueError::Unconfirmed(id));
        };
        let message = wire::encode_job(&job);
        let key = id.clone();
        let apply = move |tables: &mut crate::embedded::tables::Tables<'_>| {
            tables.jobs()?.insert(key.as_str(), message.as_ref())?;
            Ok(())
        };
        let (answer, answered) = oneshot::channel();
        let this = self.clone();
        // The writer makes the job available, not this future, which may be dropped while it waits.
        let done = move |result: Result<(), EmbeddedError>| {
            this.stored(Entry { job, starts: 0, recorded: Some(1), place }, result.is_ok());
            let _ = answer.send(result);
        };
        file.write_then(place.bytes, apply, done);
        match answered.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(EmbeddedError::Closed)) => Err(QueueError::Closed),
            Ok(Err(_)) | Err(_) => Err(QueueError::Unconfirmed(id)),
        }
    }

    /// Remembers the id and takes room. `None`: it is known already.
    fn announce(&self, job: &Job) -> Result<Option<Place>, QueueError> {
        let mut state = self.state.lock();
        if !state.published.insert(&job.execution_id, self.clock.now()) {
            return Ok(None);
        }
        let place = state.reserve(job, &self.limits);
        if place.is_none() {
            state.published.remove(&job.execution_id);
        }
        place.map(Some).ok_or(QueueError::Full)
    }

    fn stored(&self, entry: Entry, durable: bool) {
        let mut state = self.state.lock();
        if durable {
            state.ready.push_back(entry);
            drop(state);
            self.pickup.came();
        } else {
            state.published.remove(&entry.job.execution_id);
            state.release(entry.place);
        }
    }

    fn ended(&self, entry: Entry) {
        let mut state = self.state.lock();
        state.held -= 1;
        state.release(entry.place);
        drop(state);
        if let (Some(file), Some(recorded)) = (&self.file, entry.recorded) {
            let job = entry.job;
            file.write_lazily(move |tables| {
                tables.jobs()?.remove(job.execution_id.as_str())?;
                if recorded > 1 {
                    tables.starts()?.remove(job.execution_id.as_str())?;
                }
                Ok(())
            });
        }
    }

    fn handed_back(&self, entry: Entry) {
        let mut state = self.state.lock();
        state.held -= 1;
        state.ready.push_front(entry);
        drop(state);
        self.pickup.came();
    }

    fn delayed(self: &Arc<Self>, entry: Entry, delay: Duration) {
        let mut state = self.state.lock();
        state.held -= 1;
        state.delayed += 1;
        drop(state);
        let this = Arc::downgrade(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(delay).await;
            if let Some(this) = Weak::upgrade(&this) {
                let mut state = this.state.lock();
                state.delayed -= 1;
                state.ready.push_back(entry);
                drop(state);
                this.pickup.came();
            }
        });
    }
}

struct LocalHold {
    inner: Arc<Inner>,
    /// `None` once resolved.
    entry: Option<Entry>,
    /// Given back last: whoever it wakes is to find the job gone, or back.
    _share: Share,
}

impl LocalHold {
    /// Hands the job out, after its start is on disk if it would not be counted otherwise.
    async fn deliver(mut self) -> Result<Delivery, QueueError> {
        let Some(entry) = &mut self.entry else { return Err(QueueError::Closed) };
        let (job, starts) = (entry.job.clone(), entry.starts + 1);
        if let (Some(file), Some(recorded)) = (&self.inner.file, entry.recorded)
            && recorded < starts
        {
            let counted = job.clone();
            let write = file.write(0, move |tables| {
                tables.starts()?.insert(counted.execution_id.as_str(), starts)?;
                Ok(())
            });
            write.await.map_err(unavailable)?;
            entry.recorded = Some(starts);
        }
        entry.starts = starts;
        Ok(Delivery::new(job, starts, Box::new(self)))
    }
}

impl Hold for LocalHold {
    fn ack(mut self: Box<Self>) {
        if let Some(entry) = self.entry.take() {
            self.inner.ended(entry);
        }
    }

    fn nack(mut self: Box<Self>, delay: Duration) {
        if let Some(entry) = self.entry.take() {
            self.inner.delayed(entry, delay);
        }
    }
}

impl Drop for LocalHold {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.inner.handed_back(entry);
        }
    }
}

pub(super) fn unavailable(error: EmbeddedError) -> QueueError {
    match error {
        EmbeddedError::Closed => QueueError::Closed,
        error => QueueError::Unavailable(error.to_string()),
    }
}
