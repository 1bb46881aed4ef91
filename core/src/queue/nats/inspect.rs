//! A look at everything that we have on NATS, for [`crate::doctor`]: servers, streams and consumers, as they and their
//! leaders tell, beside what `topology` wants them to be. Nothing is made, changed or taken, and no payload is kept.

use std::fmt::Debug;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{ClusterInfo, Config};
use async_nats::jetstream::{ErrorCode, response::Response};
use bytes::Bytes;
use futures::future::join_all;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::super::QueueError;
use super::super::subjects::Source;
use super::NatsQueueConfig;
use super::link::{NatsConfig, NatsLink};
use super::topology::{self, Delivered};
use crate::clock::{Clock, Millis};
use crate::doctor::clocks::{Look, rfc3339};
use crate::doctor::shown;

const WITHIN: Duration = Duration::from_secs(5);

/// Of times that NATS tells, as far as they are kept.
const GRAIN: Duration = Duration::from_millis(1);

/// What a look has seen.
#[derive(Debug, Clone, Default)]
pub struct NatsSeen {
    /// Each of the addresses that are configured, and what answers there.
    pub servers: Vec<(String, Result<ServerSeen, String>)>,
    /// Whether the account may use JetStream, and its room; the rest is empty when no server was reached.
    pub account: Option<Result<AccountSeen, String>>,
    pub streams: Vec<(String, Seen<StreamSeen>)>,
    pub consumers: Vec<(String, Seen<ConsumerSeen>)>,
    /// Clocks of leaders, each once.
    pub clocks: Vec<(String, Look)>,
}

