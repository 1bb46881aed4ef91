//! How a call fails: one closed list of codes, and for each failure what a caller may do next.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What went wrong. The list is part of the public contract; the table in ARCHITECTURE.md explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    InvalidArgument,
    UnknownService,
    UnknownModule,
    UnknownOperation,
    NotConnected,
    AccountAmbiguous,
    AccountExpired,
    AccountRevoked,
    ScopeMissingAtVendor,
    AuthRequired,
    AuthPermissionDenied,
    AdminOnly,
    PolicyDenied,
    ApprovalPending,
    RateLimited,
    UpstreamRateLimited,
    Overloaded,
    DeadlineExceeded,
    UpstreamRejected,
    UpstreamFailed,
    UpstreamUnreachable,
    CircuitOpen,
    EgressBlocked,
    ResponseTooLarge,
    OutcomeUnknown,
    IdempotencyConflict,
    Cancelled,
    Internal,
}

impl ErrorCode {
    /// Every code, in the order of the contract.
    pub const ALL: [Self; 28] = [
        Self::InvalidArgument,
        Self::UnknownService,
        Self::UnknownModule,
        Self::UnknownOperation,
        Self::NotConnected,
        Self::AccountAmbiguous,
        Self::AccountExpired,
        Self::AccountRevoked,
        Self::ScopeMissingAtVendor,
        Self::AuthRequired,
        Self::AuthPermissionDenied,
        Self::AdminOnly,
        Self::PolicyDenied,
        Self::ApprovalPending,
        Self::RateLimited,
        Self::UpstreamRateLimited,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::UpstreamRejected,
        Self::UpstreamFailed,
        Self::UpstreamUnreachable,
        Self::CircuitOpen,
        Self::EgressBlocked,
        Self::ResponseTooLarge,
        Self::OutcomeUnknown,
        Self::IdempotencyConflict,
        Self::Cancelled,
        Self::Internal,
    ];

    /// As in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::UnknownService => "UNKNOWN_SERVICE",
            Self::UnknownModule => "UNKNOWN_MODULE",
            Self::UnknownOperation => "UNKNOWN_OPERATION",
            Self::NotConnected => "NOT_CONNECTED",
            Self::AccountAmbiguous => "ACCOUNT_AMBIGUOUS",
            Self::AccountExpired => "ACCOUNT_EXPIRED",
            Self::AccountRevoked => "ACCOUNT_REVOKED",
            Self::ScopeMissingAtVendor => "SCOPE_MISSING_AT_VENDOR",
            Self::AuthRequired => "AUTH_REQUIRED",
            Self::AuthPermissionDenied => "AUTH_PERMISSION_DENIED",
            Self::AdminOnly => "ADMIN_ONLY",
            Self::PolicyDenied => "POLICY_DENIED",
            Self::ApprovalPending => "APPROVAL_PENDING",
            Self::RateLimited => "RATE_LIMITED",
            Self::UpstreamRateLimited => "UPSTREAM_RATE_LIMITED",
            Self::Overloaded => "OVERLOADED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::UpstreamRejected => "UPSTREAM_REJECTED",
            Self::UpstreamFailed => "UPSTREAM_FAILED",
            Self::UpstreamUnreachable => "UPSTREAM_UNREACHABLE",
            Self::CircuitOpen => "CIRCUIT_OPEN",
            Self::EgressBlocked => "EGRESS_BLOCKED",
            Self::ResponseTooLarge => "RESPONSE_TOO_LARGE",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::IdempotencyConflict => "IDEMPOTENCY_CONFLICT",
            Self::Cancelled => "CANCELLED",
            Self::Internal => "INTERNAL",
        }
    }

    /// Who is to act on it, unless the failure says otherwise.
    pub fn origin(self) -> Origin {
        match self {
            Self::InvalidArgument
            | Self::UnknownService
            | Self::UnknownModule
            | Self::UnknownOperation
            | Self::AccountAmbiguous
            | Self::AuthRequired
            | Self::AuthPermissionDenied
            | Self::IdempotencyConflict
            | Self::Cancelled => Origin::Caller,
            Self::AdminOnly | Self::PolicyDenied | Self::ApprovalPending | Self::RateLimited => Origin::Policy,
            Self::NotConnected | Self::AccountExpired | Self::AccountRevoked | Self::ScopeMissingAtVendor => {
                Origin::Credential
            }
            Self::Overloaded | Self::DeadlineExceeded | Self::Internal | Self::CircuitOpen => Origin::Platform,
            Self::EgressBlocked => Origin::Policy,
            Self::UpstreamUnreachable | Self::OutcomeUnknown => Origin::Network,
            Self::UpstreamRateLimited | Self::UpstreamRejected | Self::UpstreamFailed | Self::ResponseTooLarge => {
                Origin::Upstream
            }
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the failure arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Caller,
    Policy,
    Platform,
    Credential,
    Network,
    Upstream,
}

impl Origin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Policy => "policy",
            Self::Platform => "platform",
            Self::Credential => "credential",
            Self::Network => "network",
            Self::Upstream => "upstream",
        }
    }
}

