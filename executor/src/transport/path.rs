//! Account fields in the address: hosts that a tenant typed, secrets that a vendor wants in the path.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plugboard_core::manifest::{Template, Variable};

use super::Values;
use crate::http::request::BuildError;

/// What stands in a path segment as it is (RFC 3986, `pchar`).
pub(crate) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The module's base URL. A host field must be a bare host name; every other field can only be part of one segment
/// or label, whatever it holds.
pub(crate) fn base_url(values: &Values<'_>, template: &Template) -> Result<String, BuildError> {
    if let Some(fixed) = template.literal() {
        return Ok(fixed.to_owned());
    }
    let mut filled: Vec<(&Variable, Cow<'_, str>)> = Vec::new();
    for variable in template.variables() {
        let value = values.get(variable).ok_or_else(|| BuildError::MissingField(variable.name().to_owned()))?;
        let is_host = matches!(variable, Variable::Account(name) if values.is_host(name));
        if is_host {
            if !is_bare_host(value) {
                return Err(BuildError::BadHost(variable.name().to_owned()));
            }
            filled.push((variable, Cow::Borrowed(value)));
        } else {
            filled.push((variable, Cow::from(utf8_percent_encode(value, SEGMENT))));
        }
    }
    let lookup = |wanted: &Variable| filled.iter().find(|(known, _)| *known == wanted).map(|(_, text)| text.as_ref());
    template.render(lookup).ok_or_else(|| BuildError::MissingField("base_url".to_owned()))
}

/// The path of an RPC method.
pub(crate) fn rpc_path(values: &Values<'_>, template: &Template, method: &str) -> Result<String, BuildError> {
    let method = Cow::from(utf8_percent_encode(method, SEGMENT));
    let mut filled: Vec<(&Variable, Cow<'_, str>)> = Vec::new();
    for variable in template.variables().filter(|variable| **variable != Variable::Method) {
        let value = values.get(variable).ok_or_else(|| BuildError::MissingField(variable.name().to_owned()))?;
        filled.push((variable, Cow::from(utf8_percent_encode(value, SEGMENT))));
    }
    let lookup = |wanted: &Variable| match wanted {
        Variable::Method => Some(method.as_ref()),
        _ => filled.iter().find(|(known, _)| *known == wanted).map(|(_, text)| text.as_ref()),
    };
    template.render(lookup).ok_or_else(|| BuildError::MissingField("method".to_owned()))
}

/// A host and nothing else: no port, no path, no user, no escape.
fn is_bare_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'))
        && !text.starts_with('.')
        && !text.ends_with('.')
        && !text.contains("..")
}

/// True when a segment would make the URL parser climb up: the credential in front of it would be cut away, or the
/// call would reach another API of the same host.
pub(crate) fn climbs(path: &str) -> bool {
    path.split('/').any(|segment| {
        let rest = without_dot(segment).map(|rest| without_dot(rest).unwrap_or(rest));
        rest.is_some_and(str::is_empty)
    })
}

/// True when the URL parser would read more in this than a path, or other segments than [`climbs`] saw: it takes a
/// backslash for a slash and drops tabs and line ends. Gateways let none of this through; the queue is not believed.
pub(crate) fn strays(path: &str) -> bool {
    path.contains(|c: char| matches!(c, '?' | '#' | '\\') || c.is_ascii_control())
}

/// What follows a dot, written as one or escaped.
fn without_dot(text: &str) -> Option<&str> {
    text.strip_prefix('.').or_else(|| text.strip_prefix("%2e")).or_else(|| text.strip_prefix("%2E"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_hosts() {
        for good in ["a.example", "company.bitrix24.ru", "1c.company.ru", "портал.рф", "xn--80.example"] {
            assert!(is_bare_host(good), "{good}");
        }
        let bad = [
            "",
            "a.example:8080",
            "a.example/x",
            "u@a.example",
            "a.example?x",
            "a.example#",
            "a..b",
            ".a",
            "a.",
            "a b",
            "a\\b",
            "a%2eb",
            "[::1]",
            "http://a.example",
            "a\nb",
        ];
        for bad in bad {
            assert!(!is_bare_host(bad), "{bad:?}");
        }
    }

    #[test]
    fn climbing_paths() {
        for bad in ["/..", "/a/../b", "/.", "/%2e%2E/x", "/.%2e", "/a/%2e"] {
            assert!(climbs(bad), "{bad}");
        }
        for good in ["/a", "/...", "/a..b/c.d", "/.well-known", "/..json"] {
            assert!(!climbs(good) && !strays(good), "{good}");
        }
        for bad in ["/a?b", "/a#b", "/a\\..\\..", "/.\t./b", "/\n"] {
            assert!(strays(bad), "{bad:?}");
        }
    }
}
