//! The three tools for internal services: decode, call the use case, encode.
//!
//! Failures of a call are answers (`ok = false`), as over MCP. A gRPC status is used only where there is no call: no
//! key, no scope, nothing that could be described.

use std::collections::HashMap;
use std::sync::Arc;

use plugboard_core::error::{CallError, ErrorCode};
use plugboard_core::identity::{Principal, Scope};
use plugboard_core::ids::ExecutionId;
use plugboard_core::job::CallState;
use plugboard_core::telemetry::{CallTrace, SPANS, SpanKind};
use plugboard_core::tls::Peer;
use plugboard_proto::gateway::v1 as wire;
use plugboard_proto::gateway::v1::execution_server::{Execution, ExecutionServer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};
use tracing::Instrument;
use tracing::field::Empty;

use crate::answer::Answer;
use crate::arguments::{Call, Request as Wanted};
use crate::browse::{DescribeRequest, ListRequest};
use crate::principal::{KeyProblem, require};
use crate::seen;
use crate::state::Gateway;

/// Largest request: the same as over MCP.
const MAX_MESSAGE: usize = 4 * 1024 * 1024 + 64 * 1024;

/// Largest answer: a whole vendor answer below the handle limit, with its envelope.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct GrpcExecution(Arc<Gateway>);

/// The service, ready to be mounted.
pub fn service(gateway: Arc<Gateway>) -> ExecutionServer<GrpcExecution> {
    ExecutionServer::new(GrpcExecution(gateway))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_ANSWER)
}

/// Lets in whom the connection's certificate says to be a caller; where none is asked for, everybody. Keys are checked with
/// each call.
#[allow(clippy::result_large_err, reason = "what tonic wants")]
pub(crate) fn admit(request: Request<()>) -> Result<Request<()>, Status> {
    match request.extensions().get::<Peer>() {
        Some(Peer::Certified(roles)) if !roles.is_caller() => {
            Err(Status::permission_denied("the caller's certificate has none of tls.names.caller"))
        }
        _ => Ok(request),
    }
}

#[tonic::async_trait]
impl Execution for GrpcExecution {
    async fn list_services(
        &self,
        request: Request<wire::ListServicesRequest>,
    ) -> Result<Response<wire::ListServicesResponse>, Status> {
        let principal = self.caller(request.metadata()).await?;
        let message = request.into_inner();
        let request =
            ListRequest { query: some(message.query), category: some(message.category), connected: message.connected };
        let rows = self.0.service_rows(&principal, &request).await.map_err(|error| status(&error))?;
        let services = rows
            .into_iter()
            .map(|row| wire::Service {
                key: row.key,
                name: row.name,
                category: row.category.to_owned(),
                tagline: row.tagline,
                connected: row.connected,
                admin_only: row.admin_only,
            })
            .collect();
        Ok(Response::new(wire::ListServicesResponse { services }))
    }

    async fn describe_service(
        &self,
        request: Request<wire::DescribeServiceRequest>,
    ) -> Result<Response<wire::DescribeServiceResponse>, Status> {
        let principal = self.caller(request.metadata()).await?;
        let message = request.into_inner();
        let request = DescribeRequest { service: message.service, module: some(message.module) };
        let passport = self.0.describe_service(&principal, &request).map_err(|error| status(&error))?;
        Ok(Response::new(wire::DescribeServiceResponse { passport_json: passport.to_vec() }))
    }

    async fn execute(&self, request: Request<wire::ExecuteRequest>) -> Result<Response<wire::ExecuteResponse>, Status> {
        let principal = self.caller(request.metadata()).await?;
        let received = plugboard_core::telemetry::received_trace(request.metadata());
        let trace = CallTrace::begin("grpc request", SpanKind::Server, received, || {
            tracing::info_span!(
                target: SPANS,
                "grpc request",
                otel.kind = "server",
                otel.status_code = Empty,
                rpc.method = "Execute",
            )
        });
        let executed = async {
            match wanted(request.into_inner()) {
                Ok(wanted) => self.0.execute(&principal, wanted, &trace).await,
                Err(error) => Ok(Answer::failed(error)),
            }
        };
        let answer = executed.instrument(trace.span()).await;
        seen::ended(&trace, &answer);
        let answer = answer.map_err(|error| status(&error))?;
        Ok(Response::new(response(self.0.with_link(&principal, answer).await)))
    }
}

