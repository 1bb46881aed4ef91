//! Calls on their way into the audit log.
//!
//! A call pushes what it was into a bounded channel and goes on; what does not fit is counted as dropped. Every 100 ms
//! the calls that gathered are counted by who called what and how it ended, and sent as one batch an organization. While
//! the log cannot be written, batches wait, up to a bound.
//!
//! | what | value |
//! | --- | --- |
//! | calls on the way at once | 65,536 |
//! | a batch gathers for | 100 ms |
//! | kinds of calls waiting of one organization | 10,000 |
//! | organizations waiting | 10,000 |

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{CallBatch, CallCount, CallFacts, Custody, IdentityError};
use crate::clock::Clock;
use crate::ids::{InstanceId, OrganizationId};

const ON_THE_WAY: usize = 65_536;
const EVERY: Duration = Duration::from_millis(100);
const KINDS: usize = 10_000;
const ORGANIZATIONS: usize = 10_000;
/// How long the last batches of a process may take.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// Where batches go.
#[async_trait]
pub trait CallSink: Send + Sync + 'static {
    /// # Errors
    /// When the batch may not have been entered; it comes again under the same id.
    async fn append(&self, batch: &CallBatch) -> Result<(), IdentityError>;
}

#[async_trait]
impl CallSink for Arc<dyn Custody> {
    async fn append(&self, batch: &CallBatch) -> Result<(), IdentityError> {
        self.append_calls(batch).await
    }
}

/// Where calls are noted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallLog {
    calls: mpsc::Sender<(OrganizationId, CallFacts)>,
    dropped: Arc<AtomicU64>,
}

/// The other end of a [`CallLog`]: run it as a supervised task.
pub struct CallLogWriter {
    calls: mpsc::Receiver<(OrganizationId, CallFacts)>,
    dropped: Arc<AtomicU64>,
    sink: Arc<dyn CallSink>,
    clock: Arc<dyn Clock>,
    me: InstanceId,
    batches: u64,
    waiting: HashMap<OrganizationId, Waiting>,
    failing: bool,
}

/// What is not entered yet of one organization.
#[derive(Default)]
struct Waiting {
    since: Option<i64>,
    calls: BTreeMap<CallFacts, u64>,
    dropped: u64,
    /// Sent without an answer: it must come again exactly as it was, or it could be entered twice.
    unanswered: Option<CallBatch>,
}

impl CallLog {
    pub fn new(sink: Arc<dyn CallSink>, clock: Arc<dyn Clock>) -> (Self, CallLogWriter) {
        Self::with_room(ON_THE_WAY, sink, clock)
    }

    fn with_room(room: usize, sink: Arc<dyn CallSink>, clock: Arc<dyn Clock>) -> (Self, CallLogWriter) {
        let (sender, receiver) = mpsc::channel(room);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = CallLogWriter {
            calls: receiver,
            dropped: dropped.clone(),
            sink,
            clock,
            me: InstanceId::generate(),
            batches: 0,
            waiting: HashMap::new(),
            failing: false,
        };
        (Self { calls: sender, dropped }, writer)
    }

    /// Never waits.
    pub fn note(&self, organization: &OrganizationId, facts: CallFacts) {
        if self.calls.try_send((organization.clone(), facts)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("audit_calls_dropped_total").increment(1);
        }
    }
}

