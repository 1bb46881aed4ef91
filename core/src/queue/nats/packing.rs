//! Packets on core NATS: what is handed over while the last packet to a subject is on its way to the socket leaves
//! together. No timer: the first of a lull goes at once, and the busier the process, the larger the packets.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use metrics::Histogram;
use parking_lot::Mutex;

use super::super::QueueError;
use super::link::NatsLink;
use super::publish::{PACK_BYTES, PACK_JOBS};
use crate::ids::InstanceId;

/// Parts that wait for one subject. More means that the connection does not drain: the sender is told.
const LANE_CAPACITY: usize = 4_096;

/// Gateways remembered before those at rest are forgotten; each start of a gateway is a new one.
const GATEWAYS: usize = 256;

/// A lane to each gateway.
pub(super) struct PacketLanes {
    /// Of [`PacketLane`].
    packed: Histogram,
    lanes: Mutex<HashMap<InstanceId, Arc<PacketLane>>>,
}

impl PacketLanes {
    pub(super) fn new(packed: Histogram) -> Self {
        Self { packed, lanes: Mutex::default() }
    }

    /// `subject` is where this gateway listens.
    pub(super) fn to(&self, gateway: &InstanceId, subject: impl FnOnce() -> String) -> Arc<PacketLane> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(gateway) {
            return lane.clone();
        }
        if lanes.len() >= GATEWAYS {
            lanes.retain(|_, lane| lane.is_busy());
        }
        let lane = PacketLane::new(subject(), None, self.packed.clone());
        lanes.insert(gateway.clone(), lane.clone());
        lane
    }
}

/// What goes to one subject. Each part is a protobuf message of the same kind: concatenated, they are read as one.
pub(super) struct PacketLane {
    subject: String,
    reply: Option<String>,
    /// Parts in a packet.
    packed: Histogram,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A packet is being written; whoever comes now waits for the next.
    busy: bool,
    waiting: VecDeque<Bytes>,
}

impl PacketLane {
    pub(super) fn new(subject: String, reply: Option<String>, packed: Histogram) -> Arc<Self> {
        Arc::new(Self { subject, reply, packed, state: Mutex::default() })
    }

    fn is_busy(&self) -> bool {
        self.state.lock().busy
    }

    /// Sends a part, now or with the next packet. At most once.
    pub(super) async fn send(self: &Arc<Self>, link: &NatsLink, part: Bytes) -> Result<(), QueueError> {
        let Some(packet) = self.enter(part)? else { return Ok(()) };
        let busy = Busy { link, lane: self };
        if !link.send(self.subject.clone(), self.reply.clone(), packet).await {
            return Err(QueueError::Unavailable("no connection".to_owned()));
        }
        // Whatever is ready to run goes first, the writing of this packet and the work of other calls among it.
        tokio::task::yield_now().await;
        drop(busy);
        Ok(())
    }

    /// Gives the part back when it may leave at once; then the caller has made the lane busy.
    fn enter(&self, part: Bytes) -> Result<Option<Bytes>, QueueError> {
        let mut state = self.state.lock();
        if !state.busy {
            state.busy = true;
            return Ok(Some(part));
        }
        if state.waiting.len() >= LANE_CAPACITY {
            return Err(QueueError::Unavailable("too much waits to be sent".to_owned()));
        }
        state.waiting.push_back(part);
        Ok(None)
    }

    /// Whether nothing waits: then it is at rest.
    fn comes_to_rest(&self) -> bool {
        let mut state = self.state.lock();
        state.busy = !state.waiting.is_empty();
        !state.busy
    }

    /// The next packet and the number of parts in it; without one, the lane is at rest.
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
            joined.extend_from_slice(&next);
            count += 1;
        }
        Some((if count == 1 { first } else { joined.freeze() }, count))
    }
}

/// Sends what gathered since the last packet, until nothing has.
async fn drain(link: NatsLink, lane: Arc<PacketLane>) {
    while let Some((packet, count)) = lane.next() {
        lane.packed.record(count as f64);
        if !link.send(lane.subject.clone(), lane.reply.clone(), packet).await {
            tracing::warn!(subject = lane.subject, count, "a packet could not be sent");
        }
        tokio::task::yield_now().await;
    }
}

/// Sets the lane going again, also when its sender is cancelled in between. With a task of its own only where something
/// waits: a task wakes a thread.
struct Busy<'a> {
    link: &'a NatsLink,
    lane: &'a Arc<PacketLane>,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if !self.lane.comes_to_rest()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(drain(self.link.clone(), self.lane.clone()));
        }
    }
}
