//! Connections to every replica of the auth service: whom to ask, how long, and whom to ask next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::super::status::{from_status, is_answer};
use super::super::{ACTOR_METADATA, Actor, IdentityError, actor};
use crate::secret::Secret;
use crate::telemetry::present_trace;
use crate::tls::{self, ServiceTls};

const CONNECT: Duration = Duration::from_millis(500);
/// A replica that failed is asked last for this long.
const AVOIDED: Duration = Duration::from_secs(1);
/// A connection that answers no ping for this long is dead, and what waits on it fails.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A connection that says who we are.
pub(super) type Caller = InterceptedService<Channel, Bearer>;

/// When a call may be made again at another replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Whenever one does not answer; the time is shared out among those that are left.
    Always,
    /// Likewise, but an answer may rightly take long: each may use all the time there is.
    AfterWaiting,
    /// Only when nothing can have been sent. A replica that may just have died is asked for its health first, so that
    /// a connection nobody knows to be dead costs no write.
    IfNotSent,
}

/// Why a list of replicas cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("no address of the auth service is configured")]
    None,
    #[error("{0:?} is not an address of the auth service; write http://host:port")]
    Malformed(String),
    #[error("{address:?} does not go with [tls]: write {scheme}://host:port")]
    Scheme { address: String, scheme: &'static str },
    #[error("the service token cannot be sent as a header")]
    Token,
}

/// Presents the service token.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        // Who asks the gateway, for the audit log.
        let actor = actor();
        if actor != Actor::default()
            && let Ok(json) = serde_json::to_vec(&actor)
        {
            request.metadata_mut().insert_bin(ACTOR_METADATA, MetadataValue::from_bytes(&json));
        }
        if let Some(trace) = present_trace() {
            for (name, value) in [("traceparent", &trace.traceparent), ("tracestate", &trace.tracestate)] {
                if let Ok(value) = MetadataValue::try_from(value.as_str())
                    && !value.is_empty()
                {
                    request.metadata_mut().insert(name, value);
                }
            }
        }
        Ok(request)
    }
}

pub(super) struct Links {
    links: Vec<Link>,
    turn: AtomicUsize,
}

struct Link {
    url: String,
    caller: Caller,
    avoid_until: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.links.iter().map(|link| &link.url)).finish()
    }
}

impl Links {
    pub(super) fn new(urls: &[String], token: &Secret, tls: Option<&ServiceTls>) -> Result<Self, EndpointError> {
        let mut bearer =
            MetadataValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| EndpointError::Token)?;
        bearer.set_sensitive(true);
        let bearer = Bearer(bearer);
        let links: Vec<Link> = urls.iter().map(|url| Link::new(url, bearer.clone(), tls)).collect::<Result<_, _>>()?;
        if links.is_empty() {
            return Err(EndpointError::None);
        }
        Ok(Self { links, turn: AtomicUsize::new(0) })
    }

    /// Asks one replica after the other, as far as `repeat` allows, within `within` altogether.
    pub(super) async fn call<T, F, A>(&self, repeat: Repeat, within: Duration, ask: F) -> Result<T, IdentityError>
    where
        F: Fn(Caller) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + within;
        let mut failure = IdentityError::Unavailable("no replica was asked".into());
        let order = self.order();
        for (asked, link) in order.iter().enumerate() {
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            let others = u32::try_from(order.len() - asked).unwrap_or(u32::MAX);
            let share = now + (deadline - now) / others;
            if repeat == Repeat::IfNotSent
                && others > 1
                && let Err(status) = link.health(share).await
            {
                link.failed(&status);
                failure = from_status(&status);
                continue;
            }
            let until = if repeat == Repeat::Always { share } else { deadline };
            let (error, go_on) = match timeout_at(until, ask(link.caller.clone())).await {
                Ok(Ok(response)) => {
                    link.works();
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) if is_answer(&status) => {
                    link.works();
                    let error = from_status(&status);
                    // A replica that has lost its store answers so; another one may have it.
                    let go_on = matches!(error, IdentityError::Unavailable(_)) && repeat != Repeat::IfNotSent;
                    (error, go_on)
                }
                Ok(Err(status)) => {
                    link.failed(&status);
                    (from_status(&status), repeat != Repeat::IfNotSent || never_connected(&status))
                }
                Err(_) => {
                    let status = no_answer();
                    link.failed(&status);
                    (from_status(&status), repeat != Repeat::IfNotSent)
                }
            };
            if !go_on {
                return Err(error);
            }
            failure = error;
        }
        Err(failure)
    }

    /// Everybody in turn, those that failed a moment ago last.
    fn order(&self) -> Vec<&Link> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.links.len();
        let (after, before) = self.links.split_at(first);
        let (mut order, avoided): (Vec<_>, Vec<_>) = before.iter().chain(after).partition(|link| !link.is_avoided());
        order.extend(avoided);
        order
    }
}

