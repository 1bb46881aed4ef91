//! How a person signs in at the vendor: the `oauth` block of a flow. Everything in which vendors differ is data here.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::token::ClientAuth;

/// The vendor's authorization server. URLs and parameter values are templates over the fields typed before sign-in
/// (`{account.shop}`) and, after the token has come, over the kept ones.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuthFlow {
    /// Where the person's browser is sent (RFC 6749 §3.1). For `popup_oauth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// RFC 6749 §3.2.
    pub token_url: String,
    /// Device authorization endpoint (RFC 8628 §3.1). For `device_code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_url: Option<String>,
    /// RFC 7009.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke_url: Option<String>,
    /// What `iss` of the callback must be (RFC 9207). Present: a callback without `iss` is refused as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Between scopes; a space unless said otherwise.
    #[serde(default = "space", skip_serializing_if = "is_space")]
    pub scope_separator: String,
    /// How our client proves itself at the token endpoint.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// Further parameters of the authorization request.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub authorize_params: IndexMap<String, String>,
    /// Further parameters of every token request.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub token_params: IndexMap<String, String>,
    /// Where things are in the token reply.
    #[serde(default)]
    pub answer: TokenPointers,
    /// Life of an access token whose reply does not say; absent: it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u32>,
    #[serde(default)]
    pub refresh: RefreshRules,
    /// A field of the credentials flow that also means the access token, so that one transport serves both. Without it
    /// the transport says `{token}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_field: Option<String>,
    /// Account fields that sign-in itself brings: a tenant id, a base URL's host.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub keep: IndexMap<String, KeptField>,
    /// One call after sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// What the person calls this account: shown before it is claimed, and its label unless another is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<Source>,
    #[serde(default, skip_serializing_if = "Dialect::is_standard")]
    pub dialect: Dialect,
}

fn space() -> String {
    " ".to_owned()
}

fn is_space(text: &str) -> bool {
    text == " "
}

/// JSON pointers (RFC 6901) into a token reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenPointers {
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds, as a number or a text.
    pub expires_in: String,
}

impl Default for TokenPointers {
    fn default() -> Self {
        Self {
            access_token: "/access_token".to_owned(),
            refresh_token: "/refresh_token".to_owned(),
            expires_in: "/expires_in".to_owned(),
        }
    }
}

/// What becomes of a refresh token when it is used.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RefreshRules {
    /// The vendor replaces it at each use. The default, because believing it wrongly costs a reconnect at the worst, and
    /// the other error costs the account.
    pub rotates: bool,
    /// Where it is redeemed, if not at `token_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Default for RefreshRules {
    fn default() -> Self {
        Self { rotates: true, url: None }
    }
}

/// Where a value comes from. Exactly one of the three.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Parameter of the callback's query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<String>,
    /// JSON pointer into the token reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// JSON pointer into the answer of the discovery call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<String>,
}

/// An account field that is not typed but told by the vendor.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeptField {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<String>,
    /// A host, or a URL of which the host is kept. Checked as a host that a person types.
    pub host: bool,
    pub secret: bool,
    pub optional: bool,
    /// Regular expression the whole value must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

impl KeptField {
    pub fn source(&self) -> Source {
        Source { callback: self.callback.clone(), token: self.token.clone(), discovery: self.discovery.clone() }
    }
}

/// A GET with the new token, to learn whose account it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    pub url: String,
    /// `Authorization: Bearer {token}` and `Accept: application/json` unless said otherwise.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
}

/// Where a vendor says other words than the RFCs do. Maps are from the RFC's name to the vendor's; an empty name leaves
/// the parameter out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dialect {
    /// Parameters of the authorization request.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub authorize: IndexMap<String, String>,
    /// Parameters of the callback.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub callback: IndexMap<String, String>,
    /// Parameters of token requests of every grant.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub token: IndexMap<String, String>,
    /// Parameters of the device authorization request.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub device: IndexMap<String, String>,
    /// Fields of its answer.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub device_answer: IndexMap<String, String>,
    /// Values of `grant_type`: `authorization_code`, `refresh_token`, `device_code`.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub grants: IndexMap<String, String>,
    /// The vendor's error codes that mean one of RFC 6749 or RFC 8628, from the vendor's to the RFC's.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub errors: IndexMap<String, String>,
    /// How token requests travel.
    pub request: TokenRequestStyle,
    /// Where the device code is redeemed, if not at `token_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_token_url: Option<String>,
}

impl Dialect {
    fn is_standard(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenRequestStyle {
    /// RFC 6749: a form.
    #[default]
    Form,
    Json,
    /// GET with the parameters in the query.
    Query,
}
