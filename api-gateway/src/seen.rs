//! What becomes known of a call on its way, for those who count it and write about it.

use std::sync::Arc;

use plugboard_core::error::CallError;
use plugboard_core::ids::{OrganizationId, ServiceKey};
use plugboard_core::job::{Job, TraceContext};
use plugboard_core::manifest::Connector;
use plugboard_core::telemetry::metrics::Stage;
use plugboard_core::telemetry::{FailedCall, failed_call};
use tokio::time::Instant;

use crate::answer::Answer;
use crate::meters::Meters;
use crate::state::Gateway;

/// Only what is a manifest's own, or ours.
pub(crate) struct Seen {
    began: Instant,
    pub(crate) trace: TraceContext,
    pub(crate) connector: Option<Arc<Connector>>,
    /// Of a call that was refused after its check.
    pub(crate) operation: Option<String>,
    pub(crate) job: Option<Arc<Job>>,
}

impl Seen {
    pub(crate) fn new(trace: TraceContext) -> Self {
        Self { began: Instant::now(), trace, connector: None, operation: None, job: None }
    }

    pub(crate) fn service(&self) -> Option<&ServiceKey> {
        self.connector.as_ref().map(|connector| connector.key())
    }

    fn operation(&self) -> Option<&str> {
        match &self.job {
            Some(job) => job.operation.as_deref(),
            None => self.operation.as_deref(),
        }
    }

    pub(crate) fn checked(&self, meters: &Meters) {
        meters.stages.record(Stage::Check, self.began.elapsed());
    }
}

impl Gateway {
    pub(crate) fn answered(&self, seen: &Seen, answer: &Answer) {
        let service = seen.service().map(ServiceKey::as_str);
        self.meters.answered(service, seen.operation(), answer.failure(), seen.began.elapsed());
    }

    /// Of a call that never became a job, or whose job went nowhere.
    pub(crate) fn refused(&self, organization: &OrganizationId, seen: &Seen, error: &CallError) {
        self.meters.refused(error);
        failed_call(&FailedCall {
            error,
            execution_id: seen.job.as_ref().map(|job| &job.execution_id),
            organization,
            trace: &seen.trace,
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
