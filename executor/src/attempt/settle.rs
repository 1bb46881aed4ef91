//! How a call is ended: what the journal is told, and what may be said of it to whoever waits.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use plugboard_core::blobs::INLINE_LIMIT;
use plugboard_core::error::{CallError, EffectOutcome, ErrorCode};
use plugboard_core::failpoint::failpoint;
use plugboard_core::identity::CallNote;
use plugboard_core::job::{AccountRef, CallState, Envelope, Job, Outcome, Payload};
use plugboard_core::journal::{Claim, Closed, Finished, Intent, JournalError, is_final};
use plugboard_core::manifest::Effect;
use plugboard_core::queue::ACK_WAIT;
use plugboard_core::telemetry::metrics::{Stage, Stopwatch};
use plugboard_core::telemetry::{CallTrace, FailedCall, SPANS, SpanKind, failed_call};
use tokio::time::Instant;
use tracing::Instrument;

use super::call::{Called, jitter};
use super::course::is_repeatable;
use super::failure;
use super::{Verdict, trace};
use crate::Deps;
use crate::meters::Ended;
use plugboard_core::broken::broken;

/// Longest rest between two tries to write to the journal.
const JOURNAL_REST: Duration = Duration::from_secs(5);
/// Longest rest of a job that is handed back.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Room for the envelope of a call that succeeded.
const ENVELOPE_BYTES: usize = 1_024;
/// Tries to store a large answer, and to send a reply.
const TRIES: u32 = 3;

