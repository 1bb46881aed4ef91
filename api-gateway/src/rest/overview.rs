//! How it goes now: calls by the minute, what waits, who is there, and what holds calls up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use plugboard_core::clock::Millis;
use plugboard_core::fleet::{self, Minute, Presence, Rates, Reason, Work};
use plugboard_core::ids::OrganizationId;
use plugboard_core::queue::Survey;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Overseer;
use super::error::Problem;
use super::openapi::Closed;
use super::reply::{self, timestamp};
use crate::state::Gateway;

const MINUTES: i64 = 15;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Overview {
    /// Whose calls; null: everybody's.
    organization: Option<String>,
    /// The last 15, the present one last.
    minutes: Vec<MinuteView>,
    /// Calls whose callers wait now.
    running: u64,
    /// For the operator; null also when the queue does not answer.
    queue: Option<QueueView>,
    /// For the operator: the gateways and executors that answered.
    processes: Option<Vec<ProcessView>>,
    /// For the operator: the busiest organizations of these minutes.
    organizations: Option<Vec<ActivityView>>,
    /// Hosts that are left alone because they fail.
    breakers: Vec<BreakerView>,
    /// Vendors' limits that make calls wait.
    limits: Vec<LimitView>,
    /// Where calls wait because as many as may be are under way.
    concurrency: Vec<CrowdView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Minute)]
pub(super) struct MinuteView {
    #[schema(format = DateTime)]
    at: String,
    calls: u32,
    failed: u32,
    /// Half of the calls took no longer; within a fifth.
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Queue)]
pub(super) struct QueueView {
    lines: Vec<LineView>,
    /// Stored, and nobody hands them out. There must be none.
    unaccounted: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueLine)]
pub(super) struct LineView {
    class: &'static str,
    waiting: u64,
    /// In the hands of executors.
    held: u64,
    oldest_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Process)]
pub(super) struct ProcessView {
    /// `gateway` or `executor`.
    service: String,
    instance: String,
    version: String,
    #[schema(format = DateTime)]
    since: String,
    ready: bool,
    /// What it stands on: `ok`, or what is wrong.
    parts: BTreeMap<String, String>,
    /// Of an executor: calls that it can make at once.
    slots: Option<usize>,
    /// Of an executor: calls that it makes now.
    in_flight: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Activity)]
pub(super) struct ActivityView {
    organization: String,
    calls: u64,
    failed: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenBreaker)]
pub(super) struct BreakerView {
    executor: String,
    organization: String,
    service: String,
    host: String,
    open_for_ms: u64,
    /// Until one call is let through to see; 0: it is under way.
    rests_for_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VendorLimit)]
pub(super) struct LimitView {
    executor: String,
    organization: String,
    service: String,
    connection: String,
    /// As the connector's manifest names it.
    bucket: String,
    /// `used_up`, or `at_rest`: the vendor has asked for it.
    reason: &'static str,
    wait_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConcurrencyLimit)]
pub(super) struct CrowdView {
    executor: String,
    organization: String,
    service: String,
    most: u32,
    in_use: u32,
    waiting: u32,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl MinuteView {
    fn of(minute: &Minute) -> Self {
        let quantile = |part| minute.quantile(part).map(|took| (took.as_secs_f64() * 10_000.0).round() / 10.0);
        Self {
            at: timestamp(Millis(minute.minute.saturating_mul(60_000))),
            calls: minute.calls,
            failed: minute.failed,
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
        }
    }
}

impl QueueView {
    fn of(survey: &Survey) -> Self {
        let lines = survey.lines.iter().map(|line| LineView {
            class: line.class,
            waiting: line.waiting,
            held: line.held,
            oldest_ms: millis(line.oldest),
        });
        Self { lines: lines.collect(), unaccounted: survey.unaccounted }
    }
}

impl ProcessView {
    fn of(presence: Presence) -> Self {
        Self {
            service: presence.service,
            instance: presence.instance.as_str().to_owned(),
            version: presence.version,
            since: timestamp(presence.since),
            ready: presence.ready,
            parts: presence.parts.into_iter().collect(),
            slots: presence.work.as_ref().map(|work| work.slots),
            in_flight: presence.work.as_ref().map(|work| work.in_flight),
        }
    }
}

impl Overview {
    fn new(whose: Option<OrganizationId>, now: Millis, rates: &Rates) -> Self {
        let minutes = rates.series(now.0.div_euclid(60_000), MINUTES);
        Self {
            organization: whose.map(|organization| organization.as_str().to_owned()),
            minutes: minutes.iter().map(MinuteView::of).collect(),
            running: rates.running,
            queue: None,
            processes: None,
            organizations: None,
            breakers: Vec::new(),
            limits: Vec::new(),
            concurrency: Vec::new(),
        }
    }

    /// What holds calls up at one executor.
    fn add(&mut self, executor: &str, work: &Work, whose: Option<&OrganizationId>) {
        let seen = |organization: &OrganizationId| whose.is_none_or(|whose| whose == organization);
        let executor = || executor.to_owned();
        self.breakers.extend(work.breakers.iter().filter(|one| seen(&one.organization)).map(|one| BreakerView {
            executor: executor(),
            organization: one.organization.as_str().to_owned(),
            service: one.service.as_str().to_owned(),
            host: one.host.clone(),
            open_for_ms: millis(one.open_for),
            rests_for_ms: millis(one.rests_for),
        }));
        self.limits.extend(work.congestions.iter().filter(|one| seen(&one.organization)).map(|one| LimitView {
            executor: executor(),
            organization: one.organization.as_str().to_owned(),
            service: one.service.as_str().to_owned(),
            connection: one.account.as_str().to_owned(),
            bucket: one.bucket.clone(),
            reason: match one.reason {
                Reason::UsedUp => "used_up",
                Reason::AtRest => "at_rest",
            },
            wait_ms: millis(one.wait),
        }));
        self.concurrency.extend(work.crowds.iter().filter(|one| seen(&one.organization)).map(|one| CrowdView {
            executor: executor(),
            organization: one.organization.as_str().to_owned(),
            service: one.service.as_str().to_owned(),
            most: one.most,
            in_use: one.in_use,
            waiting: one.waiting,
        }));
    }
}

/// How it goes now: for an organization's admins what concerns it, for the operator everything.
#[utoipa::path(get, path = "/api/v1/overview", tag = "calls", operation_id = "getOverview",
    responses((status = 200, description = "As it is now.", body = Overview), Closed))]
pub(super) async fn show(State(gateway): State<Arc<Gateway>>, Overseer(whose): Overseer) -> Result<Response, Problem> {
    let fleet = gateway.fleet.as_ref();
    let operator = whose.is_none();
    let survey = async { if operator { gateway.queue.survey().await.ok() } else { None } };
    let (rates, there, survey) = tokio::join!(fleet::rates(fleet, whose.clone()), fleet::presences(fleet), survey);
    let mut overview = Overview::new(whose.clone(), gateway.clock.now(), &rates);
    for presence in &there {
        if let Some(work) = &presence.work {
            overview.add(presence.instance.as_str(), work, whose.as_ref());
        }
    }
    if operator {
        overview.queue = survey.as_ref().map(QueueView::of);
        overview.processes = Some(there.into_iter().map(ProcessView::of).collect());
        let activity = |(organization, activity): (OrganizationId, fleet::Activity)| ActivityView {
            organization: organization.as_str().to_owned(),
            calls: activity.calls,
            failed: activity.failed,
        };
        overview.organizations = Some(rates.busiest().into_iter().map(activity).collect());
    }
    reply::json(StatusCode::OK, &overview)
}
