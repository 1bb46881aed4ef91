//! Who is signed in. Nothing is kept here: the key is in the browser's cookie, sealed under a key that all gateways share,
//! so that any of them serves the next request, and it is checked anew with each.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use plugboard_core::clock::Millis;
use plugboard_core::error::{CallError, ErrorCode};
use plugboard_core::identity::{Principal, Scope};
use plugboard_core::pages::cookies::{self, SameSite};
use plugboard_core::seal::Sealer;
use plugboard_core::secret::{Secret, SecretKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::principal::require;
use crate::rest::body::{Body, Decode, Fields, required};
use crate::rest::error::Problem;
use crate::rest::reply;
use crate::state::Gateway;

const COOKIE_NAME: &str = "plugboard_console";
/// A working day.
const LASTS: Duration = Duration::from_secs(8 * 3600);
const MARK: &str = "x-plugboard-console";
const AAD: &[u8] = b"plugboard console session";

/// Seals and opens sessions.
#[derive(Debug)]
pub struct Sessions(Sealer);

#[derive(Serialize, Deserialize)]
struct Sealed {
    key: String,
    expires_at: i64,
}

/// A browser that is signed in.
pub(super) struct Session {
    bearer: HeaderValue,
    key: Secret,
    mark: Secret,
}

impl Sessions {
    /// `key`: the same in every gateway of a deployment.
    pub fn new(key: &SecretKey) -> Self {
        Self(Sealer::new(key.derive("console sessions")))
    }

    fn seal(&self, key: &Secret, now: Millis) -> Option<Secret> {
        let sealed = Sealed { key: key.expose().to_owned(), expires_at: now.plus(LASTS).0 };
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&sealed).ok()?);
        Some(Secret::new(URL_SAFE_NO_PAD.encode(self.0.seal(AAD, &plain).ok()?)))
    }

    fn open(&self, cookie: &Secret, now: Millis) -> Option<Session> {
        let sealed = URL_SAFE_NO_PAD.decode(cookie.expose()).ok()?;
        let plain = zeroize::Zeroizing::new(self.0.open(AAD, &sealed).ok()?);
        let Sealed { key, expires_at } = serde_json::from_slice(&plain).ok()?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
        bearer.set_sensitive(true);
        let session = Session { bearer, key: Secret::new(key), mark: mark(cookie) };
        (expires_at > now.0).then_some(session)
    }

    /// # Errors
    /// When nobody is signed in, or not any more.
    pub(super) fn of(&self, headers: &HeaderMap, https: bool, now: Millis) -> Result<Session, Problem> {
        let found = cookies::get(headers, COOKIE_NAME, https).and_then(|cookie| self.open(&cookie, now));
        found
            .ok_or_else(|| Problem::new(ErrorCode::AuthRequired, "Nobody is signed in here, or not any more. Sign in."))
    }
}

impl Session {
    pub(super) fn bearer(self) -> HeaderValue {
        self.bearer
    }

    /// Whether a page of ours has made this request, which is to change something.
    ///
    /// # Errors
    /// When it lacks the session's mark, or another site's page has made it.
    pub(super) fn permits(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let sent = headers.get(MARK).and_then(|mark| mark.to_str().ok()).map(Secret::new);
        if is_foreign(headers) || sent.is_none_or(|sent| sent != self.mark) {
            let detail = "This was not asked for by the console's own page. Load it again.";
            return Err(Problem::new(ErrorCode::AuthPermissionDenied, detail));
        }
        Ok(())
    }
}

/// Follows from the cookie, and the cookie does not follow from it.
fn mark(cookie: &Secret) -> Secret {
    let digest = Sha256::digest(format!("plugboard console mark {}", cookie.expose()));
    Secret::new(URL_SAFE_NO_PAD.encode(digest))
}

fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

fn set_cookie(value: &str, lasts: Duration, https: bool) -> Option<HeaderValue> {
    cookies::set(COOKIE_NAME, value, SameSite::Strict, lasts, https)
}

/// What the page knows of its reader.
#[derive(Serialize)]
struct Reader<'a> {
    signed_in: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<&'a str>,
    /// To be sent with whatever changes something.
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<&'a str>,
}

impl<'a> Reader<'a> {
    const NOBODY: Reader<'static> = Reader { signed_in: false, operator: None, organization: None, mark: None };

    fn of(principal: &'a Principal, mark: &'a Secret) -> Self {
        Self {
            signed_in: true,
            operator: Some(principal.is_operator()),
            organization: principal.organization.as_ref().map(|organization| organization.as_str()),
            mark: Some(mark.expose()),
        }
    }
}

/// No `Debug`: it holds a key.
pub(super) struct SignIn {
    key: Secret,
}

impl Decode for SignIn {
    const FIELDS: &'static [&'static str] = &["key"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        let key = required("key", fields.text("key")?)?;
        Ok(Self { key: Secret::new(key.trim()) })
    }
}

