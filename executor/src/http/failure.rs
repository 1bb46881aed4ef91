//! A vendor's refusal or failure, told in our words.

use http::HeaderMap;
use http::header::LOCATION;
use plugboard_core::clock::Millis;
use plugboard_core::error::{CallError, EffectOutcome, ErrorCode, Fix, FixKind, UpstreamError};
use plugboard_core::manifest::{Connector, Effect, ErrorMeaning, ErrorRules};
use serde_json::Value;
use url::Url;

use super::pick::{At, Picks, Query};
use super::retry_after;
use super::text::{clip, tidy};

/// What of the vendor's body goes into an error. Bytes.
const MAX_BODY: usize = 4 * 1024;
/// A plain-text body up to this size is a message. Bytes.
const MAX_PLAIN: usize = 300;

/// The places of an answer that tell what went wrong.
pub(crate) struct Places {
    message: Vec<At>,
    code: Vec<At>,
    retry_after: Vec<At>,
}

impl Places {
    pub(crate) fn new<'c>(rules: &'c ErrorRules, query: &mut Query<'c>) -> Self {
        let mut all = |pointers: &'c [String]| pointers.iter().map(|pointer| query.value(pointer)).collect();
        Self { message: all(&rules.message), code: all(&rules.code), retry_after: all(&rules.retry_after_pointers) }
    }
}

/// An answer that is not a success, already scrubbed.
#[derive(Clone, Copy)]
pub(crate) struct Refusal<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) effect: Effect,
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) places: &'a Places,
    pub(crate) picks: &'a Picks,
    /// `None` for a binary or empty body.
    pub(crate) body: Option<&'a str>,
    pub(crate) json: bool,
    pub(crate) now: Millis,
}

/// The error, and whether the vendor refused the credential itself.
pub(crate) fn tell(refusal: &Refusal<'_>) -> (CallError, bool) {
    let Refusal { connector, effect, status, picks, places, .. } = *refusal;
    let code = places.code.iter().find_map(|at| picks.value(*at).and_then(scalar));
    let mapped = connector.manifest().errors.meaning(status, code.as_deref());
    if (300..400).contains(&status) && mapped.is_none() {
        return (redirected(refusal), false);
    }
    let meaning = mapped.unwrap_or(match status {
        401 => ErrorMeaning::AccountExpired,
        429 => ErrorMeaning::RateLimited,
        500.. => ErrorMeaning::Failed,
        _ => ErrorMeaning::Rejected,
    });
    let message = sentence(refusal, code.as_deref());
    let mut error = match meaning {
        ErrorMeaning::AccountExpired => CallError::new(ErrorCode::AccountExpired, message)
            .fix(Fix::new(FixKind::Reconnect).hint("Connect the account again with a valid credential.")),
        ErrorMeaning::ScopeMissing => CallError::new(ErrorCode::ScopeMissingAtVendor, message).fix(
            Fix::new(FixKind::AddScope)
                .hint(format!("Give the credential this permission at {}.", connector.manifest().name)),
        ),
        ErrorMeaning::RateLimited => rate_limited(refusal, message),
        ErrorMeaning::Rejected => {
            let mut error = CallError::new(ErrorCode::UpstreamRejected, message);
            error.retryable = matches!(status, 408 | 425);
            error.fix = matches!(status, 400 | 422).then(|| Fix::new(FixKind::ChangeArgument));
            error
        }
        ErrorMeaning::Failed => {
            let mut error = CallError::new(ErrorCode::UpstreamFailed, message);
            error.retryable = !matches!(status, 501 | 505);
            error.retry_after_ms = wait(refusal);
            error
        }
    };
    (error.outcome, error.safe_to_retry) = match meaning {
        ErrorMeaning::Failed => after_failure(effect),
        _ => (EffectOutcome::Rejected, true),
    };
    error.upstream = Some(UpstreamError { status, code, body: quoted(refusal) });
    (error, meaning == ErrorMeaning::AccountExpired)
}

/// A vendor that fails may have done it first. A read has nothing to do; an idempotent call may be repeated. A keyed
/// one may not be repeated by the caller: a new call carries a new key.
fn after_failure(effect: Effect) -> (EffectOutcome, bool) {
    match effect {
        Effect::Read => (EffectOutcome::Rejected, true),
        Effect::Idempotent => (EffectOutcome::Unknown, true),
        Effect::Keyed | Effect::Once => (EffectOutcome::Unknown, false),
    }
}

fn rate_limited(refusal: &Refusal<'_>, message: String) -> CallError {
    let mut error = CallError::new(ErrorCode::UpstreamRateLimited, message).retryable(true);
    error.retry_after_ms = wait(refusal);
    error.fix(Fix::new(FixKind::Wait))
}

fn wait(refusal: &Refusal<'_>) -> Option<u64> {
    let pointed = refusal.places.retry_after.iter().filter_map(|at| refusal.picks.value(*at));
    retry_after::read(refusal.headers, &refusal.connector.manifest().errors, pointed, refusal.now)
}

/// Following a redirect would carry the credential, or the effect, somewhere nobody reviewed.
fn redirected(refusal: &Refusal<'_>) -> CallError {
    let host = refusal
        .headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| Url::parse(text).ok())
        .and_then(|url| url.host_str().map(str::to_owned));
    let place = match host {
        Some(host) => format!("to host {host}"),
        None => "on the same host".to_owned(),
    };
    let name = &refusal.connector.manifest().name;
    let message = format!("{name} answered {} and redirects {place}. Redirects are not followed.", refusal.status);
    let mut error = CallError::new(ErrorCode::UpstreamRejected, message);
    // Many a form answers a successful POST with a redirect.
    (error.outcome, error.safe_to_retry) = after_failure(refusal.effect);
    error.upstream = Some(UpstreamError { status: refusal.status, code: None, body: None });
    error
}

fn sentence(refusal: &Refusal<'_>, code: Option<&str>) -> String {
    let Refusal { connector, status, places, picks, .. } = *refusal;
    let said = places.message.iter().find_map(|at| picks.value(*at)).map(words).filter(|said| !said.is_empty());
    let said = said.or_else(|| plain(refusal)).or_else(|| code.map(tidy)).unwrap_or_default();
    let name = &connector.manifest().name;
    match (said.is_empty(), status) {
        (true, _) => format!("{name} answered {status}."),
        (false, 200..300) => format!("{name} answered with an error: {said}"),
        (false, _) => format!("{name} answered {status}: {said}"),
    }
}

/// A short text that is no page of HTML.
fn plain(refusal: &Refusal<'_>) -> Option<String> {
    let text = refusal.body.filter(|body| !refusal.json && body.len() <= MAX_PLAIN)?.trim();
    (!text.is_empty() && !text.starts_with('<')).then(|| tidy(text))
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => tidy(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            tidy(&items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "))
        }
        other => tidy(&other.to_string()),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(clip(text, 200).to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The vendor's body, whole if it is small.
fn quoted(refusal: &Refusal<'_>) -> Option<Value> {
    let body = refusal.body?;
    if refusal.json && body.len() <= MAX_BODY {
        return serde_json::from_str(body).ok();
    }
    Some(Value::String(clip(body, MAX_BODY).to_owned()))
}
