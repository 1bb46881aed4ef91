//! What is found in the cluster: streams, dead letters, audit chains, secrets on disk, memory.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use plugboard_core::ids::ExecutionId;
use plugboard_proto::jobs::v1::DeadLetter as Letter;
use plugboard_tests::leaks::found_in;
use plugboard_tests::stack::binary;
use prost::Message;

use crate::records::{ASKED, DeadLetter, Facts};
use crate::site::Site;

/// Jobs that are handed back or wait for a dead executor's heartbeat to be missed are gone by then.
const DRAINS_WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn streams(site: &Site, facts: &mut Facts) {
    let nats = site.stack.broker().await;
    let jetstream = async_nats::jetstream::new(nats);
    let mut jobs = jetstream.get_stream("plugboard_JOBS").await.unwrap();
    let until = tokio::time::Instant::now() + DRAINS_WITHIN;
    loop {
        let left = jobs.info().await.unwrap().state.messages;
        facts.jobs_left = Some(left);
        if left == 0 || tokio::time::Instant::now() > until {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut dead = jetstream.get_stream("plugboard_DEAD").await.unwrap();
    let state = dead.info().await.unwrap().state.clone();
    // An empty stream's first message would be number 0.
    for sequence in state.first_sequence.max(1)..=state.last_sequence {
        let message = dead.get_raw_message(sequence).await.unwrap();
        let letter = Letter::decode(message.payload).unwrap_or_default();
        facts.dead_letters.push(DeadLetter {
            execution_id: letter.job.as_ref().and_then(execution_of).unwrap_or_default(),
            reason: letter.reason,
            starts: letter.starts,
            has_job: letter.job.is_some(),
        });
    }
}

/// Remembers how far each chain has come, for [`audit`] to find again.
pub(crate) fn remember_audit(site: &Site) {
    let mut ignored = Facts::default();
    audit(site, &mut ignored);
}

/// The operator's own command, which computes each chain anew.
pub(crate) fn audit(site: &Site, facts: &mut Facts) {
    let url = site.stack.url();
    let platform = vec!["--platform", "--key", site.stack.operator_key()];
    let own = site.tenants.iter().map(|tenant| vec!["--key", &tenant.key]);
    for (number, key) in own.chain([platform]).enumerate() {
        let seen = site.failpoints.join(format!(".seen-{number}"));
        let verified = Command::new(binary())
            .args(["audit", "verify", "--url", url, "--remember"])
            .arg(&seen)
            .args(&key)
            .output()
            .unwrap();
        facts.audit_chains += 1;
        if !verified.status.success() {
            let said = [verified.stdout, verified.stderr].concat();
            facts.audit_faults.push(String::from_utf8_lossy(&said).trim().to_owned());
        }
    }
}

/// Looks for every credential, in every form, in everything that was written by anybody: the callers' log, too.
pub(crate) fn secrets(site: &Site, out: &std::path::Path, facts: &mut Facts) {
    let mut places = site.stack.written();
    places.push((PathBuf::from(ASKED), std::fs::read(out.join(ASKED)).unwrap()));
    let keys = site.tenants.iter().map(|tenant| tenant.key.clone());
    let tokens = ["canary-access-", "canary-refresh-", plugboard_tests::oauth_provider::CLIENT_SECRET];
    let all = site.credentials.iter().cloned().chain(keys).chain(tokens.map(str::to_owned));
    for secret in all {
        facts.secrets_looked_for += 1;
        for found in found_in(&secret, &places) {
            let named: String = secret.chars().take(14).collect();
            facts.secrets_found.push(format!("{named}… {found}"));
        }
    }
}

/// Memory in MiB and open files of each of our processes.
pub(crate) fn processes(site: &Site, at: u64, facts: &mut Facts) {
    for name in Site::all_services() {
        let Some(pid) = site.pid(&name) else { continue };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes =
            resident.and_then(|line| line.split_whitespace().next()).and_then(|text| text.parse::<u64>().ok());
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64);
        facts.processes.entry(name).or_default().push((at, kilobytes.unwrap_or(0) / 1024, files));
    }
}

/// The bare bytes of an id are its form on the wire.
fn execution_of(job: &plugboard_proto::jobs::v1::Job) -> Option<String> {
    Some(ExecutionId::from_bytes(&job.execution_id)?.as_str().to_owned())
}
