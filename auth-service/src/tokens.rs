//! Tokens that the vendor issues to an account without a person (RFC 6749 §4.4), kept in memory only.
//!
//! | what | value |
//! | --- | --- |
//! | a token is used for | 80 % of its life; 300 s when the vendor does not say |
//! | one request for a token | 8 s |
//! | after a refusal the vendor is left alone for | 5 s |
//! | after no answer | 1 s |
//! | a token that has just replaced another is not replaced again for | 5 s |

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use moka::sync::Cache;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::egress::{Caps, Egress, EgressRequest, EgressResponse, HostBinding, parse_url};
use plugboard_core::identity::IdentityError;
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::manifest::ClientAuth;
use plugboard_core::secret::Secret;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded;

const TIMEOUT: Duration = Duration::from_secs(8);
const LARGEST_ANSWER: u64 = 1 << 20;
const LONGEST_TOKEN: usize = 16 * 1024;
/// Life of a token whose answer does not say (RFC 6749 §5.1 only recommends it).
const UNSAID_LIFE: u64 = 300;
const LONGEST_LIFE: u64 = 24 * 60 * 60;
const AFTER_REFUSAL: Duration = Duration::from_secs(5);
const AFTER_SILENCE: Duration = Duration::from_secs(1);
const AFTER_REPLACEMENT: Duration = Duration::from_secs(5);
/// Tokens kept; the least used go first.
const KEPT: u64 = 50_000;
const KEPT_IDLE: Duration = Duration::from_secs(60 * 60);

/// Whose token it is. The service belongs to it: the sandbox account is the same for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub organization: OrganizationId,
    pub service: ServiceKey,
    pub account: AccountId,
}

/// What a token was obtained with: another version of the account or of the manifest needs another token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub account_version: u64,
    pub manifest: String,
}

/// A token grant with everything filled in.
pub(crate) struct TokenRequest {
    pub url: String,
    pub client_id: Secret,
    pub client_secret: Secret,
    pub client_auth: ClientAuth,
    pub scope: Option<String>,
}

pub(crate) struct Tokens {
    egress: Egress,
    clock: Arc<dyn Clock>,
    /// The lock is the single flight: whoever waits for it finds the answer there.
    slots: Cache<TokenKey, Arc<Mutex<Slot>>>,
}

#[derive(Default)]
struct Slot {
    stamp: Option<Stamp>,
    last: Option<Last>,
}

enum Last {
    Token { token: Secret, good_until: Millis, replaced_at: Option<Millis> },
    Failed { failure: Failure, until: Millis },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    Refused(String),
    Down(String),
}

impl From<Failure> for IdentityError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(message) => Self::VendorRefused { message },
            Failure::Down(message) => Self::VendorDown { message },
        }
    }
}

impl Tokens {
    pub(crate) fn new(egress: Egress, clock: Arc<dyn Clock>) -> Self {
        let slots = Cache::builder().max_capacity(KEPT).time_to_idle(KEPT_IDLE).build();
        Self { egress, clock, slots }
    }

    /// The account's token: the one in memory, or a new one. `refresh`: the vendor has just refused the present one.
    pub(crate) async fn get(
        &self,
        key: TokenKey,
        stamp: Stamp,
        request: &TokenRequest,
        refresh: bool,
    ) -> Result<Secret, IdentityError> {
        let slot = self.slots.get_with(key, Arc::default);
        let mut slot = slot.lock().await;
        if slot.stamp.as_ref() != Some(&stamp) {
            *slot = Slot { stamp: Some(stamp), last: None };
        }
        let now = self.clock.now();
        let mut replaces = false;
        match &slot.last {
            Some(Last::Token { token, good_until, replaced_at }) => {
                // Many jobs may learn at once that a token is no good; the first one's new token is for all.
                let just_replaced = replaced_at.is_some_and(|at| now < at.plus(AFTER_REPLACEMENT));
                if now < *good_until && (!refresh || just_replaced) {
                    return Ok(token.clone());
                }
                replaces = true;
            }
            Some(Last::Failed { failure, until }) if now < *until => return Err(failure.clone().into()),
            Some(Last::Failed { .. }) | None => {}
        }
        let asked_at = now;
        let answer = self.request(request).await;
        let now = self.clock.now();
        match answer {
            Ok((token, life)) => {
                slot.last = Some(Last::Token {
                    token: token.clone(),
                    good_until: asked_at.plus(life * 4 / 5),
                    replaced_at: replaces.then_some(now),
                });
                Ok(token)
            }
            Err(failure) => {
                let pause = if matches!(failure, Failure::Refused(_)) { AFTER_REFUSAL } else { AFTER_SILENCE };
                slot.last = Some(Last::Failed { failure: failure.clone(), until: now.plus(pause) });
                Err(failure.into())
            }
        }
    }