/// What the leader of something said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    Is(T),
    /// There is no such thing.
    Absent,
    /// Nobody answered.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSeen {
    pub name: String,
    pub version: String,
    /// The cluster that it belongs to.
    pub cluster: Option<String>,
    pub jetstream: bool,
    /// It lets in nobody without credentials.
    pub asks_who: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountSeen {
    pub stored: u64,
    /// Of the account; what a server may store at most is not told to clients.
    pub most: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamSeen {
    pub replicas: usize,
    pub leader: Option<String>,
    pub followers: Vec<Follower>,
    pub messages: u64,
    pub bytes: u64,
    pub most_messages: Option<u64>,
    pub most_bytes: Option<u64>,
    pub differences: Vec<Difference>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    pub name: String,
    pub current: bool,
    pub offline: bool,
    pub lag: u64,
    /// Since its leader has heard of it.
    pub silent: Duration,
}

/// A setting that is not as we want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// As NATS calls it.
    pub setting: &'static str,
    pub found: String,
    pub wanted: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerSeen {
    /// Somebody waits for the answers of its jobs.
    pub callers_wait: bool,
    pub leader: Option<String>,
    pub waiting: u64,
    pub held: u64,
    /// Requests of executors for more.
    pub pulls: u64,
    /// How long the first that waits has waited.
    pub oldest: Option<Duration>,
    pub differences: Vec<Difference>,
}

/// Looks at all of it.
pub async fn inspect(config: &NatsConfig, queue: NatsQueueConfig, clock: &dyn Clock) -> NatsSeen {
    let links = join_all(config.urls.iter().map(|url| async move {
        let one = NatsConfig { urls: vec![url.clone()], ..config.clone() };
        (shown(url), NatsLink::try_once(&one).await)
    }));
    let links = links.await;
    let mut seen = NatsSeen::default();
    let any = links.iter().find_map(|(_, link)| link.as_ref().ok()).cloned();
    seen.servers = links.into_iter().map(|(url, link)| (url, link.map(|link| server(&link)))).collect();
    let Some(link) = any else { return seen };
    let wanted = topology::streams(&link, queue.max_waiting_per_subject);
    let streams = join_all(wanted.iter().map(|wanted| stream(&link, wanted, clock)));
    let consumers = join_all(Source::all().map(|source| consumer(&link, source, queue.max_ack_pending)));
    let (account, streams, consumers) = tokio::join!(account(&link), streams, consumers);
    seen.account = Some(account);
    for (wanted, (stream, look)) in wanted.into_iter().zip(streams) {
        if let (Seen::Is(StreamSeen { leader: Some(leader), .. }), Some(look)) = (&stream, look)
            && seen.clocks.iter().all(|(known, _)| known != leader)
        {
            seen.clocks.push((leader.clone(), look));
        }
        seen.streams.push((wanted.name, stream));
    }
    seen.consumers = Source::all().map(|source| link.names().consumer(source)).zip(consumers).collect();
    seen
}

fn server(link: &NatsLink) -> ServerSeen {
    let info = link.client().server_info();
    ServerSeen {
        name: info.server_name,
        version: info.version,
        cluster: info.cluster,
        jetstream: info.jetstream,
        asks_who: info.auth_required,
    }
}

#[derive(Deserialize)]
struct AccountInfo {
    storage: u64,
    limits: AccountLimits,
}

#[derive(Deserialize)]
struct AccountLimits {
    max_storage: i64,
}

async fn account(link: &NatsLink) -> Result<AccountSeen, String> {
    match topology::ask::<AccountInfo>(link, "$JS.API.INFO".to_owned()).await {
        Ok(Response::Ok(info)) => Ok(AccountSeen { stored: info.storage, most: limit(info.limits.max_storage) }),
        Ok(Response::Err { error }) => Err(error.to_string()),
        Err(error) => Err(told(&error)),
    }
}

#[derive(Deserialize)]
struct StreamInfo {
    config: Config,
    state: StreamState,
    cluster: Option<ClusterInfo>,
    /// Servers before 2.10 have none.
    ts: Option<String>,
}

#[derive(Deserialize)]
struct StreamState {
    messages: u64,
    bytes: u64,
}

async fn stream(link: &NatsLink, wanted: &Config, clock: &dyn Clock) -> (Seen<StreamSeen>, Option<Look>) {
    let before = clock.now();
    let answer = topology::ask::<StreamInfo>(link, format!("$JS.API.STREAM.INFO.{}", wanted.name)).await;
    let after = clock.now();
    let info = match seen(answer, ErrorCode::STREAM_NOT_FOUND) {
        Seen::Is(info) => info,
        Seen::Absent => return (Seen::Absent, None),
        Seen::Unknown(why) => return (Seen::Unknown(why), None),
    };
    let told = info.ts.as_deref().and_then(rfc3339);
    let look = told.map(|told| Look { before, told, after, grain: GRAIN });
    let (leader, followers) = members(info.cluster);
    let stream = StreamSeen {
        replicas: info.config.num_replicas,
        leader,
        followers,
        messages: info.state.messages,
        bytes: info.state.bytes,
        most_messages: limit(info.config.max_messages),
        most_bytes: limit(info.config.max_bytes),
        differences: stream_differences(&info.config, wanted),
    };
    (Seen::Is(stream), look)
}

fn members(cluster: Option<ClusterInfo>) -> (Option<String>, Vec<Follower>) {
    let Some(cluster) = cluster else { return (None, Vec::new()) };
    let followers = cluster.replicas.into_iter().map(|peer| Follower {
        name: peer.name,
        current: peer.current,
        offline: peer.offline,
        lag: peer.lag.unwrap_or_default(),
        silent: peer.active,
    });
    (cluster.leader.filter(|name| !name.is_empty()), followers.collect())
}

/// Limits of the whole stream are an operator's choice and no difference.
fn stream_differences(found: &Config, wanted: &Config) -> Vec<Difference> {
    let mut differences = Differences::default();
    differences.note("subjects", &found.subjects, &wanted.subjects);
    differences.note("storage", found.storage, wanted.storage);
    differences.note("retention", found.retention, wanted.retention);
    differences.note("num_replicas", found.num_replicas, wanted.num_replicas);
    differences.note("discard", found.discard, wanted.discard);
    differences.note("discard_new_per_subject", found.discard_new_per_subject, wanted.discard_new_per_subject);
    differences.note("max_msgs_per_subject", found.max_messages_per_subject, wanted.max_messages_per_subject);
    differences.note("max_age", found.max_age, wanted.max_age);
    differences.note("duplicate_window", found.duplicate_window, wanted.duplicate_window);
    differences.note("allow_direct", found.allow_direct, wanted.allow_direct);
    differences.note("sealed", found.sealed, wanted.sealed);
    differences.note("no_ack", found.no_ack, wanted.no_ack);
    differences.0
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn note<T: Debug + PartialEq>(&mut self, setting: &'static str, found: T, wanted: T) {
        if found != wanted {
            self.0.push(Difference { setting, found: format!("{found:?}"), wanted: format!("{wanted:?}") });
        }
    }
}

#[derive(Deserialize)]
struct ConsumerInfo {
    config: pull::Config,
    cluster: Option<ClusterInfo>,
    delivered: Delivered,
    num_pending: u64,
    num_ack_pending: u64,
    num_waiting: u64,
    ts: Option<String>,
}

async fn consumer(link: &NatsLink, source: Source, max_ack_pending: i64) -> Seen<ConsumerSeen> {
    let answer = topology::ask::<ConsumerInfo>(link, link.names().consumer_info(source)).await;
    let info = match seen(answer, ErrorCode::CONSUMER_NOT_FOUND) {
        Seen::Is(info) => info,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(why) => return Seen::Unknown(why),
    };
    let oldest = match info.ts.as_deref().and_then(rfc3339) {
        Some(now) if info.num_pending > 0 => oldest(link, source, info.delivered.stream_seq + 1, now).await,
        _ => None,
    };
    Seen::Is(ConsumerSeen {
        callers_wait: source.is_waiting(),
        leader: members(info.cluster).0,
        waiting: info.num_pending,
        held: info.num_ack_pending,
        pulls: info.num_waiting,
        oldest,
        differences: consumer_differences(&info.config, &topology::consumer_of(link, source, max_ack_pending)),
    })
}

fn consumer_differences(found: &pull::Config, wanted: &pull::Config) -> Vec<Difference> {
    let mut differences = Differences::default();
    differences.note("filter_subject", &found.filter_subject, &wanted.filter_subject);
    differences.note("ack_policy", found.ack_policy, wanted.ack_policy);
    differences.note("ack_wait", found.ack_wait, wanted.ack_wait);
    differences.note("max_deliver", found.max_deliver, wanted.max_deliver);
    differences.note("max_ack_pending", found.max_ack_pending, wanted.max_ack_pending);
    differences.note("backoff", &found.backoff, &wanted.backoff);
    differences.note("mem_storage", found.memory_storage, wanted.memory_storage);
    differences.0
}

#[derive(Deserialize)]
struct Message {
    message: MessageTime,
}

#[derive(Deserialize)]
struct MessageTime {
    time: String,
}

/// Since when the first message from this number on lies there. Its content comes along and is let go.
async fn oldest(link: &NatsLink, source: Source, from: u64, now: Millis) -> Option<Duration> {
    let question = json!({"seq": from, "next_by_subj": link.names().jobs_of(source)});
    let subject = format!("$JS.API.STREAM.MSG.GET.{}", link.names().jobs_stream());
    let answer = link.ask(subject, None, Bytes::from(question.to_string()), WITHIN).await.ok()?;
    let found: Message = serde_json::from_slice(&answer.payload).ok()?;
    Some(rfc3339(&found.message.time)?.until(now))
}

fn seen<T: DeserializeOwned>(answer: Result<Response<T>, QueueError>, absent: ErrorCode) -> Seen<T> {
    match answer {
        Ok(Response::Ok(info)) => Seen::Is(info),
        Ok(Response::Err { error }) if error.error_code() == absent => Seen::Absent,
        // Of a consumer, when not even its stream is there.
        Ok(Response::Err { error }) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Seen::Absent,
        Ok(Response::Err { error }) => Seen::Unknown(error.to_string()),
        Err(error) => Seen::Unknown(told(&error)),
    }
}

/// A right that is missing looks like no answer.
fn told(error: &QueueError) -> String {
    match error {
        QueueError::Unreadable(why) => format!("an answer that cannot be read ({why})"),
        _ => "no answer; has this user the right to ask $JS.API, and has the cluster a leader?".to_owned(),
    }
}

/// Negative: none.
fn limit(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_are_named_as_nats_has_them() {
        let wanted = Config { name: "JOBS".to_owned(), num_replicas: 3, max_bytes: -1, ..Config::default() };
        let found = Config { num_replicas: 1, max_bytes: 1_000, no_ack: true, ..wanted.clone() };
        let told: Vec<_> = stream_differences(&found, &wanted).into_iter().map(|each| each.setting).collect();
        assert_eq!(told, ["num_replicas", "no_ack"], "limits are an operator's choice");
        let wanted = pull::Config { max_deliver: -1, ..pull::Config::default() };
        let found = pull::Config { max_deliver: 5, ..wanted.clone() };
        assert_eq!(
            consumer_differences(&found, &wanted),
            [Difference { setting: "max_deliver", found: "5".to_owned(), wanted: "-1".to_owned() }]
        );
    }

    #[test]
    fn answers_of_a_server_are_read() {
        let answer = br#"{"type":"io.nats.jetstream.api.v1.stream_info_response","total":0,"offset":0,"limit":0,
            "config":{"name":"A","subjects":["a.>"],"retention":"workqueue","max_consumers":-1,"max_msgs":-1,
            "max_bytes":-1,"max_age":0,"max_msgs_per_subject":-1,"max_msg_size":-1,"discard":"new","storage":"file",
            "num_replicas":3,"duplicate_window":120000000000},"created":"2026-11-28T17:50:36.031186879Z",
            "state":{"messages":2,"bytes":77,"first_seq":1,"first_ts":"2026-11-28T17:50:36Z","last_seq":2,
            "last_ts":"2026-11-28T17:50:36Z","consumer_count":0},"cluster":{"name":"c","leader":"n1","replicas":[
            {"name":"n2","current":true,"active":5000},{"name":"n3","current":false,"offline":true,"active":9,"lag":4}]},
            "ts":"2026-11-28T17:50:36.330441388Z"}"#;
        let Ok(Response::Ok(info)) = serde_json::from_slice::<Response<StreamInfo>>(answer) else { panic!("unread") };
        assert_eq!((info.state.messages, info.state.bytes, info.config.num_replicas), (2, 77, 3));
        let (leader, followers) = members(info.cluster);
        assert_eq!(leader.as_deref(), Some("n1"));
        assert_eq!(
            followers.iter().map(|each| (each.current, each.offline, each.lag)).collect::<Vec<_>>(),
            [(true, false, 0), (false, true, 4)]
        );
        let absent =
            br#"{"type":"x","error":{"code":404,"err_code":10059,"description":"stream not found"},"total":0}"#;
        let absent: Response<StreamInfo> = serde_json::from_slice(absent).unwrap();
        assert!(matches!(seen(Ok(absent), ErrorCode::STREAM_NOT_FOUND), Seen::Absent));
    }
}
