use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};

use super::support::{Reply, World};

const COOKIE: &str = "__Host-plugboard_console";

/// A browser at the console.
struct Browser<'a> {
    world: &'a World,
    cookie: String,
    mark: String,
}

impl<'a> Browser<'a> {
    async fn signed_in(world: &'a World, key: &str) -> Self {
        let reply = sign_in(world, key, None).await;
        let reader = reply.expect(200);
        let set = reply.headers["set-cookie"].to_str().unwrap();
        assert!(
            set.starts_with(COOKIE) && set.contains("HttpOnly; SameSite=Strict") && set.ends_with("; Secure"),
            "{set}"
        );
        assert!(!set.contains(key), "the key is sealed: {set}");
        let cookie = set.split(';').next().unwrap().to_owned();
        Self { world, cookie, mark: reader["mark"].as_str().unwrap().to_owned() }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request = Request::builder().method(method).uri(path).header("cookie", &self.cookie);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.world.send(request.body(Body::from("{}")).unwrap()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, &[]).await
    }
}

async fn sign_in(world: &World, key: &str, site: Option<&str>) -> Reply {
    let request = Request::post("/console/session").header("content-type", "application/json");
    let request = site.into_iter().fold(request, |request, site| request.header("sec-fetch-site", site));
    world.send(request.body(Body::from(json!({"key": key}).to_string())).unwrap()).await
}

