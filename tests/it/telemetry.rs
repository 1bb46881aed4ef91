//! What whoever operates it sees: metrics, traces, lines of the log, readiness.

use std::collections::HashSet;
use std::net::TcpListener;
use std::time::Duration;

use plugboard_core::telemetry::metrics::Service;
use plugboard_core::telemetry::metrics::catalogue::{Kind, METRICS, Metric};
use plugboard_tests::collector::{Collector, Span};
use plugboard_tests::leaks::found_in;
use plugboard_tests::rest_client::{Reply, http};
use plugboard_tests::stack::{Options, Shape, Stack};
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::{Answer, Vendor};
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// A stack whose listeners for its operator are known. In one process there is one.
struct Watched {
    stack: Stack,
    health: String,
}

fn watched(options: Options) -> Watched {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stack = options.environment("PLUGBOARD_MODE__HEALTH_LISTEN", address.to_string()).start();
    Watched { stack, health: format!("http://{address}") }
}

impl Watched {
    /// Address of each service, and which parts of the product it is.
    fn services(&self) -> Vec<(String, Vec<Service>)> {
        match self.stack.shape() {
            Shape::Embedded => vec![(self.health.clone(), Service::ALL.to_vec())],
            Shape::Distributed => {
                let of = |role, service| {
                    self.stack.health_urls(role).into_iter().map(move |url| (url, vec![service])).collect::<Vec<_>>()
                };
                [
                    of("gateway", Service::Gateway),
                    of("executor", Service::Executor),
                    of("auth", Service::Auth),
                    of("catalog", Service::Catalog),
                ]
                .concat()
            }
        }
    }
}

async fn get(url: &str) -> Reply {
    Reply::of(http().get(url)).await
}

/// The lines that this metric must have before anything has happened.
fn expected(metric: &Metric) -> Vec<String> {
    let name = match metric.kind {
        Kind::Histogram(_) => format!("{}_count", metric.name),
        Kind::Counter | Kind::Gauge => metric.name.to_owned(),
    };
    match metric.labels {
        [] => vec![format!("{name} ")],
        [label] => label.values.iter().map(|value| format!("{name}{{{}=\"{value}\"}} ", label.name)).collect(),
        _ => Vec::new(),
    }
}

