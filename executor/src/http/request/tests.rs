//! What leaves the building, for every placement of a credential. Secrets are masked by the scrubber itself.

use serde_json::{Value, json};

use super::*;
use crate::scrub::Scrubber;
use crate::testing::{STAMP, bearer, connector, fields, inline, job, operation, rpc_operation};

const SECRET: &str = "s3cret/key+1234567890";

fn root() -> SecretKey {
    SecretKey::new([3; 32])
}

fn try_build(connector: &Connector, job: &Job, account: &AccountFields) -> Result<Outgoing, BuildError> {
    let body = match &job.body {
        Some(plugboard_core::job::Payload::Inline(body)) => Some(body),
        _ => None,
    };
    build(&Parts { connector, job, body, fields: account, idempotency_root: &root(), stamp: STAMP })
}

/// The request as text, secrets masked.
fn show(connector: &Connector, job: &Job, account: &AccountFields) -> String {
    let outgoing = try_build(connector, job, account).unwrap();
    let mut text = format!("{} {}\n", outgoing.method, outgoing.url);
    for (name, value) in &outgoing.headers {
        let mark = if value.is_sensitive() { " (sensitive)" } else { "" };
        text.push_str(&format!("{name}: {}{mark}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    if let Some(body) = &outgoing.body {
        text.push_str(&format!("\n{}\n", String::from_utf8_lossy(body)));
    }
    text.push_str(&format!("-- for {:?}\n", outgoing.binding));
    let derived = outgoing.derived.iter().map(|text| text.as_str());
    let scrubber = Scrubber::new(account.secrets().chain(derived));
    let masked = scrubber.clean_text(&text).unwrap_or(text);
    // Wherever a secret was put, an echo of the request would come back without it.
    assert!(!masked.contains("s3cret"), "{masked}");
    masked
}

fn with(transport: Value) -> Value {
    json!({ "transport": transport })
}

#[test]
fn bearer_with_query_and_caller_header() {
    let mut parts = bearer();
    parts["transport"]["caller_headers"] = json!(["X-Trace"]);
    parts["transport"]["headers"]["X-Fixed"] = json!("yes");
    let connector = connector(parts);
    let mut job = job(&connector, "list", "/orders");
    job.query = vec![("$filter".into(), "Name eq 'Ёлка' & a+b".into()), ("ids[]".into(), "1".into())];
    job.headers = vec![("X-Trace".into(), "t1".into())];
    insta::assert_snapshot!(show(&connector, &job, &fields(&[("api_key", SECRET)])));
}

#[test]
fn two_headers_and_an_optional_one_left_out() {
    let connector = connector(with(json!({"headers": {
        "Client-Id": "{account.client_id}", "Api-Key": "{account.api_key}", "X-Note": "{account.note}",
        "X-Region": "{account.region}",
    }})));
    let mut job = job(&connector, "send", "/messages");
    job.body = inline(&json!({"text": "hi"}));
    insta::assert_snapshot!(show(&connector, &job, &fields(&[("client_id", "42"), ("api_key", SECRET)])));
}

#[test]
fn basic_and_an_operation_header() {
    let mut list = operation("list", "GET", "/orders", "read");
    list["headers"] = json!({"Accept": "application/xml"});
    let connector = connector(json!({
        "operations": [list],
        "transport": {"basic": {"username": "{account.client_id}", "password": "{account.api_key}"}},
    }));
    let account = fields(&[("client_id", "shop"), ("api_key", SECRET)]);
    let job = job(&connector, "list", "/orders");
    let outgoing = try_build(&connector, &job, &account).unwrap();
    let sent = outgoing.headers["authorization"].to_str().unwrap();
    assert_eq!(sent, "Basic c2hvcDpzM2NyZXQva2V5KzEyMzQ1Njc4OTA=");
    insta::assert_snapshot!(show(&connector, &job, &account));
}

#[test]
fn a_key_in_the_query_replaces_the_callers() {
    let connector = connector(with(json!({"query": {"api_key": "{account.api_key}", "format": "json"}})));
    let mut job = job(&connector, "list", "/orders");
    job.query = vec![("api_key".into(), "mine".into()), ("page".into(), "2".into())];
    insta::assert_snapshot!(show(&connector, &job, &fields(&[("api_key", SECRET)])));
}

#[test]
fn rpc_with_a_secret_in_the_path() {
    let connector = connector(json!({
        "modules": {"api": {"summary": "s", "style": "rpc", "base_url": "https://{account.host}/rest/{account.api_key}",
            "rpc": {"path": "/{method}.json"}}},
        "operations": [rpc_operation("add", "crm.deal.add", "once")],
    }));
    let mut job = job(&connector, "add", "");
    job.body = inline(&json!({"fields": {"TITLE": "x"}}));
    insta::assert_snapshot!(show(&connector, &job, &fields(&[("host", "shop.bitrix24.ru"), ("api_key", SECRET)])));
}

#[test]
fn a_form_with_a_credential_field() {
    let mut parts = with(json!({"body": {"key": "{account.api_key}"}}));
    parts["modules"] = json!({"api": {"summary": "s", "base_url": "https://api.shop.example/v1", "body": "form"}});
    let connector = connector(parts);
    let mut job = job(&connector, "send", "/messages");
    job.body = Some(plugboard_core::job::Payload::Inline(Bytes::from_static(
        br#"{"to":["a","b"],"card":{"exp":{"y":2030}},"sum":1.10,"big":12345678901234567890123,"on":true,"no":null,"key":"mine","t":"a b&c"}"#,
    )));
    insta::assert_snapshot!(show(&connector, &job, &fields(&[("api_key", SECRET)])));
}

#[test]
fn a_json_body_with_a_credential_field_keeps_every_digit() {
    let connector = connector(with(json!({"body": {"token": "{account.api_key}"}})));
    let mut job = job(&connector, "send", "/messages");
    job.body = Some(plugboard_core::job::Payload::Inline(Bytes::from_static(
        br#"{"sum": 1.10, "token": "mine", "id": 12345678901234567890123, "deep": {"a" : [1]}}"#,
    )));
    insta::assert_snapshot!(show(&connector, &job, &fields(&[("api_key", SECRET)])));
}

#[test]
fn a_token_and_an_idempotency_key() {
    let mut parts = bearer();
    parts["transport"]["headers"]["Authorization"] = json!("Bearer {token}");
    let connector = connector(parts);
    let mut job = job(&connector, "pay", "/payments");
    job.body = inline(&json!({"amount": 5}));
    insta::assert_snapshot!(show(&connector, &job, &fields(&[("api_key", SECRET), ("token", "tok_1234567890")])));
}

#[test]
fn the_callers_json_goes_byte_for_byte() {
    let connector = connector(bearer());
    let mut job = job(&connector, "send", "/messages");
    let written: &[u8] = b"{ \"a\" :1.0,\"a\":2 }";
    job.body = Some(plugboard_core::job::Payload::Inline(Bytes::from_static(written)));
    let outgoing = try_build(&connector, &job, &fields(&[("api_key", SECRET)])).unwrap();
    assert_eq!(outgoing.body.as_deref(), Some(written));
}

#[test]
fn a_key_travels_where_the_manifest_says_unless_the_caller_gives_one() {
    let with_rule = |rule: Value, encoding: &str| {
        let mut parts = bearer();
        parts["idempotency"] = rule;
        parts["modules"] = json!({"api": {"summary": "s", "base_url": "https://api.example.com", "body": encoding}});
        connector(parts)
    };
    let sent = |connector: &Connector, query: &[(&str, &str)], body: Value| {
        let mut job = job(connector, "pay", "/payments");
        job.query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        job.body = inline(&body);
        let outgoing = try_build(connector, &job, &fields(&[("api_key", SECRET)])).unwrap();
        let again = try_build(connector, &job, &fields(&[("api_key", SECRET)])).unwrap();
        assert_eq!((&outgoing.url, &outgoing.body), (&again.url, &again.body), "the same for every attempt");
        (
            outgoing.url.query().unwrap_or_default().to_owned(),
            String::from_utf8(outgoing.body.unwrap().to_vec()).unwrap(),
        )
    };
    let is_uuid = |text: &str| text.len() == 36 && text.as_bytes()[14] == b'8' && text.split('-').count() == 5;

    let in_query = with_rule(json!({"query": "request_id", "retention_seconds": 60}), "json");
    let (query, body) = sent(&in_query, &[("a", "1")], json!({"sum": 5}));
    assert!(query.strip_prefix("a=1&request_id=").is_some_and(is_uuid), "{query}");
    assert_eq!(body, r#"{"sum":5}"#);
    assert_eq!(sent(&in_query, &[("request_id", "mine")], json!({"sum": 5})).0, "request_id=mine");

    let in_body = with_rule(json!({"field": "key", "retention_seconds": 60}), "json");
    let (query, body) = sent(&in_body, &[], json!({"sum": 5}));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(query.is_empty() && body["key"].as_str().is_some_and(is_uuid) && body["sum"] == 5, "{body}");
    assert_eq!(sent(&in_body, &[], json!({"key": "mine"})).1, r#"{"key":"mine"}"#);

    let in_form = with_rule(json!({"field": "key", "retention_seconds": 60}), "form");
    let (_, body) = sent(&in_form, &[], json!({"sum": 5}));
    assert!(body.strip_prefix("sum=5&key=").is_some_and(is_uuid), "{body}");
    assert_eq!(sent(&in_form, &[], json!({"key": "mine"})).1, "key=mine");
}

#[test]
fn lists_travel_in_a_form_as_the_operation_says() {
    for (style, expected) in [
        (Value::Null, "to[0]=a&to[1]=b&x[y]=1"),
        (json!("repeat"), "to=a&to=b&x[y]=1"),
        (json!("brackets"), "to[]=a&to[]=b&x[y]=1"),
        (json!("comma"), "to=a,b&x[y]=1"),
    ] {
        let mut send = operation("send", "POST", "/messages", "once");
        send["body_encoding"] = json!("form");
        send["body_arrays"] = style;
        send["body"] = json!({"type": "object"});
        let mut parts = bearer();
        parts["operations"] = json!([send]);
        let connector = connector(parts);
        let mut job = job(&connector, "send", "/messages");
        job.body = inline(&json!({"to": ["a", "b"], "x": {"y": 1}}));
        let outgoing = try_build(&connector, &job, &fields(&[("api_key", SECRET)])).unwrap();
        let body = String::from_utf8(outgoing.body.unwrap().to_vec()).unwrap();
        let decoded = percent_encoding::percent_decode_str(&body).decode_utf8().unwrap();
        assert_eq!(decoded, expected);
    }
}

#[test]
fn a_file_travels_as_a_part() {
    let mut send = operation("send", "POST", "/files", "once");
    send["body_encoding"] = json!("multipart");
    send["body"] = json!({"type": "object"});
    send["headers"] = json!({"Content-Type": "application/json"});
    let mut parts = bearer();
    parts["operations"] = json!([send]);
    parts["transport"]["body"] = json!({"owner": "{account.api_key}"});
    let connector = connector(parts);
    let mut job = job(&connector, "send", "/files");
    job.body = inline(&json!({"file": {"filename": "a.txt", "content": "aGVsbG8="}, "owner": "mine"}));
    let outgoing = try_build(&connector, &job, &fields(&[("api_key", SECRET)])).unwrap();
    let kind = outgoing.headers[CONTENT_TYPE].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = String::from_utf8(outgoing.body.unwrap().to_vec()).unwrap();
    assert_eq!(
        body.split(&format!("--{boundary}")).collect::<Vec<_>>(),
        [
            "",
            "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
             Content-Type: application/octet-stream\r\n\r\nhello\r\n",
            &format!("\r\nContent-Disposition: form-data; name=\"owner\"\r\n\r\n{SECRET}\r\n"),
            "--\r\n",
        ]
    );
}

#[test]
fn the_request_is_bound_to_the_rendered_host_alone() {
    let connector = connector(json!({
        "modules": {"api": {"summary": "s", "base_url": "https://{account.host}"}},
        "transport": {"headers": {"X-Key": "{account.api_key}"}},
    }));
    let account = fields(&[("host", "my.shop.example"), ("api_key", SECRET)]);
    let outgoing = try_build(&connector, &job(&connector, "list", "/orders"), &account).unwrap();
    assert!(outgoing.binding.permits(&outgoing.url));
    for other in ["https://shop.example/", "https://x.my.shop.example/", "https://my.shop.example:8443/"] {
        assert!(!outgoing.binding.permits(&other.parse().unwrap()), "{other}");
    }
}

#[test]
fn hostile_hosts_are_refused() {
    let connector = connector(json!({"modules": {"api": {"summary": "s", "base_url": "https://{account.host}/x"}}}));
    for host in ["evil.example/", "u@evil.example", "a.example:80", "a.example#", "a.example?", "a\r\nb", "..", ""] {
        let built = try_build(&connector, &job(&connector, "list", "/orders"), &fields(&[("host", host)]));
        assert!(matches!(built, Err(BuildError::BadHost(_) | BuildError::MissingField(_))), "{host:?}");
    }
}

#[test]
fn a_field_cannot_leave_its_segment_or_label() {
    let connector = connector(json!({
        "modules": {"api": {"summary": "s", "base_url": "https://{account.client_id}.shop.example/{account.api_key}/v1"}},
    }));
    let job = job(&connector, "list", "/orders");
    let built = |id: &str, key: &str| try_build(&connector, &job, &fields(&[("client_id", id), ("api_key", key)]));
    let fine = built("acme", "a/b?c#d%2e").unwrap();
    assert_eq!(fine.url.as_str(), "https://acme.shop.example/a%2Fb%3Fc%23d%252e/v1/orders");
    assert!(matches!(built("acme", ".."), Err(BuildError::Climbs)));
    for hostile in ["evil.example/", "u:p@evil.example", "evil.example#", "evil.example?", "evil.example\\", "a b"] {
        match built(hostile, "k") {
            Err(BuildError::Url(_)) => {}
            Ok(outgoing) => assert!(outgoing.url.host_str().unwrap().ends_with(".shop.example"), "{hostile}"),
            Err(error) => panic!("{hostile}: {error}"),
        }
    }
}

#[test]
fn an_rpc_method_cannot_climb() {
    let connector = connector(json!({
        "modules": {"api": {"summary": "s", "style": "rpc", "base_url": "https://a.example/rest/{account.api_key}",
            "open": true, "rpc": {"path": "/{method}"}}},
        "operations": [rpc_operation("add", "x", "once")],
    }));
    let mut job = job(&connector, "add", "");
    job.method = "..".into();
    assert!(matches!(try_build(&connector, &job, &fields(&[("api_key", SECRET)])), Err(BuildError::Climbs)));
    job.method = "a/../../b".into();
    let built = try_build(&connector, &job, &fields(&[("api_key", "k")])).unwrap();
    assert_eq!(built.url.path(), "/rest/k/a%2F..%2F..%2Fb");
}

#[test]
fn no_header_can_be_injected() {
    let mut parts = bearer();
    parts["transport"]["caller_headers"] = json!(["X-Trace", "Authorization", "Host", "Cookie"]);
    let connector = connector(parts);
    let account = fields(&[("api_key", SECRET)]);
    let mut job = job(&connector, "list", "/orders");
    for (name, value) in [
        ("X-Trace", "a\r\nX-Evil: 1"),
        ("X-Trace", "a\0b"),
        ("Authorization", "Bearer mine"),
        ("authorization", "x"),
        ("Host", "evil.example"),
        ("Cookie", "a=b"),
        ("Transfer-Encoding", "chunked"),
        ("X-\r\nEvil", "1"),
    ] {
        job.headers = vec![(name.into(), value.into())];
        assert!(try_build(&connector, &job, &account).is_err(), "{name}: {value:?}");
    }
    job.headers.clear();
    let broken = fields(&[("api_key", "a\r\nX-Evil: 1")]);
    assert!(matches!(try_build(&connector, &job, &broken), Err(BuildError::Unsendable(_))));
}

#[test]
fn a_missing_required_field_is_named() {
    let connector = connector(bearer());
    let error = try_build(&connector, &job(&connector, "list", "/orders"), &fields(&[])).unwrap_err();
    let error = CallError::from(error);
    assert_eq!(error.code, ErrorCode::AccountExpired);
    assert_eq!(error.fix.clone().unwrap().field.as_deref(), Some("api_key"));
}

#[test]
fn a_get_carries_no_body() {
    let connector = connector(bearer());
    let mut job = job(&connector, "list", "/orders");
    job.body = inline(&json!({"a": 1}));
    assert!(matches!(try_build(&connector, &job, &fields(&[("api_key", SECRET)])), Err(BuildError::Body(_))));
}

#[test]
fn debug_shows_no_secret() {
    let connector = connector(with(json!({"query": {"key": "{account.api_key}"}})));
    let account = fields(&[("api_key", SECRET)]);
    let built = try_build(&connector, &job(&connector, "list", "/orders"), &account).unwrap();
    assert!(!format!("{built:?}").contains("s3cret"));
}
