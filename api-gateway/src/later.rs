//! Jobs that the queue has not confirmed, though somebody was told that they run.

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::job::Job;
use tokio::sync::Semaphore;

use crate::state::Gateway;

/// Between two tries, each of which takes its time.
const PAUSE: Duration = Duration::from_secs(1);

/// So many wait for the queue at most; each keeps its job in memory.
static ROOM: Semaphore = Semaphore::const_new(10_000);

impl Gateway {
    /// Goes on giving a job to the queue until it is taken or due, as long as this process lives. The queue takes none
    /// twice for as long as it remembers them, and the journal decides which start may call.
    pub(crate) fn hand_in_later(self: &Arc<Self>, job: Arc<Job>) {
        let Ok(room) = ROOM.try_acquire() else {
            tracing::warn!(execution_id = %job.execution_id, "too many calls wait for the queue already");
            return;
        };
        let this = self.clone();
        tokio::spawn(async move {
            let _room = room;
            while this.clock.now() < job.deadline {
                tokio::time::sleep(PAUSE).await;
                match this.publish(job.clone()).await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(%error, "a call still waits for the queue"),
                }
            }
            tracing::warn!(execution_id = %job.execution_id, "the queue did not take a call before its deadline");
        });
    }
}
