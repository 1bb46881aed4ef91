//! How a refused caller is answered: status, `WWW-Authenticate`, `Retry-After` and a JSON-RPC body, since clients that
//! decide by the body need one on every status.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::protocol::code;
use super::reply::RpcError;
use super::respond::{Id, Outcome};
use super::server::AuthFailure;

/// `resource_metadata` is named only when the document exists: clients that find it start an OAuth flow.
pub(super) fn outcome(failure: &AuthFailure, id: Id<'_>, resource_metadata: Option<&str>) -> Outcome {
    let (status, error, product, challenge, retry_after) = match failure {
        AuthFailure::Missing => (401, code::UNAUTHENTICATED, "AUTH_REQUIRED", Some(("", "")), None),
        AuthFailure::Invalid(_) => (401, code::UNAUTHENTICATED, "AUTH_REQUIRED", Some(("invalid_token", "")), None),
        AuthFailure::InsufficientScope { scope, .. } => {
            let challenge = Some(("insufficient_scope", scope.as_ref()));
            (403, code::FORBIDDEN, "AUTH_PERMISSION_DENIED", challenge, None)
        }
        AuthFailure::Forbidden(_) => (403, code::FORBIDDEN, "AUTH_PERMISSION_DENIED", None, None),
        AuthFailure::RateLimited { retry_after } => (429, code::RATE_LIMITED, "RATE_LIMITED", None, Some(*retry_after)),
        AuthFailure::Unavailable { retry_after } => (503, code::UNAVAILABLE, "OVERLOADED", None, Some(*retry_after)),
    };
    let mut data = format!("{{\"code\":\"{product}\"");
    if let Some(wait) = retry_after {
        data.push_str(&format!(",\"retryAfterMs\":{}", wait.as_millis()));
    }
    data.push('}');
    let rpc = RpcError::new(error, failure.to_string()).with_data(data);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    Outcome {
        challenge: challenge.map(|(error, scope)| header(error, scope, resource_metadata)),
        retry_after: retry_after.map(whole_seconds),
        ..Outcome::error(status, id, &rpc)
    }
}

fn header(error: &str, scope: &str, resource_metadata: Option<&str>) -> HeaderValue {
    let parts = [("error", error), ("scope", scope), ("resource_metadata", resource_metadata.unwrap_or_default())];
    let parts: Vec<_> = parts
        .into_iter()
        // A quote would end the parameter early; none of these values may hold one.
        .filter(|(_, value)| !value.is_empty() && !value.contains(['"', '\\']))
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    let text = if parts.is_empty() { "Bearer".to_owned() } else { format!("Bearer {}", parts.join(", ")) };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// `Retry-After` counts seconds; rounding down would invite a repeat that is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
}
