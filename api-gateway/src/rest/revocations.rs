//! The kill switch: one connection, every connection of a connector, a whole organization; and what the vendors said.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use plugboard_core::clock::Millis;
use plugboard_core::identity::{RevocationReport, Revoke, Revoked, RevokedAccount, VendorRevocation};
use plugboard_core::ids::OrganizationId;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields, required};
use super::caller::{Admin, ConnectionId, Governor, Keeper, Operator, ServiceName};
use super::connections;
use super::error::Problem;
use super::openapi::{Absent, BadBody, Closed, VendorRevocationSchema};
use super::reply::{self, timestamp};
use crate::state::Gateway;

#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    /// Why, for the report and the audit log; up to 500 characters on one line.
    reason: String,
}

impl Decode for Revocation {
    const FIELDS: &'static [&'static str] = &["reason"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self { reason: required("reason", fields.text("reason")?)? })
    }
}

/// What became of revoked connections at their vendors. Here they are unusable in any case.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Revocations {
    /// The vendor is still being told.
    pending: u64,
    revoked: u64,
    /// The vendor has no way to be told: end the credentials there by hand.
    not_revocable: u64,
    failed: u64,
    connections: Vec<RevokedConnection>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevokedConnection {
    id: String,
    service: String,
    label: String,
    reason: String,
    #[schema(format = DateTime)]
    revoked_at: String,
    #[schema(value_type = VendorRevocationSchema)]
    vendor: VendorRevocation,
    /// What the vendor said last.
    detail: Option<String>,
    /// How often the vendor was told.
    attempts: u32,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl Revocations {
    fn of(report: RevocationReport) -> Self {
        Self {
            pending: report.pending,
            revoked: report.revoked,
            not_revocable: report.not_revocable,
            failed: report.failed,
            connections: report.accounts.into_iter().map(RevokedConnection::of).collect(),
        }
    }
}

impl RevokedConnection {
    fn of(account: RevokedAccount) -> Self {
        Self {
            id: account.account.as_str().to_owned(),
            service: account.service.as_str().to_owned(),
            label: account.label,
            reason: account.reason,
            revoked_at: timestamp(Millis(account.revoked_at)),
            vendor: account.vendor,
            detail: account.detail,
            attempts: account.attempts,
            updated_at: timestamp(Millis(account.updated_at)),
        }
    }
}

/// Revokes, and makes the next call of this gateway know.
async fn revoke(
    gateway: &Gateway,
    organization: OrganizationId,
    what: Revoked,
    reason: String,
) -> Result<Response, Problem> {
    let done = gateway.custody.revoke(Revoke { organization: organization.clone(), what, reason }).await;
    // Also after an error: it may have been done all the same.
    gateway.directory.forget_organization(&organization);
    reply::json(StatusCode::OK, &Revocations::of(done?))
}

/// Revokes a connection: unusable at once, its credentials removed, and its vendor told where there is a way to.
#[utoipa::path(post, path = "/api/v1/connections/{id}/revoke", tag = "revocations", operation_id = "revokeConnection",
    params(("id" = String, Path, description = "Id of a connection.")), request_body = Revocation,
    responses((status = 200, description = "Revoked.", body = Revocations), BadBody, Absent, Closed))]
pub(super) async fn connection(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    ConnectionId(id): ConnectionId,
    Body(wanted): Body<Revocation>,
) -> Result<Response, Problem> {
    let account = connections::find(&gateway, &member, &id).await?;
    revoke(&gateway, member.organization, Revoked::Account(account.id), wanted.reason).await
}

/// Revokes every connection of a connector in the organization.
#[utoipa::path(post, path = "/api/v1/connectors/{service}/revoke", tag = "revocations", operation_id = "revokeConnector",
    params(("service" = String, Path, description = "Key of a connector.")), request_body = Revocation,
    responses((status = 200, description = "Revoked.", body = Revocations), BadBody, Absent, Closed))]
pub(super) async fn connector(
    State(gateway): State<Arc<Gateway>>,
    Governor(member): Governor,
    ServiceName(service): ServiceName,
    Body(wanted): Body<Revocation>,
) -> Result<Response, Problem> {
    let (connector, _) = gateway.service(&service)?;
    revoke(&gateway, member.organization, Revoked::Service(connector.key().clone()), wanted.reason).await
}

/// Revokes an organization for good: its keys, and all its connections. For the platform operator's key.
#[utoipa::path(post, path = "/api/v1/organizations/{org}/revoke", tag = "revocations",
    operation_id = "revokeOrganization",
    params(("org" = String, Path, description = "Id of the organization.")), request_body = Revocation,
    responses((status = 200, description = "Revoked.", body = Revocations), BadBody, Absent, Closed))]
pub(super) async fn organization(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    keeper: Keeper,
    Body(wanted): Body<Revocation>,
) -> Result<Response, Problem> {
    revoke(&gateway, keeper.organization, Revoked::Organization, wanted.reason).await
}

/// Every revocation of the organization. For its admin, or the platform operator.
#[utoipa::path(get, path = "/api/v1/organizations/{org}/revocations", tag = "revocations",
    operation_id = "listRevocations",
    params(("org" = String, Path, description = "Id of the organization, or `me`.")),
    responses((status = 200, description = "The revocations.", body = Revocations), Absent, Closed))]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, keeper: Keeper) -> Result<Response, Problem> {
    if keeper.principal.is_bound() {
        return Err(Problem::bound());
    }
    let report = gateway.custody.revocations(&keeper.organization).await?;
    reply::json(StatusCode::OK, &Revocations::of(report))
}
