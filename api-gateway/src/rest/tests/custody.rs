use http::Method;
use plugboard_core::ids::AgentId;
use serde_json::{Value, json};

use super::support::World;

#[tokio::test]
async fn the_kill_switch_wants_a_reason_and_the_right_key() {
    let world = World::new().await;
    let id = world.connect("admin", "Main", None).await;
    let why = json!({"reason": "laptop stolen"});
    let path = format!("/api/v1/connections/{id}/revoke");
    world.post(&path, "admin", json!({})).await.wrong("reason");
    world.post(&path, "writer", why.clone()).await.refused(403, "AUTH_PERMISSION_DENIED");
    world.post(&path, "stranger", why.clone()).await.refused(404, "INVALID_ARGUMENT");
    let report = world.post(&path, "admin", why.clone()).await.expect(200);
    assert_eq!((&report["pending"], &report["connections"]), (&json!(0), &json!([])));
    let (asked, actor) = world.custody.last();
    assert!(asked.contains(&id) && asked.contains("laptop stolen"), "{asked}");
    // Who asked is known to whoever does it.
    assert!(actor.key.is_some() && !actor.operator, "{actor:?}");

    world.post("/api/v1/connectors/alpha/revoke", "admin", why.clone()).await.expect(200);
    assert!(world.custody.last().0.contains("Service(alpha)"));
    world.post("/api/v1/connectors/nothing/revoke", "admin", why.clone()).await.refused(404, "UNKNOWN_SERVICE");
    world
        .post("/api/v1/connectors/alpha/revoke", "anna-admin", why.clone())
        .await
        .refused(403, "AUTH_PERMISSION_DENIED");

    let path = format!("/api/v1/organizations/{}/revoke", world.org);
    world.post(&path, "admin", why.clone()).await.refused(403, "AUTH_PERMISSION_DENIED");
    world.post(&path, "operator-key", why).await.expect(200);
    assert!(world.custody.last().1.operator);
    let path = format!("/api/v1/organizations/{}/revocations", world.org);
    world.get(&path, "operator-key").await.expect(200);
    world.get("/api/v1/organizations/me/revocations", "admin").await.expect(200);
    world.get(&path, "stranger").await.refused(404, "INVALID_ARGUMENT");
    world.get(&path, "anna-admin").await.refused(403, "AUTH_PERMISSION_DENIED");
}

#[tokio::test]
async fn master_keys_are_the_operators() {
    let world = World::new().await;
    let status = world.get("/api/v1/master-keys", "operator-key").await.expect(200);
    assert_eq!((&status["present"], &status["keys"][0]["records"]["accounts"]), (&json!("1"), &json!(3)));
    assert_eq!(status["rotation"]["done"], true);
    world.get("/api/v1/master-keys", "admin").await.refused(403, "AUTH_PERMISSION_DENIED");
    world.post("/api/v1/master-keys/rotate", "operator-key", json!({"to": "2"})).await.expect(202);
    assert_eq!(world.custody.last().0, "rotate Some(\"2\")");
    world.post("/api/v1/master-keys/rotate", "admin", json!({})).await.refused(403, "AUTH_PERMISSION_DENIED");
    let refused = world.delete("/api/v1/master-keys/1", "operator-key").await.refused(409, "INVALID_ARGUMENT");
    assert!(refused["detail"].as_str().unwrap().contains("3 accounts"), "{refused}");
}

