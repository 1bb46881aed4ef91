//! Writes JSON-RPC answers by hand: ids and payloads are copied as they came, nothing is parsed again.

use http::{HeaderValue, StatusCode};

use super::advert::Advert;
use super::plain;
use super::protocol::{Era, ProtocolVersion, code};
use super::reply::{ContentReply, Envelope, InputRequired, MethodResult, RpcError};

/// The id slot of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Id<'a> {
    /// Raw JSON.
    Known(&'a str),
    /// It could not be read. JSON-RPC asks for `null`, which the revisions since 2026-07-28 forbid.
    Unknown(Era),
}

/// What a message is answered with.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: StatusCode,
    /// One JSON-RPC message; `None` for what needs no answer.
    pub(super) body: Option<Vec<u8>>,
    pub(super) challenge: Option<HeaderValue>,
    /// Seconds.
    pub(super) retry_after: Option<u64>,
    /// The value of the metrics label.
    pub(super) label: &'static str,
}

impl Outcome {
    pub(super) fn ok(body: Vec<u8>, label: &'static str) -> Self {
        Self { status: StatusCode::OK, body: Some(body), challenge: None, retry_after: None, label }
    }

    pub(super) fn accepted() -> Self {
        let status = StatusCode::ACCEPTED;
        Self { status, body: None, challenge: None, retry_after: None, label: "accepted" }
    }

    pub(super) fn error(status: StatusCode, id: Id<'_>, error: &RpcError) -> Self {
        let label = error_label(error.code);
        Self { status, body: Some(error_body(id, error)), challenge: None, retry_after: None, label }
    }
}

/// Opens `{"jsonrpc":"2.0","id":…,"result":{`.
fn begin(id: &str, payload: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload + id.len() + 384);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"result\":{");
    out
}

/// Closes what [`begin`] opened. The last byte before it is a complete member.
fn finish(mut out: Vec<u8>, version: ProtocolVersion, advert: &Advert) -> Vec<u8> {
    if version.era() == Era::Modern {
        out.extend_from_slice(&advert.meta);
    }
    out.extend_from_slice(b"}}");
    out
}

fn complete(out: &mut Vec<u8>, version: ProtocolVersion) {
    if version.era() == Era::Modern {
        out.extend_from_slice(b"\"resultType\":\"complete\",");
    }
}

/// A result whose bytes were made when the server started.
pub(super) fn prepared(id: &str, result: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(result.len() + id.len() + 32);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result);
    out.push(b'}');
    out
}

pub(super) fn envelope(id: &str, version: ProtocolVersion, advert: &Advert, reply: &Envelope) -> Vec<u8> {
    let text = text(reply);
    let mut out = begin(id, reply.json.len() + text.len() + text.len() / 8);
    complete(&mut out, version);
    members(&mut out, reply);
    finish(out, version, advert)
}

/// An envelope whose members were written before.
pub(super) fn written(id: &str, version: ProtocolVersion, advert: &Advert, members: &[u8]) -> Vec<u8> {
    let mut out = begin(id, members.len());
    complete(&mut out, version);
    out.extend_from_slice(members);
    finish(out, version, advert)
}

fn text(reply: &Envelope) -> &[u8] {
    reply.text.as_deref().map_or(reply.json.as_ref(), str::as_bytes)
}

/// Text block, structured content and outcome.
pub(super) fn members(out: &mut Vec<u8>, reply: &Envelope) {
    out.extend_from_slice(b"\"content\":[{\"type\":\"text\",\"text\":");
    push_quoted(out, text(reply));
    out.extend_from_slice(b"}],\"structuredContent\":");
    out.extend_from_slice(&reply.json);
    out.extend_from_slice(if reply.is_error { b",\"isError\":true" } else { b",\"isError\":false" });
}

pub(super) fn content(id: &str, version: ProtocolVersion, advert: &Advert, reply: &ContentReply) -> Vec<u8> {
    let mut out = begin(id, reply.blocks.len() + reply.structured.as_ref().map_or(0, bytes::Bytes::len));
    complete(&mut out, version);
    out.extend_from_slice(b"\"content\":");
    out.extend_from_slice(&reply.blocks);
    if let Some(structured) = &reply.structured {
        out.extend_from_slice(b",\"structuredContent\":");
        out.extend_from_slice(structured);
    }
    out.extend_from_slice(if reply.is_error { b",\"isError\":true" } else { b",\"isError\":false" });
    finish(out, version, advert)
}

