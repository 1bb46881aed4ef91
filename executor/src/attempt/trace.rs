//! What a trace says of a job and of a request to a vendor, and what the vendor is told of the trace.

use http::{HeaderMap, HeaderName, HeaderValue};
use plugboard_core::egress::{EgressError, EgressResponse};
use plugboard_core::job::Job;
use plugboard_core::telemetry::{CallTrace, KeyValue, SPANS, SpanKind, Step};
use tracing::field::Empty;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// One start of a job.
pub(super) fn of_job(job: &Job, starts: u32) -> CallTrace<'_> {
    CallTrace::join("execute", SpanKind::Consumer, &job.trace, || {
        tracing::info_span!(
            target: SPANS,
            "execute",
            otel.kind = "consumer",
            otel.status_code = Empty,
            execution_id = job.execution_id.as_str(),
            service = job.service.as_str(),
            operation = job.operation.as_deref().unwrap_or_default(),
            code = Empty,
            start = i64::from(starts),
        )
    })
}

/// The same of a job that was not sampled.
pub(super) fn about(job: &Job, starts: u32, code: Option<&'static str>) -> Vec<KeyValue> {
    let mut about = vec![
        KeyValue::new("execution_id", job.execution_id.as_str().to_owned()),
        KeyValue::new("service", job.service.as_str().to_owned()),
        KeyValue::new("operation", job.operation.clone().unwrap_or_default()),
        KeyValue::new("start", i64::from(starts)),
    ];
    about.extend(code.map(|code| KeyValue::new("code", code)));
    about
}

/// Neither address nor content: they are the tenant's, and may hold secrets.
pub(super) fn of_request<'a>(call: &'a CallTrace<'a>, again: u32) -> Step<'a> {
    call.step("vendor request", SpanKind::Client, || {
        tracing::info_span!(
            target: SPANS,
            "vendor request",
            otel.kind = "client",
            otel.status_code = Empty,
            http.response.status_code = Empty,
            again = i64::from(again),
        )
    })
}

/// For a vendor whose manifest wants it.
pub(super) fn send(request: &mut Step<'_>, headers: &mut HeaderMap) {
    let sent = request.context();
    for (name, value) in [(TRACEPARENT, sent.traceparent), (TRACESTATE, sent.tracestate)] {
        if !value.is_empty()
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
    }
}

/// A refusal is a failure here too: the trace is of the call.
pub(super) fn ended(mut request: Step<'_>, answer: &Result<EgressResponse, EgressError>) {
    let status = match answer {
        Ok(answer) => Some(answer.status),
        Err(error) => error.status(),
    };
    if let Some(status) = status {
        request.answered(status.as_u16());
    }
    if !status.is_some_and(|status| answer.is_ok() && status.is_success()) {
        request.failed();
    }
}
