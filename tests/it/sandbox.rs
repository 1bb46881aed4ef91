//! The newcomer's path: no account, every connector answers.

use std::time::{Duration, Instant};

use futures::StreamExt;
use plugboard_core::manifest::Category;
use plugboard_tests::examples::{example_call, manifests};
use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::stack::Stack;
use serde_json::{Value, json};

const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

fn orders() -> Value {
    json!({
        "service": "wildberries", "module": "statistics", "method": "GET", "path": "/api/v1/supplier/orders",
        "query": {"dateFrom": "2026-04-15"}
    })
}

async fn every_era(stack: &Stack) -> Vec<McpClient> {
    let mut clients = vec![stack.mcp(stack.api_key())];
    for revision in LEGACY {
        clients.push(McpClient::legacy(stack.url(), stack.api_key(), revision).await);
    }
    clients
}

pub(crate) async fn a_call_over_every_era(stack: &Stack) {
    for client in every_era(stack).await {
        let envelope = client.execute(orders()).await;
        assert_eq!(envelope["ok"], true, "{envelope}");
        assert_eq!(envelope["state"], "succeeded");
        assert_eq!(envelope["status"], 200);
        assert_eq!(envelope["service"], "wildberries");
        assert_eq!(envelope["module"], "statistics");
        assert_eq!(envelope["account"]["label"], "Sandbox");
        assert_eq!(envelope["attempts"], 1);
        assert!(envelope["execution_id"].as_str().unwrap().starts_with("ex_"));
        assert!(envelope["data"][0]["srid"].is_string(), "{envelope}");
    }
    // Both spellings of the endpoint, without a redirect.
    let client = stack.mcp(stack.api_key());
    let body = client.message("tools/list", json!({})).to_string();
    let answer = plugboard_tests::rest_client::http()
        .post(format!("{}/mcp/", stack.url()))
        .bearer_auth(stack.api_key())
        .header("Content-Type", "application/json")
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/list")
        .body(body);
    let answer = plugboard_tests::rest_client::Reply::of(answer).await.expect(200);
    assert_eq!(answer["result"]["tools"].as_array().unwrap().len(), 3);
}

pub(crate) async fn a_missing_argument_is_named_and_nothing_is_sent(stack: &Stack) {
    for client in every_era(stack).await {
        let mut call = orders();
        call["query"] = json!({});
        let envelope = client.execute(call).await;
        let error = &envelope["error"];
        assert_eq!(error["code"], "INVALID_ARGUMENT", "{envelope}");
        assert_eq!(error["field"], "query.dateFrom");
        assert_eq!(error["outcome"], "not_sent");
        assert_eq!(error["fix"]["kind"], "change_argument");
        assert!(error["message"].as_str().unwrap().contains("dateFrom"));
        // Not even a job was made of it.
        assert!(envelope.get("execution_id").is_none(), "{envelope}");
    }
}

pub(crate) async fn the_three_tools_in_their_order(stack: &Stack) {
    for client in every_era(stack).await {
        let answer = client.request("tools/list", json!({})).await.expect(200);
        let tools = answer["result"]["tools"].as_array().unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["list_services", "describe_service", "connector_execute"]);
        assert_eq!(tools[2]["inputSchema"]["required"], json!(["service"]));
        assert_eq!(tools[0]["annotations"]["readOnlyHint"], true);
        assert_eq!(tools[2]["annotations"]["destructiveHint"], true);
        if client.is_modern() {
            assert_eq!(answer["result"]["cacheScope"], "public");
            assert!(answer["result"]["ttlMs"].as_u64().is_some());
        }
    }
    let client = stack.mcp(stack.api_key());
    let discovered = client.request("server/discover", json!({})).await.expect(200);
    let versions = &discovered["result"]["supportedVersions"];
    assert_eq!(versions, &json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]));
    assert!(discovered["result"]["instructions"].as_str().unwrap().chars().count() <= 2048);
}

