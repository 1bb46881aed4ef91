//! Does a connection work: the connector's own test operation, called like any other.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use plugboard_core::error::{CallError, ErrorCode};
use plugboard_core::identity::{Account, Principal};
use plugboard_core::job::{Envelope, TraceContext};
use plugboard_core::manifest::Connector;
use plugboard_core::telemetry::{CallTrace, SPANS, SpanKind};
use serde::Serialize;
use tracing::Instrument;
use tracing::field::Empty;
use utoipa::ToSchema;

use super::caller::{Admin, ConnectionId};
use super::connections;
use super::error::Problem;
use super::openapi::{Absent, CallErrorSchema, Closed, ConnectionStateSchema, Untestable};
use super::reply;
use crate::answer::Answer;
use crate::arguments::{Call, Request};
use crate::seen;
use crate::state::Gateway;

/// A test that takes longer has failed.
const DEADLINE_MS: u32 = 20_000;

/// Longer than the deadline, so that the answer is an outcome and never a handle.
const WAIT_MS: u32 = 30_000;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TestResult {
    /// The vendor answered as it should.
    ok: bool,
    #[schema(value_type = ConnectionStateSchema)]
    state: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CallErrorSchema>)]
    error: Option<CallError>,
}

/// Calls the vendor with this connection, reading only.
#[utoipa::path(post, path = "/api/v1/connections/{id}/test", tag = "connections", operation_id = "testConnection",
    params(("id" = String, Path, description = "Id of a connection.")),
    responses((status = 200, description = "Tested.", body = TestResult), Absent, Untestable, Closed))]
pub(super) async fn run(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    ConnectionId(id): ConnectionId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let account = connections::find(&gateway, &member, &id).await?;
    let (connector, _) = gateway.service(account.service.as_str())?;
    let call = test_call(&connector, &account)
        .ok_or_else(|| Problem::conflict(format!("{} has no test.", connector.manifest().name)))?;
    let principal = as_owner(&member.principal, &account);
    let trace = CallTrace::begin(
        "connection test",
        SpanKind::Server,
        received(&headers),
        || tracing::info_span!(target: SPANS, "connection test", otel.kind = "server", otel.status_code = Empty),
    );
    let executed = gateway.execute(&principal, Request::Call(Box::new(call)), &trace);
    let answer = executed.instrument(trace.span()).await;
    seen::ended(&trace, &answer);
    let answer = answer?;
    reply::json(StatusCode::OK, &result(&account, &answer)?)
}

/// The manifest's test has no required parameters; a body is sent where the example has one, because some vendors
/// refuse a POST without.
fn test_call(connector: &Connector, account: &Account) -> Option<Call> {
    let (operation, _) = connector.operation(connector.manifest().auth.test.as_deref()?)?;
    let example = operation.request_example.as_ref().and_then(|example| example.body.as_ref());
    let body = example.and_then(|body| serde_json::value::to_raw_value(body).ok());
    Some(Call {
        service: account.service.as_str().to_owned(),
        module: Some(operation.module.clone()),
        method: operation.method.clone(),
        path: operation.path.clone(),
        body,
        instance_id: Some(account.id.as_str().to_owned()),
        wait_ms: Some(WAIT_MS),
        deadline_ms: Some(DEADLINE_MS),
        ..Call::default()
    })
}

/// An end user's account answers to that user only; an admin who may manage it may also test it.
fn as_owner(principal: &Principal, account: &Account) -> Principal {
    let mut caller = principal.clone();
    if account.owner.is_some() {
        caller.subject.clone_from(&account.owner);
    }
    caller
}

/// # Errors
/// When the failure is ours and says nothing about the account.
fn result(account: &Account, answer: &Answer) -> Result<TestResult, Problem> {
    let envelope: Envelope = serde_json::from_slice(&answer.json).map_err(|_| CallError::internal())?;
    if let Some(error) = &envelope.error
        && matches!(error.code, ErrorCode::Overloaded | ErrorCode::Internal)
    {
        return Err(error.clone().into());
    }
    Ok(TestResult { ok: envelope.ok, state: account.state.as_str(), error: envelope.error })
}

fn received(headers: &HeaderMap) -> TraceContext {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    TraceContext { traceparent: text("traceparent"), tracestate: text("tracestate") }
}
