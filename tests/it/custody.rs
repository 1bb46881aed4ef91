//! Custody as its operator sees it: rotation, the kill switch, the audit log, agents; through the commands and the API.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plugboard_tests::stack::binary;
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::Answer;
use serde_json::{Value, json};

use crate::commands::{json_of, said};
use crate::shared::Site;

async fn plugboard(site: &Site, key: &str, words: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(words).env("PLUGBOARD_URL", site.stack.url()).env("PLUGBOARD_API_KEY", key);
    command.env("PLUGBOARD_OPERATOR_KEY", site.stack.operator_key());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Another master key while calls go on: none of them fails. In a cluster the keys are a setting, so there the same walk
/// runs to the present key.
pub(crate) async fn a_rotation_fails_no_call(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "Main", &site.vendor).await;
    site.vendor.on(&account.mark, Answer::json(200, &json!({"results": []})));
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop, calls) = (tenant.mcp(), stop.clone(), calls.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let envelope = client.execute(hubspot_read()).await;
                    assert_eq!(envelope["ok"], true, "{envelope}");
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let before = json_of(&plugboard(site, &tenant.key, &["rotate", "--status"]).await);
    let present = before["present"].as_str().unwrap().to_owned();
    let rotated = plugboard(site, &tenant.key, &["rotate"]).await;
    let to = if rotated.status.success() {
        json_of(&rotated)["present"].as_str().unwrap().to_owned()
    } else {
        assert!(said(&rotated).contains("PLUGBOARD_SECRETS__MASTER_KEY"), "{}", said(&rotated));
        let again = plugboard(site, &tenant.key, &["rotate", "--to", &present]).await;
        assert!(again.status.success(), "{}", said(&again));
        present.clone()
    };
    let status = json_of(&plugboard(site, &tenant.key, &["rotate", "--status"]).await);
    assert_eq!((&status["present"], &status["rotation"]["done"]), (&json!(to), &json!(true)), "{status}");
    assert_eq!(status["rotation"]["unreadable"], 0);
    if to != present {
        let old = status["keys"].as_array().unwrap().iter().find(|key| key["id"] == present.as_str()).unwrap().clone();
        assert_eq!(old["records"]["accounts"], Value::Null, "{status}");
    }
    let refused = plugboard(site, &tenant.key, &["rotate", "--retire", &to]).await;
    assert!(!refused.status.success() && said(&refused).contains("present"), "{}", said(&refused));
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(calls.load(Ordering::SeqCst) > 10);
}

pub(crate) async fn the_log_tells_who_did_what(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "Main", &site.vendor).await;
    site.vendor.on(&account.mark, Answer::json(200, &json!({"results": []})));
    let client = tenant.mcp();
    for _ in 0..3 {
        assert_eq!(client.execute(hubspot_read()).await["ok"], true);
    }
    let mut nobody = hubspot_read();
    nobody["service"] = json!("hubspot:nobody");
    let refused = client.execute(nobody).await;
    assert_eq!(refused["ok"], false);
    // Calls enter within a moment.
    let began = Instant::now();
    let lines = loop {
        let listed = plugboard(site, &tenant.key, &["audit", "list"]).await;
        assert!(listed.status.success(), "{}", said(&listed));
        let lines: Vec<Value> =
            String::from_utf8(listed.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let total = |code: &str| -> u64 {
            let calls = lines.iter().flat_map(|line| line["calls"].as_array().cloned().unwrap_or_default());
            calls.filter(|call| call["code"] == code).map(|call| call["count"].as_u64().unwrap()).sum()
        };
        if total("OK") == 3 && total("INVALID_ARGUMENT") == 1 {
            break lines;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{lines:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let created = lines.iter().find(|line| line["action"] == "account.create").unwrap();
    assert_eq!(created["target"]["id"], account.id.as_str());
    assert!(created["actor"]["key"].as_str().unwrap().starts_with("key_"), "{created}");
    assert_eq!(created["actor"]["source"], "127.0.0.1");
    let called = lines.iter().flat_map(|line| line["calls"].as_array().cloned().unwrap_or_default());
    assert!(called.clone().any(|call| call["account"] == account.id.as_str()), "{lines:?}");

    let file = site.stack.data().join(format!("seen-{}", unique()));
    let file = file.to_str().unwrap();
    for _ in 0..2 {
        let verified = plugboard(site, &tenant.key, &["audit", "verify", "--remember", file]).await;
        assert!(verified.status.success(), "{}", said(&verified));
        assert_eq!(json_of(&verified)["ok"], true);
    }
    let platform = plugboard(site, &tenant.key, &["audit", "verify", "--platform"]).await;
    assert!(platform.status.success(), "{}", said(&platform));
    // A log that has forgotten what was seen before.
    let seen: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let later = json!({"chain": seen["chain"], "seq": seen["seq"].as_u64().unwrap() + 1_000, "hash": "00"});
    std::fs::write(file, later.to_string()).unwrap();
    let forgotten = plugboard(site, &tenant.key, &["audit", "verify", "--remember", file]).await;
    assert!(!forgotten.status.success() && said(&forgotten).contains("earlier state"), "{}", said(&forgotten));
}

pub(crate) async fn what_is_revoked_is_unusable_at_once(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "Main", &site.vendor).await;
    site.vendor.on(&account.mark, Answer::json(200, &json!({"results": []})));
    let client = tenant.mcp();
    assert_eq!(client.execute(hubspot_read()).await["ok"], true);
    let why = json!({"reason": "drill"});
    let report = tenant.rest().post(&format!("/api/v1/connections/{}/revoke", account.id), &why).await;
    assert_eq!(report.status, 200, "{}", report.text);
    let began = Instant::now();
    for call in [hubspot_read(), hubspot_write("a")] {
        let envelope = client.execute(call).await;
        assert_eq!(envelope["error"]["code"], "ACCOUNT_REVOKED", "{envelope}");
        assert_eq!(envelope["error"]["outcome"], "not_sent");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let report = tenant.rest().get("/api/v1/organizations/me/revocations").await;
    assert!(report.text.contains("drill") && report.text.contains(&account.id), "{}", report.text);
}

pub(crate) async fn an_agent_keeps_to_its_limits(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "Main", &site.vendor).await;
    site.vendor.on(&account.mark, Answer::json(200, &json!({"results": []})));
    let wanted = json!({"name": "Reader", "connectors": ["hubspot"], "connections": [account.id], "effects": ["read"]});
    let agent = tenant.rest().post("/api/v1/agents", &wanted).await;
    assert_eq!(agent.status, 201, "{}", agent.text);
    let agent: Value = serde_json::from_str(&agent.text).unwrap();
    let issued = tenant.rest().post("/api/v1/organizations/me/api-keys", &json!({"agent": agent["id"]})).await;
    let issued: Value = serde_json::from_str(&issued.text).unwrap();
    let client = tenant.with_key(issued["key"].as_str().unwrap());
    assert_eq!(client.execute(hubspot_read()).await["ok"], true);
    let written = client.execute(hubspot_write("a")).await;
    assert_eq!((&written["error"]["code"], &written["error"]["field"]), (&json!("POLICY_DENIED"), &json!("method")));
    assert_eq!(written["error"]["fix"]["options"], json!(["read"]), "{written}");
    let elsewhere = json!({"service": "github", "module": "rest", "method": "GET", "path": "/user"});
    let elsewhere = client.execute(elsewhere).await;
    assert_eq!(
        (&elsewhere["error"]["code"], &elsewhere["error"]["field"]),
        (&json!("POLICY_DENIED"), &json!("service"))
    );
}
