use std::sync::atomic::Ordering;

use http::Method;
use plugboard_core::identity::AccountState;
use plugboard_core::ids::Subject;
use serde_json::json;

use super::support::{Reply, World};

async fn test(world: &World, id: &str, key: &str) -> Reply {
    world.ask(Method::POST, &format!("/api/v1/connections/{id}/test"), key, None).await
}

#[tokio::test]
async fn the_manifests_test_is_called_with_this_account() {
    let world = World::new().await;
    world.connect("admin", "Other", None).await;
    let id = world.connect("admin", "Main", None).await;
    assert_eq!(test(&world, &id, "admin").await.expect(200), json!({"ok": true, "state": "connected"}));
    let jobs = world.vendor.jobs.lock();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].account.as_str(), id);
    assert_eq!(jobs[0].operation.as_deref(), Some("whoami"));
    assert_eq!((jobs[0].method.as_str(), jobs[0].path.as_str()), ("POST", "/whoami"));
    assert!(jobs[0].body.is_some());
    assert!(jobs[0].interactive());
}

#[tokio::test]
async fn a_refusal_is_a_result() {
    let world = World::new().await;
    let id = world.connect("admin", "Main", None).await;
    world.vendor.refuses.store(true, Ordering::SeqCst);
    let result = test(&world, &id, "admin").await.expect(200);
    assert_eq!((&result["ok"], &result["error"]["code"]), (&json!(false), &json!("ACCOUNT_EXPIRED")));
    world.auth.accounts.lock()[0].state = AccountState::NeedsReauth;
    world.vendor.refuses.store(false, Ordering::SeqCst);
    let result = test(&world, &id, "admin").await.expect(200);
    assert_eq!((&result["ok"], &result["state"]), (&json!(false), &json!("needs_reauth")));
    assert_eq!(result["error"]["code"], "ACCOUNT_EXPIRED");
}

#[tokio::test]
async fn trouble_of_ours_says_nothing_about_the_account() {
    let world = World::new().await;
    let id = world.connect("admin", "Main", None).await;
    world.vendor.full.store(true, Ordering::SeqCst);
    let reply = test(&world, &id, "admin").await;
    reply.refused(503, "OVERLOADED");
    assert_eq!(reply.headers["retry-after"], "2");
}

#[tokio::test]
async fn an_end_users_account_is_tested_as_that_user() {
    let world = World::new().await;
    let id = world.connect("admin", "Anna's", Some("anna")).await;
    assert_eq!(test(&world, &id, "admin").await.expect(200)["ok"], true);
    assert_eq!(test(&world, &id, "anna-admin").await.expect(200)["ok"], true);
    assert!(world.vendor.jobs.lock().iter().all(|job| job.subject == Some(Subject("anna".to_owned()))));
    let bobs = world.connect("admin", "Bob's", Some("bob")).await;
    test(&world, &bobs, "anna-admin").await.refused(404, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn without_a_test_there_is_a_conflict() {
    let world = World::new().await;
    let wanted = json!({"service": "beta", "credentials": {"api_token": "canary-1"}});
    let created = world.post("/api/v1/connections", "admin", wanted).await.expect(201);
    test(&world, created["id"].as_str().unwrap(), "admin").await.refused(409, "INVALID_ARGUMENT");
}
