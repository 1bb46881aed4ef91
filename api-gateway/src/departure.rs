//! A client that hangs up before its call is answered.

use std::sync::Arc;

use plugboard_core::error::{CallError, ErrorCode};
use plugboard_core::job::Job;
use plugboard_core::journal::Closed;
use plugboard_core::manifest::Effect;

use crate::earlier::is_told_once;
use crate::state::Gateway;

/// Armed while a caller waits. Dropped armed, the caller has left: the call is closed in the journal, which an executor
/// asks before the first byte. A call that has begun is not disturbed; its end is found by its execution id, or by making
/// the same call again.
pub(crate) struct Departure {
    watched: Option<(Arc<Gateway>, Arc<Job>)>,
}

impl Departure {
    pub(crate) fn watch(gateway: &Arc<Gateway>, job: &Arc<Job>) -> Self {
        // A read has no effect to prevent.
        Self { watched: (job.effect != Effect::Read).then(|| (gateway.clone(), job.clone())) }
    }

    pub(crate) fn disarm(mut self) {
        self.watched = None;
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let Some((gateway, job)) = self.watched.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let error =
                CallError::new(ErrorCode::Cancelled, "The caller left before the call was started. Nothing was sent.");
            let left = match gateway.journal.close(&job, &gateway.unsent(&job, error)).await {
                Ok(Closed::Yes) => return,
                // It has begun: whoever makes it again is to get this one's answer.
                Ok(Closed::IntentOpen | Closed::AlreadyEnded(_)) if is_told_once(job.effect) => {
                    gateway.journal.note_lost(&job).await
                }
                Ok(_) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = left {
                tracing::warn!(%error, "a caller's departure could not be noted; its call may run, and be made again");
            }
        });
    }
}
