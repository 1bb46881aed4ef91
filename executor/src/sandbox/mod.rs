//! The built-in vendor: answers every operation of every connector with its example, once the request has really been
//! built and signed as the manifest says.
//!
//! Diverted requests arrive with the real host in `X-Forwarded-Host`. What is checked is what the executor adds: every
//! credential must be where the manifest puts it, and must not be empty. Arguments were validated before; checking
//! them again would only hide it if they were not.
//!
//! | request | answer |
//! | --- | --- |
//! | a known operation, all credentials in place | 200, the operation's `response_example`; of several at one address that of the one whose body this is |
//! | the same, a credential missing | 401 |
//! | a token endpoint, client credentials in place | 200, a token |
//! | anything else | 404 |

mod choose;
mod credentials;
mod routes;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use plugboard_core::catalog::CatalogHandle;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use credentials::Request;
use routes::Routes;

/// Largest request body: the 4 MiB of the public contract, and room for what a form adds to it.
const MAX_BODY: usize = 16 << 20;

struct Sandbox {
    catalog: Arc<CatalogHandle>,
    /// Of the latest snapshot seen.
    routes: ArcSwapOption<Routes>,
}

/// Answers diverted requests until `stop`.
pub async fn serve(listener: TcpListener, catalog: Arc<CatalogHandle>, stop: CancellationToken) {
    let sandbox = Arc::new(Sandbox { catalog, routes: ArcSwapOption::empty() });
    let app = Router::new().fallback(answer).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(sandbox);
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the sandbox vendor ended");
    }
}

async fn answer(
    State(sandbox): State<Arc<Sandbox>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let routes = sandbox.routes();
    let host = headers.get("x-forwarded-host").or_else(|| headers.get(HOST)).and_then(|host| host.to_str().ok());
    let host = host.map(without_port).unwrap_or_default().to_ascii_lowercase();
    let request = Request { method: &method, headers: &headers, query: uri.query().unwrap_or_default(), body: &body };
    match routes.find(&host, uri.path(), &request) {
        None => refuse(StatusCode::NOT_FOUND, &format!("no operation {method} {} on {host}", uri.path())),
        Some(destination) => match destination.missing {
            Some(what) => refuse(StatusCode::UNAUTHORIZED, &format!("{what} is missing")),
            None => json_answer(StatusCode::OK, destination.answer),
        },
    }
}

impl Sandbox {
    fn routes(&self) -> Arc<Routes> {
        let snapshot = Arc::clone(&self.catalog.snapshot());
        if let Some(routes) = self.routes.load_full()
            && routes.are_of(&snapshot)
        {
            return routes;
        }
        let routes = Arc::new(Routes::new(snapshot));
        self.routes.store(Some(Arc::clone(&routes)));
        routes
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn refuse(status: StatusCode, why: &str) -> Response {
    let body = json!({ "error": { "code": status.as_u16(), "message": format!("sandbox: {why}") } });
    json_answer(status, Bytes::from(body.to_string()))
}

fn json_answer(status: StatusCode, body: Bytes) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

#[cfg(test)]
mod tests;