/// The ends of one job.
pub(super) struct Desk<'a> {
    pub(super) deps: &'a Deps,
    pub(super) job: &'a Job,
    starts: u32,
    /// Of this start.
    pub(super) watch: Stopwatch<'a>,
    pub(super) trace: CallTrace<'a>,
    /// Of the first outcome that is a failure.
    failed: OnceLock<ErrorCode>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(deps: &'a Deps, job: &'a Job, starts: u32) -> Self {
        let watch = Stopwatch::new(&deps.meters.stages);
        watch.record(Stage::Queue, job.accepted_at.until(deps.clock.now()));
        Self { deps, job, starts, watch, trace: trace::of_job(job, starts), failed: OnceLock::new() }
    }

    /// The start has ended.
    pub(super) fn over(&self) {
        let code = self.failed.get().map(|code| code.as_str());
        self.trace.ended(code.is_some(), || trace::about(self.job, self.starts, code));
    }

    /// Runs what comes after the vendor's last word.
    pub(super) async fn answering<T>(&self, end: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let step = self.trace.step("answer", SpanKind::Internal, || tracing::info_span!(target: SPANS, "answer"));
        let ended = end.instrument(step.span()).await;
        drop(step);
        self.watch.record(Stage::Answer, began.elapsed());
        ended
    }

    /// Hands the job back. The rest doubles with each start: five of them are to outlast short trouble.
    pub(super) fn later(&self) -> Verdict {
        Verdict::Later((Duration::from_millis(500) * (1 << self.starts.min(6))).min(LONGEST_REST))
    }

    /// The outcome is known from before.
    pub(super) fn resend(&self, outcome: Outcome) -> Verdict {
        self.deps.meters.ended(Ended::Replayed, self.job.effect);
        Verdict::Tell(outcome)
    }

    /// Another start may have called, and may not be followed by a second call.
    pub(super) async fn end_unknown(&self) -> Verdict {
        let error = failure::unknown(self.job.effect, "The executor that made this call did not come back.");
        Verdict::Tell(self.outcome(Called::failed(error)).await)
    }

    /// A call that this start did not make. "Not sent" is said only if no other start can have made it.
    pub(super) async fn end_unsent(&self, mut error: CallError) -> Verdict {
        if self.job.effect == Effect::Read {
            // A read leaves no intent behind: after a first start nobody knows how far that came.
            if self.starts > 1 {
                error = error.outcome(EffectOutcome::Unknown, true);
            }
            return self.end_read(Called::failed(error)).await;
        }
        match self.close(error).await {
            Some(verdict) => verdict,
            None => self.end_open().await,
        }
    }

    /// As [`Self::end_unsent`]. `None`: an intent is open.
    pub(super) async fn close(&self, error: CallError) -> Option<Verdict> {
        let outcome = self.outcome(Called::failed(error)).await;
        match self.deps.journal.close(self.job, &outcome).await {
            Ok(Closed::Yes) => Some(Verdict::Tell(outcome)),
            Ok(Closed::AlreadyEnded(outcome)) => Some(self.resend(*outcome)),
            Ok(Closed::IntentOpen) => None,
            Err(error) => {
                tracing::warn!(%error, "a call that was not made could not be closed");
                Some(self.later())
            }
        }
    }

    /// An intent is open that this start cannot follow up.
    async fn end_open(&self) -> Verdict {
        match self.deps.journal.claim(self.job).await {
            Ok(Claim::Ended(outcome)) => self.resend(*outcome),
            Ok(Claim::Unknown) => self.end_unknown().await,
            Ok(Claim::Granted(intent)) => {
                let error = failure::unknown(self.job.effect, "The executor that made this call did not come back.");
                self.end_claimed(&intent, Called::failed(error)).await
            }
            Err(error) => {
                tracing::warn!(%error, "an open call could not be ended");
                self.later()
            }
        }
    }

    /// The job was started too often. It goes among the dead letters before anything else is decided: what is ended
    /// first and not buried would be missing there.
    pub(super) async fn give_up(&self) -> Verdict {
        match self.deps.journal.look(&self.job.execution_id).await {
            Ok(Some(record)) => {
                if let Some(outcome) = record.outcome {
                    return self.resend(outcome);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "a job that was started too often could not be looked up");
                return self.later();
            }
        }
        let reason = format!("started {} times without coming to an end", self.starts);
        if let Err(error) = self.deps.queue.bury(self.job, &reason, self.starts).await {
            tracing::error!(%error, "a job that was started too often could not be put aside");
            return self.later();
        }
        self.failpoint("dead_letter_before_ack");
        metrics::counter!("plugboard_dead_letters_total").increment(1);
        self.end_unsent(failure::given_up(self.starts)).await
    }

    /// A read: no journal, unless nobody waits and its handle must be answered later.
    pub(super) async fn end_read(&self, called: Called) -> Verdict {
        let outcome = self.outcome(called).await;
        if !self.job.interactive() {
            if let Err(error) = self.deps.journal.keep(self.job, &outcome).await {
                tracing::warn!(%error, "the outcome of a background read could not be kept");
                return self.later();
            }
            return Verdict::Nothing;
        }
        Verdict::Tell(outcome)
    }

    /// A call whose intent is held here.
    pub(super) async fn end_claimed(&self, intent: &Intent, called: Called) -> Verdict {
        let unsent = called.nothing_sent();
        let outcome = self.outcome(called).await;
        self.failpoint("answer_before_done");
        let mut patience = Patience::new();
        let written = loop {
            // "Not sent" is told only if the release took: who took the call over may be sending now.
            let written = match unsent {
                true => self.deps.journal.release(intent, &outcome).await,
                false => self.deps.journal.finish(intent, &outcome).await,
            };
            if let Some(answer) = patience.answer(written).await {
                break answer;
            }
        };
        match written {
            Ok(Finished::Recorded) => {
                self.failpoint("done_before_result");
                Verdict::Tell(outcome)
            }
            Ok(Finished::Superseded) if broken("superseded_speaks") => Verdict::Tell(outcome),
            Ok(Finished::Superseded) => self.superseded().await,
            Err(error) => {
                tracing::error!(%error, "the journal entry of a call cannot be read");
                self.later()
            }
        }
    }

    /// Somebody else's word counts. An ack from here would take the job from an executor that is at it, so it is given
    /// only when the end is written.
    async fn superseded(&self) -> Verdict {
        match self.deps.journal.look(&self.job.execution_id).await {
            Ok(Some(record)) if is_final(record.state) => Verdict::Nothing,
            _ => {
                tracing::warn!("another executor took this call over");
                Verdict::Later(ACK_WAIT * 2)
            }
        }
    }

    /// To the gateway whose caller waits, if one does.
    pub(super) async fn tell(&self, outcome: Outcome) {
        let Some(to) = &self.job.reply_to else { return };
        let kept = (self.job.effect == Effect::Read).then(|| outcome.clone());
        let mut outcome = Some(outcome);
        for tried in 1..=TRIES {
            let message = if tried == TRIES { outcome.take() } else { outcome.clone() };
            let Some(message) = message else { break };
            match self.deps.replies.send(to, message).await {
                Ok(()) => return,
                Err(error) if tried == TRIES => tracing::warn!(%error, "an outcome could not be sent to its gateway"),
                Err(_) => tokio::time::sleep(jitter(Duration::from_millis(100))).await,
            }
        }
        // What is not in the journal yet would be lost.
        if let Some(outcome) = kept
            && let Err(error) = self.deps.journal.keep(self.job, &outcome).await
        {
            tracing::warn!(%error, "an outcome that could not be sent could not be kept either");
        }
    }

    /// Envelope and data as they travel.
    pub(super) async fn outcome(&self, mut called: Called) -> Outcome {
        let data = match called.data.take() {
            Some(data) if data.len() > INLINE_LIMIT => match self.store(data).await {
                Some(stored) => Some(stored),
                None => {
                    called.page = None;
                    called.error = Some(failure::answer_lost(self.job.effect));
                    None
                }
            },
            data => data.map(Payload::Inline),
        };
        let ended = called.error.as_ref().map_or(Ended::Ok, |error| Ended::Failed(error.code));
        self.enter(ended.as_str());
        self.deps.meters.ended(ended, self.job.effect);
        if let Some(error) = &called.error {
            self.note(error, called.status);
        }
        let mut envelope = Vec::with_capacity(ENVELOPE_BYTES);
        if let Err(error) = serde_json::to_writer(&mut envelope, &self.envelope(called)) {
            tracing::error!(%error, "an envelope could not be written");
            envelope = br#"{"ok":false,"state":"unknown"}"#.to_vec();
        }
        let stages = self.watch.times();
        Outcome { execution_id: self.job.execution_id.clone(), envelope: Bytes::from(envelope), data, stages }
    }

    /// In the audit log.
    fn enter(&self, code: &str) {
        let Some(calls) = &self.deps.calls else { return };
        calls.note(CallNote {
            organization: &self.job.organization,
            key: &self.job.key_id,
            subject: self.job.subject.as_ref(),
            service: &self.job.service,
            account: Some(&self.job.account),
            operation: self.job.operation.as_deref(),
            code,
        });
    }

    /// In log and trace. A call that fails has one line, by whoever knows its outcome.
    fn note(&self, error: &CallError, status: Option<u16>) {
        if self.failed.set(error.code).is_ok() {
            self.trace.span().record("code", error.code.as_str());
        }
        failed_call(&FailedCall { status, ..FailedCall::of_job(self.job, error) });
    }

    async fn store(&self, data: Bytes) -> Option<Payload> {
        let bytes = data.len() as u64;
        for tried in 1..=TRIES {
            match self.deps.blobs.put(&self.job.organization, data.clone()).await {
                Ok(id) => return Some(Payload::Blob { id, bytes }),
                Err(error) => tracing::warn!(%error, bytes, tried, "a large answer could not be stored"),
            }
            tokio::time::sleep(jitter(Duration::from_millis(200))).await;
        }
        None
    }

    fn envelope(&self, called: Called) -> Envelope {
        let Job { execution_id, service, module, operation, account, account_label, .. } = self.job;
        let base = match called.error {
            Some(error) => Envelope::failed(self.honest(error)),
            None => Envelope::new(CallState::Succeeded),
        };
        let duration = self.job.accepted_at.until(self.deps.clock.now());
        Envelope {
            status: called.status,
            execution_id: Some(execution_id.as_str().to_owned()),
            service: Some(service.as_str().to_owned()),
            module: Some(module.clone()),
            operation: operation.clone(),
            account: Some(AccountRef { id: account.as_str().to_owned(), label: account_label.clone() }),
            page: called.page,
            limits: called.limits,
            attempts: called.attempts,
            duration_ms: Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            ..base
        }
    }

    /// Nothing whose outcome is unknown is safe to repeat unless its effect says so.
    fn honest(&self, mut error: CallError) -> CallError {
        if error.outcome == EffectOutcome::Unknown && !is_repeatable(self.job.effect) {
            error.safe_to_retry = false;
        }
        debug_assert!(error.code != ErrorCode::OutcomeUnknown || error.outcome == EffectOutcome::Unknown);
        error
    }

    pub(super) fn failpoint(&self, name: &'static str) {
        failpoint(name, self.job.execution_id.as_str());
    }
}

/// Waits between two tries to write what must not be lost. The delivery is held meanwhile; if this process ends first,
/// the next start finds the intent open and says "unknown".
struct Patience(Duration);

impl Patience {
    fn new() -> Self {
        Self(Duration::from_millis(50))
    }

    /// `Some`: what the journal answered. `None`: it did not, and it is time for the next try.
    async fn answer<T>(&mut self, written: Result<T, JournalError>) -> Option<Result<T, JournalError>> {
        let Err(JournalError::Unavailable(cause)) = written else { return Some(written) };
        tracing::warn!(cause, "the journal does not answer; an outcome waits to be written");
        tokio::time::sleep(jitter(self.0)).await;
        self.0 = (self.0 * 2).min(JOURNAL_REST);
        None
    }
}
