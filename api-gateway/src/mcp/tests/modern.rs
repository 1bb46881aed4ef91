//! Requests of 2026-07-28.

use base64::Engine as _;

use super::*;

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// Sends a call of echo whose `_meta` and headers are changed, and returns status and error code.
async fn refused(meta: Value, headers: &[(&str, &str)]) -> (u16, i64) {
    let params = json!({"name": "echo", "arguments": {}, "_meta": meta});
    let (status, body) = App::new().json(modern("tools/call", params, headers)).await;
    if status != 200 {
        assert_eq!(body["id"], "a1", "{body}");
    }
    (status.as_u16(), body["error"]["code"].as_i64().unwrap_or_default())
}

#[tokio::test]
async fn discovery_and_list_carry_everything() {
    let app = App::new();
    let (status, body) = app.json(modern("server/discover", json!({}), &[])).await;
    assert_eq!(status, 200);
    let result = &body["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]));
    assert_eq!(result["capabilities"], json!({"tools": {}}));
    assert_eq!(result["instructions"], "Call echo.");

    let (_, list) = app.json(modern("tools/list", json!({}), &[])).await;
    assert_eq!(list["result"]["tools"][0]["name"], "echo");
    for result in [result, &list["result"]] {
        assert_eq!(result["resultType"], "complete");
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(3_600_000), &json!("public")));
        assert_eq!(result["_meta"][SERVER_INFO], json!({"name": "probe", "version": "1.2.3"}));
    }
    let (status, body) = app.json(modern("tools/list", json!({"cursor": "x"}), &[])).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (200, &json!(-32602)));
}

#[tokio::test]
async fn an_envelope_is_structured_and_repeated_as_text() {
    let app = App::new();
    let (status, body) = app.json(call("echo", json!({"a": "\"\n\u{1}ж"}))).await;
    assert_eq!(status, 200);
    let result = &body["result"];
    assert_eq!(result["structuredContent"], json!({"a": "\"\n\u{1}ж"}));
    assert_eq!(result["content"][0]["type"], "text");
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, result["structuredContent"]);
    assert_eq!((&result["isError"], &result["resultType"]), (&json!(false), &json!("complete")));
    assert_eq!(result["_meta"][SERVER_INFO]["name"], "probe");

    let (_, body) = app.json(call("fail", json!({}))).await;
    assert_eq!(body["result"]["isError"], true);
    assert_eq!(body["result"]["content"][0]["text"], "it went \"wrong\"");
}

#[tokio::test]
async fn what_lies_ready_is_given_to_whoever_wants_nothing_else() {
    let app = App::new();
    let kept = json!({"name": "echo", "arguments": {"kept": 1}});
    let (status, body) = app.json(modern("tools/call", kept.clone(), &[])).await;
    assert_eq!((status.as_u16(), &body["result"]["structuredContent"]), (200, &json!({"lay": "ready"})));
    for (name, value, expected) in [
        ("progressToken", json!(1), 200),
        ("progressToken", json!(1.5), 400),
        ("io.modelcontextprotocol/logLevel", json!("info"), 200),
        ("io.modelcontextprotocol/logLevel", json!("loud"), 400),
    ] {
        let mut params = kept.clone();
        params["_meta"] = json!({name: value});
        let (status, body) = app.json(modern("tools/call", params, &[("accept", "application/json")])).await;
        assert_eq!(status, expected, "{body}");
        let echoed = &body["result"]["structuredContent"];
        assert!(expected == 400 || *echoed == json!({"kept": 1}), "{body}");
    }
    let (status, _) = app.json(modern("tools/call", kept, &[("mcp-name", "fail")])).await;
    assert_eq!(status, 400, "what is ready is not given before the checks");
}

#[tokio::test]
async fn arguments_may_be_absent_or_null_but_not_something_else() {
    let app = App::new();
    for (arguments, ok) in
        [(Some(json!(null)), true), (None, true), (Some(json!([])), false), (Some(json!("x")), false)]
    {
        let mut params = json!({"name": "echo"});
        if let Some(arguments) = &arguments {
            params["arguments"] = arguments.clone();
        }
        let (status, body) = app.json(modern("tools/call", params, &[])).await;
        assert_eq!(status, 200);
        if ok {
            assert_eq!(body["result"]["structuredContent"], json!({}));
        } else {
            assert_eq!(body["error"]["code"], -32602, "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn unknown_tools_and_methods() {
    let app = App::new();
    let (status, body) = app.json(call("nothing", json!({}))).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (200, &json!(-32602)));
    assert!(body["error"]["message"].as_str().unwrap().contains("echo"), "{body}");
    for method in ["nothing", "initialize", "ping", "logging/setLevel", "resources/subscribe", "subscriptions/listen"] {
        let (status, body) = app.json(modern(method, json!({}), &[])).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (404, &json!(-32601)), "{method}");
        assert_eq!(body["id"], "a1");
    }
}

#[tokio::test]
async fn meta_must_be_complete_before_anything_else_is_checked() {
    let app = App::new();
    for meta in [
        json!(null),
        json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"}),
        json!({"io.modelcontextprotocol/clientCapabilities": {}}),
        json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": []}),
        json!([]),
        json!("x"),
    ] {
        let mut params = json!({"name": "echo"});
        if !meta.is_null() {
            params["_meta"] = meta.clone();
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        // The other headers are wrong as well: the first fault wins.
        let request = post(&[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "wrong")], body.to_string());
        let (status, body) = app.json(request).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!(-32602)), "{meta}");
        assert_eq!(body["id"], 1);
    }
}

