//! The tables, and whether they may be believed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;

use crate::CALLERS;
use crate::load::Measured;
use crate::plugboard::{Sync, System};

#[derive(Default)]
pub struct Table {
    order: Vec<String>,
    rows: BTreeMap<(String, usize), Vec<Measured>>,
    open: BTreeMap<String, Vec<Measured>>,
}

pub fn median<T: Copy>(values: &[T], by: impl Fn(&T) -> f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().map(by).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Table {
    pub fn add(&mut self, name: &str, callers: usize, measured: Measured) {
        if !self.order.iter().any(|known| known == name) {
            self.order.push(name.to_owned());
        }
        self.rows.entry((name.to_owned(), callers)).or_default().push(measured);
    }

    pub fn add_open(&mut self, name: &str, measured: Measured) {
        self.open.entry(name.to_owned()).or_default().push(measured);
    }

    /// Median calls per second.
    pub fn rate(&self, name: &str, callers: usize) -> f64 {
        self.rows.get(&(name.to_owned(), callers)).map_or(f64::NAN, |rows| median(rows, |row| row.per_second))
    }

    /// In the order in which they were first measured.
    pub fn names(&self) -> &[String] {
        &self.order
    }

    /// Median p50 and p99 of the open loop, in ms.
    pub fn half_load(&self, name: &str) -> (f64, f64) {
        let rows = self.open.get(name).map_or(&[][..], Vec::as_slice);
        (median(rows, |row| ms(row.p50)), median(rows, |row| ms(row.p99)))
    }

    /// Calls per second, and how they compare.
    pub fn throughput(&self) -> String {
        let mut text = String::from(
            "| system | calls/s, 1 caller | 64 callers | 256 callers | × bare proxy at 64 | × bare proxy at 256 \
             | × naive pipeline at 64 |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for name in &self.order {
            let rate = |callers| self.rate(name, callers);
            let ratio = |yardstick: &str, callers| match rate(callers) / self.rate(yardstick, callers) {
                ratio if ratio.is_nan() => "–".to_owned(),
                ratio => format!("{ratio:.2}"),
            };
            let _ = writeln!(
                text,
                "| {name} | {:.0} | {:.0} | {:.0} | {} | {} | {} |",
                rate(1),
                rate(64),
                rate(256),
                ratio("bare proxy", 64),
                ratio("bare proxy", 256),
                ratio("naive pipeline", 64),
            );
        }
        text
    }

    /// Milliseconds, of closed loops and of the open one.
    pub fn latency(&self) -> String {
        let mut text = String::from(
            "| p50 / p99 in ms | 1 caller | 64 callers | 256 callers | half load |\n\
             | --- | ---: | ---: | ---: | ---: |\n",
        );
        for name in &self.order {
            let closed = CALLERS.map(|callers| self.rows.get(&(name.clone(), callers)));
            let _ = write!(text, "| {name} |");
            for rows in closed.into_iter().chain([self.open.get(name)]) {
                let rows = rows.map_or(&[][..], Vec::as_slice);
                let (p50, p99) = (median(rows, |row| ms(row.p50)), median(rows, |row| ms(row.p99)));
                let _ = write!(text, " {p50:.2} / {p99:.2} |");
            }
            text.push('\n');
        }
        text
    }

    /// # Errors
    /// When a yardstick is implausibly slow against the mock vendor: then the machine was busy with something else.
    pub fn check(&self) -> anyhow::Result<()> {
        let vendor = self.rate("mock vendor", 64);
        for (name, least) in [("bare proxy", 0.15), ("naive pipeline", 0.08)] {
            let share = self.rate(name, 64) / vendor;
            if share < least {
                bail!("{name} did only {share:.2} of the mock vendor's calls: throw this table away and run again");
            }
        }
        Ok(())
    }
}

/// What was measured, where, and how.
pub fn environment(rounds: &str, seconds: Duration, sync: Sync, up: &System, cluster: &System) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores ({model}), shared by the load generator, the mock vendor and everything else. {rounds} rounds, \
         interleaved, {} s each; medians. Every check on: keys, manifest, tickets, sealed accounts, egress guard, \
         journal; the bench connector's vendor limits are out of reach. Cluster: 1 gateway, \
         1 executor, 1 auth, catalog, nats-server (file, {}), redis (fsync always) for accounts, redis for limits. \
         Memory now: up {} MB, cluster {} MB with servers. Binary: {:.1} MB.\n",
        seconds.as_secs(),
        sync.text(),
        up.memory(),
        cluster.memory(),
        crate::plugboard::binary_size() as f64 / 1e6
    )
}
