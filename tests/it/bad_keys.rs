//! Keys that do not open the door.

use std::time::{Duration, Instant};

use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::tenant::{Tenant, hubspot_read};
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::shared::Site;

fn execute(client: &McpClient, arguments: &Value) -> (String, Value) {
    let params = json!({"name": "connector_execute", "arguments": arguments});
    ("tools/call".to_owned(), client.message("tools/call", params))
}

/// The status, the challenge and the body of a call that is refused at the door.
async fn at_the_door(client: &McpClient, arguments: &Value) -> (u16, String, Value) {
    let (method, body) = execute(client, arguments);
    let reply = client.post(&body.to_string(), &method, Some("connector_execute")).await;
    (reply.status, reply.header("www-authenticate").to_owned(), reply.json)
}

/// A key cannot be made to expire from outside; that expiry is checked is shown by the auth service's own tests.
pub(crate) async fn without_a_good_key_nothing_happens(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let mut garbled = tenant.key.clone();
    let last = garbled.pop().unwrap();
    garbled.push(if last == 'a' { 'b' } else { 'a' });
    let middle = tenant.key.len() / 2;
    let mut swapped = tenant.key.clone().into_bytes();
    swapped[middle] = if swapped[middle] == b'a' { b'b' } else { b'a' };
    let swapped = String::from_utf8(swapped).unwrap();
    // Well formed, with a right checksum, and never issued here.
    let foreign = "sk-org-0000000000000000000000000000000000000000000";
    let long = "x".repeat(8000);
    let keys = [
        garbled.as_str(),
        &swapped,
        &tenant.key[..tenant.key.len() - 1],
        "sk-org-",
        foreign,
        "Bearer",
        "null",
        &long,
        "' OR 1=1 --",
    ];
    for key in keys {
        let client = tenant.with_key(key);
        let (status, challenge, body) = at_the_door(&client, &hubspot_read()).await;
        assert_eq!(status, 401, "{key}: {body}");
        assert!(challenge.starts_with("Bearer") && challenge.contains("invalid_token"), "{challenge}");
        assert_eq!(body["error"]["data"]["code"], "AUTH_REQUIRED", "{body}");
        assert!(!body.to_string().contains(key) || key.len() < 10, "the key is repeated: {body}");
        site.stack.rest(key).get("/api/v1/connections").await.expect_problem(401, "AUTH_REQUIRED");
    }
    let (status, challenge, body) = at_the_door(&tenant.with_key(""), &hubspot_read()).await;
    assert_eq!((status, challenge.starts_with("Bearer")), (401, true), "{body}");
    site.stack.rest("").get("/api/v1/connections").await.expect_problem(401, "AUTH_REQUIRED");
    // Never in the address.
    let in_query = format!("/api/v1/connections?key={}&access_token={}", tenant.key, tenant.key);
    site.stack.rest("").get(&in_query).await.expect_problem(401, "AUTH_REQUIRED");
    // The operator reads no tenant's anything and calls nothing.
    let (status, _, body) = at_the_door(&tenant.with_key(site.stack.operator_key()), &hubspot_read()).await;
    assert_eq!(status, 403, "{body}");
    let operator = site.stack.rest(site.stack.operator_key());
    operator.get("/api/v1/connections").await.expect_problem(403, "AUTH_PERMISSION_DENIED");
    assert_eq!(site.vendor.count(&account.mark), 0);
}

pub(crate) async fn a_revoked_key_is_refused_within_a_second(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let (id, key) = tenant.rest().issue(&["write:tools"]).await;
    let client = tenant.with_key(&key);
    // Used, and so cached.
    for _ in 0..3 {
        assert_eq!(client.execute(hubspot_read()).await["ok"], true);
    }
    let path = format!("/api/v1/organizations/me/api-keys/{id}");
    tenant.rest().delete(&path).await.expect(204);
    let began = Instant::now();
    eventually("the revoked key is refused", Duration::from_secs(10), || async {
        (at_the_door(&client, &hubspot_read()).await.0 == 401).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    let before = site.vendor.count(&account.mark);
    for _ in 0..5 {
        assert_eq!(at_the_door(&client, &hubspot_read()).await.0, 401);
    }
    assert_eq!(site.vendor.count(&account.mark), before);
    // Revoking twice is no error, and the other keys live.
    tenant.rest().delete(&path).await.expect(204);
    assert_eq!(tenant.mcp().execute(hubspot_read()).await["ok"], true);
}

pub(crate) async fn a_scope_that_is_missing_is_named(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let (_, reader) = tenant.rest().issue(&["read:tools"]).await;
    let client = tenant.with_key(&reader);
    assert!(!client.tool("list_services", json!({})).await.is_error);
    let (status, challenge, body) = at_the_door(&client, &hubspot_read()).await;
    assert_eq!(status, 403, "{body}");
    assert!(challenge.contains("insufficient_scope") && challenge.contains("write:tools"), "{challenge}");
    assert_eq!(body["error"]["data"]["code"], "AUTH_PERMISSION_DENIED", "{body}");

    let (_, chat) = tenant.rest().issue(&["chat"]).await;
    let params = json!({"name": "list_services", "arguments": {}});
    let refused = tenant.with_key(&chat).request("tools/call", params).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.header("www-authenticate").contains("read:tools"), "{}", refused.header("www-authenticate"));

    // `write:tools` implies `read:tools`, and manages nothing.
    let (_, writer) = tenant.rest().issue(&["write:tools"]).await;
    assert!(!tenant.with_key(&writer).tool("list_services", json!({})).await.is_error);
    let rest = site.stack.rest(&writer);
    rest.get("/api/v1/connections").await.expect(200);
    let new = json!({"service": "hubspot", "credentials": {"access_token": "abc"}});
    let problem = rest.post("/api/v1/connections", &new).await;
    assert!(problem.header("www-authenticate").contains("admin"), "{}", problem.header("www-authenticate"));
    problem.expect_problem(403, "AUTH_PERMISSION_DENIED");
    rest.post("/api/v1/organizations/me/api-keys", &json!({})).await.expect_problem(403, "AUTH_PERMISSION_DENIED");
    assert_eq!(site.vendor.count(&account.mark), 0);
}

pub(crate) async fn some_services_are_for_admins(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("supadata", "SD", &site.vendor).await;
    let call = json!({"service": "supadata", "module": "v1", "method": "GET", "path": "/me"});
    let (_, writer) = tenant.rest().issue(&["write:tools"]).await;
    let envelope = tenant.with_key(&writer).execute(call.clone()).await;
    assert_eq!(envelope["error"]["code"], "ADMIN_ONLY", "{envelope}");
    assert_eq!(envelope["error"]["fix"], json!({"kind": "add_scope", "options": ["admin"]}));
    assert_eq!(site.vendor.count(&account.mark), 0);
    // Listed for everyone.
    let listed = tenant.with_key(&writer).tool("list_services", json!({"query": "supadata"})).await;
    assert_eq!(listed.structured["services"][0]["admin_only"], true, "{}", listed.structured);
    assert_eq!(tenant.mcp().execute(call).await["ok"], true);
    assert_eq!(site.vendor.count(&account.mark), 1);
}
