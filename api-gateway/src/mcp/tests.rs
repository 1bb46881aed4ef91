//! The endpoint, driven through its router without a network.

mod auth;
mod browser;
mod frames;
mod legacy;
mod modern;
mod observe;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::*;

/// A server whose tools show what reaches them.
#[derive(Default)]
struct Probe {
    started: Notify,
    release: Notify,
    cancelled: Notify,
    finished: AtomicUsize,
}

impl ToolServer for Probe {
    type Principal = Arc<str>;

    async fn authenticate(&self, headers: &HeaderMap, _: Option<SocketAddr>) -> Result<Arc<str>, AuthFailure> {
        let key = headers.get("authorization").and_then(|value| value.to_str().unwrap().strip_prefix("Bearer "));
        match key {
            None => Err(AuthFailure::Missing),
            Some("unknown") => Err(AuthFailure::Invalid("the key is unknown".into())),
            Some("weak") => Err(AuthFailure::InsufficientScope {
                scope: "read:tools write:tools".into(),
                message: "the key lacks write:tools".into(),
            }),
            Some("banned") => Err(AuthFailure::Forbidden("the organization is suspended".into())),
            Some("busy") => Err(AuthFailure::RateLimited { retry_after: Duration::from_millis(1200) }),
            Some("dark") => Err(AuthFailure::Unavailable { retry_after: Duration::from_secs(3) }),
            Some(key) => Ok(key.into()),
        }
    }

    fn caller<'a>(&self, principal: &'a Arc<str>) -> &'a str {
        principal
    }

    fn ready_answer(&self, _: &Arc<str>, tool: &str, arguments: &str) -> Option<ToolReply> {
        (tool == "echo" && arguments == r#"{"kept":1}"#)
            .then(|| ToolReply::Envelope(Envelope::ok(r#"{"lay":"ready"}"#)))
    }

    async fn call_tool(&self, cx: Box<CallContext<Arc<str>>>, tool: &str, arguments: Box<str>) -> ToolReply {
        match tool {
            "echo" => ToolReply::Envelope(Envelope::ok(arguments.into_string())),
            "fail" => ToolReply::Envelope(Envelope::error(r#"{"ok":false}"#).with_text("it went \"wrong\"")),
            "context" => {
                let seen = json!({
                    "principal": &*cx.principal,
                    "version": cx.version.as_str(),
                    "id": serde_json::from_str::<Value>(&cx.request_id).unwrap(),
                    "client": cx.client.name,
                    "url": cx.capabilities.elicitation_url,
                    "form": cx.capabilities.elicitation_form,
                    "traceparent": cx.trace.traceparent,
                    "tracestate": cx.trace.tracestate,
                    "progress": cx.progress.is_some(),
                    "state": cx.input.state,
                });
                ToolReply::Envelope(Envelope::ok(seen.to_string()))
            }
            "wait" => {
                self.started.notify_one();
                let hangup = HangupProbe(&self.cancelled, cx.cancel.clone());
                let cancelled = tokio::select! {
                    () = cx.cancel.cancelled() => true,
                    () = self.release.notified() => false,
                };
                drop(hangup);
                self.finished.fetch_add(1, Ordering::SeqCst);
                ToolReply::Envelope(Envelope::ok(json!({"cancelled": cancelled}).to_string()))
            }
            "steps" => {
                let progress = cx.progress.unwrap();
                for step in [1.0, 2.0, 1.5] {
                    progress.report(step, Some(2.0), Some("a\nb"));
                }
                tokio::task::yield_now().await;
                ToolReply::Envelope(Envelope::ok("{\n\"ok\": true\n}"))
            }
            "denied" => ToolReply::Denied(AuthFailure::InsufficientScope {
                scope: "write:tools".into(),
                message: "the key lacks write:tools".into(),
            }),
            "ask" => ToolReply::InputRequired(InputRequired {
                requests: Some(r#"{"k":{"method":"elicitation/create","params":{}}}"#.into()),
                state: Some("s\"1".to_owned()),
            }),
            "region" => ToolReply::Envelope(Envelope::ok("{}")),
            _ => panic!("a tool at fault"),
        }
    }
}

/// Tells the test that a call ended, and whether its token had fired by then.
struct HangupProbe<'a>(&'a Notify, tokio_util::sync::CancellationToken);

impl Drop for HangupProbe<'_> {
    fn drop(&mut self) {
        if self.1.is_cancelled() {
            self.0.notify_one();
        }
    }
}

fn settings() -> McpSettings {
    let tool = |name: &str| ToolSpec {
        name: name.to_owned(),
        title: None,
        description: "A tool.".to_owned(),
        input_schema: json!({"type": "object"}),
        output_schema: None,
        annotations: None,
        meta: None,
    };
    let mut tools: Vec<_> =
        ["echo", "fail", "context", "wait", "steps", "denied", "ask", "faulty", "region"].map(tool).into();
    tools[8].input_schema =
        json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
    let mut settings = McpSettings::new("probe", "1.2.3", tools);
    settings.instructions = Some("Call echo.".to_owned());
    settings.allowed_origins = vec!["https://app.example.com".to_owned()];
    settings
}

struct App {
    probe: Arc<Probe>,
    endpoint: Arc<McpEndpoint<Probe>>,
    router: Router,
}

impl App {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: McpSettings) -> Self {
        let probe = Arc::new(Probe::default());
        let endpoint = McpEndpoint::new(Arc::clone(&probe), settings).unwrap();
        let router = endpoint.router().merge(no_oauth());
        Self { probe, endpoint, router }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends and reads the answer as JSON; an empty body reads as null.
    async fn json(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.send(request).await;
        let status = response.status();
        let body = text(response).await;
        let value = if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
        (status, value)
    }
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A request with a good key and the usual headers; `headers` replace them, an empty value removes one.
fn post(headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut map = HeaderMap::new();
    let usual = [
        ("authorization", "Bearer good"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("host", "mcp.example.com"),
    ];
    for (name, value) in usual.iter().chain(headers) {
        let name: http::HeaderName = name.parse().unwrap();
        if value.is_empty() {
            map.remove(name);
        } else {
            map.insert(name, value.parse().unwrap());
        }
    }
    let mut request = Request::post("/mcp").body(body.into()).unwrap();
    *request.headers_mut() = map;
    request
}

/// A request as a client of 2025-11-25 sends it.
fn legacy(method: &str, params: &Value) -> Request<Body> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    post(&[("mcp-protocol-version", "2025-11-25")], body.to_string())
}

/// The parameters of a request of 2026-07-28.
fn with_meta(mut params: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    for (name, value) in meta.as_object().unwrap() {
        if params["_meta"].get(name).is_none() {
            params["_meta"][name] = value.clone();
        }
    }
    params
}

/// A request as a client of 2026-07-28 sends it; `headers` as in [`post`].
fn modern(method: &str, params: Value, headers: &[(&str, &str)]) -> Request<Body> {
    let name = params["name"].as_str().unwrap_or_default().to_owned();
    let body = json!({"jsonrpc": "2.0", "id": "a1", "method": method, "params": with_meta(params)});
    let mut all = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method), ("mcp-name", name.as_str())];
    all.extend_from_slice(headers);
    post(&all, body.to_string())
}

fn call(tool: &str, arguments: Value) -> Request<Body> {
    modern("tools/call", json!({"name": tool, "arguments": arguments}), &[])
}
