//! A noisy neighbour: one organization submits a hundred thousand calls to a vendor that takes 100 ms, and ten others go
//! on as before.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::load::{self, Measured, Target, Until};
use crate::plugboard::{Cluster, System};
use crate::yardsticks;

const CALLS: usize = 100_000;
const VENDOR_MS: &str = "100";
/// Connections that submit.
const SUBMITTERS: usize = 16;
/// Of the quiet organizations together, of each kind.
const CALLS_A_SECOND: f64 = 20.0;
const WINDOW: Duration = Duration::from_secs(15);

/// Submits, and how many of its calls were accepted.
struct Flood {
    accepted: Arc<AtomicUsize>,
    took: tokio::task::JoinHandle<anyhow::Result<Duration>>,
}

impl Flood {
    fn start(system: &System) -> Self {
        let accepted = Arc::new(AtomicUsize::new(0));
        let (target, count) = (system.submissions(1), accepted.clone());
        let took = tokio::spawn(async move {
            let begun = Instant::now();
            load::repeat(&target, SUBMITTERS, Until::Calls(CALLS), &count).await?;
            Ok(begun.elapsed())
        });
        Self { accepted, took }
    }
}

/// The table of both shapes.
///
/// # Errors
/// When a call is not answered as it should.
pub async fn measure(scratch: &Path) -> anyhow::Result<String> {
    let vendor = yardsticks::spawn(&["vendor", VENDOR_MS])?;
    // Above what is submitted.
    let backlog = ("PLUGBOARD_QUEUE__BACKLOG_PER_ORGANIZATION", "200000");
    let mut table = String::from(
        "| system, calls of ten quiet organizations | p95 ms alone | while 100,000 are submitted | while they are worked \
         off | submitted a second |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    let settings = [backlog];
    let three = Cluster { executors: 3, settings: &settings, ..Cluster::default() };
    for shape in ["up", "cluster"] {
        let scratch = scratch.join(format!("noisy-{shape}"));
        let system = match shape {
            "up" => System::up(&scratch, &vendor.url, &[backlog]).await?,
            _ => System::cluster(&scratch, &vendor.url, &three).await?,
        };
        let targets = system.quiet_targets();
        let alone = window(&targets).await?;
        let flood = Flood::start(&system);
        let during = window(&targets).await?;
        let accepted = flood.accepted.load(Ordering::Relaxed);
        let took = flood.took.await.context("the flood")??;
        let after = window(&targets).await?;
        eprintln!("{shape}: {accepted} of {CALLS} were accepted in the first window, all after {took:?}");
        let rate = CALLS as f64 / took.as_secs_f64();
        for (number, target) in targets.iter().enumerate() {
            let p95 = |measured: &[Measured]| measured[number].p95.as_secs_f64() * 1e3;
            writeln!(
                table,
                "| plugboard {shape}, {} | {:.1} | {:.1} | {:.1} | {rate:.0} |",
                target.name,
                p95(&alone),
                p95(&during),
                p95(&after)
            )?;
        }
    }
    Ok(table)
}

async fn window(targets: &[Target]) -> anyhow::Result<Vec<Measured>> {
    let all = targets.iter().map(|target| load::open(target, CALLS_A_SECOND, WINDOW));
    futures::future::try_join_all(all).await
}
