//! What a server answers with. Payloads are JSON that is already serialized: the writers copy it and never parse it.

use std::borrow::Cow;

use bytes::Bytes;

use super::server::AuthFailure;

/// The outcome of one tool call.
#[derive(Debug)]
pub enum ToolReply {
    /// The product's shape: one JSON object, shown both as structured content and as text.
    Envelope(Envelope),
    /// An envelope that was written before.
    Written(Written),
    /// Free-form content blocks.
    Content(ContentReply),
    /// The client must collect something from its user and repeat the call (2026-07-28 only).
    InputRequired(InputRequired),
    /// A JSON-RPC error. For faults of the protocol, not for a call that went wrong.
    Error(RpcError),
    /// The key is good but not for this: answered as HTTP 403, 429 or 503.
    Denied(AuthFailure),
}

/// A serialized JSON object and how to present it.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// One complete JSON object in UTF-8.
    pub json: Bytes,
    /// Whether the call failed.
    pub is_error: bool,
    /// The text block, where it is not the JSON itself.
    pub text: Option<Cow<'static, str>>,
}

impl Envelope {
    /// A success; the text block repeats the JSON.
    #[must_use]
    pub fn ok(json: impl Into<Bytes>) -> Self {
        Self { json: json.into(), is_error: false, text: None }
    }

    /// A failure; the text block repeats the JSON.
    #[must_use]
    pub fn error(json: impl Into<Bytes>) -> Self {
        Self { json: json.into(), is_error: true, text: None }
    }

    /// Replaces the text block.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = Some(text.into());
        self
    }
}

/// The members of a successful result, to be copied into answers.
#[derive(Debug, Clone)]
pub struct Written(Bytes);

impl Written {
    /// Writes an envelope once for many answers.
    #[must_use]
    pub fn new(envelope: &Envelope) -> Self {
        let mut members = Vec::new();
        super::respond::members(&mut members, envelope);
        Self(members.into())
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Content blocks as the protocol defines them.
#[derive(Debug, Clone)]
pub struct ContentReply {
    /// A serialized JSON array of content blocks.
    pub blocks: Bytes,
    /// A serialized JSON object for `structuredContent`.
    pub structured: Option<Bytes>,
    /// Whether the call failed.
    pub is_error: bool,
}

impl ContentReply {
    /// A success made of the given blocks.
    #[must_use]
    pub fn blocks(blocks: impl Into<Bytes>) -> Self {
        Self { blocks: blocks.into(), structured: None, is_error: false }
    }

    /// A success made of one text block.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::blocks(serde_json::json!([{"type": "text", "text": text}]).to_string())
    }

    /// A failure made of one text block.
    #[must_use]
    pub fn error_text(text: &str) -> Self {
        Self { is_error: true, ..Self::text(text) }
    }
}

/// A request for more input. At least one field must be set.
#[derive(Debug, Clone, Default)]
pub struct InputRequired {
    /// A serialized JSON object: key to `{method, params}`.
    pub requests: Option<Bytes>,
    /// Opaque state to be sent back. The issuer seals it.
    pub state: Option<String>,
}

/// The outcome of a method other than the tool methods.
#[derive(Debug)]
pub enum MethodReply {
    /// A serialized JSON object: the result without `resultType`, `_meta` and cache hints, which the layer adds.
    Result(MethodResult),
    /// As for tools.
    InputRequired(InputRequired),
    /// A JSON-RPC error.
    Error(RpcError),
    /// As for tools.
    Denied(AuthFailure),
}

/// See [`MethodReply::Result`].
#[derive(Debug, Clone)]
pub struct MethodResult {
    /// The object.
    pub json: Bytes,
    /// Whether the revision of 2026-07-28 wants cache hints on it (lists and reads).
    pub cacheable: bool,
}

/// A JSON-RPC error object.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// The code.
    pub code: i32,
    /// Shown to the client.
    pub message: Cow<'static, str>,
    /// Serialized JSON.
    pub data: Option<Bytes>,
}

impl RpcError {
    /// An error without data.
    #[must_use]
    pub fn new(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Adds serialized JSON as `data`.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// -32602.
    #[must_use]
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(super::protocol::code::INVALID_PARAMS, message)
    }

    /// -32603.
    #[must_use]
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(super::protocol::code::INTERNAL, message)
    }

    /// -32021: the call needs client capabilities that were not declared, e.g. `{"elicitation":{"url":{}}}`.
    #[must_use]
    pub fn missing_capability(required: &str) -> Self {
        Self::new(
            super::protocol::code::MISSING_CAPABILITY,
            "the call needs client capabilities that were not declared",
        )
        .with_data(format!("{{\"requiredCapabilities\":{required}}}"))
    }
}

/// Arguments that parsers would read differently from one another, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentProblem {
    /// An object names the same key twice; parsers disagree on which value counts.
    #[error("the arguments name the key {key:?} twice in one object; send it once")]
    DuplicateKey {
        /// The key, cut when long.
        key: String,
    },
    /// Nested deeper than the limit.
    #[error("the arguments are nested deeper than {limit} levels; flatten them")]
    TooDeep {
        /// The limit, counted from the root of the message.
        limit: usize,
    },
}
