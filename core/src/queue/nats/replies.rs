//! Outcomes on core NATS, in packets. At most once: the journal has what must not be lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::{Inbox, QueueError, Replies, wire};
use super::link::NatsLink;
use super::packing::PacketLane;
use crate::ids::InstanceId;
use crate::job::Outcome;

/// Gateways remembered before those at rest are forgotten; each start of a gateway is a new one.
const LANES: usize = 256;

/// How long an outcome waits for the connection to return.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

/// [`Replies`] on core NATS.
#[derive(Clone)]
pub struct NatsReplies {
    link: NatsLink,
    lanes: Arc<Mutex<HashMap<InstanceId, Arc<PacketLane>>>>,
    receiving: Arc<Mutex<HashMap<InstanceId, AbortHandle>>>,
}

impl std::fmt::Debug for NatsReplies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsReplies").field("link", &self.link).finish_non_exhaustive()
    }
}

impl NatsReplies {
    pub fn new(link: &NatsLink) -> Self {
        Self { link: link.clone(), lanes: Arc::default(), receiving: Arc::default() }
    }

    fn lane(&self, to: &InstanceId) -> Arc<PacketLane> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(to) {
            return lane.clone();
        }
        if lanes.len() >= LANES {
            lanes.retain(|_, lane| lane.is_busy());
        }
        let lane = PacketLane::new(self.link.names().reply(to), None, "plugboard_reply_pack_outcomes");
        lanes.insert(to.clone(), lane.clone());
        lane
    }
}

#[async_trait]
impl Replies for NatsReplies {
    async fn send(&self, to: &InstanceId, outcome: Outcome) -> Result<(), QueueError> {
        if !self.link.connected_by(Instant::now() + RECONNECT_WITHIN).await {
            return Err(QueueError::Unavailable("no connection".to_owned()));
        }
        self.lane(to).send(&self.link, wire::encode_outcomes(vec![outcome])).await
    }

    async fn subscribe(&self, me: &InstanceId, inbox: Inbox) -> Result<(), QueueError> {
        let unavailable = |error: &dyn std::fmt::Display| QueueError::Unavailable(error.to_string());
        let subject = self.link.names().reply(me);
        let packets = self.link.client().subscribe(subject.clone()).await.map_err(|error| unavailable(&error))?;
        let (ready, is_ready) = oneshot::channel();
        let receiving = tokio::spawn(receive(packets, inbox, ready)).abort_handle();
        if let Some(earlier) = self.receiving.lock().insert(me.clone(), receiving) {
            earlier.abort();
        }
        // A reply can come as soon as a job has left, so the server must know of the subscription first. It does when
        // it delivers us a packet of our own.
        if !self.link.send(subject, None, Bytes::new()).await {
            return Err(unavailable(&"no connection"));
        }
        match tokio::time::timeout(RECONNECT_WITHIN, is_ready).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(unavailable(&"the subscription was not confirmed")),
        }
    }
}

/// Ends with the connection.
async fn receive(mut packets: Subscriber, inbox: Inbox, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    while let Some(packet) = packets.next().await {
        if packet.payload.is_empty() {
            if let Some(ready) = ready.take() {
                let _ = ready.send(());
            }
            continue;
        }
        match wire::decode_outcomes(packet.payload) {
            Ok(received) => received.into_iter().for_each(|outcome| inbox(outcome)),
            Err(error) => tracing::error!(%error, "a reply is unreadable"),
        }
    }
}