impl CallLogWriter {
    /// Until told to stop, and then once more for what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            self.gather();
            self.send().await;
        }
        self.gather();
        let _ = tokio::time::timeout(LAST_WITHIN, self.send()).await;
    }

    fn gather(&mut self) {
        let now = self.clock.now().0;
        // No more than were there when it began: callers go on pushing.
        for _ in 0..self.calls.len() {
            let Ok((organization, facts)) = self.calls.try_recv() else { break };
            if self.waiting.len() >= ORGANIZATIONS && !self.waiting.contains_key(&organization) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let waiting = self.waiting.entry(organization).or_default();
            waiting.since.get_or_insert(now);
            if waiting.calls.len() >= KINDS && !waiting.calls.contains_key(&facts) {
                waiting.dropped += 1;
                continue;
            }
            *waiting.calls.entry(facts).or_default() += 1;
        }
        // Whose calls did not fit into the channel is not known; every log that is written next says how many.
        let lost = self.dropped.swap(0, Ordering::Relaxed);
        if lost > 0 && self.waiting.is_empty() {
            self.dropped.fetch_add(lost, Ordering::Relaxed);
        } else if lost > 0 {
            tracing::warn!(lost, "calls could not be entered in the audit log");
            self.waiting.values_mut().for_each(|waiting| waiting.dropped += lost);
        }
    }

    async fn send(&mut self) {
        let organizations: Vec<_> = self.waiting.keys().cloned().collect();
        for organization in organizations {
            let Some(mut waiting) = self.waiting.remove(&organization) else { continue };
            match self.send_one(&organization, &mut waiting).await {
                Ok(()) => self.worked(),
                Err(error) => {
                    self.waiting.insert(organization, waiting);
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "the audit log cannot be written; calls wait for it");
                    }
                    // The others would fail likewise: next time.
                    return;
                }
            }
        }
    }

    async fn send_one(&mut self, organization: &OrganizationId, waiting: &mut Waiting) -> Result<(), IdentityError> {
        if let Some(batch) = &waiting.unanswered {
            self.sink.append(batch).await?;
            waiting.unanswered = None;
        }
        if waiting.calls.is_empty() && waiting.dropped == 0 {
            return Ok(());
        }
        self.batches += 1;
        let calls = std::mem::take(&mut waiting.calls);
        let batch = CallBatch {
            organization: organization.clone(),
            id: format!("{}/{}", self.me, self.batches),
            at: waiting.since.take().unwrap_or_else(|| self.clock.now().0),
            calls: calls.into_iter().map(|(facts, count)| CallCount { facts, count }).collect(),
            dropped: std::mem::take(&mut waiting.dropped),
        };
        let sent = self.sink.append(&batch).await;
        if sent.is_err() {
            waiting.unanswered = Some(batch);
        }
        sent
    }

    fn worked(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("the audit log can be written again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use parking_lot::Mutex;

    use super::*;
    use crate::clock::FakeClock;
    use crate::ids::{KeyId, ServiceKey};

    #[derive(Default)]
    struct Log {
        away: AtomicBool,
        /// Enters the batch, and does not say so.
        deaf: AtomicBool,
        batches: Mutex<Vec<CallBatch>>,
    }

    #[async_trait]
    impl CallSink for Arc<Log> {
        async fn append(&self, batch: &CallBatch) -> Result<(), IdentityError> {
            if self.away.load(Ordering::SeqCst) {
                return Err(IdentityError::Unavailable("away".into()));
            }
            self.batches.lock().push(batch.clone());
            if self.deaf.load(Ordering::SeqCst) { Err(IdentityError::Unavailable("deaf".into())) } else { Ok(()) }
        }
    }

    fn facts(key: &str, code: &str) -> CallFacts {
        CallFacts {
            key: KeyId::trusted(key),
            subject: None,
            service: ServiceKey::trusted("ozon"),
            account: None,
            operation: None,
            code: code.to_owned(),
        }
    }

    fn world(room: usize) -> (Arc<Log>, CallLog, CallLogWriter) {
        let log = Arc::new(Log::default());
        let (calls, writer) = CallLog::with_room(room, Arc::new(log.clone()), Arc::new(FakeClock::at(7)));
        (log, calls, writer)
    }

    #[tokio::test]
    async fn calls_are_counted_by_what_they_were() {
        let (log, calls, mut writer) = world(100);
        let (a, b) = (OrganizationId::generate(), OrganizationId::generate());
        for _ in 0..3 {
            calls.note(&a, facts("k1", "OK"));
        }
        calls.note(&a, facts("k1", "UPSTREAM_REJECTED"));
        calls.note(&b, facts("k2", "OK"));
        writer.gather();
        writer.send().await;
        let batches = log.batches.lock().clone();
        assert_eq!(batches.len(), 2);
        let of_a = batches.iter().find(|batch| batch.organization == a).unwrap();
        assert_eq!(of_a.calls.iter().map(|call| call.count).collect::<Vec<_>>(), [3, 1]);
        assert_eq!((of_a.at, of_a.dropped), (7, 0));
        // Nothing new, nothing sent.
        writer.gather();
        writer.send().await;
        assert_eq!(log.batches.lock().len(), 2);
    }

    #[tokio::test]
    async fn while_the_log_is_away_calls_wait() {
        let (log, calls, mut writer) = world(100);
        let organization = OrganizationId::generate();
        log.away.store(true, Ordering::SeqCst);
        for _ in 0..5 {
            calls.note(&organization, facts("k", "OK"));
            writer.gather();
            writer.send().await;
        }
        log.away.store(false, Ordering::SeqCst);
        writer.send().await;
        let total: u64 = log.batches.lock().iter().flat_map(|batch| &batch.calls).map(|call| call.count).sum();
        assert_eq!(total, 5);
    }

    #[tokio::test]
    async fn a_batch_without_an_answer_comes_again_as_it_was() {
        let (log, calls, mut writer) = world(100);
        let organization = OrganizationId::generate();
        calls.note(&organization, facts("k", "OK"));
        log.deaf.store(true, Ordering::SeqCst);
        writer.gather();
        writer.send().await;
        calls.note(&organization, facts("k", "OK"));
        log.deaf.store(false, Ordering::SeqCst);
        writer.gather();
        writer.send().await;
        let batches = log.batches.lock().clone();
        assert_eq!(batches.len(), 3);
        assert_eq!(batches[0], batches[1], "the same id and the same content");
        assert_ne!(batches[1].id, batches[2].id);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_never_waited_for() {
        let (log, calls, mut writer) = world(2);
        let organization = OrganizationId::generate();
        for _ in 0..10 {
            calls.note(&organization, facts("k", "OK"));
        }
        writer.gather();
        writer.send().await;
        let batches = log.batches.lock().clone();
        assert_eq!((batches[0].calls[0].count, batches[0].dropped), (2, 8));
    }

    #[tokio::test]
    async fn the_last_calls_are_entered_at_the_end() {
        let (log, calls, writer) = world(100);
        calls.note(&OrganizationId::generate(), facts("k", "OK"));
        let stop = CancellationToken::new();
        stop.cancel();
        writer.run(stop).await;
        assert_eq!(log.batches.lock().len(), 1);
    }
}