impl GrpcExecution {
    async fn caller(&self, metadata: &MetadataMap) -> Result<Arc<Principal>, Status> {
        let headers = metadata.clone().into_headers();
        let principal = self.0.principal(&headers).await.map_err(|problem| match problem {
            KeyProblem::Missing | KeyProblem::Refused => Status::unauthenticated(problem.to_string()),
            KeyProblem::Unavailable => Status::unavailable(problem.to_string()),
        })?;
        require(&principal, Scope::ConnectorGateway).map_err(|error| status(&error))?;
        Ok(principal)
    }
}

fn wanted(message: wire::ExecuteRequest) -> Result<Wanted, CallError> {
    if !message.execution_id.is_empty() {
        return ExecutionId::parse(&message.execution_id)
            .map(Wanted::Look)
            .ok_or_else(|| CallError::argument("execution_id", "`execution_id` is not one of ours."));
    }
    let query: Option<Map<String, Value>> = match message.query_json.as_slice() {
        [] => None,
        json => Some(
            serde_json::from_slice(json)
                .map_err(|_| CallError::argument("query_json", "`query_json` must be a JSON object."))?,
        ),
    };
    let body = match message.body_json {
        None => None,
        Some(json) => Some(
            String::from_utf8(json)
                .ok()
                .and_then(|text| RawValue::from_string(text).ok())
                .ok_or_else(|| CallError::argument("body_json", "`body_json` must be JSON."))?,
        ),
    };
    let call = Call {
        service: message.service,
        module: some(message.module),
        method: message.method,
        path: some(message.path),
        query,
        body,
        headers: headers(message.headers),
        instance_id: some(message.instance_id),
        wait_ms: message.wait_ms,
        deadline_ms: message.deadline_ms,
        idempotency_key: some(message.idempotency_key),
        repeat: message.repeat,
    };
    call.check()?;
    Ok(Wanted::Call(Box::new(call)))
}

fn headers(headers: HashMap<String, String>) -> Option<Map<String, Value>> {
    let map: Map<String, Value> = headers.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    (!map.is_empty()).then_some(map)
}

fn response(answer: Answer) -> wire::ExecuteResponse {
    let summary = answer.summary();
    let state = match summary.state {
        CallState::Succeeded => wire::State::Succeeded,
        CallState::Failed => wire::State::Failed,
        CallState::Running => wire::State::Running,
        CallState::Unknown => wire::State::Unknown,
    };
    let code = summary.error.map_or(wire::ErrorCode::Unspecified, |error| code_to_wire(error.code));
    wire::ExecuteResponse {
        ok: summary.ok,
        state: state.into(),
        execution_id: summary.execution_id.unwrap_or_default(),
        envelope_json: answer.json.to_vec(),
        code: code.into(),
    }
}

/// The generated names are the contract's names with a prefix; a test holds the two lists together.
fn code_to_wire(code: ErrorCode) -> wire::ErrorCode {
    wire::ErrorCode::from_str_name(&format!("ERROR_CODE_{code}")).unwrap_or(wire::ErrorCode::Internal)
}

/// For what is not a call.
fn status(error: &CallError) -> Status {
    let code = match error.code {
        ErrorCode::AuthPermissionDenied | ErrorCode::AdminOnly | ErrorCode::PolicyDenied => Code::PermissionDenied,
        ErrorCode::UnknownService | ErrorCode::UnknownModule => Code::NotFound,
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::Overloaded => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_wire_name() {
        for code in ErrorCode::ALL {
            let wire = code_to_wire(code);
            assert_eq!(wire.as_str_name(), format!("ERROR_CODE_{code}"));
        }
    }
}
