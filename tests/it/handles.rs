//! Calls that outlive the patience of their callers.

use std::time::{Duration, Instant};

use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::Answer;
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::shared::Site;

/// Asks by id until the call has ended.
pub(crate) async fn end_of(client: &McpClient, handle: &Value) -> Value {
    let id = handle["execution_id"].as_str().unwrap_or_else(|| panic!("{handle}"));
    // `service` is the only argument the schema requires, so clients send it along.
    let look = json!({"service": "hubspot", "execution_id": id});
    eventually("the call ends", Duration::from_secs(75), || async {
        let envelope = client.execute(look.clone()).await;
        assert_eq!(envelope["execution_id"], id, "{envelope}");
        (envelope["state"] != "running").then_some(envelope)
    })
    .await
}

pub(crate) async fn a_background_call_is_found_by_its_id(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    site.vendor.on(&account.mark, Answer::json(200, &json!({"id": "1204"})).after(Duration::from_millis(400)));
    for (at, mut call) in [hubspot_read(), hubspot_write("a")].into_iter().enumerate() {
        call["wait_ms"] = json!(0);
        let began = Instant::now();
        let handle = client.execute(call).await;
        assert_eq!((&handle["ok"], &handle["state"]), (&json!(true), &json!("running")), "{handle}");
        assert!(began.elapsed() < Duration::from_millis(350), "a handle comes at once: {:?}", began.elapsed());
        let envelope = end_of(&client, &handle).await;
        assert_eq!((&envelope["ok"], &envelope["data"]["id"]), (&json!(true), &json!("1204")), "{envelope}");
        // As often as one likes.
        assert_eq!(end_of(&client, &handle).await, envelope);
        assert_eq!(site.vendor.count(&account.mark), at + 1);
    }
    // It says how it failed as well.
    site.vendor.on(&account.mark, Answer::json(400, &json!({"message": "no"})));
    let mut call = hubspot_write("b");
    call["wait_ms"] = json!(0);
    let handle = client.execute(call).await;
    assert_eq!(end_of(&client, &handle).await["error"]["code"], "UPSTREAM_REJECTED");
    // A call that was answered at once is found too, unless it was a read.
    site.vendor.on(&account.mark, Answer::json(200, &json!({"id": "1205"})));
    let answered = client.execute(hubspot_write("c")).await;
    assert_eq!(end_of(&client, &answered).await["data"]["id"], "1205");
    let mixed = json!({"service": "hubspot", "execution_id": answered["execution_id"], "method": "GET"});
    assert_eq!(client.execute(mixed).await["error"]["field"], "method");
}

pub(crate) async fn patience_ends_before_the_call_does(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    site.vendor.on(&account.mark, Answer::json(200, &json!({"id": "7"})).after(Duration::from_millis(1500)));
    for (at, mut call) in [hubspot_read(), hubspot_write("a")].into_iter().enumerate() {
        call["wait_ms"] = json!(300);
        let began = Instant::now();
        let handle = client.execute(call).await;
        assert_eq!(handle["state"], "running", "{handle}");
        assert!(began.elapsed() < Duration::from_millis(1400), "{:?}", began.elapsed());
        let envelope = end_of(&client, &handle).await;
        assert_eq!((&envelope["ok"], &envelope["data"]["id"]), (&json!(true), &json!("7")), "{envelope}");
        assert_eq!(site.vendor.count(&account.mark), at + 1, "the call was made once");
    }
}

pub(crate) async fn a_caller_that_leaves_does_not_stop_a_started_call(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    site.vendor.on(&account.mark, Answer::json(200, &json!({"id": "7"})).after(Duration::from_millis(700)));
    let name = unique();
    let impatient = {
        let (client, name) = (client.clone(), name.clone());
        tokio::spawn(async move { client.execute(hubspot_write(&name)).await })
    };
    eventually("the vendor has it", Duration::from_secs(10), || async {
        (site.vendor.count(&name) == 1).then_some(())
    })
    .await;
    impatient.abort();
    let _ = impatient.await;
    // Others are served meanwhile, and nothing is made twice.
    site.vendor.on(&account.mark, Answer::json(200, &json!({"id": "8"})));
    assert_eq!(client.execute(hubspot_read()).await["data"]["id"], "8");
    assert_eq!(site.vendor.count(&name), 1);
}
