//! Which calls are traced, and where the spans of those go that were not sampled and are told of nevertheless.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample, Span, SpanData, SpanEvents, SpanLinks,
    SpanProcessor,
};
use parking_lot::RwLock;

use super::propagation::parent_of;
use crate::job::TraceContext;

/// The name of what makes our spans.
pub(super) const SCOPE: &str = "plugboard";

static INSTALLED: OnceLock<Recorder> = OnceLock::new();

/// What this process does about traces.
#[derive(Debug)]
pub(super) struct Recorder {
    export: Shared,
    ids: RandomIdGenerator,
    /// Part of the traces that is sampled where a caller has not decided.
    ratio: f64,
    /// From here on a call that was not sampled is told of; `None`: none is, nor those that fail.
    slow: Option<Duration>,
    scope: InstrumentationScope,
}

impl Recorder {
    pub(super) fn new(export: Shared, ratio: f64, slow: Option<Duration>) -> Self {
        let scope = InstrumentationScope::builder(SCOPE).build();
        Self { export, ids: RandomIdGenerator::default(), ratio, slow, scope }
    }

    /// For all calls of this process.
    pub(super) fn install(self) {
        // Telemetry is set up once; a second try has failed before it comes here.
        let _ = INSTALLED.set(self);
    }

    pub(super) fn installed() -> Option<&'static Self> {
        INSTALLED.get()
    }

    /// Which span a call has here, and whether it is sampled: by who calls, else by the ratio.
    pub(super) fn sample(&self, received: &TraceContext) -> (Ids, bool) {
        let own = self.new_span_id();
        if let Some(caller) = parent_of(received) {
            return (Ids { trace: caller.trace_id(), own, parent: caller.span_id() }, caller.is_sampled());
        }
        let trace = self.ids.new_trace_id();
        (Ids { trace, own, parent: SpanId::INVALID }, chosen(trace, self.ratio))
    }

    pub(super) fn new_span_id(&self) -> SpanId {
        self.ids.new_span_id()
    }

    pub(super) fn keeps_failures(&self) -> bool {
        self.slow.is_some()
    }

    pub(super) fn is_slow(&self, took: Duration) -> bool {
        self.slow.is_some_and(|slow| took >= slow)
    }

    /// Exports a span of a call that was not sampled.
    pub(super) fn tell(&self, told: Told) {
        let Told { name, kind, ids, of_other_process, began, ended, failed, about } = told;
        self.export.on_end(SpanData {
            // Exporters leave out what says that it was not sampled.
            span_context: SpanContext::new(ids.trace, ids.own, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: ids.parent,
            parent_span_is_remote: of_other_process,
            span_kind: kind,
            name: name.into(),
            start_time: began,
            end_time: ended,
            attributes: about,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        });
    }
}

/// Of one span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pub(super) trace: TraceId,
    pub(super) own: SpanId,
    /// Invalid: it has none.
    pub(super) parent: SpanId,
}

/// What a span is made of.
pub(super) struct Told {
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    pub(super) ids: Ids,
    /// Its parent is.
    pub(super) of_other_process: bool,
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) failed: bool,
    pub(super) about: Vec<KeyValue>,
}

fn chosen(trace: TraceId, ratio: f64) -> bool {
    let sampler = Sampler::TraceIdRatioBased(ratio);
    let result = sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

/// A processor for spans that end as they go, and for those that are made at the end of a call.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<RwLock<Box<dyn SpanProcessor>>>);

impl Shared {
    pub(super) fn new(processor: impl SpanProcessor + 'static) -> Self {
        Self(Arc::new(RwLock::new(Box::new(processor))))
    }
}

impl SpanProcessor for Shared {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.read().on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.0.read().on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.read().force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.read().shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.write().set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_part_of_all() {
        let ids = RandomIdGenerator::default();
        let among = |ratio| (0..20_000).filter(|_| chosen(ids.new_trace_id(), ratio)).count();
        assert_eq!((among(0.0), among(1.0)), (0, 20_000));
        let tenth = among(0.1);
        assert!((1_700..2_300).contains(&tenth), "{tenth}");
    }
}
