//! Starting, stopping, being killed, and starting again.

use std::process::Command;
use std::time::{Duration, Instant};

use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::stack::{Shape, Stack, binary, repository};
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::{Answer, Vendor};
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::handles::end_of;

pub(crate) async fn a_restart_finds_keys_and_accounts(shape: Shape) {
    let vendor = Vendor::start();
    let mut stack = Stack::options(shape).vendor(&vendor).start();
    let (first_api, first_operator) = (stack.api_key().to_owned(), stack.operator_key().to_owned());
    assert!(first_api.starts_with("sk-org-") && first_operator.starts_with("sk-op-"));
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "Shop", &vendor).await;
    let (revoked, dead) = tenant.rest().issue(&["write:tools"]).await;
    tenant.rest().delete(&format!("/api/v1/organizations/me/api-keys/{revoked}")).await.expect(204);
    let done = tenant.mcp().execute(hubspot_write("before")).await;
    assert_eq!(done["ok"], true, "{done}");

    assert_eq!(stack.terminate().0, 0);
    stack.try_start().unwrap();
    assert_eq!((&stack.ready()["api_key"], &stack.ready()["operator_key"]), (&Value::Null, &Value::Null), "shown once");
    // The keys of the first start, the tenant's key and account, and how the call ended.
    assert!(!stack.mcp(&first_api).tool("list_services", json!({})).await.is_error);
    stack.rest(&first_operator).post("/api/v1/organizations", &json!({"name": "Later"})).await.expect(201);
    let client = stack.mcp(&tenant.key);
    let before = vendor.count(&account.mark);
    let envelope = client.execute(hubspot_read()).await;
    assert_eq!((&envelope["ok"], &envelope["account"]["id"]), (&json!(true), &json!(account.id)), "{envelope}");
    assert_eq!(vendor.count(&account.mark), before + 1);
    let look = json!({"service": "hubspot", "execution_id": done["execution_id"]});
    assert_eq!(client.execute(look).await["data"], done["data"]);
    // What was revoked stays revoked.
    let refused = stack.mcp(&dead).request("tools/list", json!({})).await;
    assert_eq!(refused.status, 401, "{}", refused.text);
}

/// A write that its vendor has received and not answered yet: its name, and what its caller will get.
async fn write_under_way(tenant: &Tenant, vendor: &Vendor) -> (String, JoinHandle<Value>) {
    let name = unique();
    let (client, call) = (tenant.mcp(), hubspot_write(&name));
    let waiting = tokio::spawn(async move { client.execute(call).await });
    eventually("the vendor has it", Duration::from_secs(10), || async { (vendor.count(&name) == 1).then_some(()) })
        .await;
    (name, waiting)
}

pub(crate) async fn sigterm_drains_and_exits_with_zero(shape: Shape) {
    let vendor = Vendor::start();
    let mut stack = Stack::options(shape).vendor(&vendor).start();
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "Shop", &vendor).await;
    vendor.on(&account.mark, Answer::json(200, &json!({"id": "7"})).after(Duration::from_millis(1500)));
    let (_, waiting) = write_under_way(&tenant, &vendor).await;
    let (code, took) = tokio::task::spawn_blocking(move || stack.terminate()).await.unwrap();
    assert_eq!(code, 0);
    // A cluster stops wave by wave, each process within 15 s; with one call under way it needs no more than one.
    assert!(took < Duration::from_secs(15), "{took:?}");
    let envelope = waiting.await.unwrap();
    assert_eq!((&envelope["ok"], &envelope["data"]["id"]), (&json!(true), &json!("7")), "{envelope}");
}

