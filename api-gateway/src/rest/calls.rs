//! Calls now and lately, as gateways remember them. What was asked is for its own organization alone.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use plugboard_core::error::Origin;
use plugboard_core::fleet::{CallEntry, CallFilter, Content, Position, Shown};
use plugboard_core::ids::OrganizationId;
use plugboard_core::job::CallState;
use plugboard_core::manifest::Effect;
use plugboard_core::telemetry::metrics::{Stage, StageTimes};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::caller::{CallId, Overseer};
use super::error::Problem;
use super::openapi::{Absent, BadQuery, CallStateSchema, Closed, EffectSchema, OriginSchema, StageSchema};
use super::query::{number, parameters};
use super::reply::{self, moment, timestamp};
use crate::state::Gateway;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
/// Longest text that is looked for.
const MAX_TEXT: usize = 200;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallList {
    /// The newest first.
    calls: Vec<CallView>,
    /// `after` of the next page; null: this was the last.
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Call)]
pub(super) struct CallView {
    /// Null: it was refused before it became an execution.
    execution_id: Option<String>,
    organization: String,
    /// Id of the API key.
    key: Option<String>,
    /// The end user of the key.
    subject: Option<String>,
    /// The name of the agent of the key.
    agent: Option<String>,
    service: Option<String>,
    /// Null: a path that the connector does not list, or a call that was refused.
    operation: Option<String>,
    /// Id of the connection.
    connection: Option<String>,
    connection_label: Option<String>,
    #[schema(value_type = Option<EffectSchema>)]
    effect: Option<Effect>,
    /// Its caller has a handle and waits for nothing.
    background: bool,
    #[schema(value_type = CallStateSchema)]
    state: CallState,
    /// `OK`, `RUNNING` or an error code.
    code: String,
    #[schema(value_type = Option<OriginSchema>)]
    origin: Option<Origin>,
    #[schema(format = DateTime)]
    started_at: String,
    /// Until its caller had an answer; null: it is under way.
    total_us: Option<u64>,
    stages: Vec<StageView>,
    /// Requests made to the vendor.
    attempts: Option<u32>,
    /// It had the answer of an earlier call.
    replayed: bool,
    /// The vendor's HTTP status.
    status: Option<u16>,
    /// The gateway that answered it.
    gateway: Option<String>,
}

/// Of the total, in the order of their way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StageTime)]
pub(super) struct StageView {
    #[schema(value_type = StageSchema)]
    stage: &'static str,
    us: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallDetail {
    #[serde(flatten)]
    call: CallView,
    /// What the caller was told went wrong. For the organization's admins only.
    message: Option<String>,
    request: RequestView,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShownRequest)]
pub(super) struct RequestView {
    shown: bool,
    /// Why it is not shown: `operator`, `off` (by the settings), `unchecked` (the call was refused before it was known
    /// what it is) or `forgotten`.
    reason: Option<&'static str>,
    /// Method, path and arguments, with what may be secret masked and what is long cut.
    #[schema(value_type = Option<Object>)]
    masked: Option<Box<RawValue>>,
}

impl CallView {
    pub(super) fn of(call: CallEntry) -> Self {
        Self {
            execution_id: call.execution_id.map(|id| id.as_str().to_owned()),
            organization: call.organization.as_str().to_owned(),
            key: call.key.map(|key| key.as_str().to_owned()),
            subject: call.subject.map(|subject| subject.0),
            agent: call.agent,
            service: call.service.map(|service| service.as_str().to_owned()),
            operation: call.operation,
            connection: call.account.map(|account| account.as_str().to_owned()),
            connection_label: call.account_label,
            effect: call.effect,
            background: call.background,
            state: call.state,
            code: call.code,
            origin: call.origin,
            started_at: timestamp(call.started),
            total_us: call.total_us,
            stages: stages(call.stages),
            attempts: call.attempts,
            replayed: call.replayed,
            status: call.status,
            gateway: call.gateway.map(|gateway| gateway.as_str().to_owned()),
        }
    }
}

fn stages(times: StageTimes) -> Vec<StageView> {
    let view = |stage: Stage| StageView {
        stage: stage.as_str(),
        us: u64::try_from(times.of(stage).as_micros()).unwrap_or(u64::MAX),
    };
    Stage::ALL.into_iter().map(view).filter(|stage| stage.us > 0).collect()
}

