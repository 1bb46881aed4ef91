//! What is counted, and under which labels.

use std::collections::BTreeMap;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

use super::*;

/// Counts by "name label=value …".
#[derive(Default)]
struct Recorded(Mutex<BTreeMap<String, Arc<std::sync::atomic::AtomicU64>>>);

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Counter::from_arc(Arc::clone(self.0.lock().entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn every_message_is_counted_once() {
    let recorded = Recorded::default();
    let guard = metrics::set_default_local_recorder(&recorded);
    let app = App::new();
    for _ in 0..2 {
        app.send(call("echo", json!({}))).await;
        app.send(modern("tools/list", json!({}), &[("mcp-method", "wrong")])).await;
    }
    app.send(call("fail", json!({}))).await;
    app.send(modern("no/such-method", json!({}), &[])).await;
    app.send(legacy("ping", &json!({}))).await;
    app.send(post(&[("authorization", "")], "")).await;
    app.send(post(&[], "{")).await;
    streams::hang_up(&app, call("wait", json!({}))).await;
    drop(guard);

    let counted: Vec<_> =
        recorded.0.lock().iter().map(|(name, count)| format!("{name} {}", count.load(Ordering::SeqCst))).collect();
    assert_eq!(
        counted,
        [
            "plugboard_mcp_header_mismatch_total method=tools/list 2",
            "plugboard_mcp_requests_total era=legacy version=2025-11-25 method=ping outcome=ok 1",
            "plugboard_mcp_requests_total era=modern version=2026-07-28 method=other outcome=method_not_found 1",
            "plugboard_mcp_requests_total era=modern version=2026-07-28 method=tools/call outcome=cancelled 1",
            "plugboard_mcp_requests_total era=modern version=2026-07-28 method=tools/call outcome=ok 2",
            "plugboard_mcp_requests_total era=modern version=2026-07-28 method=tools/call outcome=tool_error 1",
            "plugboard_mcp_requests_total era=modern version=2026-07-28 method=tools/list outcome=header_mismatch 2",
            "plugboard_mcp_requests_total era=none version=none method=none outcome=parse_error 1",
            "plugboard_mcp_requests_total era=none version=none method=none outcome=unauthenticated 1",
        ]
    );
}
