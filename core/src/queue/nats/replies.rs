//! Outcomes on core NATS, in packets. At most once: the journal has what must not be lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::{Inbox, QueueError, Replies, wire};
use super::link::NatsLink;
use super::packing::PacketLanes;
use crate::ids::InstanceId;
use crate::job::Outcome;

/// How long an outcome waits for the connection to return.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

/// [`Replies`] on core NATS.
#[derive(Clone)]
pub struct NatsReplies {
    link: NatsLink,
    lanes: Arc<PacketLanes>,
    receiving: Arc<Mutex<HashMap<InstanceId, AbortHandle>>>,
}

impl std::fmt::Debug for NatsReplies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsReplies").field("link", &self.link).finish_non_exhaustive()
    }
}

impl NatsReplies {
    pub fn new(link: &NatsLink) -> Self {
        let lanes = Arc::new(PacketLanes::new(metrics::histogram!("plugboard_reply_pack_outcomes")));
        Self { link: link.clone(), lanes, receiving: Arc::default() }
    }
}

#[async_trait]
impl Replies for NatsReplies {
    async fn send(&self, to: &InstanceId, outcome: Outcome) -> Result<(), QueueError> {
        if !self.link.connected_by(Instant::now() + RECONNECT_WITHIN).await {
            return Err(QueueError::Unavailable("no connection".to_owned()));
        }
        let lane = self.lanes.to(to, || self.link.names().reply(to));
        lane.send(&self.link, wire::encode_outcomes(&[outcome])).await
    }

    async fn subscribe(&self, me: &InstanceId, inbox: Inbox) -> Result<(), QueueError> {
        let packets = self.link.client().subscribe(self.link.names().reply(me)).await;
        let packets = packets.map_err(|error| QueueError::Unavailable(error.to_string()))?;
        let receiving = tokio::spawn(receive(packets, inbox)).abort_handle();
        if let Some(earlier) = self.receiving.lock().insert(me.clone(), receiving) {
            earlier.abort();
        }
        // A reply can come as soon as a job has left, so the server must know of the subscription first.
        self.link.round_trip(RECONNECT_WITHIN).await
    }
}

/// Ends with the connection.
async fn receive(mut packets: Subscriber, inbox: Inbox) {
    while let Some(packet) = packets.next().await {
        match wire::decode_outcomes(packet.payload) {
            Ok(received) => received.into_iter().for_each(|outcome| inbox(outcome)),
            Err(error) => tracing::error!(%error, "a reply is unreadable"),
        }
    }
}
