//! The test request of a connector that signs, against what other implementations sign (`tests/fixtures/signatures`).

use plugboard_core::clock::Millis;
use plugboard_core::secret::Secret;
use serde_json::json;

use super::*;

fn vector(name: &str) -> Value {
    let all: Vec<Value> = serde_json::from_str(include_str!("../../../tests/fixtures/signatures/python.json")).unwrap();
    all.into_iter().find(|vector| vector["name"] == name).unwrap()
}

fn sent(vector: &Value, parts: Value) -> EgressRequest {
    let mut manifest = json!({
        "key": "shop", "name": "Shop", "tagline": "t", "description": "d", "category": "ecommerce",
        "docs": "https://docs.example", "version": "1",
        "verified": {"how": "documentation", "on": "2026-11-28"},
    });
    let account = vector["account"].as_object().unwrap();
    let fields: Map<String, Value> = account.keys().map(|name| (name.clone(), json!({"label": name}))).collect();
    manifest["auth"] = json!({"test": "test", "flows": [{"kind": "credentials", "label": "Keys", "fields": fields}]});
    for (name, value) in parts.as_object().unwrap() {
        manifest[name] = value.clone();
    }
    let connector = Connector::from_manifest(serde_json::from_value(manifest).unwrap()).unwrap();
    let mut fields = AccountFields::default();
    for (name, value) in account {
        fields.secret.insert(name.clone(), Secret::new(value.as_str().unwrap()));
    }
    let mut nonce = [0; 16];
    hex::decode_to_slice(vector["nonce"].as_str().unwrap(), &mut nonce).unwrap();
    let stamp = Stamp { at: Millis(vector["time_ms"].as_i64().unwrap()), nonce };
    let (operation, _) = connector.operation("test").unwrap();
    let (module, _) = connector.module("api").unwrap();
    let manifest = connector.manifest();
    Probe { connector: &connector, manifest, module, operation, fields: &fields, stamp }.request().unwrap()
}

#[test]
fn a_form_around_json_is_signed() {
    let vector = vector("Mango Office: an empty object where nothing is asked");
    let request = sent(
        &vector,
        json!({
            "modules": {"api": {"summary": "s", "base_url": "https://app.mango-office.ru/vpbx", "body": "form", "body_field": "json"}},
            "operations": [{"id": "test", "module": "api", "method": "POST", "path": "/account/balance", "summary": "s",
                "effect": "read", "response_example": {}}],
            "transport": {"body": {"vpbx_api_key": "{account.vpbx_api_key}"}, "signatures": {"s": {
                "algorithm": "sha256", "body": {"sign": "{signature}"},
                "parts": ["{account.vpbx_api_key}", "{body.json}", "{account.vpbx_api_salt}"]}}},
        }),
    );
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(request.body.as_deref().unwrap()).into_owned().collect();
    assert_eq!(form.len(), 3);
    for (name, value) in form {
        assert_eq!(vector["expect"][format!("form {name}")], value, "{name}");
    }
}

#[test]
fn a_header_is_signed_over_method_address_and_time() {
    let vector = vector("NetSuite: no parameters");
    let add = json!({
        "oauth_consumer_key": "{account.consumer_key}", "oauth_nonce": "{nonce}", "oauth_timestamp": "{time.seconds}",
        "oauth_signature_method": "HMAC-SHA256", "oauth_token": "{account.token_id}", "oauth_version": "1.0",
    });
    let request = sent(
        &vector,
        json!({
            "modules": {"api": {"summary": "s",
                "base_url": "https://{account.account_id}.suitetalk.api.netsuite.com/services/rest/record/v1"}},
            "operations": [{"id": "test", "module": "api", "method": "GET", "path": "/metadata-catalog", "summary": "s",
                "effect": "read", "response_example": {}}],
            "transport": {"signatures": {"s": {
                "algorithm": "hmac_sha256", "encoding": "base64", "join": "&",
                "key": "{account.consumer_secret|percent}&{account.token_secret|percent}",
                "parts": ["{request.method}", "{request.url|percent}", {"fields": ["query"], "add": add,
                    "pair": "{name|percent}={value|percent}", "join": "&", "percent": true}],
                "headers": {"Authorization": "oauth_signature=\"{signature|percent}\""}}}},
        }),
    );
    let made = request.headers[AUTHORIZATION].to_str().unwrap();
    assert!(request.headers[AUTHORIZATION].is_sensitive());
    assert!(vector["expect"]["header Authorization"].as_str().unwrap().contains(made), "{made}");
}
