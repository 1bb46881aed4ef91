//! Token revocation at the vendor (RFC 7009), where a connector's manifest says that there is such a thing.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use plugboard_core::egress::{Caps, Egress, EgressRequest, HostBinding, parse_url};
use plugboard_core::manifest::ClientAuth;
use plugboard_core::secret::Secret;
use serde::Deserialize;
use tokio::time::Instant;
use url::form_urlencoded;

use crate::revoker::{RevokedCredentials, Told, VendorRevoker};

const TIMEOUT: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: u64 = 64 << 10;

/// A revocation request with everything filled in.
pub struct RevocationCall {
    pub url: String,
    pub token: Secret,
    /// `refresh_token` or `access_token` (RFC 7009 §2.1).
    pub hint: &'static str,
    pub client: Option<RevocationClient>,
}

/// Our client at the vendor.
pub struct RevocationClient {
    pub id: Secret,
    pub secret: Secret,
    pub auth: ClientAuth,
}

/// How the tokens of an account are revoked.
#[async_trait]
pub trait RevocationPlan: Send + Sync + 'static {
    /// The requests to make, the refresh token's first. `Err`: why there are none.
    async fn calls(&self, account: RevokedCredentials<'_>) -> Result<Vec<RevocationCall>, String>;
}

/// For connectors whose manifests name no revocation endpoint.
pub struct NoPlan;

#[async_trait]
impl RevocationPlan for NoPlan {
    async fn calls(&self, _: RevokedCredentials<'_>) -> Result<Vec<RevocationCall>, String> {
        Err("the connector names no revocation endpoint: end the credentials at the vendor by hand".to_owned())
    }
}

pub struct Rfc7009<P> {
    egress: Egress,
    plan: P,
}

impl<P> Rfc7009<P> {
    pub fn new(egress: Egress, plan: P) -> Self {
        Self { egress, plan }
    }
}

#[async_trait]
impl<P: RevocationPlan> VendorRevoker for Rfc7009<P> {
    async fn revoke(&self, account: RevokedCredentials<'_>) -> Told {
        let calls = match self.plan.calls(account).await {
            Ok(calls) if calls.is_empty() => return Told::NotRevocable("the account holds no token".to_owned()),
            Ok(calls) => calls,
            Err(why) => return Told::NotRevocable(why),
        };
        for call in calls {
            match self.one(call).await {
                Told::Revoked => {}
                other => return other,
            }
        }
        Told::Revoked
    }
}

impl<P> Rfc7009<P> {
    async fn one(&self, call: RevocationCall) -> Told {
        let outgoing = match outgoing(&call) {
            Ok(outgoing) => outgoing,
            Err(why) => return Told::Refused(why),
        };
        match self.egress.send(outgoing).await {
            Ok(answer) => said(answer.status.as_u16(), &answer.body),
            Err(error) => Told::NoAnswer(error.to_string()),
        }
    }
}

/// RFC 7009 §2.1.
fn outgoing(call: &RevocationCall) -> Result<EgressRequest, String> {
    let url = parse_url(&call.url).map_err(|error| error.to_string())?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", call.token.expose()).append_pair("token_type_hint", call.hint);
    let mut basic = None;
    if let Some(client) = &call.client {
        let (id, secret) = (client.id.expose(), client.secret.expose());
        if client.auth == ClientAuth::Basic {
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            basic = Some(STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))));
        } else {
            form.append_pair("client_id", id);
            if !secret.is_empty() {
                form.append_pair("client_secret", secret);
            }
        }
    }
    let binding = HostBinding::of_url(&url);
    let caps = Caps { wire_bytes: LARGEST_ANSWER, decoded_bytes: LARGEST_ANSWER, ..Caps::default() };
    let mut outgoing = EgressRequest::new(Method::POST, url, binding, Instant::now() + TIMEOUT)
        .with_caps(caps)
        .with_header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
        .with_header(ACCEPT, HeaderValue::from_static("application/json"))
        .with_body(form.finish());
    if let Some(basic) = basic {
        let mut value = HeaderValue::try_from(format!("Basic {basic}")).map_err(|_| "the client cannot be sent")?;
        value.set_sensitive(true);
        outgoing = outgoing.with_header(AUTHORIZATION, value);
    }
    Ok(outgoing)
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
}

/// RFC 7009 §2.2: 200 also for a token that is unknown, which is as good.
fn said(status: u16, body: &[u8]) -> Told {
    let code = serde_json::from_slice::<Refusal>(body).ok().and_then(|refusal| refusal.error);
    // Only what the RFCs know is repeated.
    let code = ["invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_token_type"]
        .into_iter()
        .find(|known| code.as_deref() == Some(known));
    let text = match code {
        Some(code) => format!("HTTP {status}, {code}"),
        None => format!("HTTP {status}"),
    };
    match (status, code) {
        (200..=299, None) => Told::Revoked,
        // A grant that is not valid any more needs no revocation.
        (_, Some("invalid_grant")) => Told::Revoked,
        (_, Some("unsupported_token_type")) => Told::NotRevocable(text),
        (408 | 425 | 429 | 500..=599, _) => Told::NoAnswer(text),
        _ => Told::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_rfc_says() {
        assert_eq!(said(200, b""), Told::Revoked);
        assert_eq!(said(204, b"{}"), Told::Revoked);
        assert_eq!(said(400, br#"{"error":"invalid_grant"}"#), Told::Revoked);
        assert_eq!(
            said(400, br#"{"error":"unsupported_token_type"}"#),
            Told::NotRevocable("HTTP 400, unsupported_token_type".into())
        );
        assert_eq!(said(401, br#"{"error":"invalid_client"}"#), Told::Refused("HTTP 401, invalid_client".into()));
        assert_eq!(said(503, b"secret words"), Told::NoAnswer("HTTP 503".into()));
        assert_eq!(said(400, br#"{"error":"canary"}"#), Told::Refused("HTTP 400".into()));
        assert_eq!(said(404, b""), Told::Refused("HTTP 404".into()));
    }
}
