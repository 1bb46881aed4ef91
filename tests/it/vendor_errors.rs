//! What a caller is told when the vendor refuses, fails, or says nothing.

use std::time::{Duration, Instant};

use plugboard_tests::stack::{Shape, Stack};
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::Answer;
use serde_json::{Value, json};

use crate::shared::Site;

/// `code`, `outcome`, `retryable`, `safe_to_retry` of an envelope.
fn verdict(envelope: &Value) -> (String, String, bool, bool) {
    let error = &envelope["error"];
    let text = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{envelope}")).to_owned();
    (text("code"), text("outcome"), error["retryable"] == true, error["safe_to_retry"] == true)
}

fn expect(envelope: &Value, code: &str, outcome: &str, retryable: bool, safe: bool) {
    let expected = (code.to_owned(), outcome.to_owned(), retryable, safe);
    assert_eq!(verdict(envelope), expected, "{envelope}");
}

fn idempotent() -> Value {
    json!({
        "service": "hubspot", "module": "crm", "method": "PATCH", "path": "/crm/v3/objects/deals/1204",
        "body": {"properties": {"dealstage": "closedwon"}}
    })
}

fn keyed() -> Value {
    json!({"service": "stripe", "module": "api", "method": "POST", "path": "/v1/customers", "body": {"name": "Jane"}})
}

pub(crate) async fn refusals_keep_their_words(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    let said =
        json!({"status": "error", "message": "Property \"amountt\" does not exist", "category": "VALIDATION_ERROR"});
    site.vendor.on(&account.mark, Answer::json(400, &said));
    for call in [hubspot_read(), hubspot_write("a")] {
        let envelope = client.execute(call).await;
        expect(&envelope, "UPSTREAM_REJECTED", "rejected", false, true);
        let error = &envelope["error"];
        assert_eq!((&envelope["status"], &error["upstream"]["status"]), (&json!(400), &json!(400)));
        assert_eq!(error["upstream"]["code"], "VALIDATION_ERROR");
        assert!(error["upstream"]["body"].to_string().contains("amountt"), "{envelope}");
        assert!(error["message"].as_str().unwrap().contains("Property \"amountt\" does not exist"), "{envelope}");
        assert_eq!(error["origin"], "upstream");
        assert_eq!(envelope["attempts"], 1);
    }
    site.vendor.on(&account.mark, Answer::json(404, &json!({"message": "resource not found"})));
    expect(&client.execute(hubspot_read()).await, "UPSTREAM_REJECTED", "rejected", false, true);
    site.vendor.on(&account.mark, Answer::json(401, &json!({"message": "the token is expired"})));
    let envelope = client.execute(hubspot_read()).await;
    expect(&envelope, "ACCOUNT_EXPIRED", "rejected", false, true);
    assert_eq!(envelope["error"]["fix"]["kind"], "reconnect");
    assert_eq!(envelope["error"]["origin"], "credential");

    // A page instead of JSON, and a redirect that nobody follows.
    site.vendor.on(&account.mark, Answer::bytes(403, "text/html", "<html><body>Forbidden</body></html>"));
    expect(&client.execute(hubspot_read()).await, "UPSTREAM_REJECTED", "rejected", false, true);
    let before = site.vendor.count(&account.mark);
    let away = Answer::json(302, &json!({})).header("Location", "https://evil.example/collect");
    site.vendor.on(&account.mark, away);
    let envelope = client.execute(hubspot_read()).await;
    assert_eq!(envelope["error"]["code"], "UPSTREAM_REJECTED", "{envelope}");
    assert_eq!(site.vendor.count(&account.mark), before + 1);
}

pub(crate) async fn failures_say_what_may_have_happened(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let hubspot = tenant.connect("hubspot", "HS", &site.vendor).await;
    let stripe = tenant.connect("stripe", "ST", &site.vendor).await;
    let client = tenant.mcp();
    for status in [500, 502, 503] {
        for mark in [&hubspot.mark, &stripe.mark] {
            site.vendor.on(mark, Answer::json(status, &json!({"message": "oops"})));
        }
        expect(&client.execute(hubspot_read()).await, "UPSTREAM_FAILED", "rejected", true, true);
        expect(&client.execute(idempotent()).await, "UPSTREAM_FAILED", "unknown", true, true);
        let name = unique();
        expect(&client.execute(hubspot_write(&name)).await, "UPSTREAM_FAILED", "unknown", true, false);
        assert_eq!(site.vendor.count(&name), 1, "a plain POST is made once");
        expect(&client.execute(keyed()).await, "UPSTREAM_FAILED", "unknown", true, false);
    }
}

