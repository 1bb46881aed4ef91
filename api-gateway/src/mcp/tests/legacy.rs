//! Requests of 2025-11-25 and older.

use super::*;

fn initialize(version: &str) -> Request<Body> {
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
    post(&[], json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string())
}

#[tokio::test]
async fn initialize_negotiates_legacy_versions_only() {
    let app = App::new();
    for (asked, answered) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("nonsense", "2025-11-25"),
    ] {
        let response = app.send(initialize(asked)).await;
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("mcp-session-id"));
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        let result = &body["result"];
        assert_eq!(result["protocolVersion"], answered, "{asked}");
        assert_eq!(result["serverInfo"]["name"], "probe");
        assert_eq!(result["instructions"], "Call echo.");
        assert_eq!(result.get("resultType"), None);
    }
    // A client that negotiates down may still carry the header of the newer revision.
    let mut request = initialize("2025-11-25");
    request.headers_mut().insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    assert_eq!(app.json(request).await.1["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn the_version_header_decides() {
    let app = App::new();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for version in ["", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let (status, body) = app.json(post(&[("mcp-protocol-version", version)], ping)).await;
        assert_eq!((status.as_u16(), &body["result"]), (200, &json!({})), "{version}");
    }
    for version in ["2024-11-05", "nonsense"] {
        let (status, body) = app.json(post(&[("mcp-protocol-version", version)], ping)).await;
        assert_eq!((status.as_u16(), &body["error"]["code"], &body["id"]), (400, &json!(-32022), &json!(1)));
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(app.json(post(&[("mcp-protocol-version", version)], initialized)).await.0, 400);
    }
}

#[tokio::test]
async fn results_have_no_modern_members() {
    let app = App::new();
    let (status, list) = app.json(legacy("tools/list", &json!({}))).await;
    assert_eq!(status, 200);
    assert_eq!(list["result"].as_object().unwrap().keys().collect::<Vec<_>>(), ["tools"]);
    let (_, body) = app.json(legacy("tools/call", &json!({"name": "echo", "arguments": {"a": 1}}))).await;
    let mut keys: Vec<_> = body["result"].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["content", "isError", "structuredContent"]);
}

#[tokio::test]
async fn mirrored_headers_and_unknown_meta_do_not_matter() {
    let app = App::new();
    let mut request =
        legacy("tools/call", &json!({"name": "region", "arguments": {"region": "eu"}, "_meta": {"x": 1}}));
    for (name, value) in [("mcp-method", "wrong"), ("mcp-name", "wrong"), ("mcp-param-region", "us")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(app.json(request).await.1["result"]["isError"], false);
}

#[tokio::test]
async fn methods_unknown_or_of_the_other_era_are_rpc_errors() {
    let app = App::new();
    for method in ["nothing", "server/discover", "resources/list"] {
        let (status, body) = app.json(legacy(method, &json!({}))).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (200, &json!(-32601)), "{method}");
    }
    let (status, body) = app.json(legacy("tools/call", &json!({"name": "ask"}))).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (200, &json!(-32603)));
}

#[tokio::test]
async fn notifications_and_responses_are_accepted() {
    let app = App::new();
    for body in [
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/unheard_of","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#,
    ] {
        let response = app.send(post(&[("mcp-protocol-version", "2025-06-18")], body)).await;
        assert_eq!(response.status(), 202, "{body}");
        assert_eq!(text(response).await, "");
    }
}

#[tokio::test]
async fn batches_are_served_for_the_revision_that_has_them() {
    let app = App::new();
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "two", "method": "tools/call", "params": {"name": "echo", "arguments": {"n": 2}}},
        {"jsonrpc": "2.0", "id": 3, "method": "initialize", "params": {}},
        {"jsonrpc": "2.0", "id": 4, "method": "nothing"},
        7,
    ])
    .to_string();
    for version in ["", "2025-03-26"] {
        let (status, body) = app.json(post(&[("mcp-protocol-version", version)], batch.clone())).await;
        assert_eq!(status, 200);
        assert_eq!(body.as_array().unwrap().len(), 5);
        assert_eq!(body[0], json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
        assert_eq!(body[1]["result"]["structuredContent"], json!({"n": 2}));
        assert_eq!(body[2]["error"]["code"], -32600);
        assert_eq!(body[3]["error"]["code"], -32601);
        assert_eq!((&body[4]["error"]["code"], &body[4]["id"]), (&json!(-32600), &Value::Null));
    }
    for version in ["2025-06-18", "2025-11-25", "2026-07-28", "nonsense"] {
        let (status, body) = app.json(post(&[("mcp-protocol-version", version)], batch.clone())).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!(-32600)), "{version}");
    }
    let (status, body) = app.json(post(&[], r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#)).await;
    assert_eq!((status.as_u16(), body), (202, Value::Null));
}

#[tokio::test]
async fn batches_have_a_size() {
    let app = App::new();
    let batch = |entries: usize| {
        let entry = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        json!(vec![entry; entries]).to_string()
    };
    assert_eq!(app.json(post(&[], batch(64))).await.0, 200);
    for entries in [0, 65] {
        let (status, body) = app.json(post(&[], batch(entries))).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!(-32600)), "{entries}");
    }
}

#[tokio::test]
async fn one_bad_entry_does_not_spoil_a_batch() {
    let body = r#"[{"jsonrpc":"2.0","id":1,"method":"ping","id":2},{"jsonrpc":"2.0","id":3,"method":"ping"}]"#;
    let (status, body) = App::new().json(post(&[], body)).await;
    assert_eq!(status, 200);
    assert_eq!(body[0]["error"]["code"], -32600);
    assert_eq!(body[1]["result"], json!({}));
}
