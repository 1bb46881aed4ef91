//! Management over HTTP: the catalog, connections, organizations, API keys, health.
//!
//! | module | routes |
//! | --- | --- |
//! | [`connectors`] | `/connectors.json`, `/api/v1/mcp/info`, `/api/v1/connectors/…` |
//! | [`connections`] | `/api/v1/connections/…` |
//! | [`account_test`] | `/api/v1/connections/{id}/test` |
//! | [`sign_in`] | `/api/v1/connections/oauth/start`, `…/device/…`, `…/{id}/reconnect` |
//! | [`connect_sessions`] | `/api/v1/connect-sessions/…` |
//! | [`oauth_clients`] | `/api/v1/oauth-clients/…` |
//! | [`organizations`], [`keys`] | `/api/v1/organizations/…` |
//! | [`revocations`] | `…/revoke`, `/api/v1/organizations/{org}/revocations` |
//! | [`agents`] | `/api/v1/agents/…` |
//! | [`audit`] | `/api/v1/audit` |
//! | [`calls`] | `/api/v1/calls/…` |
//! | [`overview`] | `/api/v1/overview` |
//! | [`dead_letters`] | `/api/v1/dead-letters/…` |
//! | [`master_keys`] | `/api/v1/master-keys/…` |
//! | [`health`] | `/livez`, `/readyz` |
//! | [`openapi`] | `/api/v1/openapi.json` |
//!
//! Execution is no REST resource. Whatever is unknown under `/api` is a 404, and every refusal is an RFC 9457 problem
//! document ([`error`]). A handler names what its caller must be by the first extractor it takes ([`caller`]), so the key
//! and its scope are checked before a byte of the body is read.

mod account_test;
mod agents;
mod audit;
pub(crate) mod body;
mod caller;
mod calls;
mod connect_sessions;
mod connections;
mod connectors;
mod dead_letters;
pub(crate) mod error;
mod health;
mod keys;
mod master_keys;
mod oauth_clients;
mod openapi;
mod organizations;
mod overview;
mod query;
pub(crate) mod reply;
mod revocations;
mod sign_in;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, post, put};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Uri};
use plugboard_core::identity::asked_from;

use self::error::Problem;
use crate::state::Gateway;

/// Every route, as the OpenAPI document lists them.
fn routes() -> Vec<(&'static str, MethodRouter<Arc<Gateway>>)> {
    vec![
        ("/livez", get(health::alive)),
        ("/healthz", get(health::healthy)),
        ("/readyz", get(health::ready)),
        ("/connectors.json", get(connectors::list)),
        ("/api/v1/openapi.json", get(openapi::serve)),
        ("/api/v1/mcp/info", get(connectors::mcp_info)),
        ("/api/v1/connectors/metadata", get(connectors::all_metadata)),
        ("/api/v1/connectors/{service}/metadata", get(connectors::metadata)),
        ("/api/v1/connections", get(connections::list).post(connections::create)),
        ("/api/v1/connections/{id}", get(connections::show).patch(connections::change).delete(connections::remove)),
        ("/api/v1/connections/{id}/test", post(account_test::run)),
        ("/api/v1/connections/{id}/revoke", post(revocations::connection)),
        ("/api/v1/connectors/{service}/revoke", post(revocations::connector)),
        ("/api/v1/organizations/{org}/revoke", post(revocations::organization)),
        ("/api/v1/organizations/{org}/revocations", get(revocations::list)),
        ("/api/v1/agents", get(agents::list).post(agents::create)),
        ("/api/v1/agents/{agent}", put(agents::update).delete(agents::remove)),
        ("/api/v1/audit", get(audit::read)),
        ("/api/v1/calls", get(calls::list)),
        ("/api/v1/calls/{execution_id}", get(calls::show)),
        ("/api/v1/overview", get(overview::show)),
        ("/api/v1/dead-letters", get(dead_letters::list)),
        ("/api/v1/dead-letters/{execution_id}", get(dead_letters::show).delete(dead_letters::remove)),
        ("/api/v1/dead-letters/{execution_id}/replay", post(dead_letters::replay)),
        ("/api/v1/master-keys", get(master_keys::show)),
        ("/api/v1/master-keys/rotate", post(master_keys::rotate)),
        ("/api/v1/master-keys/{master_key}", delete(master_keys::retire)),
        ("/api/v1/connections/{id}/reconnect", post(sign_in::reconnect)),
        ("/api/v1/connections/oauth/start", post(sign_in::start)),
        ("/api/v1/connections/device/start", post(sign_in::start_device)),
        ("/api/v1/connections/device/{id}", get(sign_in::device)),
        ("/api/v1/connect-sessions", post(connect_sessions::create)),
        ("/api/v1/connect-sessions/claims", post(connect_sessions::redeem)),
        ("/api/v1/oauth-clients", get(oauth_clients::list)),
        ("/api/v1/oauth-clients/{service}", put(oauth_clients::set).delete(oauth_clients::remove)),
        ("/api/v1/organizations", post(organizations::create)),
        ("/api/v1/organizations/{org}/api-keys", get(keys::list).post(keys::issue)),
        ("/api/v1/organizations/{org}/api-keys/{key}", delete(keys::revoke)),
        ("/api/v1/organizations/{org}/api-keys/{key}/rotate", post(keys::rotate)),
    ]
}

/// The routes above, and a 404 for everything else under `/api`. Paths outside are not touched: a router that this one
/// is merged into says what those are ([`unknown`]).
pub fn router(gateway: Arc<Gateway>) -> Router {
    let listed = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    listed
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .route("/api", any(absent))
        .route("/api/", any(absent))
        .route("/api/{*rest}", any(absent))
        .layer(axum::middleware::from_fn(remember_source))
        .with_state(gateway)
}

/// What the console's page reads and does, with the same handlers and the same rules as for programs.
const CONSOLE: [&str; 7] = [
    "/api/v1/calls",
    "/api/v1/calls/{execution_id}",
    "/api/v1/overview",
    "/api/v1/connections",
    "/api/v1/dead-letters",
    "/api/v1/dead-letters/{execution_id}",
    "/api/v1/dead-letters/{execution_id}/replay",
];

/// Routes for whoever is signed in at the console.
pub(crate) fn console_routes() -> Router<Arc<Gateway>> {
    let shown = routes().into_iter().filter(|(path, _)| CONSOLE.contains(path));
    shown.fold(Router::new(), |router, (path, methods)| router.route(path, methods))
}

/// Where a request comes from, for the audit log.
pub(crate) async fn remember_source(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    asked_from(peer, next.run(request)).await
}

async fn absent(uri: Uri) -> Problem {
    Problem::no_route(uri.path())
}

/// For paths that no part of the listener serves: JSON for everyone, except that gRPC clients are told in their own way.
pub async fn unknown(uri: Uri, headers: HeaderMap) -> Response {
    let grpc = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !grpc {
        return Problem::no_route(uri.path()).into_response();
    }
    let mut response = Response::new(Body::empty());
    // UNIMPLEMENTED, as a response of trailers only.
    response.headers_mut().insert("grpc-status", HeaderValue::from_static("12"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