pub(crate) async fn a_rate_limit_says_when_to_come_back(site: &Site) {
    for mut call in [hubspot_read(), hubspot_write("a")] {
        // Another organization each time: the account that was refused is left alone for a while.
        let tenant = Tenant::new(&site.stack).await;
        let hubspot = tenant.connect("hubspot", "HS", &site.vendor).await;
        site.vendor.on(&hubspot.mark, Answer::json(429, &json!({"message": "slow down"})).header("Retry-After", "7"));
        call["deadline_ms"] = json!(5_000);
        let envelope = tenant.mcp().execute(call).await;
        expect(&envelope, "UPSTREAM_RATE_LIMITED", "rejected", true, true);
        assert_eq!(envelope["error"]["retry_after_ms"], 7_000, "{envelope}");
        assert_eq!(envelope["error"]["fix"]["kind"], "wait");
    }
    let tenant = Tenant::new(&site.stack).await;
    let telegram = tenant.connect("telegram", "TG", &site.vendor).await;
    let client = tenant.mcp();
    let said = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 11", "parameters": {"retry_after": 11}});
    site.vendor.on(&telegram.mark, Answer::json(429, &said));
    let envelope = client.execute(json!({"service": "telegram", "module": "bot", "method": "getMe"})).await;
    expect(&envelope, "UPSTREAM_RATE_LIMITED", "rejected", true, true);
    assert_eq!(envelope["error"]["retry_after_ms"], 11_000, "{envelope}");
}

pub(crate) async fn errors_inside_of_a_200_are_errors(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let client = tenant.mcp();
    let send =
        json!({"service": "telegram", "module": "bot", "method": "sendMessage", "body": {"chat_id": 1, "text": "Hi"}});
    let cases = [
        (
            "telegram",
            send,
            json!({"ok": false, "error_code": 400, "description": "Bad Request: chat not found"}),
            "UPSTREAM_REJECTED",
            "chat not found",
        ),
        (
            "bitrix24",
            json!({"service": "bitrix24", "module": "rest", "method": "profile"}),
            json!({"error": "ACCESS_DENIED", "error_description": "Access denied"}),
            "SCOPE_MISSING_AT_VENDOR",
            "Access denied",
        ),
        (
            "wildberries",
            json!({"service": "wildberries", "module": "statistics", "method": "GET", "path": "/api/v1/supplier/orders", "query": {"dateFrom": "2026-04-15"}}),
            json!({"error": true, "errorText": "broken"}),
            "UPSTREAM_REJECTED",
            "",
        ),
        (
            "cdek",
            json!({"service": "cdek", "module": "api", "method": "GET", "path": "/location/cities"}),
            json!({"errors": [{"code": "v2_bad", "message": "no such city"}]}),
            "UPSTREAM_REJECTED",
            "no such city",
        ),
    ];
    for (service, call, said, code, words) in cases {
        let account = tenant.connect(service, "A", &site.vendor).await;
        site.vendor.on(&account.mark, Answer::json(200, &said));
        let envelope = client.execute(call).await;
        expect(&envelope, code, "rejected", false, true);
        assert_eq!(envelope["status"], 200, "{envelope}");
        assert!(envelope["error"]["message"].as_str().unwrap().contains(words), "{envelope}");
        assert_eq!(site.vendor.count(&account.mark), 1, "{service}");
    }
}

pub(crate) async fn a_call_ends_at_its_deadline(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    site.vendor.on(&account.mark, Answer::json(200, &json!({})).after(Duration::from_secs(20)));
    let name = unique();
    let (read, write) = (hubspot_read(), hubspot_write(&name));
    for (mut call, code, safe) in [(read, "DEADLINE_EXCEEDED", true), (write, "OUTCOME_UNKNOWN", false)] {
        call["deadline_ms"] = json!(800);
        let began = Instant::now();
        let envelope = client.execute(call).await;
        let took = began.elapsed();
        assert_eq!(envelope["error"]["code"], code, "{envelope}");
        assert_eq!(envelope["error"]["outcome"], "unknown", "{envelope}");
        assert_eq!(envelope["error"]["safe_to_retry"], safe, "{envelope}");
        assert!(took >= Duration::from_millis(750) && took < Duration::from_secs(5), "{took:?}");
    }
    assert_eq!(site.vendor.count(&name), 1);
}

