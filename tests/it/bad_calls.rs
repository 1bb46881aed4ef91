//! Arguments that do not fit: a clear error each, and the vendor sees nothing.

use plugboard_core::manifest::{Connector, FlowKind};
use plugboard_tests::bad_arguments::{BadCall, bad_calls};
use plugboard_tests::examples::manifests;
use plugboard_tests::tenant::Tenant;
use serde_json::{Value, json};

use crate::shared::Site;

/// Runs calls that must all be refused before anything is sent.
async fn refused(site: &Site, tenant: &Tenant, marks: &[&str], cases: &[(&str, Value, &str, &str)]) {
    let client = tenant.mcp();
    for (what, call, code, field) in cases {
        let envelope = client.execute(call.clone()).await;
        let error = &envelope["error"];
        assert_eq!(error["code"], *code, "{what}: {envelope}");
        assert_eq!(error["field"], *field, "{what}: {envelope}");
        assert_eq!(error["outcome"], "not_sent", "{what}: {envelope}");
        assert_eq!(error["origin"], "caller", "{what}: {envelope}");
        assert!(envelope.get("execution_id").is_none(), "{what}: a job was made: {envelope}");
    }
    for mark in marks {
        assert_eq!(site.vendor.count(mark), 0, "the vendor saw something");
    }
}

fn statistics(method: &str, path: &str, query: Value) -> Value {
    json!({"service": "wildberries", "module": "statistics", "method": method, "path": path, "query": query})
}

fn deal(body: Value) -> Value {
    json!({"service": "hubspot", "module": "crm", "method": "POST", "path": "/crm/v3/objects/deals", "body": body})
}

pub(crate) async fn what_does_not_fit_the_manifest_is_never_sent(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let wildberries = tenant.connect("wildberries", "WB", &site.vendor).await;
    let hubspot = tenant.connect("hubspot", "HS", &site.vendor).await;
    let telegram = tenant.connect("telegram", "Bot", &site.vendor).await;
    let marks = [wildberries.mark.as_str(), &hubspot.mark, &telegram.mark];
    let orders = "/api/v1/supplier/orders";
    let date = || json!({"dateFrom": "2026-04-15"});
    let with = |name: &str, value: Value| {
        let mut call = statistics("GET", orders, date());
        call[name] = value;
        call
    };
    let cases = [
        ("an unknown service", with("service", json!("wildberry")), "UNKNOWN_SERVICE", "service"),
        ("an unknown module", with("module", json!("statistic")), "UNKNOWN_MODULE", "module"),
        ("no module of several", with("module", Value::Null), "INVALID_ARGUMENT", "module"),
        ("an unknown path", with("path", json!("/api/v1/supplier/order")), "UNKNOWN_OPERATION", "path"),
        ("another verb", with("method", json!("DELETE")), "UNKNOWN_OPERATION", "method"),
        ("no verb at all", with("method", json!("FETCH")), "INVALID_ARGUMENT", "method"),
        ("a verb that tunnels", with("method", json!("CONNECT")), "INVALID_ARGUMENT", "method"),
        ("a missing parameter", statistics("GET", orders, json!({})), "INVALID_ARGUMENT", "query.dateFrom"),
        ("no date", statistics("GET", orders, json!({"dateFrom": "yesterday"})), "INVALID_ARGUMENT", "query.dateFrom"),
        (
            "a number for a date",
            statistics("GET", orders, json!({"dateFrom": 20260415})),
            "INVALID_ARGUMENT",
            "query.dateFrom",
        ),
        (
            "an unknown parameter",
            statistics("GET", orders, json!({"dateFrom": "2026-04-15", "datefrom": "x"})),
            "INVALID_ARGUMENT",
            "query.datefrom",
        ),
        ("a body for a GET", with("body", json!({"a": 1})), "INVALID_ARGUMENT", "body"),
        ("a query that is text", with("query", json!("dateFrom=2026-04-15")), "INVALID_ARGUMENT", "query"),
        ("an argument nobody knows", with("querry", json!({})), "INVALID_ARGUMENT", "querry"),
        ("a service that is a number", with("service", json!(5)), "INVALID_ARGUMENT", "service"),
        ("no time", with("deadline_ms", json!(0)), "INVALID_ARGUMENT", "deadline_ms"),
        ("too much time", with("deadline_ms", json!(900_001)), "INVALID_ARGUMENT", "deadline_ms"),
        ("too much patience", with("wait_ms", json!(60_000)), "INVALID_ARGUMENT", "wait_ms"),
        ("no body where one must be", deal(Value::Null), "INVALID_ARGUMENT", "body"),
        ("a field missing from the body", deal(json!({})), "INVALID_ARGUMENT", "body.properties"),
        ("a wrong type in the body", deal(json!({"properties": []})), "INVALID_ARGUMENT", "body.properties"),
        (
            "a wrong type deep in the body",
            deal(json!({"properties": {}, "associations": [{"to": {"id": 1}, "types": []}]})),
            "INVALID_ARGUMENT",
            "body.associations.0.to.id",
        ),
        (
            "a path for RPC",
            json!({"service": "telegram", "module": "bot", "method": "getMe", "path": "/x"}),
            "INVALID_ARGUMENT",
            "path",
        ),
        (
            "a query for RPC",
            json!({"service": "telegram", "module": "bot", "method": "getMe", "query": {"a": 1}}),
            "INVALID_ARGUMENT",
            "query",
        ),
        (
            "an RPC method that climbs",
            json!({"service": "telegram", "module": "bot", "method": "../getMe"}),
            "INVALID_ARGUMENT",
            "method",
        ),
    ];
    refused(site, &tenant, &marks, &cases).await;

    // The nearest right ones are in the fix, fit to be copied.
    let client = tenant.mcp();
    let near = [(0, "wildberries"), (1, "statistics"), (3, "GET /api/v1/supplier/orders"), (4, "GET")];
    for (case, option) in near {
        let envelope = client.execute(cases[case].1.clone()).await;
        let first = envelope["error"]["fix"]["options"][0].as_str().unwrap_or_default();
        assert!(first.starts_with(option), "{}: {envelope}", cases[case].0);
    }
    // All problems at once.
    let many = statistics("GET", orders, json!({"flag": "maybe", "page": 1}));
    let envelope = client.execute(many).await;
    let problems = envelope["error"]["detail"]["problems"].as_array().cloned().unwrap_or_default();
    assert!(problems.len() >= 3, "{envelope}");
}

