//! Bodies that are not what the protocol wants. The protocol layer has finer tests of its own; these go through the
//! whole product.

use plugboard_tests::tenant::{Tenant, hubspot_write, unique};
use serde_json::{Value, json};

use crate::shared::Site;

pub(crate) async fn what_is_not_json_rpc_is_refused(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let client = tenant.mcp();
    let good = client.message("tools/list", json!({})).to_string();
    let cases: [(&str, String, i64); 9] = [
        ("nothing", String::new(), -32700),
        ("no JSON", "{\"jsonrpc\":".into(), -32700),
        ("JSON with a tail", format!("{good} x"), -32700),
        ("not UTF-8 escapes", "{\"a\":\"\\ud800\"}".into(), 0),
        ("a number", "5".into(), -32600),
        ("an array", format!("[{good}]"), -32600),
        ("no version", good.replace("\"jsonrpc\":\"2.0\"", "\"jsonrpc\":\"1.0\""), -32600),
        ("a null id", good.replace("\"id\":7", "\"id\":null"), -32600),
        ("an id that is a fraction", good.replace("\"id\":7", "\"id\":7.5"), -32600),
    ];
    for (what, body, code) in cases {
        let reply = client.post(&body, "tools/list", None).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text);
        let found = reply.json["error"]["code"].as_i64().unwrap_or_else(|| panic!("{what}: {}", reply.text));
        assert!(found == code || code == 0, "{what}: {}", reply.text);
        assert_eq!(reply.json["jsonrpc"], "2.0", "{what}");
    }
    let unknown = client.request("tools/unknown", json!({})).await;
    assert_eq!((unknown.status, &unknown.json["error"]["code"]), (404, &json!(-32601)), "{}", unknown.text);
    let unknown = client.request("tools/call", json!({"name": "drop_tables", "arguments": {}})).await;
    assert_eq!(unknown.json["error"]["code"], -32602, "{}", unknown.text);
    // A body and a header that disagree.
    let reply = client.post(&good, "tools/call", Some("list_services")).await;
    assert_eq!((reply.status, &reply.json["error"]["code"]), (400, &json!(-32020)), "{}", reply.text);
    // Neither a stream nor a session to be had.
    for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
        let reply = plugboard_tests::rest_client::Reply::of(tenant.rest().request(method, "/mcp")).await;
        assert_eq!((reply.status, reply.header("allow")), (405, "POST"), "{}", reply.text);
    }
}

pub(crate) async fn large_deep_and_ambiguous_bodies_are_refused(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    let name = unique();
    let body = |arguments: &Value| {
        client.message("tools/call", json!({"name": "connector_execute", "arguments": arguments})).to_string()
    };
    let large = body(&hubspot_write(&"x".repeat(4 * 1024 * 1024)));
    let reply = client.post(&large, "tools/call", Some("connector_execute")).await;
    assert_eq!(reply.status, 413, "{}", &reply.text[..reply.text.len().min(300)]);

    let write = body(&hubspot_write(&name));
    let depth = 100_000;
    let deep = write.replace(&format!("\"{name}\""), &format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
    let twice = write.replace("\"method\":\"POST\"", "\"method\":\"GET\",\"method\":\"POST\"");
    let escaped = write.replace("\"method\":\"POST\"", "\"method\":\"GET\",\"me\\u0074hod\":\"POST\"");
    let in_body = write.replace("\"dealname\"", "\"dealname\":\"a\",\"dealname\"");
    for (what, body) in [("deep", deep), ("twice", twice), ("twice, escaped", escaped), ("twice in the body", in_body)]
    {
        assert_ne!(body, write, "{what}");
        let reply = client.post(&body, "tools/call", Some("connector_execute")).await;
        let error = &reply.json["result"]["structuredContent"]["error"];
        let refused = reply.status == 400 || error["code"] == "INVALID_ARGUMENT";
        assert!(refused, "{what}: {} {}", reply.status, reply.text);
    }
    assert_eq!(site.vendor.count(&account.mark), 0);
    assert_eq!(client.execute(hubspot_write(&name)).await["ok"], true);

    // The same on the way in to management.
    let rest = |text: &str| {
        let request = tenant.rest().request(reqwest::Method::POST, "/api/v1/connections");
        request.header("Content-Type", "application/json").body(text.to_owned())
    };
    let twice = r#"{"service":"hubspot","service":"github","credentials":{"access_token":"abcdefgh"}}"#;
    let reply = plugboard_tests::rest_client::Reply::of(rest(twice)).await;
    assert_eq!(reply.expect_problem(400, "INVALID_ARGUMENT")["field"], "service");
    let large = format!(r#"{{"service":"hubspot","label":"{}"}}"#, "x".repeat(300_000));
    plugboard_tests::rest_client::Reply::of(rest(&large)).await.expect_problem(413, "INVALID_ARGUMENT");
    let text = r#"{"service":"hubspot","credentials":{"access_tokn":"topsecretvalue"}}"#;
    let reply = plugboard_tests::rest_client::Reply::of(rest(text)).await;
    assert!(!reply.text.contains("topsecretvalue"), "{}", reply.text);
    let problem = reply.expect_problem(400, "INVALID_ARGUMENT");
    assert!(problem["field"].as_str().unwrap().starts_with("credentials"), "{problem}");
}
