//! Is the process alive, and can it serve calls.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::reply;
use crate::state::Gateway;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alive {
    /// `alive`.
    status: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    parts: Parts,
}

#[derive(Debug, Serialize, ToSchema)]
struct Parts {
    /// The catalog is loaded.
    catalog: bool,
    /// The auth service is heard.
    auth: bool,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "healthz", security(()),
    responses((status = 200, description = "The process is alive.", body = Alive)))]
pub(super) async fn alive() -> Result<Response, Problem> {
    reply::json(StatusCode::OK, &Alive { status: "alive" })
}

/// All that a call needs is there.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readyz", security(()), responses(
    (status = 200, description = "Calls can be served.", body = Readiness),
    (status = 503, description = "A part is missing.", body = Readiness)))]
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> Result<Response, Problem> {
    let parts = Parts { catalog: gateway.catalog.is_ready(), auth: gateway.directory.is_fresh() };
    let (code, status) = match gateway.ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    reply::json(code, &Readiness { status, parts })
}
