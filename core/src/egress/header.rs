//! Which headers belong to the transport.

use http::HeaderName;

/// Headers that are set by the transport or claim something about it. Lower case, sorted.
///
/// RFC 9110 section 7.6.1 (connection), RFC 9112 section 6 (framing), RFC 7239 (Forwarded).
const TRANSPORT: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
];

/// Beginnings of such names.
const TRANSPORT_PREFIXES: &[&str] = &["x-forwarded-", "proxy-"];

/// True when a caller, a template or a manifest may set the header. The name is compared without regard
/// to case; a name that is not a valid header name is not settable.
///
/// Not settable: framing and hop-by-hop headers, `Host`, `Forwarded`, `X-Forwarded-*`, `Via`,
/// `X-Real-IP`, `Proxy-*`, `Expect`, and `Cookie`, which would smuggle a session into a call.
pub fn is_settable_header(name: &str) -> bool {
    match HeaderName::try_from(name) {
        Ok(name) => !is_transport_header(&name) && name != http::header::COOKIE,
        Err(_) => false,
    }
}

/// True for the headers that no request may carry, whoever made it.
pub(crate) fn is_transport_header(name: &HeaderName) -> bool {
    let name = name.as_str();
    TRANSPORT.binary_search(&name).is_ok()
        || TRANSPORT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name == "x-forwarded"
}