#[tokio::test]
async fn whoever_sees_to_the_whole_signs_in_and_nobody_else() {
    let world = World::new().await;
    sign_in(&world, "nobody", None).await.refused(401, "AUTH_REQUIRED");
    for key in ["reader", "writer", "chat", "anna", "anna-admin"] {
        sign_in(&world, key, None).await.refused(403, "AUTH_PERMISSION_DENIED");
    }
    sign_in(&world, "admin", Some("cross-site")).await.refused(403, "AUTH_PERMISSION_DENIED");
    let browser = Browser::signed_in(&world, "admin").await;
    let reader = browser.get("/console/session").await.expect(200);
    assert_eq!(reader["organization"], world.org.as_str());
    assert_eq!(
        Browser::signed_in(&world, "operator-key").await.get("/console/session").await.expect(200)["operator"],
        true
    );
    assert_eq!(world.get("/console/session", "admin").await.expect(200), json!({"signed_in": false}));

    let gone = browser.ask(Method::DELETE, "/console/session", &[]).await;
    gone.refused(403, "AUTH_PERMISSION_DENIED");
    let gone = browser.ask(Method::DELETE, "/console/session", &[("x-plugboard-console", &browser.mark)]).await;
    gone.expect(204);
    assert!(gone.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn a_session_counts_for_the_page_and_changes_nothing_without_its_mark() {
    let world = World::new().await;
    let browser = Browser::signed_in(&world, "admin").await;
    assert_eq!(browser.get("/console/api/v1/overview").await.expect(200)["organization"], world.org.as_str());
    assert_eq!(browser.get("/console/api/v1/calls").await.expect(200), json!({"calls": [], "next": null}));
    // Nowhere else, and no key in its place.
    browser.get("/api/v1/overview").await.refused(401, "AUTH_REQUIRED");
    world.get("/console/api/v1/overview", "admin").await.refused(401, "AUTH_REQUIRED");
    assert_eq!(browser.get("/console/api/v1/agents").await.status, 404);

    let letter = "/console/api/v1/dead-letters/ex_019ac9f2c0de7a10b4d1c0ffee015eed";
    browser.ask(Method::DELETE, letter, &[]).await.refused(403, "AUTH_PERMISSION_DENIED");
    let marked = [("x-plugboard-console", browser.mark.as_str()), ("content-type", "application/json")];
    browser.ask(Method::DELETE, letter, &marked).await.refused(404, "INVALID_ARGUMENT");
    let foreign = [marked[0], ("sec-fetch-site", "cross-site")];
    browser.ask(Method::DELETE, letter, &foreign).await.refused(403, "AUTH_PERMISSION_DENIED");
    let created = browser.ask(Method::POST, "/console/api/v1/connections", &marked).await;
    assert_eq!(created.status, 405, "accounts are managed elsewhere");
}

#[tokio::test]
async fn the_page_permits_nothing_inline_and_its_files_are_there() {
    let world = World::new().await;
    let page = world.get("/console", "").await;
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert!(!page.text.contains("asset:") && !page.text.contains("<style") && !page.text.contains(" style="));
    let files: Vec<&str> = page.text.split('"').filter(|text| text.starts_with("/console/assets/")).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    let folder = files[0].rsplit_once('/').unwrap().0;
    for file in files {
        assert_eq!(world.get(file, "").await.status, 200, "{file}");
    }
    // Scripts find each other by name.
    let script = world.get(&format!("{folder}/main.js"), "").await;
    let imported = script.text.lines().filter_map(|line| line.split_once("from \"./")?.1.strip_suffix("\";"));
    let imported: Vec<&str> = imported.collect();
    assert!(imported.len() >= 8, "{imported:?}");
    for name in imported {
        let found = world.get(&format!("{folder}/{name}"), "").await;
        assert_eq!(found.headers["content-type"], "text/javascript; charset=utf-8", "{name}");
    }
    assert_eq!(world.get("/console/assets/0000/main.js", "").await.status, 404);
}

#[tokio::test]
async fn queries_of_calls_are_held_to_what_they_are() {
    let world = World::new().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("state=odd", "state"),
        ("since=yesterday", "since"),
        ("after=x", "after"),
        ("colour=red", "colour"),
    ] {
        world.get(&format!("/api/v1/calls?{query}"), "admin").await.wrong(field);
    }
    let theirs = format!("/api/v1/calls?organization={}", world.other);
    world.get(&theirs, "admin").await.refused(404, "INVALID_ARGUMENT");
    world.get(&theirs, "operator-key").await.expect(200);
    for key in ["reader", "writer", "anna-admin"] {
        for path in ["/api/v1/calls", "/api/v1/overview"] {
            world.get(path, key).await.refused(403, "AUTH_PERMISSION_DENIED");
        }
    }
    world.get("/api/v1/calls/ex_019ac9f2c0de7a10b4d1c0ffee015eed", "admin").await.refused(404, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn the_overview_tells_the_operator_of_processes_and_others_of_their_own() {
    let world = World::new().await;
    let all = world.get("/api/v1/overview", "operator-key").await.expect(200);
    assert_eq!(all["minutes"].as_array().unwrap().len(), 15);
    let processes = all["processes"].as_array().unwrap();
    assert_eq!((processes.len(), &processes[0]["service"]), (1, &json!("gateway")));
    assert_eq!(processes[0]["parts"]["catalog"], "ok");
    let own = world.get("/api/v1/overview", "admin").await.expect(200);
    assert_eq!((&own["processes"], &own["organizations"], &own["queue"]), (&Value::Null, &Value::Null, &Value::Null));
}

#[tokio::test]
async fn accounts_that_need_attention_are_listed_and_the_operator_says_whose() {
    let world = World::new().await;
    world.connect("admin", "Well", None).await;
    let worn = world.connect("admin", "Worn", None).await;
    let state = plugboard_core::identity::AccountState::NeedsReauth;
    world.auth.accounts.lock().iter_mut().filter(|one| one.id.as_str() == worn).for_each(|one| one.state = state);
    let labels = |reply: Value| -> Vec<String> {
        reply["connections"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect()
    };
    let attention = "/api/v1/connections?state=attention";
    assert_eq!(labels(world.get(attention, "admin").await.expect(200)), ["Worn"]);
    assert_eq!(labels(world.get("/api/v1/connections?state=connected", "admin").await.expect(200)), ["Well"]);
    world.get("/api/v1/connections?state=odd", "admin").await.wrong("state");
    world.get(attention, "operator-key").await.refused(403, "AUTH_PERMISSION_DENIED");
    let found = world.get(&format!("{attention}&organization={}", world.org), "operator-key").await.expect(200);
    assert_eq!(labels(found.clone()), ["Worn"]);
    assert_eq!(found["connections"][0]["fields"], json!({}));
    world.get(&format!("{attention}&organization={}", world.org), "stranger").await.refused(404, "INVALID_ARGUMENT");
}
