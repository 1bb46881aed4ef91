//! What a trace says of a call, in one process.
//!
//! Of a sampled call spans are made as it goes. Of any other only moments are noted; when it turns out to have failed, or to
//! have been slow, the same spans are made of them at its end. So a trace of every failure is there, and a call that went well
//! costs next to nothing.
//!
//! Each process decides by what it saw itself. Of a call that failed at the vendor the executor and the gateway, which both see
//! the failure, tell, and the auth service, where all went well, does not. Whoever wants whole traces of every failure samples
//! all of them and lets a collector choose.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, SpanKind};
use parking_lot::Mutex;
use tracing::Span;

use super::propagation::{continue_trace, to_send, unsampled};
use super::recorder::{Ids, Recorder, Told};
use crate::job::TraceContext;

/// Steps noted of one call; what comes after is not.
const STEPS: usize = 64;
/// Room for those that a call has as a rule.
const USUAL_STEPS: usize = 4;

/// One call on its way through this process.
#[derive(Debug)]
pub struct CallTrace<'a> {
    /// Of a call that is sampled.
    span: Span,
    context: Cow<'a, TraceContext>,
    /// Of one that is not.
    notes: Option<Notes>,
}

#[derive(Debug)]
struct Notes {
    recorder: &'static Recorder,
    name: &'static str,
    kind: SpanKind,
    began: Instant,
    wall: SystemTime,
    /// Read when they are wanted.
    ids: OnceLock<Ids>,
    steps: Mutex<Vec<Note>>,
}

/// A part of the call.
#[derive(Debug)]
struct Note {
    name: &'static str,
    kind: SpanKind,
    began: Instant,
    ended: Instant,
    failed: bool,
    /// The vendor's.
    status: Option<u16>,
    /// Where it was told to somebody.
    id: Option<SpanId>,
}

impl<'a> CallTrace<'a> {
    /// A call that begins here: the next hop comes from it. `span`: with the target [`SPANS`](super::SPANS) and an empty
    /// `otel.status_code`; its name and kind once more are for the call that is not sampled.
    pub fn begin(name: &'static str, kind: SpanKind, received: TraceContext, span: impl FnOnce() -> Span) -> Self {
        match Recorder::installed() {
            Some(recorder) => Self::begun(recorder, name, kind, received, span),
            None => Self::passed_on(Cow::Owned(received)),
        }
    }

    /// The part of a call that a process adds which only works for another one. `span` as for [`Self::begin`].
    pub fn join(name: &'static str, kind: SpanKind, received: &'a TraceContext, span: impl FnOnce() -> Span) -> Self {
        match Recorder::installed() {
            Some(recorder) => Self::joined(recorder, name, kind, received, span),
            None => Self::passed_on(Cow::Borrowed(received)),
        }
    }

    fn passed_on(context: Cow<'a, TraceContext>) -> Self {
        Self { span: Span::none(), context, notes: None }
    }

    fn begun(
        recorder: &'static Recorder,
        name: &'static str,
        kind: SpanKind,
        received: TraceContext,
        span: impl FnOnce() -> Span,
    ) -> Self {
        let (ids, sampled) = recorder.sample(&received);
        if sampled {
            return Self::sampled(Cow::Owned(received), span);
        }
        let context = TraceContext { traceparent: unsampled(ids.trace, ids.own), tracestate: received.tracestate };
        Self::noted(recorder, name, kind, Cow::Owned(context), ids.into())
    }

    fn joined(
        recorder: &'static Recorder,
        name: &'static str,
        kind: SpanKind,
        received: &'a TraceContext,
        span: impl FnOnce() -> Span,
    ) -> Self {
        // Nearly all of them, and most are never told of: what else stands there is not read yet.
        if received.traceparent.ends_with("-00") {
            return Self::noted(recorder, name, kind, Cow::Borrowed(received), OnceLock::new());
        }
        let (ids, sampled) = recorder.sample(received);
        if sampled {
            return Self::sampled(Cow::Borrowed(received), span);
        }
        Self::noted(recorder, name, kind, Cow::Borrowed(received), ids.into())
    }

    fn sampled(received: Cow<'a, TraceContext>, span: impl FnOnce() -> Span) -> Self {
        let span = span();
        continue_trace(&span, &received);
        let context = to_send(&span).map_or(received, Cow::Owned);
        Self { span, context, notes: None }
    }

