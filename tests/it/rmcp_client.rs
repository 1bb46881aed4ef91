//! A client not of our making: the official Rust SDK.
#![allow(clippy::disallowed_types, reason = "the SDK's transport wants its own client")]

use plugboard_tests::stack::Stack;
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt};
use serde_json::{Value, json};

pub(crate) async fn the_official_rust_client_lists_and_calls(stack: &Stack) {
    let newest = ProtocolVersion::V_2026_07_28;
    let ways = [
        (ClientLifecycleMode::Initialize, "2025-11-25"),
        (ClientLifecycleMode::Discover { preferred_versions: vec![newest.clone()] }, "2026-07-28"),
        (ClientLifecycleMode::Auto { preferred_versions: vec![newest], legacy_version: None }, "2026-07-28"),
    ];
    for (way, agreed) in ways {
        lists_and_calls(stack, way, agreed).await;
    }
}

async fn lists_and_calls(stack: &Stack, way: ClientLifecycleMode, agreed: &str) {
    let endpoint = format!("{}/mcp", stack.url());
    let config = StreamableHttpClientTransportConfig::with_uri(endpoint).auth_header(stack.api_key());
    let transport = StreamableHttpClientTransport::from_config(config);
    let client = ().serve_with_lifecycle(transport, way).await.unwrap();
    assert_eq!(client.peer_info().unwrap().protocol_version.as_str(), agreed);
    let tools = client.list_all_tools().await.unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names, ["list_services", "describe_service", "connector_execute"]);

    let call = |query: Value| {
        let arguments = json!({
            "service": "wildberries", "module": "statistics", "method": "GET", "path": "/api/v1/supplier/orders",
            "query": query
        });
        CallToolRequestParams::new("connector_execute").with_arguments(arguments.as_object().cloned().unwrap())
    };
    let answer = client.call_tool(call(json!({"dateFrom": "2026-04-15"}))).await.unwrap();
    assert_ne!(answer.is_error, Some(true));
    assert_eq!(answer.structured_content.unwrap()["state"], "succeeded");
    let answer = client.call_tool(call(json!({}))).await.unwrap();
    assert_eq!(answer.is_error, Some(true));
    assert_eq!(answer.structured_content.unwrap()["error"]["field"], "query.dateFrom");
    client.cancel().await.unwrap();
}
