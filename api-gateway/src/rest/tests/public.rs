use axum::body::Body;
use http::{Method, Request};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::support::World;

#[tokio::test]
async fn the_catalog_is_public_and_in_key_order() {
    let world = World::new().await;
    let list = world.get("/connectors.json", "").await;
    let rows = list.expect(200);
    assert_eq!(
        rows,
        json!([
            {"key": "alpha", "name": "Alpha", "description": "First of all.", "category": "crm"},
            {"key": "beta", "name": "Beta", "description": "First of all.", "category": "crm"}
        ])
    );
    assert_eq!(list.headers["content-type"], "application/json");
    assert!(list.headers["cache-control"].to_str().unwrap().contains("max-age=300"));
    let tag = list.headers["etag"].clone();
    let again = Request::get("/connectors.json").header("if-none-match", &tag).body(Body::empty()).unwrap();
    let again = world.send(again).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(again.headers["etag"], tag);
    let other = Request::get("/connectors.json").header("if-none-match", "\"x\"").body(Body::empty()).unwrap();
    world.send(other).await.expect(200);
}

#[tokio::test]
async fn mcp_info_is_ready_to_paste() {
    let world = World::new().await;
    let info = world.get("/api/v1/mcp/info", "").await.expect(200);
    assert_eq!(info["url"], "https://plugboard.example/mcp");
    assert_eq!(info["server_name"], "plugboard");
    assert_eq!(crate::tool_specs::settings(false).info.name, "plugboard");
    assert_eq!(info["protocol_versions"][0], "2026-07-28");
    assert_eq!(
        info["supported_scopes"],
        json!(["read:tools", "write:tools", "read:data", "chat", "connector:gateway", "admin"])
    );
    let server = &info["example_config"]["mcpServers"]["plugboard"];
    assert_eq!(server["url"], info["url"]);
    assert!(server["headers"]["Authorization"].as_str().unwrap().starts_with("Bearer sk-org-"));
}

#[tokio::test]
async fn without_a_configured_url_the_name_in_the_request_counts() {
    let world = World::with_url("").await;
    let ask = |host: &str| Request::get("/api/v1/mcp/info").header("host", host).body(Body::empty()).unwrap();
    assert_eq!(world.send(ask("box.lan:9000")).await.json()["url"], "http://box.lan:9000/mcp");
    for bad in ["user@evil.example", "a b", "", "a/b"] {
        assert_eq!(world.send(ask(bad)).await.json()["url"], "http://127.0.0.1:8700/mcp", "{bad:?}");
    }
}

#[tokio::test]
async fn metadata_describes_the_form() {
    let world = World::new().await;
    let all = world.get("/api/v1/connectors/metadata", "reader").await.expect(200);
    let keys: Vec<_> = all["connectors"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["alpha", "beta", "custom_api.mine"]);
    assert_eq!(all["connectors"][1]["admin_only"], true);
    let one = world.get("/api/v1/connectors/alpha/metadata", "writer").await.expect(200);
    assert_eq!(one, all["connectors"][0]);
    assert_eq!(
        one,
        json!({"key": "alpha", "name": "Alpha", "category": "crm", "admin_only": false, "flows": [{
            "kind": "credentials", "label": "API token", "help": "Settings, API.", "fields": [
                {"name": "host", "label": "Host", "secret": false, "optional": true, "host": true},
                {"name": "api_token", "label": "API token", "hint": "starts with canary", "secret": true,
                    "optional": false, "host": false, "pattern": "canary-.+"}
            ]
        }]})
    );
    let unknown = world.get("/api/v1/connectors/alpa/metadata", "reader").await.refused(404, "UNKNOWN_SERVICE");
    assert_eq!(unknown["fix"]["options"][0], "alpha");
}

#[tokio::test]
async fn alive_and_ready() {
    let world = World::new().await;
    for path in ["/livez", "/healthz"] {
        assert_eq!(world.get(path, "").await.expect(200)["status"], "alive");
    }
    let ready = world.get("/readyz", "").await.expect(503);
    assert_eq!(ready, json!({"ready": false, "parts": {"auth": "no connection", "catalog": "ok"}}));
    let directory = world.gateway.directory.clone();
    let following = tokio::spawn(directory.follow(CancellationToken::new()));
    while !world.gateway.ready() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.get("/readyz", "").await.expect(200)["ready"], true);
    following.abort();
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let world = World::new().await;
    let head = world.ask(Method::HEAD, "/connectors.json", "", None).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    assert!(head.headers.contains_key("etag"));
}
