//! A call that comes twice: under an idempotency key, or because the client never got its answer.

use std::time::{Duration, Instant};

use plugboard_tests::stack::{Shape, Stack};
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::{Answer, Vendor};
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::dead_letters::email;
use crate::shared::Site;

fn keyed(name: &str, key: &str) -> Value {
    let mut call = hubspot_write(name);
    call["idempotency_key"] = json!(key);
    call
}

pub(crate) async fn a_key_makes_one_call_of_many(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    site.vendor.on(&account.mark, Answer::json(201, &json!({"id": "7"})).after(Duration::from_millis(300)));
    let name = unique();
    // At the same time: one is made, the others wait for it.
    let envelopes = futures::future::join_all((0..12).map(|_| client.execute(keyed(&name, "k-1")))).await;
    for envelope in &envelopes {
        assert_eq!((&envelope["ok"], &envelope["data"]["id"]), (&json!(true), &json!("7")), "{envelope}");
        assert_eq!(envelope["execution_id"], envelopes[0]["execution_id"], "one call, one id");
    }
    assert_eq!(envelopes.iter().filter(|envelope| envelope["replayed"] == true).count(), 11);
    assert_eq!(site.vendor.count(&name), 1);
    // Later.
    let again = client.execute(keyed(&name, "k-1")).await;
    assert_eq!((&again["replayed"], &again["data"]["id"]), (&json!(true), &json!("7")), "{again}");
    assert_eq!(site.vendor.count(&name), 1);

    // The same key for something else, another key, and the key of another organization.
    let other = client.execute(keyed(&unique(), "k-1")).await;
    assert_eq!(other["error"]["code"], "IDEMPOTENCY_CONFLICT", "{other}");
    assert_eq!((&other["error"]["field"], &other["error"]["outcome"]), (&json!("idempotency_key"), &json!("not_sent")));
    assert_eq!(client.execute(keyed(&name, "k-2")).await["replayed"], Value::Null);
    assert_eq!(site.vendor.count(&name), 2);
    let stranger = Tenant::new(&site.stack).await;
    let theirs = stranger.connect("hubspot", "HS", &site.vendor).await;
    site.vendor.on(&theirs.mark, Answer::json(201, &json!({"id": "8"})));
    assert_eq!(stranger.mcp().execute(keyed(&name, "k-1")).await["data"]["id"], "8");

    // A refusal is an outcome too: the vendor is not asked again.
    site.vendor.on(&account.mark, Answer::json(422, &json!({"message": "no"})));
    let refused = unique();
    let first = client.execute(keyed(&refused, "k-3")).await;
    let second = client.execute(keyed(&refused, "k-3")).await;
    assert_eq!(
        (&first["error"]["code"], &second["error"]["code"]),
        (&json!("UPSTREAM_REJECTED"), &first["error"]["code"])
    );
    assert_eq!((site.vendor.count(&refused), &second["replayed"]), (1, &json!(true)));
}

pub(crate) async fn a_key_whose_call_sent_nothing_is_free_again(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    site.vendor.on(&account.mark, Answer::json(201, &json!({"id": "7"})));
    let name = unique();
    // Too late before it begins.
    let mut hurried = keyed(&name, "k");
    hurried["deadline_ms"] = json!(1);
    let envelope = client.execute(hurried).await;
    if envelope["error"]["outcome"] == "not_sent" {
        assert_eq!(site.vendor.count(&name), 0);
        let envelope = client.execute(keyed(&name, "k")).await;
        assert_eq!((&envelope["ok"], &envelope["replayed"]), (&json!(true), &Value::Null), "{envelope}");
    }
    assert!(site.vendor.count(&name) <= 1);
    // A read takes a key and does not need it.
    let mut read = hubspot_read();
    read["idempotency_key"] = json!("k");
    assert_eq!(client.execute(read).await["ok"], true);
}

