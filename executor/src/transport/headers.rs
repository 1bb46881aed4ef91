//! Headers: the manifest's, the operation's, the caller's.

use http::{HeaderMap, HeaderName, HeaderValue};
use plugboard_core::egress::is_settable_header;
use plugboard_core::manifest::Operation;

use super::Values;
use super::signature::Signing;
use crate::http::request::BuildError;

/// Later ones replace earlier ones, but a caller never replaces a header that carries a credential.
pub(crate) fn place(
    values: &Values<'_>,
    operation: Option<&Operation>,
    caller: &[(String, String)],
    signing: Option<&Signing<'_>>,
    headers: &mut HeaderMap,
) -> Result<(), BuildError> {
    let transport = values.connector().transport();
    for (name, template) in &transport.headers {
        if let Some(text) = values.fill(template)? {
            set(headers, name, &text, template.literal().is_none())?;
        }
    }
    for (name, text) in operation.iter().flat_map(|operation| &operation.headers) {
        set(headers, name, text, false)?;
    }
    for (name, text) in caller {
        let carries_credential = transport
            .headers
            .iter()
            .any(|(known, template)| known.eq_ignore_ascii_case(name) && template.literal().is_none());
        let signed = signing.is_some_and(|signing| signing.takes_header(name));
        if carries_credential || signed || !is_settable_header(name) {
            return Err(BuildError::CallerHeader(name.clone()));
        }
        set(headers, name, text, false)?;
    }
    Ok(())
}

/// Neither a name nor a value can hold a line break: both types refuse it.
pub(crate) fn set(headers: &mut HeaderMap, name: &str, text: &str, secret: bool) -> Result<(), BuildError> {
    let unsendable = || BuildError::Unsendable(format!("header {name}"));
    let key = HeaderName::try_from(name).map_err(|_| unsendable())?;
    let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| unsendable())?;
    value.set_sensitive(secret);
    headers.insert(key, value);
    Ok(())
}
