//! Everything that a call needs before it may ask for the right to be made.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plugboard_core::blobs::BlobError;
use plugboard_core::catalog::CatalogError;
use plugboard_core::error::CallError;
use plugboard_core::identity::{Grant, IdentityError};
use plugboard_core::job::{Job, LimitUse, Payload};
use plugboard_core::limits::concurrency::Slot;
use plugboard_core::manifest::Connector;
use plugboard_core::secret::AccountFields;
use plugboard_core::telemetry::metrics::Stage;
use plugboard_core::telemetry::{SPANS, SpanKind};
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;

use super::limits::TooLong;
use super::settle::Desk;
use super::{failure, limits};
use crate::Deps;
use crate::http::request::{Outgoing, Parts, build};
use crate::transport::signature;

/// Tries to get an account's fields while the auth service is away.
const RESOLVE_TRIES: u32 = 3;
/// Longest wait before the second of them; doubled for the third.
const RESOLVE_WAIT: Duration = Duration::from_millis(200);
/// Longest wait for a place, and for a turn, on the express lane: the intent is due within
/// [`BEGUN_WITHIN`](plugboard_core::queue::BEGUN_WITHIN).
const MOMENT: Duration = Duration::from_millis(200);

/// A call that can be made.
pub(super) struct Ready {
    pub(super) connector: Arc<Connector>,
    pub(super) body: Option<Bytes>,
    pub(super) fields: Arc<AccountFields>,
    /// Before the question, not after the answer.
    pub(super) resolved_at: Instant,
    pub(super) outgoing: Box<Outgoing>,
    pub(super) limits: Option<LimitUse>,
    /// Its place among the calls under way, kept to the end.
    pub(super) slot: Option<Slot>,
}

/// Why it cannot. Nothing was sent.
pub(super) enum Stop {
    /// A part of ours is away; the job waits.
    Later,
    Failed(CallError),
}

/// Whether a job may wait for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// As long as its caller does.
    None,
    /// For a moment. What would take longer goes to the queue, with nothing taken from the vendor's limit.
    Express,
}

fn failed(error: CallError) -> Stop {
    Stop::Failed(error)
}

pub(super) async fn prepare(desk: &Desk<'_>, haste: Haste) -> Result<Ready, Stop> {
    let Desk { deps, job, watch, trace, .. } = desk;
    let connector = connector(deps, job).await?;
    let body = body(deps, job).await?;
    // Before the fields, which are good for a moment only, and before the intent: who waits has begun nothing.
    let began = Instant::now();
    let patience = || match haste {
        Haste::None => limits::patience(job, deps.clock.now().until(job.deadline)),
        Haste::Express => MOMENT,
    };
    let refused = |too_long: TooLong<'_>| match haste {
        Haste::None => failed(too_long.refuse(deps, job)),
        Haste::Express => Stop::Later,
    };
    let slot = limits::slot(deps, &connector, job, patience()).await.map_err(refused)?;
    let limits = limits::turn(deps, &connector, job, patience()).await.map_err(refused)?;
    let resolved_at = Instant::now();
    watch.record(Stage::Limit, resolved_at - began);
    let mut step = trace.step(
        "resolve account",
        SpanKind::Client,
        || tracing::info_span!(target: SPANS, "resolve account", otel.kind = "client", otel.status_code = Empty),
    );
    let resolved = resolve(deps, job).instrument(step.span()).await;
    watch.record(Stage::Credentials, resolved_at.elapsed());
    let fields = resolved.map_err(|error| {
        step.failed();
        // Either clocks differ by more than the call's time, or somebody made the job up.
        if matches!(error, IdentityError::TicketRefused) && deps.clock.now() >= job.deadline {
            return failed(failure::too_late());
        }
        failed(failure::of_identity(&error))
    })?;
    drop(step);
    let parts = Parts {
        connector: &connector,
        job,
        body: body.as_ref(),
        fields: &fields,
        idempotency_root: &deps.idempotency_root,
        stamp: signature::stamp(&connector, &*deps.clock),
    };
    let outgoing = build(&parts).map_err(|error| failed(error.into()))?;
    Ok(Ready { connector, body, fields, resolved_at, outgoing: Box::new(outgoing), limits, slot })
}

async fn connector(deps: &Deps, job: &Job) -> Result<Arc<Connector>, Stop> {
    match deps.catalog.by_digest(&job.manifest_digest).await {
        Ok(Some(connector)) => Ok(connector),
        Ok(None) => Err(failed(failure::manifest_gone())),
        Err(error @ CatalogError::Unavailable(_)) => {
            tracing::warn!(%error, "the manifest of a job cannot be had");
            Err(Stop::Later)
        }
        Err(error @ CatalogError::Incompatible { .. }) => {
            // Another executor may be of the right version, but waiting for one could take for ever.
            Err(failed(CallError::internal().because(error.to_string())))
        }
    }
}

async fn body(deps: &Deps, job: &Job) -> Result<Option<Bytes>, Stop> {
    match &job.body {
        None => Ok(None),
        Some(Payload::Inline(body)) => Ok(Some(body.clone())),
        Some(Payload::Blob { id, .. }) => match deps.blobs.get(&job.organization, id).await {
            Ok(Some(body)) => Ok(Some(body)),
            Ok(None) => Err(failed(failure::payload_lost())),
            Err(error @ BlobError::Unavailable(_)) => {
                tracing::warn!(%error, "the body of a job cannot be had");
                Err(Stop::Later)
            }
            Err(error @ BlobError::Damaged) => Err(failed(failure::payload_lost().because(error.to_string()))),
        },
    }
}

/// The account's fields; waits out short trouble of the auth service inside the deadline.
async fn resolve(deps: &Deps, job: &Job) -> Result<Arc<AccountFields>, IdentityError> {
    let grant = grant(job, false);
    let mut tries = 1;
    loop {
        let error = match deps.vault.resolve(&grant).await {
            Ok(fields) => return Ok(fields),
            Err(error) => error,
        };
        let wait = RESOLVE_WAIT * tries;
        if !failure::is_passing(&error) || tries >= RESOLVE_TRIES || deps.clock.now().until(job.deadline) < wait * 2 {
            return Err(error);
        }
        tries += 1;
        tokio::time::sleep(super::call::jitter(wait)).await;
    }
}

pub(super) fn grant(job: &Job, refresh: bool) -> Grant {
    Grant {
        execution_id: job.execution_id.clone(),
        organization: job.organization.clone(),
        service: job.service.clone(),
        account: job.account.clone(),
        request_hash: job.request_hash,
        deadline: job.deadline,
        ticket: job.ticket,
        refresh,
    }
}
