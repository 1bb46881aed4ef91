//! Outcomes within one process: a channel for each gateway.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::ids::InstanceId;
use crate::job::Outcome;
use crate::queue::{QueueError, Replies};

/// Outcomes that wait for one gateway.
const CAPACITY: usize = 4_096;

/// An executor waits this long for a gateway that does not take its outcomes; then the outcome is dropped, and found in
/// the journal.
const PATIENCE: Duration = Duration::from_secs(1);

/// Clones share their gateways.
#[derive(Debug, Clone, Default)]
pub struct LocalReplies {
    gateways: Arc<RwLock<HashMap<InstanceId, mpsc::Sender<Outcome>>>>,
}

#[async_trait]
impl Replies for LocalReplies {
    async fn send(&self, to: &InstanceId, outcome: Outcome) -> Result<(), QueueError> {
        let Some(gateway) = self.gateways.read().get(to).cloned() else { return Ok(()) };
        match gateway.try_send(outcome) {
            Ok(()) => {}
            Err(TrySendError::Full(outcome)) => {
                if gateway.send_timeout(outcome, PATIENCE).await.is_err() {
                    tracing::warn!(gateway = %to, "an outcome was dropped: the gateway does not take its outcomes");
                }
            }
            Err(TrySendError::Closed(_)) => {
                let mut gateways = self.gateways.write();
                // It may have come back meanwhile.
                if gateways.get(to).is_some_and(mpsc::Sender::is_closed) {
                    gateways.remove(to);
                }
            }
        }
        Ok(())
    }

    /// The latest subscription of an instance gets its outcomes.
    async fn subscribe(&self, me: &InstanceId) -> Result<mpsc::Receiver<Outcome>, QueueError> {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        self.gateways.write().insert(me.clone(), sender);
        Ok(receiver)
    }
}
