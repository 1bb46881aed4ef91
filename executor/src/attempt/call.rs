//! The tries of one call, up to its last word.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::poll;
use plugboard_core::clock::Millis;
use plugboard_core::egress::{Caps, EgressError, EgressRequest, EgressResponse, PoolClass, SentFlag};
use plugboard_core::error::{CallError, EffectOutcome, ErrorCode};
use plugboard_core::event_loops;
use plugboard_core::failpoint::failpoint;
use plugboard_core::job::{Job, LimitUse, Page};
use plugboard_core::manifest::{Connector, Effect};
use plugboard_core::secret::AccountFields;
use plugboard_core::telemetry::CallTrace;
use plugboard_core::telemetry::metrics::{Stage, Stopwatch};
use tokio::time::Instant;
use tracing::Instrument;
use zeroize::Zeroizing;

use super::course::{Course, Next, is_repeatable};
use super::prepare::{Ready, grant};
use super::settle::Desk;
use super::{failure, limits, trace};
use crate::Deps;
use crate::chance;
use crate::http::request::{Outgoing, Parts, build, operation_of};
use crate::http::response::{About, Answer, Shaped, shape};
use crate::http::success::rule_of;
use crate::lines::Line;
use crate::scrub::Scrubber;
use crate::transport::signature;

/// From this size on an answer is shaped where it does not hold up other calls. Bytes.
const LARGE: usize = 1 << 20;

/// Time to write down and carry back what the vendor said, or that it said nothing.
const WAY_BACK: Duration = Duration::from_millis(50);

/// For this long what the auth service said of an account is not asked for again before a byte is sent.
const STILL_SURE: Duration = Duration::from_millis(100);

/// How a call ended, before it is written down.
#[derive(Debug)]
pub(super) struct Called {
    /// The vendor's HTTP status.
    pub(super) status: Option<u16>,
    pub(super) data: Option<Bytes>,
    pub(super) page: Option<Page>,
    pub(super) error: Option<CallError>,
    /// Requests of which a byte may have left; `None` when other starts may have made some.
    pub(super) attempts: Option<u32>,
    pub(super) limits: Option<LimitUse>,
}

impl Called {
    pub(super) fn failed(error: CallError) -> Self {
        let attempts = (error.outcome == EffectOutcome::NotSent).then_some(0);
        Self { status: None, data: None, page: None, error: Some(error), attempts, limits: None }
    }

    /// Nothing of the whole execution left the building.
    pub(super) fn nothing_sent(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.outcome == EffectOutcome::NotSent)
    }
}

/// A random part of `most`, a quarter at least.
pub(super) fn jitter(most: Duration) -> Duration {
    most.mul_f64(0.25 + 0.75 * chance::fraction())
}

/// Makes the call. For everything but a `read` the intent must be held. `followed`: an earlier start may have made it.
pub(super) async fn call(desk: &Desk<'_>, followed: bool, ready: Ready) -> Called {
    let Desk { deps, job, watch, trace, .. } = desk;
    let Ready { connector, body, fields, resolved_at, outgoing, limits, slot: _slot } = ready;
    let resolved_at = Some(resolved_at);
    let left = deps.clock.now().until(job.deadline);
    let deadline = Instant::now() + left.saturating_sub(WAY_BACK.min(left / 4));
    let course = Course::new(job.effect, followed, is_refreshable(&connector, &fields));
    let line = deps.lines.of(&job.organization, &job.service, outgoing.url.host_str().unwrap_or_default());
    line.earn();
    let mut tries = Tries {
        deps,
        job,
        connector: &connector,
        body,
        fields,
        resolved_at,
        deadline,
        course,
        attempts: 0,
        limits,
        line,
        watch,
        trace,
    };
    let mut called = tries.run(outgoing).await;
    called.attempts = Some(tries.attempts);
    called.limits = tries.limits.take();
    if let Some(error) = &mut called.error {
        tries.reconcile(error);
    }
    called
}

/// There is a way to a new token: a grant of the manifest, or a person who has signed in.
fn is_refreshable(connector: &Connector, fields: &AccountFields) -> bool {
    let signs_in = || connector.manifest().auth.flows.iter().any(|flow| flow.oauth.is_some());
    connector.transport().token_url.is_some() || (fields.token.is_some() && signs_in())
}

