//! Where spans go.

use std::time::Duration;

use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};

use super::tail::{Keep, Tail};
use super::{TelemetryConfig, TelemetryError};

pub(super) fn provider(
    endpoint: &str,
    config: &TelemetryConfig,
    service: &str,
    instance: &str,
) -> Result<SdkTracerProvider, TelemetryError> {
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
    let export = BatchSpanProcessor::builder(exporter).build();
    Ok(SdkTracerProvider::builder()
        .with_sampler(Keep::new(config.sample_ratio, slow.is_some()))
        .with_span_processor(Tail::new(export, slow))
        .with_resource(resource)
        .build())
}
