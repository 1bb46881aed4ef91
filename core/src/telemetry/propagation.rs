//! W3C trace context from hop to hop: in jobs, in gRPC metadata, in what is sent to a vendor.

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::MetadataMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::RunningCall;
use crate::job::TraceContext;

/// W3C asks to carry at least this much.
const LONGEST_STATE: usize = 512;
/// 2-32-16-2 hexadecimal digits with dashes.
const PARENT_LENGTH: usize = 55;

/// Makes `span` a child of a received context.
pub(super) fn continue_trace(span: &Span, context: &TraceContext) {
    if context.traceparent.is_empty() || span.is_disabled() {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&Received(context));
    // Without a tracing layer there is nothing to link; that is no failure.
    let _ = span.set_parent(parent);
}

/// The span that a received context names; `None` where it names none.
pub(super) fn parent_of(context: &TraceContext) -> Option<SpanContext> {
    if context.traceparent.is_empty() {
        return None;
    }
    let parent = TraceContextPropagator::new().extract(&Received(context));
    let parent = parent.span().span_context().clone();
    parent.is_valid().then_some(parent)
}

/// The context of a span that is recorded, for the next hop.
pub(super) fn to_send(span: &Span) -> Option<TraceContext> {
    if span.is_disabled() {
        return None;
    }
    let mut carried = TraceContext::default();
    TraceContextPropagator::new().inject_context(&span.context(), &mut Sent(&mut carried));
    (!carried.traceparent.is_empty()).then_some(carried)
}

/// `traceparent` of a span that is not sampled.
pub(super) fn unsampled(trace: TraceId, span: SpanId) -> String {
    // Made for nearly every call: `fmt` takes ten times as long.
    let mut text = *b"00-................................-................-00";
    let written = hex::encode_to_slice(trace.to_bytes(), &mut text[3..35])
        .and_then(|()| hex::encode_to_slice(span.to_bytes(), &mut text[36..52]));
    debug_assert!(written.is_ok());
    String::from_utf8_lossy(&text).into_owned()
}

/// The context that belongs to the present work: of its span, or of its call where that is not sampled.
pub fn present_trace() -> Option<TraceContext> {
    to_send(&Span::current())
        .or_else(|| RunningCall::present(RunningCall::trace).filter(|trace| !trace.traceparent.is_empty()))
}

/// What a caller over gRPC sent along. Anything that is no trace context is none.
pub fn received_trace(metadata: &MetadataMap) -> TraceContext {
    let value = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (parent, state) = (value("traceparent"), value("tracestate"));
    if parent.len() != PARENT_LENGTH || state.len() > LONGEST_STATE {
        return TraceContext::default();
    }
    TraceContext { traceparent: parent.to_owned(), tracestate: state.to_owned() }
}

/// The trace of a received context, for logs: 32 hexadecimal digits, or nothing.
pub fn trace_id(context: &TraceContext) -> Option<&str> {
    let id = context.traceparent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

struct Received<'a>(&'a TraceContext);

impl Extractor for Received<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(&self.0.traceparent),
            "tracestate" => Some(&self.0.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

struct Sent<'a>(&'a mut TraceContext);

impl Injector for Sent<'_> {
    fn set(&mut self, key: &str, value: String) {
        match key {
            "traceparent" => self.0.traceparent = value,
            "tracestate" => self.0.tracestate = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_trace_context_is_none() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let received = |parent: &str, state: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("traceparent", parent.parse().unwrap());
            metadata.insert("tracestate", state.parse().unwrap());
            received_trace(&metadata)
        };
        let good = received(parent, "a=1");
        assert_eq!((good.traceparent.as_str(), good.tracestate.as_str()), (parent, "a=1"));
        assert_eq!(trace_id(&good), Some("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(received("00-1-2-01", "a=1"), TraceContext::default());
        assert_eq!(received(parent, &"x".repeat(600)), TraceContext::default());
        assert_eq!(trace_id(&TraceContext::default()), None);
    }
}
