//! Cookies that mark a browser. Over https they carry the `__Host-` prefix, so that no other host can set them, and one
//! without it counts for nothing.

use std::borrow::Cow;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::secret::Secret;

/// With which requests of other sites a cookie comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Top-level navigation only.
    Lax,
    /// None.
    Strict,
}

fn prefixed(name: &str, https: bool) -> Cow<'_, str> {
    if https { format!("__Host-{name}").into() } else { name.into() }
}

/// What sets it, for this host and no script. An empty value that lasts no time takes it away.
pub fn set(name: &str, value: &str, site: SameSite, lasts: Duration, https: bool) -> Option<HeaderValue> {
    let (name, seconds) = (prefixed(name, https), lasts.as_secs());
    let secure = if https { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite={site:?}; Max-Age={seconds}{secure}");
    let mut cookie = HeaderValue::try_from(text).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// `https`: as it was set. What another host of the same site has set is not taken for ours.
pub fn get(headers: &HeaderMap, name: &str, https: bool) -> Option<Secret> {
    plain(headers, &prefixed(name, https)).map(Secret::new)
}

/// The value under exactly this name.
pub fn plain(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(one, _)| *one == name).map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty())
}