impl Gateway {
    /// Whether browsers reach it over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.config.public_url.starts_with("https://")
    }

    /// Who may use the console with this key: the operator, and whoever sees to the whole of an organization.
    async fn console_reader(&self, key: &Secret) -> Result<Arc<Principal>, Problem> {
        let principal = self.verified(key.expose()).await?;
        if !principal.is_operator() {
            require(&principal, Scope::Admin)?;
            if principal.is_bound() {
                return Err(Problem::bound());
            }
        }
        Ok(principal)
    }
}

pub(super) async fn show(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Response, Problem> {
    let Ok(session) = gateway.console.of(&headers, gateway.is_https(), gateway.clock.now()) else {
        return reply::json(StatusCode::OK, &Reader::NOBODY);
    };
    match gateway.console_reader(&session.key).await {
        Ok(principal) => reply::json(StatusCode::OK, &Reader::of(&principal, &session.mark)),
        Err(problem) if problem.is_unavailable() => Err(problem),
        // The key has ended since.
        Err(_) => reply::json(StatusCode::OK, &Reader::NOBODY),
    }
}

pub(super) async fn begin(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    Body(wanted): Body<SignIn>,
) -> Result<Response, Problem> {
    if is_foreign(&headers) {
        return Err(Problem::new(ErrorCode::AuthPermissionDenied, "Sign in on the console's own page."));
    }
    let principal = gateway.console_reader(&wanted.key).await?;
    let https = gateway.is_https();
    let cookie = gateway.console.seal(&wanted.key, gateway.clock.now()).ok_or_else(CallError::internal)?;
    let set = set_cookie(cookie.expose(), LASTS, https).ok_or_else(CallError::internal)?;
    let mut response = reply::json(StatusCode::OK, &Reader::of(&principal, &mark(&cookie)))?;
    response.headers_mut().insert(SET_COOKIE, set);
    Ok(response)
}

pub(super) async fn end(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Response, Problem> {
    let https = gateway.is_https();
    if let Ok(session) = gateway.console.of(&headers, https, gateway.clock.now()) {
        session.permits(&headers)?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(gone) = set_cookie("", Duration::ZERO, https) {
        response.headers_mut().insert(SET_COOKIE, gone);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    const NOW: Millis = Millis(1_795_382_400_000);

    fn with_cookie(name: &str, value: &Secret) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::try_from(format!("a=b; {name}={}", value.expose())).unwrap());
        headers
    }

    #[test]
    fn a_session_is_sealed_ends_and_counts_by_its_own_name() {
        let sessions = Sessions::new(&SecretKey::new([7; 32]));
        let cookie = sessions.seal(&Secret::new("sk-org-canary"), NOW).unwrap();
        assert!(!cookie.expose().contains("canary"));
        let headers = with_cookie(COOKIE_NAME, &cookie);
        let session = sessions.of(&headers, false, NOW).ok().unwrap();
        assert_eq!(session.bearer().to_str().unwrap(), "Bearer sk-org-canary");
        assert!(sessions.of(&headers, true, NOW).is_err(), "over https another host may have set it");
        assert!(sessions.of(&with_cookie("__Host-plugboard_console", &cookie), true, NOW).is_ok());
        assert!(sessions.of(&headers, false, NOW.plus(LASTS)).is_err());
        assert!(Sessions::new(&SecretKey::new([8; 32])).of(&headers, false, NOW).is_err());
        let changed = Secret::new(cookie.expose().replace(&cookie.expose()[10..12], "__"));
        assert!(sessions.of(&with_cookie(COOKIE_NAME, &changed), false, NOW).is_err());
    }

    #[test]
    fn only_a_page_of_ours_changes_something() {
        let sessions = Sessions::new(&SecretKey::new([7; 32]));
        let cookie = sessions.seal(&Secret::new("sk-org-canary"), NOW).unwrap();
        let mut headers = with_cookie(COOKIE_NAME, &cookie);
        let session = sessions.of(&headers, false, NOW).ok().unwrap();
        assert!(session.permits(&headers).is_err());
        headers.insert(MARK, HeaderValue::from_static("guess"));
        assert!(session.permits(&headers).is_err());
        headers.insert(MARK, HeaderValue::try_from(mark(&cookie).expose()).unwrap());
        assert!(session.permits(&headers).is_ok());
        for (site, fine) in [("same-origin", true), ("same-site", false), ("cross-site", false)] {
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            assert_eq!(session.permits(&headers).is_ok(), fine, "{site}");
        }
    }

    #[test]
    fn the_cookie_is_this_hosts_alone_and_no_scripts() {
        let cookie = set_cookie("x", LASTS, true).unwrap();
        let expected = "__Host-plugboard_console=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=28800; Secure";
        assert_eq!(cookie.to_str().unwrap(), expected);
        assert!(cookie.is_sensitive());
    }
}