impl Link {
    fn new(url: &str, bearer: Bearer, tls: Option<&ServiceTls>) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(url.to_owned());
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| malformed())?;
        let scheme = endpoint.uri().scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let (Some(scheme), Some(_)) = (scheme, endpoint.uri().authority()) else { return Err(malformed()) };
        if scheme != tls::scheme(tls) {
            return Err(EndpointError::Scheme { address: url.to_owned(), scheme: tls::scheme(tls) });
        }
        let endpoint = endpoint
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let caller = InterceptedService::new(tls::channel(endpoint, CONNECT, tls), bearer);
        Ok(Self { url: url.to_owned(), caller, avoid_until: Mutex::new(None) })
    }

    /// Whether the replica answers at all; one that knows no health service does, too.
    async fn health(&self, until: Instant) -> Result<(), Status> {
        let mut client = HealthClient::new(self.caller.clone());
        match timeout_at(until, client.check(HealthCheckRequest::default())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) if status.code() == Code::Unimplemented => Ok(()),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(no_answer()),
        }
    }

    fn is_avoided(&self) -> bool {
        self.avoid_until.lock().is_some_and(|until| Instant::now() < until)
    }

    fn works(&self) {
        *self.avoid_until.lock() = None;
    }

    fn failed(&self, status: &Status) {
        let first = self.avoid_until.lock().replace(Instant::now() + AVOIDED).is_none();
        if first {
            tracing::warn!(url = self.url, code = ?status.code(), reason = tls::reason(status), "an auth replica fails");
        }
    }
}

fn no_answer() -> Status {
    Status::deadline_exceeded("no answer in time")
}

/// Whether the connection never came to be, so that nothing was sent.
fn never_connected(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(urls: &[&str]) -> Result<Links, EndpointError> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        Links::new(&urls, &Secret::new("token"), None)
    }

    #[tokio::test]
    async fn addresses_are_checked() {
        assert!(links(&["http://auth-0:7103", "http://[::1]:7103"]).is_ok());
        for bad in ["auth:7103", "", "ftp://auth", "/x"] {
            assert!(matches!(links(&[bad]), Err(EndpointError::Malformed(_))), "{bad}");
        }
        assert!(matches!(links(&[]), Err(EndpointError::None)));
        let error = links(&["https://auth:7103"]).unwrap_err().to_string();
        assert!(error.contains("http://"), "{error}");
    }

    #[tokio::test]
    async fn replicas_take_turns_and_failed_ones_wait() {
        let links = links(&["http://a:1", "http://b:1", "http://c:1"]).unwrap();
        let order = |links: &Links| links.order().iter().map(|link| link.url.clone()).collect::<Vec<_>>();
        assert_eq!(order(&links), ["http://a:1", "http://b:1", "http://c:1"]);
        assert_eq!(order(&links), ["http://b:1", "http://c:1", "http://a:1"]);
        links.links[2].failed(&Status::unavailable("x"));
        assert_eq!(order(&links), ["http://a:1", "http://b:1", "http://c:1"]);
        assert_eq!(order(&links), ["http://a:1", "http://b:1", "http://c:1"]);
        links.links[2].works();
        assert_eq!(order(&links), ["http://b:1", "http://c:1", "http://a:1"]);
    }

    /// A replica of which only the health service is there.
    async fn alive() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let service = tonic_health::server::health_reporter().1;
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        url
    }

    #[tokio::test]
    async fn a_write_passes_by_replicas_that_are_not_there() {
        // Takes the connection, and hangs up.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hangs_up = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let alive = alive().await;
        // Nobody listens at port 1 of loopback.
        let links = links(&["http://127.0.0.1:1", &hangs_up, &alive]).unwrap();
        let asked = AtomicUsize::new(0);
        let ask = |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            async { Ok(Response::new(())) }
        };
        for _ in 0..3 {
            links.call(Repeat::IfNotSent, Duration::from_secs(2), ask).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert!(links.links[0].is_avoided() && links.links[1].is_avoided() && !links.links[2].is_avoided());
    }

    #[tokio::test]
    async fn a_write_that_may_have_been_sent_is_not_made_again() {
        let links = links(&[&alive().await, &alive().await]).unwrap();
        let asked = AtomicUsize::new(0);
        let broken = |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            async { Err::<Response<()>, _>(Status::unavailable("the connection broke")) }
        };
        assert!(links.call(Repeat::IfNotSent, Duration::from_secs(2), broken).await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(links.call(Repeat::Always, Duration::from_secs(2), broken).await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn the_last_replica_is_asked_even_if_it_cannot_be_reached() {
        let links = links(&["http://127.0.0.1:1"]).unwrap();
        let ask = |caller| async move {
            super::super::directory(caller).revoke_key(super::super::proto::RevokeKeyRequest::default()).await
        };
        let answer = links.call(Repeat::IfNotSent, Duration::from_secs(2), ask).await;
        assert!(matches!(answer, Err(IdentityError::Unavailable(_))));
    }
}
