//! Master keys, for the platform operator: which there are, rotation, retirement. Never their content.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use plugboard_core::clock::Millis;
use plugboard_core::identity::MasterKeysStatus;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields};
use super::caller::{MasterKeyName, Operator};
use super::error::Problem;
use super::openapi::{Absent, BadBody, Closed, Unfitting};
use super::reply::{self, timestamp};
use crate::state::Gateway;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MasterKeys {
    /// What is sealed from now on is sealed under it.
    present: String,
    keys: Vec<MasterKey>,
    rotation: Option<Rotation>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MasterKey {
    id: String,
    /// The auth service that answered holds it.
    held: bool,
    present: bool,
    retired: bool,
    /// Records that depend on it, by kind.
    records: BTreeMap<String, u64>,
}

/// The last rotation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rotation {
    to: String,
    done: bool,
    /// Records that were sealed anew.
    resealed: u64,
    /// Records that could not be opened; the log of the auth service names them.
    unreadable: u64,
    #[schema(format = DateTime)]
    started_at: String,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
}

#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotationRequest {
    /// Id of a configured key; left out: a new key is made, where the auth service may write to its key file.
    to: Option<String>,
}

impl Decode for RotationRequest {
    const FIELDS: &'static [&'static str] = &["to"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self { to: fields.text("to")? })
    }
}

impl MasterKeys {
    fn of(status: MasterKeysStatus) -> Self {
        let keys = status.keys.into_iter().map(|key| MasterKey {
            id: key.id,
            held: key.held,
            present: key.present,
            retired: key.retired,
            records: key.records,
        });
        let rotation = status.rotation.map(|rotation| Rotation {
            to: rotation.to,
            done: rotation.done,
            resealed: rotation.resealed,
            unreadable: rotation.unreadable,
            started_at: timestamp(Millis(rotation.started_at)),
            finished_at: rotation.finished_at.map(|at| timestamp(Millis(at))),
        });
        Self { present: status.present, keys: keys.collect(), rotation }
    }
}

/// The master keys, what depends on each, and how far a rotation is.
#[utoipa::path(get, path = "/api/v1/master-keys", tag = "master keys", operation_id = "getMasterKeys",
    responses((status = 200, description = "The master keys.", body = MasterKeys), Closed))]
pub(super) async fn show(State(gateway): State<Arc<Gateway>>, _: Operator) -> Result<Response, Problem> {
    reply::json(StatusCode::OK, &MasterKeys::of(gateway.custody.master_keys().await?))
}

/// Makes another master key the present one, and seals everything anew under it while calls go on.
#[utoipa::path(post, path = "/api/v1/master-keys/rotate", tag = "master keys", operation_id = "rotateMasterKey",
    request_body = RotationRequest,
    responses((status = 202, description = "Begun.", body = MasterKeys), BadBody, Unfitting, Closed))]
pub(super) async fn rotate(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    Body(wanted): Body<RotationRequest>,
) -> Result<Response, Problem> {
    let status = gateway.custody.rotate_master_key(wanted.to).await?;
    reply::json(StatusCode::ACCEPTED, &MasterKeys::of(status))
}

/// Gives a master key up. Refused while anything depends on it.
#[utoipa::path(delete, path = "/api/v1/master-keys/{master_key}", tag = "master keys",
    operation_id = "retireMasterKey", params(("master_key" = String, Path, description = "Id of a master key.")),
    responses((status = 200, description = "Given up.", body = MasterKeys), Absent, Unfitting, Closed))]
pub(super) async fn retire(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    MasterKeyName(id): MasterKeyName,
) -> Result<Response, Problem> {
    let status = gateway.custody.retire_master_key(&id).await?;
    reply::json(StatusCode::OK, &MasterKeys::of(status))
}
