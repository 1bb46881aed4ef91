//! Browsers: which pages may call, under which host names, and the CORS answers that let them.
//!
//! A page that rebinds its own name to a loopback address reaches servers that only local programs should reach; its
//! requests carry the page's `Origin` and a foreign `Host`. Programs that are not browsers send no `Origin`.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Uri};

use super::headers::{self, Single};
use super::settings::{HostPolicy, McpSettings};

const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, accept, mcp-protocol-version, mcp-method, mcp-name, traceparent, tracestate",
);
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("WWW-Authenticate, Retry-After");
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The verdict on a request's origin and host.
#[derive(Debug, Clone)]
pub(super) enum Browser {
    /// No `Origin`: not a browser.
    No,
    /// A page that may call.
    Allowed(HeaderValue),
}

/// What is not allowed to call.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Foreign {
    #[error("this Origin is not allowed to call")]
    Origin,
    #[error("this Host is not served here")]
    Host,
}

pub(super) fn check(settings: &McpSettings, uri: &Uri, map: &HeaderMap) -> Result<Browser, Foreign> {
    // HTTP/2 names the host in the target.
    let host = match headers::single(map, &HOST) {
        Single::Value(host) => Some(host),
        Single::Absent => uri.authority().map(http::uri::Authority::as_str),
        Single::Unreadable => return Err(Foreign::Host),
    };
    let local = host.is_some_and(is_loopback);
    let served = match &settings.allowed_hosts {
        HostPolicy::Any => true,
        HostPolicy::Loopback => local || host.is_none(),
        HostPolicy::Names(names) => local || host.is_some_and(|host| names.iter().any(|name| same_host(name, host))),
    };
    if !served {
        return Err(Foreign::Host);
    }
    let origin = match headers::single(map, &ORIGIN) {
        Single::Absent => return Ok(Browser::No),
        Single::Value(origin) => origin,
        Single::Unreadable => return Err(Foreign::Origin),
    };
    // A local page calling a local server is a developer's tool; a local page calling a public one must be listed.
    let tool = local && origin.split_once("://").is_some_and(|(_, host)| is_loopback(host));
    let listed = || settings.allowed_origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin));
    if tool || listed() {
        HeaderValue::from_str(origin).map(Browser::Allowed).map_err(|_| Foreign::Origin)
    } else {
        Err(Foreign::Origin)
    }
}

/// Lets the page read the answer.
pub(super) fn decorate(browser: &Browser, map: &mut HeaderMap) {
    if let Browser::Allowed(origin) = browser {
        map.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        map.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        map.append(VARY, HeaderValue::from_static("Origin"));
    }
}

/// The headers of a preflight answer. What the page asks to send is granted: origin and credentials are what guard.
pub(super) fn preflight(request: &HeaderMap, map: &mut HeaderMap) {
    map.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(ALLOWED_HEADERS);
    map.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
    map.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    map.append(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
}

/// Whether `host`, with or without a port, names this machine.
fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A listed name without a port serves every port.
fn same_host(name: &str, host: &str) -> bool {
    name.eq_ignore_ascii_case(host) || name.eq_ignore_ascii_case(without_port(host))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:3000", "127.8.0.1", "[::1]", "[::1]:80"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "127.0.0.1.example.com", "localhost.example.com:80", "10.0.0.1", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn listed_hosts() {
        assert!(same_host("mcp.example.com", "MCP.example.com:8443"));
        assert!(same_host("mcp.example.com:8443", "mcp.example.com:8443"));
        assert!(!same_host("mcp.example.com:8443", "mcp.example.com"));
        assert!(!same_host("example.com", "mcp.example.com"));
    }
}
