//! The one line that a failed call has in the logs.

use super::trace_id;
use crate::error::{CallError, ErrorCode, Origin};
use crate::ids::{ExecutionId, OrganizationId};
use crate::job::{Job, TraceContext};

/// A call that failed. Nothing of what a caller or a vendor wrote.
#[derive(Debug)]
pub struct FailedCall<'a> {
    pub error: &'a CallError,
    /// `None`: it was refused before it had one.
    pub execution_id: Option<&'a ExecutionId>,
    pub organization: &'a OrganizationId,
    pub trace: &'a TraceContext,
    pub service: &'a str,
    pub operation: Option<&'a str>,
    /// The vendor's.
    pub status: Option<u16>,
}

impl<'a> FailedCall<'a> {
    pub fn of_job(job: &'a Job, error: &'a CallError) -> Self {
        Self {
            error,
            execution_id: Some(&job.execution_id),
            organization: &job.organization,
            trace: &job.trace,
            service: job.service.as_str(),
            operation: job.operation.as_deref(),
            status: None,
        }
    }
}

/// Writes the line: `error` for a fault of ours, `warn` for what an operator may have to look at, `info` for the rest.
pub fn failed_call(call: &FailedCall<'_>) {
    // The level is part of a line's place in the code, so there are three. Without a parent: it says all ids itself.
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                parent: None,
                execution_id = call.execution_id.map(ExecutionId::as_str),
                organization = call.organization.as_str(),
                trace_id = trace_id(call.trace),
                service = call.service,
                operation = call.operation,
                code = call.error.code.as_str(),
                origin = call.error.origin.as_str(),
                status = call.status,
                cause = call.error.cause.as_deref(),
                "a call failed"
            )
        };
    }
    match (call.error.code, call.error.origin) {
        (ErrorCode::Internal, _) => line!(error),
        (_, Origin::Platform | Origin::Network) => line!(warn),
        (_, Origin::Caller | Origin::Policy | Origin::Credential | Origin::Upstream) => line!(info),
    }
}
