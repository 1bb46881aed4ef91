//! Clusters of several builds in turns, with what a call costs in each process: for whoever changes something and wants to
//! know what it gives. Rates alone do not say it, they differ by a fifth from start to start.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::collector::Collector;
use crate::load::{self, Target};
use crate::plugboard::{Cluster, System};
use crate::processes::{self, Times};
use crate::report::{Table, median};
use crate::yardsticks::{Part, spawn};
use crate::{Plan, naive, packed};

const CALLERS: [usize; 2] = [64, 256];

/// `NAME=PATH NAME=PATH …`: a binary, or a script that starts one with other settings.
fn wanted() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let text = std::env::var("BENCH_BUILDS").context("BENCH_BUILDS is not set: NAME=PATH NAME=PATH ...")?;
    let pairs = text.split_whitespace().map(|pair| {
        let (name, path) = pair.split_once('=').with_context(|| format!("BENCH_BUILDS: {pair} is not NAME=PATH"))?;
        let path = Path::new(path).canonicalize().with_context(|| format!("BENCH_BUILDS: {path}"))?;
        Ok((name.to_owned(), path))
    });
    pairs.collect()
}

#[derive(Default)]
struct Rows {
    table: Table,
    /// Microseconds a call in user and kernel mode, and changes of context a call, by process.
    costs: BTreeMap<(String, usize, String), Vec<[f64; 3]>>,
}

/// # Errors
/// When a build does not start, or a call is not answered as it should.
pub async fn measure(plan: &Plan, scratch: &Path) -> anyhow::Result<String> {
    let builds = wanted()?;
    let collector = Collector::start().await?;
    let settings = collector.settings();
    let mut rows = Rows::default();
    for round in 1..=plan.rounds {
        let vendor = spawn(&["vendor"])?;
        let proxy = spawn(&["proxy", &vendor.url])?;
        rows.measure(plan, &Target::plain("bare proxy", &proxy.url), Vec::new(), &vendor).await?;
        drop(proxy);
        let data = tempfile::tempdir_in(scratch)?;
        let pipeline = naive::start(data.path(), &vendor.url, plan.sync)?;
        rows.measure(plan, &Target::plain("naive pipeline", &pipeline.url), pipeline.pids(), &vendor).await?;
        drop(pipeline);
        let pipeline = packed::start(data.path(), &vendor.url)?;
        rows.measure(plan, &Target::plain("packed pipeline", &pipeline.url), pipeline.pids(), &vendor).await?;
        drop(pipeline);
        for turn in 0..builds.len() {
            // No build is always the first.
            let (name, binary) = &builds[(turn + round) % builds.len()];
            let data = tempfile::tempdir_in(scratch)?;
            let vendor = spawn(&["vendor"])?;
            let cluster = Cluster { sync: plan.sync, settings: &settings, binary: Some(binary), ..Cluster::default() };
            let cluster = System::cluster(data.path(), &vendor.url, &cluster).await?;
            for target in cluster.targets(name).iter().take(2) {
                rows.measure(plan, target, processes::pids(data.path())?, &vendor).await?;
            }
        }
    }
    Ok(rows.text())
}

impl Rows {
    async fn measure(
        &mut self,
        plan: &Plan,
        target: &Target,
        mut all: Vec<(String, u32)>,
        vendor: &Part,
    ) -> anyhow::Result<()> {
        all.extend([("vendor".to_owned(), vendor.pid()), ("load".to_owned(), std::process::id())]);
        let mut at_64 = f64::NAN;
        for callers in CALLERS {
            let before: Vec<Times> = all.iter().map(|(_, pid)| Times::of(*pid)).collect::<anyhow::Result<_>>()?;
            let idle = processes::idle()?;
            let measured = load::closed(target, callers, plan.seconds).await?;
            let idle = processes::idle()? - idle;
            // The warm-up is a sixth of it all.
            let calls = measured.per_second * plan.seconds.as_secs_f64() * 1.2;
            for ((name, pid), before) in all.iter().zip(&before) {
                let used = Times::of(*pid)?.since(before);
                let cost = [used.user * 1e6 / calls, used.kernel * 1e6 / calls, used.switches / calls];
                self.costs.entry((target.name.clone(), callers, name.clone())).or_default().push(cost);
            }
            let cost = [idle * 1e6 / calls, 0.0, 0.0];
            self.costs.entry((target.name.clone(), callers, "nobody".to_owned())).or_default().push(cost);
            eprintln!("{:<28} {callers:>3} callers {measured}", target.name);
            if callers == 64 {
                at_64 = measured.per_second;
            }
            self.table.add(&target.name, callers, measured);
        }
        let measured = load::open(target, at_64 * 0.5, plan.seconds).await?;
        eprintln!("{:<28}    half load {measured}", target.name);
        self.table.add_open(&target.name, measured);
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "| | × naive at 64 | × proxy at 64 | × naive at 256 | × proxy at 256 | half load, p50 / p99 |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for name in self.table.names() {
            let _ = write!(text, "| {name} |");
            for callers in CALLERS {
                for yardstick in ["naive pipeline", "bare proxy"] {
                    let _ =
                        write!(text, " {:.2} |", self.table.rate(name, callers) / self.table.rate(yardstick, callers));
                }
            }
            let (p50, p99) = self.table.half_load(name);
            let _ = writeln!(text, " {p50:.2} / {p99:.2} |");
        }
        text.push_str("\n| µs a call: user + kernel (changes of context) | callers |\n| --- | --- |\n");
        for ((name, callers, process), all) in &self.costs {
            let [user, kernel, switches] = [0, 1, 2].map(|part| median(all, |each| each[part]));
            if user + kernel >= 0.05 {
                let _ = writeln!(text, "| {name} | {callers} | {process} {user:.1} + {kernel:.1} ({switches:.2}) |");
            }
        }
        text
    }
}
