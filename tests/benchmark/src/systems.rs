//! What is measured, and what it is compared with.

use tempfile::TempDir;

use crate::collector::Collector;
use crate::load::Target;
use crate::peers::Peer;
use crate::pipeline::Pipeline;
use crate::plugboard::{Cluster, System};
use crate::yardsticks::{Part, spawn};
use crate::{Plan, naive, packed, peers};

/// Everything that takes part, each as processes of its own.
///
/// Started anew for every round: where a process lies in memory makes it a fifth faster or slower for as long as it lives,
/// whatever it does.
pub struct Systems {
    pub up: System,
    pub cluster: System,
    pub targets: Vec<Target>,
    _yardsticks: (Part, Part, Pipeline, Pipeline),
    _peers: Vec<Peer>,
    /// What they keep. Removed after they have ended: where it lies in memory, it would take that from the next round.
    pub data: TempDir,
}

impl Systems {
    /// # Errors
    /// When one of them does not start.
    pub async fn start(plan: &Plan, collector: &Collector) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let vendor = spawn(&["vendor"])?;
        let proxy = spawn(&["proxy", &vendor.url])?;
        let pipeline = naive::start(data.path(), &vendor.url, plan.sync)?;
        let packed = packed::start(data.path(), &vendor.url)?;
        let peers: Vec<Peer> = if plan.peers { peers::all(&vendor.url)?.into() } else { Vec::new() };
        let telemetry = collector.settings();
        let telemetry = if plan.traces { &telemetry[..] } else { &[] };
        let up = System::up(&data.path().join("up"), &vendor.url, telemetry).await?;
        let like_the_pipeline = Cluster { sync: plan.sync, settings: telemetry, ..Cluster::default() };
        let cluster = System::cluster(&data.path().join("cluster"), &vendor.url, &like_the_pipeline).await?;
        let mut targets = vec![
            Target::plain("mock vendor", &vendor.url),
            Target::plain("bare proxy", &proxy.url),
            Target::plain("naive pipeline", &pipeline.url),
            Target::plain("packed pipeline", &packed.url),
        ];
        targets.extend(peers.iter().map(|peer| peer.target.clone()));
        targets.extend(up.targets("plugboard up"));
        targets.extend(cluster.targets("plugboard cluster"));
        targets.retain(|target| plan.wants(&target.name));
        Ok(Self { up, cluster, targets, _yardsticks: (vendor, proxy, pipeline, packed), _peers: peers, data })
    }
}
