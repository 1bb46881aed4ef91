//! Which traces are exported: a part of all, chosen when a trace begins, and besides what failed or was slow.
//!
//! The second is known at the end only. So spans that were not chosen are recorded too, and held until the outermost span
//! that this process has of their trace has ended: if one of them failed, or that one took long, all of them are exported.
//!
//! Each process decides by what it saw itself. Of a call that failed at the vendor the executor and the gateway, which
//! both see the failure, keep their spans, and the auth service, where all went well, does not. Whoever wants whole traces
//! of every failure samples all of them and lets a collector choose.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, ShouldSample, Span, SpanData, SpanProcessor,
};
use parking_lot::Mutex;

/// Traces held at once; one more is not held.
const TRACES: usize = 10_000;
/// Spans held of one trace; what comes after is not held.
const SPANS: usize = 64;

/// Parent based, by a ratio where there is no parent. With a tail, what is not sampled is recorded nevertheless.
#[derive(Debug, Clone)]
pub(super) struct Keep {
    sampler: Sampler,
    tail: bool,
}

impl Keep {
    pub(super) fn new(ratio: f64, tail: bool) -> Self {
        Self { sampler: Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))), tail }
    }
}

impl ShouldSample for Keep {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        // A context without a valid span is no parent.
        let parent = parent.filter(|context| context.span().span_context().is_valid());
        let mut result = self.sampler.should_sample(parent, trace, name, kind, attributes, links);
        if self.tail && result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}

/// What is known of a trace that was not sampled.
#[derive(Debug, Default)]
struct Held {
    /// Outermost spans of this process that have not ended. In one process a call has two: the caller's and the job's.
    open: usize,
    keep: bool,
    spans: Vec<SpanData>,
}

/// Passes on what was sampled, and what turns out to be worth it.
#[derive(Debug)]
pub(super) struct Tail<P> {
    next: P,
    slow: Option<Duration>,
    held: Mutex<HashMap<TraceId, Held>>,
}

impl<P: SpanProcessor> Tail<P> {
    /// `slow`: `None` keeps nothing besides what was sampled.
    pub(super) fn new(next: P, slow: Option<Duration>) -> Self {
        Self { next, slow, held: Mutex::default() }
    }

    /// The spans of this trace that are to be exported now.
    fn decide(&self, span: SpanData, slow: Duration) -> Vec<SpanData> {
        let trace = span.span_context.trace_id();
        let outermost = is_outermost(&span);
        let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
        let worth = matches!(span.status, Status::Error { .. }) || (outermost && took >= slow);
        let mut held = self.held.lock();
        let Entry::Occupied(mut entry) = held.entry(trace) else { return Vec::new() };
        let of_trace = entry.get_mut();
        of_trace.keep |= worth;
        if of_trace.spans.len() < SPANS {
            of_trace.spans.push(span);
        }
        if outermost {
            of_trace.open = of_trace.open.saturating_sub(1);
            if of_trace.open == 0 {
                let ended = entry.remove();
                return if ended.keep { ended.spans } else { Vec::new() };
            }
        }
        Vec::new()
    }
}