impl RequestView {
    fn of(content: Option<&Content>, operator: bool) -> Self {
        let hidden = |reason| Self { shown: false, reason: Some(reason), masked: None };
        match content.map(|content| &content.request) {
            _ if operator => hidden("operator"),
            None | Some(Shown::Forgotten) => hidden("forgotten"),
            Some(Shown::Off) => hidden("off"),
            Some(Shown::Unchecked) => hidden("unchecked"),
            Some(Shown::Masked(request)) => match RawValue::from_string(request.to_string()) {
                Ok(masked) => Self { shown: true, reason: None, masked: Some(masked) },
                Err(_) => hidden("forgotten"),
            },
        }
    }
}

/// Which calls, as the query says.
pub(super) struct Wanted(CallFilter);

impl FromRequestParts<Arc<Gateway>> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Gateway>) -> Result<Self, Problem> {
        let known = ["organization", "service", "code", "state", "text", "since", "after", "limit"];
        let mut filter = CallFilter { limit: DEFAULT_LIMIT, ..CallFilter::default() };
        for (name, value) in parameters(&parts.uri, &known)?.into_iter().filter(|(_, value)| !value.is_empty()) {
            let wrong = |right: &str| Problem::argument(name, format!("`{name}` {right}."));
            match name {
                "limit" => {
                    let limit = number(name, &value, 1, MAX_LIMIT as u64)?;
                    filter.limit = usize::try_from(limit).unwrap_or(MAX_LIMIT);
                }
                "organization" => {
                    let id = OrganizationId::parse(&value).ok_or_else(|| Problem::absent("organization"))?;
                    filter.organization = Some(id);
                }
                "state" => {
                    filter.state =
                        Some(state(&value).ok_or_else(|| wrong("is one of succeeded, failed, running, unknown"))?)
                }
                "since" => {
                    let since = moment(&value);
                    filter.since = Some(since.ok_or_else(|| wrong("is a time in RFC 3339, 2026-11-22T21:20:00Z"))?);
                }
                "after" => {
                    let after = Position::parse(&value);
                    filter.after = Some(after.ok_or_else(|| wrong("is not what a page gave as `next`"))?);
                }
                _ if value.len() > MAX_TEXT => return Err(wrong("is too long")),
                "service" => filter.service = Some(value),
                "code" => filter.code = Some(value),
                _ => filter.text = Some(value),
            }
        }
        Ok(Self(filter))
    }
}

fn state(word: &str) -> Option<CallState> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

/// Calls now and lately: the organization's; with the operator's key everybody's. Gateways keep some hundred of each
/// organization in memory, failures and slow ones longer than good ones. A call that nobody waited for is looked for as
/// `running`, since nobody has told its gateway of the end; the newest of a page are told as they have ended.
#[utoipa::path(get, path = "/api/v1/calls", tag = "calls", operation_id = "listCalls",
    params(
        ("organization" = Option<String>, Query, description = "For the operator: whose."),
        ("service" = Option<String>, Query, description = "Key of a connector."),
        ("code" = Option<String>, Query, description = "`OK`, `RUNNING` or an error code."),
        ("state" = Option<String>, Query, description = "`succeeded`, `failed`, `running` or `unknown`."),
        ("text" = Option<String>, Query, description = "Part of an id, or of a name: operation, connection, agent, end user."),
        ("since" = Option<String>, Query, description = "Began at this time or later, RFC 3339."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<u32>, Query, description = "1 to 200; default 50.")),
    responses((status = 200, description = "A page.", body = CallList), BadQuery, Absent, Closed))]
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Overseer(whose): Overseer,
    Wanted(filter): Wanted,
) -> Result<Response, Problem> {
    let organization = match (whose, filter.organization) {
        (None, named) => named,
        (Some(own), Some(named)) if named != own => return Err(Problem::absent("organization")),
        (own, _) => own,
    };
    let page = gateway.find_calls(CallFilter { organization, ..filter }).await;
    let calls = page.calls.into_iter().map(CallView::of).collect();
    reply::json(StatusCode::OK, &CallList { calls, next: page.next.map(|next| next.to_string()) })
}

/// One call. Of what gateways have forgotten the journal tells for a day, if it was no read that was answered at once.
#[utoipa::path(get, path = "/api/v1/calls/{execution_id}", tag = "calls", operation_id = "getCall",
    params(("execution_id" = String, Path, description = "Id of the execution.")),
    responses((status = 200, description = "The call.", body = CallDetail), Absent, Closed))]
pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    Overseer(whose): Overseer,
    CallId(id): CallId,
) -> Result<Response, Problem> {
    let call = gateway.find_call(whose.as_ref(), &id).await.ok_or_else(|| Problem::absent("call"))?;
    let content = call.content.clone().filter(|_| whose.is_some());
    let message = content.as_ref().and_then(|content| content.message.clone());
    let request = RequestView::of(content.as_deref(), whose.is_none());
    reply::json(StatusCode::OK, &CallDetail { call: CallView::of(call), message, request })
}