pub(crate) async fn metrics_tell_of_calls_and_of_no_tenant(shape: Shape) {
    let vendor = Vendor::start();
    let site = watched(Stack::options(shape).vendor(&vendor).executors(1));
    let tenant = Tenant::new(&site.stack).await;
    let label = unique();
    let account = tenant.connect("hubspot", &label, &vendor).await;
    let client = tenant.mcp();
    let path = unique();
    assert_eq!(client.execute(hubspot_read()).await["ok"], true);
    assert_eq!(client.execute(hubspot_write("one")).await["ok"], true);
    vendor.on(&account.mark, Answer::json(400, &json!({"message": "no"})));
    // Whose caller waits for so short a time goes by the queue.
    let mut two = hubspot_write("two");
    two["wait_ms"] = json!(2_500);
    assert_eq!(client.execute(two).await["error"]["code"], "UPSTREAM_REJECTED");
    let wrong = json!({"service": "hubspot", "module": "crm", "method": "GET", "path": format!("/{path}")});
    assert_eq!(client.execute(wrong).await["ok"], false);
    let nothing = json!({"service": path, "method": "GET", "path": "/x"});
    assert_eq!(client.execute(nothing).await["error"]["code"], "UNKNOWN_SERVICE");
    assert_eq!(site.stack.mcp("").request("tools/list", json!({})).await.status, 401);

    let mut all = String::new();
    for (url, services) in site.services() {
        let reply = get(&format!("{url}/metrics")).await;
        assert_eq!(reply.status, 200);
        assert!(reply.header("content-type").starts_with("text/plain"), "{}", reply.header("content-type"));
        for metric in METRICS.iter().filter(|metric| metric.services.iter().any(|one| services.contains(one))) {
            for line in expected(metric) {
                assert!(reply.text.lines().any(|one| one.starts_with(&line)), "{url} has no {line}: {}", reply.text);
            }
        }
        for name in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "] {
            assert!(reply.text.lines().any(|line| line.starts_with(name)), "{url} has no {name}");
        }
        assert!(reply.text.contains("plugboard_build_info{"), "{url}");
        all.push_str(&reply.text);
    }
    let value = |start: &str| -> f64 {
        let values = all.lines().filter(|line| line.starts_with(start));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let called = |code: &str, origin: &str| {
        let lines = all.lines().filter(|line| line.starts_with("plugboard_calls_total{"));
        let wanted = [format!("code=\"{code}\""), format!("origin=\"{origin}\"")];
        let fitting = lines.filter(|line| wanted.iter().all(|one| line.contains(one)));
        fitting.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    assert_eq!(called("OK", ""), 2.0, "{all}");
    assert_eq!(called("UPSTREAM_REJECTED", "upstream"), 1.0, "{all}");
    assert_eq!(called("UNKNOWN_SERVICE", "caller"), 1.0, "{all}");
    assert_eq!(value("plugboard_key_checks_total{result=\"missing\"}"), 1.0, "{all}");
    assert!(value("plugboard_refused_total{reason=\"caller\"}") >= 1.0, "{all}");
    assert_eq!(value("plugboard_callers_waiting "), 0.0, "{all}");
    for stage in ["check", "queue", "credentials", "vendor", "answer"] {
        assert!(value(&format!("plugboard_stage_seconds_count{{stage=\"{stage}\"}}")) >= 2.0, "{stage}: {all}");
    }
    let published = match shape {
        Shape::Embedded => 2.0,
        Shape::Distributed => 1.0,
    };
    assert_eq!(value("plugboard_stage_seconds_count{stage=\"publish\"}"), published, "{all}");
    let up = all.lines().filter(|line| line.starts_with("plugboard_dependency_up{"));
    assert!(up.clone().count() >= 2 && up.clone().all(|line| line.ends_with(" 1")), "{all}");
    for secret in [&tenant.organization, &tenant.key, &account.secret, &account.id, &label, &path] {
        let found = found_in(secret, &[("metrics".into(), all.clone().into_bytes())]);
        assert!(found.is_empty(), "{secret}: {all}");
    }
    // Tenants reach the public listener, and no number there.
    assert_eq!(get(&format!("{}/metrics", site.stack.url())).await.status, 404);
}

/// HubSpot as it is, but that it wants to know of traces.
fn traced_manifest() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = "mock_traced";
    let category = folder.path().join("data");
    std::fs::create_dir(&category).unwrap();
    let manifest = format!(
        r#"key: {key}
name: Mock traced
tagline: For tests
description: For tests.
category: data
docs: https://mock.example/docs
version: "1"
auth:
  flows:
    - kind: credentials
      label: Token
      fields:
        token: {{label: Token}}
  test: list_things
transport:
  headers: {{Authorization: "Bearer {{account.token}}"}}
  trace: true
modules:
  things: {{summary: Things, base_url: "https://api.mock.example"}}
operations:
  - id: list_things
    module: things
    method: GET
    path: /things
    summary: Things.
    effect: read
    response_example: {{items: []}}
  - id: make_thing
    module: things
    method: POST
    path: /things
    summary: Another thing.
    effect: once
    body: {{type: object}}
    response_example: {{id: "7"}}
verified: {{how: documentation, on: "2026-11-22"}}
"#
    );
    std::fs::write(category.join(format!("{key}.yaml")), manifest).unwrap();
    (folder, key.to_owned())
}

async fn traced(shape: Shape, ratio: &str) -> (Watched, Vendor, Collector, String, tempfile::TempDir) {
    let (vendor, collector) = (Vendor::start(), Collector::start().await);
    let (folder, service) = traced_manifest();
    let options = Stack::options(shape)
        .vendor(&vendor)
        .executors(1)
        .connectors(folder.path())
        .environment("PLUGBOARD_TELEMETRY__OTLP_ENDPOINT", collector.url())
        .environment("PLUGBOARD_TELEMETRY__SAMPLE_RATIO", ratio)
        .environment("PLUGBOARD_TELEMETRY__FORMAT", "json")
        .environment("PLUGBOARD_TELEMETRY__LOG", "info");
    (watched(options), vendor, collector, service, folder)
}

