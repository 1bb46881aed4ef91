//! Every name that the distributed mode uses on NATS. Nothing else in the workspace spells one out.
//!
//! With the namespace `test7`; without a namespace the prefix `test7_` and `test7.` is absent.
//!
//! | what | name | settings |
//! | --- | --- | --- |
//! | stream of jobs | `test7_JOBS` | work queue, file, discard new, deduplication window 10 min |
//! | a job's subject | `test7.job.<class>.<shard>.<org>` | `max_msgs_per_subject` bounds one organization's backlog |
//! | consumers of all executors | `executors_<source>` on `test7_JOBS` | explicit ack within 10 s, redeliver without end |
//! | stream of dead letters | `test7_DEAD`, subjects `test7.dead.<org>.<execution>` | limits, 30 days |
//! | the journal | stream `KV_test7_journal`, subjects `$KV.test7_journal.<key>` | last value per key, 24 h, read from the leader only |
//! | large payloads | stream `test7_PAYLOADS`, subjects `test7.payload.<org>.<blob>.<piece>` | sealed pieces, 24 h |
//! | what a console asks everybody | `test7.fleet.ask` | core NATS, not stored |
//! | answers for one gateway | `test7.fleet.answer.<instance>` | core NATS, not stored |
//! | outcomes for one gateway | `test7.reply.<instance>` | core NATS, not stored |
//!
//! `<class>` says whether a caller waits, and whether the organization sends more than most: `waiting`, `waiting_bulk`,
//! `background`, `background_bulk`. `<shard>` is 0 to 7 by the organization, which has two of them in the bulk classes.
//! A message that packs jobs of several organizations has `many` in place of `<org>`.
//!
//! A consumer hands messages out in their order, so whoever is behind a burst waits for it. Therefore there are several
//! (`<source>`): `waiting` and `background`, in which no organization has more than a short burst, and one for each
//! shard of the bulk classes, `waiting_bulk_3`.
//!
//! | header | on | meaning |
//! | --- | --- | --- |
//! | `Nats-Msg-Id` | jobs, dead letters | execution id; a number of its own for a pack |
//! | `Plugboard-Starts` | a job that left its pack | starts it had there |
//! | `Plugboard-Delay` | a job that left its pack | milliseconds to wait; the first delivery is handed back and is no start |
//! | `Plugboard-Write` | journal entries | identity of the write, to recognize one's own after a lost answer |
//! | `Plugboard-Pieces` | pieces of payloads | how many there are |
//! | `Plugboard-Reason` | unreadable dead letters | why |

use super::express::ExpressKind;
use super::survey::{BACKGROUND, INTERACTIVE};
use crate::ids::{ExecutionId, InstanceId, OrganizationId};
use crate::job::Job;

