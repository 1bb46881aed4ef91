//! REST: management, and nothing else.

use plugboard_tests::rest_client::Reply;
use plugboard_tests::tenant::{Tenant, unique};
use plugboard_tests::vendor::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::shared::Site;

pub(crate) async fn execution_is_no_rest_resource(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let call = json!({"module": "crm", "method": "GET", "path": "/crm/v3/owners"});
    let paths = [
        "/api/v1/connectors/hubspot/execute",
        "/api/v1/connectors/hubspot/crm/execute",
        "/api/v1/connectors/hubspot",
        "/api/v1/connectors/execute",
        "/api/v1/execute",
        "/api/v1/executions/execute",
        "/api/v1/nothing",
        "/api",
        "/connectors/hubspot/execute",
    ];
    for path in paths {
        let reply = tenant.rest().post(path, &call).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text);
        assert_eq!(reply.header("content-type"), "application/problem+json", "{path}: {}", reply.text);
    }
    let reply = Reply::of(tenant.rest().request(Method::PUT, "/api/v1/connections")).await;
    assert!(reply.header("allow").contains("POST"), "{:?}", reply.headers);
    reply.expect_problem(405, "INVALID_ARGUMENT");
    assert_eq!(site.vendor.count(&account.mark), 0);
}

pub(crate) async fn the_public_documents(site: &Site) {
    let nobody = site.stack.rest("");
    let connectors = nobody.get("/connectors.json").await.expect(200);
    let rows = connectors.as_array().unwrap();
    assert!(rows.len() >= 12);
    for row in rows {
        for name in ["key", "name", "description", "category"] {
            assert!(row[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {row}");
        }
    }
    assert!(rows.iter().any(|row| row["key"] == "supadata"), "admin-only ones are listed too");
    let info = nobody.get("/api/v1/mcp/info").await.expect(200);
    assert_eq!(info["url"], format!("{}/mcp", site.stack.url()));
    assert_eq!(info["protocol_versions"][0], "2026-07-28");
    assert!(info["server_name"].is_string() && info["supported_scopes"].is_array(), "{info}");
    assert!(info["example_config"].to_string().contains("/mcp"), "{info}");

    let document = nobody.get("/api/v1/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{}", document["openapi"]);
    let paths = document["paths"].as_object().unwrap();
    for path in ["/api/v1/connections", "/api/v1/connections/{id}", "/api/v1/organizations", "/api/v1/mcp/info"] {
        assert!(paths.contains_key(path), "{path}");
    }
    // What the document lists exists: nothing there is a 404 for a route.
    let tenant = Tenant::new(&site.stack).await;
    for (path, operations) in paths {
        let real = path
            .replace("{service}", "hubspot")
            .replace("{org}", "me")
            .replace("{key}", "key_00000000000070008000000000000000")
            .replace("{id}", "acc_00000000000070008000000000000000");
        for method in operations.as_object().unwrap().keys().filter(|key| key.as_str() != "parameters") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let reply = Reply::of(tenant.rest().request(method.clone(), &real)).await;
            let no_route = reply.status == 405 || reply.text.contains("There is nothing at");
            assert!(!no_route, "{method} {real}: {} {}", reply.status, reply.text);
        }
    }
    // Probes of clients that look for OAuth get JSON.
    for path in
        ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server", "/register", "/x"]
    {
        let reply = nobody.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.header("content-type").contains("json") && reply.json.is_object(), "{path}: {}", reply.text);
    }
    for path in ["/healthz", "/readyz"] {
        nobody.get(path).await.expect(200);
    }
    nobody.get("/api/v1/connectors/metadata").await.expect_problem(401, "AUTH_REQUIRED");
    let metadata = tenant.rest().get("/api/v1/connectors/hubspot/metadata").await.expect(200);
    assert!(metadata.to_string().contains("access_token"), "{metadata}");
    tenant.rest().get("/api/v1/connectors/hubspo/metadata").await.expect_problem(404, "UNKNOWN_SERVICE");
}

