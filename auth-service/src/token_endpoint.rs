//! One request to a vendor's token endpoint, whatever grant it carries, and what the answer means.
//!
//! Nothing of an answer's body goes into an error, except a code that RFC 6749 or RFC 8628 knows.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use indexmap::IndexMap;
use plugboard_core::egress::{Caps, EgressRequest, EgressResponse, HostBinding, PoolClass, Upstream, parse_url};
use plugboard_core::identity::IdentityError;
use plugboard_core::manifest::{ClientAuth, TokenRequestStyle};
use plugboard_core::secret::Secret;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::form_urlencoded;

/// One request for a token.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(8);
const LARGEST_ANSWER: u64 = 1 << 20;
const LONGEST_TOKEN: usize = 16 * 1024;

/// Our client at the vendor.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub id: Secret,
    pub secret: Secret,
    pub auth: ClientAuth,
}

/// A request with everything filled in. Names are the RFC's; `names` has the vendor's.
pub(crate) struct TokenCall<'a> {
    pub url: &'a str,
    pub style: TokenRequestStyle,
    pub names: &'a IndexMap<String, String>,
    pub client: Option<&'a Client>,
    pub parameters: Vec<(&'a str, Secret)>,
    /// The vendor's own, as they are.
    pub further: Vec<(String, Secret)>,
    /// It must not be sent twice: a rotating refresh token.
    pub once: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Refused {
        said: String,
        /// An RFC's error code.
        code: Option<&'static str>,
    },
    Down {
        said: String,
        /// No byte of the request has left.
        not_sent: bool,
    },
}

impl Failure {
    pub(crate) fn down(said: impl Into<String>) -> Self {
        Self::Down { said: said.into(), not_sent: false }
    }

    pub(crate) fn unsendable(said: impl Into<String>) -> Self {
        Self::Down { said: said.into(), not_sent: true }
    }

    pub(crate) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Down { .. } => None,
        }
    }

    pub(crate) fn said(&self) -> &str {
        match self {
            Self::Refused { said, .. } | Self::Down { said, .. } => said,
        }
    }
}

impl From<Failure> for IdentityError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { said, .. } => Self::VendorRefused { message: said },
            Failure::Down { said, .. } => Self::VendorDown { message: said },
        }
    }
}

impl TokenCall<'_> {
    /// Sends it and reads the answer's JSON. `errors`: the vendor's codes for the RFC's.
    pub(crate) async fn send(
        &self,
        egress: &dyn Upstream,
        errors: &IndexMap<String, String>,
    ) -> Result<Value, Failure> {
        let answer = send(egress, self.outgoing()?).await?;
        json_of(&answer, errors)
    }

    /// RFC 6749 §4, the client authenticated by §2.3.1.
    pub(crate) fn outgoing(&self) -> Result<EgressRequest, Failure> {
        let mut url = parse_url(self.url).map_err(|error| Failure::unsendable(error.to_string()))?;
        let pairs = self.pairs();
        let pairs = || pairs.iter().map(|(name, value)| (name.as_str(), value.expose()));
        let form = |pairs: &mut dyn Iterator<Item = (&str, &str)>| {
            form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
        };
        let (method, body) = match self.style {
            TokenRequestStyle::Form => (Method::POST, Some(("application/x-www-form-urlencoded", form(&mut pairs())))),
            TokenRequestStyle::Json => {
                let object: Map<String, Value> =
                    pairs().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
                (Method::POST, Some(("application/json", Value::Object(object).to_string())))
            }
            TokenRequestStyle::Query => {
                url.query_pairs_mut().extend_pairs(pairs());
                (Method::GET, None)
            }
        };
        let mut outgoing = request(method, url).with_header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some((kind, body)) = body {
            outgoing = outgoing.with_header(CONTENT_TYPE, HeaderValue::from_static(kind)).with_body(body);
        }
        if let Some(client) = self.client.filter(|client| client.auth == ClientAuth::Basic) {
            outgoing = outgoing.with_header(AUTHORIZATION, basic(client)?);
        }
        Ok(if self.once { outgoing.with_pool(PoolClass::Fresh) } else { outgoing })
    }

    /// Parameters under the vendor's names; what has none is left out, and a further one replaces its namesake.
    fn pairs(&self) -> Vec<(String, Secret)> {
        let mut ours: Vec<(&str, Secret)> = self.parameters.clone();
        if let Some(client) = self.client {
            if client.auth != ClientAuth::Basic {
                ours.push(("client_id", client.id.clone()));
            }
            if client.auth == ClientAuth::Body {
                ours.push(("client_secret", client.secret.clone()));
            }
        }
        let named = ours.into_iter().filter_map(|(name, value)| {
            let name = self.names.get(name).map_or(name, String::as_str);
            let replaced = self.further.iter().any(|(further, _)| further == name);
            (!name.is_empty() && !replaced).then(|| (name.to_owned(), value))
        });
        named.chain(self.further.iter().cloned()).collect()
    }
}

