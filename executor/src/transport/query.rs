//! The query: the caller's parameters, then the manifest's.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::Values;
use super::signature::Signing;
use crate::http::request::BuildError;

/// What stands in a query as it is: what RFC 3986 reserves for nothing there, and `$` (OData names begin with it).
/// A space becomes `%20`, which every server understands; `+` would be read as a plus by some.
pub(crate) const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$')
    .remove(b'!')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// Appends `?a=b&c=d`. A caller's parameter with the name of a manifest's is dropped: the manifest's may be a
/// credential, and two of them would leave the choice to the vendor. `key` is put in where the caller gives none.
pub(crate) fn place(
    values: &Values<'_>,
    caller: &[(String, String)],
    key: Option<(&str, &str)>,
    signing: Option<&Signing<'_>>,
    url: &mut String,
) -> Result<(), BuildError> {
    let fixed = &values.connector().transport().query;
    let mut separator = '?';
    let mut push = |name: &str, value: &str| {
        url.push(separator);
        separator = '&';
        url.extend(utf8_percent_encode(name, QUERY));
        url.push('=');
        url.extend(utf8_percent_encode(value, QUERY));
    };
    for (name, value) in caller {
        let signed = signing.is_some_and(|signing| signing.takes_query(name));
        if !signed && !fixed.iter().any(|(taken, _)| taken == name) {
            push(name, value);
        }
    }
    if let Some((name, key)) = key.filter(|(name, _)| caller.iter().all(|(given, _)| given != name)) {
        push(name, key);
    }
    for (name, template) in fixed {
        if let Some(value) = values.fill(template)? {
            push(name, &value);
        }
    }
    for (name, value) in signing.iter().flat_map(|signing| &signing.before.query) {
        push(name, value);
    }
    Ok(())
}

/// One more parameter.
pub(crate) fn append(url: &mut Url, name: &str, value: &str) {
    let (name, value) = (utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY));
    let query = match url.query().filter(|query| !query.is_empty()) {
        Some(query) => format!("{query}&{name}={value}"),
        None => format!("{name}={value}"),
    };
    url.set_query(Some(&query));
}