pub(crate) async fn the_list_of_services_is_small_and_can_be_filtered(stack: &Stack) {
    let client = stack.mcp(stack.api_key());
    let keys = |value: &Value| -> Vec<String> {
        value["services"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    };
    let all = client.tool("list_services", json!({})).await;
    assert!(!all.is_error);
    let shipped: Vec<String> = manifests().into_iter().map(|manifest| manifest.key).collect();
    let mut listed = keys(&all.structured);
    listed.sort();
    assert_eq!(listed, shipped);
    assert!(all.text.len() <= 5 * 1024, "{} bytes:\n{}", all.text.len(), all.text);
    for key in &shipped {
        let lines = all.text.lines().filter_map(|line| line.split_once(':'));
        let own = lines.filter(|(start, _)| start.trim_end_matches(['+', '!']) == key);
        assert_eq!(own.count(), 1, "{key}:\n{}", all.text);
    }
    let found = client.tool("list_services", json!({"query": "остатки"})).await;
    assert!(keys(&found.structured).contains(&"ozon".to_owned()), "{}", found.text);
    let found = client.tool("list_services", json!({"category": "messengers"})).await;
    let messengers = manifests().iter().filter(|manifest| manifest.category == Category::Messengers).count();
    assert_eq!(keys(&found.structured).len(), messengers, "{}", found.text);
    let none = client.tool("list_services", json!({"connected": false})).await;
    assert_eq!(keys(&none.structured).len(), 0, "the sandbox connects everything: {}", none.text);
    let wrong = client.tool("list_services", json!({"categories": "crm"})).await;
    assert!(wrong.is_error);
    assert_eq!(wrong.structured["error"]["field"], "categories");
}

pub(crate) async fn services_and_modules_describe_themselves(stack: &Stack) {
    let client = stack.mcp(stack.api_key());
    for manifest in manifests() {
        let index = client.tool("describe_service", json!({"service": manifest.key})).await;
        assert!(!index.is_error, "{}", index.text);
        let text = index.structured.to_string();
        for module in manifest.modules.keys() {
            assert!(text.contains(&format!("\"{module}\"")), "{}/{module}: {text}", manifest.key);
            let call = json!({"service": manifest.key, "module": module});
            let passport = client.tool("describe_service", call).await;
            assert!(!passport.is_error, "{}", passport.text);
            assert_eq!(serde_json::from_str::<Value>(&passport.text).unwrap(), passport.structured);
            let thin = manifest.passport == plugboard_core::manifest::Passport::Thin;
            for operation in manifest.operations.iter().filter(|operation| operation.module == *module) {
                let shown = passport.text.contains(operation.path.as_deref().unwrap_or(&operation.method));
                assert!(shown || thin, "{}/{module} does not show {}: {}", manifest.key, operation.id, passport.text);
            }
        }
    }
    let wrong = client.tool("describe_service", json!({"service": "wildbery"})).await;
    assert_eq!(wrong.structured["error"]["code"], "UNKNOWN_SERVICE");
    assert_eq!(wrong.structured["error"]["fix"]["options"][0], "wildberries", "{}", wrong.text);
    let wrong = client.tool("describe_service", json!({"service": "wildberries", "module": "statistic"})).await;
    assert_eq!(wrong.structured["error"]["code"], "UNKNOWN_MODULE");
    assert_eq!(wrong.structured["error"]["fix"]["options"][0], "statistics", "{}", wrong.text);
}

/// A newcomer's first hour: a key of a moment ago, the test of every account, and of every module the recipe that its
/// passport shows first.
pub(crate) async fn a_fresh_key_makes_every_test_call_and_first_recipe(stack: &Stack) {
    let began = Instant::now();
    let wanted = json!({"scopes": ["write:tools", "admin"]});
    let issued = stack.rest(stack.api_key()).post("/api/v1/organizations/me/api-keys", &wanted).await.expect(201);
    let client = stack.mcp(issued["key"].as_str().unwrap());
    let (mut tests, mut recipes) = (0, 0);
    for manifest in manifests() {
        let named = |id: &str| manifest.operations.iter().find(|operation| operation.id == id).unwrap();
        // A few vendors have no read that needs nothing.
        let test = manifest.auth.test.as_deref().map(named);
        let mut calls = Vec::from_iter(test);
        tests += calls.len();
        for module in manifest.modules.keys() {
            let passport = client.tool("describe_service", json!({"service": manifest.key, "module": module})).await;
            // A thin passport shows none, and an open module may have none.
            let first = passport.structured["recipes"][0].as_object();
            let Some(first) = first else { continue };
            let operation = named(first["id"].as_str().unwrap());
            assert_eq!(first["method"], operation.method.as_str(), "{}/{module}", manifest.key);
            calls.push(operation);
            recipes += 1;
        }
        for operation in calls {
            let envelope = client.execute(example_call(&manifest, operation)).await;
            assert_eq!(envelope["ok"], true, "{}.{}: {envelope}", manifest.key, operation.id);
            assert_eq!(envelope["data"], operation.response_example, "{}.{}", manifest.key, operation.id);
        }
    }
    let took = began.elapsed();
    eprintln!("{tests} test calls and {recipes} first recipes in {took:?}");
    assert!(tests >= 99 && recipes >= 99, "{tests} test calls, {recipes} first recipes");
    assert!(took < Duration::from_secs(600), "{took:?}");
}

pub(crate) async fn every_operation_answers_with_its_example(stack: &Stack) {
    let client = stack.mcp(stack.api_key());
    let mut cases = Vec::new();
    for manifest in manifests() {
        for operation in &manifest.operations {
            let name = format!("{}/{}", manifest.key, operation.id);
            cases.push((name, example_call(&manifest, operation), operation.response_example.clone()));
        }
    }
    let count = cases.len();
    let wrong: Vec<String> = futures::stream::iter(cases)
        .map(|(name, call, example)| {
            let client = client.clone();
            async move {
                let envelope = client.execute(call.clone()).await;
                let right = envelope["ok"] == true
                    && envelope["data"] == example
                    && name.ends_with(envelope["operation"].as_str().unwrap_or("?"));
                (!right).then(|| format!("{name}: {call} → {envelope}"))
            }
        })
        .buffer_unordered(8)
        .filter_map(futures::future::ready)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} of {count} operations:\n{}", wrong.len(), wrong.join("\n"));
}
