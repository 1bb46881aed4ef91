//! Calls that were given up. Metadata only: what was asked and answered stays the tenant's.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use plugboard_core::manifest::Effect;
use plugboard_core::queue::{DeadLetter, Letter};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields};
use super::caller::{LetterId, Overseer};
use super::error::Problem;
use super::openapi::{Absent, BadBody, BadQuery, Closed, EffectSchema, Unfitting};
use super::query::{number, parameters};
use super::reply::{self, timestamp};
use crate::dead_letters::LetterError;
use crate::state::Gateway;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetterList {
    dead_letters: Vec<DeadLetterView>,
    /// `from` of the next page; null: this was the last.
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(super) struct DeadLetterView {
    execution_id: String,
    /// False: what lies there cannot be read. It can be dropped, and not made again; of the rest only the reason is known.
    readable: bool,
    /// Why it was given up.
    reason: String,
    #[serde(flatten)]
    call: Option<GivenUpView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GivenUpView {
    organization: String,
    service: String,
    /// Id of the connection.
    connection: String,
    module: String,
    /// Null: a path that the connector does not list.
    operation: Option<String>,
    method: String,
    #[schema(value_type = EffectSchema)]
    effect: Effect,
    /// How often it was started.
    starts: u32,
    #[schema(format = DateTime)]
    accepted_at: String,
    #[schema(format = DateTime)]
    given_up_at: String,
}

#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayRequest {
    /// Make it although the vendor may have done it already.
    accept_duplicate: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replayed {
    /// Of the new execution, which runs in the background.
    execution_id: String,
}

impl DeadLetterView {
    fn of(letter: Letter) -> Self {
        let execution_id = letter.id().as_str().to_owned();
        match letter {
            Letter::Read(letter) => {
                let reason = letter.reason.clone();
                Self { execution_id, readable: true, reason, call: Some(GivenUpView::of(*letter)) }
            }
            Letter::Unreadable(letter) => Self { execution_id, readable: false, reason: letter.reason, call: None },
        }
    }
}

impl GivenUpView {
    fn of(letter: DeadLetter) -> Self {
        let DeadLetter { job, starts, at, .. } = letter;
        Self {
            organization: job.organization.as_str().to_owned(),
            service: job.service.as_str().to_owned(),
            connection: job.account.as_str().to_owned(),
            module: job.module,
            operation: job.operation,
            method: job.method,
            effect: job.effect,
            starts,
            accepted_at: timestamp(job.accepted_at),
            given_up_at: timestamp(at),
        }
    }
}

impl Decode for ReplayRequest {
    const FIELDS: &'static [&'static str] = &["accept_duplicate"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self { accept_duplicate: fields.flag("accept_duplicate")? })
    }
}

impl From<LetterError> for Problem {
    fn from(error: LetterError) -> Self {
        match error {
            LetterError::Absent => Self::absent("dead letter"),
            LetterError::Unreadable => Self::argument(
                "execution_id",
                "This letter cannot be read, so the call cannot be made again. Drop it when its reason is understood.",
            )
            .status(StatusCode::CONFLICT),
            LetterError::NoPage => Self::argument("from", "`from` is not what a page gave as `next`."),
            LetterError::MayBeDuplicate => Self::argument(
                "accept_duplicate",
                "The vendor may have done this call already, and a new one may do it twice. Look there first; to make \
                 it all the same, send accept_duplicate: true.",
            )
            .status(StatusCode::CONFLICT),
            LetterError::Failed(error) => error.into(),
        }
    }
}

pub(super) struct Page {
    from: Option<String>,
    limit: usize,
}

impl FromRequestParts<Arc<Gateway>> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Gateway>) -> Result<Self, Problem> {
        let mut page = Self { from: None, limit: DEFAULT_LIMIT };
        for (name, value) in parameters(&parts.uri, &["from", "limit"])? {
            match name {
                "limit" => {
                    let limit = number(name, &value, 1, MAX_LIMIT as u64)?;
                    page.limit = usize::try_from(limit).unwrap_or(MAX_LIMIT);
                }
                _ => page.from = Some(value),
            }
        }
        Ok(page)
    }
}

/// Calls that were given up in the last 30 days: the organization's; with the operator's key everybody's.
#[utoipa::path(get, path = "/api/v1/dead-letters", tag = "dead letters", operation_id = "listDeadLetters",
    params(
        ("from" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<u32>, Query, description = "1 to 200; default 50.")),
    responses((status = 200, description = "A page.", body = DeadLetterList), BadQuery, Closed))]
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Overseer(whose): Overseer,
    page: Page,
) -> Result<Response, Problem> {
    let page = gateway.dead_letters(whose.as_ref(), page.from.as_deref(), page.limit).await?;
    let dead_letters = page.letters.into_iter().map(DeadLetterView::of).collect();
    reply::json(StatusCode::OK, &DeadLetterList { dead_letters, next: page.next })
}

/// One call that was given up.
#[utoipa::path(get, path = "/api/v1/dead-letters/{execution_id}", tag = "dead letters", operation_id = "getDeadLetter",
    params(("execution_id" = String, Path, description = "Id of the execution.")),
    responses((status = 200, description = "The letter.", body = DeadLetterView), Absent, Closed))]
pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    Overseer(whose): Overseer,
    LetterId(id): LetterId,
) -> Result<Response, Problem> {
    let letter = gateway.dead_letter(whose.as_ref(), &id).await?;
    reply::json(StatusCode::OK, &DeadLetterView::of(letter))
}

/// Puts a call that was given up back into the queue, as a new execution.
#[utoipa::path(post, path = "/api/v1/dead-letters/{execution_id}/replay", tag = "dead letters",
    operation_id = "replayDeadLetter", params(("execution_id" = String, Path, description = "Id of the execution.")),
    request_body = ReplayRequest,
    responses((status = 202, description = "Queued.", body = Replayed), BadBody, Absent, Unfitting, Closed))]
pub(super) async fn replay(
    State(gateway): State<Arc<Gateway>>,
    Overseer(whose): Overseer,
    LetterId(id): LetterId,
    Body(wanted): Body<ReplayRequest>,
) -> Result<Response, Problem> {
    let accept_duplicate = wanted.accept_duplicate.unwrap_or(false);
    let new_id = gateway.replay_letter(whose.as_ref(), &id, accept_duplicate).await?;
    reply::json(StatusCode::ACCEPTED, &Replayed { execution_id: new_id.as_str().to_owned() })
}

/// Drops a call that was given up.
#[utoipa::path(delete, path = "/api/v1/dead-letters/{execution_id}", tag = "dead letters",
    operation_id = "dropDeadLetter", params(("execution_id" = String, Path, description = "Id of the execution.")),
    responses((status = 204, description = "Dropped."), Absent, Closed))]
pub(super) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Overseer(whose): Overseer,
    LetterId(id): LetterId,
) -> Result<Response, Problem> {
    gateway.drop_letter(whose.as_ref(), &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
