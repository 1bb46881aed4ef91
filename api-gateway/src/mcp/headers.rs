//! Headers that mirror the body, so that intermediaries can route without parsing it. A mirror that lies is worse than
//! none, hence every comparison here is exact.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};

use super::protocol::code;
use super::reply::RpcError;

pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");

const BASE64_START: &str = "=?base64?";
const BASE64_END: &str = "?=";

/// A header that may appear once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Single<'a> {
    Absent,
    /// Without surrounding white space.
    Value(&'a str),
    /// Repeated, or not visible ASCII.
    Unreadable,
}

pub(super) fn single<'a>(map: &'a HeaderMap, name: &HeaderName) -> Single<'a> {
    let mut values = map.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Single::Absent,
        (Some(value), None) => {
            value.to_str().map_or(Single::Unreadable, |text| Single::Value(text.trim_matches([' ', '\t'])))
        }
        (Some(_), Some(_)) => Single::Unreadable,
    }
}

/// Undoes the base64 form `=?base64?…?=` that carries what a header cannot. Without both markers a value is literal.
/// `None` when the markers are there and the content is not strict base64 of UTF-8.
pub(super) fn decode(value: &str) -> Option<Cow<'_, str>> {
    let Some(encoded) = value.strip_prefix(BASE64_START).and_then(|rest| rest.strip_suffix(BASE64_END)) else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Checks `Mcp-Method`. Notifications may go without it.
pub(super) fn check_method(map: &HeaderMap, method: &str, required: bool) -> Result<(), RpcError> {
    match single(map, &METHOD) {
        Single::Value(value) if value == method => Ok(()),
        Single::Absent if !required => Ok(()),
        found => Err(mismatch("Mcp-Method", found, method)),
    }
}

/// Checks `Mcp-Name`.
pub(super) fn check_name(map: &HeaderMap, name: &str) -> Result<(), RpcError> {
    match single(map, &NAME) {
        Single::Value(value) if decode(value).is_some_and(|value| value == name) => Ok(()),
        found => Err(mismatch("Mcp-Name", found, name)),
    }
}

/// -32020 in words.
pub(super) fn mismatch(header: &str, found: Single<'_>, body: &str) -> RpcError {
    let message = match found {
        Single::Absent => format!("the header {header} is missing; the body says {}", shown(body)),
        Single::Unreadable => format!("the header {header} must appear once, as plain text"),
        Single::Value(value) => {
            format!("the header {header} says {}, the body says {}", shown(value), shown(body))
        }
    };
    RpcError::new(code::HEADER_MISMATCH, message)
}

/// Caller-supplied text, cut for a message.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    const LIMIT: usize = 128;
    match text.char_indices().nth(LIMIT) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// Which response types the client listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) json: bool,
    pub(super) events: bool,
}

impl Accept {
    /// Reads `Accept`, leniently: many clients list one type only, or none.
    pub(super) fn read(map: &HeaderMap) -> Self {
        let mut accept = Self { json: false, events: false };
        for value in map.get_all(http::header::ACCEPT) {
            for range in value.to_str().unwrap_or_default().split(',') {
                let mut parts = range.split(';').map(str::trim);
                let kind = parts.next().unwrap_or_default();
                if parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
                    continue;
                }
                let is = |name: &str| kind.eq_ignore_ascii_case(name);
                accept.json |= is("application/json") || is("application/*") || is("*/*");
                accept.events |= is("text/event-stream") || is("text/*") || is("*/*");
            }
        }
        // Nothing usable listed: JSON is what every client can read.
        accept.json |= !accept.events;
        accept
    }
}
