//! A start while JetStream cannot serve yet: servers that are starting, too, or a cluster without a leader.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::stream::{Config, Stream};
use tokio::time::Instant;

use super::super::QueueError;
use super::link::NatsLink;

/// Between two tries, growing.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// The stream, made when it is absent. While JetStream cannot say or do it, this is tried until the start has taken too
/// long: a service that ended instead would only be started again to find the same.
///
/// # Errors
/// When it is neither there nor can be made.
pub(super) async fn get_or_create(link: &NatsLink, wanted: &Config) -> Result<Stream, QueueError> {
    let name = &wanted.name;
    let mut pauses = PAUSES.iter().chain(std::iter::repeat(&PAUSES[PAUSES.len() - 1]));
    let mut told = false;
    loop {
        let error = match link.jetstream().get_or_create_stream(wanted.clone()).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if !may_pass(&error) {
            return Err(QueueError::Unavailable(format!("stream {name}: {error}")));
        }
        if Instant::now() >= link.starts_until() {
            let text = format!("stream {name}: JetStream was not ready in time; has its cluster a leader? {error}");
            return Err(QueueError::Unavailable(text));
        }
        if !told {
            tracing::warn!(stream = name, %error, "JetStream cannot serve yet; waiting for it to have a leader");
            told = true;
        }
        tokio::time::sleep(pauses.next().copied().unwrap_or(PAUSES[0])).await;
    }
}

/// Whether the next try may come out otherwise. A right that is missing looks like no answer, too: then the start takes
/// its time before it fails.
fn may_pass(error: &CreateStreamError) -> bool {
    match error.kind() {
        CreateStreamErrorKind::TimedOut
        | CreateStreamErrorKind::JetStreamUnavailable
        | CreateStreamErrorKind::Response => true,
        // "Service unavailable": no leader, no room for now. What else a server cannot do is its trouble, not a mistake of
        // ours: a stream that is offline until its servers are back, peers that are not known yet.
        CreateStreamErrorKind::JetStream(error) => {
            error.code() >= 500 || error.error_code() == ErrorCode::CLUSTER_NO_PEERS
        }
        _ => false,
    }
}
