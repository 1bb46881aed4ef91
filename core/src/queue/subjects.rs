//! Every name that the distributed mode uses on NATS. Nothing else in the workspace spells one out.
//!
//! With the namespace `test7`; without a namespace the prefix `test7_` and `test7.` is absent.
//!
//! | what | name | settings |
//! | --- | --- | --- |
//! | stream of jobs | `test7_JOBS` | work queue, file, discard new, deduplication window 10 min |
//! | a job's subject | `test7.job.<class>.<shard>.<org>` | `max_msgs_per_subject` bounds one organization's backlog |
//! | consumer of all executors | `executors` on `test7_JOBS` | explicit ack within 10 s, redelivers without end |
//! | stream of dead letters | `test7_DEAD`, subjects `test7.dead.<org>.<execution>` | limits, 30 days |
//! | the journal | stream `KV_test7_journal`, subjects `$KV.test7_journal.<key>` | last value per key, 24 h, read from the leader only |
//! | large payloads | stream `test7_PAYLOADS`, subjects `test7.payload.<org>.<blob>.<piece>` | sealed pieces, 24 h |
//! | outcomes for one gateway | `test7.reply.<instance>` | core NATS, not stored |
//!
//! `<class>` is the effect and whether a caller waits: `read_waiting`, `once_background`, … `<shard>` is 0 to 7 by the
//! organization, so that one organization's burst is packed and queued with an eighth of the others at most. A message
//! that packs jobs of several organizations has `many` in place of `<org>`.
//!
//! | header | on | meaning |
//! | --- | --- | --- |
//! | `Nats-Msg-Id` | jobs, dead letters | execution id; a number of its own for a pack |
//! | `Plugboard-Starts` | a job that left its pack | starts it had there |
//! | `Plugboard-Delay` | a job that left its pack | milliseconds to wait; the first delivery is handed back and is no start |
//! | `Plugboard-Write` | journal entries | identity of the write, to recognize one's own after a lost answer |
//! | `Plugboard-Pieces` | pieces of payloads | how many there are |
//! | `Plugboard-Reason` | unreadable dead letters | why |

use crate::ids::{ExecutionId, InstanceId, OrganizationId};
use crate::job::Job;
use crate::manifest::Effect;

/// Parts into which organizations are spread.
pub const SHARDS: u8 = 8;

/// Kinds of jobs: four effects, each with and without a waiting caller.
pub const CLASSES: usize = 8;

pub const HEADER_STARTS: &str = "Plugboard-Starts";
pub const HEADER_DELAY: &str = "Plugboard-Delay";
pub const HEADER_WRITE: &str = "Plugboard-Write";
pub const HEADER_PIECES: &str = "Plugboard-Pieces";
pub const HEADER_REASON: &str = "Plugboard-Reason";

/// Last token of a message that holds jobs of several organizations.
const MANY: &str = "many";

/// Names under one namespace, so that several installations (or tests) share one NATS.
#[derive(Debug, Clone, Default)]
pub struct Names {
    namespace: String,
}

impl Names {
    /// Characters that have a meaning in subjects or stream names are replaced by `_`.
    pub fn new(namespace: &str) -> Self {
        Self { namespace: token(namespace) }
    }

    fn with_underscore(&self, name: &str) -> String {
        if self.namespace.is_empty() { name.to_owned() } else { format!("{}_{name}", self.namespace) }
    }

    fn with_dot(&self, name: &str) -> String {
        if self.namespace.is_empty() { name.to_owned() } else { format!("{}.{name}", self.namespace) }
    }

    pub fn jobs_stream(&self) -> String {
        self.with_underscore("JOBS")
    }

    pub fn jobs_wildcard(&self) -> String {
        self.with_dot("job.>")
    }

    /// `organization` is `None` for a pack of several.
    pub fn job(&self, lane: Lane, organization: Option<&OrganizationId>) -> String {
        let class = CLASS_NAMES.get(lane.class).copied().unwrap_or("other");
        let last = organization.map_or_else(|| MANY.to_owned(), |organization| token(organization.as_str()));
        self.with_dot(&format!("job.{class}.{}.{last}", lane.shard))
    }

