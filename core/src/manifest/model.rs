//! The manifest of one connector, as written in YAML.
//!
//! A manifest says everything that would otherwise be connector-specific code: who the vendor is, which
//! credential fields an account has, where they travel, which operations exist and what each one does to
//! the world. Unknown keys are refused, so a typo is an error and never a silently ignored rule.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::{self, RateLimit};
use super::oauth::OAuthFlow;
use super::pagination::Pagination;
use super::signature::Signature;
use super::token::TokenGrant;

/// One connector: `catalog-service/connectors/<category>/<key>.yaml`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Canonical key, `[a-z][a-z0-9_]*`, at most 32 characters; the file is named after it.
    pub key: String,
    /// The vendor's own name, as people write it.
    pub name: String,
    /// Name in Russian where the service is known by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_ru: Option<String>,
    /// What it is good for, in at most 32 characters: one line of `list_services`.
    pub tagline: String,
    /// One or two sentences for people and models.
    pub description: String,
    pub category: Category,
    /// The vendor's API documentation.
    pub docs: String,
    /// Listed for everyone, executable only with the `admin` scope.
    #[serde(default, skip_serializing_if = "is_false")]
    pub admin_only: bool,
    /// `thin` shows only summary and transport; its operations still decide effects and answer in the sandbox.
    #[serde(default)]
    pub passport: Passport,
    /// Changes whenever a caller could notice a difference. Free text, conventionally `2026-11-22`.
    pub version: String,
    /// How long a client may cache the passport, in seconds.
    #[serde(default = "default_ttl")]
    pub ttl: u32,
    /// Search synonyms in English and Russian.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    pub auth: Auth,
    #[serde(default)]
    pub transport: Transport,
    /// Modules in the order a reader meets them.
    pub modules: IndexMap<String, Module>,
    pub operations: Vec<Operation>,
    /// When a 2xx answer counts as success; operations may override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<SuccessRule>,
    #[serde(default)]
    pub errors: ErrorRules,
    /// Named buckets; an operation names the one it spends from, else `default` applies when present.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub rate_limits: IndexMap<String, RateLimit>,
    /// Calls of one organization that may be under way at once, all executors together.
    #[serde(default = "limits::concurrency", skip_serializing_if = "limits::is_default")]
    #[schemars(range(min = 1))]
    pub concurrency: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// Short advice on fields and habits of this API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Value lists, named, with what each value means. Referenced by `x-enum: <name>` in a parameter or a body, or, where
    /// the vendor has values beyond the list, by `x-extensible-enum: <name>` in a body.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub enums: IndexMap<String, IndexMap<String, String>>,
    pub verified: Verified,
}

fn default_ttl() -> u32 {
    86_400
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    Marketplaces,
    Ecommerce,
    Crm,
    ErpAccounting,
    Banking,
    Payments,
    DocumentFlow,
    Messengers,
    Communications,
    Advertising,
    Analytics,
    Logistics,
    Data,
    Productivity,
    Hr,
    DeveloperTools,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Passport {
    #[default]
    Rich,
    Thin,
}

/// How an account is connected.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Flows in order of preference. Every connector has at least one.
    pub flows: Vec<Flow>,
    /// Operation id (a `read` without required parameters) that proves an account works. A body is that of its example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    pub kind: FlowKind,
    /// What the person is asked for, e.g. "API token".
    pub label: String,
    /// Where the person finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Credential fields in the order of the form; where a person signs in, what must be known before.
    #[serde(default)]
    pub fields: IndexMap<String, CredentialField>,
    /// The vendor's authorization server; with every kind but `credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuthFlow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlowKind {
    /// The person types the fields.
    Credentials,
    /// Authorization code with PKCE in a popup.
    PopupOauth,
    /// RFC 8628.
    DeviceCode,
}

impl FlowKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::PopupOauth => "popup_oauth",
            Self::DeviceCode => "device_code",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Credentials, Self::PopupOauth, Self::DeviceCode].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Flow {
    /// Whether an account that was connected this way has the field.
    pub fn brings(&self, field: &str) -> bool {
        let signed_in =
            |oauth: &OAuthFlow| oauth.keep.contains_key(field) || oauth.token_field.as_deref() == Some(field);
        self.fields.contains_key(field) || self.oauth.as_ref().is_some_and(signed_in)
    }
}

