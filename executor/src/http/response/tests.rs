//! Answers of every kind, as they come out.

use http::HeaderValue;
use plugboard_core::error::{EffectOutcome, ErrorCode, FixKind};
use plugboard_core::manifest::Effect;
use serde_json::Value;

use super::*;
use crate::testing::{connector, job, operation};

const SECRET: &str = "s3cret/key+1234567890";

fn rules() -> Value {
    json!({
        "success": {"all": [{"pointer": "/ok", "not_equals": false}]},
        "errors": {
            "message": ["/error/text", "/message"], "code": ["/error/code", "/code"],
            "retry_after_pointers": ["/wait"],
            "map": [
                {"status": 403, "code": "NO_SCOPE", "means": "scope_missing"},
                {"code": "BAD_TOKEN", "means": "account_expired"},
                {"code": "BUSY", "means": "failed"},
                {"code": "SLOW", "means": "rate_limited"},
            ],
        },
    })
}

struct Case {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    effect: Effect,
}

fn answer(status: u16, body: impl AsRef<[u8]>) -> Case {
    Case { status, headers: Vec::new(), body: body.as_ref().to_vec(), effect: Effect::Once }
}

impl Case {
    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    fn shape(self) -> Shaped {
        let mut parts = rules();
        let mut list = operation("list", "GET", "/orders", "read");
        list["pagination"] = json!({"kind": "link_header"});
        parts["operations"] = json!([list]);
        let connector = connector(parts);
        let mut job = job(&connector, "list", "/orders");
        job.effect = self.effect;
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let scrubber = Scrubber::new([SECRET]);
        let about = About {
            connector: &connector,
            operation: connector.operation("list").map(|(operation, _)| operation),
            job: &job,
            body: None,
            now: Millis(0),
        };
        let body = Bytes::from(self.body);
        shape(&about, &scrubber, Answer { status: self.status, headers: &headers, body: &body })
    }

    fn data(self) -> Value {
        let shaped = self.shape();
        assert!(shaped.error.is_none(), "{:?}", shaped.error);
        shaped.data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap())
    }

    fn error(self) -> CallError {
        self.shape().error.expect("an error")
    }
}

#[test]
fn json_passes_byte_for_byte() {
    let body = "{ \"ok\": true,\n \"n\": 1.10, \"big\": 12345678901234567890123 }";
    assert_eq!(answer(200, body).shape().data.as_deref(), Some(body.as_bytes()));
    let marked = [b"\xef\xbb\xbf".as_slice(), body.as_bytes()].concat();
    assert_eq!(answer(200, marked).shape().data.as_deref(), Some(body.as_bytes()));
}

#[test]
fn other_bodies_become_json() {
    assert_eq!(answer(200, "").data(), Value::Null);
    assert_eq!(answer(204, "").data(), Value::Null);
    assert_eq!(answer(200, "<a>\"x\"</a>").data(), json!("<a>\"x\"</a>"));
    assert_eq!(answer(200, "123").header("content-type", "text/csv; charset=utf-8").data(), json!("123"));
    assert_eq!(answer(200, "123").data(), json!(123));
    assert_eq!(answer(200, "{\"a\":1}").header("content-type", "text/html").data(), json!({"a": 1}));
    assert_eq!(
        answer(200, [0xff, 0xd8]).header("content-type", "image/jpeg").data(),
        json!({"content_type": "image/jpeg", "bytes": 2, "base64": "/9g="})
    );
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    assert_eq!(answer(200, &deep).data(), json!(deep));
}

