//! Refusals as RFC 9457 problem documents, and the one table from error codes to HTTP statuses.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::identity::IdentityError;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::{ErrorCodeSchema, FixSchema};
use crate::principal::KeyProblem;

/// Longest piece of a request that a refusal repeats.
const SHOWN: usize = 100;

/// The HTTP status of each code.
pub(super) fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::AuthRequired => StatusCode::UNAUTHORIZED,
        ErrorCode::AuthPermissionDenied | ErrorCode::AdminOnly | ErrorCode::PolicyDenied | ErrorCode::EgressBlocked => {
            StatusCode::FORBIDDEN
        }
        ErrorCode::UnknownService | ErrorCode::UnknownModule | ErrorCode::UnknownOperation => StatusCode::NOT_FOUND,
        ErrorCode::NotConnected
        | ErrorCode::AccountAmbiguous
        | ErrorCode::AccountExpired
        | ErrorCode::AccountRevoked
        | ErrorCode::ScopeMissingAtVendor
        | ErrorCode::ApprovalPending
        | ErrorCode::IdempotencyConflict
        | ErrorCode::Cancelled => StatusCode::CONFLICT,
        ErrorCode::RateLimited | ErrorCode::UpstreamRateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::UpstreamRejected
        | ErrorCode::UpstreamFailed
        | ErrorCode::UpstreamUnreachable
        | ErrorCode::ResponseTooLarge
        | ErrorCode::OutcomeUnknown => StatusCode::BAD_GATEWAY,
        ErrorCode::Overloaded | ErrorCode::CircuitOpen => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {}", .0.code, .0.detail)]
pub(crate) struct Problem(Box<Document>);

/// What every refusal looks like (`application/problem+json`, RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The HTTP status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and what would be right.
    detail: String,
    #[schema(value_type = ErrorCodeSchema)]
    code: ErrorCode,
    /// The field, parameter or header at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FixSchema>)]
    fix: Option<Fix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// `WWW-Authenticate`.
    #[serde(skip)]
    #[schema(ignore)]
    challenge: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let document = Document {
            kind: "about:blank",
            title: "",
            status: 0,
            detail: detail.into(),
            code,
            field: None,
            fix: None,
            retry_after_ms: None,
            challenge: None,
        };
        Self(Box::new(document)).status(status_of(code))
    }

    /// For what HTTP tells apart more finely than codes do.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self.0.title = status.canonical_reason().unwrap_or("Error");
        self
    }

    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    pub(super) fn fix(mut self, fix: Fix) -> Self {
        self.0.fix = Some(fix);
        self
    }

    fn challenge(mut self, challenge: impl Into<String>) -> Self {
        self.0.challenge = Some(challenge.into());
        self
    }

    /// What was asked may be fine; it cannot be told now.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.0.status == StatusCode::SERVICE_UNAVAILABLE.as_u16()
    }

    /// A wrong field of the request.
    pub(super) fn argument(field: impl Into<String>, detail: impl Into<String>) -> Self {
        CallError::argument(field, detail).into()
    }

    /// A body that cannot be read at all.
    pub(super) fn body(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, detail).status(status)
    }

    /// Absent, or of another organization: the caller cannot tell which.
    pub(super) fn absent(what: &str) -> Self {
        Self::new(ErrorCode::InvalidArgument, format!("There is no such {what}.")).status(StatusCode::NOT_FOUND)
    }

    pub(super) fn no_route(path: &str) -> Self {
        let detail = format!(
            "There is nothing at {}. The routes are listed in /api/v1/openapi.json; services are called over MCP (/mcp) or gRPC.",
            shown(path)
        );
        Self::new(ErrorCode::InvalidArgument, detail).status(StatusCode::NOT_FOUND)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(ErrorCode::InvalidArgument, "This path has other methods: see the header Allow.")
            .status(StatusCode::METHOD_NOT_ALLOWED)
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, detail).status(StatusCode::CONFLICT)
    }

    /// Only the platform operator's key does.
    pub(super) fn operator_only() -> Self {
        let detail = "Only the platform operator's key (sk-op-…) may do this.";
        Self::new(ErrorCode::AuthPermissionDenied, detail)
            .fix(Fix::new(FixKind::Contact).hint("Ask the operator of this platform."))
            .challenge(insufficient_scope(None))
    }

    /// For keys that are bound to nobody.
    pub(crate) fn bound() -> Self {
        let detail = "This key is bound to an end user or an agent, and this concerns the whole organization. Use a key that is not bound.";
        Self::new(ErrorCode::AuthPermissionDenied, detail)
            .fix(Fix::new(FixKind::Contact).hint("Ask an admin of the organization."))
    }

    /// Beyond what the subject of the key may do, though its scopes would allow it.
    pub(super) fn other_subject(field: &str) -> Self {
        let detail = "This key is bound to an end user and acts for that user only. Leave the field out, or use a key that is not bound.";
        Self::new(ErrorCode::AuthPermissionDenied, detail).field(field)
    }
}

