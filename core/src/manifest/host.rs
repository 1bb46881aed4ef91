//! Hosts that a tenant typed, e.g. the portal of a CRM that every customer has under an own name.
//!
//! This check catches typing errors early and says what would be right. What may really be reached is decided where
//! connections are made, by address.

use std::net::IpAddr;

use url::Host;

/// Names that the public DNS does not serve (RFC 6761, RFC 6762, RFC 8375, RFC 9476 and common practice).
const PRIVATE_SUFFIXES: [&str; 14] = [
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "home.arpa",
    "arpa",
    "test",
    "invalid",
    "alt",
];

const WANTED: &str = "give the host name alone, e.g. `portal.example.com`";

/// The bare host in lower case. Accepts an address copied from a browser: a scheme and a closing slash are taken off,
/// international names become Punycode.
///
/// `allow_private` also accepts what only an intranet knows: single labels, addresses, ports.
///
/// # Errors
/// A sentence for the person who typed it. It repeats no path: a pasted webhook address has its secret there.
pub fn normalize_host(text: &str, allow_private: bool) -> Result<String, String> {
    let (scheme_port, rest) = without_scheme(text.trim())?;
    let (authority, path) = match rest.find(['/', '?', '#', '\\']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err(format!("has a user name or password before the host; {WANTED}"));
    }
    let (host, port) = split_port(authority)?;
    // `%` would be decoded, and white space is never part of a name.
    if host.is_empty() || host.contains(['%', ' ', '_', '*']) {
        return Err(format!("is not a host name; {WANTED}"));
    }
    let host = Host::parse(host).map_err(|_| format!("is not a host name; {WANTED}"))?;
    let mut bare = match &host {
        Host::Domain(name) => checked_name(name, allow_private)?.to_owned(),
        Host::Ipv4(ip) => checked_address((*ip).into(), allow_private)?,
        Host::Ipv6(ip) => checked_address((*ip).into(), allow_private)?,
    };
    if !matches!(path, "" | "/") {
        return Err(format!("has more than a host; give `{bare}` alone"));
    }
    if let Some(port) = port.filter(|port| *port != scheme_port) {
        if !allow_private {
            return Err(format!("has a port; give `{bare}` alone, the service is called on port 443"));
        }
        bare = format!("{bare}:{port}");
    }
    Ok(bare)
}

/// What stands after the scheme, and the port that the scheme means.
fn without_scheme(text: &str) -> Result<(u16, &str), String> {
    match text.split_once("://") {
        None => Ok((443, text)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Ok((443, rest)),
        // The connector decides between http and https; here it is only part of what was pasted.
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok((80, rest)),
        Some(_) => Err(format!("is not an https address; {WANTED}")),
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    let from = authority.rfind(']').unwrap_or(0);
    match authority[from..].find(':') {
        None => Ok((authority, None)),
        Some(at) => match authority[from + at + 1..].parse::<u16>() {
            Ok(port) if port > 0 => Ok((&authority[..from + at], Some(port))),
            _ => Err(format!("has something after a colon that is no port; {WANTED}")),
        },
    }
}

fn checked_name(name: &str, allow_private: bool) -> Result<&str, String> {
    let legal = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(legal) {
        return Err(format!("is not a host name: labels have letters, digits and hyphens; {WANTED}"));
    }
    let below = |suffix: &str| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if !allow_private && (!name.contains('.') || PRIVATE_SUFFIXES.into_iter().any(below)) {
        return Err("is a name of a private network; this server connects to public host names only, \
                    its operator can allow others"
            .to_owned());
    }
    Ok(name)
}

fn checked_address(ip: IpAddr, allow_private: bool) -> Result<String, String> {
    match ip {
        _ if !allow_private => Err("is an address; give the host's name, e.g. `portal.example.com`".to_owned()),
        IpAddr::V4(ip) => Ok(ip.to_string()),
        IpAddr::V6(ip) => Ok(format!("[{ip}]")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pasted_addresses_become_bare_hosts() {
        for (text, host) in [
            ("portal.bitrix24.ru", "portal.bitrix24.ru"),
            ("  https://Portal.Bitrix24.RU/ ", "portal.bitrix24.ru"),
            ("HTTP://portal.bitrix24.ru", "portal.bitrix24.ru"),
            ("https://portal.bitrix24.ru:443/", "portal.bitrix24.ru"),
            ("http://portal.bitrix24.ru:80", "portal.bitrix24.ru"),
            ("магазин.рф", "xn--80aairftm.xn--p1ai"),
            ("a-b.c1.co", "a-b.c1.co"),
        ] {
            assert_eq!(normalize_host(text, false).as_deref(), Ok(host), "{text}");
        }
    }

    #[test]
    fn what_is_no_public_name_is_refused() {
        for text in [
            "",
            "https://",
            "/",
            "localhost",
            "redis",
            "db.internal",
            "a.local",
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "127.1",
            "[::1]",
            "::1",
            "[::ffff:127.0.0.1]",
            "user@portal.ru",
            "https://u:p@portal.ru",
            "portal.ru:8080",
            "portal.ru:0",
            "portal.ru:x",
            "portal.ru/rest/1/abc",
            "portal.ru?x",
            "portal.ru#x",
            "portal.ru\\x",
            "a..ru",
            ".ru",
            "portal.ru.",
            "-a.ru",
            "a-.ru",
            "a_b.ru",
            "*.ru",
            "a b.ru",
            "%70ortal.ru",
            "ftp://portal.ru",
            "javascript://portal.ru",
            "portal.ru:443:443",
            "a.ru@b.ru",
            "portal.1",
            &format!("{}.ru", "a".repeat(64)),
            &format!("{}ru", "a.".repeat(130)),
        ] {
            assert!(normalize_host(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn an_intranet_is_the_operators_choice() {
        for (text, host) in [
            ("http://1C-Server:8080/", "1c-server:8080"),
            ("10.0.0.5", "10.0.0.5"),
            ("[fd00::1]:8443", "[fd00::1]:8443"),
            ("erp.corp", "erp.corp"),
        ] {
            assert!(normalize_host(text, false).is_err(), "{text}");
            assert_eq!(normalize_host(text, true).as_deref(), Ok(host), "{text}");
        }
        for text in ["u@erp", "erp/base", "erp:0", "a b"] {
            assert!(normalize_host(text, true).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pasted_path_is_not_repeated() {
        let error = normalize_host("https://portal.bitrix24.ru/rest/1/canary/", false).unwrap_err();
        assert!(error.contains("`portal.bitrix24.ru`") && !error.contains("canary"), "{error}");
    }

    proptest! {
        /// Whatever was accepted is the host that a URL made of it has, and nothing else of the URL.
        #[test]
        fn an_accepted_host_is_a_host(text in "(https?://)?[a-zA-Z0-9.:@/\\[\\]а-я%?#\\\\ -]{0,30}", private: bool) {
            if let Ok(host) = normalize_host(&text, private) {
                let url = url::Url::parse(&format!("https://{host}/x")).unwrap();
                prop_assert_eq!(url.path(), "/x");
                prop_assert_eq!(url.username(), "");
                prop_assert!(url.query().is_none() && url.fragment().is_none());
                let without_port = host.strip_suffix(":443").unwrap_or(&host);
                prop_assert_eq!(&url[url::Position::BeforeHost..url::Position::AfterPort], without_port);
                prop_assert_eq!(normalize_host(&host, private), Ok(without_port.to_owned()));
            }
        }
    }
}
