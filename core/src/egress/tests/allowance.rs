//! `ADDR[/LEN][:PORT]`.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use proptest::prelude::*;

use crate::egress::Allowance;

fn parse(text: &str) -> Allowance {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_form() {
    for (text, net, port) in [
        ("127.0.0.1", "127.0.0.1/32", None),
        ("127.0.0.1:8080", "127.0.0.1/32", Some(8080)),
        ("10.0.0.0/8", "10.0.0.0/8", None),
        ("10.0.0.0/8:443", "10.0.0.0/8", Some(443)),
        ("0.0.0.0/0", "0.0.0.0/0", None),
        (" 10.1.2.3 ", "10.1.2.3/32", None),
        ("::1", "::1/128", None),
        ("fd00::/8", "fd00::/8", None),
        ("fd00::/8:443", "fd00::/8", Some(443)),
        ("[::1]", "::1/128", None),
        ("[::1]:9000", "::1/128", Some(9000)),
        ("[fd00::]/8:443", "fd00::/8", Some(443)),
        ("[fd00::]/8", "fd00::/8", None),
        ("[fd00::/8]:443", "fd00::/8", Some(443)),
        ("[fd00::/8]", "fd00::/8", None),
        ("2001:db8::1:8080", "2001:db8::1:8080/128", None),
    ] {
        let allowance = parse(text);
        assert_eq!(allowance.net(), net.parse::<IpNet>().unwrap(), "{text}");
        assert_eq!(allowance.port(), port, "{text}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    for (text, part) in [
        ("", "the address is missing"),
        (":80", "the address is missing"),
        ("localhost", "is a name"),
        ("localhost:80", "is a name"),
        ("http://127.0.0.1", "is a name"),
        ("127.0.0", "neither an IPv4 nor an IPv6"),
        ("0177.0.0.1", "neither an IPv4 nor an IPv6"),
        ("127.0.0.1/33", "from 0 to 32"),
        ("::1/129", "from 0 to 128"),
        ("127.0.0.1/", "prefix length"),
        ("127.0.0.1/+8", "prefix length"),
        ("127.0.0.1:0", "port from 1"),
        ("127.0.0.1:", "port from 1"),
        ("127.0.0.1:+80", "port from 1"),
        ("127.0.0.1:65536", "port from 1"),
        ("127.0.0.1/8", "write 127.0.0.0/8"),
        ("[::1", "closing bracket"),
        ("[::1]8080", "neither /LEN nor :PORT"),
        ("[127.0.0.1]:80", "not an IPv6"),
        ("[fd00::/8]/8", "twice"),
        ("[fe80::1%eth0]", "not an IPv6"),
    ] {
        let error = text.parse::<Allowance>().unwrap_err().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
        assert!(error.contains("ADDR[/LEN][:PORT]"), "{error}");
    }
}

#[test]
fn one_address_and_one_port_is_all_it_opens() {
    let allowance = parse("127.0.0.1:8080");
    let covers = |addr: &str| allowance.covers(addr.parse().unwrap());
    assert!(covers("127.0.0.1:8080"));
    for other in ["127.0.0.1:8081", "127.0.0.2:8080", "126.255.255.255:8080", "[::ffff:127.0.0.1]:8080"] {
        assert!(!covers(other), "{other}");
    }
}

fn allowances() -> impl Strategy<Value = Allowance> {
    (any::<IpAddr>(), 0_u8..=128, proptest::option::of(1_u16..)).prop_map(|(ip, len, port)| {
        let len = len.min(if ip.is_ipv4() { 32 } else { 128 });
        let net = IpNet::new(ip, len).unwrap().trunc();
        // Through the text, which is the only way in.
        let text = match port {
            Some(port) if ip.is_ipv4() => format!("{net}:{port}"),
            Some(port) => format!("[{}]/{}:{port}", net.addr(), net.prefix_len()),
            None => net.to_string(),
        };
        text.parse().unwrap()
    })
}

proptest! {
    #[test]
    fn display_reads_back(allowance in allowances()) {
        prop_assert_eq!(allowance.to_string().parse::<Allowance>().unwrap(), allowance);
    }

    #[test]
    fn covers_what_the_network_has(allowance in allowances(), ip: IpAddr, port: u16) {
        let expected = allowance.net().contains(&ip) && allowance.port().is_none_or(|p| p == port);
        prop_assert_eq!(allowance.covers(SocketAddr::new(ip, port)), expected);
    }

    #[test]
    fn never_panics(text in "[0-9a-f:./\\[\\]x%]{0,30}") {
        let _ = text.parse::<Allowance>();
    }
}