/// What happened at the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectOutcome {
    /// No byte of the request left.
    NotSent,
    /// The vendor answered that it did not do it.
    Rejected,
    /// The vendor did it, though the call failed afterwards.
    Applied,
    /// It cannot be known.
    Unknown,
}

/// What the caller can do about it, precise enough for an agent to act alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fix {
    pub kind: FixKind,
    /// Argument or field to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// One sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Allowed values, or the nearest right ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Fix {
    pub fn new(kind: FixKind) -> Self {
        Self { kind, field: None, hint: None, options: Vec::new(), url: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub fn options<T: Into<Value>>(mut self, options: impl IntoIterator<Item = T>) -> Self {
        self.options = options.into_iter().map(Into::into).collect();
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FixKind {
    Reconnect,
    AddScope,
    ChangeArgument,
    ChooseAccount,
    Wait,
    Approve,
    Contact,
}

/// What the vendor said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpstreamError {
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// A failed call: the `error` object of the envelope. It lies on the heap, for whatever may fail is moved with room for its
/// error, and most calls have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallError(Box<Failure>);

/// What a [`CallError`] says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub code: ErrorCode,
    pub origin: Origin,
    /// For the caller; never holds a secret or an internal detail.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
    /// A repeat may help.
    pub retryable: bool,
    /// A repeat cannot double a side effect.
    pub safe_to_retry: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    pub outcome: EffectOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// Argument at fault, as a path: `query.dateFrom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamError>,
    /// For the log: what a caller has no use for. It does not travel.
    #[serde(skip)]
    pub cause: Option<Cow<'static, str>>,
}

impl CallError {
    /// A failure before anything was sent: nothing happened, so repeating is safe; whether it helps is up to the code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let retryable = matches!(
            code,
            ErrorCode::RateLimited | ErrorCode::Overloaded | ErrorCode::CircuitOpen | ErrorCode::UpstreamUnreachable
        );
        Self(Box::new(Failure {
            code,
            origin: code.origin(),
            message: message.into(),
            detail: None,
            retryable,
            safe_to_retry: true,
            retry_after_ms: None,
            outcome: EffectOutcome::NotSent,
            fix: None,
            field: None,
            upstream: None,
            cause: None,
        }))
    }

    /// A wrong argument.
    pub fn argument(field: impl Into<String>, message: impl Into<String>) -> Self {
        let field = field.into();
        let mut error = Self::new(ErrorCode::InvalidArgument, message);
        error.fix = Some(Fix::new(FixKind::ChangeArgument).field(field.clone()));
        error.field = Some(field);
        error
    }

    /// A fault of ours. The cause belongs in the log, not in the message.
    pub fn internal() -> Self {
        Self::new(
            ErrorCode::Internal,
            "Something failed on our side. Nothing was sent; try again, and tell us if it stays.",
        )
        .retryable(true)
    }

    /// Some part of the platform cannot serve right now.
    pub fn overloaded(message: impl Into<String>, retry_after_ms: u64) -> Self {
        let mut error = Self::new(ErrorCode::Overloaded, message);
        error.retry_after_ms = Some(retry_after_ms);
        error.fix = Some(Fix::new(FixKind::Wait));
        error
    }

    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub fn detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// What stands behind it, for the log alone.
    pub fn because(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub fn outcome(mut self, outcome: EffectOutcome, safe_to_retry: bool) -> Self {
        self.outcome = outcome;
        self.safe_to_retry = safe_to_retry;
        self
    }
}

impl std::ops::Deref for CallError {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.0
    }
}

impl std::ops::DerefMut for CallError {
    fn deref_mut(&mut self) -> &mut Failure {
        &mut self.0
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_as_in_the_contract() {
        assert_eq!(ErrorCode::InvalidArgument.to_string(), "INVALID_ARGUMENT");
        assert_eq!(ErrorCode::ScopeMissingAtVendor.to_string(), "SCOPE_MISSING_AT_VENDOR");
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(serde_json::to_value(code.origin()).unwrap(), code.origin().as_str());
        }
        let unique: std::collections::HashSet<_> = ErrorCode::ALL.iter().collect();
        assert_eq!(unique.len(), 28);
    }

    #[test]
    fn a_wrong_argument_names_its_field() {
        let error = serde_json::to_value(CallError::argument("query.dateFrom", "is required")).unwrap();
        assert_eq!(error["field"], "query.dateFrom");
        assert_eq!(error["outcome"], "not_sent");
        assert_eq!(error["safe_to_retry"], true);
        assert_eq!(error["retryable"], false);
    }
}
