//! Logs, traces and metrics. Built once by the binary; the guard flushes at the end.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`logs`] | lines, on stderr, for stdout belongs to the command's answer |
//! | [`running_call`] | what a line says of the call it belongs to |
//! | [`failed_call`] | the line that a failed call has |
//! | [`traces`] | spans to an OTLP collector |
//! | [`recorder`], [`call_trace`] | of which calls, and what of them |
//! | [`propagation`] | W3C trace context from hop to hop |
//! | [`metrics`] | numbers for Prometheus, and the list of them |
//!
//! What is never told: keys, credentials, bodies, queries, paths of vendor calls.

mod call_trace;
mod failed_call;
mod logs;
pub mod metrics;
mod propagation;
mod recorder;
mod running_call;
mod traces;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::Deserialize;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use call_trace::{CallTrace, Step, if_sampled};
pub use failed_call::{FailedCall, failed_call};
pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::SpanKind;
pub use propagation::{present_trace, received_trace, trace_id};
pub use running_call::RunningCall;

/// The target of spans that are parts of a trace. Logs leave them out, so that they cost nothing where no traces are
/// recorded.
pub const SPANS: &str = "plugboard::spans";

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
    /// Part of the traces that is sampled where a caller has not decided.
    pub sample_ratio: f64,
    /// What failed or took this long is kept although it was not sampled; 0 = nothing is.
    pub slow_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: "warn".to_owned(),
            format: LogFormat::Text,
            otlp_endpoint: String::new(),
            sample_ratio: 0.01,
            slow_ms: 5_000,
        }
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
    #[error("telemetry.sample_ratio is {0}: it is a part, from 0 to 1")]
    Ratio(f64),
    #[error("logging is already set up")]
    Twice,
    #[error("metrics are already set up")]
    MetricsTwice,
}

/// Installs logging and tracing for this process.
///
/// # Errors
/// When the filter, the ratio or the endpoint is malformed.
pub fn init(config: &TelemetryConfig, service: &str, instance: &str) -> Result<TelemetryGuard, TelemetryError> {
    if !(0.0..=1.0).contains(&config.sample_ratio) {
        return Err(TelemetryError::Ratio(config.sample_ratio));
    }
    let logs = logs::layer(&config.log, config.format, std::io::stderr)?;
    let (provider, recorder) = match config.otlp_endpoint.as_str() {
        "" => (None, None),
        endpoint => traces::export(endpoint, config, service, instance).map(|(one, other)| (Some(one), Some(other)))?,
    };
    let traces = provider.as_ref().map(|provider| {
        let only_spans = Targets::new().with_target(SPANS, tracing::Level::INFO);
        // Which file and thread a span came from tells nobody anything.
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(recorder::SCOPE))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(only_spans)
    });
    tracing_subscriber::registry().with(traces).with(logs).try_init().map_err(|_| TelemetryError::Twice)?;
    if let Some(recorder) = recorder {
        recorder.install();
    }
    Ok(TelemetryGuard { provider })
}
