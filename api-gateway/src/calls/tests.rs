use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plugboard_core::clock::{FakeClock, Millis};
use plugboard_core::fleet::{CallEntry, CallFilter, CallPage, Content, Shown};
use plugboard_core::identity::{Principal, Scopes};
use plugboard_core::ids::{InstanceId, KeyId, OrganizationId};
use plugboard_core::job::{CallState, Job, Payload};
use plugboard_core::manifest::{Connector, Effect};
use plugboard_core::testing::{JobBuilder, manifest};
use serde_json::{Value, json};

use super::limits::{
    GOOD_A_SECOND, MOST_GOOD, MOST_NOTABLE, REQUEST_BYTES, SHARD_BYTES, SHARD_ORGANIZATIONS, SHARDS, SLOW,
};
use super::{RecentCalls, entry, masked};

const QUICK: Duration = Duration::from_millis(5);
const START: Millis = Millis(1_795_382_400_000);

fn calls() -> (RecentCalls, FakeClock) {
    let clock = FakeClock::at(START.0);
    (RecentCalls::new(InstanceId::generate(), Arc::new(clock.clone())), clock)
}

fn principal(organization: &OrganizationId) -> Principal {
    Principal {
        key_id: KeyId::generate(),
        organization: Some(organization.clone()),
        scopes: Scopes::all(),
        subject: None,
        agent: None,
        expires_at: Millis(i64::MAX),
    }
}

fn job(organization: &OrganizationId, at: Millis) -> Arc<Job> {
    let job = JobBuilder::new(Effect::Read).build();
    Arc::new(Job { organization: organization.clone(), accepted_at: at, ..job })
}

fn entry_of(job: &Arc<Job>, code: &str, took: Duration) -> CallEntry {
    let begun = super::Begun { job: job.clone(), agent: None };
    let state = if code == "OK" { CallState::Succeeded } else { CallState::Failed };
    let content = Content { message: None, request: Shown::Masked("x".repeat(REQUEST_BYTES).into()) };
    CallEntry {
        state,
        code: code.to_owned(),
        total_us: Some(took.as_micros() as u64),
        content: Some(Arc::new(content)),
        ..entry::running(&begun, &InstanceId::generate())
    }
}

/// Makes a call, and keeps it as the gateway does.
fn made(calls: &RecentCalls, clock: &FakeClock, organization: &OrganizationId, code: &str, took: Duration) -> Arc<Job> {
    use plugboard_core::clock::Clock;
    let job = job(organization, clock.now());
    let under_way = calls.begin(&principal(organization), job.clone());
    if under_way.end(code == "OK", took).is_some() {
        calls.keep(entry_of(&job, code, took));
    }
    job
}

fn everything(calls: &RecentCalls) -> Vec<CallEntry> {
    calls.find(&CallFilter { limit: 10_000, ..CallFilter::default() })
}

#[test]
fn a_call_is_under_way_until_it_ends_or_its_caller_leaves() {
    let (calls, clock) = calls();
    let one = OrganizationId::generate();
    let job = job(&one, START);
    let under_way = calls.begin(&principal(&one), job.clone());
    let found = calls.get(Some(&one), &job.execution_id).unwrap();
    assert_eq!((found.state, found.code.as_str(), found.total_us), (CallState::Running, "RUNNING", None));
    assert_eq!(calls.rates(None).running, 1);
    drop(under_way);
    assert_eq!((calls.rates(None).running, everything(&calls).len()), (0, 0));
    made(&calls, &clock, &one, "OK", QUICK);
    assert_eq!((calls.rates(Some(&one)).running, everything(&calls).len()), (0, 1));
}

#[test]
fn failures_and_slow_ones_outlive_good_ones() {
    let (calls, clock) = calls();
    let one = OrganizationId::generate();
    let failed = made(&calls, &clock, &one, "UPSTREAM_FAILED", QUICK);
    let slow = made(&calls, &clock, &one, "OK", SLOW);
    for _ in 0..3 * MOST_GOOD {
        clock.advance(Duration::from_millis(200));
        made(&calls, &clock, &one, "OK", QUICK);
    }
    let all = everything(&calls);
    assert_eq!(all.len(), MOST_GOOD + 2);
    for job in [&failed, &slow] {
        assert!(calls.get(Some(&one), &job.execution_id).is_some());
    }
    for _ in 0..2 * MOST_NOTABLE {
        clock.advance(Duration::from_millis(200));
        made(&calls, &clock, &one, "UPSTREAM_FAILED", QUICK);
    }
    assert_eq!(everything(&calls).len(), MOST_GOOD + MOST_NOTABLE);
}

