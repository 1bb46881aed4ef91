//! How far one executor goes, and what more of them give.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::load::{self, Until};
use crate::plugboard::{Cluster, System};
use crate::processes::{mega, resident};
use crate::yardsticks::{self, ask};

/// Calls that one executor is to hold.
const IN_FLIGHT: usize = 5_000;
/// Calls without a waiting caller may take seven eighths of an executor's slots.
const SLOTS_FOR_THEM: &str = "6000";
const SUBMITTERS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(120);

const VENDOR_MS: &str = "200";
const SLOTS: &str = "200";
/// More than four executors have slots, so that every slot is wanted at any time.
const CALLERS: usize = 1_200;
/// As many as in the other tables: what the memory of a service is told for.
const USUAL_CALLERS: usize = 64;
/// A caller waits for more than a second, and the last calls find half of the slots empty: a round of the other tables would
/// be over too soon.
const WINDOW: Duration = Duration::from_secs(12);

/// # Errors
/// When a call is not answered as it should.
pub async fn measure(scratch: &Path) -> anyhow::Result<String> {
    let mut table = String::from("| scale | |\n| --- | ---: |\n");
    held(&scratch.join("held"), &mut table).await?;
    let mut first = None;
    for executors in [1, 2, 4] {
        let rate = throughput(&scratch.join(format!("slots-{executors}")), executors, &mut table).await?;
        let ratio = rate / *first.get_or_insert(rate);
        writeln!(
            table,
            "| calls a second, {executors} × {SLOTS} slots, vendor at {VENDOR_MS} ms | {rate:.0} ({ratio:.2} ×) |"
        )?;
    }
    Ok(table)
}

/// Calls to a vendor that does not answer until all of them are there.
async fn held(data: &Path, table: &mut String) -> anyhow::Result<()> {
    let vendor = yardsticks::spawn(&["gated-vendor"])?;
    let settings = [("PLUGBOARD_EXECUTOR__SLOTS", SLOTS_FOR_THEM)];
    let system = System::cluster(data, &vendor.url, &Cluster { settings: &settings, ..Cluster::default() }).await?;
    let before = executor_memory(data)?;
    let submissions = system.submissions(usize::MAX);
    load::repeat(&submissions, SUBMITTERS, Until::Calls(IN_FLIGHT), &Arc::default()).await?;
    yardsticks::until_came(&vendor.url, IN_FLIGHT, PATIENCE).await?;
    let full = executor_memory(data)?;
    ask(&vendor.url, "/open").await?;
    let each = full.saturating_sub(before) as f64 / IN_FLIGHT as f64 / 1e3;
    writeln!(table, "| calls in flight in one executor | {IN_FLIGHT} |")?;
    writeln!(table, "| memory for each of them | {each:.1} KB |")?;
    writeln!(table, "| memory of that executor, before and then | {:.0} → {:.0} MB |", mega(before), mega(full))?;
    Ok(())
}

/// Reads a second. Of the smallest cluster also the memory of each service.
async fn throughput(data: &Path, executors: usize, table: &mut String) -> anyhow::Result<f64> {
    let vendor = yardsticks::spawn(&["vendor", VENDOR_MS])?;
    let settings = [("PLUGBOARD_EXECUTOR__SLOTS", SLOTS)];
    let plan = Cluster { executors, settings: &settings, ..Cluster::default() };
    let system = System::cluster(data, &vendor.url, &plan).await?;
    let smallest = executors == 1;
    let mut usual = Vec::new();
    if smallest {
        load::closed(&system.reads(), USUAL_CALLERS, WINDOW / 4).await?;
        usual = resident(data)?;
    }
    let rate = load::closed(&system.reads(), CALLERS, WINDOW).await?.per_second;
    if smallest {
        for ((name, at_64), (_, after)) in usual.into_iter().zip(resident(data)?) {
            if ["gateway", "executor", "auth", "catalog"].iter().any(|service| name.starts_with(service)) {
                let (at_64, after) = (mega(at_64), mega(after));
                writeln!(
                    table,
                    "| memory of {name} at {USUAL_CALLERS} callers, and after {CALLERS} | {at_64:.0}, {after:.0} MB |"
                )?;
            }
        }
    }
    Ok(rate)
}

fn executor_memory(data: &Path) -> anyhow::Result<u64> {
    let all = resident(data)?;
    all.into_iter().find(|(name, _)| name == "executor-1").map(|(_, bytes)| bytes).context("no executor")
}
