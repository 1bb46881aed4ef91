//! Event streams, and what becomes of a call whose client is gone.

use super::*;

const SOON: Duration = Duration::from_secs(5);

fn steps(headers: &[(&str, &str)]) -> Request<Body> {
    modern("tools/call", json!({"name": "steps", "_meta": {"progressToken": "t\"1"}}), headers)
}

fn events(body: &str) -> Vec<Value> {
    body.split("\n\n")
        .filter(|event| !event.is_empty() && !event.starts_with(':'))
        .map(|event| {
            let lines: Vec<_> = event.lines().map(|line| line.strip_prefix("data: ").unwrap()).collect();
            serde_json::from_str(&lines.join("\n")).unwrap()
        })
        .collect()
}

#[tokio::test]
async fn progress_is_streamed_before_the_response() {
    let app = App::new();
    for accept in ["application/json, text/event-stream", "text/event-stream", "*/*"] {
        let response = app.send(steps(&[("accept", accept)])).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let events = events(&text(response).await);
        assert_eq!(events.len(), 3, "{events:?}");
        for (event, progress) in events.iter().zip([1.0, 2.0]) {
            assert_eq!(event["method"], "notifications/progress");
            let expected = json!({"progressToken": "t\"1", "progress": progress, "total": 2.0, "message": "a\nb"});
            assert_eq!(event["params"]["progress"].as_f64(), expected["progress"].as_f64());
            assert_eq!(event["params"]["progressToken"], expected["progressToken"]);
            assert_eq!(event["params"]["message"], expected["message"]);
        }
        assert_eq!(events[2]["id"], "a1");
        assert_eq!(events[2]["result"]["structuredContent"], json!({"ok": true}));
    }
}

#[tokio::test]
async fn a_call_without_events_is_answered_as_json_where_the_client_reads_it() {
    let app = App::new();
    let request = |accept: &str| {
        let params = json!({"name": "echo", "_meta": {"progressToken": 1}});
        modern("tools/call", params, &[("accept", accept)])
    };
    for (accept, kind) in [
        ("application/json, text/event-stream", "application/json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("application/json;q=0, text/event-stream", "text/event-stream"),
    ] {
        let response = app.send(request(accept)).await;
        assert_eq!(response.headers()["content-type"], kind, "{accept}");
        let body = text(response).await;
        let message =
            if kind == "text/event-stream" { events(&body).remove(0) } else { serde_json::from_str(&body).unwrap() };
        assert_eq!(message["result"]["structuredContent"], json!({}));
    }
    // Errors are JSON for everyone: clients read the status first.
    let response = app.send(modern("nothing", json!({}), &[("accept", "text/event-stream")])).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
        (404, "application/json")
    );
}

#[tokio::test]
async fn progress_is_offered_only_to_clients_that_read_streams() {
    let app = App::new();
    for (accept, token, offered) in [
        ("application/json, text/event-stream", json!(1), true),
        ("application/json", json!(1), false),
        ("application/json, text/event-stream", Value::Null, false),
    ] {
        let mut params = json!({"name": "context", "_meta": {}});
        if !token.is_null() {
            params["_meta"]["progressToken"] = token;
        }
        let (_, body) = app.json(modern("tools/call", params, &[("accept", accept)])).await;
        assert_eq!(body["result"]["structuredContent"]["progress"], offered, "{accept}");
    }
    for token in [json!(1.5), json!(null), json!({})] {
        let params = json!({"name": "context", "_meta": {"progressToken": token}});
        let (status, _) = app.json(modern("tools/call", params, &[])).await;
        assert_eq!(status, if token.is_null() { 200 } else { 400 }, "{token}");
    }
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    let mut settings = settings();
    settings.keep_alive = Duration::from_millis(10);
    let app = App::with(settings);
    let response = app.send(modern("tools/call", json!({"name": "wait", "_meta": {"progressToken": 1}}), &[])).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let release = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.probe.release.notify_one();
    };
    let (body, ()) = tokio::join!(text(response), release);
    assert!(body.starts_with(": keep-alive\n\n: keep-alive\n\n"), "{body}");
    assert_eq!(events(&body)[0]["result"]["structuredContent"], json!({"cancelled": false}));
}

