//! Links for end users to connect accounts, and the claims that their browsers bring back.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use plugboard_core::identity::NewConnectSession;
use plugboard_core::ids::{ServiceKey, Subject};
use plugboard_core::secret::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields, required};
use super::caller::Admin;
use super::connections::{Connection, Connections};
use super::error::Problem;
use super::openapi::{Absent, BadBody, Closed};
use super::reply::{self, timestamp};
use crate::state::Gateway;

#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionRequest {
    /// The end user of yours who will use the link; left out: what is connected is shared in the organization.
    subject: Option<String>,
    /// Keys of connectors; left out: every one.
    services: Option<Vec<String>>,
    /// A page of yours, where the browser goes at the end with `claim` in the query. Your backend redeems it there, when it
    /// has seen that the browser is signed in as that user.
    return_url: Option<String>,
}

impl Decode for SessionRequest {
    const FIELDS: &'static [&'static str] = &["subject", "services", "return_url"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self {
            subject: fields.text("subject")?,
            services: fields.texts("services")?,
            return_url: fields.text("return_url")?,
        })
    }
}

/// No `Debug`: it holds the link.
#[derive(Serialize, ToSchema)]
pub(super) struct ConnectSession {
    id: String,
    /// Opens the session, once. Shown this once.
    url: String,
    /// The end of the URL.
    token: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// No `Debug`: it holds a claim.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaimRequest {
    /// What the browser brought to `return_url`, or what our page showed.
    #[schema(value_type = String, write_only)]
    claim: Secret,
}

impl Decode for ClaimRequest {
    const FIELDS: &'static [&'static str] = &["claim"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self { claim: Secret::new(required("claim", fields.text("claim")?)?) })
    }
}

/// A link for one end user to connect some services: for 15 minutes, to be opened once.
#[utoipa::path(post, path = "/api/v1/connect-sessions", tag = "connections", operation_id = "createConnectSession",
    request_body = SessionRequest,
    responses((status = 201, description = "The link.", body = ConnectSession), BadBody, Absent, Closed))]
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    Body(wanted): Body<SessionRequest>,
) -> Result<Response, Problem> {
    let bound = member.principal.subject.clone();
    let subject = wanted.subject.map(Subject).or_else(|| bound.clone());
    if bound.is_some() && subject != bound {
        return Err(Problem::other_subject("subject"));
    }
    let services = wanted.services.unwrap_or_default();
    let services = services.iter().map(|service| Ok(gateway.service(service)?.0.key().clone()));
    let request = NewConnectSession {
        organization: member.organization,
        key: member.principal.key_id.clone(),
        subject,
        services: services.collect::<Result<Vec<ServiceKey>, Problem>>()?,
        return_url: wanted.return_url,
        by_call: false,
        mend_only: false,
    };
    let issued = gateway.connect.create_session(request).await?;
    let answer = ConnectSession {
        id: issued.id,
        url: issued.url.expose().to_owned(),
        token: issued.token.expose().to_owned(),
        expires_at: timestamp(issued.expires_at),
    };
    reply::json(StatusCode::CREATED, &answer)
}

/// Makes usable what a browser has connected. A claim works once, for an hour.
#[utoipa::path(post, path = "/api/v1/connect-sessions/claims", tag = "connections", operation_id = "redeemClaim",
    request_body = ClaimRequest,
    responses((status = 200, description = "What is connected now.", body = Connections), BadBody, Absent, Closed))]
pub(super) async fn redeem(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    Body(wanted): Body<ClaimRequest>,
) -> Result<Response, Problem> {
    let accounts = gateway.connect.redeem_claim(&member.organization, &wanted.claim).await?;
    gateway.directory.forget_accounts(&member.organization);
    reply::json(StatusCode::OK, &Connections::of(accounts.iter().map(Connection::of)))
}
