//! Failures that are not a vendor's answer, as callers see them.

use std::time::Duration;

use http::StatusCode;
use plugboard_core::egress::{EgressError, EgressErrorKind, EgressResponse, TimeoutPhase};
use plugboard_core::error::{CallError, EffectOutcome, ErrorCode, Fix, FixKind};
use plugboard_core::identity::IdentityError;
use plugboard_core::manifest::Effect;

use super::course::{Failed, is_repeatable};
use plugboard_core::broken::broken;

/// How long a caller is asked to wait when a part of ours is away. Milliseconds.
const SOON: u64 = 1_000;

/// A host that has not answered for this long is not well, whatever the caller's deadline.
const SLOW: Duration = Duration::from_secs(5);

pub(super) fn too_late() -> CallError {
    CallError::new(ErrorCode::DeadlineExceeded, "The deadline passed before the call could be made.").retryable(true)
}

pub(super) fn given_up(starts: u32) -> CallError {
    let message =
        format!("The call was started {starts} times and never came to an end. It was put aside for us to see.");
    CallError::new(ErrorCode::Internal, message)
}

pub(super) fn payload_lost() -> CallError {
    CallError::new(
        ErrorCode::Internal,
        "The body of this call is no longer stored. Nothing was sent; make the call again.",
    )
    .retryable(true)
}

pub(super) fn manifest_gone() -> CallError {
    let message = "The connector was changed while the call waited. Nothing was sent; make the call again.";
    CallError::new(ErrorCode::Internal, message).retryable(true)
}

/// The vendor answered, and we could not keep the answer.
pub(super) fn answer_lost(effect: Effect) -> CallError {
    let message = "The vendor answered, but the answer is too large to pass on and could not be stored.";
    CallError::new(ErrorCode::Internal, message)
        .retryable(effect == Effect::Read)
        .outcome(EffectOutcome::Applied, is_repeatable(effect))
}

/// Nobody can know what the vendor did.
pub(super) fn unknown(effect: Effect, detail: &str) -> CallError {
    let advice = match effect {
        Effect::Read | Effect::Idempotent => "Repeating it is safe.",
        Effect::Keyed | Effect::Once => "Look at the vendor whether it was done before you repeat it.",
    };
    CallError::new(ErrorCode::OutcomeUnknown, format!("{detail} Whether the vendor did it is not known. {advice}"))
        .retryable(is_repeatable(effect))
        .outcome(EffectOutcome::Unknown, is_repeatable(effect))
}

/// Why an account's fields cannot be had.
pub(super) fn of_identity(error: &IdentityError) -> CallError {
    let reconnect = |code, message: String| CallError::new(code, message).fix(Fix::new(FixKind::Reconnect));
    let told = match error {
        IdentityError::NotFound { .. } => {
            reconnect(ErrorCode::NotConnected, "The account is no longer connected.".to_owned())
        }
        IdentityError::NeedsReauth => {
            reconnect(ErrorCode::AccountExpired, "The account must be connected again.".to_owned())
        }
        IdentityError::Revoked => {
            reconnect(ErrorCode::AccountRevoked, "The account has been revoked. Nothing was sent.".to_owned())
        }
        IdentityError::VendorRefused { message } => reconnect(
            ErrorCode::AccountExpired,
            format!("The vendor refused to sign the account in: {}", crate::http::text::tidy(message)),
        ),
        IdentityError::VendorDown { .. } => {
            let mut error = CallError::new(
                ErrorCode::UpstreamUnreachable,
                "The vendor's sign-in does not answer. Nothing was sent.",
            );
            error.retry_after_ms = Some(SOON);
            error
        }
        IdentityError::Unavailable(_) => {
            CallError::overloaded("The account's credentials cannot be read at the moment. Nothing was sent.", SOON)
        }
        IdentityError::TicketRefused
        | IdentityError::KeyRefused
        | IdentityError::Exists { .. }
        | IdentityError::Conflict { .. }
        | IdentityError::Invalid { .. } => CallError::internal(),
    };
    told.because(reason(error).to_owned())
}

/// Another try may help: nothing is wrong with the account.
pub(super) fn is_passing(error: &IdentityError) -> bool {
    matches!(error, IdentityError::Unavailable(_) | IdentityError::VendorDown { .. })
}

/// For the log. What a vendor's sign-in said stays out of it.
pub(super) fn reason(error: &IdentityError) -> &str {
    match error {
        IdentityError::Unavailable(cause) => cause,
        IdentityError::VendorRefused { .. } => "the vendor refused the account",
        IdentityError::VendorDown { .. } => "the vendor's sign-in does not answer",
        IdentityError::NeedsReauth => "the account must be connected again",
        IdentityError::Revoked => "the account has been revoked",
        IdentityError::NotFound { .. } => "there is no such account",
        IdentityError::TicketRefused => "the ticket does not fit",
        IdentityError::KeyRefused
        | IdentityError::Exists { .. }
        | IdentityError::Conflict { .. }
        | IdentityError::Invalid { .. } => "an unfitting answer",
    }
}

