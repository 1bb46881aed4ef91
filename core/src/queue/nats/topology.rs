//! Streams, consumer and buckets: made when absent, adjusted when their settings changed.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{ErrorCode, response::Response};
use bytes::Bytes;
use futures::future::try_join_all;
use serde::Deserialize;

use super::super::subjects::Source;
use super::super::{ACK_WAIT, QueueError};
use super::link::NatsLink;
use super::start;

/// Longer than any publisher repeats.
const DEDUPLICATION: Duration = Duration::from_secs(600);

const DEAD_LETTERS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

const JOURNAL_KEPT: Duration = Duration::from_secs(24 * 3600);

const PAYLOADS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Longer than a piece is tried.
const PAYLOAD_DEDUPLICATION: Duration = Duration::from_secs(60);

const WITHIN: Duration = Duration::from_secs(5);

/// What the server says when another consumer hands out the same subjects of a work queue.
const NOT_UNIQUE: &str = "not unique";

/// # Errors
/// When it is neither there nor can be made.
pub(super) async fn ensure_jobs(link: &NatsLink, most_per_subject: i64) -> Result<(), QueueError> {
    ensure_stream(link, jobs(link, most_per_subject)).await?;
    ensure_stream(link, dead_letters(link)).await
}

/// # Errors
/// When it is neither there nor can be made.
pub(crate) async fn ensure_journal(link: &NatsLink) -> Result<(), QueueError> {
    ensure_stream(link, journal(link)).await
}

/// # Errors
/// When it is neither there nor can be made.
pub(crate) async fn ensure_payloads(link: &NatsLink) -> Result<(), QueueError> {
    ensure_stream(link, payloads(link)).await
}

/// Every stream there is to be.
pub(super) fn streams(link: &NatsLink, most_per_subject: i64) -> [Config; 4] {
    [jobs(link, most_per_subject), dead_letters(link), journal(link), payloads(link)]
}

fn jobs(link: &NatsLink, most_per_subject: i64) -> Config {
    let names = link.names();
    Config {
        name: names.jobs_stream(),
        description: Some("calls to be made".to_owned()),
        subjects: vec![names.jobs_wildcard()],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        max_messages_per_subject: most_per_subject,
        duplicate_window: DEDUPLICATION,
        ..base(link)
    }
}

fn dead_letters(link: &NatsLink) -> Config {
    let names = link.names();
    Config {
        name: names.dead_stream(),
        description: Some("calls that were started too often".to_owned()),
        subjects: vec![names.dead_wildcard()],
        // Not a work queue, whose messages cannot be looked at without taking them.
        retention: RetentionPolicy::Limits,
        max_age: DEAD_LETTERS_KEPT,
        duplicate_window: DEDUPLICATION,
        ..base(link)
    }
}

/// A key-value bucket, made as the stream that it is: reads must come from the leader, so "direct" reads, which any
/// replica answers, stay off.
fn journal(link: &NatsLink) -> Config {
    let names = link.names();
    Config {
        name: names.journal_stream(),
        description: Some("what was called, and how it ended".to_owned()),
        subjects: vec![names.journal_wildcard()],
        max_messages_per_subject: 1,
        max_age: JOURNAL_KEPT,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        // Entries carry no message id; nothing needs to be remembered.
        duplicate_window: Duration::from_secs(1),
        ..base(link)
    }
}

fn payloads(link: &NatsLink) -> Config {
    let names = link.names();
    Config {
        name: names.payloads_stream(),
        description: Some("bodies and answers too large for a job, sealed".to_owned()),
        subjects: vec![names.payloads_wildcard()],
        // A full store refuses new payloads rather than drop those that somebody was promised.
        discard: DiscardPolicy::New,
        max_age: PAYLOADS_KEPT,
        allow_direct: true,
        duplicate_window: PAYLOAD_DEDUPLICATION,
        ..base(link)
    }
}

fn base(link: &NatsLink) -> Config {
    Config {
        storage: StorageType::File,
        num_replicas: link.replicas(),
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: -1,
        ..Config::default()
    }
}

