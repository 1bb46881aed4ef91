//! Outcomes on core NATS, packed like jobs: those that end while the last packet to their gateway is on its way to the
//! socket leave together.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::super::{QueueError, Replies, wire};
use super::link::NatsLink;
use super::publish::{PACK_BYTES, PACK_JOBS};
use crate::ids::InstanceId;
use crate::job::Outcome;

/// Outcomes that wait for one gateway. More means that the connection does not drain: the sender is told.
const LANE_CAPACITY: usize = 4_096;

/// Outcomes that a gateway has received and not yet looked at.
const INBOX_CAPACITY: usize = 4_096;

/// Gateways remembered before those at rest are forgotten; each start of a gateway is a new one.
const LANES: usize = 256;

/// How long an outcome waits for the connection to return.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

/// [`Replies`] on core NATS.
#[derive(Clone)]
pub struct NatsReplies {
    link: NatsLink,
    lanes: Arc<Mutex<HashMap<InstanceId, Arc<Lane>>>>,
}

impl std::fmt::Debug for NatsReplies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsReplies").field("link", &self.link).finish_non_exhaustive()
    }
}

impl NatsReplies {
    pub fn new(link: &NatsLink) -> Self {
        Self { link: link.clone(), lanes: Arc::default() }
    }

    fn lane(&self, to: &InstanceId) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(to) {
            return lane.clone();
        }
        if lanes.len() >= LANES {
            lanes.retain(|_, lane| lane.state.lock().busy);
        }
        let lane = Arc::new(Lane { subject: self.link.names().reply(to), state: Mutex::default() });
        lanes.insert(to.clone(), lane.clone());
        lane
    }
}

/// Outcomes for one gateway.
struct Lane {
    subject: String,
    state: Mutex<LaneState>,
}

#[derive(Default)]
struct LaneState {
    /// A packet is being written; whoever comes now waits for the next.
    busy: bool,
    waiting: VecDeque<Bytes>,
}

impl Lane {
    /// Gives the outcome back when it may leave at once; then the caller has made the lane busy.
    fn enter(&self, outcome: Bytes) -> Result<Option<Bytes>, QueueError> {
        let mut state = self.state.lock();
        if !state.busy {
            state.busy = true;
            return Ok(Some(outcome));
        }
        if state.waiting.len() >= LANE_CAPACITY {
            return Err(QueueError::Unavailable("too many outcomes wait to be sent".to_owned()));
        }
        state.waiting.push_back(outcome);
        Ok(None)
    }

    /// The next packet and the number of outcomes in it; without one, the lane is at rest.
    fn next(&self) -> Option<(Bytes, usize)> {
        let mut state = self.state.lock();
        let Some(first) = state.waiting.pop_front() else {
            state.busy = false;
            return None;
        };
        let mut count = 1;
        let mut joined = BytesMut::new();
        while count < PACK_JOBS {
            let length = joined.len().max(first.len());
            let Some(next) = state.waiting.pop_front_if(|next| length + next.len() <= PACK_BYTES) else { break };
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            // Concatenated protobuf messages are one message with the outcomes of all.
            joined.extend_from_slice(&next);
            count += 1;
        }
        Some((if count == 1 { first } else { joined.freeze() }, count))
    }
}

/// Sends what gathered since the last packet, until nothing has.
async fn drain(link: NatsLink, lane: Arc<Lane>) {
    loop {
        // Whatever is ready to run goes first, the writing of the last packet and the ends of other calls among it. So
        // the busier the process, the larger the packets, and nobody waits for a timer or for the socket.
        tokio::task::yield_now().await;
        let Some((packet, count)) = lane.next() else { return };
        metrics::histogram!("plugboard_reply_pack_outcomes").record(count as f64);
        if !link.send(lane.subject.clone(), None, packet).await {
            // At most once: the journal has what must not be lost.
            tracing::warn!(count, "outcomes could not be sent to their gateway");
        }
    }
}

/// Sets the lane going again, also when its sender is cancelled in between.
struct Draining {
    link: NatsLink,
    lane: Arc<Lane>,
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(drain(self.link.clone(), self.lane.clone()));
        }
    }
}

#[async_trait]
impl Replies for NatsReplies {
    async fn send(&self, to: &InstanceId, outcome: Outcome) -> Result<(), QueueError> {
        if !self.link.connected_by(Instant::now() + RECONNECT_WITHIN).await {
            return Err(QueueError::Unavailable("no connection".to_owned()));
        }
        let lane = self.lane(to);
        let Some(packet) = lane.enter(wire::encode_outcomes(vec![outcome]))? else { return Ok(()) };
        let sending = Draining { link: self.link.clone(), lane };
        if self.link.send(sending.lane.subject.clone(), None, packet).await {
            Ok(())
        } else {
            Err(QueueError::Unavailable("no connection".to_owned()))
        }
    }

    async fn subscribe(&self, me: &InstanceId) -> Result<mpsc::Receiver<Outcome>, QueueError> {
        let unavailable = |error: &dyn std::fmt::Display| QueueError::Unavailable(error.to_string());
        let subject = self.link.names().reply(me);
        let packets = self.link.client().subscribe(subject.clone()).await.map_err(|error| unavailable(&error))?;
        let (sender, receiver) = mpsc::channel(INBOX_CAPACITY);
        let (ready, is_ready) = oneshot::channel();
        tokio::spawn(receive(packets, sender, ready));
        // A reply can come as soon as a job has left, so the server must know of the subscription first. It does when
        // it delivers us a packet of our own.
        if !self.link.send(subject, None, Bytes::new()).await {
            return Err(unavailable(&"no connection"));
        }
        match tokio::time::timeout(RECONNECT_WITHIN, is_ready).await {
            Ok(Ok(())) => Ok(receiver),
            _ => Err(unavailable(&"the subscription was not confirmed")),
        }
    }
}

/// Ends when the gateway no longer listens, or with the connection.
async fn receive(mut packets: Subscriber, outcomes: mpsc::Sender<Outcome>, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    loop {
        let packet = tokio::select! {
            packet = packets.next() => packet,
            () = outcomes.closed() => return,
        };
        let Some(packet) = packet else { return };
        if packet.payload.is_empty() {
            if let Some(ready) = ready.take() {
                let _ = ready.send(());
            }
            continue;
        }
        match wire::decode_outcomes(packet.payload) {
            Ok(received) => {
                for outcome in received {
                    if outcomes.send(outcome).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => tracing::error!(%error, "a reply is unreadable"),
        }
    }
}
