//! The use case: check a call, publish it as a job, wait for its outcome.

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::blobs::INLINE_LIMIT;
use plugboard_core::clock::Millis;
use plugboard_core::error::{CallError, EffectOutcome, ErrorCode, Fix, FixKind};
use plugboard_core::failpoint::failpoint;
use plugboard_core::identity::{CallNote, IdentityError, Principal, Scope};
use plugboard_core::ids::{OrganizationId, ServiceKey};
use plugboard_core::job::{
    Acceptance, AccountRef, CallState, Envelope, Job, Outcome, Payload, RequestParts, TicketFacts, TraceContext,
};
use plugboard_core::journal::{Closed, JournalError};
use plugboard_core::manifest::{CallArguments, CheckedCall, Connector, Effect, suggest};
use plugboard_core::queue::{NotRun, QueueError};
use plugboard_core::telemetry::metrics::{Stage, StageTimes};
use plugboard_core::telemetry::{CallTrace, SPANS, SpanKind, if_sampled};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, info_span};

use crate::accounts::{Chosen, Named};
use crate::answer::Answer;
use crate::arguments::{Call, Request};
use crate::calls::Caller;
use crate::meters::{AGE, BACKLOG};
use crate::policy;
use crate::principal::require;
use crate::retold::perhaps_sent;
use crate::seen::Seen;
use crate::state::Gateway;

/// After the deadline the executor still has this long to say how it ended.
const GRACE: Duration = Duration::from_secs(2);

impl Gateway {
    /// `connector_execute`, for every transport. A failure is an answer too.
    pub async fn execute(
        self: &Arc<Self>,
        principal: &Principal,
        request: Request,
        trace: &CallTrace<'_>,
    ) -> Result<Answer, CallError> {
        require(principal, Scope::WriteTools)?;
        let Some(organization) = &principal.organization else { return Err(CallError::internal()) };
        Ok(match request {
            Request::Look(id) => Box::pin(self.look(principal, organization, &id)).await,
            Request::Slice(slice) => Box::pin(self.slice(organization, &slice)).await,
            Request::Call(call) => {
                let mut seen = Seen::new(trace);
                let called = self.call(principal, organization, &call, &mut seen).await;
                let answer = called.unwrap_or_else(|error| self.refuse(principal, organization, &seen, error));
                self.answered(Caller { principal, organization }, &mut seen, &answer);
                answer
            }
        })
    }

    /// A call that never became a job. What became one is entered in the audit log by its executor, which knows the
    /// outcome.
    fn refuse(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
        seen: &Seen<'_>,
        error: CallError,
    ) -> Answer {
        // What is no service of ours could be anything, and nothing that callers write belongs in the log.
        let known = seen.service();
        self.call_log.note(CallNote {
            organization,
            key: &principal.key_id,
            subject: principal.subject.as_ref(),
            service: known.unwrap_or(&ServiceKey::trusted("unknown")),
            account: None,
            operation: None,
            code: error.code.as_str(),
        });
        self.refused(organization, seen, &error);
        let service = known.map(|key| key.as_str().to_owned());
        Answer::of(&Envelope { service, ..Envelope::failed(error) })
    }

    async fn call(
        self: &Arc<Self>,
        principal: &Principal,
        organization: &OrganizationId,
        call: &Call,
        seen: &mut Seen<'_>,
    ) -> Result<Answer, CallError> {
        let accepted = {
            let mut step = seen.trace.step(
                "check",
                SpanKind::Internal,
                || info_span!(target: SPANS, "check", otel.status_code = Empty),
            );
            let accepted = self.accept(principal, organization, call, seen).instrument(step.span()).await;
            if accepted.is_err() {
                step.failed();
            }
            accepted
        };
        seen.checked(&self.meters);
        let mut job = accepted?;
        seen.takes(&job, self.calls.begin(principal, job.clone()));
        let wait = Duration::from_millis(call.wait_ms.unwrap_or(self.config.default_wait_ms).into());
        if let Some(before) = self.earlier(&job, call).await? {
            // Boxed, as whatever is rare and large: every call's future has room for the largest of what it awaits.
            let Some(orphan) = Box::pin(self.orphan(&job, &before)).await? else {
                return Ok(Box::pin(self.replay(&job, before, wait)).await);
            };
            job = Arc::new(orphan);
            seen.takes(&job, self.calls.begin(principal, job.clone()));
        }
        let answer = match wait {
            Duration::ZERO => Box::pin(self.run_in_background(job.clone())).await,
            wait => self.run_and_wait(job.clone(), wait).await,
        };
        if let (Err(error), Some(_)) = (&answer, &call.idempotency_key) {
            Box::pin(self.free_key(&job, error)).await;
        }
        answer
    }

