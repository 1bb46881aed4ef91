//! Resolve, check, dial what was checked, check again.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use super::error::{BlockReason, BoxError};
use super::policy::EgressPolicy;
use super::resolve::Resolve;
use super::target::is_localhost;

/// Time for name, connection and TLS handshake together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the look-up of a name.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// Most addresses of one name that are dialled. All of them are checked.
pub const MAX_ADDRESSES: usize = 16;
/// Head start of one address over the next (RFC 8305, section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

type Tcp = TokioIo<TcpStream>;

/// Policy and resolver: all that a new connection is judged by.
pub(crate) struct Guard {
    pub(crate) policy: EgressPolicy,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) named_ports: ArcSwap<Vec<(String, u16)>>,
    /// Where sockets really go, so that tests can tell what would have been dialled.
    #[cfg(test)]
    pub(crate) redirect: Option<SocketAddr>,
    /// What was dialled, wherever that led.
    #[cfg(test)]
    pub(crate) dialled: parking_lot::Mutex<Vec<SocketAddr>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0}")]
    Blocked(BlockReason),
    #[error("the name could not be resolved")]
    Dns(#[source] io::Error),
    #[error("no address accepted the connection")]
    Tcp(#[source] io::Error),
    #[error("connecting took too long")]
    TimedOut,
}

impl Guard {
    /// Whether the connector list opens this port for this host.
    pub(crate) fn is_named(&self, host: &str, port: u16) -> bool {
        let named = self.named_ports.load();
        named.iter().any(|(name, open)| *open == port && name == host)
    }

    async fn dial(&self, uri: &Uri) -> Result<TcpStream, DialError> {
        let plain = uri.scheme() == Some(&Scheme::HTTP);
        let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
        let host = uri.host().unwrap_or_default();
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let (name, ips) = match literal.unwrap_or(host).parse::<IpAddr>() {
            Ok(ip) => (None, vec![ip]),
            Err(_) => (Some(host), self.look_up(host).await?),
        };
        let addrs = self.checked(name, &ips, port, plain)?;
        let (asked, stream) = self.dial_any(&addrs).await.map_err(DialError::Tcp)?;
        let peer = stream.peer_addr().map_err(DialError::Tcp)?;
        if peer != self.destination(asked) {
            return Err(DialError::Blocked(BlockReason::PeerMismatch));
        }
        // Without it the connection works all the same, only slower.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// The addresses to dial, each of them checked.
    fn checked(
        &self,
        name: Option<&str>,
        ips: &[IpAddr],
        port: u16,
        plain: bool,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let named = name.is_some_and(|name| self.is_named(name, port));
        let local = name.is_some_and(is_localhost);
        let mut addrs = Vec::with_capacity(ips.len().min(MAX_ADDRESSES));
        let mut refused = None;
        for ip in ips {
            let addr = SocketAddr::new(*ip, port);
            match self.policy.check(name, addr, plain, named) {
                Ok(()) if addrs.len() < MAX_ADDRESSES && !addrs.contains(&addr) => addrs.push(addr),
                Ok(()) => {}
                // `localhost` is this machine in both families (RFC 6761): allowing one of them is enough,
                // and only that one is dialled.
                Err(reason) if local => refused = Some(reason),
                // Elsewhere one forbidden answer condemns the name: what it means is not for chance to
                // decide.
                Err(reason) => return Err(DialError::Blocked(reason)),
            }
        }
        match refused {
            Some(reason) if addrs.is_empty() => Err(DialError::Blocked(reason)),
            _ => Ok(addrs),
        }
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, DialError> {
        let found = timeout(DNS_TIMEOUT, self.resolver.resolve(name))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(DialError::Dns)?;
        if found.is_empty() {
            return Err(DialError::Dns(io::ErrorKind::NotFound.into()));
        }
        Ok(found)
    }

    /// The first of the addresses that answers; each gets a head start over the next.
    async fn dial_any(&self, addrs: &[SocketAddr]) -> io::Result<(SocketAddr, TcpStream)> {
        if let [only] = addrs {
            return self.dial_one(*only).await;
        }
        let mut waiting = interleave(addrs).into_iter();
        let mut attempts = FuturesUnordered::new();
        attempts.extend(waiting.next().map(|addr| self.dial_one(addr)));
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        loop {
            let more = waiting.len() > 0;
            tokio::select! {
                done = attempts.next() => match done {
                    Some(Ok(connected)) => return Ok(connected),
                    Some(Err(error)) => failure = error,
                    None if !more => return Err(failure),
                    None => {}
                },
                () = sleep(ATTEMPT_DELAY), if more => {}
            }
            attempts.extend(waiting.next().map(|addr| self.dial_one(addr)));
        }
    }

    async fn dial_one(&self, addr: SocketAddr) -> io::Result<(SocketAddr, TcpStream)> {
        #[cfg(test)]
        self.dialled.lock().push(addr);
        Ok((addr, TcpStream::connect(self.destination(addr)).await?))
    }

    #[cfg(not(test))]
    fn destination(&self, addr: SocketAddr) -> SocketAddr {
        addr
    }

    #[cfg(test)]
    fn destination(&self, addr: SocketAddr) -> SocketAddr {
        self.redirect.unwrap_or(addr)
    }
}

/// Alternates between the families, beginning with that of the first address (RFC 8305, section 4).
fn interleave(addrs: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v4 = addrs.first().is_some_and(SocketAddr::is_ipv4);
    let (ahead, behind): (Vec<_>, Vec<_>) = addrs.iter().copied().partition(|addr| addr.is_ipv4() == first_is_v4);
    let mut mixed = Vec::with_capacity(addrs.len());
    let (mut ahead, mut behind) = (ahead.into_iter(), behind.into_iter());
    loop {
        let pair = (ahead.next(), behind.next());
        mixed.extend(pair.0);
        mixed.extend(pair.1);
        if pair == (None, None) {
            return mixed;
        }
    }
}

/// Opens TCP connections for the TLS connector.
#[derive(Clone)]
pub(crate) struct Dialer {
    guard: Arc<Guard>,
}

impl Service<Uri> for Dialer {
    type Response = Tcp;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Tcp, DialError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let guard = Arc::clone(&self.guard);
        Box::pin(async move { guard.dial(&uri).await.map(TokioIo::new) })
    }
}

/// [`Dialer`], TLS where the scheme asks for it, and a limit on the time for both.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<Dialer>,
    limit: Duration,
}

impl Connector {
    pub(crate) fn new(guard: Arc<Guard>, tls: Arc<rustls::ClientConfig>, limit: Duration) -> Self {
        let names = Arc::new(hyper_rustls::DefaultServerNameResolver::default());
        Self { https: HttpsConnector::new(Dialer { guard }, tls, false, names), limit }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Tcp>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.limit, self.https.call(uri));
        Box::pin(async move { connecting.await.unwrap_or_else(|_| Err(DialError::TimedOut.into())) })
    }
}