fn write(service: &str, name: &str) -> Value {
    json!({"service": service, "module": "things", "method": "POST", "path": "/things", "body": {"name": name}})
}

/// A call whose client has sampled it.
async fn call_within(tenant: &Tenant, trace: &str, call: Value) -> Value {
    let client = tenant.mcp();
    let mut message = client.message("tools/call", json!({"name": "connector_execute", "arguments": call}));
    message["params"]["_meta"]["traceparent"] = json!(format!("00-{trace}-00f067aa0ba902b7-01"));
    let reply = client.post(&message.to_string(), "tools/call", Some("connector_execute")).await;
    reply.expect(200)["result"]["structuredContent"].clone()
}

fn new_trace() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

pub(crate) async fn one_trace_from_the_client_to_the_vendor(shape: Shape) {
    let (site, vendor, collector, service, _folder) = traced(shape, "0").await;
    let tenant = Tenant::new(&site.stack).await;
    let secret = unique();
    tenant.rest().connect(&service, "Main", &json!({"token": secret})).await;
    let (trace, name) = (new_trace(), unique());
    let mut call = write(&service, &name);
    // By the queue, which is one span more than past it.
    call["wait_ms"] = json!(2_500);
    let envelope = call_within(&tenant, &trace, call).await;
    assert_eq!(envelope["ok"], true, "{envelope}");

    let wanted: &[&str] = match shape {
        Shape::Embedded => {
            &["mcp request", "check", "publish", "execute", "resolve account", "vendor request", "answer"]
        }
        Shape::Distributed => {
            &["mcp request", "check", "publish", "execute", "resolve account", "resolve", "vendor request", "answer"]
        }
    };
    let spans = eventually("all spans are exported", SOON, || async {
        let spans = collector.of_trace(&trace);
        wanted.iter().all(|name| spans.iter().any(|span| span.name == *name)).then_some(spans)
    })
    .await;
    assert!(spans.len() >= 6, "{spans:#?}");
    let one = |name: &str| -> &Span { spans.iter().find(|span| span.name == name).unwrap() };
    assert_eq!(one("mcp request").parent, "00f067aa0ba902b7", "the client's");
    for (child, parent) in [
        ("check", "mcp request"),
        ("publish", "mcp request"),
        ("execute", "mcp request"),
        ("resolve account", "execute"),
        ("vendor request", "execute"),
        ("answer", "execute"),
    ] {
        assert_eq!(one(child).parent, one(parent).id, "{child}: {spans:#?}");
    }
    if shape == Shape::Distributed {
        assert_eq!(one("resolve").parent, one("resolve account").id);
        let processes: HashSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
        assert_eq!(processes, HashSet::from(["plugboard-gateway", "plugboard-executor", "plugboard-auth"]));
    }
    let sent = vendor.only(&name);
    assert_eq!(sent.header("traceparent"), format!("00-{trace}-{}-01", one("vendor request").id));
    let told = format!("{:?}", collector.all());
    for hidden in [&secret, &tenant.key, &name, "/things"] {
        assert!(!told.contains(hidden), "{hidden}: {told}");
    }

    // A vendor whose manifest does not want it is told nothing.
    let plain = tenant.connect("hubspot", "Main", &vendor).await;
    call_within(&tenant, &new_trace(), hubspot_read()).await;
    assert_eq!(vendor.only(&plain.mark).header("traceparent"), "");
}

