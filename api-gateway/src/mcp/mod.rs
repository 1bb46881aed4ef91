//! MCP over Streamable HTTP: one stateless endpoint for all revisions from 2025-03-26 to 2026-07-28.
//!
//! The protocol ends at the trait [`ToolServer`]; what tools do is not known here. How a revision is chosen is told in
//! `README.md` beside this file.
//!
//! One message takes this way: [`origin`] (may this page call), [`ToolServer::authenticate`], the body in full,
//! [`strict_json`] (one reading only), [`frame`] and [`json`] (borrowed views), [`era`] (which revision), [`headers`] (mirrors of the
//! body), [`dispatch`], the server, [`respond`]. Nothing on it builds a JSON tree.

mod advert;
mod call;
mod cancel;
mod challenge;
mod context;
mod dispatch;
mod era;
mod frame;
mod headers;
pub(crate) mod json;
mod notify;
mod observe;
mod origin;
mod param_headers;
mod plain;
mod protocol;
mod reply;
mod respond;
mod server;
mod settings;
mod sse;
pub(crate) mod strict_json;
mod transport;

#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio_util::task::TaskTracker;

pub use self::advert::SettingsError;
pub use self::context::{CallContext, ClientCapabilities, ClientInfo, InputRetry, TraceContext};
pub use self::notify::{LogLevel, LogSender, ProgressSender};
pub use self::param_headers::ParamHeaderError;
pub use self::protocol::{Era, ProtocolVersion, code};
pub use self::reply::{
    ArgumentProblem, ContentReply, Envelope, InputRequired, MethodReply, MethodResult, RpcError, ToolReply, Written,
};
pub use self::server::{AuthFailure, ToolServer};
pub use self::settings::{CacheScope, HostPolicy, McpSettings, ServerInfo, ToolSpec};

/// Where clients find it.
pub const PATH: &str = "/mcp";

/// The endpoint: settings, prepared answers, and the calls in progress.
pub struct McpEndpoint<S> {
    server: Arc<S>,
    settings: McpSettings,
    advert: advert::Advert,
    in_flight: Arc<cancel::InFlight>,
    counters: Arc<observe::Counters>,
    tasks: TaskTracker,
}

impl<S: ToolServer> McpEndpoint<S> {
    /// Checks the settings and prepares the answers that never change.
    ///
    /// # Errors
    /// When a tool or a setting is one that clients would choke on.
    pub fn new(server: Arc<S>, settings: McpSettings) -> Result<Arc<Self>, SettingsError> {
        let advert = advert::Advert::new(&settings)?;
        if settings.resource_metadata.as_deref().is_some_and(|url| url.parse::<http::Uri>().is_err()) {
            return Err(SettingsError::ResourceMetadata);
        }
        Ok(Arc::new(Self {
            server,
            settings,
            advert,
            in_flight: Arc::default(),
            counters: Arc::default(),
            tasks: TaskTracker::new(),
        }))
    }

    /// The routes `/mcp` and `/mcp/`: the same handler, because a redirect loses the `Authorization` header in some
    /// clients.
    pub fn router(self: &Arc<Self>) -> Router {
        let endpoint = Arc::clone(self);
        let route = any(move |request: Request<Body>| {
            // Boxed here: the layers of the router move the future they are given several times, and it is large.
            Box::pin(Arc::clone(&endpoint).handle(request))
        });
        Router::new().route(PATH, route.clone()).route("/mcp/", route)
    }

    /// Legacy calls whose clients are gone. Close and await it when shutting down.
    #[must_use]
    pub fn detached(&self) -> &TaskTracker {
        &self.tasks
    }
}

impl<S> fmt::Debug for McpEndpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpEndpoint").field("info", &self.settings.info).finish_non_exhaustive()
    }
}

/// JSON 404 answers on the paths where clients look for OAuth. Without OAuth these must neither exist nor fall through
/// to something that is not JSON: clients read the former as "log in here" and report the latter as a parse error.
pub fn no_oauth() -> Router {
    let route = any(async || absent());
    Router::new()
        .route("/.well-known/{*document}", route.clone())
        .route("/mcp/.well-known/{*document}", route.clone())
        .route("/register", route)
}

fn absent() -> Response<Body> {
    let text =
        r#"{"error":"not_found","error_description":"OAuth is not offered here: send an API key as a bearer token"}"#;
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