    /// Checks a call and makes a job of it.
    async fn accept(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
        call: &Call,
        seen: &mut Seen<'_>,
    ) -> Result<Arc<Job>, CallError> {
        let (connector, label) = self.service(&call.service)?;
        seen.connector = Some(connector.clone());
        policy::connector(principal, connector.key())?;
        if connector.manifest().admin_only && !principal.scopes.has(Scope::Admin) {
            let message = format!("{} is for admins only: use a key with the scope `admin`.", connector.key());
            return Err(CallError::new(ErrorCode::AdminOnly, message)
                .fix(Fix::new(FixKind::AddScope).options([Scope::Admin.as_str()])));
        }
        let checked = connector.check(CallArguments {
            module: call.module.as_deref(),
            method: &call.method,
            path: call.path.as_deref(),
            query: call.query.as_ref(),
            body: call.body.as_deref(),
            headers: call.headers.as_ref(),
        })?;
        let named = Named { label, instance_id: call.instance_id.as_deref() };
        let account = async {
            policy::effect(principal, checked.effect)?;
            let accounts = self.directory.accounts(organization).await.map_err(auth_away)?;
            policy::account(&accounts, principal, connector.key(), named, self.sandbox)
        };
        let account = match account.await {
            Ok(account) => account,
            Err(error) => {
                seen.operation = checked.operation;
                return Err(error);
            }
        };
        let job =
            self.job(principal, organization, &connector, checked, account, call, seen.trace.context().clone()).await?;
        Ok(Arc::new(job))
    }

