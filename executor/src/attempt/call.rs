//! The tries of one call, up to its last word.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plugboard_core::egress::{Caps, EgressError, EgressRequest, EgressResponse, PoolClass, SentFlag};
use plugboard_core::error::{CallError, EffectOutcome, ErrorCode};
use plugboard_core::job::{Job, Page};
use plugboard_core::manifest::{Connector, Effect};
use plugboard_core::secret::AccountFields;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::course::{Course, Next, is_repeatable};
use super::failure;
use super::prepare::{Ready, grant};
use crate::Deps;
use crate::http::request::{Outgoing, Parts, build, operation_of};
use crate::http::response::{About, Answer, Shaped, shape};
use crate::http::success::rule_of;
use crate::scrub::Scrubber;

/// From this size on an answer is shaped where it does not hold up other calls. Bytes.
const LARGE: usize = 1 << 20;

/// Time to write down and carry back what the vendor said, or that it said nothing.
const WAY_BACK: Duration = Duration::from_millis(50);

/// How a call ended, before it is written down.
#[derive(Debug)]
pub(super) struct Called {
    /// The vendor's HTTP status.
    pub(super) status: Option<u16>,
    pub(super) data: Option<Bytes>,
    pub(super) page: Option<Page>,
    pub(super) error: Option<Box<CallError>>,
    /// Requests of which a byte may have left; `None` when other starts may have made some.
    pub(super) attempts: Option<u32>,
}

impl Called {
    pub(super) fn failed(error: CallError) -> Self {
        let attempts = (error.outcome == EffectOutcome::NotSent).then_some(0);
        Self { status: None, data: None, page: None, error: Some(Box::new(error)), attempts }
    }

    /// Nothing of the whole execution left the building.
    pub(super) fn nothing_sent(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.outcome == EffectOutcome::NotSent)
    }
}

/// A random part of `most`.
pub(super) fn jitter(most: Duration) -> Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(rand::random_range(millis / 4..=millis))
}

/// Makes the call. For everything but a `read` the intent must be held.
pub(super) async fn call(deps: &Deps, job: &Job, starts: u32, ready: Ready) -> Called {
    let Ready { connector, body, fields, outgoing } = ready;
    let left = deps.clock.now().until(job.deadline);
    let deadline = Instant::now() + left.saturating_sub(WAY_BACK.min(left / 4));
    let course = Course::new(job.effect, starts, is_refreshable(&connector, &fields));
    let mut tries = Tries { deps, job, connector: &connector, body, fields, deadline, course, attempts: 0 };
    let mut called = tries.run(outgoing).await;
    called.attempts = Some(tries.attempts);
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
    connector: &'a Connector,
    body: Option<Bytes>,
    fields: Arc<AccountFields>,
    deadline: Instant,
    course: Course,
    attempts: u32,
}

/// After one try.
enum After {
    Ended(Called),
    /// The same request again, after a random part of this.
    Again(Duration),
    Refused(Shaped),
}

impl Tries<'_> {
    async fn run(&mut self, first: Outgoing) -> Called {
        let mut next = Some(first);
        loop {
            // Rebuilt only for a repeat: the usual call pays for no copy.
            let outgoing = match next.take() {
                Some(outgoing) => outgoing,
                None => match self.rebuild() {
                    Ok(outgoing) => outgoing,
                    Err(error) => return Called::failed(*error),
                },
            };
            match self.once(outgoing).await {
                After::Ended(called) => return called,
                After::Again(wait) => tokio::time::sleep(jitter(wait)).await,
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

    async fn once(&mut self, outgoing: Outgoing) -> After {
        let Outgoing { method, url, headers, body, binding, derived } = outgoing;
        let sent = SentFlag::default();
        let request = EgressRequest {
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
        };
        let began = Instant::now();
        let answer = self.deps.egress.send(request).await;
        metrics::histogram!("executor_upstream_ms").record(began.elapsed().as_secs_f64() * 1000.0);
        if sent.get() {
            self.attempts += 1;
        }
        match answer {
            Ok(answer) => self.answered(&answer, derived),
            Err(error) => self.unanswered(&error, derived),
        }
    }

    fn answered(&self, answer: &EgressResponse, derived: Option<Zeroizing<String>>) -> After {
        let answer = Answer { status: answer.status.as_u16(), headers: &answer.headers, body: &answer.body };
        let shaped = if answer.body.len() >= LARGE {
            aside(|| self.shape(answer, derived))
        } else {
            self.shape(answer, derived)
        };
        if shaped.credential_refused { After::Refused(shaped) } else { After::Ended(ended(shaped)) }
    }

    fn unanswered(&mut self, error: &EgressError, derived: Option<Zeroizing<String>>) -> After {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // The head of an answer that is a refusal says enough without its body.
        if let Some(head) = error.head()
            && !head.status.is_success()
        {
            let answer = Answer { status: head.status.as_u16(), headers: &head.headers, body: &Bytes::new() };
            return After::Ended(ended(self.shape(answer, derived)));
        }
        tracing::debug!(%error, "a call brought no answer");
        match self.course.after(failure::kind_of(error), left) {
            Next::Again(wait) => After::Again(wait),
            Next::End => {
                let operation = operation_of(self.connector, self.job).unwrap_or_default();
                let judged = rule_of(self.connector, operation).is_some();
                let mut called = Called::failed(failure::of_egress(error, self.job.effect, judged));
                called.status = error.status().map(|status| status.as_u16());
                After::Ended(called)
            }
        }
    }

    fn shape(&self, answer: Answer<'_>, derived: Option<Zeroizing<String>>) -> Shaped {
        // Making the forms of a secret costs more than looking for them in a short answer.
        let scrubber = match derived {
            None => self.fields.prepared(|fields| Scrubber::new(fields.secrets())),
            Some(derived) => Arc::new(Scrubber::new(self.fields.secrets().chain([derived.as_str()]))),
        };
        let about = About {
            connector: self.connector,
            operation: operation_of(self.connector, self.job).unwrap_or_default(),
            job: self.job,
            body: self.body.as_ref(),
            now: self.deps.clock.now(),
        };
        shape(&about, &scrubber, answer)
    }

    /// Gets a new token after a refusal. A 401 means that nothing was done, so even a `once` call may be repeated.
    async fn refresh(&mut self, shaped: Shaped) -> Result<(), Called> {
        match self.deps.vault.resolve(&grant(self.job, true)).await {
            Ok(fields) => {
                self.fields = fields;
                Ok(())
            }
            // The account is not to blame for our own trouble.
            Err(error) if failure::is_passing(&error) => {
                tracing::warn!(reason = failure::reason(&error), "a refused token could not be replaced");
                let mut called = ended(shaped);
                let error = failure::of_identity(&error).outcome(EffectOutcome::Rejected, true);
                called.error = Some(Box::new(error));
                Err(called)
            }
            Err(_) => Err(ended(shaped)),
        }
    }

    fn rebuild(&self) -> Result<Outgoing, Box<CallError>> {
        let parts = Parts {
            connector: self.connector,
            job: self.job,
            body: self.body.as_ref(),
            fields: &self.fields,
            idempotency_root: &self.deps.idempotency_root,
        };
        build(&parts).map_err(|error| Box::new(error.into()))
    }

    /// The last try's words must hold for all of them.
    fn reconcile(&self, error: &mut CallError) {
        let effect = self.job.effect;
        let outcome = self.course.outcome(error.outcome);
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
    Called { status: Some(status), data, page, error, attempts: None }
}

/// Runs work of many milliseconds without holding up the other tasks of this thread, where the runtime can do that.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}
