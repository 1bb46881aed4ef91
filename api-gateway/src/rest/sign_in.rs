//! Accounts connected by a person who signs in at the vendor: in a browser, or by a code typed on another device.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use plugboard_core::identity::{Account, DeviceStatus, SignIn, StartedDevice, StartedSignIn};
use plugboard_core::ids::{AccountId, Subject};
use plugboard_core::manifest::FlowKind;
use plugboard_core::secret::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields, required};
use super::caller::{Admin, ConnectionId, DeviceId, Member};
use super::connections::{self, Connection};
use super::error::Problem;
use super::openapi::{Absent, BadBody, Closed, DeviceStatusSchema};
use super::reply::{self, timestamp};
use crate::state::Gateway;

/// No `Debug`: it may hold secrets.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInRequest {
    /// Key of a connector.
    service: String,
    /// A wish; numbered when it is taken. What the vendor calls the account when left out.
    label: Option<String>,
    /// An end user of yours; left out: shared in the organization.
    owner: Option<String>,
    /// What the flow asks for before, by its metadata: a shop's host, for example.
    #[schema(value_type = Option<BTreeMap<String, String>>, write_only)]
    fields: Option<BTreeMap<String, Secret>>,
    /// A page of yours, where the browser goes at the end: with `claim` in the query when it went well, else with `error`.
    return_url: Option<String>,
}

/// No `Debug`: it may hold secrets.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReconnectRequest {
    /// `popup_oauth` or `device_code`; the connector's first when left out.
    flow: Option<String>,
    #[schema(value_type = Option<BTreeMap<String, String>>, write_only)]
    fields: Option<BTreeMap<String, Secret>>,
    return_url: Option<String>,
}

impl Decode for SignInRequest {
    const FIELDS: &'static [&'static str] = &["service", "label", "owner", "fields", "return_url"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self {
            service: required("service", fields.text("service")?)?,
            label: fields.text("label")?,
            owner: fields.text("owner")?,
            fields: fields.secrets("fields")?,
            return_url: fields.text("return_url")?,
        })
    }
}

impl Decode for ReconnectRequest {
    const FIELDS: &'static [&'static str] = &["flow", "fields", "return_url"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self {
            flow: fields.text("flow")?,
            fields: fields.secrets("fields")?,
            return_url: fields.text("return_url")?,
        })
    }
}

/// A link for the browser of whoever signs in. The first browser that follows it is the one that must finish.
#[derive(Serialize, ToSchema)]
pub(super) struct SignInLink {
    url: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

impl SignInLink {
    fn of(started: StartedSignIn) -> Self {
        Self { url: started.url, expires_at: timestamp(started.expires_at) }
    }
}

/// What to show to whoever signs in.
#[derive(Serialize, ToSchema)]
pub(super) struct DeviceCode {
    id: String,
    /// To be typed at `verification_uri`.
    user_code: String,
    verification_uri: String,
    /// With the code in it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_uri_complete: Option<String>,
    /// Seconds between two looks at the status.
    interval: u32,
    #[schema(format = DateTime)]
    expires_at: String,
}

impl DeviceCode {
    fn of(started: StartedDevice) -> Self {
        Self {
            id: started.id,
            user_code: started.user_code,
            verification_uri: started.verification_uri,
            verification_uri_complete: started.verification_uri_complete,
            interval: started.interval_seconds,
            expires_at: timestamp(started.expires_at),
        }
    }
}

/// Where a sign-in by code stands.
#[derive(Serialize, ToSchema)]
pub(super) struct DeviceState {
    #[schema(value_type = DeviceStatusSchema)]
    status: &'static str,
    /// While it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u32>,
    /// Once it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<Connection>,
    /// Why it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl DeviceState {
    fn of(status: DeviceStatus) -> Self {
        let bare = |status| Self { status, interval: None, connection: None, reason: None };
        match status {
            DeviceStatus::Pending { interval_seconds } => Self { interval: Some(interval_seconds), ..bare("pending") },
            DeviceStatus::Connected(account) => {
                Self { connection: Some(Connection::of(&account)), ..bare("connected") }
            }
            DeviceStatus::Denied => bare("denied"),
            DeviceStatus::Expired => bare("expired"),
            DeviceStatus::Failed(why) => Self { reason: Some(why), ..bare("failed") },
        }
    }
}

/// Begins a sign-in in a browser. What is connected there becomes usable when its claim is redeemed.
#[utoipa::path(post, path = "/api/v1/connections/oauth/start", tag = "connections", operation_id = "startSignIn",
    request_body = SignInRequest,
    responses((status = 201, description = "The link.", body = SignInLink), BadBody, Absent, Closed))]
