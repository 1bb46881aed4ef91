//! Numbers for Prometheus. The binary installs one recorder; without one, counting costs next to nothing.
//!
//! Which metrics there are is in [`catalogue`]; nothing else may be counted (`tests/tidy` holds the sources to it). Labels
//! come from closed lists or from manifests, never from what callers write, and no organization is one: a tenant must not
//! multiply the series.

pub mod catalogue;
mod process;
mod stages;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use catalogue::Service;
pub use stages::{Stage, StageTimes, Stages, Stopwatch};

use self::catalogue::{Kind, METRICS, Metric};
use super::TelemetryError;

/// How often what was recorded is folded into its histograms; what lies in between takes memory.
pub const FOLD_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// What was counted, to be read out.
#[derive(Clone)]
pub struct Scrape {
    recorded: PrometheusHandle,
}

impl std::fmt::Debug for Scrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Scrape {
    /// Everything, in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = self.recorded.render();
        process::write(&mut text);
        text
    }

    /// To be called every [`FOLD_EVERY`].
    pub fn fold(&self) {
        self.recorded.run_upkeep();
    }
}

/// Installs the recorder of this process, with every metric of these services at zero.
///
/// # Errors
/// When there is one already.
pub fn install(name: &'static str, services: &[Service]) -> Result<Scrape, TelemetryError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(buckets) = metric.kind {
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(matcher, buckets).map_err(|_| TelemetryError::MetricsTwice)?;
        }
    }
    let recorded = builder.install_recorder().map_err(|_| TelemetryError::MetricsTwice)?;
    for metric in METRICS.iter().filter(|metric| metric.services.iter().any(|of| services.contains(of))) {
        describe(metric);
        begin(metric);
    }
    metrics::gauge!("plugboard_build_info", "version" => env!("CARGO_PKG_VERSION"), "service" => name).set(1.0);
    Ok(Scrape { recorded })
}

fn describe(metric: &Metric) {
    let Metric { name, help, unit, .. } = *metric;
    match metric.kind {
        Kind::Counter => metrics::describe_counter!(name, unit, help),
        Kind::Gauge => metrics::describe_gauge!(name, unit, help),
        Kind::Histogram(_) => metrics::describe_histogram!(name, unit, help),
    }
}

/// Shows a metric before anything has happened, for a rate needs a zero to start from. Labels of open lists come when they
/// come.
fn begin(metric: &Metric) {
    let mut rows: Vec<Vec<metrics::Label>> = vec![Vec::new()];
    for label in metric.labels {
        let with = |row: &Vec<metrics::Label>, value: &&'static str| {
            let one = metrics::Label::from_static_parts(label.name, value);
            row.iter().cloned().chain([one]).collect()
        };
        rows = rows.iter().flat_map(|row| label.values.iter().map(move |value| with(row, value))).collect();
    }
    for row in rows {
        match metric.kind {
            Kind::Counter => metrics::counter!(metric.name, row).absolute(0),
            Kind::Gauge => metrics::gauge!(metric.name, row).set(0.0),
            Kind::Histogram(_) => drop(metrics::histogram!(metric.name, row)),
        }
    }
}
