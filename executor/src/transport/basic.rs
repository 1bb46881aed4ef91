//! HTTP Basic (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::Values;
use crate::http::request::BuildError;

/// Sets `Authorization`; returns the encoded pair, which is as secret as the password in it.
pub(crate) fn place(values: &Values<'_>, headers: &mut HeaderMap) -> Result<Option<Zeroizing<String>>, BuildError> {
    let Some((username, password)) = &values.connector().transport().basic else { return Ok(None) };
    // An absent optional half is an empty one: `key:` is how many vendors take an API key.
    let username = Zeroizing::new(values.fill(username)?.unwrap_or_default());
    let password = Zeroizing::new(values.fill(password)?.unwrap_or_default());
    if username.contains(':') {
        // RFC 7617, section 2: the first colon would end it.
        return Err(BuildError::Unsendable("user name of HTTP Basic".to_owned()));
    }
    let pair = Zeroizing::new(format!("{}:{}", *username, *password));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let text = Zeroizing::new(format!("Basic {}", *encoded));
    let mut value = HeaderValue::from_str(&text).map_err(|_| BuildError::Unsendable("HTTP Basic".to_owned()))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(Some(encoded))
}
