//! Where spans go.

use std::time::Duration;

use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracerProvider};

use super::recorder::{Recorder, Shared};
use super::{TelemetryConfig, TelemetryError};

/// For spans that are made as a call goes, and for those made at its end.
pub(super) fn export(
    endpoint: &str,
    config: &TelemetryConfig,
    service: &str,
    instance: &str,
) -> Result<(SdkTracerProvider, Recorder), TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    let resource = opentelemetry_sdk::Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", instance.to_owned()))
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let slow = (config.slow_ms > 0).then(|| Duration::from_millis(config.slow_ms));
    let export = Shared::new(BatchSpanProcessor::builder(exporter).build());
    let provider = SdkTracerProvider::builder()
        // A span is made only of a call that is sampled.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(export.clone())
        .with_resource(resource)
        .build();
    Ok((provider, Recorder::new(export, config.sample_ratio, slow)))
}
