//! Tokens that an account gets without a person: `transport.token`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::oauth::TokenRequestStyle;

/// A token obtained without a person. Every text is a template over account fields.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenGrant {
    pub kind: TokenGrantKind,
    /// Token endpoint, a template.
    pub url: String,
    /// For `client_credentials`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_secret: String,
    /// RFC 6749 §2.3.1: `body` (client_id and client_secret in the request) or `basic`.
    #[serde(default)]
    pub client_auth: ClientAuth,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// How the parameters travel.
    #[serde(default, skip_serializing_if = "is_form")]
    pub request: TokenRequestStyle,
    /// The vendor's names for `grant_type`, `client_id`, `client_secret`, `scope` and `assertion`; an empty one leaves the
    /// parameter out.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub names: IndexMap<String, String>,
    /// Further parameters; also replaces `grant_type`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub params: IndexMap<String, String>,
    /// For `login`: the request that opens a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginRequest>,
    /// For `jwt_bearer`: what is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<Assertion>,
    /// JSON pointer to the token.
    #[serde(default = "access_token", skip_serializing_if = "is_access_token")]
    pub access_token: String,
    /// JSON pointer to its life in seconds.
    #[serde(default = "expires_in", skip_serializing_if = "is_expires_in")]
    pub expires_in: String,
    /// Life of a token whose answer does not say; 300 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u32>,
}

fn is_form(style: &TokenRequestStyle) -> bool {
    *style == TokenRequestStyle::Form
}

fn access_token() -> String {
    "/access_token".to_owned()
}

fn is_access_token(text: &str) -> bool {
    text == "/access_token"
}

fn expires_in() -> String {
    "/expires_in".to_owned()
}

fn is_expires_in(text: &str) -> bool {
    text == "/expires_in"
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenGrantKind {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// User name and password, or what the vendor calls so, for a session.
    Login,
    /// A service account: RFC 7523, signed by RS256.
    JwtBearer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    #[default]
    Body,
    Basic,
    /// A public client: its id alone.
    None,
}

/// The request that opens a session.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
    /// Texts in it, however deep, are templates. An object sent as JSON, or its top level as a form.
    pub body: Value,
}

/// Claims of a JWT (RFC 7519 §4.1), valid for `lifetime_seconds` from now.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// RSA private key in PEM, PKCS#8 or PKCS#1.
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    pub issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The token URL when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// At most 3600.
    #[serde(default = "ten_minutes")]
    pub lifetime_seconds: u32,
    /// Further claims, e.g. `scope`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub claims: IndexMap<String, String>,
}

fn ten_minutes() -> u32 {
    600
}