/// Parts into which organizations are spread.
pub const SHARDS: u8 = 8;

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
        let last = organization.map_or_else(|| MANY.to_owned(), |organization| token(organization.as_str()));
        self.with_dot(&format!("job.{}.{}.{last}", lane.class.as_str(), lane.shard))
    }

    /// The subjects whose jobs a consumer hands out.
    pub fn jobs_of(&self, source: Source) -> String {
        let shard = source.shard.map_or_else(|| "*".to_owned(), |shard| shard.to_string());
        self.with_dot(&format!("job.{}.{shard}.*", source.class.as_str()))
    }

    /// Who hands out what lies under this subject.
    pub fn source_of(&self, subject: &str) -> Option<Source> {
        let mut tokens = subject.strip_prefix(&self.with_dot("job."))?.split('.');
        let (class, shard) = (tokens.next()?, tokens.next()?.parse().ok()?);
        let class = Class::ALL.into_iter().find(|known| known.as_str() == class)?;
        Some(Lane { class, shard }.source())
    }

    pub fn consumer(&self, source: Source) -> String {
        let class = source.class.as_str();
        source.shard.map_or_else(|| format!("executors_{class}"), |shard| format!("executors_{class}_{shard}"))
    }

    /// Of versions that had one consumer for everything. A work queue has no place for both.
    pub fn former_consumer(&self) -> &'static str {
        "executors"
    }

    pub fn pull(&self, source: Source) -> String {
        format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.jobs_stream(), self.consumer(source))
    }

    pub fn consumer_info(&self, source: Source) -> String {
        format!("$JS.API.CONSUMER.INFO.{}.{}", self.jobs_stream(), self.consumer(source))
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

    /// Messages that could not be read belong to no organization and no execution that we could name.
    pub fn dead_unreadable(&self, id: &ExecutionId) -> String {
        self.with_dot(&format!("dead.unreadable.{}", token(id.as_str())))
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

    /// Any copy of the stream answers, for several entries at once.
    pub fn journal_read_recent(&self) -> String {
        format!("$JS.API.DIRECT.GET.{}", self.journal_stream())
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

    /// Calls whose callers wait. What has an effect goes where no executor listens that would run it without an intent: those
    /// of before know reads only.
    pub fn express(&self, kind: ExpressKind) -> String {
        self.with_dot(match kind {
            ExpressKind::Reads => "express",
            ExpressKind::Effects => "express.effects",
        })
    }

    /// What executors tell a gateway about them.
    pub fn express_news(&self, kind: ExpressKind, gateway: &InstanceId) -> String {
        let news = self.with_dot(&format!("express_news.{}", token(gateway.as_str())));
        match kind {
            ExpressKind::Reads => news,
            ExpressKind::Effects => format!("{news}.effects"),
        }
    }

    /// What a gateway wants to know of everybody.
    pub fn fleet_ask(&self) -> String {
        self.with_dot("fleet.ask")
    }

    pub fn fleet_answer(&self, gateway: &InstanceId) -> String {
        self.with_dot(&format!("fleet.answer.{}", token(gateway.as_str())))
    }

    pub fn reply(&self, gateway: &InstanceId) -> String {
        self.with_dot(&format!("reply.{}", token(gateway.as_str())))
    }
}

/// Kinds of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    Waiting,
    Background,
    WaitingBulk,
    BackgroundBulk,
}

impl Class {
    const ALL: [Self; 4] = [Self::Waiting, Self::Background, Self::WaitingBulk, Self::BackgroundBulk];

    /// `bulk`: the organization sends more than most.
    pub fn of(job: &Job, bulk: bool) -> Self {
        match (job.interactive(), bulk) {
            (true, false) => Self::Waiting,
            (false, false) => Self::Background,
            (true, true) => Self::WaitingBulk,
            (false, true) => Self::BackgroundBulk,
        }
    }

    pub fn is_bulk(self) -> bool {
        matches!(self, Self::WaitingBulk | Self::BackgroundBulk)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Background => "background",
            Self::WaitingBulk => "waiting_bulk",
            Self::BackgroundBulk => "background_bulk",
        }
    }
}

/// Jobs that may travel in one message: same class, same shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane {
    class: Class,
    shard: u8,
}

impl Lane {
    pub const COUNT: usize = Class::ALL.len() * SHARDS as usize;

    /// A class in which nobody has much.
    pub fn of(job: &Job) -> Self {
        Self { class: Class::of(job, false), shard: shards(&job.organization)[0] }
    }

    /// The two in which this organization's jobs may wait when they are many. Two organizations have both in common
    /// once in 28 times.
    pub fn bulk(job: &Job) -> [Self; 2] {
        shards(&job.organization).map(|shard| Self { class: Class::of(job, true), shard })
    }

    pub fn all() -> impl Iterator<Item = Self> {
        Class::ALL.into_iter().flat_map(|class| (0..SHARDS).map(move |shard| Self { class, shard }))
    }

    /// Position in [`Self::all`].
    pub fn index(self) -> usize {
        self.class as usize * usize::from(SHARDS) + usize::from(self.shard)
    }

    /// Who hands its jobs out.
    pub fn source(self) -> Source {
        Source { class: self.class, shard: self.class.is_bulk().then_some(self.shard) }
    }
}

/// A consumer: jobs that are handed out in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    class: Class,
    /// `None`: all.
    shard: Option<u8>,
}

impl Source {
    pub const COUNT: usize = 2 + 2 * SHARDS as usize;

    /// Those whose callers wait first.
    pub fn all() -> impl Iterator<Item = Self> {
        let bulk = |class| (0..SHARDS).map(move |shard| Self { class, shard: Some(shard) });
        let small = |class| std::iter::once(Self { class, shard: None });
        small(Class::Waiting)
            .chain(small(Class::Background))
            .chain(bulk(Class::WaitingBulk))
            .chain(bulk(Class::BackgroundBulk))
    }

