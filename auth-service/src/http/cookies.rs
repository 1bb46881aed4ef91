//! The cookies of the connect screen, and of sign-ins.

use std::time::Duration;

use http::HeaderValue;
use plugboard_core::pages::cookies::{self, SameSite};
use plugboard_core::secret::Secret;

pub use plugboard_core::pages::cookies::get;
pub(super) use plugboard_core::pages::cookies::plain;

/// Of a browser that has followed a sign-in link.
pub const SIGN_IN: &str = "plugboard_sign_in";
/// Of a browser inside a connect session.
pub const SESSION: &str = "plugboard_connect";
/// The language chosen on a page. No secret, and nothing depends on it.
pub(super) const LANGUAGE: &str = "plugboard_language";

const LASTS: Duration = Duration::from_secs(3600);

/// `SameSite=Lax`: the vendor's redirect is a top-level GET from another site, and must bring the cookie.
pub fn set(name: &str, value: &Secret, https: bool) -> Option<HeaderValue> {
    cookies::set(name, value.expose(), SameSite::Lax, LASTS, https)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::COOKIE;

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
