//! A call's place among those under way, and its turn at its vendor's limit.

use std::time::Duration;

use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::fleet::Reason;
use plugboard_core::ids::ServiceKey;
use plugboard_core::job::{Job, LimitUse};
use plugboard_core::limits::concurrency::Slot;
use plugboard_core::limits::{Bucket, Turn};
use plugboard_core::manifest::{Connector, LimitScope, RateLimit};

use crate::Deps;
use crate::http::request::operation_of;

/// The bucket of operations that name none.
const DEFAULT: &str = "default";
/// Left for the call itself after its turn has come.
const LEAST_TIME: Duration = Duration::from_millis(100);
/// Longest wait of a call whose caller waits: it keeps a place that others could use, and a caller that is told can do
/// something else meanwhile. A call in the background has until its deadline.
const PATIENCE: Duration = Duration::from_secs(10);
/// A vendor that names no time is left alone for this long, and never for longer than the second.
const SHORT_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60 * 60);

/// Whoever looks on is told of waits from this length on.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// The bucket that a job spends from.
struct Spent<'a> {
    name: &'a str,
    limit: &'a RateLimit,
    bucket: Bucket,
}

fn spent<'a>(connector: &'a Connector, job: &Job) -> Option<Spent<'a>> {
    let operation = operation_of(connector, job).ok().flatten();
    let name = operation.and_then(|operation| operation.rate_limit.as_deref()).unwrap_or(DEFAULT);
    let limit = connector.manifest().rate_limits.get(name)?;
    let service = job.service.as_str();
    let key = match limit.scope {
        LimitScope::Account => [service, ":", name, ":", job.account.as_str()].concat(),
        // An organization's own app, or its part in the platform's.
        LimitScope::App => [service, ":", name, ":", job.organization.as_str()].concat(),
        LimitScope::EgressIp => [service, ":", name].concat(),
    };
    Some(Spent { name, limit, bucket: Bucket::new(key, limit) })
}

/// Waits for the turn, if it comes within `patience`.
pub(super) async fn turn<'a>(
    deps: &Deps,
    connector: &'a Connector,
    job: &Job,
    patience: Duration,
) -> Result<Option<LimitUse>, TooLong<'a>> {
    let Some(limits) = &deps.limits else { return Ok(None) };
    let Some(Spent { name, limit, bucket }) = spent(connector, job) else { return Ok(None) };
    let used = |remaining, waited: Option<Duration>| LimitUse {
        bucket: name.to_owned(),
        remaining,
        reset_ms: Some(to_millis(bucket.full_after())),
        waited_ms: waited.map(to_millis),
    };
    match limits.rates.take(&bucket, 1, patience).await {
        Ok(Turn::Now { remaining }) => Ok(Some(used(remaining, None))),
        Ok(Turn::After(wait)) => {
            deps.meters.limit_wait.record(wait.as_secs_f64());
            if wait >= WORTH_TELLING {
                deps.congestions.note(job, name, Reason::UsedUp, wait);
            }
            tokio::time::sleep(wait).await;
            Ok(Some(used(0, Some(wait))))
        }
        Ok(Turn::TooLate(wait)) => Err(TooLong::Turn { name, limit, wait }),
        // A limit that cannot be asked stops nobody: the vendor has its own.
        Err(error) => {
            tracing::warn!(%error, "a call goes without asking for its turn");
            Ok(None)
        }
    }
}

/// A place among the calls of its organization to this connector that are under way, if one is free within `patience`.
pub(super) async fn slot(
    deps: &Deps,
    connector: &Connector,
    job: &Job,
    patience: Duration,
) -> Result<Option<Slot>, TooLong<'static>> {
    let Some(limits) = &deps.limits else { return Ok(None) };
    let most = connector.manifest().concurrency;
    match limits.slots.enter(&job.organization, &job.service, most, patience).await {
        Some(slot) => Ok(Some(slot)),
        None => Err(TooLong::Place { most }),
    }
}

/// What a call would have to wait for, for longer than it can. Nothing was taken for it.
pub(super) enum TooLong<'a> {
    Place { most: u32 },
    Turn { name: &'a str, limit: &'a RateLimit, wait: Duration },
}

impl TooLong<'_> {
    /// Ends the call by it.
    pub(super) fn refuse(self, deps: &Deps, job: &Job) -> CallError {
        match self {
            Self::Place { most } => {
                metrics::counter!("plugboard_concurrency_refused_total").increment(1);
                too_many(&job.service, most)
            }
            Self::Turn { name, limit, wait } => {
                deps.meters.limited.increment(1);
                deps.congestions.note(job, name, Reason::UsedUp, wait);
                too_late(name, limit, wait)
            }
        }
    }
}

/// How long a call with this much time left waits for a vendor.
pub(super) fn patience(job: &Job, left: Duration) -> Duration {
    let left = left.saturating_sub(LEAST_TIME);
    if job.interactive() { left.min(PATIENCE) } else { left }
}

/// The vendor says that it is asked too often: everybody waits for as long as it wants.
pub(super) async fn rest(deps: &Deps, connector: &Connector, job: &Job, asked: Option<Duration>) {
    let Some(limits) = &deps.limits else { return };
    let Some(Spent { name, bucket, .. }) = spent(connector, job) else { return };
    let rest = asked.unwrap_or(SHORT_REST).min(LONGEST_REST);
    deps.congestions.note(job, name, Reason::AtRest, rest);
    if let Err(error) = limits.rates.rest(&bucket, rest).await {
        tracing::warn!(%error, "a vendor's wish to be left alone could not be told to the others");
    }
}

fn too_many(service: &ServiceKey, most: u32) -> CallError {
    let message = format!(
        "This organization has {most} calls to {service} under way, which is as many as go at once, and none ended in time. \
         Nothing was sent."
    );
    let fix = Fix::new(FixKind::Wait)
        .hint("Make fewer calls at once, or let them run in the background: wait_ms 0 and a later deadline_ms.");
    let mut error = CallError::new(ErrorCode::RateLimited, message).retryable(true).fix(fix);
    error.retry_after_ms = Some(to_millis(SHORT_REST));
    error
}

fn too_late(name: &str, limit: &RateLimit, wait: Duration) -> CallError {
    let whose = match limit.scope {
        LimitScope::Account => "for this account",
        LimitScope::App => "for this app",
        LimitScope::EgressIp => "for all callers together",
    };
    let message = format!(
        "The vendor's limit `{name}` ({} requests in {} s {whose}) is used up for longer than the call can wait. Nothing was \
         sent; the next request can go in {} s.",
        limit.requests,
        limit.per_seconds,
        wait.as_secs_f64().ceil()
    );
    let fix = Fix::new(FixKind::Wait).hint(
        "Repeat the call after retry_after_ms, or let it run in the background: wait_ms 0 and a later deadline_ms.",
    );
    let mut error = CallError::new(ErrorCode::RateLimited, message).retryable(true).fix(fix);
    error.retry_after_ms = Some(to_millis(wait));
    error
}

fn to_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
