//! Logs, traces and their propagation. Built once by the binary; the guard flushes at the end.
//!
//! Logs go to stderr: stdout belongs to the command's answer. Traces go to an OTLP collector when one is configured.
//! What is never logged: keys, credentials, bodies, queries, paths of vendor calls.

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::Deserialize;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::job::TraceContext;

/// Section `[telemetry]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// `tracing` filter, e.g. `info` or `warn,executor=debug`.
    pub log: String,
    /// `text` or `json`.
    pub format: LogFormat,
    /// OTLP/gRPC endpoint, e.g. `http://127.0.0.1:4317`; empty = no traces.
    pub otlp_endpoint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log: "warn".to_owned(), format: LogFormat::Text, otlp_endpoint: String::new() }
    }
}

/// Flushes traces when dropped or shut down.
#[derive(Debug)]
pub struct TelemetryGuard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            // Exporting may wait for the network: off the async workers.
            let _ = std::thread::spawn(move || provider.shutdown()).join();
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("telemetry.log: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(String),
    #[error("logging is already set up")]
    Twice,
}

/// Installs logging and tracing for this process.
///
/// # Errors
/// When the filter or the endpoint is malformed.
pub fn init(config: &TelemetryConfig, service: &str, instance: &str) -> Result<TelemetryGuard, TelemetryError> {
    let filter = EnvFilter::builder().parse(&config.log)?;
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(true);
    let logs = match config.format {
        LogFormat::Text => logs.with_ansi(false).boxed(),
        LogFormat::Json => logs.json().flatten_event(true).boxed(),
    };
    let provider = match config.otlp_endpoint.as_str() {
        "" => None,
        endpoint => Some(tracer_provider(endpoint, service, instance)?),
    };
    let traces = provider.as_ref().map(|provider| {
        let only_spans = EnvFilter::new("info");
        tracing_opentelemetry::layer().with_tracer(provider.tracer("plugboard")).with_filter(only_spans)
    });
    tracing_subscriber::registry()
        .with(traces)
        .with(logs.with_filter(filter))
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    Ok(TelemetryGuard { provider })
}

fn tracer_provider(endpoint: &str, service: &str, instance: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    let resource = opentelemetry_sdk::Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", instance.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Makes `span` a child of a received context.
pub fn continue_trace(span: &tracing::Span, context: &TraceContext) {
    if context.traceparent.is_empty() || span.is_disabled() {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&Received(context));
    // Without a tracing layer there is nothing to link; that is no failure.
    let _ = span.set_parent(parent);
}

/// The context of `span` for the next hop; the received one when no traces are recorded here.
pub fn trace_to_send(span: &tracing::Span, received: &TraceContext) -> TraceContext {
    let mut carried = TraceContext::default();
    TraceContextPropagator::new().inject_context(&span.context(), &mut Sent(&mut carried));
    if carried.traceparent.is_empty() { received.clone() } else { carried }
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
