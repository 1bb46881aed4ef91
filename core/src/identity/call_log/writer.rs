//! From counts to batches, and until these are entered.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{CallLog, CallSink};
use crate::identity::{CallBatch, CallCount, CallFacts, IdentityError};
use crate::ids::{InstanceId, OrganizationId};

const GATHERS: Duration = Duration::from_millis(100);
const GATHERS_FOR_EACH: Duration = Duration::from_millis(10);
const GATHERS_AT_MOST: Duration = Duration::from_secs(1);
const KINDS: usize = 5_000;
const ORGANIZATIONS: usize = 10_000;
/// What goes in one message: this many batches, or the first with which it holds this many kinds of calls. With the
/// bound above that stays below gRPC's 4 MiB.
const BATCHES_AT_ONCE: usize = 256;
const KINDS_AT_ONCE: usize = 5_000;
/// How long the last batches of a process may take.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// The other end of a [`CallLog`].
pub struct CallLogWriter {
    log: CallLog,
    sink: Arc<dyn CallSink>,
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

impl CallLogWriter {
    pub(super) fn new(log: CallLog, sink: Arc<dyn CallSink>) -> Self {
        Self { log, sink, me: InstanceId::generate(), batches: 0, waiting: HashMap::new(), failing: false }
    }

    /// Until told to stop, and then once more for what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = GATHERS;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            self.gather();
            pause = pause_after(self.send().await);
        }
        self.gather();
        let _ = tokio::time::timeout(LAST_WITHIN, self.send()).await;
    }

    pub(super) fn gather(&mut self) {
        let mut beyond = 0;
        for (kind, count) in self.log.counts.take() {
            if self.waiting.len() >= ORGANIZATIONS && !self.waiting.contains_key(&kind.organization) {
                beyond += count.calls;
                continue;
            }
            let waiting = self.waiting.entry(kind.organization).or_default();
            waiting.since = Some(waiting.since.map_or(count.since, |since| since.min(count.since)));
            if waiting.calls.len() >= KINDS && !waiting.calls.contains_key(&kind.facts) {
                waiting.dropped += count.calls;
                continue;
            }
            *waiting.calls.entry(kind.facts).or_default() += count.calls;
        }
        if beyond > 0 {
            self.log.drop_calls(beyond);
        }
        // Every log that is written next says how many.
        if !self.waiting.is_empty() {
            let lost = self.log.dropped.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(lost, "calls could not be entered in the audit log");
                self.waiting.values_mut().for_each(|waiting| waiting.dropped += lost);
            }
        }
    }

    /// Sends one batch of each organization, and says how many were entered.
    pub(super) async fn send(&mut self) -> usize {
        let mut entered = 0;
        let mut batches = self.batches().into_iter().peekable();
        while batches.peek().is_some() {
            let mut kinds = 0;
            let mut chunk = Vec::new();
            while chunk.len() < BATCHES_AT_ONCE
                && kinds < KINDS_AT_ONCE
                && let Some(batch) = batches.next()
            {
                kinds += batch.calls.len();
                chunk.push(batch);
            }
            let sent = self.append(&chunk).await;
            if let Err(error) = sent {
                // The others would fail likewise: next time.
                chunk.into_iter().chain(batches).for_each(|batch| self.keep(batch));
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "the audit log cannot be written; calls wait for it");
                }
                return entered;
            }
            entered += chunk.len();
        }
        if std::mem::take(&mut self.failing) {
            tracing::info!("the audit log can be written again");
        }
        entered
    }

    /// What was sent without an answer, and of the other organizations what there is now.
    fn batches(&mut self) -> Vec<CallBatch> {
        let mut batches = Vec::with_capacity(self.waiting.len());
        self.waiting.retain(|organization, waiting| {
            let batch = waiting.unanswered.take().unwrap_or_else(|| {
                self.batches += 1;
                CallBatch {
                    organization: organization.clone(),
                    id: format!("{}/{}", self.me, self.batches),
                    at: waiting.since.take().unwrap_or_else(|| self.log.clock.now().0),
                    calls: std::mem::take(&mut waiting.calls)
                        .into_iter()
                        .map(|(facts, count)| CallCount { facts, count })
                        .collect(),
                    dropped: std::mem::take(&mut waiting.dropped),
                }
            });
            batches.push(batch);
            !waiting.calls.is_empty() || waiting.dropped > 0
        });
        batches
    }

    /// One that is refused for good does not keep the others from being entered.
    async fn append(&self, batches: &[CallBatch]) -> Result<(), IdentityError> {
        match (self.sink.append(batches).await, batches) {
            (Ok(()), _) => Ok(()),
            (Err(error @ IdentityError::Unavailable(_)), _) => Err(error),
            (Err(error), [batch]) => {
                let calls = batch.calls.iter().map(|call| call.count).sum::<u64>() + batch.dropped;
                tracing::error!(%error, organization = %batch.organization, calls, "calls do not fit into the audit log");
                metrics::counter!("plugboard_audit_calls_dropped_total").increment(calls);
                Ok(())
            }
            (Err(_), batches) => {
                for batch in batches {
                    Box::pin(self.append(std::slice::from_ref(batch))).await?;
                }
                Ok(())
            }
        }
    }

    fn keep(&mut self, batch: CallBatch) {
        let waiting = self.waiting.entry(batch.organization.clone()).or_default();
        waiting.unanswered = Some(batch);
    }
}