#[tokio::test]
async fn the_audit_log_is_read_by_whoever_may_read_data() {
    let world = World::new().await;
    let log = world.get("/api/v1/audit", "admin").await.expect(200);
    assert_eq!((&log["chain"], &log["next"]), (&json!(world.org.as_str()), &Value::Null));
    assert_eq!(log["entries"][0]["entry"]["action"], "organization.create");
    assert!(log["entries"][0]["raw"].is_string());
    assert_eq!(log["head"]["valid"], true);
    assert_eq!(world.get("/api/v1/audit", "operator-key").await.expect(200)["chain"], "platform");
    world.get("/api/v1/audit?after=7&limit=1000&action=calls", "admin").await.expect(200);
    assert!(world.custody.last().0.ends_with("after 7 limit 1000 Some(\"calls\")"), "{}", world.custody.last().0);
    for key in ["reader", "writer", "chat"] {
        let problem = world.get("/api/v1/audit", key).await.refused(403, "AUTH_PERMISSION_DENIED");
        assert_eq!(problem["fix"]["options"], json!(["read:data"]));
    }
    world.get("/api/v1/audit", "anna-admin").await.refused(403, "AUTH_PERMISSION_DENIED");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("after=-1", "after"),
        ("a=1", "a"),
        ("limit=1&limit=2", "limit"),
    ] {
        world.get(&format!("/api/v1/audit?{query}"), "admin").await.wrong(field);
    }
}

#[tokio::test]
async fn agents_from_their_making_to_their_end() {
    let world = World::new().await;
    let id = world.connect("admin", "Main", None).await;
    let wanted = json!({"name": "Buyer", "connectors": ["alpha"], "connections": [id], "effects": ["read"]});
    let agent = world.post("/api/v1/agents", "admin", wanted).await.expect(201);
    assert_eq!((&agent["connectors"], &agent["connections"]), (&json!(["alpha"]), &json!([id])));
    assert_eq!(world.get("/api/v1/agents", "admin").await.expect(200)["agents"][0]["id"], agent["id"]);
    assert_eq!(world.get("/api/v1/agents", "stranger").await.expect(200)["agents"], json!([]));
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": "a", "connectors": ["nothing"]}), "connectors"),
        (json!({"name": "a", "connectors": ["alpha:Main"]}), "connectors"),
        (json!({"name": "a", "connections": ["acc_x"]}), "connections"),
        (json!({"name": "a", "effects": ["write"]}), "effects"),
    ] {
        world.post("/api/v1/agents", "admin", body).await.wrong(field);
    }
    let path = format!("/api/v1/agents/{}", agent["id"].as_str().unwrap());
    let changed = world.ask(Method::PUT, &path, "admin", Some(json!({"name": "Buyer"}))).await.expect(200);
    assert_eq!(changed["effects"], Value::Null);
    world.ask(Method::PUT, &path, "stranger", Some(json!({"name": "Buyer"}))).await.refused(404, "INVALID_ARGUMENT");
    world.get("/api/v1/agents", "anna-admin").await.refused(403, "AUTH_PERMISSION_DENIED");
    assert_eq!(world.delete(&path, "admin").await.status, 204);
    world.delete(&path, "admin").await.refused(404, "INVALID_ARGUMENT");
    world.delete(&format!("/api/v1/agents/{}", AgentId::generate()), "admin").await.refused(404, "INVALID_ARGUMENT");
    world.delete("/api/v1/agents/x", "admin").await.refused(404, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_key_is_rotated() {
    let world = World::new().await;
    let issued = world.post("/api/v1/organizations/me/api-keys", "admin", json!({})).await.expect(201);
    let path = format!("/api/v1/organizations/me/api-keys/{}/rotate", issued["id"].as_str().unwrap());
    let second = world.post(&path, "admin", json!({})).await;
    assert_eq!(second.headers["cache-control"], "no-store");
    assert_eq!(second.expect(201)["key"], "second-secret");
    assert!(world.custody.last().0.ends_with(" 24"));
    world.post(&path, "admin", json!({"overlap_hours": 0})).await.expect(201);
    world.post(&path, "writer", json!({})).await.refused(403, "AUTH_PERMISSION_DENIED");
    world.post(&path, "stranger", json!({})).await.refused(404, "INVALID_ARGUMENT");
    world.post(&path, "anna-admin", json!({})).await.refused(404, "INVALID_ARGUMENT");
}