#[tokio::test]
async fn header_and_meta_must_name_one_served_version() {
    let version = |version: &str| json!({"io.modelcontextprotocol/protocolVersion": version});
    assert_eq!(refused(json!({}), &[]).await, (200, 0));
    assert_eq!(refused(json!({}), &[("mcp-protocol-version", "")]).await, (400, -32020));
    assert_eq!(refused(json!({}), &[("mcp-protocol-version", "2025-11-25")]).await, (400, -32020));
    assert_eq!(refused(json!({}), &[("mcp-protocol-version", "2099-01-01")]).await, (400, -32020));
    assert_eq!(refused(version("2099-01-01"), &[]).await, (400, -32020));
    assert_eq!(refused(version("2025-11-25"), &[]).await, (400, -32020));
    assert_eq!(refused(version("v9"), &[("mcp-protocol-version", "v9")]).await, (400, -32022));
    assert_eq!(refused(json!({"io.modelcontextprotocol/protocolVersion": 7}), &[]).await, (400, -32602));

    let request = modern("tools/list", json!({"_meta": version("v9")}), &[("mcp-protocol-version", "v9")]);
    let (_, body) = App::new().json(request).await;
    assert_eq!(body["error"]["data"]["requested"], "v9");
    assert_eq!(body["error"]["data"]["supported"][0], "2026-07-28");
}

#[tokio::test]
async fn a_version_mismatch_can_be_tolerated() {
    let mut settings = settings();
    settings.tolerate_version_mismatch = true;
    let app = App::with(settings);
    let request = |header| modern("tools/list", json!({}), &[("mcp-protocol-version", header)]);
    let (status, body) = app.json(request("2025-11-25")).await;
    assert_eq!((status.as_u16(), &body["result"]["resultType"]), (200, &json!("complete")));
    assert_eq!(app.json(request("2099-01-01")).await.1["error"]["code"], -32020);
}

#[tokio::test]
async fn method_and_name_are_mirrored_exactly() {
    for (header, value, ok) in [
        ("mcp-method", "tools/call", true),
        ("mcp-method", " tools/call\t", true),
        ("mcp-method", "TOOLS/CALL", false),
        ("mcp-method", "tools/list", false),
        ("mcp-method", "", false),
        ("mcp-name", "echo", true),
        ("mcp-name", "  echo  ", true),
        ("mcp-name", "=?base64?ZWNobw==?=", true),
        ("mcp-name", "=?base64?ZWNobw?=", false),
        ("mcp-name", "=?base64?ZWNob!==?=", false),
        ("mcp-name", "=?base64?ZWNobw==", false),
        ("mcp-name", "ZWNobw==", false),
        ("mcp-name", "=?base64?/w==?=", false),
        ("mcp-name", "Echo", false),
        ("mcp-name", "fail", false),
        ("mcp-name", "", false),
    ] {
        let expected = if ok { (200, 0) } else { (400, -32020) };
        assert_eq!(refused(json!({}), &[(header, value)]).await, expected, "{header}: {value:?}");
    }
    for header in ["mcp-method", "mcp-name", "mcp-protocol-version"] {
        let mut request = call("echo", json!({}));
        let value = request.headers()[header].clone();
        request.headers_mut().append(http::HeaderName::from_static(header), value);
        let (status, body) = App::new().json(request).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!(-32020)), "{header} twice");
    }
}

#[tokio::test]
async fn annotated_arguments_are_mirrored_and_others_ignored() {
    let app = App::new();
    let base64 = format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode("Север"));
    for (arguments, header, ok) in [
        (json!({"region": "eu"}), "eu", true),
        (json!({"region": "Север"}), base64.as_str(), true),
        (json!({"region": "eu"}), "us", false),
        (json!({"region": "eu"}), "", false),
        (json!({}), "", true),
        (json!({"region": null}), "", true),
        (json!({}), "eu", false),
    ] {
        let params = json!({"name": "region", "arguments": arguments});
        let (status, body) = app.json(modern("tools/call", params, &[("mcp-param-region", header)])).await;
        let expected = if ok { (200, json!(null)) } else { (400, json!(-32020)) };
        assert_eq!((status.as_u16(), body["error"]["code"].clone()), expected, "{arguments} {header:?}");
    }
    let params = json!({"name": "echo", "arguments": {"region": "eu"}});
    assert_eq!(app.json(modern("tools/call", params, &[("mcp-param-region", "us")])).await.0, 200);
}

