//! The way to the vendor and back, and stores that are never reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use plugboard_core::blobs::{BlobError, BlobId, Blobs};
use plugboard_core::error::{CallError, ErrorCode};
use plugboard_core::ids::OrganizationId;
use plugboard_core::job::{CallState, Envelope, Job, Outcome};
use plugboard_core::journal::{JournalError, JournalStore, Revision};
use plugboard_core::queue::{DeadLetters, Delivery, Express, JobQueue, NoDeadLetters, NotRun, QueueError, Survey};
use plugboard_core::telemetry::metrics::StageTimes;

use crate::waiters::Waiters;

/// The queue, the executors and the vendor: every job ends at once.
pub(super) struct FakeVendor {
    waiters: Waiters,
    pub(super) refuses: AtomicBool,
    pub(super) full: AtomicBool,
    /// Whoever takes a read on the express lane is not heard of any more.
    pub(super) silent: AtomicBool,
    /// Calls have waited for an hour.
    pub(super) late: AtomicBool,
    /// Jobs are taken, and no answer comes.
    pub(super) hangs: AtomicBool,
    pub(super) jobs: Mutex<Vec<Job>>,
}

impl FakeVendor {
    pub(super) fn new(waiters: Waiters) -> Arc<Self> {
        Arc::new(Self {
            waiters,
            refuses: false.into(),
            full: false.into(),
            silent: false.into(),
            late: false.into(),
            hangs: false.into(),
            jobs: Mutex::default(),
        })
    }
}

#[async_trait]
impl JobQueue for FakeVendor {
    async fn publish(&self, job: Arc<Job>) -> Result<(), QueueError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(QueueError::Full);
        }
        let envelope = match self.refuses.load(Ordering::SeqCst) {
            true => Envelope::failed(CallError::new(ErrorCode::AccountExpired, "The vendor refused the token.")),
            false => Envelope::new(CallState::Succeeded),
        };
        let envelope = serde_json::to_vec(&envelope).unwrap().into();
        let outcome =
            Outcome { execution_id: job.execution_id.clone(), envelope, data: None, stages: StageTimes::default() };
        self.jobs.lock().push((*job).clone());
        if !self.hangs.load(Ordering::SeqCst) {
            self.waiters.deliver(outcome);
        }
        Ok(())
    }

    async fn receive(&self) -> Result<Delivery, QueueError> {
        std::future::pending().await
    }

    async fn bury(&self, _: &Job, _: &str, _: u32) -> Result<(), QueueError> {
        Ok(())
    }

    async fn survey(&self) -> Result<Survey, QueueError> {
        Ok(Survey::default())
    }

    fn wait_ahead(&self, _: &Job) -> Duration {
        if self.late.load(Ordering::SeqCst) { Duration::from_secs(3_600) } else { Duration::ZERO }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        &NoDeadLetters
    }
}

impl Express for FakeVendor {
    fn run(self: Arc<Self>, _job: Arc<Job>) -> BoxFuture<'static, Result<Outcome, NotRun>> {
        let silent = self.silent.load(Ordering::SeqCst);
        Box::pin(std::future::ready(Err(if silent { NotRun::Lost } else { NotRun::NotTaken })))
    }
}

/// Stores that these tests never reach.
pub(super) struct Nothing;

#[async_trait]
impl JournalStore for Nothing {
    async fn create(&self, _: &str, _: Bytes) -> Result<Option<Revision>, JournalError> {
        Err(JournalError::Unavailable("not here".into()))
    }

    async fn update(&self, _: &str, _: Bytes, _: Revision) -> Result<Option<Revision>, JournalError> {
        Err(JournalError::Unavailable("not here".into()))
    }

    async fn get(&self, _: &str) -> Result<Option<(Bytes, Revision)>, JournalError> {
        Err(JournalError::Unavailable("not here".into()))
    }
}

#[async_trait]
impl Blobs for Nothing {
    async fn put(&self, _: &OrganizationId, _: Bytes) -> Result<BlobId, BlobError> {
        Err(BlobError::Unavailable("not here".into()))
    }

    async fn get(&self, _: &OrganizationId, _: &BlobId) -> Result<Option<Bytes>, BlobError> {
        Err(BlobError::Unavailable("not here".into()))
    }
}