/// A request to the vendor's sign-in, bound to its host.
pub(crate) fn request(method: Method, url: url::Url) -> EgressRequest {
    let binding = HostBinding::of_url(&url);
    let caps = Caps { wire_bytes: LARGEST_ANSWER, decoded_bytes: LARGEST_ANSWER, ..Caps::default() };
    EgressRequest::new(method, url, binding, Instant::now() + TIMEOUT).with_caps(caps)
}

pub(crate) async fn send(egress: &dyn Upstream, outgoing: EgressRequest) -> Result<EgressResponse, Failure> {
    egress
        .send(Box::new(outgoing))
        .await
        .map_err(|error| Failure::Down { said: error.to_string(), not_sent: error.not_sent() })
}

/// A header with a value that must not be seen.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let name = HeaderName::try_from(name).map_err(|_| Failure::unsendable("a header's name cannot be sent"))?;
    let mut value = HeaderValue::try_from(value).map_err(|_| Failure::unsendable("a header cannot be sent"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn basic(client: &Client) -> Result<HeaderValue, Failure> {
    // Both parts are form-encoded before they are joined: a colon may be in either.
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(client.id.expose()), encoded(client.secret.expose()));
    header("authorization", &format!("Basic {}", STANDARD.encode(pair))).map(|(_, value)| value)
}

/// The JSON of a 2xx answer that is no refusal in disguise.
pub(crate) fn json_of(answer: &EgressResponse, errors: &IndexMap<String, String>) -> Result<Value, Failure> {
    let status = answer.status.as_u16();
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let error = body.as_ref().and_then(|body| body.get("error")).filter(|error| !error.is_null());
    let code =
        error.and_then(Value::as_str).and_then(|error| known_error(errors.get(error).map_or(error, String::as_str)));
    let said = || match code {
        Some(code) => format!("HTTP {status}, {code}"),
        None => format!("HTTP {status}"),
    };
    match status {
        // Pending and slow_down are no outage, whatever status a vendor gives them.
        _ if matches!(code, Some("authorization_pending" | "slow_down")) => {
            Err(Failure::Refused { said: said(), code })
        }
        // Some vendors refuse with 200.
        200..=299 if error.is_some() => Err(Failure::Refused { said: format!("{} without a token", said()), code }),
        200..=299 => body.ok_or_else(|| Failure::down(format!("HTTP {status} without a JSON object"))),
        408 | 425 | 429 => Err(Failure::down(said())),
        400..=499 => Err(Failure::Refused { said: said(), code }),
        _ => Err(Failure::down(said())),
    }
}

/// A token that can be sent in a header.
pub(crate) fn token_at(reply: &Value, pointer: &str) -> Result<Secret, Failure> {
    let token = reply.pointer(pointer).and_then(Value::as_str);
    let token = token.ok_or_else(|| Failure::down("an answer without a token"))?;
    let sendable = (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if sendable { Ok(Secret::new(token)) } else { Err(Failure::down("an answer with a token that cannot be sent")) }
}

/// Seconds as a number, or as a text, as several vendors write it. Below zero is zero; `None` when it is not said.
pub(crate) fn seconds_at(reply: &Value, pointer: &str) -> Option<u64> {
    let seconds = match reply.pointer(pointer) {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    seconds.map(|seconds: f64| seconds.max(0.0) as u64)
}

/// RFC 6749 §5.2 and RFC 8628 §3.5.
fn known_error(code: &str) -> Option<&'static str> {
    [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "authorization_pending",
        "slow_down",
        "access_denied",
        "expired_token",
    ]
    .into_iter()
    .find(|known| *known == code)
}