pub(crate) async fn keys_are_issued_listed_and_revoked(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let rest = tenant.rest();
    let keys = "/api/v1/organizations/me/api-keys";
    let made = rest.post(keys, &json!({"name": "CI"})).await.expect(201);
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("sk-org-") && key.len() >= 50, "{made}");
    assert_eq!(made["scopes"], json!(["write:tools"]), "the default");
    let listed = rest.get(keys).await.expect(200);
    let row = listed["api_keys"].as_array().unwrap().iter().find(|row| row["id"] == made["id"]).unwrap().clone();
    assert!(row.get("key").is_none() && !listed.to_string().contains(key), "{listed}");
    assert!(key.starts_with(row["prefix"].as_str().unwrap()), "{row}");
    let wrong = [
        (json!({"scopes": ["write:everything"]}), "scopes"),
        (json!({"scopes": []}), "scopes"),
        (json!({"expires_in_days": 0}), "expires_in_days"),
        (json!({"expires_in_days": 366}), "expires_in_days"),
        (json!({"expires_in_days": "90"}), "expires_in_days"),
        (json!({"nme": "x"}), "nme"),
    ];
    for (body, field) in wrong {
        let problem = rest.post(keys, &body).await.expect_problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["field"], field, "{body}: {problem}");
    }
    rest.delete(&format!("{keys}/{}", made["id"].as_str().unwrap())).await.expect(204);
    let listed = rest.get(keys).await.expect(200);
    let row = listed["api_keys"].as_array().unwrap().iter().find(|row| row["id"] == made["id"]).cloned();
    assert!(row.is_none_or(|row| row["revoked_at"].is_string()), "{listed}");
    // The operator may do it for any organization, and issues nothing for the platform here.
    let operator = site.stack.rest(site.stack.operator_key());
    let theirs = format!("/api/v1/organizations/{}/api-keys", tenant.organization);
    let made = operator.post(&theirs, &json!({"scopes": ["admin"]})).await.expect(201);
    let admin = site.stack.rest(made["key"].as_str().unwrap());
    admin.get("/api/v1/connections").await.expect(200);
}

pub(crate) async fn connections_show_no_secret(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let rest = tenant.rest();
    let account = tenant.connect("bitrix24", "Portal", &site.vendor).await;
    let shown = rest.get(&format!("/api/v1/connections/{}", account.id)).await.expect(200);
    assert_eq!(shown["fields"]["portal_host"], account.fields["portal_host"].as_str());
    assert!(!shown.to_string().contains(&account.secret), "{shown}");
    let listed = rest.get("/api/v1/connections?service=bitrix24").await.expect(200);
    assert_eq!(listed["connections"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(&account.secret), "{listed}");

    // A test calls the vendor and says how it went.
    let test = format!("/api/v1/connections/{}/test", account.id);
    site.vendor.on(&account.mark, Answer::json(200, &json!({"result": {"ID": "1"}})));
    let good = rest.post(&test, &json!({})).await.expect(200);
    assert_eq!(good["ok"], true, "{good}");
    site.vendor
        .on(&account.mark, Answer::json(401, &json!({"error": "INVALID_CREDENTIALS", "error_description": "no"})));
    let bad = rest.post(&test, &json!({})).await.expect(200);
    assert_eq!(bad["ok"], false, "{bad}");
    assert_eq!(bad["error"]["code"], "ACCOUNT_EXPIRED", "{bad}");

    let wrong = [
        (json!({"service": "hubspo", "credentials": {}}), 404, "UNKNOWN_SERVICE", "service"),
        (json!({"service": "hubspot"}), 400, "INVALID_ARGUMENT", "credentials"),
        (json!({"service": "hubspot", "credentials": {}}), 400, "INVALID_ARGUMENT", "credentials.access_token"),
        (
            json!({"service": "hubspot", "credentials": {"access_token": 5}}),
            400,
            "INVALID_ARGUMENT",
            "credentials.access_token",
        ),
        (
            json!({"service": "hubspot", "label": "a:b", "credentials": {"access_token": "abcdefgh"}}),
            400,
            "INVALID_ARGUMENT",
            "label",
        ),
        (
            json!({"service": "hubspot", "label": "x".repeat(65), "credentials": {"access_token": "abcdefgh"}}),
            400,
            "INVALID_ARGUMENT",
            "label",
        ),
        (
            json!({"service": "hubspot", "credentials": {"access_token": "line\nbreak"}}),
            400,
            "INVALID_ARGUMENT",
            "credentials.access_token",
        ),
        (bitrix("127.0.0.1"), 400, "INVALID_ARGUMENT", "credentials.portal_host"),
        (bitrix("a.ru/path"), 400, "INVALID_ARGUMENT", "credentials.portal_host"),
        (bitrix("user@a.ru"), 400, "INVALID_ARGUMENT", "credentials.portal_host"),
    ];
    for (body, status, code, field) in wrong {
        let reply = rest.post("/api/v1/connections", &body).await;
        let private_allowed =
            field == "credentials.portal_host" && reply.status == 201 && body.to_string().contains("127.0.0.1");
        if private_allowed {
            continue;
        }
        let problem = reply.expect_problem(status, code);
        assert_eq!(problem["field"], field, "{body}: {problem}");
    }
}

fn bitrix(host: &str) -> Value {
    let code = unique();
    json!({"service": "bitrix24", "label": code, "credentials": {"portal_host": host, "webhook_user_id": "1", "webhook_code": code}})
}
