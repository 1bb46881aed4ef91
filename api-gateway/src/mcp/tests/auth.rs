//! Refusals before the body is read, their headers, and what OAuth probes find.

use super::*;

fn ping(key: &str) -> Request<Body> {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let value = format!("Bearer {key}");
    post(&[("authorization", if key.is_empty() { "" } else { &value })], body)
}

#[tokio::test]
async fn each_refusal_has_its_status_challenge_and_body() {
    let app = App::new();
    let cases = [
        ("", 401, Some("Bearer"), None, "AUTH_REQUIRED"),
        ("unknown", 401, Some("Bearer error=\"invalid_token\""), None, "AUTH_REQUIRED"),
        (
            "weak",
            403,
            Some("Bearer error=\"insufficient_scope\", scope=\"read:tools write:tools\""),
            None,
            "AUTH_PERMISSION_DENIED",
        ),
        ("banned", 403, None, None, "AUTH_PERMISSION_DENIED"),
        ("busy", 429, None, Some("2"), "RATE_LIMITED"),
        ("dark", 503, None, Some("3"), "OVERLOADED"),
    ];
    for (key, status, challenge, retry_after, code) in cases {
        let response = app.send(ping(key)).await;
        assert_eq!(response.status(), status, "{key}");
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("www-authenticate").as_deref(), challenge, "{key}");
        assert_eq!(header("retry-after").as_deref(), retry_after, "{key}");
        assert_eq!(header("content-type").as_deref(), Some("application/json"), "{key}");
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(body["jsonrpc"], "2.0");
        assert_eq!(body["error"]["data"]["code"], code, "{key}");
        let own = body["error"]["code"].as_i64().unwrap();
        assert!(!(-32768..=-32000).contains(&own), "{own} lies in the reserved range");
    }
}

#[tokio::test]
async fn resource_metadata_is_named_only_when_configured() {
    let mut settings = settings();
    let url = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
    settings.resource_metadata = Some(url.to_owned());
    let response = App::with(settings).send(ping("unknown")).await;
    let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(challenge, format!("Bearer error=\"invalid_token\", resource_metadata=\"{url}\""));
}

#[tokio::test]
async fn the_body_of_an_unknown_caller_is_never_read() {
    let app = App::new();
    let body = Body::from_stream(futures::stream::poll_fn(
        |_| -> std::task::Poll<Option<Result<bytes::Bytes, std::io::Error>>> { panic!("the body was read") },
    ));
    let response = app.send(post(&[("authorization", "")], body)).await;
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn get_and_delete_are_challenged_first_and_then_405() {
    let app = App::new();
    for path in ["/mcp", "/mcp/"] {
        for method in ["GET", "DELETE", "PUT", "HEAD"] {
            let request = |key: &str| {
                let builder = Request::builder().method(method).uri(path).header("accept", "text/event-stream");
                let builder =
                    if key.is_empty() { builder } else { builder.header("authorization", format!("Bearer {key}")) };
                builder.body(Body::empty()).unwrap()
            };
            let response = app.send(request("")).await;
            assert_eq!(response.status(), 401, "{method}");
            assert!(response.headers().contains_key("www-authenticate"));
            let response = app.send(request("good")).await;
            assert_eq!(response.status(), 405, "{method}");
            assert_eq!(response.headers()["allow"], "POST");
        }
    }
}

#[tokio::test]
async fn a_denied_tool_call_is_403_with_the_scope_and_the_id() {
    let app = App::new();
    let response = app.send(call("denied", json!({}))).await;
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["www-authenticate"], "Bearer error=\"insufficient_scope\", scope=\"write:tools\"");
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body["id"], "a1");
    assert_eq!(body["error"]["message"], "the key lacks write:tools");
}

#[tokio::test]
async fn oauth_probes_find_a_json_404() {
    let app = App::new();
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration/mcp",
        "/mcp/.well-known/openid-configuration",
        "/register",
    ] {
        let response = app.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.headers()["content-type"], "application/json");
        serde_json::from_str::<Value>(&text(response).await).unwrap();
    }
}

#[tokio::test]
async fn both_paths_serve_and_sessions_are_ignored() {
    let app = App::new();
    for path in ["/mcp", "/mcp/"] {
        let mut request = ping("good");
        *request.uri_mut() = path.parse().unwrap();
        request.headers_mut().insert("mcp-session-id", "stale".parse().unwrap());
        let response = app.send(request).await;
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("mcp-session-id"));
    }
}