    /// `ozon:Top Zip` → the connector and the label.
    pub(crate) fn service<'a>(&self, written: &'a str) -> Result<(Arc<Connector>, Option<&'a str>), CallError> {
        let (key, label) = match written.split_once(':') {
            Some((key, label)) => (key.trim(), Some(label.trim())),
            None => (written.trim(), None),
        };
        let snapshot = self.catalog.snapshot();
        if let Some(connector) = ServiceKey::parse(key).and_then(|key| snapshot.get(&key)) {
            return Ok((connector, label.filter(|label| !label.is_empty())));
        }
        if !self.catalog.is_ready() {
            return Err(CallError::overloaded("The services are still being loaded.", 500));
        }
        let keys = snapshot.iter().map(|connector| connector.key().as_str());
        let near = suggest::nearest(key, keys, 3);
        let hint = match near.as_slice() {
            [] => "list_services shows all of them.".to_owned(),
            near => format!("Did you mean {}?", near.join(" or ")),
        };
        Err(CallError::new(ErrorCode::UnknownService, format!("There is no service {key:?}. {hint}"))
            .field("service")
            .fix(Fix::new(FixKind::ChangeArgument).field("service").options(near)))
    }

    #[allow(clippy::too_many_arguments, reason = "everything a job is made of")]
    async fn job(
        &self,
        principal: &Principal,
        organization: &OrganizationId,
        connector: &Connector,
        checked: CheckedCall,
        account: Chosen,
        call: &Call,
        trace: TraceContext,
    ) -> Result<Job, CallError> {
        let now = self.clock.now();
        let deadline_ms = call.deadline_ms.unwrap_or(self.config.default_deadline_ms);
        let deadline = now.plus(Duration::from_millis(deadline_ms.into()));
        let execution_id = self.execution_ids.issue(Acceptance {
            organization,
            subject: principal.subject.as_ref(),
            effect: checked.effect,
            accepted_at: now,
            deadline,
        });
        let request_hash = RequestParts {
            account: &account.id,
            module: &checked.module,
            method: &checked.method,
            path: &checked.path,
            query: &checked.query,
            headers: &checked.headers,
            body: checked.body.as_deref(),
        }
        .hash();
        let body = match checked.body {
            Some(body) if body.len() > INLINE_LIMIT => Some(self.keep_body(organization, body).await?),
            other => other.map(|body| Payload::Inline(body.into())),
        };
        let mut job = Job {
            execution_id,
            organization: organization.clone(),
            subject: principal.subject.clone(),
            key_id: principal.key_id.clone(),
            service: connector.key().clone(),
            account: account.id,
            account_label: account.label,
            module: checked.module,
            operation: checked.operation,
            manifest_digest: connector.digest().to_owned(),
            effect: checked.effect,
            method: checked.method,
            path: checked.path,
            query: checked.query,
            body,
            headers: checked.headers,
            request_hash,
            ticket: [0; 32],
            accepted_at: now,
            deadline,
            reply_to: (call.wait_ms != Some(0)).then(|| self.me.clone()),
            trace,
        };
        job.ticket = self.ticket(&job);
        Ok(job)
    }

    /// Proof that this job is the gateway's doing.
    pub(crate) fn ticket(&self, job: &Job) -> [u8; 32] {
        self.ticket_key.sign(TicketFacts {
            execution_id: &job.execution_id,
            organization: &job.organization,
            service: &job.service,
            account: &job.account,
            request_hash: &job.request_hash,
            deadline: job.deadline,
        })
    }

    async fn keep_body(&self, organization: &OrganizationId, body: Vec<u8>) -> Result<Payload, CallError> {
        let bytes = body.len() as u64;
        let id = self.blobs.put(organization, body.into()).await.map_err(|error| {
            CallError::overloaded("Large requests cannot be taken right now.", 1_000).because(error.to_string())
        })?;
        Ok(Payload::Blob { id, bytes })
    }

    /// A call whose line has waited for half of the time that it has would hardly make it; told now, its caller can do
    /// something else.
    fn admit(&self, job: &Job) -> Result<(), CallError> {
        let (ahead, left) = (self.queue.wait_ahead(job), self.clock.now().until(job.deadline));
        if ahead * 2 <= left || ahead.is_zero() {
            return Ok(());
        }
        let message = format!("Calls wait for {} s already, and this one has {} s.", ahead.as_secs(), left.as_secs());
        let fix = Fix::new(FixKind::Wait).hint(
            "Repeat it after retry_after_ms, or let it run in the background: wait_ms 0 and a later deadline_ms.",
        );
        Err(CallError::overloaded(message, u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX)).fix(fix).because(AGE))
    }

    /// To the queue, for a caller who waits.
    pub(crate) async fn hand_in(self: &Arc<Self>, job: &Arc<Job>) -> Result<(), CallError> {
        self.admit(job)?;
        self.enqueue(job).await
    }

    /// As [`Self::hand_in`], without asking whether it would be made in time.
    pub(crate) async fn enqueue(self: &Arc<Self>, job: &Arc<Job>) -> Result<(), CallError> {
        match self.publish(job.clone()).await {
            Ok(()) => Ok(()),
            // It may run, and from here on it is to.
            Err(QueueError::Unconfirmed(_)) => {
                self.hand_in_later(job.clone());
                Ok(())
            }
            Err(error) => Err(queue_away(&error)),
        }
    }

    async fn run_in_background(self: &Arc<Self>, job: Arc<Job>) -> Result<Answer, CallError> {
        let handle = running(&job, self.clock.now());
        self.enqueue(&job).await?;
        Ok(Answer::of(&handle))
    }

    pub(crate) async fn publish(&self, job: Arc<Job>) -> Result<(), QueueError> {
        failpoint("accepted_before_publish", job.execution_id.as_str());
        let began = Instant::now();
        let span = if_sampled(&job.trace, || info_span!(target: SPANS, "publish"));
        let published = self.queue.publish(job.clone()).instrument(span).await;
        self.meters.stages.record(Stage::Publish, began.elapsed());
        failpoint("after_publish_before_answer", job.execution_id.as_str());
        published
    }

    pub(crate) async fn run_and_wait(self: &Arc<Self>, job: Arc<Job>, wait: Duration) -> Result<Answer, CallError> {
        let _caller = self.callers.enter();
        let until_deadline = self.clock.now().until(job.deadline) + GRACE;
        let within = wait.min(until_deadline);
        let outcome = if job.effect == Effect::Read {
            let mut read = Box::pin(self.clone().read(job.clone()));
            let outcome = tokio::select! {
                biased;
                outcome = tokio::time::timeout(within, &mut read) => outcome.ok().transpose()?,
                () = self.parting.cancelled() => return Box::pin(self.hand_over(&job)).await,
            };
            if outcome.is_none() && wait < until_deadline {
                self.keep_when_done(job.clone(), read);
            }
            outcome
        } else {
            Box::pin(self.write(&job, within)).await?
        };
        match outcome {
            Some(outcome) => Ok(self.present(&job.organization, outcome).await),
            // The caller's patience, or this gateway, is over before the deadline: there is a handle, and the call goes on.
            None if wait < until_deadline || self.parting.is_cancelled() => {
                Ok(Answer::of(&running(&job, self.clock.now())))
            }
            None => Ok(Box::pin(self.settle(&job)).await),
        }
    }

    /// A read whose outcome would be known here alone, when this gateway ends: it is made again in the background, where
    /// executors keep the outcome. As an execution of its own, for the queue may know this one already, and takes none twice;
    /// and with as much time as the first had, or a slow vendor's answer would come too late for the second.
    async fn hand_over(self: &Arc<Self>, job: &Job) -> Result<Answer, CallError> {
        let deadline = self.clock.now().plus(job.accepted_at.until(job.deadline));
        let again = Job { trace: job.trace.clone(), ..self.anew(job.clone(), deadline) };
        self.run_in_background(Arc::new(again)).await
    }

    /// Runs a read: where there is a place for it now, else through the queue.
    pub(crate) async fn read(self: Arc<Self>, job: Arc<Job>) -> Result<Outcome, CallError> {
        let not_run = match self.express.clone().run(job.clone()).await {
            Ok(outcome) => return Ok(outcome),
            Err(not_run) => not_run,
        };
        let refused = |error: CallError| match not_run {
            NotRun::NotTaken => error,
            // Not here, and yet the vendor may have been asked by an executor that is gone.
            NotRun::Lost => error.outcome(EffectOutcome::Unknown, true),
        };
        let mut waiter = self.waiters.register(&job.execution_id);
        self.hand_in(&job).await.map_err(refused)?;
        match (waiter.outcome().await, not_run) {
            (Some(outcome), NotRun::NotTaken) => Ok(outcome),
            (Some(outcome), NotRun::Lost) => Ok(perhaps_sent(outcome)),
            (None, _) => Err(CallError::internal()),
        }
    }

    /// Executors journal what is not a read; the outcome of a read whose caller has left with a handle exists here only.
    fn keep_when_done(
        self: &Arc<Self>,
        job: Arc<Job>,
        read: impl Future<Output = Result<Outcome, CallError>> + Send + 'static,
    ) {
        // A stop waits for it, as it does for those who wait themselves.
        let (this, caller) = (self.clone(), self.callers.enter());
        tokio::spawn(async move {
            let _caller = caller;
            let left = this.clock.now().until(job.deadline) + GRACE;
            if let Ok(Ok(outcome)) = tokio::time::timeout(left, read).await
                && let Err(error) = this.journal.keep(&job, &outcome).await
            {
                tracing::warn!(%error, "the outcome of a read could not be kept");
            }
        });
    }

    /// The deadline has passed without a word. Only the journal can tell what may be said.
    async fn settle(&self, job: &Job) -> Answer {
        let unknown = |code, safe, message: &str| {
            let error = CallError::new(code, message).outcome(EffectOutcome::Unknown, safe).retryable(true);
            Answer::of(&about(Envelope::failed(error), job, self.clock.now()))
        };
        if job.effect == Effect::Read {
            let message = "No answer came before the deadline. It was a read: repeating it is safe.";
            self.tell_of(job, &never_started());
            return unknown(ErrorCode::DeadlineExceeded, true, message);
        }
        let begun = || {
            let message = "No answer came before the deadline. Whether the vendor did it is not known: look it up there, or ask again with `execution_id`.";
            unknown(ErrorCode::OutcomeUnknown, false, message)
        };
        let unsent = self.unsent(job, never_started());
        match self.journal.close(job, &unsent).await {
            Ok(Closed::Yes) => {
                self.tell_of(job, &never_started());
                self.present(&job.organization, unsent).await
            }
            // Whoever wrote the entry tells of it.
            Ok(Closed::AlreadyEnded(outcome)) => self.present(&job.organization, *outcome).await,
            Ok(Closed::IntentOpen) => begun(),
            Err(error) => {
                tracing::warn!(%error, execution_id = %job.execution_id, "the journal could not settle a call");
                begun()
            }
        }
    }

    /// The outcome of a call that sends nothing, for the journal to keep.
    pub(crate) fn unsent(&self, job: &Job, error: CallError) -> Outcome {
        let envelope = about(Envelope::failed(error), job, self.clock.now());
        Outcome {
            execution_id: job.execution_id.clone(),
            envelope: Answer::of(&envelope).json,
            data: None,
            stages: StageTimes::default(),
        }
    }
}