#[tokio::test]
async fn the_context_shows_client_capabilities_and_trace() {
    let app = App::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let other = "00-11111111111111111111111111111111-2222222222222222-00";
    let meta = json!({
        "io.modelcontextprotocol/clientInfo": {"name": "n".repeat(500), "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
        "traceparent": parent,
    });
    let params = |meta: &Value| json!({"name": "context", "_meta": meta});
    let headers = [("traceparent", other), ("tracestate", "a=b")];
    let (_, body) = app.json(modern("tools/call", params(&meta), &headers)).await;
    let seen = &body["result"]["structuredContent"];
    assert_eq!(seen["client"].as_str().unwrap().len(), 128);
    assert_eq!((&seen["url"], &seen["form"]), (&json!(true), &json!(false)));
    assert_eq!((&seen["traceparent"], &seen["tracestate"]), (&json!(parent), &json!("a=b")));
    assert_eq!((&seen["version"], &seen["id"]), (&json!("2026-07-28"), &json!("a1")));

    let meta = json!({"traceparent": "nonsense", "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}});
    let (_, body) = app.json(modern("tools/call", params(&meta), &headers)).await;
    let seen = &body["result"]["structuredContent"];
    assert_eq!((&seen["traceparent"], &seen["form"]), (&json!(other), &json!(true)));
}

#[tokio::test]
async fn input_required_and_its_repeat() {
    let app = App::new();
    let (_, body) = app.json(call("ask", json!({}))).await;
    let result = &body["result"];
    assert_eq!((&result["resultType"], &result["requestState"]), (&json!("input_required"), &json!("s\"1")));
    assert!(result["inputRequests"]["k"].is_object() && result["_meta"][SERVER_INFO].is_object());

    let params = json!({"name": "context", "inputResponses": {}, "requestState": "s\"1"});
    let (_, body) = app.json(modern("tools/call", params, &[])).await;
    assert_eq!(body["result"]["structuredContent"]["state"], "s\"1");
    for params in [json!({"name": "context", "requestState": 1}), json!({"name": "context", "inputResponses": 1})] {
        let (status, body) = app.json(modern("tools/call", params, &[])).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!(-32602)));
    }
}

#[tokio::test]
async fn responses_and_batches_have_no_place() {
    let app = App::new();
    let modern = |body: &str| post(&[("mcp-protocol-version", "2026-07-28")], body.to_owned());
    for body in [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#] {
        let (status, answer) = app.json(modern(body)).await;
        assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &json!(-32600)), "{body}");
    }
    let (status, answer) = app.json(modern(r#"{"jsonrpc":"2.0","method":"notifications/whatever"}"#)).await;
    assert_eq!((status.as_u16(), answer), (202, Value::Null));
}

#[tokio::test]
async fn a_panic_is_an_internal_error_of_one_call() {
    let app = App::new();
    let (status, body) = app.json(call("faulty", json!({}))).await;
    assert_eq!((status.as_u16(), &body["error"]["code"], &body["id"]), (200, &json!(-32603), &json!("a1")));
    assert_eq!(app.json(call("echo", json!({}))).await.0, 200);
}

#[test]
fn settings_that_clients_would_choke_on_are_refused() {
    let build = |change: fn(&mut McpSettings)| {
        let mut settings = settings();
        change(&mut settings);
        McpEndpoint::new(Arc::new(Probe::default()), settings).unwrap_err().to_string()
    };
    assert!(build(|settings| settings.tools[0].name = "two words".to_owned()).contains("two words"));
    assert!(build(|settings| settings.tools[0].name = "x".repeat(65)).contains("64"));
    assert!(build(|settings| settings.tools[0].name = "fail".to_owned()).contains("fail"));
    assert!(build(|settings| settings.tools[0].input_schema = json!({})).contains("object"));
    assert!(build(|settings| settings.tools[0].output_schema = Some(json!({"type": "array"}))).contains("object"));
    let annotated = json!({"type": "object", "properties": {"a": {"type": "array", "x-mcp-header": "A"}}});
    let mut settings = settings();
    settings.tools[0].input_schema = annotated;
    let error = McpEndpoint::new(Arc::new(Probe::default()), settings).unwrap_err();
    assert!(error.to_string().contains("x-mcp-header"));
}