pub(crate) async fn a_cut_connection_repeats_a_read_and_never_a_write(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let hubspot = tenant.connect("hubspot", "HS", &site.vendor).await;
    let stripe = tenant.connect("stripe", "ST", &site.vendor).await;
    let client = tenant.mcp();
    let fine = || Answer::json(200, &json!({"id": "1"}));
    let mut seen = 0;
    // What may be repeated is repeated once.
    for call in [hubspot_read(), idempotent()] {
        site.vendor.in_turn(&hubspot.mark, vec![Answer::cut(), fine()]);
        let envelope = client.execute(call).await;
        assert_eq!((&envelope["ok"], &envelope["attempts"]), (&json!(true), &json!(2)), "{envelope}");
        seen += 2;
        assert_eq!(site.vendor.count(&hubspot.mark), seen);
    }
    // A keyed call carries the same key, so that the vendor can tell.
    site.vendor.in_turn(&stripe.mark, vec![Answer::cut(), fine()]);
    let envelope = client.execute(keyed()).await;
    assert_eq!((&envelope["ok"], &envelope["attempts"]), (&json!(true), &json!(2)), "{envelope}");
    let received = site.vendor.received(&stripe.mark);
    let keys: Vec<&str> = received.iter().map(|request| request.header("idempotency-key")).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].len() >= 32, "{keys:?}");
    client.execute(keyed()).await;
    let again = site.vendor.received(&stripe.mark);
    assert_ne!(again[2].header("idempotency-key"), keys[0], "another call has another key");

    // A plain POST is never repeated, and what is not known is said.
    site.vendor.in_turn(&hubspot.mark, vec![Answer::cut(), fine()]);
    let name = unique();
    let envelope = client.execute(hubspot_write(&name)).await;
    expect(&envelope, "OUTCOME_UNKNOWN", "unknown", false, false);
    assert_eq!((&envelope["state"], &envelope["attempts"]), (&json!("unknown"), &json!(1)));
    assert_eq!(envelope["error"]["origin"], "network");
    assert_eq!(site.vendor.count(&name), 1);
    // Its end is kept as it is.
    let look = json!({"service": "hubspot", "execution_id": envelope["execution_id"]});
    assert_eq!(client.execute(look).await["error"]["code"], "OUTCOME_UNKNOWN");
    assert_eq!(site.vendor.count(&name), 1);

    // A vendor that always hangs up.
    site.vendor.on(&hubspot.mark, Answer::cut());
    expect(&client.execute(hubspot_read()).await, "UPSTREAM_UNREACHABLE", "unknown", true, true);
    expect(&client.execute(idempotent()).await, "OUTCOME_UNKNOWN", "unknown", true, true);
}

pub(crate) async fn an_answer_that_breaks_off_is_not_a_success(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    site.vendor.on(&account.mark, Answer::halfway());
    let envelope = client.execute(hubspot_read()).await;
    assert_eq!(envelope["ok"], false, "{envelope}");
    assert_eq!(envelope["error"]["safe_to_retry"], true, "{envelope}");
    let name = unique();
    let envelope = client.execute(hubspot_write(&name)).await;
    assert_eq!(envelope["ok"], false, "{envelope}");
    assert_eq!(envelope["error"]["safe_to_retry"], false, "{envelope}");
    assert_eq!(site.vendor.count(&name), 1);
}

/// Needs an upstream where nobody listens, and so a stack of its own.
pub(crate) async fn a_vendor_that_is_not_there_was_sent_nothing(shape: Shape) {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stack = Stack::options(shape).upstream(format!("http://{nobody}")).egress_allow("127.0.0.0/8").start();
    let tenant = Tenant::new(&stack).await;
    tenant.rest().connect("hubspot", "HS", &json!({"access_token": unique()})).await;
    let client = tenant.mcp();
    for call in [hubspot_read(), hubspot_write("a"), idempotent()] {
        let envelope = client.execute(call).await;
        expect(&envelope, "UPSTREAM_UNREACHABLE", "not_sent", true, true);
        assert_eq!(envelope["attempts"], 0, "{envelope}");
    }

    // Without an allowance nobody on a private address is reached at all.
    let closed = Stack::options(shape).upstream(format!("http://{nobody}")).start();
    let tenant = Tenant::new(&closed).await;
    tenant.rest().connect("hubspot", "HS", &json!({"access_token": unique()})).await;
    let envelope = tenant.mcp().execute(hubspot_write("a")).await;
    expect(&envelope, "EGRESS_BLOCKED", "not_sent", false, true);
}
