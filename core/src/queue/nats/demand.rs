//! Whether anybody waits for jobs, and the jobs that were fetched for whoever does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::Shares;
use super::super::ready::{Pickup, Ready};
use super::super::subjects::Source;
use super::holds::Fetched;

/// Jobs of one source that may wait here; more are fetched when half are gone.
pub(super) const WAITING_HERE: usize = 64;

/// A job that waits here for longer because its organization has its part of the slots does not keep others waiting
/// behind it.
const BLOCKED_FOR: Duration = Duration::from_millis(500);

/// Shared by the receivers and the intake.
pub(super) struct Demand {
    ready: Mutex<Ready<Fetched>>,
    by_source: [AtomicUsize; Source::COUNT],
    pickup: Pickup,
    /// The intake may want to fetch more.
    pub(super) room: Arc<Notify>,
    waiting: AtomicUsize,
    /// Somebody came since the intake last looked.
    came: AtomicBool,
    /// The intake has stopped and is to be woken.
    stopped: AtomicBool,
    wake: Notify,
}

impl Demand {
    pub(super) fn new(shares: Arc<Shares>, room: Arc<Notify>) -> Self {
        Self {
            ready: Mutex::default(),
            by_source: std::array::from_fn(|_| AtomicUsize::new(0)),
            pickup: Pickup::new(shares),
            room,
            waiting: AtomicUsize::new(0),
            came: AtomicBool::new(true),
            stopped: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    pub(super) fn slots(&self) -> usize {
        self.pickup.shares().slots()
    }

    pub(super) fn push(&self, job: Fetched) {
        self.by_source[job.source.index()].fetch_add(1, Ordering::Relaxed);
        self.ready.lock().push_back(job);
        self.pickup.came();
    }

    /// Jobs that were fetched from there and wait here.
    pub(super) fn waiting_from(&self, source: Source) -> usize {
        self.by_source[source.index()].load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self) -> usize {
        self.ready.lock().len()
    }

    /// The next job. Cancel-safe.
    pub(super) async fn next(&self) -> Fetched {
        let _waiting = Waiting::enter(self);
        let (mut job, share) = self.pickup.next(|shares| self.ready.lock().pop(shares)).await;
        job.hold.share = Some(share);
        self.left(&job);
        job
    }

    /// Whether nobody asked for jobs since the last look, and nobody does now.
    pub(super) fn look_gone(&self) -> bool {
        let came = self.came.swap(false, Ordering::SeqCst);
        !came && self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Hands back what nobody received.
    pub(super) fn hand_back(&self) {
        let jobs: Vec<Fetched> = self.ready.lock().drain().collect();
        for job in jobs {
            self.left(&job);
            job.hold.not_started();
        }
    }

    /// Sends to the bulk lanes what waits in front of other organizations' jobs while its own has its part.
    pub(super) fn make_way(&self) {
        let in_the_way = |job: &Fetched| !job.source.is_bulk() && job.since.elapsed() >= BLOCKED_FOR;
        let jobs = self.ready.lock().blocked(self.pickup.shares(), in_the_way);
        for job in jobs {
            self.left(&job);
            job.hold.move_to_bulk();
        }
    }

    fn left(&self, job: &Fetched) {
        let before = self.by_source[job.source.index()].fetch_sub(1, Ordering::Relaxed);
        if before == WAITING_HERE / 2 {
            self.room.notify_one();
        }
    }

    /// Waits until somebody asks for jobs again. Cancel-safe.
    pub(super) async fn returned(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        while !self.came.load(Ordering::SeqCst) && self.waiting.load(Ordering::SeqCst) == 0 {
            self.wake.notified().await;
        }
        self.stopped.store(false, Ordering::SeqCst);
    }
}

struct Waiting<'a>(&'a Demand);

impl<'a> Waiting<'a> {
    fn enter(demand: &'a Demand) -> Self {
        demand.waiting.fetch_add(1, Ordering::SeqCst);
        demand.came.store(true, Ordering::SeqCst);
        if demand.stopped.load(Ordering::SeqCst) {
            demand.wake.notify_one();
        }
        Self(demand)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
