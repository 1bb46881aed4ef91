use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use jsonwebtoken::{DecodingKey, Validation};
use plugboard_core::egress::parse_url;

use super::*;

const KEY: &str = include_str!("testdata/service-account.pem");
const PUBLIC_KEY: &str = include_str!("testdata/service-account.pub.pem");
const NOW: Millis = Millis(1_800_000_000_000);

fn connector(token: &Value) -> Connector {
    let manifest = serde_json::from_value(json!({
        "key": "crm", "name": "CRM", "tagline": "CRM", "description": "A CRM.", "category": "crm",
        "docs": "https://crm.example/docs", "version": "1",
        "auth": {"flows": [{"kind": "credentials", "label": "Client", "fields": {
            "portal_host": {"label": "Portal", "host": true, "secret": false},
            "tenant": {"label": "Tenant", "secret": false, "sandbox": "demo"},
            "secret": {"label": "Secret"},
            "private_key": {"label": "Key", "multiline": true},
        }}]},
        "transport": {"token": token},
        "modules": {"api": {"summary": "API", "base_url": "https://crm.example"}},
        "operations": [],
        "verified": {"how": "documentation", "on": "2026-11-22"},
    }));
    Connector::from_manifest(manifest.unwrap()).unwrap()
}

fn fields() -> AccountFields {
    let mut fields = AccountFields::default();
    fields.public.insert("portal_host".into(), "a.example".into());
    fields.public.insert("tenant".into(), "t 1".into());
    fields.secret.insert("secret".into(), Secret::new("s&cret ю"));
    // As it stands in a downloaded JSON file.
    fields.secret.insert("private_key".into(), Secret::new(KEY.replace('\n', "\\n")));
    fields
}

pub(crate) fn request(token: &Value) -> TokenRequest {
    token_request(&connector(token), &fields()).unwrap().unwrap()
}

fn sent(token: &Value) -> EgressRequest {
    request(token).outgoing(NOW).unwrap()
}

fn body(request: &EgressRequest) -> &str {
    std::str::from_utf8(request.body.as_deref().unwrap_or_default()).unwrap()
}

#[test]
fn the_client_shows_itself_in_the_body_or_in_a_header() {
    let grant = |auth: &str| {
        sent(&json!({
            "kind": "client_credentials", "url": "https://auth.vendor.example/token?v=2", "client_id": "id:1",
            "client_secret": "{account.secret}", "client_auth": auth, "scope": "orders read",
        }))
    };
    let form = grant("body");
    assert_eq!(
        body(&form),
        "grant_type=client_credentials&scope=orders+read&client_id=id%3A1&client_secret=s%26cret+%D1%8E"
    );
    assert!(!form.headers.contains_key(AUTHORIZATION));
    assert!(form.binding.permits(&form.url));
    assert!(!form.binding.permits(&parse_url("https://other.vendor.example/token").unwrap()));

    let basic = grant("basic");
    assert_eq!(body(&basic), "grant_type=client_credentials&scope=orders+read");
    let expected = format!("Basic {}", STANDARD.encode("id%3A1:s%26cret+%D1%8E"));
    assert_eq!(basic.headers[AUTHORIZATION], expected.as_str());
    assert!(basic.headers[AUTHORIZATION].is_sensitive());
}

#[test]
fn a_vendor_may_want_json_and_other_names() {
    let request = sent(&json!({
        "kind": "client_credentials", "url": "https://{account.portal_host}/token", "client_id": "{account.tenant}",
        "client_secret": "{account.secret}", "request": "json",
        "names": {"client_id": "clientId", "grant_type": ""}, "params": {"audience": "api"},
    }));
    assert_eq!(request.headers[CONTENT_TYPE], "application/json");
    let sent: Value = serde_json::from_str(body(&request)).unwrap();
    assert_eq!(sent, json!({"clientId": "t 1", "client_secret": "s&cret ю", "audience": "api"}));
    assert_eq!(request.url.as_str(), "https://a.example/token");
}

#[test]
fn a_vendor_may_want_a_query_or_another_grant_type() {
    let request = sent(&json!({
        "kind": "client_credentials", "url": "https://auth.vendor.example/token", "client_id": "c",
        "client_secret": "x", "client_auth": "basic", "request": "query",
        "params": {"grant_type": "account_credentials", "account_id": "{account.tenant}"},
    }));
    assert_eq!(request.method, http::Method::GET);
    assert_eq!(request.url.query(), Some("grant_type=account_credentials&account_id=t+1"));
    assert!(request.body.is_none());
}

