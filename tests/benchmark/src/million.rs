//! A million calls that nobody waits for lie in the queue of a cluster: what that costs those who submit more, and the
//! processes' memory; then they are worked off, and each is accounted for at the vendor.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::load::{self, Target, Until};
use crate::plugboard::{Cluster, ORGANIZATIONS, System, directory_bytes};
use crate::processes::{mega, resident};
use crate::yardsticks::{self, ask};

const CALLS: usize = 1_000_000;
const SUBMITTERS: usize = 32;
/// One caller submits for this long, before and after.
const WINDOW: Duration = Duration::from_secs(5);
/// The deadline of the calls, less what their submission takes.
const PATIENCE: Duration = Duration::from_secs(840);

/// # Errors
/// When a call is refused, or is not accounted for in the end.
pub async fn measure(scratch: &Path) -> anyhow::Result<String> {
    let vendor = yardsticks::spawn(&["gated-vendor"])?;
    let data = scratch.join("million");
    let system = System::cluster(&data, &vendor.url, &Cluster::default()).await?;
    let target = system.submissions(ORGANIZATIONS);
    // Whatever is made at first use is made now.
    let mut accepted = submit(&target, 1, Until::Elapsed(WINDOW)).await?.len();
    let empty = submit(&target, 1, Until::Elapsed(WINDOW)).await?;
    accepted += empty.len();
    let (memory_before, disk_before) = (resident(&data)?, directory_bytes(&data.join("nats")));
    let begun = Instant::now();
    let filling = submit(&target, SUBMITTERS, Until::Calls(CALLS)).await?.len();
    let took = begun.elapsed();
    accepted += filling;
    eprintln!("{filling} were submitted in {took:?}");
    let full = submit(&target, 1, Until::Elapsed(WINDOW)).await?;
    accepted += full.len();
    let (memory_after, disk_after) = (resident(&data)?, directory_bytes(&data.join("nats")));

    let begun = Instant::now();
    ask(&vendor.url, "/open").await?;
    let came = yardsticks::until_came(&vendor.url, accepted, PATIENCE).await?;
    let drained = begun.elapsed();
    // What would be done twice is done within the time after which an unacknowledged job comes again.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let late = ask(&vendor.url, "/came").await?;
    if late != accepted {
        bail!("{accepted} were accepted, {late} were done");
    }

    let median = |latencies: &[Duration]| latencies[latencies.len() / 2].as_secs_f64() * 1e3;
    let mut table = String::from("| a million calls in the queue | |\n| --- | ---: |\n");
    writeln!(table, "| submitted a second, {SUBMITTERS} callers | {:.0} |", filling as f64 / took.as_secs_f64())?;
    writeln!(table, "| p50 of a submission, queue empty | {:.3} ms |", median(&empty))?;
    writeln!(table, "| p50 of a submission, a million queued | {:.3} ms |", median(&full))?;
    for (name, after) in &memory_after {
        let before = memory_before.iter().find(|(known, _)| known == name).map_or(0, |(_, bytes)| *bytes);
        writeln!(table, "| memory of {name}, before and then | {:.0} → {:.0} MB |", mega(before), mega(*after))?;
    }
    let nats = |list: &[(String, u64)]| list.iter().find(|(name, _)| name == "nats-1").map_or(0, |(_, bytes)| *bytes);
    let jobs = accepted as f64;
    let memory = nats(&memory_after).saturating_sub(nats(&memory_before)) as f64 / jobs;
    let disk = disk_after.saturating_sub(disk_before) as f64 / jobs;
    writeln!(table, "| NATS for each job: memory, disk | {memory:.0} B, {disk:.0} B |")?;
    writeln!(table, "| worked off a second | {:.0} |", came as f64 / drained.as_secs_f64())?;
    writeln!(table, "| accepted, done at the vendor | {accepted}, {late} |")?;
    Ok(table)
}

/// Submits for all organizations in turn; the latencies, sorted. Every call is accepted.
async fn submit(target: &Target, callers: usize, until: Until) -> anyhow::Result<Vec<Duration>> {
    let answered = load::repeat(target, callers, until, &Arc::default()).await?;
    let mut latencies: Vec<_> = answered.into_iter().map(|answered| answered.latency).collect();
    latencies.sort_unstable();
    Ok(latencies)
}