pub(super) async fn start(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    Body(wanted): Body<SignInRequest>,
) -> Result<Response, Problem> {
    let request = request(&gateway, &member, wanted)?;
    let started = gateway.connect.start_sign_in(request).await?;
    reply::json(StatusCode::CREATED, &SignInLink::of(started))
}

/// Begins a sign-in by a code that somebody types on another device (RFC 8628).
#[utoipa::path(post, path = "/api/v1/connections/device/start", tag = "connections", operation_id = "startDeviceSignIn",
    request_body = SignInRequest,
    responses((status = 201, description = "The code.", body = DeviceCode), BadBody, Absent, Closed))]
pub(super) async fn start_device(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    Body(wanted): Body<SignInRequest>,
) -> Result<Response, Problem> {
    let request = request(&gateway, &member, wanted)?;
    let started = gateway.connect.start_device(request).await?;
    reply::json(StatusCode::CREATED, &DeviceCode::of(started))
}

/// Where a sign-in by code stands. Looking is what makes the vendor be asked, never more often than it allows.
#[utoipa::path(get, path = "/api/v1/connections/device/{id}", tag = "connections", operation_id = "getDeviceSignIn",
    params(("id" = String, Path, description = "Id of a sign-in by code.")),
    responses((status = 200, description = "The state.", body = DeviceState), Absent, Closed))]
pub(super) async fn device(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    DeviceId(id): DeviceId,
) -> Result<Response, Problem> {
    let status = gateway.connect.device(&member.organization, &id).await?;
    if let DeviceStatus::Connected(_) = status {
        gateway.directory.forget_accounts(&member.organization);
    }
    reply::json(StatusCode::OK, &DeviceState::of(status))
}

/// Begins a sign-in for a connection that exists, whose id and label stay.
#[utoipa::path(post, path = "/api/v1/connections/{id}/reconnect", tag = "connections", operation_id = "reconnect",
    params(("id" = String, Path, description = "Id of a connection.")), request_body = ReconnectRequest,
    responses(
        (status = 201, description = "A link, or with the flow `device_code` a code.", body = SignInLink),
        BadBody, Absent, Closed))]
pub(super) async fn reconnect(
    State(gateway): State<Arc<Gateway>>,
    Admin(member): Admin,
    ConnectionId(id): ConnectionId,
    Body(wanted): Body<ReconnectRequest>,
) -> Result<Response, Problem> {
    let account = connections::find(&gateway, &member, &id).await?;
    let kind = flow(&gateway, &account, wanted.flow.as_deref())?;
    let request = SignIn {
        organization: member.organization.clone(),
        key: member.principal.key_id.clone(),
        service: account.service,
        label: None,
        owner: account.owner,
        fields: wanted.fields.unwrap_or_default(),
        account: Some(AccountId::trusted(account.id.as_str())),
        return_url: wanted.return_url,
    };
    if kind == FlowKind::DeviceCode {
        let started = gateway.connect.start_device(request).await?;
        return reply::json(StatusCode::CREATED, &DeviceCode::of(started));
    }
    let started = gateway.connect.start_sign_in(request).await?;
    reply::json(StatusCode::CREATED, &SignInLink::of(started))
}

/// The flow to sign in by: the one that is named, else the connector's first.
fn flow(gateway: &Gateway, account: &Account, named: Option<&str>) -> Result<FlowKind, Problem> {
    let (connector, _) = gateway.service(account.service.as_str())?;
    let flows = || connector.manifest().auth.flows.iter().filter(|flow| flow.oauth.is_some()).map(|flow| flow.kind);
    match named {
        None => flows().next().ok_or_else(|| {
            let detail = format!(
                "{} is connected by typed credentials: replace them with PATCH /api/v1/connections/{}.",
                connector.manifest().name,
                account.id
            );
            Problem::argument("flow", detail)
        }),
        Some(name) => flows().find(|kind| kind.as_str() == name).ok_or_else(|| {
            let known: Vec<&str> = flows().map(FlowKind::as_str).collect();
            Problem::argument("flow", format!("The sign-ins of this connector are: {}.", known.join(", ")))
        }),
    }
}

fn request(gateway: &Gateway, member: &Member, wanted: SignInRequest) -> Result<SignIn, Problem> {
    let (connector, suffix) = gateway.service(&wanted.service)?;
    if suffix.is_some() {
        return Err(Problem::argument("service", "`service` is the key alone; give the label as `label`."));
    }
    let owner = wanted.owner.map(Subject);
    if owner.is_some() && member.principal.subject.is_some() && owner != member.principal.subject {
        return Err(Problem::other_subject("owner"));
    }
    Ok(SignIn {
        organization: member.organization.clone(),
        key: member.principal.key_id.clone(),
        service: connector.key().clone(),
        label: wanted.label,
        owner,
        fields: wanted.fields.unwrap_or_default(),
        account: None,
        return_url: wanted.return_url,
    })
}
