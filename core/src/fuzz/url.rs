//! Any text as a URL: what is followed leads where the parsed form says, and nowhere that is not public.

use std::net::{IpAddr, SocketAddr};

use crate::egress::target::{Target, TargetHost};
use crate::egress::{EgressPolicy, parse_url};
use crate::testing::words;

const WORDS: &[&str] = &[
    "http://",
    "https://",
    "https:/\\",
    "//",
    "\\",
    "@",
    ":",
    "#",
    "?",
    "/",
    "%2f",
    "%40",
    "%00",
    "[",
    "]",
    "::",
    "::1",
    "::ffff:",
    "::127.0.0.1",
    "64:ff9b::",
    "2002:7f00:1::",
    "fe80::",
    "%25eth0",
    "127.0.0.1",
    "127.1",
    "0x7f",
    "0x7f000001",
    "0177.0.0.1",
    "2130706433",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "169.254.169.254",
    "192.168.0.1",
    "172.16.0.1",
    "100.64.0.1",
    "255.255.255.255",
    "224.0.0.1",
    "8.8.8.8",
    "2606:4700::1111",
    "localhost",
    ".localhost",
    "api.example.com",
    ".internal",
    ".",
    "。",
    "①②⑦.⓪.⓪.①",
    "ⅼocalhost",
    "xn--",
    "-",
    "_",
    ":80",
    ":443",
    ":0",
    ":65536",
    "user:pass",
    "\t",
    "\n",
    "\0",
    " ",
    "пример.рф",
    "\u{ad}",
    "\u{200d}",
];

pub fn url(bytes: &[u8]) {
    let text = words(WORDS, bytes);
    let Ok(url) = parse_url(&text) else { return };
    let target = Target::of(&url).unwrap();
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{text:?}");
    // Whoever reads it again reads the same.
    let again = parse_url(url.as_str()).unwrap();
    assert_eq!(Target::of(&again).unwrap(), target, "{text:?}");
    let policy = EgressPolicy::default();
    match target.host {
        TargetHost::Literal(ip) => {
            let refused = policy.check(None, SocketAddr::new(ip, target.port), target.plain, false).is_err();
            assert!(refused || !is_known_private(ip), "{text:?} leads to {ip}");
            assert!(refused || !target.plain, "{text:?} in the clear");
        }
        TargetHost::Name(name) => {
            // A resolver reads such names as numbers.
            let last = name.rsplit('.').next().unwrap_or_default();
            assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{text:?} leaves {name:?}");
            let refused = policy.check_name(name, target.port, target.plain, false).is_err();
            assert!(refused || name.contains('.'), "{text:?}");
        }
    }
}

/// What the standard library alone knows not to be public.
fn is_known_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_documentation()
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
                || ip.is_unique_local()
                || ip.to_ipv4().is_some()
        }
    }
}
