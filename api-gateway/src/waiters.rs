//! Calls of this gateway that wait for their outcome.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use metrics::Gauge;
use parking_lot::Mutex;
use plugboard_core::ids::ExecutionId;
use plugboard_core::job::Outcome;
use tokio::sync::oneshot;

/// Enough to keep 64 callers from meeting at one lock.
const SHARDS: usize = 16;

type Shard = Mutex<HashMap<ExecutionId, oneshot::Sender<Outcome>>>;

#[derive(Clone)]
pub struct Waiters {
    shards: Arc<[Shard; SHARDS]>,
    hasher: RandomState,
}

impl Default for Waiters {
    fn default() -> Self {
        Self { shards: Arc::new(std::array::from_fn(|_| Mutex::default())), hasher: RandomState::new() }
    }
}

impl std::fmt::Debug for Waiters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiters").field("waiting", &self.waiting()).finish()
    }
}

impl Waiters {
    fn shard(&self, id: &ExecutionId) -> &Shard {
        // The remainder is below SHARDS.
        &self.shards[(self.hasher.hash_one(id) % SHARDS as u64) as usize]
    }

    /// Registers a call before it is published, so that no answer can come too early.
    pub fn register(&self, id: &ExecutionId) -> Waiter {
        let (sender, receiver) = oneshot::channel();
        self.shard(id).lock().insert(id.clone(), sender);
        Waiter { id: id.clone(), receiver, waiters: self.clone() }
    }

    fn waiting(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Hands an outcome to whom it belongs.
    pub fn deliver(&self, outcome: Outcome) {
        let waiting = self.shard(&outcome.execution_id).lock().remove(&outcome.execution_id);
        if let Some(waiting) = waiting {
            // The receiver is gone when its caller has left: the journal has what must be kept.
            let _ = waiting.send(outcome);
        }
    }
}

/// Counts callers that wait, whichever way their call takes.
#[derive(Clone)]
pub struct Callers {
    waiting: Arc<AtomicUsize>,
    shown: Gauge,
}

impl Default for Callers {
    fn default() -> Self {
        Self { waiting: Arc::default(), shown: metrics::gauge!("plugboard_callers_waiting") }
    }
}

impl std::fmt::Debug for Callers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Callers").field(&self.waiting).finish()
    }
}

impl Callers {
    /// Counts until it is dropped.
    pub fn enter(&self) -> Caller {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.shown.increment(1.0);
        Caller(self.clone())
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }
}

#[derive(Debug)]
pub struct Caller(Callers);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.shown.decrement(1.0);
    }
}

/// A registered call. Dropping it forgets the call.
#[derive(Debug)]
pub struct Waiter {
    id: ExecutionId,
    receiver: oneshot::Receiver<Outcome>,
    waiters: Waiters,
}

impl Waiter {
    /// The outcome, when it comes. Cancel-safe; `None` once it was taken.
    pub async fn outcome(&mut self) -> Option<Outcome> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.shard(&self.id).lock().remove(&self.id);
    }
}