    pub fn executors_consumer(&self) -> &'static str {
        "executors"
    }

    pub fn pull(&self) -> String {
        format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.jobs_stream(), self.executors_consumer())
    }

    pub fn consumer_info(&self) -> String {
        format!("$JS.API.CONSUMER.INFO.{}.{}", self.jobs_stream(), self.executors_consumer())
    }

    pub fn dead_stream(&self) -> String {
        self.with_underscore("DEAD")
    }

    pub fn dead_wildcard(&self) -> String {
        self.with_dot("dead.>")
    }

    pub fn dead(&self, organization: &OrganizationId, id: &ExecutionId) -> String {
        self.dead_of(Some(organization), Some(id))
    }

    /// What is not given fits everything.
    pub fn dead_of(&self, organization: Option<&OrganizationId>, id: Option<&ExecutionId>) -> String {
        let organization = organization.map_or_else(|| "*".to_owned(), |organization| token(organization.as_str()));
        let id = id.map_or_else(|| "*".to_owned(), |id| token(id.as_str()));
        self.with_dot(&format!("dead.{organization}.{id}"))
    }

    pub fn dead_read(&self) -> String {
        format!("$JS.API.STREAM.MSG.GET.{}", self.dead_stream())
    }

    pub fn dead_delete(&self) -> String {
        format!("$JS.API.STREAM.MSG.DELETE.{}", self.dead_stream())
    }

    /// Messages that could not be read belong to no organization we could name.
    pub fn dead_unreadable(&self) -> String {
        self.with_dot("dead.unreadable")
    }

    pub fn journal_stream(&self) -> String {
        format!("KV_{}", self.with_underscore("journal"))
    }

    pub fn journal_wildcard(&self) -> String {
        self.journal("*")
    }

    pub fn journal(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.with_underscore("journal"))
    }

    pub fn journal_read(&self) -> String {
        format!("$JS.API.STREAM.MSG.GET.{}", self.journal_stream())
    }

    pub fn payloads_stream(&self) -> String {
        self.with_underscore("PAYLOADS")
    }

    pub fn payloads_wildcard(&self) -> String {
        self.with_dot("payload.>")
    }

    pub fn payload(&self, organization: &OrganizationId, blob: &str, piece: usize) -> String {
        self.with_dot(&format!("payload.{}.{}.{piece}", token(organization.as_str()), token(blob)))
    }

    /// Any replica may answer: pieces never change.
    pub fn payload_read(&self, piece: &str) -> String {
        format!("$JS.API.DIRECT.GET.{}.{piece}", self.payloads_stream())
    }

    /// Reads whose callers wait.
    pub fn express(&self) -> String {
        self.with_dot("express")
    }

    /// What executors tell a gateway about them.
    pub fn express_news(&self, gateway: &InstanceId) -> String {
        self.with_dot(&format!("express_news.{}", token(gateway.as_str())))
    }

    pub fn reply(&self, gateway: &InstanceId) -> String {
        self.with_dot(&format!("reply.{}", token(gateway.as_str())))
    }
}

/// Jobs that may travel in one message: same class, same shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane {
    class: usize,
    shard: u8,
}

const CLASS_NAMES: [&str; CLASSES] = [
    "read_waiting",
    "read_background",
    "idempotent_waiting",
    "idempotent_background",
    "keyed_waiting",
    "keyed_background",
    "once_waiting",
    "once_background",
];

impl Lane {
    pub const COUNT: usize = CLASSES * SHARDS as usize;

    pub fn of(job: &Job) -> Self {
        let effect = match job.effect {
            Effect::Read => 0,
            Effect::Idempotent => 2,
            Effect::Keyed => 4,
            Effect::Once => 6,
        };
        Self { class: effect + usize::from(!job.interactive()), shard: shard(&job.organization) }
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..CLASSES).flat_map(|class| (0..SHARDS).map(move |shard| Self { class, shard }))
    }

    /// Position in [`Self::all`].
    pub fn index(self) -> usize {
        self.class * usize::from(SHARDS) + usize::from(self.shard)
    }
}

/// FNV-1a, because it must be the same in every version and process.
fn shard(organization: &OrganizationId) -> u8 {
    let hash = organization
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // The low bits of FNV mix worst.
    ((hash >> 32) % u64::from(SHARDS)) as u8
}

/// Id of a pack, unique to the process (`process`) and the pack. It must not be derived from the jobs inside: two packs
/// with one job in common would then be taken for one another, and the other jobs of the second would be lost.
pub fn pack_id(process: &str, number: u64) -> String {
    format!("pack.{process}.{number}")
}

/// Id of a job that left its pack. A job leaves a pack once, whoever notices the need first.
pub fn alone_id(job: &ExecutionId) -> String {
    format!("{job}.alone")
}

/// Id of a job that was fetched in this stream message and handed back before it was started.
pub fn returned_id(job: &ExecutionId, message: u64) -> String {
    format!("{job}.back.{message}")
}

/// One subject token: what has a meaning in subjects becomes `_`.
fn token(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_namespace() {
        let organization = OrganizationId::trusted("org_1");
        let lane = Lane { class: 6, shard: 3 };
        let plain = Names::default();
        assert_eq!(plain.jobs_stream(), "JOBS");
        assert_eq!(plain.job(lane, Some(&organization)), "job.once_waiting.3.org_1");
        assert_eq!(plain.job(lane, None), "job.once_waiting.3.many");
        let spaced = Names::new("t.7");
        assert_eq!(spaced.jobs_stream(), "t_7_JOBS");
        assert_eq!(spaced.job(lane, None), "t_7.job.once_waiting.3.many");
        assert_eq!(spaced.journal("ex_1"), "$KV.t_7_journal.ex_1");
    }

    #[test]
    fn no_identifier_can_leave_its_token() {
        let sly = OrganizationId::trusted("a.> b\r\nPUB x");
        assert_eq!(Names::default().dead_of(Some(&sly), None), "dead.a___b__PUB_x.*");
    }

    #[test]
    fn organizations_spread_over_all_shards() {
        let mut seen = [0_u32; SHARDS as usize];
        for _ in 0..800 {
            seen[usize::from(shard(&OrganizationId::generate()))] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
    }

    #[test]
    fn lanes_are_numbered_without_gaps() {
        assert_eq!(Lane::all().map(Lane::index).collect::<Vec<_>>(), (0..Lane::COUNT).collect::<Vec<_>>());
    }
}
