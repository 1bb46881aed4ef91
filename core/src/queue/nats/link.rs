//! The connection to NATS, shared by everything that a process keeps there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::{HeaderMap, HeaderValue};
use async_nats::jetstream;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, Request, RequestErrorKind};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::super::QueueError;
use super::super::subjects::Names;
use crate::secret::Secret;
use crate::tls::ServiceTls;

/// How to reach NATS.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// `nats://host:4222`, or `tls://` with `tls`; any number of servers of one cluster.
    pub urls: Vec<String>,
    /// Default: none.
    pub tls: Option<ServiceTls>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Copies of every stream: 1 on a single server (default), 3 on a cluster.
    pub replicas: usize,
    /// Prefix of every name, so that several installations share one NATS. Default: none.
    pub namespace: String,
    /// How long a start may take: the first connection, and a JetStream that has chosen its leader. Later interruptions
    /// are waited out for ever. Default: 60 s.
    pub start_within: Duration,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            urls: vec!["nats://127.0.0.1:4222".to_owned()],
            tls: None,
            user: None,
            password: None,
            replicas: 1,
            namespace: String::new(),
            start_within: Duration::from_secs(60),
        }
    }
}

/// A server that answers nothing, not even pings, is given up after three of these.
const PING_INTERVAL: Duration = Duration::from_secs(4);

/// What is sent while there is no connection would wait inside the client and leave whenever it returns, long after
/// its sender gave up. So nothing is sent then, and this is how often we look whether it is back.
const RECONNECT_POLL: Duration = Duration::from_millis(20);

/// How long something may wait for room in the client's own buffer; it is full only when the server stopped reading.
const SEND_WITHIN: Duration = Duration::from_secs(1);

/// Pause before a start tries again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// An open connection. Cheap to clone.
#[derive(Clone)]
pub struct NatsLink {
    client: Client,
    names: Arc<Names>,
    replicas: usize,
    process: Arc<str>,
    counter: Arc<AtomicU64>,
    starts_until: Instant,
}

impl std::fmt::Debug for NatsLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsLink").field("names", &self.names).field("state", &self.client.connection_state()).finish()
    }
}

/// What became of a request to store something.
#[derive(Debug)]
pub(crate) enum Stored {
    Yes {
        sequence: u64,
    },
    /// Answered with an error that proves that nothing was stored.
    Refused {
        code: u64,
        text: String,
    },
    /// Answered, or not, in a way that leaves open whether it was or will be stored.
    Unknown(String),
    /// It never left this process, or no server was responsible.
    NotSent(String),
}