/// A busy process enters fewer, fuller links.
fn pause_after(entered: usize) -> Duration {
    let links = u32::try_from(entered).unwrap_or(u32::MAX);
    GATHERS_FOR_EACH.saturating_mul(links).clamp(GATHERS, GATHERS_AT_MOST)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::super::CallNote;
    use super::super::counts;
    use super::*;
    use crate::clock::FakeClock;
    use crate::ids::{KeyId, ServiceKey};

    #[derive(Default)]
    struct Log {
        away: AtomicBool,
        /// Enters the batches, and does not say so.
        deaf: AtomicBool,
        /// Will have nothing to do with this organization.
        refused: Mutex<Option<OrganizationId>>,
        batches: Mutex<Vec<CallBatch>>,
        messages: Mutex<Vec<usize>>,
    }

    #[async_trait]
    impl CallSink for Arc<Log> {
        async fn append(&self, batches: &[CallBatch]) -> Result<(), IdentityError> {
            if self.away.load(Ordering::SeqCst) {
                return Err(IdentityError::Unavailable("away".into()));
            }
            let refused = self.refused.lock().clone();
            if batches.iter().any(|batch| Some(&batch.organization) == refused.as_ref()) {
                return Err(IdentityError::NotFound { what: "organization" });
            }
            self.messages.lock().push(batches.len());
            self.batches.lock().extend_from_slice(batches);
            if self.deaf.load(Ordering::SeqCst) { Err(IdentityError::Unavailable("deaf".into())) } else { Ok(()) }
        }
    }

    fn note(calls: &CallLog, organization: &OrganizationId, key: &str, code: &str) {
        calls.note(CallNote {
            organization,
            key: &KeyId::trusted(key),
            subject: None,
            service: &ServiceKey::trusted("ozon"),
            account: None,
            operation: None,
            code,
        });
    }

    fn world(room: usize) -> (Arc<Log>, CallLog, CallLogWriter) {
        let log = Arc::new(Log::default());
        let (calls, writer) = CallLog::with_room(room, Arc::new(log.clone()), Arc::new(FakeClock::at(7)));
        (log, calls, writer)
    }

    #[tokio::test]
    async fn calls_are_counted_by_what_they_were() {
        let (log, calls, mut writer) = world(counts::KINDS);
        let (a, b) = (OrganizationId::generate(), OrganizationId::generate());
        for _ in 0..3 {
            note(&calls, &a, "k1", "OK");
        }
        note(&calls, &a, "k1", "UPSTREAM_REJECTED");
        note(&calls, &b, "k2", "OK");
        writer.gather();
        assert_eq!(writer.send().await, 2);
        let batches = log.batches.lock().clone();
        let of_a = batches.iter().find(|batch| batch.organization == a).unwrap();
        assert_eq!(of_a.calls.iter().map(|call| call.count).collect::<Vec<_>>(), [3, 1]);
        assert_eq!((of_a.at, of_a.dropped), (7, 0));
        assert_eq!(log.messages.lock().as_slice(), [2], "one message");
        // Nothing new, nothing sent.
        writer.gather();
        assert_eq!(writer.send().await, 0);
    }

    #[tokio::test]
    async fn threads_count_into_one_batch() {
        let (log, calls, mut writer) = world(counts::KINDS);
        let organization = OrganizationId::generate();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| note(&calls, &organization, "k", "OK")));
            }
        });
        writer.gather();
        writer.send().await;
        assert_eq!(log.batches.lock()[0].calls.iter().map(|call| call.count).collect::<Vec<_>>(), [400]);
    }

    #[tokio::test]
    async fn while_the_log_is_away_calls_wait() {
        let (log, calls, mut writer) = world(counts::KINDS);
        let organization = OrganizationId::generate();
        log.away.store(true, Ordering::SeqCst);
        for _ in 0..5 {
            note(&calls, &organization, "k", "OK");
            writer.gather();
            writer.send().await;
        }
        log.away.store(false, Ordering::SeqCst);
        while writer.send().await > 0 {}
        let total: u64 = log.batches.lock().iter().flat_map(|batch| &batch.calls).map(|call| call.count).sum();
        assert_eq!(total, 5);
    }

    #[tokio::test]
    async fn a_batch_without_an_answer_comes_again_as_it_was() {
        let (log, calls, mut writer) = world(counts::KINDS);
        let organization = OrganizationId::generate();
        note(&calls, &organization, "k", "OK");
        log.deaf.store(true, Ordering::SeqCst);
        writer.gather();
        writer.send().await;
        note(&calls, &organization, "k", "OK");
        log.deaf.store(false, Ordering::SeqCst);
        writer.gather();
        while writer.send().await > 0 {}
        let batches = log.batches.lock().clone();
        assert_eq!(batches.len(), 3);
        assert_eq!(batches[0], batches[1], "the same id and the same content");
        assert_ne!(batches[1].id, batches[2].id);
    }

    #[tokio::test]
    async fn what_is_refused_for_good_does_not_stand_in_the_way() {
        let (log, calls, mut writer) = world(counts::KINDS);
        let organizations: Vec<_> = (0..3).map(|_| OrganizationId::generate()).collect();
        organizations.iter().for_each(|organization| note(&calls, organization, "k", "OK"));
        *log.refused.lock() = Some(organizations[1].clone());
        writer.gather();
        writer.send().await;
        assert_eq!(log.batches.lock().len(), 2);
        assert_eq!(writer.send().await, 0, "and is not tried again");
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_never_waited_for() {
        let (log, calls, mut writer) = world(2);
        let organization = OrganizationId::generate();
        for kind in 0..10 {
            note(&calls, &organization, &format!("k{kind}"), "OK");
        }
        writer.gather();
        writer.send().await;
        let batches = log.batches.lock().clone();
        assert_eq!((batches[0].calls.len(), batches[0].dropped), (2, 8));
    }

    #[tokio::test]
    async fn many_organizations_go_in_a_few_messages() {
        let (log, calls, mut writer) = world(counts::KINDS);
        for _ in 0..600 {
            note(&calls, &OrganizationId::generate(), "k", "OK");
        }
        writer.gather();
        assert_eq!(pause_after(writer.send().await), GATHERS_AT_MOST);
        assert_eq!(log.messages.lock().as_slice(), [256, 256, 88]);
        assert_eq!((pause_after(0), pause_after(30)), (GATHERS, Duration::from_millis(300)));
    }

    #[tokio::test]
    async fn the_last_calls_are_entered_at_the_end() {
        let (log, calls, writer) = world(counts::KINDS);
        note(&calls, &OrganizationId::generate(), "k", "OK");
        let stop = CancellationToken::new();
        stop.cancel();
        writer.run(stop).await;
        assert_eq!(log.batches.lock().len(), 1);
    }
}