/// A few of the ways to spoil an example, for every connector. All of them, some tens of thousands, are tried in
/// memory: see `bad_arguments.rs` of the harness.
pub(crate) async fn what_any_manifest_excludes_is_never_sent(site: &Site) {
    const EACH: usize = 5;
    let tenant = Tenant::new(&site.stack).await;
    let client = tenant.mcp();
    let (mut marks, mut count) = (Vec::new(), 0);
    for manifest in manifests() {
        let connector = Connector::from_manifest(manifest).unwrap();
        let manifest = connector.manifest();
        // Whoever signs in at the vendor needs a browser; the check comes first, whether there is an account or not.
        if let Some(flow) = manifest.flow(FlowKind::Credentials)
            && manifest.transport.token.is_none()
        {
            let account = tenant.connect_by(manifest, flow, "Checked", &site.vendor).await;
            if !account.only_signs {
                marks.push(account.mark);
            }
        }
        let cases: Vec<BadCall> =
            manifest.operations.iter().flat_map(|operation| bad_calls(&connector, operation)).collect();
        for bad in cases.iter().step_by((cases.len() / EACH).max(1)) {
            let envelope = client.execute(bad.call.clone()).await;
            let error = &envelope["error"];
            let problems = error["detail"]["problems"].as_array().into_iter().flatten();
            let mut named = problems.map(|problem| &problem["field"]).chain([&error["field"]]);
            assert!(named.any(|field| *field == bad.field.as_str()), "{}: {}: {envelope}", bad.what, bad.call);
            assert_eq!(error["outcome"], "not_sent", "{}: {envelope}", bad.what);
            assert_eq!(error["origin"], "caller", "{}: {envelope}", bad.what);
            assert!(envelope.get("execution_id").is_none(), "{}: a job was made: {envelope}", bad.what);
            count += 1;
        }
    }
    assert!(count >= 400 && marks.len() >= 50, "{count} calls, {} accounts", marks.len());
    for mark in marks {
        assert_eq!(site.vendor.count(&mark), 0, "the vendor saw something");
    }
}

