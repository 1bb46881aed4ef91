//! The change stream: what every replica's watchers are told, and the beats between.
//!
//! Every commit that concerns a cache leaves a notice in the store's change log. Each replica reads that log every
//! 100 ms, whoever wrote it. A beat goes out only after a read that succeeded: while the store is away nobody beats, and
//! every cache closes by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use plugboard_core::identity::{Change, IdentityError};
use plugboard_core::store::{Changes, Store};
use plugboard_proto::auth::v1 as proto;
use prost::Message;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_millis(100);
/// A store that takes longer to show its log is away.
const PATIENCE: Duration = Duration::from_secs(2);
/// A watcher that falls behind by more starts anew.
const BUFFERED: usize = 4096;
/// A beat that was read from the log longer ago proves too little.
const OLDEST_BEAT: Duration = Duration::from_millis(400);

/// What watchers are told.
#[derive(Debug, Clone)]
pub(crate) enum Tick {
    /// Everything committed before this moment has been told.
    Beat {
        read_at: Instant,
    },
    Told(Change),
}

pub(crate) struct Feed {
    store: Arc<dyn Store>,
    committed: Arc<Notify>,
    ticks: broadcast::Sender<Tick>,
    closed: CancellationToken,
    /// The log could be read when it was last looked at.
    reads: AtomicBool,
}

impl Feed {
    pub(crate) fn new(store: Arc<dyn Store>, committed: Arc<Notify>) -> Self {
        Self {
            store,
            committed,
            ticks: broadcast::Sender::new(BUFFERED),
            closed: CancellationToken::new(),
            reads: AtomicBool::new(false),
        }
    }

    /// Follows the log until told to stop; then every stream ends. Runs once.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let _closes_at_the_end = self.closed.clone().drop_guard();
        let mut reader = Reader::default();
        loop {
            let read_at = Instant::now();
            let read = tokio::select! {
                () = stop.cancelled() => return,
                read = tokio::time::timeout(PATIENCE, self.store.changes_after(reader.upto.unwrap_or(0))) => read,
            };
            self.reads.store(matches!(read, Ok(Ok(_))), Ordering::Relaxed);
            match read {
                Ok(Ok(changes)) => {
                    let told = reader.read(changes);
                    self.tell(told.into_iter().map(Tick::Told).chain([Tick::Beat { read_at }]));
                }
                Ok(Err(error)) => reader.failed(&error.to_string()),
                Err(_) => reader.failed("no answer in time"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(read_at + EVERY) => {}
                () = self.committed.notified() => {}
            }
        }
    }

    /// Whether the store answers.
    pub(crate) fn reads(&self) -> bool {
        self.reads.load(Ordering::Relaxed)
    }

    fn tell(&self, ticks: impl Iterator<Item = Tick>) {
        for tick in ticks {
            // Fails when nobody watches, which is no failure.
            let _ = self.ticks.send(tick);
        }
    }

    /// What is told from now on.
    ///
    /// # Errors
    /// When the service is stopping.
    pub(crate) fn ticks(&self) -> Result<impl Stream<Item = Tick> + Send + Unpin + use<>, IdentityError> {
        if self.closed.is_cancelled() {
            return Err(IdentityError::Unavailable("the auth service is stopping".into()));
        }
        let ticks = BroadcastStream::new(self.ticks.subscribe())
            // Fell behind.
            .map(|tick| tick.unwrap_or(Tick::Told(Change::Reset)));
        Ok(Box::pin(ticks.take_until(self.closed.clone().cancelled_owned())))
    }

    /// The same for watchers in this process.
    ///
    /// # Errors
    /// When the service is stopping.
    pub(crate) fn changes(&self) -> Result<impl Stream<Item = Change> + Send + use<>, IdentityError> {
        Ok(self.ticks()?.filter_map(|tick| {
            let change = match tick {
                Tick::Told(change) => Some(change),
                Tick::Beat { read_at } => (read_at.elapsed() < OLDEST_BEAT).then_some(Change::Beat),
            };
            std::future::ready(change)
        }))
    }
}

/// How far the log has been read.
#[derive(Debug, Default)]
struct Reader {
    /// `None` before the first look.
    upto: Option<u64>,
    failing: bool,
}

impl Reader {
    fn read(&mut self, changes: Changes) -> Vec<Change> {
        if std::mem::take(&mut self.failing) {
            tracing::info!("the change log can be read again");
        }
        let told = match self.upto {
            // Nobody has had a beat yet, so nobody has cached anything.
            None => Vec::new(),
            // A log that went back is another log: a store restored from a backup.
            Some(upto) if changes.missed || changes.upto < upto => vec![Change::Reset],
            Some(_) => changes
                .notices
                .into_iter()
                .map(|notice| proto::Change::decode(notice).map_or(Change::Reset, Change::from))
                .collect(),
        };
        self.upto = Some(changes.upto);
        told
    }

    fn failed(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(why, "the change log cannot be read; caches close until it can");
        }
    }
}

#[cfg(test)]
mod tests {
    use plugboard_core::ids::KeyId;

    use super::*;

    fn notice(change: &Change) -> bytes::Bytes {
        proto::Change::from(change).encode_to_vec().into()
    }

    fn changes(notices: &[&Change], upto: u64, missed: bool) -> Changes {
        Changes { notices: notices.iter().copied().map(notice).collect(), upto, missed }
    }

    #[test]
    fn the_log_is_read_on_from_where_it_was() {
        let revoked = Change::KeyRevoked(KeyId::generate());
        let mut reader = Reader::default();
        assert_eq!(reader.read(changes(&[&revoked], 7, false)), []);
        assert_eq!(reader.upto, Some(7));
        assert_eq!(reader.read(changes(&[&revoked], 8, false)), std::slice::from_ref(&revoked));
        assert_eq!(reader.read(changes(&[], 8, false)), []);
        assert_eq!(reader.read(changes(&[], 2000, true)), [Change::Reset]);
        assert_eq!(reader.read(changes(&[], 3, false)), [Change::Reset]);
        assert_eq!(reader.upto, Some(3));
    }

    #[test]
    fn a_notice_that_cannot_be_read_concerns_everything() {
        let mut reader = Reader { upto: Some(1), failing: true };
        let garbled = Changes { notices: vec![bytes::Bytes::from_static(&[0xff; 3])], upto: 2, missed: false };
        assert_eq!(reader.read(garbled), [Change::Reset]);
        assert!(!reader.failing);
    }
}