    async fn request(&self, request: &TokenRequest) -> Result<(Secret, Duration), Failure> {
        let outgoing = outgoing(request)?;
        let answer = self.egress.send(outgoing).await.map_err(|error| Failure::Down(error.to_string()))?;
        read(&answer)
    }
}

/// RFC 6749 §4.4.2, the client authenticated by §2.3.1.
fn outgoing(request: &TokenRequest) -> Result<EgressRequest, Failure> {
    let url = parse_url(&request.url).map_err(|error| Failure::Down(error.to_string()))?;
    let (id, secret) = (request.client_id.expose(), request.client_secret.expose());
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if request.client_auth == ClientAuth::Body {
        form.append_pair("client_id", id).append_pair("client_secret", secret);
    }
    if let Some(scope) = &request.scope {
        form.append_pair("scope", scope);
    }
    let binding = HostBinding::of_url(&url);
    let caps = Caps { wire_bytes: LARGEST_ANSWER, decoded_bytes: LARGEST_ANSWER, ..Caps::default() };
    let mut outgoing = EgressRequest::new(Method::POST, url, binding, Instant::now() + TIMEOUT)
        .with_caps(caps)
        .with_header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
        .with_header(ACCEPT, HeaderValue::from_static("application/json"))
        .with_body(form.finish());
    if request.client_auth == ClientAuth::Basic {
        // Both parts are form-encoded before they are joined: a colon may be in either.
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
        let mut value = HeaderValue::try_from(format!("Basic {basic}"))
            .map_err(|_| Failure::Down("the client id cannot be sent".into()))?;
        value.set_sensitive(true);
        outgoing = outgoing.with_header(AUTHORIZATION, value);
    }
    Ok(outgoing)
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    access_token: Option<Value>,
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

/// What the vendor's answer means. Nothing of its body goes further, except an error code that RFC 6749 knows.
fn read(answer: &EgressResponse) -> Result<(Secret, Duration), Failure> {
    let status = answer.status.as_u16();
    let body: Option<TokenAnswer> = serde_json::from_slice(&answer.body).ok();
    let code = body.as_ref().and_then(|body| known_error(body.error.as_ref()?.as_str()?));
    let said = || match code {
        Some(code) => format!("HTTP {status}, {code}"),
        None => format!("HTTP {status}"),
    };
    match status {
        200..=299 => {}
        408 | 425 | 429 => return Err(Failure::Down(said())),
        400..=499 => return Err(Failure::Refused(said())),
        _ => return Err(Failure::Down(said())),
    }
    let Some(body) = body else { return Err(Failure::Down(format!("HTTP {status} without a JSON object"))) };
    let Some(token) = body.access_token.as_ref().and_then(Value::as_str) else {
        // Some vendors refuse with 200.
        let failure = if body.error.is_some() { Failure::Refused } else { Failure::Down };
        return Err(failure(format!("{} without a token", said())));
    };
    let sendable = (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !sendable {
        return Err(Failure::Down(format!("{} with a token that cannot be sent", said())));
    }
    Ok((Secret::new(token), life(body.expires_in.as_ref())))
}

/// Seconds as a number, or as a text, as several vendors write it.
fn life(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    // Below zero or no number: used once.
    let seconds = seconds.map_or(UNSAID_LIFE, |seconds: f64| seconds.max(0.0) as u64);
    Duration::from_secs(seconds.min(LONGEST_LIFE))
}

/// RFC 6749 §5.2.
fn known_error(code: &str) -> Option<&'static str> {
    [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ]
    .into_iter()
    .find(|known| *known == code)
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
