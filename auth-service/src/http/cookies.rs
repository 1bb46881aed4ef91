//! Cookies that mark a browser. Over https they carry the `__Host-` prefix, so that no other host can set them, and one
//! without it counts for nothing.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use plugboard_core::secret::Secret;

/// Of a browser that has followed a sign-in link.
pub const SIGN_IN: &str = "plugboard_sign_in";
/// Of a browser inside a connect session.
pub const SESSION: &str = "plugboard_connect";
/// The language chosen on a page. No secret, and nothing depends on it.
pub(super) const LANGUAGE: &str = "plugboard_language";

/// `SameSite=Lax`: the vendor's redirect is a top-level GET from another site, and must bring the cookie.
pub fn set(name: &str, value: &Secret, https: bool) -> Option<HeaderValue> {
    let (prefix, secure) = if https { ("__Host-", "; Secure") } else { ("", "") };
    let text = format!("{prefix}{name}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600{secure}", value.expose());
    let mut cookie = HeaderValue::try_from(text).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// `https`: as it was set. What another host of the same site has set is not taken for ours.
pub fn get(headers: &HeaderMap, name: &str, https: bool) -> Option<Secret> {
    let name = if https { format!("__Host-{name}") } else { name.to_owned() };
    plain(headers, &name).map(Secret::new)
}

pub(super) fn plain(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(one, _)| *one == name).map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_https_only_a_cookie_that_no_other_host_can_set_counts() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=b; plugboard_sign_in=plain; c=d"));
        assert_eq!(get(&headers, SIGN_IN, false).unwrap().expose(), "plain");
        assert!(get(&headers, SIGN_IN, true).is_none());
        headers.append(COOKIE, HeaderValue::from_static("__Host-plugboard_sign_in=sure"));
        assert_eq!(get(&headers, SIGN_IN, true).unwrap().expose(), "sure");
        assert!(get(&headers, SESSION, true).is_none() && get(&headers, SESSION, false).is_none());
    }

    #[test]
    fn over_https_a_cookie_is_this_hosts_alone() {
        let cookie = |https| set(SESSION, &Secret::new("x"), https).unwrap().to_str().unwrap().to_owned();
        assert!(cookie(true).starts_with("__Host-plugboard_connect=x; Path=/; HttpOnly; SameSite=Lax"));
        assert!(cookie(true).ends_with("; Secure"));
        assert!(!cookie(false).contains("Secure") && !cookie(false).contains("__Host-"));
    }
}