/// Starts a request, hangs up once the tool runs, and returns.
pub(super) async fn hang_up(app: &App, request: Request<Body>) {
    let send = app.send(request);
    tokio::select! {
        _ = send => panic!("the tool waits for ever"),
        () = app.probe.started.notified() => {}
    }
}

#[tokio::test]
async fn hanging_up_cancels_a_modern_call() {
    let app = App::new();
    hang_up(&app, call("wait", json!({}))).await;
    tokio::time::timeout(SOON, app.probe.cancelled.notified()).await.unwrap();
    assert_eq!(app.probe.finished.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn hanging_up_on_a_stream_cancels_a_modern_call() {
    let mut settings = settings();
    settings.keep_alive = Duration::from_millis(1);
    let app = App::with(settings);
    let response = app.send(modern("tools/call", json!({"name": "wait", "_meta": {"progressToken": 1}}), &[])).await;
    drop(response);
    tokio::time::timeout(SOON, app.probe.cancelled.notified()).await.unwrap();
}

#[tokio::test]
async fn hanging_up_does_not_cancel_a_legacy_call() {
    let app = App::new();
    for params in [json!({"name": "wait"}), json!({"name": "wait", "_meta": {"progressToken": 1}})] {
        let before = app.probe.finished.load(Ordering::SeqCst);
        hang_up(&app, legacy("tools/call", &params)).await;
        assert_eq!(app.endpoint.detached().len(), 1);
        app.probe.release.notify_one();
        app.endpoint.detached().close();
        tokio::time::timeout(SOON, app.endpoint.detached().wait()).await.unwrap();
        app.endpoint.detached().reopen();
        assert_eq!(app.probe.finished.load(Ordering::SeqCst), before + 1);
    }
}

fn cancelled(key: &str, id: &Value) -> Request<Body> {
    let body = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    let key = format!("Bearer {key}");
    post(&[("mcp-protocol-version", "2025-11-25"), ("authorization", &key)], body.to_string())
}

#[tokio::test]
async fn a_legacy_call_is_cancelled_by_its_own_caller() {
    let app = App::new();
    let send = app.json(legacy("tools/call", &json!({"name": "wait"})));
    let cancel = async {
        app.probe.started.notified().await;
        // Another key, another id, another spelling of the id: nobody is meant.
        for request in [cancelled("other", &json!(1)), cancelled("good", &json!(2)), cancelled("good", &json!("1"))] {
            assert_eq!(app.send(request).await.status(), 202);
        }
        tokio::task::yield_now().await;
        assert_eq!(app.probe.finished.load(Ordering::SeqCst), 0);
        assert_eq!(app.send(cancelled("good", &json!(1))).await.status(), 202);
    };
    let ((_, body), ()) = tokio::time::timeout(SOON, async { tokio::join!(send, cancel) }).await.unwrap();
    assert_eq!(body["result"]["structuredContent"], json!({"cancelled": true}));
}

#[tokio::test]
async fn an_ambiguous_cancellation_cancels_nobody() {
    let app = App::new();
    let first = app.json(legacy("tools/call", &json!({"name": "wait"})));
    let second = app.json(legacy("tools/call", &json!({"name": "wait"})));
    let cancel = async {
        // Both were polled before this, so both wait by now.
        app.probe.started.notified().await;
        app.send(cancelled("good", &json!(1))).await;
        app.probe.release.notify_waiters();
    };
    let (first, second, ()) = tokio::time::timeout(SOON, async { tokio::join!(first, second, cancel) }).await.unwrap();
    for (_, body) in [first, second] {
        assert_eq!(body["result"]["structuredContent"], json!({"cancelled": false}));
    }
}