impl<P: SpanProcessor> SpanProcessor for Tail<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        use opentelemetry::trace::Span as _;
        let own = span.span_context();
        if self.slow.is_some() && !own.is_sampled() {
            let trace = own.trace_id();
            let parent = context.span();
            let parent = parent.span_context();
            if !parent.is_valid() || parent.is_remote() {
                let mut held = self.held.lock();
                if held.len() < TRACES || held.contains_key(&trace) {
                    held.entry(trace).or_default().open += 1;
                }
            }
        }
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        match self.slow {
            Some(slow) if !span.span_context.is_sampled() => {
                for span in self.decide(span, slow) {
                    self.next.on_end(sampled(span));
                }
            }
            _ => self.next.on_end(span),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

fn is_outermost(span: &SpanData) -> bool {
    span.parent_span_is_remote || span.parent_span_id == SpanId::INVALID
}

/// Exporters leave out what says that it was not sampled.
fn sampled(mut span: SpanData) -> SpanData {
    let context = &span.span_context;
    span.span_context = SpanContext::new(
        context.trace_id(),
        context.span_id(),
        context.trace_flags().with_sampled(true),
        context.is_remote(),
        context.trace_state().clone(),
    );
    span
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry::trace::{Span as _, TraceFlags, TraceState, Tracer, TracerProvider};
    use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Exported(Arc<Mutex<Vec<String>>>);

    impl SpanProcessor for Exported {
        fn on_start(&self, _span: &mut Span, _context: &Context) {}

        fn on_end(&self, span: SpanData) {
            if span.span_context.is_sampled() {
                self.0.lock().push(span.name.into_owned());
            }
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    fn tracer(ratio: f64, slow: Option<Duration>) -> (Exported, SdkTracer) {
        let exported = Exported::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Keep::new(ratio, slow.is_some()))
            .with_span_processor(Tail::new(exported.clone(), slow))
            .build();
        let tracer = provider.tracer("test");
        // The processors stop with their provider.
        std::mem::forget(provider);
        (exported, tracer)
    }

    const LONG: Option<Duration> = Some(Duration::from_secs(60));

    /// Two levels; the inner one ends as told.
    fn call(tracer: &SdkTracer, parent: &Context, status: Status) {
        let outer = parent.with_span(tracer.start_with_context("outer", parent));
        let mut inner = tracer.start_with_context("inner", &outer);
        inner.set_status(status);
        inner.end();
        outer.span().end();
    }

    fn remote(sampled: bool) -> Context {
        let flags = TraceFlags::default().with_sampled(sampled);
        let context = SpanContext::new(TraceId::from(7_u128), SpanId::from(7_u64), flags, true, TraceState::default());
        Context::new().with_remote_span_context(context)
    }

    #[test]
    fn what_failed_is_kept_and_what_went_well_is_not() {
        let (exported, tracer) = tracer(0.0, LONG);
        call(&tracer, &Context::new(), Status::Ok);
        assert!(exported.0.lock().is_empty());
        call(&tracer, &Context::new(), Status::error("x"));
        assert_eq!(*exported.0.lock(), ["inner", "outer"]);
    }

    #[test]
    fn what_was_slow_is_kept() {
        let (exported, tracer) = tracer(0.0, Some(Duration::ZERO));
        call(&tracer, &Context::new(), Status::Ok);
        assert_eq!(*exported.0.lock(), ["inner", "outer"]);
    }

    #[test]
    fn a_caller_decides_what_is_sampled() {
        for (sampled, count) in [(true, 2), (false, 0)] {
            let (exported, tracer) = tracer(1.0, LONG);
            call(&tracer, &remote(sampled), Status::Ok);
            assert_eq!(exported.0.lock().len(), count, "{sampled}");
        }
        let (exported, tracer) = tracer(1.0, LONG);
        call(&tracer, &Context::new(), Status::Ok);
        assert_eq!(exported.0.lock().len(), 2);
    }

    #[test]
    fn without_a_tail_nothing_is_recorded_that_was_not_sampled() {
        let (exported, tracer) = tracer(0.0, None);
        assert!(!tracer.start("one").is_recording());
        call(&tracer, &Context::new(), Status::error("x"));
        assert!(exported.0.lock().is_empty());
    }

    /// In one process a job continues its caller's trace: what failed in it keeps the caller's spans as well.
    #[test]
    fn all_that_one_process_has_of_a_trace_is_kept_together() {
        let (exported, tracer) = tracer(0.0, LONG);
        let outer = Context::new().with_span(tracer.start("request"));
        let own = outer.span().span_context().clone();
        let sent = SpanContext::new(own.trace_id(), own.span_id(), own.trace_flags(), true, TraceState::default());
        call(&tracer, &Context::new().with_remote_span_context(sent), Status::error("x"));
        assert!(exported.0.lock().is_empty(), "the request goes on");
        outer.span().end();
        assert_eq!(*exported.0.lock(), ["inner", "outer", "request"]);
    }
}
