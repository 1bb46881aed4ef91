//! Fuzz targets of this crate: any text in a path, a query, a header, an account, and in what a vendor says of waiting.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a finding")]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use plugboard_core::clock::Millis;
use plugboard_core::job::Job;
use plugboard_core::manifest::signature::Stamp;
use plugboard_core::manifest::{Connector, Effect, ErrorRules, Manifest};
use plugboard_core::secret::{AccountFields, Secret, SecretKey};
use plugboard_core::testing::{JobBuilder, words};
use serde_json::{Value, json};

use crate::http::request::{Outgoing, Parts, build};
use crate::http::retry_after::{LONGEST, read};

const SECRET: &str = "s3cret/key+1234567890";

const WORDS: &[&str] = &[
    "/",
    "//",
    "..",
    ".",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5c",
    "\\",
    "?",
    "#",
    "@",
    ":",
    ":8080",
    "&",
    "=",
    ";",
    "+",
    " ",
    "%",
    "%00",
    "\0",
    "\r\n",
    "\n",
    "\t",
    "https://",
    "evil.example",
    "orders",
    "7",
    "ы",
    "%d1%8b",
    "{account.key}",
    "{method}",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "xn--",
    "[]",
    "'",
    "\"",
];

const WAITS: &[&str] = &[
    "Sun",
    "Mon",
    ", ",
    "06",
    "31",
    "30",
    " Nov ",
    " Feb ",
    " Foo ",
    "1994",
    "2026",
    "9999",
    "0000",
    "08:49:37",
    "23:59:60",
    " GMT",
    "-",
    "+",
    ".",
    "e",
    "1e308",
    "1e-400",
    "inf",
    "NaN",
    "0x",
    "18446744073709551616",
    " ",
    "\t",
    "\u{7f}",
];

static REST: LazyLock<Connector> = LazyLock::new(|| {
    connector(json!({
        "transport": {
            "query": {"key": "{account.key}"}, "headers": {"X-Note": "{account.note}"}, "caller_headers": ["X-Trace"],
        },
        "modules": {"api": {"summary": "s", "base_url": "https://api.shop.example/base"}},
        "operations": [{
            "id": "list", "module": "api", "method": "GET", "path": "/orders", "summary": "s", "effect": "read",
            "response_example": {"orders": []},
        }],
    }))
});

static RPC: LazyLock<Connector> = LazyLock::new(|| {
    connector(json!({
        "modules": {"api": {
            "summary": "s", "style": "rpc", "base_url": "https://{account.host}/rest/{account.key}",
            "rpc": {"path": "/{method}.json"},
        }},
        "operations": [{
            "id": "add", "module": "api", "method": "crm.deal.add", "summary": "s", "effect": "once",
            "response_example": {"id": 1},
        }],
    }))
});

fn connector(parts: Value) -> Connector {
    let mut whole = json!({
        "key": "shop", "name": "Shop", "tagline": "t", "description": "d", "category": "ecommerce",
        "docs": "https://docs.example", "version": "1",
        "auth": {"flows": [{"kind": "credentials", "label": "Keys", "fields": {
            "key": {"label": "k"}, "host": {"label": "h", "host": true, "secret": false},
            "note": {"label": "n", "optional": true},
        }}]},
        "verified": {"how": "documentation", "on": "2026-11-22"},
    });
    let (whole, parts) = (whole.as_object_mut().unwrap(), parts.as_object().unwrap().clone());
    whole.extend(parts);
    let manifest: Manifest = serde_json::from_value(Value::Object(whole.clone())).unwrap();
    Connector::from_manifest(manifest).unwrap()
}

/// Texts of one input, apart by a byte that is no word and in no address.
fn texts<const N: usize>(bytes: &[u8], dictionary: &[&str]) -> [String; N] {
    let mut parts = bytes.splitn(N, |byte| *byte == 0x01);
    std::array::from_fn(|_| words(dictionary, parts.next().unwrap_or_default()))
}

