//! Calls per second and latency, as ratios to yardsticks measured in the same run.
//!
//! Everything shares the machine: the load generator, a mock vendor that answers at once, and the system under test.
//! Rounds are interleaved (A B C A B C …), each with new processes, and medians are reported, so that a noisy minute hits all
//! alike and no process is lucky for the whole run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod builds;
mod calls;
mod catalog;
mod collector;
mod cost;
mod custody;
mod http;
mod load;
mod million;
mod naive;
mod noisy;
mod packed;
mod peers;
mod pipeline;
mod plugboard;
mod processes;
mod report;
mod scale;
mod systems;
mod yardsticks;

use std::time::Duration;

use anyhow::{Context, bail};

use crate::collector::Collector;
use crate::plugboard::Sync;
use crate::report::Table;
use crate::systems::Systems;

/// At 1 a call's own time shows, at 64 the processors are busy, at 256 the queue in front of them is long.
const CALLERS: [usize; 3] = [1, 64, 256];

/// Settings by environment, told in tests/bench.
struct Plan {
    rounds: usize,
    seconds: Duration,
    only: Option<Vec<String>>,
    sync: Sync,
    peers: bool,
    traces: bool,
}

impl Plan {
    fn from_env() -> anyhow::Result<Self> {
        let number = |name: &str, default: u64| -> anyhow::Result<u64> {
            std::env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| format!("{name}={text}")))
        };
        let flag = |name: &str, default: bool| match std::env::var(name).as_deref() {
            Err(_) | Ok("") => Ok(default),
            Ok("0") => Ok(false),
            Ok("1") => Ok(true),
            Ok(other) => bail!("{name}={other}: it is 0 or 1"),
        };
        Ok(Self {
            rounds: usize::try_from(number("BENCH_ROUNDS", 5)?)?,
            seconds: Duration::from_secs(number("BENCH_SECONDS", 2)?),
            only: std::env::var("BENCH_ONLY").ok().map(|list| list.split(',').map(str::to_owned).collect()),
            sync: Sync::from_env()?,
            peers: flag("BENCH_PEERS", false)?,
            traces: flag("BENCH_TRACES", true)?,
        })
    }

    /// Asked for by name.
    fn names(&self, name: &str) -> bool {
        self.only.as_ref().is_some_and(|only| only.iter().any(|wanted| wanted == name))
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|wanted| name.starts_with(wanted.as_str())))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // The yardsticks run as processes of their own, as what they are compared with does.
    match words.first().map(String::as_str) {
        Some("gated-vendor") => return yardsticks::gated_vendor().await,
        Some("vendor") => return yardsticks::vendor(words.get(1).map(String::as_str)).await,
        Some("constant") => return catalog::constant(&words[1]).await,
        Some("proxy") => return yardsticks::proxy(&words[1]).await,
        Some("naive-gateway") => return naive::gateway(&words[1]).await,
        Some("naive-worker") => return naive::worker(&words[1], &words[2]).await,
        Some("packed-gateway") => return packed::gateway(&words[1]).await,
        Some("packed-worker") => return packed::worker(&words[1], &words[2]).await,
        Some(other) => bail!("unknown part {other}"),
        None => {}
    }
    run(Plan::from_env()?).await
}

async fn run(plan: Plan) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    // By itself, for nothing else may run meanwhile.
    if plan.names("noisy") {
        println!("{}", noisy::measure(scratch.path()).await?);
        return Ok(());
    }
    if plan.names("builds") {
        println!("{}", builds::measure(&plan, scratch.path()).await?);
        return Ok(());
    }
    if plan.names("million") {
        println!("{}", million::measure(scratch.path()).await?);
        return Ok(());
    }
    if plan.names("scale") {
        println!("{}", scale::measure(scratch.path()).await?);
        return Ok(());
    }
    if plan.names("cost") {
        println!("{}", cost::measure(scratch.path()).await?);
        return Ok(());
    }
    let collector = Collector::start().await?;
    let mut table = Table::default();
    let mut last: Option<Systems> = None;
    for round in 1..=plan.rounds {
        drop(last.take());
        let systems = Systems::start(&plan, &collector).await?;
        for target in &systems.targets {
            let mut at_64 = f64::NAN;
            for callers in CALLERS {
                let measured = load::closed(target, callers, plan.seconds).await?;
                eprintln!("round {round}: {:<28} {callers:>3} callers {measured}", target.name);
                if callers == 64 {
                    at_64 = measured.per_second;
                }
                table.add(&target.name, callers, measured);
            }
            // Latency under load is told by an open-loop generator at half of what the target can do: a closed loop slows
            // down with the system and hides its stalls.
            let measured = load::open(target, at_64 * 0.5, plan.seconds).await?;
            eprintln!("round {round}: {:<28}    half load {measured}", target.name);
            table.add_open(&target.name, measured);
        }
        let only_tables = systems.targets.is_empty();
        last = Some(systems);
        if only_tables {
            break;
        }
    }
    let Some(Systems { up, cluster, data, .. }) = &last else { bail!("BENCH_ROUNDS=0: there is nothing to tell") };
    println!("{}", report::environment(&plan.rounds.to_string(), plan.seconds, plan.sync, up, cluster));
    match plan.traces {
        true => println!("Traces: 1 % sampled, {} spans exported.\n", collector.spans()),
        false => println!("Traces: none.\n"),
    }
    println!("{}\n{}", table.throughput(), table.latency());
    if plan.wants("catalog") {
        println!("{}", catalog::measure(up, data.path(), plan.rounds, plan.seconds).await?);
    }
    if plan.wants("custody") {
        println!("{}", custody::measure(&data.path().join("cluster"), cluster.key(), plan.seconds).await?);
    }
    table.check()
}
