//! How accounts prove themselves, and where calls go.

use serde_json::{Value, json};

use super::{document, drafted};

fn schemes() -> Value {
    json!({
        "k1": {"type": "apiKey", "in": "header", "name": "DD-API-KEY"},
        "k2": {"type": "apiKey", "in": "header", "name": "DD-APPLICATION-KEY"},
        "bear": {"type": "http", "scheme": "bearer"},
        "oauth": {"type": "oauth2"},
    })
}

fn secured(root: Value, of_operations: &[Value]) -> String {
    let paths: serde_json::Map<String, Value> = of_operations
        .iter()
        .enumerate()
        .map(|(at, security)| {
            let mut operation = json!({ "operationId": format!("op{at}"), "responses": {} });
            if !security.is_null() {
                operation["security"] = security.clone();
            }
            (format!("/{at}"), json!({ "get": operation }))
        })
        .collect();
    document(paths.into(), json!({ "components": { "securitySchemes": schemes() }, "security": root }))
}

#[test]
fn keys_that_are_wanted_together_are_all_asked_for() {
    let (manifest, _) = drafted(&secured(json!([{"k1": [], "k2": []}]), &[Value::Null]));
    assert_eq!(manifest.transport.headers["DD-API-KEY"], "{account.dd_api_key}");
    assert_eq!(manifest.transport.headers["DD-APPLICATION-KEY"], "{account.dd_application_key}");
    assert!(!manifest.transport.headers.contains_key("Authorization"), "nothing wants the bearer token");
}

#[test]
fn what_most_operations_allow_is_taken_and_the_rest_is_said() {
    let one = json!([{"k1": []}]);
    let (manifest, remarks) = drafted(&secured(json!([{"oauth": []}, {"k1": []}]), &[Value::Null, one, Value::Null]));
    assert_eq!(manifest.transport.headers["DD-API-KEY"], "{account.api_key}", "easier than a sign-in");
    assert!(remarks.contains("auth: k1 is taken; the document also has oauth"), "{remarks}");
    let odd = json!([{"bear": []}]);
    let (manifest, remarks) = drafted(&secured(json!([{"k1": []}]), &[Value::Null, Value::Null, odd, json!([])]));
    assert_eq!(manifest.transport.headers.keys().collect::<Vec<_>>(), ["DD-API-KEY"]);
    assert!(remarks.contains("op2: wants bear, not k1"), "{remarks}");
}

#[test]
fn a_key_that_is_a_bearer_token_travels_as_one() {
    let scheme = json!({"t": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Write: Bearer <token>"}});
    let more = json!({ "components": { "securitySchemes": scheme }, "security": [{"t": []}] });
    let (manifest, _) = drafted(&document(json!({"/a": {"get": {"responses": {}}}}), more));
    assert_eq!(manifest.transport.headers["Authorization"], "Bearer {account.api_key}");
}

#[test]
fn servers_of_paths_and_operations_have_modules_of_their_own() {
    let upload = json!([{"url": "https://upload.parcels.example/v1"}]);
    let text = document(
        json!({
            "/a": {"get": {"operationId": "a", "tags": ["Files"], "responses": {}}},
            "/b": {"get": {"operationId": "b", "tags": ["Files"], "responses": {}, "servers": upload}},
            "/c": {"servers": upload, "get": {"operationId": "c", "tags": ["Files"], "responses": {}}},
        }),
        json!({ "servers": [{"url": "https://api.parcels.example"}, {"url": "https://eu.parcels.example"}] }),
    );
    let (manifest, remarks) = drafted(&text);
    assert_eq!(manifest.modules["files"].base_url, "https://api.parcels.example");
    assert_eq!(manifest.modules["files_2"].base_url, "https://upload.parcels.example/v1");
    let modules: Vec<_> = manifest.operations.iter().map(|operation| operation.module.as_str()).collect();
    assert_eq!(modules, ["files", "files_2", "files_2"]);
    assert!(remarks.contains("the document also names https://eu.parcels.example"), "{remarks}");
}

#[test]
fn a_server_becomes_a_base_url() {
    let base = |server: Value| {
        let text = document(json!({"/a": {"get": {"responses": {}}}}), json!({ "servers": [server] }));
        let (manifest, remarks) = drafted(&text);
        (manifest.modules["api"].base_url.clone(), remarks)
    };
    let (url, remarks) = base(json!({"url": "http://a.example/v1/?x=1"}));
    assert_eq!(url, "https://a.example/v1");
    assert!(remarks.contains("https is assumed") && remarks.contains("only host and path"), "{remarks}");
    let (url, remarks) = base(json!({"url": "/api/v3/"}));
    assert_eq!(url, "https://api.example.com/api/v3");
    assert!(remarks.contains("has no host"), "{remarks}");
    let (url, remarks) = base(json!({"url": "https://{shop_name}.example"}));
    assert_eq!(url, "https://shop-name.example");
    assert!(remarks.contains("it is a field of the account"), "{remarks}");
}
