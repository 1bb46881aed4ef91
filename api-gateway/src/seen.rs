//! What becomes known of a call on its way, for those who count it and write about it.

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::error::CallError;
use plugboard_core::ids::{OrganizationId, ServiceKey};
use plugboard_core::job::Job;
use plugboard_core::manifest::Connector;
use plugboard_core::telemetry::metrics::Stage;
use plugboard_core::telemetry::{CallTrace, FailedCall, failed_call};
use tokio::time::Instant;

use crate::answer::Answer;
use crate::calls::{Caller, UnderWay};
use crate::meters::Meters;
use crate::state::Gateway;

/// Only what is a manifest's own, or ours.
pub(crate) struct Seen<'a> {
    began: Instant,
    pub(crate) trace: &'a CallTrace<'a>,
    pub(crate) connector: Option<Arc<Connector>>,
    /// Of a call that was refused after its check.
    pub(crate) operation: Option<String>,
    pub(crate) job: Option<Arc<Job>>,
    /// Until it was a job, or was refused.
    pub(crate) check: Duration,
    /// Its place among the calls that a console shows as under way.
    pub(crate) under_way: Option<UnderWay>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(trace: &'a CallTrace<'a>) -> Self {
        Self {
            began: Instant::now(),
            trace,
            connector: None,
            operation: None,
            job: None,
            check: Duration::ZERO,
            under_way: None,
        }
    }

    /// It is this job from here on.
    pub(crate) fn takes(&mut self, job: &Arc<Job>, under_way: UnderWay) {
        self.job = Some(job.clone());
        self.under_way = Some(under_way);
    }

    pub(crate) fn service(&self) -> Option<&ServiceKey> {
        self.connector.as_ref().map(|connector| connector.key())
    }

    pub(crate) fn operation(&self) -> Option<&str> {
        match &self.job {
            Some(job) => job.operation.as_deref(),
            None => self.operation.as_deref(),
        }
    }

    pub(crate) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn checked(&mut self, meters: &Meters) {
        self.check = self.began.elapsed();
        meters.stages.record(Stage::Check, self.check);
    }
}

/// The end of a request that `trace` is of.
pub(crate) fn ended(trace: &CallTrace<'_>, answer: &Result<Answer, CallError>) {
    trace.ended(!answer.as_ref().is_ok_and(|answer| answer.ok), Vec::new);
}

impl Gateway {
    pub(crate) fn answered(&self, caller: Caller<'_>, seen: &mut Seen<'_>, answer: &Answer) {
        let (service, took) = (seen.service().map(ServiceKey::as_str), seen.took());
        self.meters.answered(service, seen.operation(), answer.failure(), took);
        self.note_call(caller, seen, answer, took);
    }

    /// Of a call that never became a job, or whose job went nowhere.
    pub(crate) fn refused(&self, organization: &OrganizationId, seen: &Seen<'_>, error: &CallError) {
        self.meters.refused(error);
        failed_call(&FailedCall {
            error,
            execution_id: seen.job.as_ref().map(|job| &job.execution_id),
            organization,
            trace: seen.trace.context(),
            service: seen.service().map_or("unknown", ServiceKey::as_str),
            operation: seen.operation(),
            status: None,
        });
    }

    /// Of a job that no executor will tell of.
    pub(crate) fn tell_of(&self, job: &Job, error: &CallError) {
        failed_call(&FailedCall::of_job(job, error));
    }
}