pub(crate) async fn what_failed_is_kept_and_has_one_line(shape: Shape) {
    let (site, vendor, collector, service, _folder) = traced(shape, "0").await;
    let tenant = Tenant::new(&site.stack).await;
    let secret = unique();
    tenant.rest().connect(&service, "Main", &json!({"token": secret})).await;
    let client = tenant.mcp();
    let well = client.execute(write(&service, "well")).await;
    assert_eq!(well["ok"], true, "{well}");
    vendor.on(&secret, Answer::json(400, &json!({"message": "no"})));
    let failed = client.execute(write(&service, "failed")).await;
    assert_eq!(failed["error"]["code"], "UPSTREAM_REJECTED", "{failed}");
    let id = |envelope: &Value| envelope["execution_id"].as_str().unwrap().to_owned();
    let names =
        |span: &Span, id: &str| span.attributes.iter().any(|(name, value)| name == "execution_id" && value == id);
    let kept = eventually("the failed call's spans are exported", SOON, || async {
        let spans = collector.all();
        let trace = spans.iter().find(|span| names(span, &id(&failed)))?.trace.clone();
        let of_trace = collector.of_trace(&trace);
        of_trace.iter().any(|span| span.name == "mcp request").then_some(of_trace)
    })
    .await;
    for name in ["mcp request", "execute", "vendor request"] {
        assert!(kept.iter().any(|span| span.name == name && span.failed), "{name}: {kept:#?}");
    }
    assert!(!collector.all().iter().any(|span| names(span, &id(&well))), "it went well, and was not sampled");

    // Refused before there was a job: a line as well.
    let unknown = client.execute(json!({"service": service, "method": "GET", "path": "/nothing"})).await;
    assert_eq!(unknown["ok"], false, "{unknown}");
    let lines = eventually("both lines are written", SOON, || async {
        let logs = site.stack.logs();
        let lines: Vec<Value> = logs.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let failed: Vec<Value> = lines.into_iter().filter(|line| line["message"] == "a call failed").collect();
        (failed.len() >= 2).then_some(failed)
    })
    .await;
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let of_vendor = lines.iter().find(|line| line["execution_id"] == id(&failed)).unwrap();
    assert_eq!((&of_vendor["code"], &of_vendor["origin"]), (&json!("UPSTREAM_REJECTED"), &json!("upstream")));
    assert_eq!((&of_vendor["level"], &of_vendor["status"]), (&json!("INFO"), &json!(400)));
    assert_eq!(of_vendor["trace_id"], kept[0].trace);
    for line in &lines {
        assert_eq!((&line["organization"], &line["service"]), (&json!(tenant.organization), &json!(service)));
        assert!(!line.to_string().contains(&secret), "{line}");
    }
}

pub(crate) async fn a_gateway_names_the_part_that_is_missing() {
    let site = watched(Stack::cluster().sandbox().executors(1));
    let url = format!("{}/readyz", site.stack.health_urls("gateway")[0]);
    let ready = get(&url).await.expect(200);
    assert_eq!(ready, json!({"ready": true, "parts": {"nats": "ok", "catalog": "ok", "auth": "ok"}}));
    site.stack.signal("nats-1", "STOP");
    let missing = eventually("the gateway notices", Duration::from_secs(60), || async {
        let reply = get(&url).await;
        (reply.status == 503).then_some(reply.json)
    })
    .await;
    assert_eq!(missing["ready"], false);
    assert_eq!(missing["parts"], json!({"nats": "no connection", "catalog": "ok", "auth": "ok"}));
    let up = get(&url.replace("/readyz", "/metrics")).await.text;
    assert!(up.contains("plugboard_dependency_up{dependency=\"nats\"} 0"), "{up}");
    site.stack.signal("nats-1", "CONT");
    eventually("it is there again", Duration::from_secs(60), || async {
        (get(&url).await.status == 200).then_some(())
    })
    .await;
}

pub(crate) async fn a_gateway_says_that_it_leaves_before_it_does() {
    let options = Stack::cluster().sandbox().executors(1).environment("PLUGBOARD_GATEWAY__STOP_GRACE_MS", "5000");
    let site = watched(options);
    let url = format!("{}/readyz", site.stack.health_urls("gateway")[0]);
    get(&url).await.expect(200);
    site.stack.signal("gateway-1", "TERM");
    let leaving = eventually("it is not ready any more", Duration::from_secs(3), || async {
        let reply = get(&url).await;
        (reply.status == 503).then_some(reply.json)
    })
    .await;
    assert_eq!(leaving["parts"]["process"], "stopping", "{leaving}");
    assert_eq!(get(&format!("{}/readyz", site.stack.url())).await.status, 503, "the public listener says so as well");
    let listed = site.stack.mcp(site.stack.api_key()).tool("list_services", json!({})).await;
    assert!(!listed.is_error, "calls are still served");
}
