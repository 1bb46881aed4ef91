use http::Method;
use serde_json::{Value, json};

use super::support::World;

const MINE: &str = "/api/v1/organizations/me/api-keys";

fn keys_of(org: &impl std::fmt::Display) -> String {
    format!("/api/v1/organizations/{org}/api-keys")
}

#[tokio::test]
async fn the_operator_creates_organizations() {
    let world = World::new().await;
    let created = world.post("/api/v1/organizations", "operator-key", json!({"name": "Acme"})).await.expect(201);
    assert!(created["id"].as_str().unwrap().starts_with("org_"));
    assert_eq!((&created["name"], &created["api_key"]), (&json!("Acme"), &json!("first-key")));
    world.get(MINE, "first-key").await.expect(200);
    world.post("/api/v1/organizations", "operator-key", json!({"name": ""})).await.wrong("name");
    world.post("/api/v1/organizations", "operator-key", json!({})).await.wrong("name");
    world.post("/api/v1/organizations", "admin", json!({"name": "x"})).await.refused(403, "AUTH_PERMISSION_DENIED");
    world.post("/api/v1/organizations", "", json!({"name": "x"})).await.refused(401, "AUTH_REQUIRED");
}

#[tokio::test]
async fn a_key_is_shown_once() {
    let world = World::new().await;
    let wanted = json!({"name": "CI", "scopes": ["read:tools", "chat"], "expires_in_days": 1, "subject": "anna"});
    let reply = world.post(MINE, "admin", wanted).await;
    assert_eq!(reply.headers["cache-control"], "no-store");
    let issued = reply.expect(201);
    let (id, secret) = (issued["id"].as_str().unwrap(), issued["key"].as_str().unwrap());
    assert_eq!((&issued["name"], &issued["subject"]), (&json!("CI"), &json!("anna")));
    assert_eq!(issued["scopes"], json!(["read:tools", "chat"]));
    assert_eq!(issued["created_at"], "2026-11-22T21:20:00Z");
    assert_eq!(issued["expires_at"], "2026-11-23T21:20:00Z");
    world.get("/api/v1/connections", secret).await.expect(200);

    let list = world.get(&keys_of(&world.org), "admin").await;
    assert!(!list.text.contains(secret));
    let listed = list.expect(200)["api_keys"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap().clone();
    assert_eq!(listed["prefix"], issued["prefix"]);
    assert_eq!((&listed["revoked_at"], &listed["key"]), (&Value::Null, &Value::Null));

    let path = format!("{MINE}/{id}");
    assert_eq!(world.delete(&path, "admin").await.status, 204);
    assert_eq!(world.delete(&path, "admin").await.status, 204);
    world.get("/api/v1/connections", secret).await.refused(401, "AUTH_REQUIRED");
    let list = world.get(MINE, "admin").await.expect(200);
    let revoked = list["api_keys"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap().clone();
    assert_eq!(revoked["revoked_at"], "2026-11-22T21:20:00Z");
}

#[tokio::test]
async fn what_is_left_out_has_a_default() {
    let world = World::new().await;
    let issued = world.post(MINE, "admin", json!({})).await.expect(201);
    assert_eq!((&issued["scopes"], &issued["name"]), (&json!(["write:tools"]), &json!("API key")));
    assert_eq!((&issued["subject"], &issued["expires_at"]), (&Value::Null, &json!("2027-02-20T21:20:00Z")));
}

#[tokio::test]
async fn mistakes_name_their_field() {
    let world = World::new().await;
    let wrong = async |body: Value, field: &str| world.post(MINE, "admin", body).await.wrong(field);
    for days in [json!(0), json!(366), json!(-1), json!(1.5), json!("90"), json!(5_000_000_000_u64)] {
        wrong(json!({"expires_in_days": days}), "expires_in_days").await;
    }
    wrong(json!({"scopes": []}), "scopes").await;
    wrong(json!({"scopes": "chat"}), "scopes").await;
    wrong(json!({"scopes": [1]}), "scopes").await;
    let unknown = wrong(json!({"scopes": ["write_tools"]}), "scopes").await;
    assert_eq!(unknown["fix"]["options"].as_array().unwrap().len(), 6);
    wrong(json!({"name": 1}), "name").await;
    wrong(json!({"expires": 1}), "expires").await;
}

#[tokio::test]
async fn keys_are_their_organizations() {
    let world = World::new().await;
    let issued = world.post(MINE, "admin", json!({})).await.expect(201);
    let id = issued["id"].as_str().unwrap();
    let theirs = keys_of(&world.other);
    for org in [theirs.as_str(), "/api/v1/organizations/org_x/api-keys", "/api/v1/organizations/%FF/api-keys"] {
        world.get(org, "admin").await.refused(404, "INVALID_ARGUMENT");
        world.post(org, "admin", json!({})).await.refused(404, "INVALID_ARGUMENT");
        world.delete(&format!("{org}/{id}"), "admin").await.refused(404, "INVALID_ARGUMENT");
    }
    // A key of another organization under one's own path.
    world.delete(&format!("{MINE}/{id}"), "stranger").await.refused(404, "INVALID_ARGUMENT");
    world.delete(&format!("{MINE}/key_x"), "admin").await.refused(404, "INVALID_ARGUMENT");
    world.get("/api/v1/connections", issued["key"].as_str().unwrap()).await.expect(200);
    for (method, key) in [(Method::GET, "reader"), (Method::POST, "writer"), (Method::GET, "chat")] {
        let problem = world.ask(method, MINE, key, None).await.refused(403, "AUTH_PERMISSION_DENIED");
        assert_eq!(problem["fix"]["options"], json!(["admin"]));
    }
}

#[tokio::test]
async fn the_operator_manages_keys_of_every_organization() {
    let world = World::new().await;
    let path = keys_of(&world.other);
    let issued = world.post(&path, "operator-key", json!({"scopes": ["admin"]})).await.expect(201);
    assert_eq!(world.get(&path, "operator-key").await.expect(200)["api_keys"].as_array().unwrap().len(), 2);
    world.get(&path, issued["key"].as_str().unwrap()).await.expect(200);
    assert_eq!(world.delete(&format!("{path}/{}", issued["id"].as_str().unwrap()), "operator-key").await.status, 204);
    world.get(MINE, "operator-key").await.refused(404, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_bound_admin_keeps_to_its_end_user() {
    let world = World::new().await;
    let issued = world.post(MINE, "anna-admin", json!({})).await.expect(201);
    assert_eq!(issued["subject"], "anna");
    let denied = world.post(MINE, "anna-admin", json!({"subject": "bob"})).await.refused(403, "AUTH_PERMISSION_DENIED");
    assert_eq!(denied["field"], "subject");
    let list = world.get(MINE, "anna-admin").await.expect(200);
    assert!(list["api_keys"].as_array().unwrap().iter().all(|key| key["subject"] == "anna"));
    let shared = world.post(MINE, "admin", json!({})).await.expect(201);
    let path = format!("{MINE}/{}", shared["id"].as_str().unwrap());
    world.delete(&path, "anna-admin").await.refused(404, "INVALID_ARGUMENT");
    assert_eq!(world.delete(&format!("{MINE}/{}", issued["id"].as_str().unwrap()), "anna-admin").await.status, 204);
}
