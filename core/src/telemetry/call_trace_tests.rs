use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::Status;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span as SdkSpan, SpanData, SpanProcessor};
use tracing_subscriber::layer::SubscriberExt;

use super::super::SPANS;
use super::super::recorder::{SCOPE, Shared};
use super::*;

const LONG: Option<Duration> = Some(Duration::from_secs(60));
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00f067aa0ba902b7";

#[derive(Debug, Clone, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Exported {
    fn on_start(&self, _span: &mut SdkSpan, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        assert!(span.span_context.is_sampled(), "exporters leave it out");
        self.0.lock().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct Traced {
    exported: Exported,
    recorder: &'static Recorder,
    provider: SdkTracerProvider,
}

impl Traced {
    fn new(ratio: f64, slow: Option<Duration>) -> Self {
        let exported = Exported::default();
        let export = Shared::new(exported.clone());
        let provider =
            SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_span_processor(export.clone()).build();
        Self { exported, recorder: Box::leak(Box::new(Recorder::new(export, ratio, slow))), provider }
    }

    /// Two steps, the second of which ends as told; the context that the second would send on.
    fn call(&self, received: TraceContext, failed: bool) -> (TraceContext, TraceContext) {
        let layer = tracing_opentelemetry::layer().with_tracer(self.provider.tracer(SCOPE));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let call = CallTrace::begun(
                self.recorder,
                "call",
                SpanKind::Server,
                received,
                || tracing::info_span!(target: SPANS, "call", otel.kind = "server", otel.status_code = tracing::field::Empty),
            );
            let working = call.span().entered();
            drop(call.step("first", SpanKind::Internal, || tracing::info_span!(target: SPANS, "first")));
            let mut second = call.step("second", SpanKind::Client, || {
                tracing::info_span!(
                    target: SPANS,
                    "second",
                    otel.kind = "client",
                    otel.status_code = tracing::field::Empty,
                    http.response.status_code = tracing::field::Empty,
                )
            });
            let sent = second.context();
            second.answered(if failed { 500 } else { 200 });
            if failed {
                second.failed();
            }
            drop((second, working));
            call.ended(failed, || vec![KeyValue::new("code", "X")]);
            (call.context().clone(), sent)
        })
    }

    fn names(&self) -> Vec<String> {
        self.exported.0.lock().iter().map(|span| span.name.to_string()).collect()
    }
}

fn received(flags: &str) -> TraceContext {
    TraceContext { traceparent: format!("00-{TRACE}-{CALLER}-{flags}"), tracestate: "a=1".to_owned() }
}

#[test]
fn what_failed_is_told_and_what_went_well_is_not() {
    let traced = Traced::new(0.0, LONG);
    traced.call(TraceContext::default(), false);
    assert!(traced.names().is_empty());
    traced.call(TraceContext::default(), true);
    assert_eq!(traced.names(), ["first", "second", "call"]);
}

#[test]
fn what_was_slow_is_told() {
    let traced = Traced::new(0.0, Some(Duration::ZERO));
    traced.call(TraceContext::default(), false);
    assert_eq!(traced.names(), ["first", "second", "call"]);
}

#[test]
fn a_caller_decides_what_is_sampled() {
    for (flags, count) in [("01", 3), ("00", 0)] {
        let traced = Traced::new(1.0, LONG);
        traced.call(received(flags), false);
        assert_eq!(traced.names().len(), count, "{flags}");
    }
    let traced = Traced::new(1.0, LONG);
    traced.call(TraceContext::default(), false);
    assert_eq!(traced.names().len(), 3);
}

#[test]
fn without_a_limit_nothing_is_told_that_was_not_sampled() {
    let traced = Traced::new(0.0, None);
    traced.call(TraceContext::default(), true);
    assert!(traced.names().is_empty());
}

/// Sampled or told at the end: whoever reads the trace sees the same.
#[test]
fn both_ways_make_the_same_spans() {
    for flags in ["01", "00"] {
        let traced = Traced::new(0.0, LONG);
        let (of_call, sent) = traced.call(received(flags), true);
        let spans = traced.exported.0.lock();
        let one = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let (call, first, second) = (one("call"), one("first"), one("second"));
        assert_eq!((call.parent_span_id.to_string().as_str(), call.parent_span_is_remote), (CALLER, true));
        for (span, context) in [(call, of_call), (second, sent)] {
            let (trace, id) = (span.span_context.trace_id(), span.span_context.span_id());
            assert_eq!(context.traceparent, format!("00-{trace}-{id}-{flags}"), "{flags}");
            assert_eq!((trace.to_string().as_str(), context.tracestate.as_str()), (TRACE, "a=1"));
        }
        for step in [first, second] {
            assert_eq!((step.parent_span_id, step.parent_span_is_remote), (call.span_context.span_id(), false));
            assert!(call.start_time <= step.start_time && step.end_time <= call.end_time, "{flags}");
        }
        assert_eq!((&call.span_kind, &second.span_kind), (&SpanKind::Server, &SpanKind::Client));
        let failed = |span: &SpanData| matches!(span.status, Status::Error { .. });
        assert!(failed(call) && !failed(first) && failed(second), "{flags}");
        let status = second.attributes.iter().find(|one| one.key.as_str() == "http.response.status_code").unwrap();
        assert_eq!(status.value, opentelemetry::Value::I64(500), "{flags}");
    }
}

/// What another process began.
#[test]
fn a_part_of_it_goes_where_the_call_came_from() {
    for flags in ["01", "00"] {
        let traced = Traced::new(0.0, LONG);
        let received = received(flags);
        let layer = tracing_opentelemetry::layer().with_tracer(traced.provider.tracer(SCOPE));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let part = CallTrace::joined(
                traced.recorder,
                "part",
                SpanKind::Consumer,
                &received,
                || tracing::info_span!(target: SPANS, "part", otel.status_code = tracing::field::Empty),
            );
            part.ended(true, Vec::new);
        });
        let spans = traced.exported.0.lock();
        let [part] = spans.as_slice() else { panic!("{spans:?}") };
        let came = (part.span_context.trace_id().to_string(), part.parent_span_id.to_string());
        assert_eq!((came.0.as_str(), came.1.as_str()), (TRACE, CALLER), "{flags}");
        assert!(part.parent_span_is_remote && matches!(part.status, Status::Error { .. }), "{flags}");
    }
}

#[test]
fn what_is_no_trace_begins_one() {
    let traced = Traced::new(0.0, LONG);
    let received = TraceContext { traceparent: "nonsense-00".to_owned(), tracestate: String::new() };
    CallTrace::joined(traced.recorder, "part", SpanKind::Consumer, &received, Span::none).ended(true, Vec::new);
    let spans = traced.exported.0.lock();
    assert!(spans[0].span_context.is_valid() && spans[0].parent_span_id == SpanId::INVALID);
}

#[test]
fn a_call_has_an_end_of_steps() {
    let traced = Traced::new(0.0, LONG);
    let call =
        CallTrace::begun(traced.recorder, "call", SpanKind::Server, TraceContext::default(), tracing::Span::none);
    for _ in 0..1_000 {
        drop(call.step("step", SpanKind::Internal, tracing::Span::none));
    }
    call.ended(true, Vec::new);
    assert_eq!(traced.names().len(), STEPS + 1);
}
