//! Agents: what a program that acts on its own may use, whatever its key permits.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use plugboard_core::clock::Millis;
use plugboard_core::error::{Fix, FixKind};
use plugboard_core::identity::{Agent, AgentDraft};
use plugboard_core::ids::{AccountId, ServiceKey};
use plugboard_core::manifest::Effect;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields, required};
use super::caller::{AgentName, Governor};
use super::error::{Problem, shown};
use super::openapi::{Absent, BadBody, Closed, EffectSchema, Unfitting};
use super::reply::{self, timestamp};
use crate::state::Gateway;

const EFFECTS: [(&str, Effect); 4] =
    [("read", Effect::Read), ("idempotent", Effect::Idempotent), ("keyed", Effect::Keyed), ("once", Effect::Once)];

/// A list that is left out permits everything that the key permits; an empty one permits nothing.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentRequest {
    /// To recognise it by.
    name: String,
    /// Keys of the connectors it may call.
    connectors: Option<Vec<String>>,
    /// Ids of the connections granted to it.
    connections: Option<Vec<String>>,
    /// Effect classes of the operations it may call.
    #[schema(value_type = Option<Vec<EffectSchema>>)]
    effects: Option<Vec<String>>,
}

impl Decode for AgentRequest {
    const FIELDS: &'static [&'static str] = &["name", "connectors", "connections", "effects"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self {
            name: required("name", fields.text("name")?)?,
            connectors: fields.texts("connectors")?,
            connections: fields.texts("connections")?,
            effects: fields.texts("effects")?,
        })
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agent)]
pub(super) struct AgentView {
    id: String,
    name: String,
    /// Null: every connector.
    connectors: Option<Vec<String>>,
    /// Null: every connection that its key may use.
    connections: Option<Vec<String>>,
    /// Null: every effect class.
    #[schema(value_type = Option<Vec<EffectSchema>>)]
    effects: Option<BTreeSet<Effect>>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Agents {
    agents: Vec<AgentView>,
}

impl AgentView {
    fn of(agent: Agent) -> Self {
        let texts = |keys: BTreeSet<ServiceKey>| keys.iter().map(|key| key.as_str().to_owned()).collect();
        let ids = |ids: BTreeSet<AccountId>| ids.iter().map(|id| id.as_str().to_owned()).collect();
        Self {
            id: agent.id.as_str().to_owned(),
            name: agent.name,
            connectors: agent.connectors.map(texts),
            connections: agent.accounts.map(ids),
            effects: agent.effects,
            created_at: timestamp(Millis(agent.created_at)),
            updated_at: timestamp(Millis(agent.updated_at)),
        }
    }
}

/// Names that exist: a typing error would lock the agent out, or worse, seem to let it in.
async fn draft(
    gateway: &Gateway,
    organization: &plugboard_core::ids::OrganizationId,
    wanted: AgentRequest,
) -> Result<AgentDraft, Problem> {
    let connector = |name: String| match gateway.service(&name) {
        Ok((connector, None)) => Ok(connector.key().clone()),
        _ => Err(Problem::argument("connectors", format!("There is no connector {:?}.", shown(&name)))),
    };
    let connectors = wanted.connectors.map(|names| names.into_iter().map(connector).collect::<Result<_, _>>());
    let accounts = match wanted.connections {
        None => None,
        Some(ids) => {
            let known = gateway.directory.accounts(organization).await?;
            let account = |id: String| {
                let found = known.iter().find(|account| account.id.as_str() == id).map(|account| account.id.clone());
                found
                    .or_else(|| (gateway.sandbox && id == AccountId::sandbox().as_str()).then(AccountId::sandbox))
                    .ok_or_else(|| {
                        Problem::argument("connections", format!("There is no connection {:?}.", shown(&id)))
                    })
            };
            Some(ids.into_iter().map(account).collect::<Result<_, _>>()?)
        }
    };
    let effect = |name: String| {
        EFFECTS.into_iter().find(|(known, _)| *known == name).map(|(_, effect)| effect).ok_or_else(|| {
            let known = EFFECTS.map(|(name, _)| name);
            let detail = format!("There is no effect class {:?}. There are {}.", shown(&name), known.join(", "));
            let fix = Fix::new(FixKind::ChangeArgument).field("effects").options(known);
            Problem::argument("effects", detail).fix(fix)
        })
    };
    let effects = wanted.effects.map(|names| names.into_iter().map(effect).collect::<Result<_, _>>()).transpose()?;
    Ok(AgentDraft { name: wanted.name, connectors: connectors.transpose()?, accounts, effects })
}

/// The agents of the organization.
#[utoipa::path(get, path = "/api/v1/agents", tag = "agents", operation_id = "listAgents",
    responses((status = 200, description = "The agents.", body = Agents), Closed))]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, Governor(member): Governor) -> Result<Response, Problem> {
    let agents = gateway.custody.agents(&member.organization).await?;
    reply::json(StatusCode::OK, &Agents { agents: agents.into_iter().map(AgentView::of).collect() })
}

/// Makes an agent. Bind keys to it by `agent` when they are issued.
#[utoipa::path(post, path = "/api/v1/agents", tag = "agents", operation_id = "createAgent", request_body = AgentRequest,
    responses((status = 201, description = "Made.", body = AgentView), BadBody, Closed))]
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    Governor(member): Governor,
    Body(wanted): Body<AgentRequest>,
) -> Result<Response, Problem> {
    let draft = draft(&gateway, &member.organization, wanted).await?;
    let agent = gateway.custody.create_agent(&member.organization, &draft).await?;
    reply::json(StatusCode::CREATED, &AgentView::of(agent))
}

/// Replaces what an agent may do; its keys follow at once.
#[utoipa::path(put, path = "/api/v1/agents/{agent}", tag = "agents", operation_id = "updateAgent",
    params(("agent" = String, Path, description = "Id of an agent.")), request_body = AgentRequest,
    responses((status = 200, description = "Replaced.", body = AgentView), BadBody, Absent, Closed))]
pub(super) async fn update(
    State(gateway): State<Arc<Gateway>>,
    Governor(member): Governor,
    AgentName(agent): AgentName,
    Body(wanted): Body<AgentRequest>,
) -> Result<Response, Problem> {
    let draft = draft(&gateway, &member.organization, wanted).await?;
    let updated = gateway.custody.update_agent(&member.organization, &agent, &draft).await;
    gateway.directory.forget_organization(&member.organization);
    reply::json(StatusCode::OK, &AgentView::of(updated?))
}

/// Removes an agent. Refused while a key is bound to it.
#[utoipa::path(delete, path = "/api/v1/agents/{agent}", tag = "agents", operation_id = "deleteAgent",
    params(("agent" = String, Path, description = "Id of an agent.")),
    responses((status = 204, description = "Removed."), Absent, Unfitting, Closed))]
pub(super) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Governor(member): Governor,
    AgentName(agent): AgentName,
) -> Result<Response, Problem> {
    gateway.custody.delete_agent(&member.organization, &agent).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
