//! The OAuth clients that sign-ins use: an organization's own, or the platform's for those that have none.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use plugboard_core::identity::{NewOAuthClient, OAuthClient};
use plugboard_core::ids::ServiceKey;
use plugboard_core::secret::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields, required};
use super::caller::{ClientKeeper, ServiceName};
use super::error::Problem;
use super::openapi::{Absent, BadBody, Closed};
use super::reply::{self, timestamp};
use crate::state::Gateway;

/// No `Debug`: it holds a secret.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientRequest {
    client_id: String,
    /// Left out for a public client.
    #[schema(value_type = Option<String>, write_only)]
    client_secret: Option<Secret>,
}

impl Decode for ClientRequest {
    const FIELDS: &'static [&'static str] = &["client_id", "client_secret"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self {
            client_id: required("client_id", fields.text("client_id")?)?,
            client_secret: fields.text("client_secret")?.map(Secret::new),
        })
    }
}

/// An OAuth client without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Client {
    service: String,
    client_id: String,
    has_secret: bool,
    /// To be registered at the vendor, exactly; empty where sign-in is by code only.
    redirect_uri: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Clients {
    clients: Vec<Client>,
}

impl Client {
    fn of(client: OAuthClient) -> Self {
        Self {
            service: client.service.as_str().to_owned(),
            client_id: client.client_id,
            has_secret: client.has_secret,
            redirect_uri: client.redirect_uri,
            updated_at: timestamp(client.updated_at),
        }
    }
}

/// The organization's clients; with the platform operator's key the platform's.
#[utoipa::path(get, path = "/api/v1/oauth-clients", tag = "connections", operation_id = "listOAuthClients",
    responses((status = 200, description = "The clients.", body = Clients), Closed))]
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    ClientKeeper(owner): ClientKeeper,
) -> Result<Response, Problem> {
    let clients = gateway.connect.clients(&owner).await?;
    reply::json(StatusCode::OK, &Clients { clients: clients.into_iter().map(Client::of).collect() })
}

/// Sets the client for one connector. Accounts that signed in through another one must be connected again.
#[utoipa::path(put, path = "/api/v1/oauth-clients/{service}", tag = "connections", operation_id = "setOAuthClient",
    params(("service" = String, Path, description = "Key of a connector.")), request_body = ClientRequest,
    responses((status = 200, description = "Set.", body = Client), BadBody, Absent, Closed))]
pub(super) async fn set(
    State(gateway): State<Arc<Gateway>>,
    ClientKeeper(owner): ClientKeeper,
    ServiceName(service): ServiceName,
    Body(wanted): Body<ClientRequest>,
) -> Result<Response, Problem> {
    let (connector, _) = gateway.service(&service)?;
    let request = NewOAuthClient {
        owner,
        service: connector.key().clone(),
        client_id: wanted.client_id,
        client_secret: wanted.client_secret,
    };
    reply::json(StatusCode::OK, &Client::of(gateway.connect.set_client(request).await?))
}

/// Removes the client for one connector.
#[utoipa::path(delete, path = "/api/v1/oauth-clients/{service}", tag = "connections", operation_id = "removeOAuthClient",
    params(("service" = String, Path, description = "Key of a connector.")),
    responses((status = 204, description = "Removed."), Absent, Closed))]
pub(super) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    ClientKeeper(owner): ClientKeeper,
    ServiceName(service): ServiceName,
) -> Result<Response, Problem> {
    let service = ServiceKey::parse(&service).ok_or_else(|| Problem::absent("OAuth client"))?;
    gateway.connect.remove_client(&owner, &service).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