struct Tries<'a> {
    deps: &'a Deps,
    job: &'a Job,
    connector: &'a Arc<Connector>,
    body: Option<Bytes>,
    fields: Arc<AccountFields>,
    /// When the fields were asked for last; `None`: they are in doubt.
    resolved_at: Option<Instant>,
    deadline: Instant,
    course: Course,
    attempts: u32,
    /// The turn that the next try has taken.
    limits: Option<LimitUse>,
    line: Arc<Line>,
    watch: &'a Stopwatch<'a>,
    trace: &'a CallTrace<'a>,
}

/// After one try.
enum After {
    Ended(Called),
    /// The same request again, after a random part of this.
    Again(Duration),
    /// The same request again, when the vendor wants to hear from us.
    AgainAt(Instant, Shaped),
    Refused(Shaped),
    /// Before a byte left it was no longer certain that the account may be used.
    Doubted,
}

impl Tries<'_> {
    /// Whether the account may still be used, and as the request has it. A revocation that came since the fields were
    /// resolved must find this call before its first byte does.
    async fn look_again(&mut self) -> Result<bool, Box<Called>> {
        if self.resolved_at.is_some_and(|at| at.elapsed() < STILL_SURE) {
            return Ok(true);
        }
        let grant = grant(self.job, false);
        if self.deps.vault.holds(&grant, &self.fields) {
            return Ok(true);
        }
        let fields = match self.deps.vault.resolve(&grant).await {
            Ok(fields) => fields,
            Err(error) => return Err(Box::new(Called::failed(failure::of_identity(&error)))),
        };
        self.resolved_at = Some(Instant::now());
        let same = fields.same_as(&self.fields);
        self.fields = fields;
        Ok(same)
    }

    /// Comes back when, with nothing sent yet, the fields are no longer known to be good: while a connection is being
    /// made there is time for a revocation.
    async fn doubt(&self, sent: &SentFlag) {
        let grant = grant(self.job, false);
        loop {
            tokio::time::sleep(STILL_SURE).await;
            if sent.get() {
                return std::future::pending().await;
            }
            if self.deps.vault.holds(&grant, &self.fields) {
                continue;
            }
            match self.deps.vault.resolve(&grant).await {
                // Asked just now, and unchanged: good for another while.
                Ok(fields) if fields.same_as(&self.fields) => {}
                _ if sent.get() => return std::future::pending().await,
                _ => return,
            }
        }
    }

    async fn run(&mut self, first: Box<Outgoing>) -> Called {
        let mut next = Some(first);
        loop {
            match self.look_again().await {
                Ok(true) => {}
                // The account has changed since the request was built.
                Ok(false) => next = None,
                Err(called) => return *called,
            }
            // Rebuilt only for a repeat: the usual call pays for no copy.
            let outgoing = match next.take() {
                Some(outgoing) => outgoing,
                None => match self.rebuild() {
                    Ok(outgoing) => Box::new(outgoing),
                    Err(error) => return Called::failed(error),
                },
            };
            match self.once(outgoing).await {
                After::Ended(called) => return called,
                After::Again(wait) => {
                    self.deps.meters.repeats.increment(1);
                    tokio::time::sleep(jitter(wait)).await;
                    if let Err(called) = self.take_turn().await {
                        return called;
                    }
                }
                After::AgainAt(at, shaped) => {
                    tokio::time::sleep_until(at).await;
                    // Without a turn in time, what the vendor said is the answer.
                    if self.take_turn().await.is_err() {
                        return ended(shaped);
                    }
                    self.deps.meters.repeats.increment(1);
                }
                // Nothing was sent; the next look tells what has become of the account.
                After::Doubted => self.resolved_at = None,
                After::Refused(shaped) => {
                    if !self.course.may_refresh() {
                        return ended(shaped);
                    }
                    // Boxed: it is rare, and every call would carry its size.
                    if let Err(called) = Box::pin(self.refresh(shaped)).await {
                        return called;
                    }
                }
            }
        }
    }

    /// For a repeat; the first try's turn was taken before anything else.
    async fn take_turn(&mut self) -> Result<(), Called> {
        self.resolved_at = None;
        let left = self.deadline.saturating_duration_since(Instant::now());
        match limits::turn(self.deps, self.connector, self.job, limits::patience(self.job, left)).await {
            Ok(limits) => {
                self.limits = limits;
                Ok(())
            }
            Err(too_long) => Err(Called::failed(too_long.refuse(self.deps, self.job))),
        }
    }

    async fn once(&mut self, mut outgoing: Box<Outgoing>) -> After {
        let pass = match self.line.enter() {
            Ok(pass) => pass,
            Err(rest) => return After::Ended(Called::failed(failure::left_alone(&self.line.host, rest))),
        };
        let mut step = trace::of_request(self.trace, self.attempts);
        if self.connector.manifest().transport.trace {
            trace::send(&mut step, &mut outgoing.headers);
        }
        let sent = SentFlag::default();
        let Outgoing { method, url, headers, body, binding, derived } = *outgoing;
        let request = Box::new(EgressRequest {
            method,
            url,
            headers,
            body,
            deadline: self.deadline,
            // A connection that the other side closed in silence would leave a `once` call's outcome unknown.
            pool: if self.job.effect == Effect::Once { PoolClass::Fresh } else { PoolClass::Shared },
            caps: Caps::default(),
            binding,
            sent: sent.clone(),
        });
        let began = Instant::now();
        let mut sending = pin!(self.deps.upstream.send(request).instrument(step.span()));
        let answer = match poll!(sending.as_mut()) {
            Poll::Ready(answer) => answer,
            // On a connection that was there the request is out by now.
            Poll::Pending if sent.get() => {
                failpoint("sent_before_answer", self.job.execution_id.as_str());
                sending.await
            }
            Poll::Pending => tokio::select! {
                biased;
                answer = sending => answer,
                () = self.doubt(&sent) => {
                    // The request is dropped; if it got under way in this very moment, it counts as sent.
                    if !sent.get() {
                        return After::Doubted;
                    }
                    self.attempts += 1;
                    return self.given_up();
                }
            },
        };
        self.watch.record(Stage::Vendor, began.elapsed());
        trace::ended(step, &answer);
        if sent.get() {
            self.attempts += 1;
        }
        if let Some(healthy) = failure::is_healthy(&answer, began.elapsed()) {
            pass.report(healthy);
        }
        match answer {
            Ok(answer) => self.answered(&answer, derived).await,
            Err(error) => self.unanswered(&error, derived).await,
        }
    }

    /// Dropped with a byte perhaps sent.
    fn given_up(&mut self) -> After {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.course.after(super::course::Failed::Unclear, left) {
            Next::Again(wait) => After::Again(wait),
            Next::End => After::Ended(Called::failed(failure::unknown(
                self.job.effect,
                "The call was stopped while it began, because the account may not be used any more.",
            ))),
        }
    }

    async fn answered(&mut self, answer: &EgressResponse, derived: Vec<Zeroizing<String>>) -> After {
        let shaped = match answer.body.len() {
            // Boxed: it is rare, and every call would carry its size.
            LARGE.. => Box::pin(self.shape_aside(answer, derived)).await,
            _ => self.shaping().shape(as_it_came(answer), &derived),
        };
        if shaped.credential_refused {
            return After::Refused(shaped);
        }
        self.limited(shaped).await
    }

    /// A vendor that is asked too often has done nothing: the call waits as long as it is told to, if there is time.
    async fn limited(&mut self, shaped: Shaped) -> After {
        let Some(error) = shaped.error.as_ref().filter(|error| error.code == ErrorCode::UpstreamRateLimited) else {
            return After::Ended(ended(shaped));
        };
        let asked = error.retry_after_ms.map(Duration::from_millis);
        limits::rest(self.deps, self.connector, self.job, asked).await;
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        match self.course.limited(asked, limits::patience(self.job, left)) {
            Some(wait) if self.line.may_repeat() => After::AgainAt(now + wait, shaped),
            _ => After::Ended(ended(shaped)),
        }
    }

    async fn unanswered(&mut self, error: &EgressError, derived: Vec<Zeroizing<String>>) -> After {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // The head of an answer that is a refusal says enough without its body.
        if let Some(head) = error.head()
            && !head.status.is_success()
        {
            let answer = Answer { status: head.status.as_u16(), headers: &head.headers, body: &Bytes::new() };
            let shaped = self.shaping().shape(answer, &derived);
            return self.limited(shaped).await;
        }
        tracing::debug!(%error, "a call brought no answer");
        match self.course.after(failure::kind_of(error), left) {
            Next::Again(wait) if self.line.may_repeat() => After::Again(wait),
            Next::Again(_) | Next::End => {
                let operation = operation_of(self.connector, self.job).unwrap_or_default();
                let judged = rule_of(self.connector, operation).is_some();
                let mut called = Called::failed(failure::of_egress(error, self.job.effect, judged));
                called.status = error.status().map(|status| status.as_u16());
                After::Ended(called)
            }
        }
    }

    fn shaping(&self) -> Shaping<'_> {
        Shaping {
            connector: self.connector,
            job: self.job,
            body: self.body.as_ref(),
            fields: &self.fields,
            now: self.deps.clock.now(),
        }
    }

    /// What takes many milliseconds would hold up the other calls of this thread. Of a job's size next to such an answer's
    /// nobody takes note.
    async fn shape_aside(&self, answer: &EgressResponse, derived: Vec<Zeroizing<String>>) -> Shaped {
        let (connector, job, body) = (self.connector.clone(), self.job.clone(), self.body.clone());
        let (fields, now, answer) = (self.fields.clone(), self.deps.clock.now(), answer.clone());
        event_loops::aside_blocking(move || {
            let shaping = Shaping { connector: &connector, job: &job, body: body.as_ref(), fields: &fields, now };
            shaping.shape(as_it_came(&answer), &derived)
        })
        .await
    }

    /// Gets a new token after a refusal. A 401 means that nothing was done, so even a `once` call may be repeated.
    async fn refresh(&mut self, shaped: Shaped) -> Result<(), Called> {
        match self.deps.vault.resolve(&grant(self.job, true)).await {
            Ok(fields) => {
                self.fields = fields;
                self.resolved_at = Some(Instant::now());
                Ok(())
            }
            // The account is not to blame for our own trouble.
            Err(error) if failure::is_passing(&error) => {
                let mut called = ended(shaped);
                let error = failure::of_identity(&error).outcome(EffectOutcome::Rejected, true);
                called.error = Some(error);
                Err(called)
            }
            Err(_) => Err(ended(shaped)),
        }
    }

    fn rebuild(&self) -> Result<Outgoing, CallError> {
        let parts = Parts {
            connector: self.connector,
            job: self.job,
            body: self.body.as_ref(),
            fields: &self.fields,
            idempotency_root: &self.deps.idempotency_root,
            stamp: signature::stamp(self.connector, &*self.deps.clock),
        };
        build(&parts).map_err(CallError::from)
    }

    /// The last try's words must hold for all of them.
    fn reconcile(&self, error: &mut CallError) {
        let effect = self.job.effect;
        let outcome = self.course.outcome(error.outcome, failure::speaks_for_all_tries(error));
        if outcome == error.outcome {
            return;
        }
        if outcome == EffectOutcome::Unknown && error.outcome == EffectOutcome::NotSent && effect != Effect::Read {
            let first = "An earlier try brought no answer, and later ones did not get through.";
            *error = failure::unknown(effect, first);
            return;
        }
        if outcome == EffectOutcome::Unknown {
            error.safe_to_retry = is_repeatable(effect);
            if error.code != ErrorCode::OutcomeUnknown && effect != Effect::Read {
                error.message.push_str(" An earlier try that brought no answer may have done it.");
            }
        }
        error.outcome = outcome;
    }
}

fn ended(shaped: Shaped) -> Called {
    let Shaped { status, data, page, error, .. } = shaped;
    Called { status: Some(status), data, page, error, attempts: None, limits: None }
}

fn as_it_came(answer: &EgressResponse) -> Answer<'_> {
    Answer { status: answer.status.as_u16(), headers: &answer.headers, body: &answer.body }
}

/// What it takes to tell what an answer means.
struct Shaping<'a> {
    connector: &'a Connector,
    job: &'a Job,
    body: Option<&'a Bytes>,
    fields: &'a Arc<AccountFields>,
    now: Millis,
}

impl Shaping<'_> {
    fn shape(&self, answer: Answer<'_>, derived: &[Zeroizing<String>]) -> Shaped {
        let Self { connector, job, body, fields, now } = *self;
        // Making the forms of a secret costs more than looking for them in a short answer.
        let scrubber = match derived.is_empty() {
            true => fields.prepared(|fields| Scrubber::new(fields.secrets())),
            false => Arc::new(Scrubber::new(fields.secrets().chain(derived.iter().map(|text| text.as_str())))),
        };
        let operation = operation_of(connector, job).unwrap_or_default();
        shape(&About { connector, operation, job, body, now }, &scrubber, answer)
    }
}
