//! The vendors' rate limits, kept by all executors together.

use std::time::{Duration, Instant};

use plugboard_tests::stack::{Shape, Stack};
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write};
use plugboard_tests::vendor::{Answer, Vendor};
use serde_json::{Value, json};

/// One request a minute, says its manifest.
fn sales() -> Value {
    json!({
        "service": "wildberries", "module": "statistics", "method": "GET", "path": "/api/v1/supplier/sales",
        "query": {"dateFrom": "2026-04-15"}, "deadline_ms": 5_000
    })
}

struct Site {
    stack: Stack,
    vendor: Vendor,
}

pub(crate) async fn the_vendors_limits_are_kept(shape: Shape) {
    let vendor = Vendor::start();
    let site = Site { stack: Stack::options(shape).vendor(&vendor).start(), vendor };
    a_limit_is_kept_before_the_vendor_has_to_say_so(&site).await;
    a_vendor_that_wants_to_be_left_alone_is(&site).await;
    no_more_calls_are_under_way_than_the_connector_says(&site).await;
}

async fn a_limit_is_kept_before_the_vendor_has_to_say_so(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("wildberries", "WB", &site.vendor).await;
    site.vendor.on(&account.mark, Answer::json(200, &json!([])));
    let client = tenant.mcp();
    let envelopes = futures::future::join_all((0..6).map(|_| client.execute(sales()))).await;
    let (made, refused): (Vec<_>, Vec<_>) = envelopes.iter().partition(|envelope| envelope["ok"] == true);
    assert_eq!((made.len(), site.vendor.count(&account.mark)), (1, 1), "{envelopes:?}");
    assert_eq!(made[0]["limits"]["bucket"], "sales_report", "{}", made[0]);
    for envelope in refused {
        let error = &envelope["error"];
        assert_eq!((&error["code"], &error["origin"]), (&json!("RATE_LIMITED"), &json!("policy")), "{envelope}");
        assert_eq!((&error["outcome"], &error["fix"]["kind"]), (&json!("not_sent"), &json!("wait")));
        let wait = error["retry_after_ms"].as_u64().unwrap();
        assert!((50_000..=60_000).contains(&wait), "{envelope}");
    }
    // Another account has its own.
    let other = Tenant::new(&site.stack).await;
    let theirs = other.connect("wildberries", "WB", &site.vendor).await;
    site.vendor.on(&theirs.mark, Answer::json(200, &json!([])));
    assert_eq!(other.mcp().execute(sales()).await["ok"], true);
}

async fn a_vendor_that_wants_to_be_left_alone_is(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let limited = Answer::json(429, &json!({"message": "slow down"})).header("Retry-After", "2");
    site.vendor.in_turn(&account.mark, vec![limited, Answer::json(200, &json!({"results": []}))]);
    let client = tenant.mcp();
    let began = Instant::now();
    let first = client.execute(hubspot_read()).await;
    assert_eq!((&first["ok"], &first["attempts"]), (&json!(true), &json!(2)), "{first}");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());

    // Everybody waits, not only the one who was told.
    let limited = Answer::json(429, &json!({"message": "slow down"})).header("Retry-After", "30");
    site.vendor.in_turn(&account.mark, vec![limited, Answer::json(200, &json!({"results": []}))]);
    let mut hurried = hubspot_write("a");
    hurried["deadline_ms"] = json!(3_000);
    assert_eq!(client.execute(hurried.clone()).await["error"]["code"], "UPSTREAM_RATE_LIMITED");
    let asked = site.vendor.count(&account.mark);
    let envelope = client.execute(hurried).await;
    assert_eq!((&envelope["error"]["code"], site.vendor.count(&account.mark)), (&json!("RATE_LIMITED"), asked));
}

/// 64 where a manifest says nothing, by all executors together.
async fn no_more_calls_are_under_way_than_the_connector_says(site: &Site) {
    const MOST: usize = 64;
    const TAKES: Duration = Duration::from_millis(700);
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    site.vendor.on(&account.mark, Answer::json(200, &json!({"results": []})).after(TAKES));
    let client = tenant.mcp();
    let calls = (0..90).map(|_| client.execute(hubspot_read()));
    for envelope in futures::future::join_all(calls).await {
        assert_eq!(envelope["ok"], true, "{envelope}");
    }
    let came: Vec<Instant> = site.vendor.received(&account.mark).iter().map(|request| request.at).collect();
    let under_way =
        |at: &Instant| came.iter().filter(|other| **other <= *at && at.duration_since(**other) < TAKES).count();
    let most = came.iter().map(under_way).max();
    assert_eq!((came.len(), most.is_some_and(|most| most > MOST / 2 && most <= MOST)), (90, true), "{most:?}");

    // Whoever would wait for too long is told that it was us, and that nothing was sent.
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    site.vendor.on(&account.mark, Answer::json(200, &json!({"results": []})).after(Duration::from_secs(4)));
    let calls = (0..70).map(|_| {
        let mut hurried = hubspot_read();
        hurried["deadline_ms"] = json!(2_500);
        client.execute(hurried)
    });
    let told = futures::future::join_all(calls).await;
    let refused: Vec<_> = told.iter().filter(|envelope| envelope["error"]["code"] == "RATE_LIMITED").collect();
    let codes: Vec<_> = told.iter().map(|envelope| &envelope["error"]["code"]).collect();
    assert!(!refused.is_empty() && refused.len() <= 70 - MOST, "{} of {codes:?}", refused.len());
    for envelope in refused {
        let error = &envelope["error"];
        assert_eq!((&error["origin"], &error["outcome"]), (&json!("policy"), &json!("not_sent")), "{envelope}");
        assert!(error["retry_after_ms"].as_u64().is_some(), "{envelope}");
    }
}
