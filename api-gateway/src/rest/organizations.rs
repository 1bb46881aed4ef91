//! Tenants, created by the platform operator.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields, required};
use super::caller::Operator;
use super::error::Problem;
use super::openapi::{BadBody, Closed};
use super::reply;
use crate::state::Gateway;

#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrganization {
    name: String,
}

impl Decode for NewOrganization {
    const FIELDS: &'static [&'static str] = &["name"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self { name: required("name", fields.text("name")?)? })
    }
}

/// No `Debug`: it holds a key.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedOrganization {
    id: String,
    name: String,
    /// Its first key, shown this once.
    api_key: String,
}

/// Creates an organization with its first key. For the platform operator's key.
#[utoipa::path(post, path = "/api/v1/organizations", tag = "organizations", operation_id = "createOrganization",
    request_body = NewOrganization,
    responses((status = 201, description = "Created.", body = CreatedOrganization), BadBody, Closed))]
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    Body(wanted): Body<NewOrganization>,
) -> Result<Response, Problem> {
    let (organization, key) = gateway.directory.create_organization(&wanted.name).await?;
    let created = CreatedOrganization {
        id: organization.id.as_str().to_owned(),
        name: organization.name,
        api_key: key.secret.expose().to_owned(),
    };
    reply::json(StatusCode::CREATED, &created)
}