/// Its vendor takes longer than an executor waits as a rule, so that its outcome would be unknown; with more time it is told.
pub(crate) async fn a_slow_call_ends_within_a_longer_drain() {
    const TAKES: Duration = Duration::from_secs(12);
    let vendor = Vendor::start();
    let options = Stack::cluster().executors(1).environment("PLUGBOARD_EXECUTOR__DRAIN_MS", "25000").vendor(&vendor);
    let stack = tokio::task::spawn_blocking(move || options.start()).await.unwrap();
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "Shop", &vendor).await;
    vendor.on(&account.mark, Answer::json(200, &json!({"id": "7"})).after(TAKES));
    let (name, waiting) = write_under_way(&tenant, &vendor).await;
    stack.signal("executor-1", "TERM");
    let envelope = waiting.await.unwrap();
    assert_eq!((&envelope["ok"], &envelope["data"]["id"]), (&json!(true), &json!("7")), "{envelope}");
    assert_eq!(vendor.count(&name), 1);
}

pub(crate) async fn a_second_start_on_the_same_data_fails_clearly(shape: Shape) {
    let stack = Stack::options(shape).sandbox().start();
    let mut command = match shape {
        Shape::Embedded => {
            let mut command = Command::new(binary());
            command.args(["up", "--listen", "127.0.0.1:0", "--sandbox", "--json"]);
            command
        }
        Shape::Distributed => {
            let mut command = Command::new(repository().join("deploy/local/cluster"));
            command.env("PLUGBOARD_BIN", binary()).args(["up", "--port", "0", "--sandbox", "--json"]);
            command
        }
    };
    command.arg("--data").arg(stack.data());
    let second = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(!second.status.success());
    assert!(second.stdout.is_empty(), "{}", String::from_utf8_lossy(&second.stdout));
    let said = String::from_utf8_lossy(&second.stderr);
    let data = stack.data();
    assert!(said.contains(data.to_str().unwrap()) || said.contains("data directory"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    // The first one does not mind.
    assert!(!stack.mcp(stack.api_key()).tool("list_services", json!({})).await.is_error);
}

/// Forty calls are handed over and the process is killed in their midst. Each of them ends, and none is made twice.
pub(crate) async fn a_background_call_survives_kill_9() {
    const CALLS: usize = 40;
    let vendor = Vendor::start();
    let mut stack = Stack::embedded().vendor(&vendor).start();
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "Shop", &vendor).await;
    vendor.on(&account.mark, Answer::json(200, &json!({"id": "7"})).after(Duration::from_millis(600)));
    let client = tenant.mcp();
    let mut handed_over = Vec::new();
    for at in 0..CALLS {
        let name = unique();
        let mut call = if at % 4 == 3 { hubspot_read() } else { hubspot_write(&name) };
        call["wait_ms"] = json!(0);
        let handle = client.execute(call).await;
        assert_eq!(handle["state"], "running", "{handle}");
        handed_over.push((at % 4 == 3, name, handle));
    }
    eventually("some have begun", Duration::from_secs(10), || async {
        (vendor.count(&account.mark) > 5).then_some(())
    })
    .await;
    stack.kill();
    vendor.on(&account.mark, Answer::json(200, &json!({"id": "7"})));
    stack.try_start().unwrap();
    let client = McpClient::modern(stack.url(), &tenant.key);
    let began = Instant::now();
    let mut ends = (0, 0);
    for (is_read, name, handle) in &handed_over {
        let envelope = end_of(&client, handle).await;
        let times = vendor.count(name);
        match (envelope["ok"] == true, is_read) {
            (true, true) => ends.0 += 1,
            (true, false) => {
                assert_eq!(times, 1, "{envelope}");
                ends.0 += 1;
            }
            (false, false) => {
                assert_eq!(envelope["error"]["code"], "OUTCOME_UNKNOWN", "{envelope}");
                assert!(times <= 1, "made {times} times: {envelope}");
                ends.1 += 1;
            }
            (false, true) => panic!("a read is simply made again: {envelope}"),
        }
    }
    eprintln!("{} done, {} unknown", ends.0, ends.1);
    // What the dead process held is given out again after ten seconds without a heartbeat.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(ends.1 > 0, "the kill came too late to show anything");
}