async fn ensure_stream(link: &NatsLink, wanted: Config) -> Result<(), QueueError> {
    let name = wanted.name.clone();
    let jetstream = link.jetstream();
    let stream = start::get_or_create(link, &wanted).await?;
    let found = &stream.cached_info().config;
    let same = found.max_messages_per_subject == wanted.max_messages_per_subject
        && found.max_age == wanted.max_age
        && found.num_replicas == wanted.num_replicas
        && found.duplicate_window == wanted.duplicate_window
        && found.allow_direct == wanted.allow_direct;
    if same {
        return Ok(());
    }
    // An operator may have given this process no right to change streams, or chosen otherwise on purpose.
    if let Err(error) = jetstream.update_stream(&wanted).await {
        tracing::warn!(stream = name, %error, "a stream's settings differ from ours and cannot be changed");
    }
    Ok(())
}

/// # Errors
/// When one is neither there nor can be made.
pub(super) async fn ensure_consumers(link: &NatsLink, max_ack_pending: i64) -> Result<(), QueueError> {
    try_join_all(Source::all().map(|source| ensure_consumer(link, source, max_ack_pending))).await?;
    Ok(())
}

/// What a consumer is to be.
pub(super) fn consumer_of(link: &NatsLink, source: Source, max_ack_pending: i64) -> pull::Config {
    let names = link.names();
    pull::Config {
        durable_name: Some(names.consumer(source)),
        description: Some("all executors".to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        filter_subject: names.jobs_of(source),
        // After a last delivery the server would leave the job in the stream where nobody sees it. Starts are counted
        // by the executor, which puts the job among the dead letters.
        max_deliver: -1,
        max_ack_pending,
        ..pull::Config::default()
    }
}

async fn ensure_consumer(link: &NatsLink, source: Source, max_ack_pending: i64) -> Result<(), QueueError> {
    let names = link.names();
    let config = consumer_of(link, source, max_ack_pending);
    let jetstream = link.jetstream();
    let make = || async {
        let making = jetstream.create_consumer_on_stream(config.clone(), names.jobs_stream());
        tokio::time::timeout(WITHIN, making).await
    };
    let mut made = make().await;
    if let Ok(Err(error)) = &made
        && error.to_string().contains(NOT_UNIQUE)
    {
        // What it had given out is given out again by the new ones; the journal fences.
        let stream = jetstream.get_stream_no_info(names.jobs_stream()).await;
        let stream = stream.map_err(|error| QueueError::Unavailable(error.to_string()))?;
        let _ = stream.delete_consumer(names.former_consumer()).await;
        made = make().await;
    }
    match made {
        Ok(Ok(_)) => Ok(()),
        // Without the right to make one, one that is there will do.
        Ok(Err(_)) if consumer(link, source).await.is_ok_and(|state| state.is_some()) => Ok(()),
        Ok(Err(error)) => Err(QueueError::Unavailable(error.to_string())),
        Err(_) => Err(QueueError::Unavailable("no answer about a consumer".to_owned())),
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct ConsumerState {
    pub(super) num_pending: u64,
    pub(super) num_ack_pending: u64,
    pub(super) delivered: Delivered,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Delivered {
    /// The last message that was given out for the first time.
    pub(super) stream_seq: u64,
}

#[derive(Deserialize)]
struct StreamInfo {
    state: StreamState,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct StreamState {
    pub(super) messages: u64,
    pub(super) last_seq: u64,
}

/// From the leader of the stream of jobs.
///
/// # Errors
/// When nobody answers.
pub(super) async fn stream(link: &NatsLink) -> Result<StreamState, QueueError> {
    let subject = format!("$JS.API.STREAM.INFO.{}", link.names().jobs_stream());
    match ask::<StreamInfo>(link, subject).await? {
        Response::Ok(info) => Ok(info.state),
        Response::Err { error } => Err(QueueError::Unavailable(error.to_string())),
    }
}

/// From the consumer's leader; `None`: there is no such consumer yet.
///
/// # Errors
/// When nobody answers.
pub(super) async fn consumer(link: &NatsLink, source: Source) -> Result<Option<ConsumerState>, QueueError> {
    match ask(link, link.names().consumer_info(source)).await? {
        Response::Ok(state) => Ok(Some(state)),
        Response::Err { error } if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND => Ok(None),
        Response::Err { error } => Err(QueueError::Unavailable(error.to_string())),
    }
}

pub(super) async fn ask<T: for<'de> Deserialize<'de>>(
    link: &NatsLink,
    subject: String,
) -> Result<Response<T>, QueueError> {
    let message = link
        .ask(subject, None, Bytes::new(), WITHIN)
        .await
        .map_err(|trouble| QueueError::Unavailable(format!("{trouble:?}")))?;
    serde_json::from_slice(&message.payload).map_err(|error| QueueError::Unreadable(error.to_string()))
}