#[test]
fn of_many_good_ones_in_a_second_some_are_kept_and_all_are_counted() {
    let (calls, clock) = calls();
    let one = OrganizationId::generate();
    for _ in 0..1_000 {
        made(&calls, &clock, &one, "OK", QUICK);
    }
    made(&calls, &clock, &one, "INTERNAL", QUICK);
    assert_eq!(everything(&calls).len(), GOOD_A_SECOND as usize + 1);
    let last = calls.rates(None).series(START.0 / 60_000, 1);
    assert_eq!((last[0].calls, last[0].failed), (1_001, 1));
}

#[test]
fn memory_is_bounded_however_many_call() {
    let (calls, clock) = calls();
    for _ in 0..SHARDS * SHARD_ORGANIZATIONS * 2 {
        clock.advance(Duration::from_millis(1));
        made(&calls, &clock, &OrganizationId::generate(), "INTERNAL", QUICK);
    }
    assert!(calls.bytes() <= SHARDS * SHARD_BYTES, "{}", calls.bytes());
    assert!(everything(&calls).len() <= SHARDS * SHARD_ORGANIZATIONS);
    assert!(calls.rates(None).busiest().len() <= 50);
}

#[test]
fn memory_is_bounded_however_much_is_kept() {
    let (calls, clock) = calls();
    let many: Vec<_> = (0..100).map(|_| OrganizationId::generate()).collect();
    for _ in 0..MOST_NOTABLE {
        clock.advance(Duration::from_secs(1));
        for one in &many {
            made(&calls, &clock, one, "INTERNAL", QUICK);
        }
    }
    let kept = everything(&calls).len();
    assert!(calls.bytes() <= SHARDS * SHARD_BYTES && kept < many.len() * MOST_NOTABLE, "{} of {kept}", calls.bytes());
    // Whoever has most gives way, so everybody keeps some.
    let of = |one| calls.find(&CallFilter { organization: Some(one), limit: 1, ..CallFilter::default() }).len();
    assert!(many.iter().all(|one| of(one.clone()) >= 1));
}

#[test]
fn an_organization_sees_its_own_and_the_operator_no_content() {
    let (calls, clock) = calls();
    let (ours, theirs) = (OrganizationId::generate(), OrganizationId::generate());
    let job = made(&calls, &clock, &theirs, "UPSTREAM_REJECTED", QUICK);
    assert!(calls.get(Some(&ours), &job.execution_id).is_none());
    assert!(calls.get(Some(&theirs), &job.execution_id).unwrap().content.is_some());
    assert!(calls.get(None, &job.execution_id).unwrap().content.is_none());
    let of = |organization: Option<&OrganizationId>| {
        calls.find(&CallFilter { organization: organization.cloned(), limit: 9, ..CallFilter::default() })
    };
    assert_eq!((of(Some(&ours)).len(), of(Some(&theirs)).len(), of(None).len()), (0, 1, 1));
    assert!(of(None)[0].content.is_none());
    assert!(calls.rates(Some(&ours)).busiest().is_empty());
}

