//! The audit log, link by link, so that whoever reads it can check the chain.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use plugboard_core::identity::{AuditLink, AuditPage, AuditQuery};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::caller::Auditor;
use super::error::Problem;
use super::openapi::{BadQuery, Closed};
use super::query::{number, parameters};
use super::reply;
use crate::state::Gateway;

const DEFAULT_LIMIT: u32 = 100;
const PARAMETERS: [&str; 6] = ["after", "limit", "action", "key", "subject", "target"];

/// A part of the log, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditLog {
    /// Id of the organization, or `platform`.
    chain: String,
    entries: Vec<AuditLogEntry>,
    /// `after` of the next page; null: this was the last.
    next: Option<u64>,
    head: AuditLogHead,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditLogEntry {
    seq: u64,
    /// Hash of the entry before; of the first: SHA-256 over `plugboard audit chain` and the chain's name.
    prev: String,
    /// SHA-256 over `plugboard audit entry`, `prev` as text, `seq` as 8 bytes and `raw`, each with its length as 8 bytes
    /// before it (big-endian).
    hash: String,
    /// The entry, to the byte as it was hashed.
    raw: String,
    /// The entry: seq, at, actor, action, target, outcome, note; for the action `calls` the calls and how many were
    /// dropped. Null when it cannot be read.
    #[schema(value_type = Object)]
    entry: Option<Box<RawValue>>,
}

/// The end of the log, as the auth service signed it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditLogHead {
    seq: u64,
    hash: String,
    /// Milliseconds since the epoch.
    at: i64,
    /// Master key that the signing key is derived from.
    key: String,
    signature: String,
    /// What the auth service found when it checked the signature just now.
    valid: bool,
}

impl AuditLogEntry {
    fn of(link: AuditLink) -> Self {
        Self {
            seq: link.seq,
            prev: link.prev,
            hash: link.hash,
            entry: RawValue::from_string(link.entry.clone()).ok(),
            raw: link.entry,
        }
    }
}

impl AuditLog {
    fn of(page: AuditPage) -> Self {
        let head = AuditLogHead {
            seq: page.head.seq,
            hash: page.head.hash,
            at: page.head.at,
            key: page.head.key,
            signature: page.head.signature,
            valid: page.head.valid,
        };
        Self {
            chain: page.chain,
            entries: page.links.into_iter().map(AuditLogEntry::of).collect(),
            next: page.next,
            head,
        }
    }
}

pub(super) struct Wanted(AuditQuery);

impl FromRequestParts<Arc<Gateway>> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Gateway>) -> Result<Self, Problem> {
        let mut query = AuditQuery { limit: DEFAULT_LIMIT, ..AuditQuery::default() };
        for (name, value) in parameters(&parts.uri, &PARAMETERS)? {
            match name {
                "after" => query.after = number(name, &value, 0, u64::MAX)?,
                "limit" => {
                    let limit = number(name, &value, 1, AuditQuery::MAX_LIMIT.into())?;
                    query.limit = u32::try_from(limit).unwrap_or(AuditQuery::MAX_LIMIT);
                }
                "action" => query.action = Some(value),
                "key" => query.key = Some(value),
                "subject" => query.subject = Some(value),
                _ => query.target = Some(value),
            }
        }
        Ok(Self(query))
    }
}

/// Who did what to which account or key, and who called what. The organization's log; with the operator's key the
/// platform's.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", operation_id = "readAudit",
    params(
        ("after" = Option<u64>, Query, description = "Only entries after this number."),
        ("limit" = Option<u32>, Query, description = "1 to 1,000; 100 when left out."),
        ("action" = Option<String>, Query, description = "Only this action, or all below it: `account`, `account.create`."),
        ("key" = Option<String>, Query, description = "Only what the API key with this id did."),
        ("subject" = Option<String>, Query, description = "Only what was done for this end user."),
        ("target" = Option<String>, Query, description = "Only what was done to the thing with this id, or by calling it.")),
    responses((status = 200, description = "Entries.", body = AuditLog), BadQuery, Closed))]
pub(super) async fn read(
    State(gateway): State<Arc<Gateway>>,
    Auditor(organization): Auditor,
    Wanted(query): Wanted,
) -> Result<Response, Problem> {
    let page = gateway.custody.audit(&AuditQuery { organization, ..query }).await?;
    reply::json(StatusCode::OK, &AuditLog::of(page))
}
