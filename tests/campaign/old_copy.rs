//! Servers that lose what they had confirmed: a control that must come out red.
//!
//! The campaign says that no acknowledged job is lost, with servers that fsync every write. Whether it would notice is
//! shown by taking those writes away: the nats-servers are stopped, their data directories copied; jobs are accepted; then
//! the servers are killed, and come back with the copies.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::script::Stage;
use crate::site::{EXECUTORS, NATS, numbered};

/// What is accepted in this time, and done by nobody, is what gets lost.
const ACCEPTS_FOR: Duration = Duration::from_secs(12);

/// Returns whether it happened.
pub(crate) async fn play(stage: &Stage) -> bool {
    let site = &stage.site;
    let (servers, executors) = (numbered("nats", NATS), numbered("executor", EXECUTORS));
    // All at one moment, as far as that goes: each is a state in which its server could have been killed.
    let mut took = site.signal_all(&servers, "STOP");
    for folder in folders(stage) {
        took &= run(Command::new("cp").arg("-a").arg(&folder).arg(copy_of(&folder)));
    }
    took &= site.signal_all(&servers, "CONT");
    took &= site.signal_all(&executors, "STOP");
    tokio::time::sleep(ACCEPTS_FOR).await;
    let before: Vec<_> = servers.iter().map(|name| (name, site.pid(name))).collect();
    took &= site.signal_all(&servers, "STOP");
    for folder in folders(stage) {
        std::fs::rename(&folder, folder.with_extension("lost")).unwrap();
        std::fs::rename(copy_of(&folder), &folder).unwrap();
    }
    took &= site.signal_all(&servers, "KILL");
    for (name, pid) in before {
        site.replaced(name, pid).await;
    }
    took &= site.signal_all(&executors, "CONT");
    took
}

fn folders(stage: &Stage) -> impl Iterator<Item = PathBuf> {
    let nats = stage.site.stack.data().join("nats");
    (1..=NATS).map(move |number| nats.join(number.to_string()))
}

fn copy_of(folder: &Path) -> PathBuf {
    folder.with_extension("copy")
}

fn run(command: &mut Command) -> bool {
    command.status().unwrap().success()
}