/// Whether the host is well, as far as this answer tells.
pub(super) fn is_healthy(answer: &Result<EgressResponse, EgressError>, took: Duration) -> Option<bool> {
    let by_status = |status: StatusCode| {
        let unable = [StatusCode::NOT_IMPLEMENTED, StatusCode::HTTP_VERSION_NOT_SUPPORTED].contains(&status);
        Some(!status.is_server_error() || unable)
    };
    let error = match answer {
        Ok(answer) => return by_status(answer.status),
        Err(error) => error,
    };
    if let Some(status) = error.status() {
        return by_status(status);
    }
    match error.kind() {
        EgressErrorKind::Connect { .. } | EgressErrorKind::Broken => Some(false),
        EgressErrorKind::Timeout { phase: TimeoutPhase::Idle, .. } => Some(false),
        // A caller in a hurry says nothing about the host.
        EgressErrorKind::Timeout { .. } => (took >= SLOW).then_some(false),
        EgressErrorKind::Blocked { .. }
        | EgressErrorKind::BadUrl { .. }
        | EgressErrorKind::TooLarge { .. }
        | EgressErrorKind::Decode { .. } => None,
    }
}

/// The breaker is open.
pub(super) fn left_alone(host: &str, rest: Duration) -> CallError {
    let message = format!(
        "Half of your recent calls to {host} failed, so it is left alone for {} s. Nothing was sent.",
        rest.as_secs_f64().ceil()
    );
    let fix = Fix::new(FixKind::Wait).hint("Repeat the call after retry_after_ms.");
    let mut error = CallError::new(ErrorCode::CircuitOpen, message).retryable(true).fix(fix);
    error.retry_after_ms = Some(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX));
    error
}

/// Whether a refusal is about the request, so that a vendor that keeps keys has looked at the key: whoever is asked too
/// often, does not accept the credential, or is still at it (409) refuses before that.
pub(super) fn speaks_for_all_tries(error: &CallError) -> bool {
    let status = error.upstream.as_ref().map(|upstream| upstream.status);
    error.code == ErrorCode::UpstreamRejected && !matches!(status, Some(401 | 403 | 408 | 409 | 425 | 429))
}

/// Of a call whose time ran out: whether it is certain that no byte has left.
fn unsent(sent: bool) -> bool {
    !sent || broken("timeout_as_not_sent")
}

pub(super) fn kind_of(error: &EgressError) -> Failed {
    match error.kind() {
        EgressErrorKind::Blocked { .. } | EgressErrorKind::BadUrl { .. } => Failed::Blocked,
        EgressErrorKind::Timeout { sent, .. } if unsent(*sent) => Failed::Blocked,
        EgressErrorKind::Connect { .. } => Failed::Unsent,
        EgressErrorKind::Timeout { .. } | EgressErrorKind::Broken => Failed::Unclear,
        EgressErrorKind::TooLarge { .. } | EgressErrorKind::Decode { .. } => Failed::Answered,
    }
}

/// A call that brought no usable answer. `judged`: a 2xx alone does not make a success at this vendor.
pub(super) fn of_egress(error: &EgressError, effect: Effect, judged: bool) -> CallError {
    let host = error.host();
    match error.kind() {
        EgressErrorKind::Blocked { reason } => {
            CallError::new(ErrorCode::EgressBlocked, format!("Calls to {host} are not allowed: {reason}."))
        }
        EgressErrorKind::BadUrl { problem } => {
            CallError::new(ErrorCode::EgressBlocked, format!("The address cannot be called: {problem}."))
        }
        EgressErrorKind::Connect { stage } => CallError::new(
            ErrorCode::UpstreamUnreachable,
            format!("{host} cannot be reached: {stage}. Nothing was sent."),
        ),
        EgressErrorKind::Timeout { sent, .. } if unsent(*sent) => too_late(),
        EgressErrorKind::Timeout { phase, .. } if effect == Effect::Read => {
            let code = match phase {
                TimeoutPhase::Deadline => ErrorCode::DeadlineExceeded,
                TimeoutPhase::Idle => ErrorCode::UpstreamUnreachable,
            };
            unanswered(code, format!("{host} did not answer in time: {phase}."))
        }
        EgressErrorKind::Broken if effect == Effect::Read => {
            unanswered(ErrorCode::UpstreamUnreachable, format!("{host} closed the connection without an answer."))
        }
        EgressErrorKind::Timeout { phase, .. } => unknown(effect, &format!("{host} did not answer: {phase}.")),
        EgressErrorKind::Broken => unknown(effect, &format!("{host} closed the connection without an answer.")),
        EgressErrorKind::TooLarge { what, limit } => {
            let message = format!("The answer of {host} is too large ({what} over {limit}). Ask for less at once.");
            let error = CallError::new(ErrorCode::ResponseTooLarge, message).fix(Fix::new(FixKind::ChangeArgument));
            unusable(error, effect, judged)
        }
        EgressErrorKind::Decode { encoding } => {
            let message = format!("The answer of {host} is not valid {encoding}.");
            unusable(CallError::new(ErrorCode::UpstreamFailed, message).retryable(true), effect, judged)
        }
    }
}

fn unanswered(code: ErrorCode, message: String) -> CallError {
    CallError::new(code, message).retryable(true).outcome(EffectOutcome::Unknown, true)
}

/// The vendor answered 2xx with something that cannot be read.
fn unusable(error: CallError, effect: Effect, judged: bool) -> CallError {
    let outcome = if judged { EffectOutcome::Unknown } else { EffectOutcome::Applied };
    error.outcome(outcome, is_repeatable(effect))
}
