//! Large answers and requests: whole, or by a handle; never a false unknown.

use std::fmt::Write as _;

use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::Answer;
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::shared::Site;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// JSON of exactly this many bytes. Every place in it differs from every other, so no piece can be lost or swapped.
fn document(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    text.push_str("{\"text\":\"");
    let mut number = 0;
    while text.len() < bytes - 24 {
        let _ = write!(text, "{number:07} ж ");
        number += 1;
    }
    while text.len() < bytes - 2 {
        text.push('.');
    }
    text.push_str("\"}");
    assert_eq!(text.len(), bytes);
    text
}

/// The data of an answer, read in parts where it came by handle.
async fn whole(client: &McpClient, envelope: &Value) -> String {
    assert_eq!(envelope["ok"], true, "{}", short(envelope));
    assert_eq!(envelope["state"], "succeeded", "{}", short(envelope));
    let Some(result) = envelope["truncated"]["result_id"].as_str() else { return envelope["data"].to_string() };
    let mut text = String::new();
    let mut offset = json!(0);
    loop {
        let slice = json!({"service": "hubspot", "result_id": result, "offset": offset, "limit": 1_000_000});
        let slice = client.execute(slice).await;
        assert_eq!(slice["ok"], true, "{}", short(&slice));
        text.push_str(slice["data"].as_str().unwrap());
        if slice["page"]["has_more"] != true {
            break;
        }
        offset = slice["page"]["next"]["offset"].clone();
    }
    assert_eq!(envelope["truncated"]["bytes"], text.len(), "{}", short(envelope));
    text
}

fn short(envelope: &Value) -> String {
    envelope.to_string().chars().take(800).collect()
}

pub(crate) async fn answers_arrive_whole_or_by_handle(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    let sizes = [256 * KIB - 1, 256 * KIB, 256 * KIB + 1, MIB - 1, MIB, MIB + 1, 4 * MIB, 4 * MIB + 1, 20 * MIB];
    for size in sizes {
        let sent = document(size);
        site.vendor.on(&account.mark, Answer::bytes(200, "application/json", sent.clone()));
        let name = unique();
        for call in [hubspot_read(), hubspot_write(&name)] {
            let envelope = client.execute(call).await;
            let by_handle = envelope["truncated"].is_object();
            assert_eq!(by_handle, size > 4 * MIB, "{size}: {}", short(&envelope));
            let text = whole(&client, &envelope).await;
            assert!(text == sent, "{size} bytes came as {}", text.len());
        }
        assert_eq!(site.vendor.count(&name), 1);
    }
    // The same through the journal.
    for (size, call) in [(MIB + 1, hubspot_read()), (20 * MIB, hubspot_write("a"))] {
        let sent = document(size);
        site.vendor.on(&account.mark, Answer::bytes(200, "application/json", sent.clone()));
        let mut call = call;
        call["wait_ms"] = json!(0);
        let handle = client.execute(call).await;
        let look = json!({"service": "hubspot", "execution_id": handle["execution_id"]});
        let envelope = eventually("the background call ends", std::time::Duration::from_secs(30), || async {
            let envelope = client.execute(look.clone()).await;
            (envelope["state"] != "running").then_some(envelope)
        })
        .await;
        assert!(whole(&client, &envelope).await == sent, "{size}");
    }
    // An empty one, and no JSON at all.
    site.vendor.on(&account.mark, Answer::bytes(204, "text/plain", ""));
    assert_eq!(client.execute(hubspot_read()).await["data"], Value::Null);
    site.vendor.on(&account.mark, Answer::bytes(200, "text/csv", "a;b\n1;2\n"));
    assert_eq!(client.execute(hubspot_read()).await["data"], "a;b\n1;2\n");
    // Larger than anything we take: said so, and for a POST that it was done.
    site.vendor.on(&account.mark, Answer::bytes(200, "application/json", document(65 * MIB)));
    let envelope = client.execute(hubspot_read()).await;
    assert_eq!(envelope["error"]["code"], "RESPONSE_TOO_LARGE", "{}", short(&envelope));
    let envelope = client.execute(hubspot_write("b")).await;
    assert_eq!(envelope["error"]["code"], "RESPONSE_TOO_LARGE", "{}", short(&envelope));
    assert_eq!(
        (&envelope["error"]["outcome"], &envelope["error"]["safe_to_retry"]),
        (&json!("applied"), &json!(false))
    );
}

pub(crate) async fn a_request_near_the_limit_arrives_whole(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    for size in [256 * KIB, MIB, 4 * MIB - 4 * KIB] {
        let name = document(size);
        let envelope = tenant.mcp().execute(hubspot_write(&name)).await;
        // Escaped, it may be over the limit that it stayed below here.
        assert_eq!(envelope["ok"], true, "{size}: {}", short(&envelope));
        let received = site.vendor.received(&account.mark);
        let last = received.last().unwrap();
        assert!(last.json()["properties"]["dealname"] == name.as_str(), "{size}");
    }
    assert_eq!(site.vendor.count(&account.mark), 3);
}
