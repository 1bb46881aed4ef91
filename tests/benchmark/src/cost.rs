//! What a million calls cost: processor time by role, bytes through NATS, commands of Redis; and how that grows with
//! organizations, connectors, and with what lies in the queue.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::collector::Collector;
use crate::load::{self, Target, Until};
use crate::plugboard::{Cluster, System, directory_bytes};
use crate::processes::{Usage, resident};
use crate::yardsticks::{self, ask};

const CALLERS: usize = 64;
/// Of each kind. Counted work varies far less than time does.
const CALLS: usize = 100_000;
/// Before counting: whatever is made at first use is made then.
const WARM_UP: usize = 5_000;
/// What lies in the queue in the last rows, and what is submitted on top.
const QUEUED: usize = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(840);

const ROLES: [&str; 7] = ["gateway", "executor", "auth", "catalog", "nats", "redis", "limits"];

/// # Errors
/// When a call is not answered as it should.
pub async fn measure(scratch: &Path) -> anyhow::Result<String> {
    let mut table = Table::new();
    let collector = Collector::start().await?;
    let settings = &collector.settings();
    for organizations in [1, 100, 10_000] {
        let plan = Cluster { organizations, settings, ..Cluster::default() };
        let name = format!("{organizations} organizations, 111 connectors");
        answered(&scratch.join(format!("organizations-{organizations}")), &plan, &name, &mut table).await?;
    }
    let connectors = scratch.join("connectors");
    more_connectors(&connectors, 889)?;
    let plan = Cluster { connectors: Some(&connectors), settings, ..Cluster::default() };
    answered(&scratch.join("catalog"), &plan, "100 organizations, 1,000 connectors", &mut table).await?;
    queued(&scratch.join("queue"), settings, &mut table).await?;
    Ok(table.text)
}

struct Table {
    text: String,
}

impl Table {
    fn new() -> Self {
        let mut text = String::from("| a million calls |");
        for role in ROLES {
            text.push_str(&format!(" {role} CPU s |"));
        }
        text.push_str(" all CPU s | NATS GB | NATS messages, M | Redis commands |\n| --- |");
        text.push_str(&" ---: |".repeat(ROLES.len() + 4));
        text.push('\n');
        Self { text }
    }

    fn row(&mut self, name: &str, calls: usize, usage: &Usage) -> anyhow::Result<()> {
        let per_million = 1e6 / calls as f64;
        write!(self.text, "| {name} |")?;
        for role in ROLES {
            let seconds = usage.cpu.get(role).copied().unwrap_or_default();
            write!(self.text, " {:.0} |", seconds * per_million)?;
        }
        let all: f64 = usage.cpu.values().sum();
        writeln!(
            self.text,
            " {:.0} | {:.2} | {:.2} | {:.0} |",
            all * per_million,
            usage.nats_bytes * per_million / 1e9,
            usage.nats_messages * per_million / 1e6,
            usage.redis_commands * per_million
        )?;
        Ok(())
    }
}

/// Reads and calls with an effect whose callers wait.
async fn answered(data: &Path, plan: &Cluster<'_>, name: &str, table: &mut Table) -> anyhow::Result<()> {
    let vendor = yardsticks::spawn(&["vendor"])?;
    let system = System::cluster(data, &vendor.url, plan).await?;
    for target in [system.reads(), system.writes()] {
        make(&target, WARM_UP.max(plan.organizations)).await?;
        let before = Usage::of(data).await?;
        make(&target, CALLS).await?;
        let used = Usage::of(data).await?.since(&before);
        table.row(&format!("{}, {name}", target.name), CALLS, &used)?;
    }
    Ok(())
}

/// Calls nobody waits for, with an empty queue and on top of a million, and the work of bringing them to their end.
async fn queued(data: &Path, settings: &[(&str, &str)], table: &mut Table) -> anyhow::Result<()> {
    let vendor = yardsticks::spawn(&["gated-vendor"])?;
    let plan = Cluster { settings, ..Cluster::default() };
    let system = System::cluster(data, &vendor.url, &plan).await?;
    let submissions = system.submissions(usize::MAX);
    make(&submissions, WARM_UP).await?;
    let (memory_before, disk_before) = (nats_memory(data)?, directory_bytes(&data.join("nats")));
    let mut accepted = WARM_UP;
    for (name, more) in [("submission, empty queue", 0), ("submission, a million queued", QUEUED)] {
        make(&submissions, more).await?;
        let before = Usage::of(data).await?;
        make(&submissions, CALLS).await?;
        table.row(name, CALLS, &Usage::of(data).await?.since(&before))?;
        accepted += more + CALLS;
    }
    let before = Usage::of(data).await?;
    ask(&vendor.url, "/open").await?;
    yardsticks::until_came(&vendor.url, accepted, PATIENCE).await?;
    table.row("from the queue to the end", accepted, &Usage::of(data).await?.since(&before))?;
    let (memory, disk) = (nats_memory(data)?, directory_bytes(&data.join("nats")));
    let each = |now: u64, then: u64| now.saturating_sub(then) as f64 / accepted as f64;
    writeln!(
        table.text,
        "\nThe journal keeps what was done for a day: {:.0} B of NATS's memory and {:.0} B of its disk a call.",
        each(memory, memory_before),
        each(disk, disk_before)
    )?;
    Ok(())
}

fn nats_memory(data: &Path) -> anyhow::Result<u64> {
    Ok(resident(data)?.into_iter().filter(|(name, _)| name.starts_with("nats")).map(|(_, bytes)| bytes).sum())
}

async fn make(target: &Target, calls: usize) -> anyhow::Result<()> {
    load::repeat(target, CALLERS, Until::Calls(calls), &Arc::default()).await?;
    Ok(())
}

/// Copies of the benchmark's connector under other names.
fn more_connectors(folder: &Path, count: usize) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let text = crate::plugboard::bench_connector()?;
    for number in 0..count {
        let key = format!("bench_{number}");
        let copy = text.replacen("key: bench\n", &format!("key: {key}\n"), 1);
        std::fs::write(folder.join(format!("{key}.yaml")), copy)?;
    }
    Ok(())
}
