//! The change stream from the watcher's side.
//!
//! A beat that comes late is worse than none: after a pause of this process, or of the link, old beats lie in buffers
//! with the revocation behind them. So the watcher numbers its own pings, the service says in each beat which ping had
//! arrived before it read the change log, and a beat counts only if that ping was sent a moment ago by our own clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use plugboard_proto::auth::v1::change::What;
use plugboard_proto::auth::v1::{self as proto, WatchRequest};
use tokio::time::{Instant, MissedTickBehavior};
use tonic::Streaming;

use super::super::Change;

const PING_EVERY: Duration = Duration::from_millis(100);
/// A beat whose ping is older proves too little.
const OLDEST: Duration = Duration::from_millis(400);
/// Pings remembered; older ones are too old to matter.
const REMEMBERED: usize = 16;

/// Makes the outgoing stream; one for each attempt to connect.
#[derive(Clone)]
pub(super) struct Pings(Sent);

/// When each of the last pings was sent.
#[derive(Clone, Default)]
pub(super) struct Sent(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    last: u64,
    pings: VecDeque<(u64, Instant)>,
}

pub(super) fn pings() -> (Pings, Sent) {
    let sent = Sent::default();
    (Pings(sent.clone()), sent)
}

impl Pings {
    pub(super) fn start(self) -> impl Stream<Item = WatchRequest> + Send + 'static {
        let mut every = tokio::time::interval(PING_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        stream::unfold((every, self.0), |(mut every, sent)| async move {
            every.tick().await;
            let ping = sent.next();
            Some((WatchRequest { ping }, (every, sent)))
        })
    }
}

impl Sent {
    fn next(&self) -> u64 {
        let mut log = self.0.lock();
        log.last += 1;
        let ping = log.last;
        log.pings.push_back((ping, Instant::now()));
        if log.pings.len() > REMEMBERED {
            log.pings.pop_front();
        }
        ping
    }

    /// Whether a beat that answers this ping tells about the present.
    fn is_recent(&self, ping: u64) -> bool {
        let log = self.0.lock();
        log.pings.iter().any(|(number, at)| *number == ping && at.elapsed() < OLDEST)
    }
}

/// The incoming stream, without the beats that came too late. Ends at the first error.
pub(super) fn changes(incoming: Streaming<proto::Change>, sent: Sent) -> BoxStream<'static, Change> {
    Box::pin(stream::unfold((incoming, sent), |(mut incoming, sent)| async move {
        loop {
            let message = incoming.message().await.ok()??;
            match message.what {
                Some(What::Beat(beat)) if !sent.is_recent(beat.ping) => {}
                _ => return Some((message.into(), (incoming, sent))),
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_recent_ping_counts() {
        let (pings, sent) = pings();
        let mut stream = Box::pin(pings.start());
        assert_eq!(stream.next().await.map(|request| request.ping), Some(1));
        assert!(sent.is_recent(1) && !sent.is_recent(0) && !sent.is_recent(2));
        assert_eq!(stream.next().await.map(|request| request.ping), Some(2));
        tokio::time::advance(Duration::from_millis(350)).await;
        assert!(!sent.is_recent(1) && sent.is_recent(2));
        tokio::time::advance(Duration::from_millis(50)).await;
        assert!(!sent.is_recent(2));
    }
}