/// Of a call that nobody had begun when its deadline passed.
pub(crate) fn never_started() -> CallError {
    CallError::new(ErrorCode::DeadlineExceeded, "The deadline passed before the call was started. Nothing was sent.")
        .outcome(EffectOutcome::NotSent, true)
        .retryable(true)
}

/// The envelope of a call that goes on.
pub(crate) fn running(job: &Job, now: Millis) -> Envelope {
    about(Envelope::new(CallState::Running), job, now)
}

/// Fills in what is known about the call.
pub(crate) fn about(envelope: Envelope, job: &Job, now: Millis) -> Envelope {
    Envelope {
        execution_id: Some(job.execution_id.as_str().to_owned()),
        service: Some(job.service.as_str().to_owned()),
        module: Some(job.module.clone()),
        operation: job.operation.clone(),
        account: Some(AccountRef { id: job.account.as_str().to_owned(), label: job.account_label.clone() }),
        duration_ms: u64::try_from(now.0.saturating_sub(job.accepted_at.0)).ok(),
        ..envelope
    }
}

/// Of a request that is no call, and so has no line in the log by itself.
pub(crate) fn noted(error: CallError) -> CallError {
    tracing::warn!(code = error.code.as_str(), cause = error.cause.as_deref(), "a request could not be served");
    error
}

/// The journal did not answer, and nothing was published.
pub(crate) fn journal_away(error: &JournalError) -> CallError {
    CallError::overloaded("Calls cannot be taken right now.", 1_000).because(error.to_string())
}

pub(crate) fn auth_away(error: IdentityError) -> CallError {
    CallError::overloaded("Accounts cannot be looked up right now.", 1_000).because(error.to_string())
}

fn queue_away(error: &QueueError) -> CallError {
    match error {
        QueueError::Full => {
            CallError::overloaded("Too many calls of this organization are waiting. Slow down, then repeat.", 2_000)
                .because(BACKLOG)
        }
        QueueError::Unavailable(_) | QueueError::Closed => {
            CallError::overloaded("Calls cannot be taken right now.", 1_000).because(error.to_string())
        }
        QueueError::Unconfirmed(_) | QueueError::Unreadable(_) => CallError::internal().because(error.to_string()),
    }
}