impl NatsLink {
    /// # Errors
    /// When no server could be reached within the time, or none accepted the credentials.
    pub async fn connect(config: &NatsConfig) -> Result<Self, QueueError> {
        let until = Instant::now() + config.start_within;
        let mut told = false;
        let client = loop {
            let error = match options(config).connect(config.urls.clone()).await {
                Ok(client) => break client,
                Err(error) => error,
            };
            let hopeless = matches!(
                error.kind(),
                ConnectErrorKind::ServerParse
                    | ConnectErrorKind::Authentication
                    | ConnectErrorKind::AuthorizationViolation
            );
            let servers = config.urls.join(", ");
            if hopeless || Instant::now() >= until {
                return Err(QueueError::Unavailable(format!("NATS at {servers}: {error}")));
            }
            if !told {
                tracing::warn!(%servers, %error, "NATS cannot be reached yet; trying on");
                told = true;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        };
        Ok(Self::over(client, config, until))
    }

    /// One try, for whoever wants to know how it comes out.
    ///
    /// # Errors
    /// Why not; without the address, which may have a password in it.
    pub(super) async fn try_once(config: &NatsConfig) -> Result<Self, String> {
        let client = options(config).connect(config.urls.clone()).await.map_err(|error| error.to_string())?;
        Ok(Self::over(client, config, Instant::now()))
    }

    fn over(client: Client, config: &NatsConfig, starts_until: Instant) -> Self {
        Self {
            client,
            names: Arc::new(Names::new(&config.namespace)),
            replicas: config.replicas.max(1),
            process: uuid::Uuid::new_v4().simple().to_string().into(),
            counter: Arc::new(AtomicU64::new(0)),
            starts_until,
        }
    }

    /// Until when a start waits for JetStream.
    pub(super) fn starts_until(&self) -> Instant {
        self.starts_until
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client.clone())
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn replicas(&self) -> usize {
        self.replicas
    }

    /// Random, the same for the life of the process.
    pub(crate) fn process(&self) -> &str {
        &self.process
    }

    /// Never the same twice within the process.
    pub(crate) fn next_number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    pub fn connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Grows with every new connection.
    pub(crate) fn connections(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// `false` when there is no connection by then. Returns without waiting when there is one.
    pub(crate) async fn connected_by(&self, until: Instant) -> bool {
        loop {
            if self.connected() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(RECONNECT_POLL).await;
        }
    }

    /// Sends without waiting for anybody; `false` when there is no connection or the client's buffer stays full.
    pub(crate) async fn send(&self, subject: String, reply: Option<String>, payload: Bytes) -> bool {
        if !self.connected() {
            return false;
        }
        let sending = async {
            match reply {
                Some(reply) => self.client.publish_with_reply(subject, reply, payload).await.is_ok(),
                None => self.client.publish(subject, payload).await.is_ok(),
            }
        };
        tokio::time::timeout(SEND_WITHIN, sending).await.unwrap_or(false)
    }

    /// Returns when the server has taken everything that was sent before on this connection, subscriptions too. During a
    /// start it is asked until there is an answer: a cluster that is choosing its leader gives none.
    ///
    /// # Errors
    /// When it has not within the time, and the start is over.
    pub(crate) async fn round_trip(&self, within: Duration) -> Result<(), QueueError> {
        loop {
            let until = Instant::now() + within;
            // Every role may ask this, and the server answers in order.
            let trouble = match self.ask("$JS.API.INFO".to_owned(), None, Bytes::new(), within).await {
                Ok(_) => return Ok(()),
                Err(trouble) => trouble,
            };
            if until >= self.starts_until {
                return Err(QueueError::Unavailable(format!("the server does not answer: {trouble:?}")));
            }
            tracing::warn!(?trouble, "the server does not answer yet; asking again");
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// One request, one answer. `Err` says whether it may have been received.
    pub(crate) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        within: Duration,
    ) -> Result<async_nats::Message, Stored> {
        if !self.connected() {
            return Err(Stored::NotSent("not connected".to_owned()));
        }
        let mut request = Request::new().payload(payload).timeout(Some(within));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        // The client limits the wait for the answer, but not the wait for room in its buffer.
        let answer = tokio::time::timeout(within + SEND_WITHIN, self.client.send_request(subject, request)).await;
        match answer {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders
                | RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded => Stored::NotSent(error.to_string()),
                RequestErrorKind::TimedOut | RequestErrorKind::Other => Stored::Unknown(error.to_string()),
            }),
            Err(_) => Err(Stored::Unknown("no answer in time".to_owned())),
        }
    }

    /// Asks a stream to store a message. One attempt.
    pub(crate) async fn store(&self, subject: String, headers: HeaderMap, payload: Bytes, within: Duration) -> Stored {
        let message = match self.ask(subject, Some(headers), payload, within).await {
            Ok(message) => message,
            Err(outcome) => return outcome,
        };
        let Ok(answer) = serde_json::from_slice::<StoreAnswer>(&message.payload) else {
            return Stored::Unknown("an answer that is no acknowledgement".to_owned());
        };
        match answer.error {
            None => Stored::Yes { sequence: answer.seq },
            Some(error) if may_be_stored(&error) => Stored::Unknown(error.description),
            Some(error) => Stored::Refused { code: error.err_code, text: error.description },
        }
    }
}

/// Acknowledgement of a stream. Read by hand because the client's own type is tried in two forms one after the other.
#[derive(Deserialize)]
struct StoreAnswer {
    #[serde(default)]
    seq: u64,
    error: Option<StoreError>,
}

#[derive(Deserialize)]
struct StoreError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Storing failed (or, with a text that begins with "maximum", a bound of the stream was reached).
pub(crate) const STORE_FAILED: u64 = 10077;

/// Errors that do not prove the absence of the message: its id is being stored at this moment (10158), or the store
/// failed under a message that the cluster had already agreed on.
fn may_be_stored(error: &StoreError) -> bool {
    const DUPLICATE_IN_PROCESS: u64 = 10158;
    error.err_code == DUPLICATE_IN_PROCESS
        || (error.err_code == STORE_FAILED && !error.description.starts_with("maximum"))
}

/// Headers with a message id. An id that cannot be a header value is left out: then nothing is deduplicated, which
/// the journal is for.
pub(crate) fn message_id_headers(id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put_header(&mut headers, "Nats-Msg-Id", id);
    headers
}

/// Conversion by `into` panics on line breaks; this one leaves such a header out.
pub(crate) fn put_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = value.parse::<HeaderValue>() {
        headers.insert(name, value);
    }
}

fn options(config: &NatsConfig) -> ConnectOptions {
    let mut options = ConnectOptions::new()
        .name("plugboard")
        .ping_interval(PING_INTERVAL)
        .connection_timeout(Duration::from_secs(3))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(50 * (1 << attempts.min(5) as u64)).min(Duration::from_secs(1))
        })
        .event_callback(|event| async move { log(&event) });
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        options = options.user_and_password(user.clone(), password.expose().to_owned());
    }
    if let Some(tls) = &config.tls
        && config.urls.iter().any(|url| url.starts_with("tls://"))
    {
        // Required, because what a server says before the handshake anybody could have said.
        options = options.require_tls(true).tls_client_config(tls.client());
    }
    options
}

fn log(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("connection to NATS lost; reconnecting"),
        Event::SlowConsumer(subscription) => {
            tracing::warn!(subscription, "messages from NATS were dropped: this process does not keep up");
        }
        Event::ServerError(error) => tracing::error!(%error, "NATS reports an error"),
        Event::ClientError(error) => tracing::warn!(%error, "NATS client error"),
        Event::LameDuckMode | Event::Draining | Event::Closed => tracing::info!(%event, "NATS connection"),
    }
}