    /// Position in [`Self::all`].
    pub fn index(self) -> usize {
        let shard = usize::from(self.shard.unwrap_or_default());
        match self.class {
            Class::Waiting => 0,
            Class::Background => 1,
            Class::WaitingBulk => 2 + shard,
            Class::BackgroundBulk => 2 + usize::from(SHARDS) + shard,
        }
    }

    /// The class, as metrics name it.
    pub fn class_name(self) -> &'static str {
        match self.class {
            Class::Waiting => INTERACTIVE,
            Class::Background => BACKGROUND,
            Class::WaitingBulk => "interactive_bulk",
            Class::BackgroundBulk => "background_bulk",
        }
    }

    /// Whether organizations with many jobs are here.
    pub fn is_bulk(self) -> bool {
        self.class.is_bulk()
    }

    /// Whether somebody waits for the answers of its jobs.
    pub fn is_waiting(self) -> bool {
        matches!(self.class, Class::Waiting | Class::WaitingBulk)
    }

    /// Where a job that came from here stays when it leaves its pack.
    pub fn lane(self, job: &Job) -> Lane {
        self.shard.map_or_else(|| Lane::of(job), |shard| Lane { class: self.class, shard })
    }
}

/// Two different ones. FNV-1a, because they must be the same in every version and process.
fn shards(organization: &OrganizationId) -> [u8; 2] {
    let hash = organization
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // The low bits of FNV mix worst.
    let (first, step) = ((hash >> 32) % u64::from(SHARDS), (hash >> 40) % u64::from(SHARDS - 1));
    [first as u8, ((first + 1 + step) % u64::from(SHARDS)) as u8]
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
        let lane = Lane { class: Class::WaitingBulk, shard: 3 };
        let plain = Names::default();
        assert_eq!(plain.jobs_stream(), "JOBS");
        assert_eq!(plain.job(lane, Some(&organization)), "job.waiting_bulk.3.org_1");
        assert_eq!(plain.job(lane, None), "job.waiting_bulk.3.many");
        let spaced = Names::new("t.7");
        assert_eq!(spaced.jobs_stream(), "t_7_JOBS");
        assert_eq!(spaced.job(lane, None), "t_7.job.waiting_bulk.3.many");
        assert_eq!(spaced.journal("ex_1"), "$KV.t_7_journal.ex_1");
    }

    #[test]
    fn no_identifier_can_leave_its_token() {
        let sly = OrganizationId::trusted("a.> b\r\nPUB x");
        assert_eq!(Names::default().dead_of(Some(&sly), None), "dead.a___b__PUB_x.*");
    }

    #[test]
    fn organizations_spread_over_all_pairs_of_shards() {
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..5_600 {
            let [one, two] = shards(&OrganizationId::generate());
            assert_ne!(one, two);
            *seen.entry((one.min(two), one.max(two))).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 28);
        assert!(seen.values().all(|&count| count > 100), "{seen:?}");
    }

    #[test]
    fn every_lane_has_its_source() {
        assert_eq!(Source::all().map(Source::index).collect::<Vec<_>>(), (0..Source::COUNT).collect::<Vec<_>>());
        let names = Names::default();
        for lane in Lane::all() {
            let (subject, filter) = (names.job(lane, None), names.jobs_of(lane.source()));
            let fits =
                subject.split('.').zip(filter.split('.')).all(|(token, wanted)| wanted == "*" || token == wanted);
            assert!(fits, "{subject} {filter}");
            assert_eq!(names.source_of(&subject), Some(lane.source()));
        }
        let bulk = Source { class: Class::BackgroundBulk, shard: Some(5) };
        assert_eq!(names.consumer(bulk), "executors_background_bulk_5");
        assert_eq!(names.jobs_of(bulk), "job.background_bulk.5.*");
        assert_eq!(names.jobs_of(Source { class: Class::Waiting, shard: None }), "job.waiting.*.*");
    }

    #[test]
    fn lanes_are_numbered_without_gaps() {
        assert_eq!(Lane::all().map(Lane::index).collect::<Vec<_>>(), (0..Lane::COUNT).collect::<Vec<_>>());
    }
}