    #[allow(clippy::disallowed_methods, reason = "decides nothing: it is what a collector is told")]
    fn noted(
        recorder: &'static Recorder,
        name: &'static str,
        kind: SpanKind,
        context: Cow<'a, TraceContext>,
        ids: OnceLock<Ids>,
    ) -> Self {
        let notes = recorder.keeps_failures().then(|| Notes {
            recorder,
            name,
            kind,
            began: Instant::now(),
            wall: SystemTime::now(),
            ids,
            steps: Mutex::default(),
        });
        Self { span: Span::none(), context, notes }
    }

    /// For the next hop.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// To work in; disabled where the call is not sampled.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// A part of the call, from now until it is dropped. `span` as for [`Self::begin`].
    pub fn step(&self, name: &'static str, kind: SpanKind, span: impl FnOnce() -> Span) -> Step<'_> {
        let span = if self.span.is_disabled() { Span::none() } else { span() };
        let note = self.notes.as_ref().map(|_| {
            let now = Instant::now();
            Note { name, kind, began: now, ended: now, failed: false, status: None, id: None }
        });
        Step { call: self, span, note }
    }

    /// The call's end. `about`: what else is to be said of it, if it is told of.
    pub fn ended(&self, failed: bool, about: impl FnOnce() -> Vec<KeyValue>) {
        if failed {
            self.span.record("otel.status_code", "ERROR");
        }
        let Some(notes) = &self.notes else { return };
        let ended = Instant::now();
        if failed || notes.recorder.is_slow(ended.saturating_duration_since(notes.began)) {
            notes.tell(&self.context, ended, failed, about());
        }
    }
}

impl Notes {
    fn ids(&self, context: &TraceContext) -> Ids {
        *self.ids.get_or_init(|| self.recorder.sample(context).0)
    }

    fn tell(&self, context: &TraceContext, ended: Instant, failed: bool, about: Vec<KeyValue>) {
        let ids = self.ids(context);
        let wall = |at: Instant| self.wall + at.saturating_duration_since(self.began);
        for step in std::mem::take(&mut *self.steps.lock()) {
            let own = step.id.unwrap_or_else(|| self.recorder.new_span_id());
            let status = step.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status)));
            self.recorder.tell(Told {
                name: step.name,
                kind: step.kind,
                ids: Ids { trace: ids.trace, own, parent: ids.own },
                of_other_process: false,
                began: wall(step.began),
                ended: wall(step.ended),
                failed: step.failed,
                about: status.into_iter().collect(),
            });
        }
        self.recorder.tell(Told {
            name: self.name,
            kind: self.kind.clone(),
            ids,
            of_other_process: ids.parent != SpanId::INVALID,
            began: self.wall,
            ended: wall(ended),
            failed,
            about,
        });
    }
}

/// A span of a sampled call, where nothing of it but its context is at hand.
pub fn if_sampled(context: &TraceContext, span: impl FnOnce() -> Span) -> Span {
    if context.traceparent.ends_with("-01") { span() } else { Span::none() }
}

/// A part of a call.
#[derive(Debug)]
pub struct Step<'a> {
    call: &'a CallTrace<'a>,
    span: Span,
    note: Option<Note>,
}

impl Step<'_> {
    /// To work in.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    pub fn failed(&mut self) {
        self.span.record("otel.status_code", "ERROR");
        if let Some(note) = &mut self.note {
            note.failed = true;
        }
    }

    /// `span` has an empty `http.response.status_code`.
    pub fn answered(&mut self, status: u16) {
        // Unsigned numbers would be told as texts.
        self.span.record("http.response.status_code", i64::from(status));
        if let Some(note) = &mut self.note {
            note.status = Some(status);
        }
    }

    /// For the next hop.
    pub fn context(&mut self) -> TraceContext {
        let of_call = self.call.context();
        let (Some(note), Some(notes)) = (&mut self.note, &self.call.notes) else {
            return to_send(&self.span).unwrap_or_else(|| of_call.clone());
        };
        let id = *note.id.get_or_insert_with(|| notes.recorder.new_span_id());
        let traceparent = unsampled(notes.ids(of_call).trace, id);
        TraceContext { traceparent, tracestate: of_call.tracestate.clone() }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let (Some(note), Some(notes)) = (self.note.take(), &self.call.notes) else { return };
        let mut steps = notes.steps.lock();
        if steps.capacity() == 0 {
            steps.reserve(USUAL_STEPS);
        }
        if steps.len() < STEPS {
            steps.push(Note { ended: Instant::now(), ..note });
        }
    }
}

#[cfg(test)]
#[path = "call_trace_tests.rs"]
mod tests;
