//! Whether anybody waits for jobs, and the jobs that were fetched for whoever does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc};

use super::holds::Fetched;

/// When the queue is closed, the last receiver leaves within this.
const LOCK_WITHIN: Duration = Duration::from_millis(100);

/// Shared by the receivers and the intake.
pub(super) struct Demand {
    fetched: Mutex<mpsc::UnboundedReceiver<Fetched>>,
    waiting: AtomicUsize,
    /// Somebody came since the intake last looked.
    came: AtomicBool,
    /// The intake has stopped and is to be woken.
    stopped: AtomicBool,
    wake: Notify,
}

impl Demand {
    pub(super) fn new(fetched: mpsc::UnboundedReceiver<Fetched>) -> Self {
        Self {
            fetched: Mutex::new(fetched),
            waiting: AtomicUsize::new(0),
            came: AtomicBool::new(true),
            stopped: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// The next job. Cancel-safe.
    pub(super) async fn next(&self) -> Option<Fetched> {
        let _waiting = Waiting::enter(self);
        self.fetched.lock().await.recv().await
    }

    /// Whether nobody asked for jobs since the last look, and nobody does now.
    pub(super) fn look_gone(&self) -> bool {
        let came = self.came.swap(false, Ordering::SeqCst);
        !came && self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Hands back what nobody received. Returns how many jobs that were.
    pub(super) async fn hand_back(&self) -> usize {
        // A receiver holds the lock for as long as it waits; then there is nothing to hand back.
        let Ok(mut fetched) = tokio::time::timeout(LOCK_WITHIN, self.fetched.lock()).await else { return 0 };
        let mut count = 0;
        while let Ok(job) = fetched.try_recv() {
            job.hold.not_started();
            count += 1;
        }
        count
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
