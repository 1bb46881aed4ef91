//! The key in a request → who calls.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::identity::{IdentityError, Principal, Scope};

use crate::state::Gateway;

/// Why a request has no principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    #[error("AUTH_REQUIRED: no API key was sent. Use the header `Authorization: Bearer sk-org-…`.")]
    Missing,
    /// Deliberately one text for garbled, unknown, expired and revoked.
    #[error("AUTH_REQUIRED: the API key is not valid: it is mistyped, expired or revoked. Issue a new one.")]
    Refused,
    #[error("OVERLOADED: keys cannot be checked right now. Try again in a second.")]
    Unavailable,
}

/// The bearer token of a request (RFC 6750 §2.1; the scheme is case-insensitive).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

impl Gateway {
    /// # Errors
    /// When no key was sent, it is not valid, or the auth service cannot be asked (the door stays closed).
    pub async fn principal(&self, headers: &HeaderMap) -> Result<Arc<Principal>, KeyProblem> {
        let checked = self.check_key(headers).await;
        let checks = &self.meters.keys;
        match &checked {
            Ok(_) => checks.ok.increment(1),
            Err(KeyProblem::Missing) => checks.missing.increment(1),
            Err(KeyProblem::Refused) => checks.refused.increment(1),
            Err(KeyProblem::Unavailable) => checks.unavailable.increment(1),
        }
        checked
    }

    async fn check_key(&self, headers: &HeaderMap) -> Result<Arc<Principal>, KeyProblem> {
        if !headers.contains_key(AUTHORIZATION) {
            return Err(KeyProblem::Missing);
        }
        self.verified(bearer(headers).ok_or(KeyProblem::Refused)?).await
    }

    /// Whose key it is.
    pub(crate) async fn verified(&self, key: &str) -> Result<Arc<Principal>, KeyProblem> {
        self.directory.verify_key(key).await.map_err(|error| match error {
            IdentityError::KeyRefused => KeyProblem::Refused,
            other => {
                tracing::warn!(error = %other, "a key could not be checked");
                KeyProblem::Unavailable
            }
        })
    }
}

/// # Errors
/// `AUTH_PERMISSION_DENIED`, naming the scope that would do.
pub fn require(principal: &Principal, scope: Scope) -> Result<(), CallError> {
    if principal.scopes.permit(scope) && !principal.is_operator() {
        return Ok(());
    }
    let message = if principal.is_operator() {
        "This is a platform operator's key: it creates organizations and reads platform state, and calls no service. Use an organization's key."
            .to_owned()
    } else {
        format!(
            "This key lacks the scope `{scope}`. Use a key that has it, or ask an admin of the organization for one."
        )
    };
    Err(CallError::new(ErrorCode::AuthPermissionDenied, message)
        .fix(Fix::new(FixKind::AddScope).options([scope.as_str()])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens() {
        let headers = |values: &[&'static str]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append(AUTHORIZATION, value.parse().unwrap());
            }
            map
        };
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer  abc "])), Some("abc"));
        assert_eq!(bearer(&headers(&["Basic abc"])), None);
        assert_eq!(bearer(&headers(&["Bearer "])), None);
        assert_eq!(bearer(&headers(&["Bearer a", "Bearer b"])), None);
        assert_eq!(bearer(&headers(&[])), None);
    }
}
