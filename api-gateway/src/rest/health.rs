//! Is the process alive, and can it serve calls.

use std::collections::BTreeMap;
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
    ready: bool,
    /// Each part with `ok`, or with what is wrong.
    parts: BTreeMap<&'static str, &'static str>,
}

/// The process answers.
#[utoipa::path(get, path = "/livez", tag = "health", operation_id = "livez", security(()),
    responses((status = 200, description = "The process is alive.", body = Alive)))]
pub(super) async fn alive() -> Result<Response, Problem> {
    reply::json(StatusCode::OK, &Alive { status: "alive" })
}

/// The same by its older name.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "healthz", security(()),
    responses((status = 200, description = "The process is alive.", body = Alive)))]
pub(super) async fn healthy() -> Result<Response, Problem> {
    alive().await
}

/// All that a call needs is there, and no stop was asked for.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readyz", security(()), responses(
    (status = 200, description = "Calls can be served.", body = Readiness),
    (status = 503, description = "A part is missing, or the process is about to stop.", body = Readiness)))]
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> Result<Response, Problem> {
    let report = gateway.readiness.report();
    let code = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::json(code, &Readiness { ready: report.ready, parts: report.parts.into_iter().collect() })
}
