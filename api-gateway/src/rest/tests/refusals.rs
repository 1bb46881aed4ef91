use std::sync::atomic::Ordering;

use axum::body::Body;
use http::{Method, Request};
use serde_json::json;

use super::support::World;

const ALL: &str = "/api/v1/connections";

fn raw(kind: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(ALL).header("authorization", "Bearer admin");
    let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn execution_is_no_rest_resource() {
    let world = World::new().await;
    for path in [
        "/api/v1/connectors/alpha/execute",
        "/api/v1/nothing",
        "/api/v1/",
        "/api/v1",
        "/api",
        "/api/v2/connections",
        "/api/v1/connections/",
        "/api/v1/connections/x/y",
        "/api/v1/%FF",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            world.ask(method, path, "admin", Some(json!({}))).await.refused(404, "INVALID_ARGUMENT");
        }
        world.get(path, "").await.refused(404, "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn paths_of_other_parts_are_left_to_them() {
    let world = World::new().await;
    for path in ["/mcp", "/.well-known/oauth-protected-resource", "/.well-known/openid-configuration/mcp", "/register"]
    {
        assert_eq!(world.get(path, "").await.text, "", "{path}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_tells_which_are() {
    let world = World::new().await;
    for (path, allowed) in [
        (ALL, "GET,HEAD,POST"),
        ("/api/v1/connections/acc_x", "GET,HEAD,PATCH,DELETE"),
        ("/api/v1/organizations", "POST"),
        ("/connectors.json", "GET,HEAD"),
        ("/healthz", "GET,HEAD"),
    ] {
        let reply = world.ask(Method::PUT, path, "", Some(json!({}))).await;
        reply.refused(405, "INVALID_ARGUMENT");
        assert_eq!(reply.headers["allow"], allowed, "{path}");
    }
}

#[tokio::test]
async fn keys_are_asked_for_in_the_terms_of_http() {
    let world = World::new().await;
    let missing = world.get(ALL, "").await;
    missing.refused(401, "AUTH_REQUIRED");
    assert_eq!(missing.headers["www-authenticate"], "Bearer");
    let refused = world.get(ALL, "unheard-of").await;
    refused.refused(401, "AUTH_REQUIRED");
    assert_eq!(refused.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    assert!(!refused.text.contains("unheard-of"));
    world.auth.away.store(true, Ordering::SeqCst);
    let away = world.get(ALL, "reader").await;
    away.refused(503, "OVERLOADED");
    assert_eq!(away.headers["retry-after"], "1");
    assert!(!away.text.contains("10.0.0.7"));
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let world = World::new().await;
    let json_type = Some("application/json");
    for body in ["", "{", "{\"service\":canary-1}", "{} {}", "nul"] {
        let reply = world.send(raw(json_type, body)).await;
        reply.refused(400, "INVALID_ARGUMENT");
        assert!(!reply.text.contains("canary"));
    }
    for body in ["[]", "null", "\"canary-1\"", "5"] {
        let reply = world.send(raw(json_type, body)).await;
        reply.refused(400, "INVALID_ARGUMENT");
        assert!(!reply.text.contains("canary"));
    }
    world.send(raw(json_type, vec![b'"', 0xff, b'"'])).await.refused(400, "INVALID_ARGUMENT");
    world.send(raw(json_type, "[".repeat(100))).await.refused(400, "INVALID_ARGUMENT");
    let twice = r#"{"service":"alpha","service":"beta","credentials":{"api_token":"canary-1"}}"#;
    world.send(raw(json_type, twice)).await.wrong("service");
    let twice = r#"{"service":"alpha","credentials":{"api_token":"canary-1","api_token":"canary-2"}}"#;
    world.send(raw(json_type, twice)).await.wrong("api_token");
}

#[tokio::test]
async fn only_json_and_only_so_much() {
    let world = World::new().await;
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonp")] {
        world.send(raw(kind, "{}")).await.refused(415, "INVALID_ARGUMENT");
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        world.send(raw(Some(kind), "{}")).await.wrong("service");
    }
    let body = |bytes: usize| json!({"service": "x".repeat(bytes)}).to_string();
    world.send(raw(Some("application/json"), body(256 * 1024))).await.refused(413, "INVALID_ARGUMENT");
    world.send(raw(Some("application/json"), body(250 * 1024))).await.wrong("credentials");
}

#[tokio::test]
async fn the_key_is_checked_before_the_body() {
    let world = World::new().await;
    let mut request = raw(None, "not even JSON");
    request.headers_mut().remove("authorization");
    world.send(request).await.refused(401, "AUTH_REQUIRED");
}

#[tokio::test]
async fn unknown_paths_outside_are_json_and_grpc_in_its_own_way() {
    let mut world = World::new().await;
    world.router = world.router.clone().fallback(crate::rest::unknown);
    world.get("/favicon.ico", "").await.refused(404, "INVALID_ARGUMENT");
    let call = Request::post("/some.Service/Call").header("content-type", "application/grpc+proto");
    let reply = world.send(call.body(Body::empty()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.headers["grpc-status"].to_str().unwrap()), (200, "12"));
}
