//! Borrowed views of a JSON-RPC message. Only what decides the route is decoded; the rest stays raw text.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::protocol::code;

/// One JSON-RPC message.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Request {
        id: &'a str,
        method: Cow<'a, str>,
        params: Option<&'a RawValue>,
    },
    Notification {
        method: Cow<'a, str>,
        params: Option<&'a RawValue>,
    },
    /// An answer to a request this server never sends.
    Response,
}

/// JSON that is not a JSON-RPC message.
#[derive(Debug)]
pub(super) struct NotAMessage<'a> {
    /// The id, where it could be read.
    pub(super) id: Option<&'a str>,
    pub(super) code: i32,
    pub(super) what: Cow<'static, str>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// The parameters that the protocol itself reads, of all methods together.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Params<'a> {
    #[serde(borrow, default, deserialize_with = "present", rename = "_meta")]
    pub(super) meta: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) uri: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) task_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) cursor: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) input_responses: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) request_state: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) protocol_version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) client_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) request_id: Option<&'a RawValue>,
}

/// `_meta` of a request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub(super) version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub(super) capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientInfo")]
    pub(super) client: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel")]
    pub(super) log_level: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "progressToken")]
    pub(super) progress_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) traceparent: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) tracestate: Option<&'a RawValue>,
}

/// Tells an explicit `null` from absence, which serde's `Option` does not.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Reads one message.
pub(super) fn read(text: &str) -> Result<Message<'_>, NotAMessage<'_>> {
    let invalid = |id, what: &'static str| NotAMessage { id, code: code::INVALID_REQUEST, what: Cow::Borrowed(what) };
    let frame: Frame<'_> = match serde_json::from_str(text) {
        Ok(frame) => frame,
        // The scan may have stopped before a later fault, so this parser has the last word on syntax.
        Err(error) if error.is_syntax() || error.is_eof() => {
            let what = format!("the body is not valid JSON: {error}");
            return Err(NotAMessage { id: None, code: code::PARSE, what: Cow::Owned(what) });
        }
        Err(_) => return Err(invalid(None, "the body is not one JSON-RPC object")),
    };
    let id = match frame.id.map(RawValue::get) {
        None => None,
        Some(raw) if is_id(raw) => Some(raw),
        Some(_) => return Err(invalid(None, "id must be a string or an integer")),
    };
    if frame.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return Err(invalid(id, "jsonrpc must be \"2.0\""));
    }
    let Some(method) = frame.method else {
        return if id.is_some() && (frame.result.is_some() || frame.error.is_some()) {
            Ok(Message::Response)
        } else {
            Err(invalid(id, "method is missing"))
        };
    };
    let Some(method) = string(method) else {
        return Err(invalid(id, "method must be a string"));
    };
    if frame.result.is_some() || frame.error.is_some() {
        return Err(invalid(id, "a message with a method has neither result nor error"));
    }
    if frame.params.is_some_and(|params| !is_object(params)) {
        return Err(invalid(id, "params must be an object"));
    }
    Ok(match id {
        Some(id) => Message::Request { id, method, params: frame.params },
        None => Message::Notification { method, params: frame.params },
    })
}

/// Reads an object such as [`Params`] or [`Meta`]; absence reads as empty.
pub(super) fn object<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> Option<T> {
    match raw {
        None => Some(T::default()),
        Some(raw) if is_object(raw) => serde_json::from_str(raw.get()).ok(),
        Some(_) => None,
    }
}

/// The text of a JSON string, copied only if it has escapes.
pub(super) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = raw.get();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(quoted).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Whether `raw` is an object.
pub(super) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Ids and progress tokens: a string or an integer.
pub(super) fn is_id(raw: &str) -> bool {
    match raw.as_bytes() {
        [b'"', ..] => true,
        [b'-' | b'0'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