/// A piece of the request, fit to be repeated.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

fn insufficient_scope(scope: Option<&str>) -> String {
    let scope = scope.map(|scope| format!(", scope=\"{scope}\"")).unwrap_or_default();
    format!("Bearer error=\"insufficient_scope\"{scope}")
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let mut problem = Self::new(error.code, error.message.clone());
        if error.code == ErrorCode::AuthPermissionDenied {
            let scope = error.fix.as_ref().and_then(|fix| fix.options.first()).and_then(|scope| scope.as_str());
            problem = problem.challenge(insufficient_scope(scope));
        }
        problem.0.field.clone_from(&error.field);
        problem.0.fix.clone_from(&error.fix);
        problem.0.retry_after_ms = error.retry_after_ms;
        problem
    }
}

impl From<KeyProblem> for Problem {
    fn from(error: KeyProblem) -> Self {
        let required = |detail: &str, challenge: &str| Self::new(ErrorCode::AuthRequired, detail).challenge(challenge);
        match error {
            KeyProblem::Missing => {
                required("No API key was sent. Use the header `Authorization: Bearer sk-org-…`.", "Bearer")
            }
            KeyProblem::Refused => required(
                "The API key is not valid: it is mistyped, expired or revoked. Issue a new one.",
                "Bearer error=\"invalid_token\"",
            ),
            KeyProblem::Unavailable => CallError::overloaded("Keys cannot be checked right now.", 1_000).into(),
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::KeyRefused => KeyProblem::Refused.into(),
            IdentityError::NotFound { what } => {
                Self::new(ErrorCode::InvalidArgument, capital(&format!("{what} does not exist.")))
                    .status(StatusCode::NOT_FOUND)
            }
            IdentityError::Exists { what } => {
                Self::conflict(capital(&format!("{what} exists already. Choose another label."))).field("label")
            }
            IdentityError::Invalid { field, message } => {
                let detail = format!("`{field}`: {}.", message.trim_end_matches('.'));
                Self::argument(field, detail)
            }
            IdentityError::NeedsReauth => Self::new(
                ErrorCode::AccountExpired,
                "The account must be connected again: its secrets are no longer complete.",
            )
            .fix(Fix::new(FixKind::Reconnect)),
            IdentityError::Revoked => Self::new(
                ErrorCode::AccountRevoked,
                "The account has been revoked. Connect it again with new credentials.",
            )
            .fix(Fix::new(FixKind::Reconnect)),
            IdentityError::Conflict { message } => {
                Self::conflict(capital(&format!("{}.", message.trim_end_matches('.'))))
            }
            IdentityError::VendorRefused { message } => {
                Self::new(ErrorCode::AccountExpired, format!("The vendor refused the account: {message}"))
                    .fix(Fix::new(FixKind::Reconnect))
            }
            IdentityError::VendorDown { message } => {
                Self::new(ErrorCode::UpstreamUnreachable, format!("The vendor's sign-in does not answer: {message}"))
            }
            IdentityError::Unavailable(_) => {
                tracing::warn!(%error, "the auth service did not answer");
                CallError::overloaded("Keys and accounts cannot be managed right now.", 1_000).into()
            }
            IdentityError::TicketRefused => {
                tracing::error!(%error, "the auth service asked for a ticket where none belongs");
                CallError::internal().into()
            }
        }
    }
}

fn capital(sentence: &str) -> String {
    let mut rest = sentence.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = *self.0;
        let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A document of texts and numbers always serializes.
        let json = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = document.challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = document.retry_after_ms {
            // Whole seconds; rounding down would invite a repeat that is refused again.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.div_ceil(1000).max(1)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_a_refusal() {
        for code in ErrorCode::ALL {
            let status = status_of(code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
            assert!(status.canonical_reason().is_some(), "{code}");
        }
    }

    #[test]
    fn identity_errors_keep_their_field() {
        let problem = Problem::from(IdentityError::invalid("credentials.api_token", "is missing (API token)"));
        assert_eq!(problem.0.status, 400);
        assert_eq!(problem.0.field.as_deref(), Some("credentials.api_token"));
        assert_eq!(problem.0.detail, "`credentials.api_token`: is missing (API token).");
        let problem = Problem::from(IdentityError::NotFound { what: "the account" });
        assert_eq!((problem.0.status, problem.0.detail.as_str()), (404, "The account does not exist."));
        let problem = Problem::from(IdentityError::TicketRefused);
        assert_eq!(problem.0.status, 500);
        let problem = Problem::from(IdentityError::NeedsReauth);
        assert_eq!((problem.0.status, problem.0.code), (409, ErrorCode::AccountExpired));
        let problem = Problem::from(IdentityError::VendorDown { message: "HTTP 503".into() });
        assert_eq!(problem.0.status, 502);
    }

    #[test]
    fn what_is_repeated_is_short_and_plain() {
        assert_eq!(shown("a\u{1b}[31m\nb"), "a[31mb");
        assert_eq!(shown(&"я".repeat(500)).chars().count(), SHOWN);
    }
}