#[test]
fn what_is_looked_for_is_found_page_by_page() {
    let (calls, clock) = calls();
    let one = OrganizationId::generate();
    for number in 0..30 {
        clock.advance(Duration::from_secs(1));
        made(&calls, &clock, &one, if number % 3 == 0 { "RATE_LIMITED" } else { "OK" }, QUICK);
    }
    let wanted = |filter: CallFilter| calls.find(&CallFilter { limit: 100, ..filter }).len();
    assert_eq!(wanted(CallFilter { code: Some("rate_limited".into()), ..CallFilter::default() }), 10);
    assert_eq!(wanted(CallFilter { state: Some(CallState::Succeeded), ..CallFilter::default() }), 20);
    assert_eq!(wanted(CallFilter { service: Some("nothing".into()), ..CallFilter::default() }), 0);
    assert_eq!(wanted(CallFilter { text: Some(one.as_str().to_uppercase()), ..CallFilter::default() }), 30);
    let since = Some(START.plus(Duration::from_secs(26)));
    assert_eq!(wanted(CallFilter { since, ..CallFilter::default() }), 5);
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let filter = CallFilter { after, limit: 7, ..CallFilter::default() };
        let page = CallPage::of(calls.find(&filter), 7);
        seen.extend(page.calls.iter().map(CallEntry::position));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 30);
    assert!(seen.is_sorted_by(|one, next| one > next), "the newest first, and each once");
}

fn shop() -> Connector {
    let shop = manifest(
        "key: shop\nname: Shop\ntagline: T\ndescription: D\ncategory: data\ndocs: https://shop.example/docs\nversion: '1'\n\
         auth: {flows: [{kind: credentials, label: Token, fields: {token: {label: Token}}}]}\n\
         transport: {headers: {Authorization: 'Bearer {account.token}'}}\n\
         modules: {api: {summary: All, base_url: 'https://shop.example'}}\n\
         verified: {how: documentation, on: '2026-11-22'}\n\
         operations: [{id: pay, module: api, method: POST, path: '/orders/{order}/payments', summary: Pays., effect: once, \
         path_params: {order: {type: string}}, body: {type: object}, response_example: {}}]\n",
    );
    Connector::from_manifest(shop).unwrap()
}

fn shown(body: &Value, query: &[(&str, &str)]) -> (Value, usize) {
    let job = JobBuilder::new(Effect::Once).build();
    let text = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
    let job = Job {
        module: "api".into(),
        operation: Some("pay".into()),
        method: "POST".into(),
        path: "/orders/1207/payments".into(),
        query: query.iter().map(text).collect(),
        headers: Vec::new(),
        body: Some(Payload::Inline(Bytes::from(body.to_string()))),
        ..job
    };
    let text = masked::request(&job, &shop());
    (serde_json::from_str(&text).unwrap(), text.len())
}

#[test]
fn secrets_are_masked_by_name_and_by_looks() {
    let body = json!({
        "amount": 1500, "note": "for Anna", "apiToken": "short", "card": {"number": "4111"}, "customer_email": "a@b.example",
        "nested": [{"webhook_secret": 7, "plain": "yes"}], "free": "use sk_live_51HxYz0123456789abcdefAB now",
        "company": "spinning", "account": 40_702_810_900_000_000_001_u128 as f64,
    });
    let (request, _) = shown(&body, &[("page", "2"), ("access_token", "t"), ("pinned", "1")]);
    assert_eq!(request["path"], "/orders/{order}/payments");
    assert_eq!(request["path_params"], json!({"order": "1207"}));
    assert_eq!(request["query"], json!({"page": "2", "access_token": "***", "pinned": "1"}));
    let expected = json!({
        "amount": 1500, "note": "for Anna", "apiToken": "***", "card": "***", "customer_email": "***",
        "nested": [{"webhook_secret": "***", "plain": "yes"}], "free": "use *** now", "company": "spinning", "account": "***",
    });
    assert_eq!(request["body"], expected);
}

#[test]
fn a_request_is_shown_in_little_room() {
    let long = "word ".repeat(1_000);
    let wide: Value =
        (0..500).map(|number| (format!("name{number}"), json!(long))).collect::<serde_json::Map<_, _>>().into();
    let deep = (0..50).fold(json!(1), |inner, _| json!({"in": inner}));
    let (request, bytes) = shown(&json!({"text": long, "deep": deep}), &[]);
    assert!(bytes <= REQUEST_BYTES && request["body"]["text"].as_str().unwrap().ends_with('…'), "{request}");
    for body in [wide, json!("x".repeat(20_000))] {
        let (request, bytes) = shown(&body, &[("q", &long)]);
        assert!(bytes <= REQUEST_BYTES && request["body"].as_str().unwrap().starts_with('…'), "{request}");
    }
}
