//! Borrowed views of a JSON-RPC message. Only what decides the route is decoded; the rest stays raw text.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json::Json;
use super::protocol::code;

/// One JSON-RPC message.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Request {
        id: &'a str,
        method: Cow<'a, str>,
        params: Option<Json<'a>>,
    },
    Notification {
        method: Cow<'a, str>,
        params: Option<Json<'a>>,
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

/// A set of members that are looked for in an object.
pub(super) trait Wanted<'a>: Default {
    /// Keeps the value if it is wanted. False: there was one of that name already.
    fn keep(&mut self, name: &str, value: Json<'a>) -> bool;
}

/// Declares a struct of members by name.
macro_rules! wanted {
    ($(#[$doc:meta])* $vis:vis struct $type:ident { $($field:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        $vis struct $type<'a> {
            $($vis $field: Option<$crate::mcp::json::Json<'a>>,)*
        }

        impl<'a> $crate::mcp::frame::Wanted<'a> for $type<'a> {
            fn keep(&mut self, name: &str, value: $crate::mcp::json::Json<'a>) -> bool {
                let slot = match name {
                    $($name => &mut self.$field,)*
                    _ => return true,
                };
                slot.replace(value).is_none()
            }
        }
    };
}
pub(super) use wanted;

wanted! {
    struct Frame {
        jsonrpc = "jsonrpc",
        id = "id",
        method = "method",
        params = "params",
        result = "result",
        error = "error",
    }
}

impl<'a> Frame<'a> {
    /// `None`: a name stands twice, so that nobody knows which value counts.
    fn of(message: Json<'a>) -> Option<Self> {
        let mut frame = Self::default();
        message.members().all(|(name, value)| frame.keep(&name, value)).then_some(frame)
    }
}

wanted! {
    /// The parameters that the protocol itself reads, of all methods together.
    pub(super) struct Params {
        meta = "_meta",
        name = "name",
        uri = "uri",
        task_id = "taskId",
        arguments = "arguments",
        cursor = "cursor",
        input_responses = "inputResponses",
        request_state = "requestState",
        protocol_version = "protocolVersion",
        client_info = "clientInfo",
        request_id = "requestId",
    }
}

wanted! {
    /// `_meta` of a request.
    pub(super) struct Meta {
        version = "io.modelcontextprotocol/protocolVersion",
        capabilities = "io.modelcontextprotocol/clientCapabilities",
        client = "io.modelcontextprotocol/clientInfo",
        log_level = "io.modelcontextprotocol/logLevel",
        progress_token = "progressToken",
        traceparent = "traceparent",
        tracestate = "tracestate",
    }
}

/// Whether the text is JSON at all: the scan may have stopped before a later fault.
pub(super) fn check(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<&RawValue>(text).map(drop)
}

/// Reads one message that is known to be JSON.
pub(super) fn read(text: &str) -> Result<Message<'_>, NotAMessage<'_>> {
    let invalid = |id, what: &'static str| NotAMessage { id, code: code::INVALID_REQUEST, what: Cow::Borrowed(what) };
    let message = Json::scanned(text);
    let Some(frame) = Frame::of(message).filter(|_| message.is_object()) else {
        return Err(invalid(None, "the body is not one JSON-RPC object"));
    };
    let id = match frame.id.map(Json::get) {
        None => None,
        Some(raw) if is_id(raw) => Some(raw),
        Some(_) => return Err(invalid(None, "id must be a string or an integer")),
    };
    if frame.jsonrpc.map(Json::get) != Some("\"2.0\"") {
        return Err(invalid(id, "jsonrpc must be \"2.0\""));
    }
    let Some(method) = frame.method else {
        return if id.is_some() && (frame.result.is_some() || frame.error.is_some()) {
            Ok(Message::Response)
        } else {
            Err(invalid(id, "method is missing"))
        };
    };
    let Some(method) = method.string() else {
        return Err(invalid(id, "method must be a string"));
    };
    if frame.result.is_some() || frame.error.is_some() {
        return Err(invalid(id, "a message with a method has neither result nor error"));
    }
    if frame.params.is_some_and(|params| !params.is_object()) {
        return Err(invalid(id, "params must be an object"));
    }
    Ok(match id {
        Some(id) => Message::Request { id, method, params: frame.params },
        None => Message::Notification { method, params: frame.params },
    })
}

/// Reads an object such as [`Params`] or [`Meta`]; absence reads as empty, and a member that is `null` as absent.
pub(super) fn object<'a, T: Wanted<'a>>(json: Option<Json<'a>>) -> Option<T> {
    let mut wanted = T::default();
    match json {
        None => {}
        Some(json) if json.is_object() => {
            for (name, value) in json.members().filter(|(_, value)| !value.is_null()) {
                wanted.keep(&name, value);
            }
        }
        Some(_) => return None,
    }
    Some(wanted)
}

/// Ids and progress tokens: a string or an integer.
pub(super) fn is_id(raw: &str) -> bool {
    match raw.as_bytes() {
        [b'"', ..] => true,
        [b'-' | b'0'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
