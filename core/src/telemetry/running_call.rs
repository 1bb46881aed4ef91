//! The call that a task works on, for the lines of its log.

use std::sync::Arc;

use super::trace_id;
use crate::job::{Job, TraceContext};

tokio::task_local! {
    static PRESENT: RunningCall;
}

/// What a line of the log says of the call it belongs to. No path, query or body: they may hold secrets, and they are the
/// tenant's.
#[derive(Debug, Clone)]
pub struct RunningCall {
    job: Arc<Job>,
    start: u32,
}

impl RunningCall {
    pub fn new(job: Arc<Job>, start: u32) -> Self {
        Self { job, start }
    }

    /// Runs `work`, whose lines say that they belong to this call. What it spawns does not.
    pub fn around<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        PRESENT.scope(self, work)
    }

    /// With the one that the present task works on.
    pub(super) fn present<T>(look: impl FnOnce(&Self) -> T) -> Option<T> {
        PRESENT.try_with(look).ok()
    }

    /// As it came with the job.
    pub(super) fn trace(&self) -> TraceContext {
        self.job.trace.clone()
    }

    pub(super) fn each(&self, mut say: impl FnMut(&'static str, &str)) {
        let Self { job, start } = self;
        say("execution_id", job.execution_id.as_str());
        say("organization", job.organization.as_str());
        if let Some(id) = trace_id(&job.trace) {
            say("trace_id", id);
        }
        say("service", job.service.as_str());
        if let Some(operation) = &job.operation {
            say("operation", operation);
        }
        say("start", &start.to_string());
    }
}