pub(crate) async fn a_path_cannot_climb_out(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let github = tenant.connect("github", "GH", &site.vendor).await;
    let onec = tenant.connect("onec_odata", "1C", &site.vendor).await;
    let paths = [
        "https://evil.example/steal",
        "//evil.example/steal",
        "http:/evil.example",
        "user",
        "",
        "/repos/../user",
        "/repos/%2e%2e/user",
        "/repos/%252e%252e/user",
        "/repos/.%2e/user",
        "/repos/./user",
        "/repos/..;/user",
        "/repos/a%2Fb/c",
        "/repos/a%2fb%2f..%2f..%2fuser/c",
        "/repos/a%5Cb/c",
        "/repos/a\\b/c",
        "/repos//c",
        "/user/",
        "/user?access=1",
        "/user#fragment",
        "/user%3Faccess=1",
        "/user%0d%0aX-Evil:1",
        "/user\r\nX-Evil: 1",
        "/user\u{0}",
        "/user%00",
        "/user%zz",
        "/user%ff%fe",
        "/@evil.example/user/..",
    ];
    let mut cases = Vec::new();
    for path in paths {
        let call = json!({"service": "github", "module": "rest", "method": "GET", "path": path});
        cases.push((path, call));
        // An open module takes any path, but not any of these.
        let call = json!({"service": "onec_odata", "module": "odata", "method": "GET", "path": path});
        cases.push((path, call));
    }
    let client = tenant.mcp();
    for (path, call) in cases {
        let envelope = client.execute(call.clone()).await;
        let error = &envelope["error"];
        let unknown_is_fine = error["code"] == "UNKNOWN_OPERATION" && call["service"] == "github";
        assert!(error["code"] == "INVALID_ARGUMENT" || unknown_is_fine, "{path:?}: {envelope}");
        assert_eq!(error["field"], "path", "{path:?}: {envelope}");
        assert_eq!(error["outcome"], "not_sent", "{path:?}: {envelope}");
    }
    assert_eq!(site.vendor.count(&github.mark), 0);
    assert_eq!(site.vendor.count(&onec.mark), 0);
}

pub(crate) async fn headers_cannot_be_smuggled(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let hubspot = tenant.connect("hubspot", "HS", &site.vendor).await;
    let client = tenant.mcp();
    let headers = [
        json!({"Authorization": "Bearer mine"}),
        json!({"authorization": "Bearer mine"}),
        json!({"X-Note": "a\r\nX-Evil: 1"}),
        json!({"X-Note\r\nX-Evil": "1"}),
        json!({"X-Forwarded-Host": "evil.example"}),
        json!({"Host": "evil.example"}),
        json!({"Content-Length": "0"}),
        json!({"Transfer-Encoding": "chunked"}),
        json!({"Cookie": "a=b"}),
        json!({"X-Unlisted": "1"}),
        json!({"": "1"}),
        json!({"X-Note": {"a": 1}}),
    ];
    for headers in headers {
        let mut call = plugboard_tests::tenant::hubspot_read();
        call["headers"] = headers.clone();
        let envelope = client.execute(call).await;
        assert_eq!(envelope["error"]["code"], "INVALID_ARGUMENT", "{headers}: {envelope}");
        let field = envelope["error"]["field"].as_str().unwrap_or_default();
        assert!(field.starts_with("headers"), "{headers}: {envelope}");
    }
    assert_eq!(site.vendor.count(&hubspot.mark), 0);

    // Line breaks in a value that travels are data, never structure.
    let mut call = plugboard_tests::tenant::hubspot_read();
    call["query"] = json!({"after": "a\r\nX-Evil: 1 &limit=2#"});
    let envelope = client.execute(call).await;
    assert_eq!(envelope["ok"], true, "{envelope}");
    let seen = site.vendor.only(&hubspot.mark);
    assert_eq!(seen.header("x-evil"), "");
    assert_eq!(seen.query, [("after".to_owned(), "a\r\nX-Evil: 1 &limit=2#".to_owned())]);
}

pub(crate) async fn what_is_not_served_yet_is_refused(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let hubspot = tenant.connect("hubspot", "HS", &site.vendor).await;
    let not_yet = [
        ("dry_run", json!(true)),
        ("select", json!("results[0]")),
        ("paginate", json!({"pages": 2})),
        ("calls", json!([])),
    ];
    for (name, value) in not_yet {
        let mut call = plugboard_tests::tenant::hubspot_write("x");
        call[name] = value;
        let envelope = tenant.mcp().execute(call).await;
        assert_eq!(envelope["error"]["code"], "INVALID_ARGUMENT", "{envelope}");
        assert_eq!(envelope["error"]["field"], name, "{envelope}");
        assert!(envelope["error"]["message"].as_str().unwrap().contains("not served yet"), "{envelope}");
    }
    assert_eq!(site.vendor.count(&hubspot.mark), 0);
}
