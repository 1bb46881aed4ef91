//! Shapes of URLs, host bindings and header names.

use url::Url;

use crate::egress::target::is_private_name;
use crate::egress::{EgressErrorKind, HostBinding, HostPattern, UrlProblem, is_settable_header, parse_url};

fn problem(text: &str) -> UrlProblem {
    match parse_url(text).expect_err(text).kind() {
        EgressErrorKind::BadUrl { problem } => *problem,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn good_urls() {
    for text in [
        "https://api.example.com",
        "https://api.example.com:8443/v1/items?a=b&c=%20",
        "https://API.Example.COM/",
        "https://пример.рф/путь",
        "https://under_score.example.com/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "http://localhost:8080/",
    ] {
        parse_url(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn bad_urls() {
    let long_label = format!("https://{}.example.com/", "a".repeat(64));
    let long_name = format!("https://{}com/", "abcdefgh.".repeat(32));
    for (text, expected) in [
        ("", UrlProblem::Unparsable),
        ("api.example.com/v1", UrlProblem::Unparsable),
        ("//api.example.com/", UrlProblem::Unparsable),
        ("ftp://api.example.com/", UrlProblem::Scheme),
        ("file:///etc/passwd", UrlProblem::Scheme),
        ("gopher://api.example.com/", UrlProblem::Scheme),
        ("unix:/run/docker.sock", UrlProblem::Scheme),
        ("https://user@api.example.com/", UrlProblem::UserInfo),
        ("https://user:pass@api.example.com/", UrlProblem::UserInfo),
        ("https://:pass@api.example.com/", UrlProblem::UserInfo),
        ("https://api.example.com/#top", UrlProblem::Fragment),
        ("https://api.example.com/#", UrlProblem::Fragment),
        ("https://", UrlProblem::NoHost),
        ("https://api.example.com./", UrlProblem::TrailingDot),
        ("https://localhost./", UrlProblem::TrailingDot),
        ("https://api..example.com/", UrlProblem::Label),
        ("https://.example.com/", UrlProblem::Label),
        (&long_label, UrlProblem::Label),
        (&long_name, UrlProblem::Label),
        ("https://-api.example.com/", UrlProblem::Character),
        ("https://api-.example.com/", UrlProblem::Character),
        ("https://api*.example.com/", UrlProblem::Character),
        ("https://a$b.example.com/", UrlProblem::Character),
        ("https://api.example.com:0/", UrlProblem::Port),
        ("https://api.example.com:65536/", UrlProblem::Unparsable),
        ("https://[fe80::1%25eth0]/", UrlProblem::Unparsable),
        ("https://api.example.com%00.evil.com/", UrlProblem::Unparsable),
        ("https://api.example.com%2f.evil.com/", UrlProblem::Unparsable),
        ("https://1.2.3.4.5/", UrlProblem::Unparsable),
        ("https://256.256.256.256/", UrlProblem::Unparsable),
    ] {
        assert_eq!(problem(text), expected, "{text}");
    }
}

#[test]
fn private_names() {
    for name in
        ["localhost", "redis", "db.internal", "a.b.local", "x.localhost", "router.home.arpa", "svc.cluster.local"]
    {
        assert!(is_private_name(name), "{name}");
    }
    for name in ["example.com", "local.example.com", "notlocal.com", "mylocalhost.ru", "internal.example"] {
        assert!(!is_private_name(name), "{name}");
    }
}

fn permits(patterns: &[&str], url: &str) -> bool {
    HostBinding::hosts(patterns).unwrap().permits(&Url::parse(url).unwrap())
}

#[test]
fn binding_compares_whole_labels() {
    let exact = &["api.example.com"][..];
    assert!(permits(exact, "https://api.example.com/x"));
    assert!(permits(exact, "https://API.EXAMPLE.COM:8443/x"));
    for other in [
        "https://example.com/",
        "https://xapi.example.com/",
        "https://api.example.com.evil.net/",
        "https://api.example.comx/",
        "https://evil.net/api.example.com",
        "https://1.2.3.4/",
    ] {
        assert!(!permits(exact, other), "{other}");
    }
    let below = &["*.example.com"][..];
    assert!(permits(below, "https://a.example.com/"));
    assert!(permits(below, "https://a.b.example.com/"));
    for other in ["https://example.com/", "https://evilexample.com/", "https://a.example.com.evil.net/"] {
        assert!(!permits(below, other), "{other}");
    }
}

#[test]
fn binding_with_ports_addresses_and_names_in_other_scripts() {
    assert!(permits(&["api.example.com:9443"], "https://api.example.com:9443/"));
    assert!(!permits(&["api.example.com:9443"], "https://api.example.com/"));
    assert!(permits(&["api.example.com:443"], "https://api.example.com/"));
    assert!(permits(&["Пример.РФ"], "https://xn--e1afmkfd.xn--p1ai/"));
    assert!(permits(&["127.0.0.1:80"], "http://0x7f.1/"));
    assert!(permits(&["[::1]:8080"], "http://[::1]:8080/"));
    assert!(permits(&["[::1]"], "http://[0:0::1]:8080/"));
    assert!(!permits(&[], "https://example.com/"));
    assert!(HostBinding::Any.permits(&Url::parse("https://example.com/").unwrap()));

    let own = HostBinding::of_url(&Url::parse("https://api.example.com/v1").unwrap());
    assert!(own.permits(&Url::parse("https://api.example.com/v2").unwrap()));
    assert!(!own.permits(&Url::parse("https://api.example.com:8443/v2").unwrap()));
    assert!(!own.permits(&Url::parse("http://api.example.com/v2").unwrap()));
}

#[test]
fn binding_patterns_that_are_too_wide_or_no_hosts() {
    for text in [
        "",
        "*",
        "*.",
        "*.com",
        "a.*.com",
        "exa mple.com",
        "https://example.com",
        "example.com/",
        "*.1.2.3.4",
        "example.com:0",
        "example.com:x",
        "example.com.",
        "a..b",
        "::1",
    ] {
        assert!(text.parse::<HostPattern>().is_err(), "{text}");
    }
    for text in ["api.example.com", "*.example.com:8443", "[::1]:80", "1.2.3.4"] {
        assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
    }
}

#[test]
fn headers_of_the_transport_are_not_settable() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Forwarded",
        "X-Forwarded-For",
        "x-forwarded-host",
        "X-FORWARDED-PROTO",
        "Proxy-Authorization",
        "proxy-connection",
        "Cookie",
        "Via",
        "X-Real-IP",
        "HTTP2-Settings",
        "",
        "a b",
        "x:y",
        "x\r\ny",
        "näme",
    ] {
        assert!(!is_settable_header(name), "{name:?}");
    }
    for name in [
        "Authorization",
        "x-api-key",
        "Accept",
        "content-type",
        "User-Agent",
        "Idempotency-Key",
        "X-Request-Id",
        "If-Match",
        "Hostess",
        "X-Forward",
    ] {
        assert!(is_settable_header(name), "{name:?}");
    }
}
