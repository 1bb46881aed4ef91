//! Request signatures as data: `transport.signatures`.
//!
//! | module | what it does |
//! | --- | --- |
//! | here | the format |
//! | `expression` | the language of its texts |
//! | `compiled` | a signature made ready, and what may be named where |
//! | `sign` | the signature of one request |
//! | `digest` | digests and MACs |

mod compiled;
mod digest;
mod expression;
mod sign;
#[cfg(test)]
mod tests;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

pub use compiled::{CompiledSignature, SignatureError};
pub use expression::{Expression, ExpressionError, Named, RequestPart, TimeForm};
pub use sign::{BodyForm, FieldValues, Placed, Signable, Signer, SigningError, Stamp};

/// How the requests of some modules are signed. Texts are literal but for `{…}`:
///
/// | written | stands for |
/// | --- | --- |
/// | `{account.<field>}`, `{token}` | a credential |
/// | `{request.method}`, `{request.host}`, `{request.path}`, `{request.query}`, `{request.target}` (path and query), `{request.url}` (without query), `{request.body}` | the request as it is sent |
/// | `{query.<name>}`, `{body.<name>}` | the first parameter, the field at the top of the body |
/// | `{time.seconds}`, `{time.millis}`, `{time.iso}`, `{nonce}` | this try's own |
/// | `{name}`, `{value}` | in `pair` |
/// | `{signature}`, `{signed}` | in placements: the result, the text that was signed |
///
/// A part that names something absent is left out; `{query.note?}` is empty then. Filters follow a bar, from left to right:
/// `percent` (RFC 3986), `upper`, `lower`, `underscore` (for `-`), `base64`, `base64url` (no padding), `md5` and `sha256`
/// (hexadecimal digits).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Whose calls; every module's when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    pub algorithm: SignatureAlgorithm,
    /// Credential field that names another algorithm of the same kind, where the account chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm_field: Option<String>,
    /// Key of an HMAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is signed, in order.
    pub parts: Vec<SignedPart>,
    /// What stands between the parts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub join: String,
    #[serde(default, skip_serializing_if = "is_hex")]
    pub encoding: SignatureEncoding,
    /// Headers of a signed request. Here, in `query` and in `body`: what does not name `{signature}` or `{signed}` is put in
    /// before the signing, so that what is signed has it.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub query: IndexMap<String, String>,
    /// Fields at the top of the body.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub body: IndexMap<String, String>,
    /// Travels in place of the body, as with a JWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

impl Signature {
    /// Whether the calls of a module are signed so.
    pub fn signs(&self, module: &str) -> bool {
        signs(&self.modules, module)
    }
}

/// No modules named: all.
fn signs(modules: &[String], module: &str) -> bool {
    modules.is_empty() || modules.iter().any(|known| known == module)
}

/// A text, or a list of fields.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SignedPart {
    Text(String),
    Fields(SignedFields),
}

/// Names and values of the request, in bytewise order of the names, then of the values, as `pair` writes them. Of JSON these
/// are the members at the top that are neither an object, nor a list, nor null; of a form all pairs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedFields {
    pub fields: Vec<FieldSource>,
    /// Only names that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Names that are not signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Signed with the others but not sent, or sent elsewhere.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub add: IndexMap<String, String>,
    #[serde(default = "equation", skip_serializing_if = "is_equation")]
    pub pair: String,
    /// What stands between the pairs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub join: String,
    /// The whole list is percent-encoded once more (RFC 5849 §3.4.1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub percent: bool,
}

fn equation() -> String {
    "{name}={value}".to_owned()
}

fn is_equation(text: &str) -> bool {
    text == equation()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldSource {
    Query,
    Body,
}

/// A digest, which must be given a secret to digest, or an HMAC (RFC 2104).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureAlgorithm {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    HmacMd5,
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

impl SignatureAlgorithm {
    /// By the name that it has in a manifest.
    pub fn parse(name: &str) -> Option<Self> {
        let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }

    /// Takes a key.
    pub fn is_mac(self) -> bool {
        matches!(self, Self::HmacMd5 | Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha384 | Self::HmacSha512)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    #[default]
    Hex,
    HexUpper,
    Base64,
    /// Without padding (RFC 7515).
    Base64url,
}

fn is_hex(encoding: &SignatureEncoding) -> bool {
    *encoding == SignatureEncoding::Hex
}
