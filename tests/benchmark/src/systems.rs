//! What is measured, and what it is compared with.

use std::path::{Path, PathBuf};

use crate::collector::Collector;
use crate::load::Target;
use crate::naive::Pipeline;
use crate::peers::Peer;
use crate::plugboard::{Cluster, System};
use crate::yardsticks::{Part, spawn};
use crate::{Plan, naive, peers};

/// Everything that takes part, each as processes of its own.
///
/// Started anew for every round: where a process lies in memory makes it a fifth faster or slower for as long as it lives,
/// whatever it does.
pub struct Systems {
    /// What they keep.
    pub data: PathBuf,
    pub up: System,
    pub cluster: System,
    pub targets: Vec<Target>,
    _yardsticks: (Part, Part, Pipeline),
    _peers: Vec<Peer>,
}

impl Systems {
    /// # Errors
    /// When one of them does not start.
    pub async fn start(plan: &Plan, collector: &Collector, data: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(data)?;
        let vendor = spawn(&["vendor"])?;
        let proxy = spawn(&["proxy", &vendor.url])?;
        let pipeline = naive::start(data, &vendor.url, plan.sync)?;
        let peers: Vec<Peer> = if plan.peers { peers::all(&vendor.url)?.into() } else { Vec::new() };
        let telemetry = collector.settings();
        let telemetry = if plan.traces { &telemetry[..] } else { &[] };
        let up = System::up(&data.join("up"), &vendor.url, telemetry).await?;
        let like_the_pipeline = Cluster { sync: plan.sync, settings: telemetry, ..Cluster::default() };
        let cluster = System::cluster(&data.join("cluster"), &vendor.url, &like_the_pipeline).await?;
        let mut targets = vec![
            Target::plain("mock vendor", &vendor.url),
            Target::plain("bare proxy", &proxy.url),
            Target::plain("naive pipeline", &pipeline.url),
        ];
        targets.extend(peers.iter().map(|peer| peer.target.clone()));
        targets.extend(up.targets("plugboard up"));
        targets.extend(cluster.targets("plugboard cluster"));
        targets.retain(|target| plan.wants(&target.name));
        let data = data.to_owned();
        Ok(Self { data, up, cluster, targets, _yardsticks: (vendor, proxy, pipeline), _peers: peers })
    }
}
