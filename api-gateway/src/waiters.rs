//! Calls of this gateway that wait for their outcome.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use plugboard_core::ids::ExecutionId;
use plugboard_core::job::Outcome;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

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
        f.debug_struct("Waiters").field("waiting", &self.len()).finish()
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

    /// Calls now waiting.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands outcomes to whom they belong; run it as a supervised task.
    pub async fn dispatch(self, mut outcomes: mpsc::Receiver<Outcome>, stop: CancellationToken) {
        loop {
            let outcome = tokio::select! {
                outcome = outcomes.recv() => outcome,
                // While draining, calls still wait for their outcome; the queue's adapter ends the stream.
                () = stop.cancelled() => return,
            };
            let Some(outcome) = outcome else { return };
            if let Some(waiting) = self.shard(&outcome.execution_id).lock().remove(&outcome.execution_id) {
                // The receiver is gone when its caller has left: the journal has what must be kept.
                let _ = waiting.send(outcome);
            }
        }
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