#[test]
fn a_login_sends_what_its_template_says() {
    let login = |style: &str| {
        sent(&json!({
            "kind": "login", "url": "https://{account.portal_host}/session", "request": style,
            "login": {"headers": {"X-Key": "{account.secret}"}, "body": {"user": "{account.tenant}", "deep": {"list": ["{account.secret}", 1]}}},
        }))
    };
    let refused = request(&json!({
        "kind": "login", "url": "https://a.example/x", "login": {"headers": {"X": "{account.secret}"}, "body": {}},
    }));
    assert!(refused.outgoing(NOW).is_ok(), "a header may hold any visible text");
    let json = login("json");
    let sent: Value = serde_json::from_str(body(&json)).unwrap();
    assert_eq!(sent, json!({"user": "t 1", "deep": {"list": ["s&cret ю", 1]}}));
    assert!(json.headers["x-key"].is_sensitive());
    assert!(body(&login("form")).starts_with("user=t+1&deep=%7B"));
}

#[test]
fn a_service_account_signs_what_it_says_of_itself() {
    let token = json!({
        "kind": "jwt_bearer", "url": "https://auth.vendor.example/token",
        "assertion": {"key": "{account.private_key}", "key_id": "k1", "issuer": "{account.tenant}", "claims": {"scope": "read"}},
    });
    let request = request(&token).outgoing(NOW).unwrap();
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(request.body.as_deref().unwrap()).into_owned().collect();
    assert_eq!(form[0], ("grant_type".to_owned(), JWT_BEARER.to_owned()));
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&["https://auth.vendor.example/token"]);
    rules.validate_exp = false;
    // Another implementation signs the same: `generate.py` beside it says which.
    let theirs: Value =
        serde_json::from_str(include_str!("../../tests/fixtures/signatures/service-account.json")).unwrap();
    assert_eq!(theirs["assertion"], form[1].1.as_str(), "{}", theirs["by"]);
    let key = DecodingKey::from_rsa_pem(PUBLIC_KEY.as_bytes()).unwrap();
    let decoded = jsonwebtoken::decode::<Value>(&form[1].1, &key, &rules).unwrap();
    assert_eq!(decoded.header.kid.as_deref(), Some("k1"));
    assert_eq!(
        decoded.claims,
        json!({"iss": "t 1", "aud": "https://auth.vendor.example/token", "scope": "read", "iat": 1_800_000_000, "exp": 1_800_000_600})
    );
}

#[test]
fn a_key_that_is_none_is_the_accounts_fault() {
    let token = json!({
        "kind": "jwt_bearer", "url": "https://auth.vendor.example/token",
        "assertion": {"key": "{account.secret}", "issuer": "me"},
    });
    let failure = request(&token).outgoing(NOW).unwrap_err();
    assert!(matches!(&failure, Failure::Refused { .. }));
    assert!(!failure.said().contains("s&cret"), "{}", failure.said());
}

#[test]
fn no_field_decides_which_host_is_meant() {
    let url = |template: &str, tenant: &str| {
        let connector =
            connector(&json!({"kind": "client_credentials", "url": template, "client_id": "c", "client_secret": "s"}));
        let mut fields = fields();
        fields.public.insert("tenant".into(), tenant.into());
        token_request(&connector, &fields).unwrap().unwrap().url
    };
    assert_eq!(url("https://{account.portal_host}/{account.tenant}/token", "t 1"), "https://a.example/t%201/token");
    let evil = url("https://{account.tenant}.crm.example/token", "evil.example/x?y=#");
    assert_eq!(evil, "https://evil.example%2Fx%3Fy%3D%23.crm.example/token");
    assert!(parse_url(&evil).is_err());
    assert_eq!(url("https://crm.example/{account.tenant}", "../.."), "https://crm.example/..%2F..");
}

#[test]
fn a_grant_without_its_fields_asks_for_a_new_connection() {
    let token = json!({
        "kind": "client_credentials", "url": "https://{account.portal_host}/token",
        "client_id": "{account.tenant}", "client_secret": "{account.secret}",
    });
    let mut missing = fields();
    missing.secret.clear();
    assert!(matches!(token_request(&connector(&token), &missing), Err(IdentityError::NeedsReauth)));
    missing.public.clear();
    assert!(matches!(token_request(&connector(&token), &missing), Err(IdentityError::NeedsReauth)));
}
