//! The operator console: a page for the operator, and for admins of organizations, over the same REST API that programs
//! use.
//!
//! | route | what it does |
//! | --- | --- |
//! | `GET /console` | the page |
//! | `GET /console/assets/{version}/{name}` | its styles and scripts |
//! | `GET`, `POST`, `DELETE /console/session` | who is signed in; signs in with a key; signs out |
//! | `/console/api/v1/…` | the routes of `/api/v1` that the page needs, for whoever is signed in |
//!
//! The key of a session is sealed in a cookie that no script can read, and counts under `/console/api` alone: a request
//! that another site makes a browser send to `/api` carries nothing. What changes something must bring the session's own
//! mark as well, which only a page of ours can have read.

mod assets;
mod page;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::Method;
use http::header::{AUTHORIZATION, COOKIE};

pub use self::session::Sessions;
use crate::rest;
use crate::state::Gateway;

/// For the gateway's listener.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let api = rest::console_routes().layer(from_fn_with_state(gateway.clone(), as_signed_in));
    Router::new()
        .nest("/console", api)
        .route("/console", get(page::show))
        .route("/console/session", get(session::show).post(session::begin).delete(session::end))
        .layer(from_fn(rest::remember_source))
        .route("/console/assets/{version}/{name}", get(assets::serve))
        .with_state(gateway)
}

/// Makes a request of the page one with the key of its session.
async fn as_signed_in(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let session = match gateway.console.of(request.headers(), gateway.is_https(), gateway.clock.now()) {
        Ok(session) => session,
        Err(problem) => return problem.into_response(),
    };
    if request.method() != Method::GET {
        // Accounts are looked at here and managed elsewhere.
        if !request.uri().path().starts_with("/api/v1/dead-letters/") {
            return rest::error::Problem::method_not_allowed().into_response();
        }
        if let Err(problem) = session.permits(request.headers()) {
            return problem.into_response();
        }
    }
    let headers = request.headers_mut();
    headers.remove(COOKIE);
    headers.insert(AUTHORIZATION, session.bearer());
    next.run(request).await
}
