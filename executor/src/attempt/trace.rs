//! What a trace says of a request to a vendor, and what the vendor is told of the trace.

use http::{HeaderMap, HeaderName, HeaderValue};
use plugboard_core::egress::{EgressError, EgressResponse};
use plugboard_core::job::TraceContext;
use plugboard_core::telemetry;
use tracing::Span;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// For a vendor whose manifest wants it.
pub(super) fn send(span: &Span, received: &TraceContext, headers: &mut HeaderMap) {
    let sent = telemetry::trace_to_send(span, received);
    for (name, value) in [(TRACEPARENT, sent.traceparent), (TRACESTATE, sent.tracestate)] {
        if !value.is_empty()
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
    }
}

/// A refusal is a failure here too: the trace is of the call.
pub(super) fn ended(span: &Span, answer: &Result<EgressResponse, EgressError>) {
    if span.is_disabled() {
        return;
    }
    let status = match answer {
        Ok(answer) => Some(answer.status),
        Err(error) => error.status(),
    };
    if let Some(status) = status {
        span.record("http.response.status_code", status.as_u16());
    }
    if !status.is_some_and(|status| answer.is_ok() && status.is_success()) {
        span.record("otel.status_code", "ERROR");
    }
}
