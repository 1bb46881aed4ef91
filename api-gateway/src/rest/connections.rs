//! Connected accounts: create, look at, change, remove. What is secret goes in and never comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use plugboard_core::error::ErrorCode;
use plugboard_core::identity::{Account, AccountChange, AccountState, NewAccount};
use plugboard_core::ids::{AccountId, OrganizationId, Subject};
use plugboard_core::secret::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields, required};
use super::caller::{Admin, ConnectionId, Lister, Member, Reader};
use super::error::Problem;
use super::openapi::{Absent, BadBody, BadQuery, Closed, ConnectionStateSchema, LabelTaken};
use super::query::parameters;
use super::reply::{self, timestamp};
use crate::state::Gateway;

/// A connected account. Its `id` is the `instance_id` of calls.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Connection {
    id: String,
    service: String,
    label: String,
    #[schema(value_type = ConnectionStateSchema)]
    state: &'static str,
    /// Why, as a word; null when all is well.
    state_reason: Option<String>,
    #[schema(format = DateTime)]
    state_since: String,
    /// The end user it belongs to; null: shared in the organization.
    owner: Option<String>,
    /// The fields that are not secret.
    fields: BTreeMap<String, String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Connections {
    connections: Vec<Connection>,
}

/// No `Debug`: it holds credentials.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewConnection {
    /// Key of a connector.
    service: String,
    /// 1 to 64 characters without a colon, unique for the service; the service's name when left out.
    label: Option<String>,
    /// An end user of yours; left out: shared in the organization.
    owner: Option<String>,
    /// The fields of one flow of the connector's metadata.
    #[schema(value_type = BTreeMap<String, String>, write_only)]
    credentials: BTreeMap<String, Secret>,
}

/// No `Debug`: it holds credentials.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionChange {
    label: Option<String>,
    /// Fields to replace; the empty string removes an optional one. A changed host clears the secrets that do not come
    /// with it.
    #[schema(value_type = Option<BTreeMap<String, String>>, write_only)]
    credentials: Option<BTreeMap<String, Secret>>,
}

impl Decode for NewConnection {
    const FIELDS: &'static [&'static str] = &["service", "label", "owner", "credentials"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self {
            service: required("service", fields.text("service")?)?,
            label: fields.text("label")?,
            owner: fields.text("owner")?,
            credentials: required("credentials", fields.secrets("credentials")?)?,
        })
    }
}

impl Decode for ConnectionChange {
    const FIELDS: &'static [&'static str] = &["label", "credentials"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        if fields.is_empty() {
            return Err(Problem::argument("label", "Give `label`, `credentials` or both."));
        }
        Ok(Self { label: fields.text("label")?, credentials: fields.secrets("credentials")? })
    }
}

impl Connections {
    pub(super) fn of(connections: impl Iterator<Item = Connection>) -> Self {
        Self { connections: connections.collect() }
    }
}

impl Connection {
    pub(super) fn of(account: &Account) -> Self {
        Self {
            id: account.id.as_str().to_owned(),
            service: account.service.as_str().to_owned(),
            label: account.label.clone(),
            state: account.state.as_str(),
            state_reason: Some(account.state_reason.clone()).filter(|reason| !reason.is_empty()),
            state_since: timestamp(account.state_since),
            owner: account.owner.as_ref().map(|owner| owner.0.clone()),
            fields: account.public_fields.clone(),
            created_at: timestamp(account.created_at),
            updated_at: timestamp(account.updated_at),
        }
    }
}

/// `?service=`, `?state=`, and for the operator `?organization=`.
pub(super) struct Filter {
    service: Option<String>,
    state: Option<Wanted>,
    organization: Option<String>,
}

/// Which states.
#[derive(Clone, Copy)]
enum Wanted {
    One(AccountState),
    /// Somebody should look at it.
    Attention,
}

impl Wanted {
    const ATTENTION: &str = "attention";

    fn parse(text: &str) -> Result<Self, Problem> {
        if text == Self::ATTENTION {
            return Ok(Self::Attention);
        }
        AccountState::parse(text).map(Self::One).ok_or_else(|| {
            let states = AccountState::ALL.map(AccountState::as_str).join(", ");
            Problem::argument("state", format!("`state` is one of {states}, or `{}`.", Self::ATTENTION))
        })
    }

    fn fits(self, state: AccountState) -> bool {
        match self {
            Self::One(wanted) => state == wanted,
            Self::Attention => state != AccountState::Connected,
        }
    }
}

impl FromRequestParts<Arc<Gateway>> for Filter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Gateway>) -> Result<Self, Problem> {
        let given = parameters(&parts.uri, &["service", "state", "organization"])?;
        let mut filter = Self { service: None, state: None, organization: None };
        for (name, value) in given.into_iter().filter(|(_, value)| !value.is_empty()) {
            match name {
                "service" => filter.service = Some(value),
                "state" => filter.state = Some(Wanted::parse(&value)?),
                _ => filter.organization = Some(value),
            }
        }
        Ok(filter)
    }
}

/// The connection, if this caller may see it.
pub(super) async fn find(gateway: &Gateway, member: &Member, id: &AccountId) -> Result<Account, Problem> {
    let accounts = gateway.directory.accounts(&member.organization).await?;
    let found = accounts.iter().find(|account| account.id == *id && member.sees(account));
    found.cloned().ok_or_else(|| Problem::absent("connection"))
}