pub(super) fn input_required(id: &str, version: ProtocolVersion, advert: &Advert, ask: &InputRequired) -> Vec<u8> {
    let mut out = begin(id, ask.requests.as_ref().map_or(0, bytes::Bytes::len) + 256);
    out.extend_from_slice(b"\"resultType\":\"input_required\"");
    if let Some(requests) = &ask.requests {
        out.extend_from_slice(b",\"inputRequests\":");
        out.extend_from_slice(requests);
    }
    if let Some(state) = &ask.state {
        out.extend_from_slice(b",\"requestState\":");
        push_string(&mut out, state);
    }
    finish(out, version, advert)
}

pub(super) fn method(id: &str, version: ProtocolVersion, advert: &Advert, reply: &MethodResult) -> Vec<u8> {
    let mut out = begin(id, reply.json.len());
    let members = reply.json.trim_ascii();
    let members = members.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(members).trim_ascii();
    if version.era() == Era::Modern {
        out.extend_from_slice(b"\"resultType\":\"complete\"");
        if reply.cacheable {
            out.extend_from_slice(&advert.cache);
        }
        if !members.is_empty() {
            out.push(b',');
        }
    }
    out.extend_from_slice(members);
    finish(out, version, advert)
}

pub(super) fn error_body(id: Id<'_>, error: &RpcError) -> Vec<u8> {
    let mut out = Vec::with_capacity(160 + error.message.len() + error.data.as_ref().map_or(0, bytes::Bytes::len));
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\"");
    match id {
        Id::Known(raw) => {
            out.extend_from_slice(b",\"id\":");
            out.extend_from_slice(raw.as_bytes());
        }
        Id::Unknown(Era::Legacy) => out.extend_from_slice(b",\"id\":null"),
        Id::Unknown(Era::Modern) => {}
    }
    out.extend_from_slice(b",\"error\":{\"code\":");
    out.extend_from_slice(error.code.to_string().as_bytes());
    out.extend_from_slice(b",\"message\":");
    push_string(&mut out, &error.message);
    if let Some(data) = &error.data {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data);
    }
    out.extend_from_slice(b"}}");
    out
}

/// Appends a JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    push_quoted(out, text.as_bytes());
}

/// Appends UTF-8 as a JSON string. An envelope has a quote every few bytes, so runs between them are too short to be
/// worth a copy of their own: whole words are copied and cut.
fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + text.len() / 4 + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk::<{ plain::WORD }>() {
        let run = plain::in_word(*word);
        out.extend_from_slice(word);
        let Some(escaped) = word.get(run) else {
            rest = after;
            continue;
        };
        out.truncate(out.len() - plain::WORD + run);
        push_escaped(out, *escaped);
        rest = rest.get(run + 1..).unwrap_or_default();
    }
    for byte in rest {
        push_escaped(out, *byte);
    }
    out.push(b'"');
}

/// Appends a byte of a string, escaped where it has to be.
fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..0x20 => {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0x0f)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
        }
        _ => out.push(byte),
    }
}

/// The metrics label of an error code.
pub(super) fn error_label(error: i32) -> &'static str {
    match error {
        code::PARSE => "parse_error",
        code::INVALID_REQUEST => "invalid_request",
        code::METHOD_NOT_FOUND => "method_not_found",
        code::INVALID_PARAMS => "invalid_params",
        code::INTERNAL => "internal",
        code::HEADER_MISMATCH => "header_mismatch",
        code::MISSING_CAPABILITY => "missing_capability",
        code::UNSUPPORTED_VERSION => "unsupported_version",
        code::UNAUTHENTICATED => "unauthenticated",
        code::FORBIDDEN => "forbidden",
        code::TIMEOUT => "timeout",
        code::TOO_LARGE => "too_large",
        code::RATE_LIMITED => "rate_limited",
        code::UNAVAILABLE => "unavailable",
        _ => "error",
    }
}

/// The HTTP status of an error a server answers a request with.
pub(super) fn error_status(error: &RpcError, version: ProtocolVersion) -> StatusCode {
    match (version.era(), error.code) {
        (Era::Modern, code::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        (Era::Modern, code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION) => {
            StatusCode::BAD_REQUEST
        }
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::push_string;

    #[test]
    fn strings_read_back_as_they_were() {
        for text in ["", "plain", "\"\\\n\r\t\u{8}\u{1}\u{1f}\u{7f}", "Ω ключ 𝄞", "ends with \"", "\u{2028}"] {
            let mut out = Vec::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