#[test]
fn a_200_that_is_a_failure() {
    let error = answer(200, r#"{"ok":false,"error":{"text":"no stock","code":7}}"#).error();
    assert_eq!((error.code, error.outcome), (ErrorCode::UpstreamRejected, EffectOutcome::Rejected));
    assert_eq!(error.message, "Shop answered with an error: no stock");
    assert_eq!(error.upstream.as_ref().unwrap().code.as_deref(), Some("7"));
    assert!(error.safe_to_retry && !error.retryable);
    let error = answer(200, r#"{"ok":false,"code":"BUSY"}"#).error();
    assert_eq!(
        (error.code, error.outcome, error.safe_to_retry),
        (ErrorCode::UpstreamFailed, EffectOutcome::Unknown, false)
    );
    let error = answer(200, r#"{"ok":false,"code":"SLOW","wait":3}"#).error();
    assert_eq!((error.code, error.retry_after_ms), (ErrorCode::UpstreamRateLimited, Some(3000)));
}

#[test]
fn statuses_have_meanings() {
    let table = [
        (400, ErrorCode::UpstreamRejected, false),
        (401, ErrorCode::AccountExpired, false),
        (403, ErrorCode::UpstreamRejected, false),
        (404, ErrorCode::UpstreamRejected, false),
        (408, ErrorCode::UpstreamRejected, true),
        (429, ErrorCode::UpstreamRateLimited, true),
    ];
    for (status, code, retryable) in table {
        let error = answer(status, "{}").error();
        assert_eq!((error.code, error.retryable), (code, retryable), "{status}");
        assert_eq!((error.outcome, error.safe_to_retry), (EffectOutcome::Rejected, true), "{status}");
        assert_eq!(error.upstream.clone().unwrap().status, status);
    }
    let error = answer(403, r#"{"code":"NO_SCOPE","message":"scope needed"}"#).error();
    assert_eq!(error.code, ErrorCode::ScopeMissingAtVendor);
    assert_eq!(error.fix.clone().unwrap().kind, FixKind::AddScope);
    assert!(answer(401, "").shape().credential_refused);
    assert!(answer(400, r#"{"code":"BAD_TOKEN"}"#).shape().credential_refused);
    assert!(!answer(403, "").shape().credential_refused);
}

#[test]
fn a_5xx_is_unknown_unless_nothing_could_happen() {
    use Effect::{Idempotent, Keyed, Once, Read};
    for (effect, outcome, safe) in [
        (Read, EffectOutcome::Rejected, true),
        (Idempotent, EffectOutcome::Unknown, true),
        (Keyed, EffectOutcome::Unknown, false),
        (Once, EffectOutcome::Unknown, false),
    ] {
        let error = answer(503, "down").header("retry-after", "2").effect(effect).error();
        assert_eq!((error.outcome, error.safe_to_retry), (outcome, safe), "{effect:?}");
        assert_eq!((error.code, error.retryable, error.retry_after_ms), (ErrorCode::UpstreamFailed, true, Some(2000)));
        assert_eq!(error.message, "Shop answered 503: down");
    }
}

#[test]
fn a_redirect_names_its_host_and_nothing_more() {
    let error = answer(302, "").header("location", "https://evil.example/x?token=1").error();
    assert_eq!((error.code, error.outcome), (ErrorCode::UpstreamRejected, EffectOutcome::Unknown));
    assert!(error.message.contains("evil.example") && !error.message.contains("token"), "{}", error.message);
    let error = answer(301, "").header("location", "/other").effect(Effect::Read).error();
    assert_eq!(error.outcome, EffectOutcome::Rejected);
}

#[test]
fn secrets_do_not_come_back() {
    let escaped = SECRET.replace('/', "\\/");
    let texts = [
        format!(r#"{{"you":"{SECRET}","or":"{escaped}","hex":"{}"}}"#, hex::encode(SECRET)),
        format!("plain {SECRET}"),
    ];
    for text in texts {
        let data = answer(200, &text).data().to_string();
        assert!(data.contains("***") && !data.contains("s3cret"), "{data}");
        let error = serde_json::to_string(&answer(400, &text).error()).unwrap();
        assert!(error.contains("***") && !error.contains("s3cret"), "{error}");
    }
    let long = format!(r#"{{"message":"{}{SECRET}"}}"#, "x".repeat(4090));
    let error = serde_json::to_string(&answer(400, &long).error()).unwrap();
    assert!(!error.contains("s3c"), "half a secret at the cut");
    let binary = answer(200, [b"\xff\xfe".as_slice(), SECRET.as_bytes()].concat()).data();
    assert!(!STANDARD.decode(binary["base64"].as_str().unwrap()).unwrap().windows(6).any(|w| w == b"s3cret"));
    let page = answer(200, "[]")
        .header("link", r#"<https://a.example/?key=s3cret/key+1234567890&page=2>; rel="next""#)
        .shape()
        .page
        .unwrap();
    assert_eq!(page.next, Some(json!("https://a.example/?key=***&page=2")));
}

#[test]
fn a_large_body_is_quoted_in_part() {
    let error = answer(400, format!("{{\"message\":\"m\",\"x\":\"{}\"}}", "я".repeat(5000))).error();
    let Some(Value::String(quoted)) = error.upstream.clone().unwrap().body else { panic!("text") };
    assert!(quoted.len() <= 4096 && quoted.len() > 4000);
    assert_eq!(error.message, "Shop answered 400: m");
}