pub(crate) async fn an_answer_that_was_lost_is_told_to_whoever_comes_back(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    site.vendor.on(&account.mark, Answer::json(201, &json!({"id": "7"})).after(Duration::from_secs(1)));
    let name = unique();
    let broken = {
        let (client, call) = (client.clone(), hubspot_write(&name));
        tokio::spawn(async move { client.execute(call).await })
    };
    eventually("the vendor has it", Duration::from_secs(10), || async {
        (site.vendor.count(&name) == 1).then_some(())
    })
    .await;
    broken.abort();
    let _ = broken.await;
    // A client needs a moment to see that its stream is broken, and to come back.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let envelope = client.execute(hubspot_write(&name)).await;
    assert_eq!((&envelope["ok"], &envelope["replayed"]), (&json!(true), &json!(true)), "{envelope}");
    assert_eq!((&envelope["data"]["id"], site.vendor.count(&name)), (&json!("7"), 1));
    // Whoever wants it twice says so.
    let mut twice = hubspot_write(&name);
    twice["repeat"] = json!(true);
    let envelope = client.execute(twice).await;
    assert_eq!((&envelope["ok"], &envelope["replayed"]), (&json!(true), &Value::Null), "{envelope}");
    assert_eq!(site.vendor.count(&name), 2);
}

/// Its gateway dies between taking a call in and giving it to the queue. Nobody has it then, and whoever comes back with the
/// key gets it made.
pub(crate) async fn a_call_that_only_its_key_knows_of_is_made(shape: Shape) {
    let vendor = Vendor::start();
    let failpoints = tempfile::tempdir().unwrap();
    let folder = failpoints.path().join("accepted_before_publish");
    std::fs::create_dir(&folder).unwrap();
    let options = Stack::options(shape).vendor(&vendor);
    let mut stack = options.environment("PLUGBOARD_FAILPOINTS", failpoints.path().to_str().unwrap()).start();
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "HS", &vendor).await;
    vendor.on(&account.mark, Answer::json(201, &json!({"id": "7"})));
    let name = unique();
    let mut in_background = keyed(&name, "k-1");
    in_background["wait_ms"] = json!(0);
    std::fs::write(folder.join("once"), "").unwrap();
    tenant.mcp().try_execute(in_background.clone()).await.expect_err("its gateway dies");
    if shape == Shape::Embedded {
        stack.ends();
        stack.try_start().unwrap();
    }
    taken_again(&stack).await;
    let client = stack.mcp(&tenant.key);
    let handle = client.execute(in_background).await;
    let envelope = client.execute(keyed(&name, "k-1")).await;
    assert_eq!((&envelope["data"]["id"], &envelope["state"]), (&json!("7"), &json!("succeeded")), "{envelope}");
    assert_eq!(envelope["execution_id"], handle["execution_id"]);
    assert_eq!(vendor.count(&name), 1);
}

/// A keyed call past the queue. While its executor is at it, whoever comes back waits for it; when that is gone as well, the
/// call is taken over.
pub(crate) async fn a_begun_call_that_nobody_sees_to_is_taken_over() {
    let vendor = Vendor::start();
    let stack = Stack::cluster().executors(2).vendor(&vendor).start();
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("resend", "Mail", &vendor).await;
    let client = tenant.mcp();
    for executors in [&[][..], &["executor-1", "executor-2"]] {
        let before = vendor.count(&account.mark);
        let takes = Duration::from_secs(if executors.is_empty() { 6 } else { 40 });
        vendor.on(&account.mark, Answer::json(200, &json!({"id": "7"})).after(takes));
        let mut call = email("resend:Mail");
        call["idempotency_key"] = json!(unique());
        let broken = {
            let (client, call) = (client.clone(), call.clone());
            tokio::spawn(async move { client.try_execute(call).await })
        };
        eventually("the vendor has it", Duration::from_secs(10), || async {
            (vendor.count(&account.mark) == before + 1).then_some(())
        })
        .await;
        executors.iter().chain(&["gateway-1"]).for_each(|process| stack.signal(process, "KILL"));
        broken.await.unwrap().expect_err("its gateway is gone");
        vendor.on(&account.mark, Answer::json(200, &json!({"id": "7"})));
        taken_again(&stack).await;
        let began = Instant::now();
        let envelope = client.execute(call).await;
        assert_eq!(envelope["data"]["id"], "7", "{envelope}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let times = if executors.is_empty() { 1 } else { 2 };
        assert_eq!(vendor.count(&account.mark) - before, times, "{envelope}");
    }
}

async fn taken_again(stack: &Stack) {
    eventually("calls are taken again", Duration::from_secs(30), || async {
        let answer = reqwest::get(format!("{}/readyz", stack.url())).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}