impl Filter {
    /// Whose connections: the caller's own organization's, or for the operator the one that is named.
    fn organization(&self, member: Option<&Member>) -> Result<OrganizationId, Problem> {
        let absent = || Problem::absent("organization");
        match (member, self.organization.as_deref()) {
            (Some(member), None | Some("me")) => Ok(member.organization.clone()),
            (Some(member), Some(named)) if named == member.organization.as_str() => Ok(member.organization.clone()),
            (Some(_), Some(_)) => Err(absent()),
            (None, Some(named)) => OrganizationId::parse(named).ok_or_else(absent),
            (None, None) => Err(Problem::new(
                ErrorCode::AuthPermissionDenied,
                "The operator has no connections: `organization` says whose are meant.",
            )
            .field("organization")),
        }
    }
}

/// Connections: the shared ones, and those of the key's end user; all of them for an admin's unbound key. The operator
/// sees those of an organization without their fields.
#[utoipa::path(get, path = "/api/v1/connections", tag = "connections", operation_id = "listConnections",
    params(
        ("service" = Option<String>, Query, description = "Only connections of this connector."),
        ("state" = Option<String>, Query, description = "Only those in this state; `attention`: all that are not `connected`."),
        ("organization" = Option<String>, Query, description = "For the operator: whose.")),
    responses((status = 200, description = "The connections.", body = Connections), BadQuery, Absent, Closed))]
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Lister(member): Lister,
    filter: Filter,
) -> Result<Response, Problem> {
    let accounts = gateway.directory.accounts(&filter.organization(member.as_ref())?).await?;
    let wanted = filter.service.as_deref();
    let seen = accounts.iter().filter(|account| member.as_ref().is_none_or(|member| member.sees(account)));
    let mut fitting = seen.filter(|account| wanted.is_none_or(|wanted| account.service.as_str() == wanted)).peekable();
    if let (None, Some(wanted)) = (fitting.peek(), wanted) {
        // Nothing connected and nothing of that name are different answers.
        gateway.service(wanted)?;
    }
    let connections = fitting.filter(|account| filter.state.is_none_or(|wanted| wanted.fits(account.state)));
    let connections = connections.map(|account| match &member {
        Some(_) => Connection::of(account),
        None => Connection { fields: BTreeMap::new(), ..Connection::of(account) },
    });
    let connections = connections.collect();
    reply::json(StatusCode::OK, &Connections { connections })
}

/// Connects an account.
#[utoipa::path(post, path = "/api/v1/connections", tag = "connections", operation_id = "createConnection",
    request_body = NewConnection, responses(
        (status = 201, description = "Connected.", body = Connection), BadBody, Absent, LabelTaken, Closed))]
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    Body(wanted): Body<NewConnection>,
) -> Result<Response, Problem> {
    let (connector, suffix) = gateway.service(&wanted.service)?;
    if suffix.is_some() {
        return Err(Problem::argument("service", "`service` is the key alone; give the label as `label`."));
    }
    let owner = wanted.owner.map(Subject);
    if owner.is_some() && member.principal.subject.is_some() && owner != member.principal.subject {
        return Err(Problem::other_subject("owner"));
    }
    let request = NewAccount {
        organization: member.organization,
        service: connector.key().clone(),
        label: wanted.label,
        owner,
        credentials: wanted.credentials,
    };
    let account = gateway.directory.create_account(request).await?;
    reply::json(StatusCode::CREATED, &Connection::of(&account))
}

/// One connection.
#[utoipa::path(get, path = "/api/v1/connections/{id}", tag = "connections", operation_id = "getConnection",
    params(("id" = String, Path, description = "Id of a connection.")),
    responses((status = 200, description = "The connection.", body = Connection), Absent, Closed))]
pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    Reader(member): Reader,
    ConnectionId(id): ConnectionId,
) -> Result<Response, Problem> {
    let account = find(&gateway, &member, &id).await?;
    reply::json(StatusCode::OK, &Connection::of(&account))
}

/// Renames a connection, or replaces some of its credentials.
#[utoipa::path(patch, path = "/api/v1/connections/{id}", tag = "connections", operation_id = "changeConnection",
    params(("id" = String, Path, description = "Id of a connection.")), request_body = ConnectionChange,
    responses((status = 200, description = "Changed.", body = Connection), BadBody, Absent, LabelTaken, Closed))]
pub(super) async fn change(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    ConnectionId(id): ConnectionId,
    Body(wanted): Body<ConnectionChange>,
) -> Result<Response, Problem> {
    let account = find(&gateway, &member, &id).await?;
    let change = AccountChange {
        organization: member.organization,
        account: account.id,
        label: wanted.label,
        credentials: wanted.credentials.unwrap_or_default(),
    };
    let account = gateway.directory.update_account(change).await?;
    reply::json(StatusCode::OK, &Connection::of(&account))
}

/// Removes a connection and its credentials.
#[utoipa::path(delete, path = "/api/v1/connections/{id}", tag = "connections", operation_id = "deleteConnection",
    params(("id" = String, Path, description = "Id of a connection.")),
    responses((status = 204, description = "Removed."), Absent, Closed))]
pub(super) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    ConnectionId(id): ConnectionId,
) -> Result<Response, Problem> {
    let account = find(&gateway, &member, &id).await?;
    gateway.directory.delete_account(&member.organization, &account.id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