impl Manifest {
    /// The first flow of a kind.
    pub fn flow(&self, kind: FlowKind) -> Option<&Flow> {
        self.auth.flows.iter().find(|flow| flow.kind == kind)
    }

    /// Body encoding of an operation, or of an unlisted call of the module.
    pub fn body_encoding(&self, module: &str, operation: Option<&Operation>) -> BodyEncoding {
        operation
            .and_then(|operation| operation.body_encoding)
            .or_else(|| self.modules.get(module).map(|module| module.body))
            .unwrap_or_default()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialField {
    pub label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Secret unless said otherwise: masked everywhere, scrubbed from answers.
    #[serde(default = "yes")]
    pub secret: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// A host name typed by the tenant. Validated as a public DNS name; changing it clears the secrets.
    #[serde(default, skip_serializing_if = "is_false")]
    pub host: bool,
    /// May have line breaks: a private key.
    #[serde(default, skip_serializing_if = "is_false")]
    pub multiline: bool,
    /// Regular expression the whole value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Value of the built-in sandbox account; made up from the field name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// Value used when an optional field is left empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

fn yes() -> bool {
    true
}

/// Where credentials travel. Every value is a template: `{account.<field>}` and `{token}` (see [`TokenGrant`], or the
/// access token of an account that signed in).
/// A header or parameter whose template names an absent optional field is left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transport {
    /// Headers with credentials or fixed values, e.g. `Authorization: "Bearer {account.api_token}"`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
    /// Query parameters added to every request.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub query: IndexMap<String, String>,
    /// Top-level fields added to every JSON or form body.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub body: IndexMap<String, String>,
    /// HTTP Basic (RFC 7617).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// How `{token}` is obtained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenGrant>,
    /// How requests are signed, by a name of your choice; at most one signs the calls of a module.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub signatures: IndexMap<String, Signature>,
    /// Header names a caller may set through `headers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caller_headers: Vec<String>,
    /// Send the W3C trace context (`traceparent`, `tracestate`) along, for a vendor that continues traces. Off: what is
    /// traced here is nobody else's business.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trace: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    pub username: String,
    #[serde(default)]
    pub password: String,
}

/// A group of operations behind one base URL.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Module {
    pub summary: String,
    /// `https://host[/prefix]`, a template over account fields, without a trailing slash.
    pub base_url: String,
    #[serde(default)]
    pub style: Style,
    /// An open module accepts paths no operation describes; such a call has effect `once`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub open: bool,
    /// Encoding of request bodies; operations may override.
    #[serde(default)]
    pub body: BodyEncoding,
    /// Form field that holds the caller's whole body as JSON text, byte for byte; with `body: form`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_field: Option<String>,
    /// For `style: rpc`: how a method name becomes a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc: Option<RpcShape>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    #[default]
    Rest,
    Rpc,
}

/// RPC over HTTP: `method` of the call is the vendor's method verbatim, arguments are the body.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RpcShape {
    /// Path with `{method}`, e.g. `/{method}.json`.
    pub path: String,
    #[serde(default = "post")]
    pub verb: String,
}

