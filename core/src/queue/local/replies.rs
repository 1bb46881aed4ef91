//! Outcomes within one process: straight into the gateway's hands.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;

use crate::ids::InstanceId;
use crate::job::Outcome;
use crate::queue::{Inbox, QueueError, Replies};

/// Clones share their gateways.
#[derive(Clone, Default)]
pub struct LocalReplies {
    gateways: Arc<RwLock<HashMap<InstanceId, Inbox>>>,
}

impl std::fmt::Debug for LocalReplies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalReplies").field("gateways", &self.gateways.read().len()).finish()
    }
}

#[async_trait]
impl Replies for LocalReplies {
    async fn send(&self, to: &InstanceId, outcome: Outcome) -> Result<(), QueueError> {
        let inbox = self.gateways.read().get(to).cloned();
        if let Some(inbox) = inbox {
            inbox(outcome);
        }
        Ok(())
    }

    async fn subscribe(&self, me: &InstanceId, inbox: Inbox) -> Result<(), QueueError> {
        self.gateways.write().insert(me.clone(), inbox);
        Ok(())
    }
}