fn job(connector: &Connector, operation: &str) -> Job {
    let (described, _) = connector.operation(operation).expect("the operation");
    Job {
        service: connector.key().clone(),
        module: described.module.clone(),
        operation: Some(operation.to_owned()),
        method: described.method.clone(),
        path: described.path.clone().unwrap_or_default(),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
        ..JobBuilder::new(Effect::Read).build()
    }
}

fn request(connector: &Connector, job: &Job, secret: &[(&str, &str)], host: &str) -> Option<Outgoing> {
    let mut fields = AccountFields::default();
    for (name, value) in secret {
        fields.secret.insert((*name).to_owned(), Secret::new(*value));
    }
    fields.public.insert("host".to_owned(), host.to_owned());
    let idempotency_root = SecretKey::new([3; 32]);
    let stamp = Stamp { at: Millis(1_795_348_800_000), nonce: [0xa5; 16] };
    let parts = Parts { connector, job, body: None, fields: &fields, idempotency_root: &idempotency_root, stamp };
    build(&parts).ok()
}

/// A caller's path, parameter and header, and an account's field in a header.
pub fn call(bytes: &[u8]) {
    let [path, name, value, trace, note] = texts(bytes, WORDS);
    let job = Job {
        path: format!("/{path}"),
        query: vec![(name.clone(), value.clone())],
        headers: vec![("X-Trace".into(), trace)],
        ..job(&REST, "list")
    };
    let Some(outgoing) = request(&REST, &job, &[("key", SECRET), ("note", &note)], "") else { return };
    let url = &outgoing.url;
    assert_eq!((url.scheme(), url.host_str(), url.port()), ("https", Some("api.shop.example"), None), "{job:?}");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{job:?}");
    assert!(url.path().starts_with("/base/"), "{job:?}");
    // One credential, whatever the caller calls its own parameters, and those come out as they went in.
    let keys: Vec<_> = url.query_pairs().filter(|(name, _)| name == "key").map(|(_, value)| value).collect();
    assert_eq!(keys, [SECRET], "{job:?}");
    assert!(name == "key" || url.query_pairs().any(|pair| pair.0 == name && pair.1 == value), "{job:?} → {url}");
}

/// An account's host and key in the address, and a method's name.
pub fn address(bytes: &[u8]) {
    let [host, key, method] = texts(bytes, WORDS);
    let job = Job { method, ..job(&RPC, "add") };
    let Some(outgoing) = request(&RPC, &job, &[("key", &key)], &host) else { return };
    let url = &outgoing.url;
    assert_eq!((url.scheme(), url.port(), url.query()), ("https", None, None), "{url}");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{url}");
    let segments: Vec<_> = url.path_segments().unwrap().collect();
    assert!(segments.len() == 3 && segments[0] == "rest" && segments[2].ends_with(".json"), "{url}");
    let alone = url::Url::parse(&format!("https://{host}")).unwrap();
    assert_eq!(url.host_str(), alone.host_str(), "{host:?}");
}

/// What a vendor says of waiting.
pub fn wait(bytes: &[u8]) {
    let text = words(WAITS, bytes);
    let rules = ErrorRules { retry_after_headers: vec!["X-Ratelimit-Retry".into()], ..Default::default() };
    let now = Millis(784_111_777_000);
    let header = |name: &'static str| {
        let value = HeaderValue::from_str(&text).ok()?;
        read(&HeaderMap::from_iter([(HeaderName::from_static(name), value)]), &rules, [], now)
    };
    let (standard, own) = (header("retry-after"), header("x-ratelimit-retry"));
    let pointed = read(&HeaderMap::new(), &rules, [&Value::from(text.as_str())], now);
    for wait in [standard, own, pointed].into_iter().flatten() {
        assert!(wait <= LONGEST, "{text:?}");
    }
    // Seconds are read alike wherever they stand; only the standard header may be a date.
    assert!(own.is_none() || own == standard && own == pointed, "{text:?}");
}

#[cfg(test)]
mod tests {
    use plugboard_core::testing::fuzz;

    #[test]
    fn any_call() {
        fuzz("call", 50_000, super::call);
    }

    #[test]
    fn any_address() {
        fuzz("address", 50_000, super::address);
    }

    #[test]
    fn any_wait() {
        fuzz("wait", 100_000, super::wait);
    }
}
