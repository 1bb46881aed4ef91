use serde_json::json;

use super::support::World;

const ALL: &str = "/api/v1/connections";

#[tokio::test]
async fn from_creation_to_removal() {
    let world = World::new().await;
    let wanted = json!({"service": "alpha", "label": "Main",
        "credentials": {"api_token": "canary-1", "host": "alpha.example"}});
    let created = world.post(ALL, "admin", wanted).await;
    assert!(!created.text.contains("canary"), "{}", created.text);
    assert_eq!(created.headers["cache-control"], "no-store");
    let created = created.expect(201);
    let id = created["id"].as_str().unwrap();
    assert_eq!(
        created,
        json!({"id": id, "service": "alpha", "label": "Main", "state": "connected", "owner": null,
            "state_reason": null, "state_since": "2026-11-22T21:20:00Z",
            "fields": {"host": "alpha.example"},
            "created_at": "2026-11-22T21:20:00Z", "updated_at": "2026-11-22T21:20:00Z"})
    );
    assert_eq!(world.auth.stored.lock()["api_token"], "canary-1");

    let path = format!("{ALL}/{id}");
    assert_eq!(world.get(&path, "reader").await.expect(200), created);
    assert_eq!(world.get(ALL, "writer").await.expect(200), json!({"connections": [created]}));

    let changed = world.patch(&path, "admin", json!({"label": "New", "credentials": {"api_token": "canary-2"}})).await;
    assert!(!changed.text.contains("canary"));
    let changed = changed.expect(200);
    assert_eq!(changed["label"], "New");
    assert_eq!(changed["updated_at"], "2026-11-22T21:20:01.5Z");
    assert_eq!(world.auth.stored.lock()["api_token"], "canary-2");

    let removed = world.delete(&path, "admin").await;
    assert_eq!((removed.status.as_u16(), removed.text.as_str()), (204, ""));
    world.get(&path, "reader").await.refused(404, "INVALID_ARGUMENT");
    world.delete(&path, "admin").await.refused(404, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn listed_by_service() {
    let world = World::new().await;
    world.connect("admin", "One", None).await;
    let of = async |query: &str| world.get(&format!("{ALL}?{query}"), "reader").await;
    assert_eq!(of("service=alpha").await.expect(200)["connections"].as_array().unwrap().len(), 1);
    assert_eq!(of("service=").await.expect(200)["connections"].as_array().unwrap().len(), 1);
    assert_eq!(of("service=beta").await.expect(200), json!({"connections": []}));
    of("service=alpa").await.refused(404, "UNKNOWN_SERVICE");
    of("sevice=alpha").await.wrong("sevice");
    of("service=alpha&service=beta").await.wrong("service");
}

#[tokio::test]
async fn another_organization_sees_nothing() {
    let world = World::new().await;
    let id = world.connect("admin", "Main", None).await;
    let path = format!("{ALL}/{id}");
    assert_eq!(world.get(ALL, "stranger").await.expect(200), json!({"connections": []}));
    world.get(&path, "stranger").await.refused(404, "INVALID_ARGUMENT");
    world.patch(&path, "stranger", json!({"label": "Mine"})).await.refused(404, "INVALID_ARGUMENT");
    world.delete(&path, "stranger").await.refused(404, "INVALID_ARGUMENT");
    world.ask(http::Method::POST, &format!("{path}/test"), "stranger", None).await.refused(404, "INVALID_ARGUMENT");
    assert_eq!(world.get(&path, "reader").await.expect(200)["label"], "Main");
    for id in ["acc_00000000000000000000000000000000", "acc_x", "%FF", "key_1"] {
        world.get(&format!("{ALL}/{id}"), "admin").await.refused(404, "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn an_end_user_sees_shared_ones_and_its_own() {
    let world = World::new().await;
    world.connect("admin", "Shared", None).await;
    let annas = world.connect("admin", "Anna's", Some("anna")).await;
    let bobs = world.connect("admin", "Bob's", Some("bob")).await;
    let labels = async |key: &str| {
        let list = world.get(ALL, key).await.expect(200);
        let labels =
            list["connections"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned());
        labels.collect::<Vec<_>>()
    };
    assert_eq!(labels("admin").await, ["Shared", "Anna's", "Bob's"]);
    assert_eq!(labels("anna").await, ["Shared", "Anna's"]);
    assert_eq!(labels("anna-admin").await, ["Shared", "Anna's"]);
    assert_eq!(labels("reader").await, ["Shared"]);
    world.get(&format!("{ALL}/{annas}"), "anna").await.expect(200);
    world.get(&format!("{ALL}/{bobs}"), "anna").await.refused(404, "INVALID_ARGUMENT");
    world.delete(&format!("{ALL}/{bobs}"), "anna-admin").await.refused(404, "INVALID_ARGUMENT");
    world.patch(&format!("{ALL}/{bobs}"), "anna-admin", json!({"label": "x"})).await.refused(404, "INVALID_ARGUMENT");
    let for_bob = json!({"service": "alpha", "label": "x", "owner": "bob", "credentials": {"api_token": "canary-1"}});
    let problem = world.post(ALL, "anna-admin", for_bob).await.refused(403, "AUTH_PERMISSION_DENIED");
    assert_eq!(problem["field"], "owner");
    world.connect("anna-admin", "Anna's second", Some("anna")).await;
}

#[tokio::test]
async fn mistakes_name_their_field() {
    let world = World::new().await;
    let post = async |body: serde_json::Value| {
        let reply = world.post(ALL, "admin", body).await;
        assert!(!reply.text.contains("canary"), "{}", reply.text);
        reply
    };
    let credentials = json!({"api_token": "canary-1"});
    post(json!({"credentials": credentials})).await.wrong("service");
    post(json!({"service": 5, "credentials": credentials})).await.wrong("service");
    post(json!({"service": "alpha"})).await.wrong("credentials");
    post(json!({"service": "alpha", "credentials": "canary-1"})).await.wrong("credentials");
    post(json!({"service": "alpha", "credentials": ["canary-1"]})).await.wrong("credentials");
    post(json!({"service": "alpha", "credentials": {"api_token": ["canary-1"]}})).await.wrong("credentials.api_token");
    post(json!({"service": "alpha", "credentials": {}})).await.wrong("credentials.api_token");
    post(json!({"service": "alpha", "label": "a:b", "credentials": credentials})).await.wrong("label");
    post(json!({"service": "alpha:Main", "credentials": credentials})).await.wrong("service");
    let unknown = post(json!({"service": "alpha", "lable": "x", "credentials": credentials})).await.wrong("lable");
    assert_eq!(unknown["fix"]["options"], json!(["label"]));
    let unknown = post(json!({"service": "alpa", "credentials": credentials})).await.refused(404, "UNKNOWN_SERVICE");
    assert_eq!((&unknown["field"], &unknown["fix"]["options"][0]), (&json!("service"), &json!("alpha")));

    let id = world.connect("admin", "Main", None).await;
    let taken = post(json!({"service": "alpha", "label": "MAIN", "credentials": credentials})).await;
    assert_eq!(taken.refused(409, "INVALID_ARGUMENT")["field"], "label");
    let path = format!("{ALL}/{id}");
    world.patch(&path, "admin", json!({})).await.wrong("label");
    world.patch(&path, "admin", json!({"label": null})).await.wrong("label");
    world.patch(&path, "admin", json!({"service": "beta"})).await.wrong("service");
}

#[tokio::test]
async fn an_emptied_field_arrives_as_the_empty_text() {
    let world = World::new().await;
    let id = world.connect("admin", "Main", None).await;
    let body = json!({"credentials": {"host": null}});
    world.patch(&format!("{ALL}/{id}"), "admin", body).await.expect(200);
    assert_eq!(world.auth.stored.lock()["host"], "");
}

#[tokio::test]
async fn reading_is_for_readers_and_changing_for_admins() {
    let world = World::new().await;
    let id = world.connect("admin", "Main", None).await;
    let path = format!("{ALL}/{id}");
    let scope = |problem: serde_json::Value| problem["fix"]["options"][0].as_str().unwrap().to_owned();
    for read in [ALL, path.as_str(), "/api/v1/connectors/metadata", "/api/v1/connectors/alpha/metadata"] {
        world.get(read, "").await.refused(401, "AUTH_REQUIRED");
        assert_eq!(scope(world.get(read, "chat").await.refused(403, "AUTH_PERMISSION_DENIED")), "read:tools");
        world.get(read, "operator-key").await.refused(403, "AUTH_PERMISSION_DENIED");
    }
    for key in ["reader", "writer", "anna"] {
        let denied = [
            world.post(ALL, key, json!({"wrong": 1})).await,
            world.patch(&path, key, json!({"wrong": 1})).await,
            world.delete(&path, key).await,
            world.ask(http::Method::POST, &format!("{path}/test"), key, None).await,
        ];
        for reply in denied {
            let problem = reply.refused(403, "AUTH_PERMISSION_DENIED");
            assert!(problem["detail"].as_str().unwrap().contains("`admin`"), "{problem}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer error=\"insufficient_scope\", scope=\"admin\"");
            assert_eq!(scope(problem), "admin");
        }
    }
}