fn post() -> String {
    "POST".to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyEncoding {
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`; nested values as `a[b]=c`, `a[0]=c` (the convention of PHP and Stripe), lists
    /// otherwise where `body_arrays` says so.
    Form,
    /// `multipart/form-data`. A member that is an object with `filename` and `content` (format `byte`: base64) is a file, and
    /// may have a `content_type`; other objects travel as JSON, and each item of a list under the list's name.
    Multipart,
}

/// What a call does to the world; decides what a retry may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Repeating it changes nothing further (a full replacement, a deletion by id).
    Idempotent,
    /// The vendor recognises a repeat by an idempotency key.
    Keyed,
    /// A repeat may do it twice. The default for everything undeclared.
    #[default]
    Once,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// `snake_case`, unique in the connector.
    pub id: String,
    pub module: String,
    /// HTTP verb in capitals, or the RPC method name.
    pub method: String,
    /// Path template below the module's base URL: `{name}` is one segment or a part of one, `{name+}` the rest of
    /// the path. Absent for RPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it does, in one short sentence.
    pub summary: String,
    pub effect: Effect,
    /// Why the effect is not what the verb suggests (GET = read, PUT and DELETE = idempotent, POST and PATCH = once).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_reason: Option<String>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub path_params: IndexMap<String, Param>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub query: IndexMap<String, Param>,
    /// JSON Schema (2020-12) of the body. Absent: the operation takes no body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub body_required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_encoding: Option<BodyEncoding>,
    /// How lists travel in a form; `a[0]=1&a[1]=2` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_arrays: Option<ArrayStyle>,
    /// Fixed headers of this operation.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<SuccessRule>,
    /// A request a reader can copy: `query`, `body`, `path_params`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_example: Option<RequestExample>,
    /// A plausible answer; the sandbox returns it.
    pub response_example: Value,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestExample {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub path_params: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// A path or query parameter: JSON Schema keywords plus how it travels.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    #[serde(rename = "type")]
    pub kind: ParamType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// `date`, `date-time`, `date-or-date-time`, `uuid`, `uri`, `email`, `byte`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
    /// Name of a list under `enums`.
    #[serde(default, rename = "x-enum", skip_serializing_if = "Option::is_none")]
    pub x_enum: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    #[serde(default, rename = "maxLength", skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Type of the items of an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ParamType>,
    /// How an array travels in the query.
    #[serde(default)]
    pub style: ArrayStyle,
    /// Path parameter that may contain `%2F`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub encoded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    /// Query only: nested keys `filter[a]=1`.
    Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArrayStyle {
    /// `a=1&a=2`
    #[default]
    Repeat,
    /// `a=1,2`
    Comma,
    /// `a[]=1&a[]=2`
    Brackets,
}

/// A 2xx answer is a success when every condition holds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuccessRule {
    pub all: Vec<Condition>,
}

/// A statement about the JSON answer at a pointer (RFC 6901). Exactly one of the tests is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    pub pointer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_equals: Option<Value>,
    /// true: must be present and not null; false: must be absent or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// true: absent, null, `""`, `[]` or `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<bool>,
}

/// Where a vendor's error text and code are, and what its statuses mean beyond HTTP.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorRules {
    /// JSON pointers tried in order for a human message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub message: Vec<String>,
    /// JSON pointers tried in order for the vendor's code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<String>,
    /// Response headers with the wait in seconds after a 429, besides `Retry-After`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_after_headers: Vec<String>,
    /// JSON pointers to the wait in seconds after a 429.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_after_pointers: Vec<String>,
    /// First match wins; without one the HTTP status decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<ErrorMapping>,
}

impl ErrorRules {
    /// What an answer means by the map. `None`: its HTTP status decides.
    pub fn meaning(&self, status: u16, code: Option<&str>) -> Option<ErrorMeaning> {
        let fits = |mapping: &&ErrorMapping| {
            mapping.status.is_none_or(|wanted| wanted == status)
                && mapping.code.as_deref().is_none_or(|wanted| Some(wanted) == code)
        };
        self.map.iter().find(fits).map(|mapping| mapping.means)
    }
}

/// Every given condition must hold.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorMapping {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The vendor's code, compared as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub means: ErrorMeaning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorMeaning {
    /// The credential is expired or invalid: reconnect.
    AccountExpired,
    /// The credential lacks a permission at the vendor.
    ScopeMissing,
    RateLimited,
    /// The vendor refused the arguments.
    Rejected,
    /// The vendor failed; the outcome is unknown unless the operation is a read.
    Failed,
}

/// How the vendor recognises a repeat: by a key that travels in exactly one of the three places, and is the caller's where
/// the caller gives one there.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// A parameter of the query; the key is a UUID there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A field at the top of the body; the key is a UUID there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How long the vendor remembers a key, in seconds.
    pub retention_seconds: u32,
}

/// How the facts were checked, and when.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    pub how: VerifiedHow,
    /// ISO 8601 date.
    pub on: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerifiedHow {
    /// The vendor's OpenAPI or WSDL document.
    Specification,
    /// The vendor's documentation pages.
    Documentation,
    /// Client code of others.
    ClientCode,
}
