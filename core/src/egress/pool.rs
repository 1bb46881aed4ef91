//! Connections, kept for the next call.
//!
//! A connection of HTTP/1.1 carries one call at a time and is driven by that call itself: with no task of its own
//! between them, a call is not handed to another thread and back. While it rests nobody drives it; whoever takes it
//! looks first whether it has ended. A connection of HTTP/2 is shared by calls and has a task.
//!
//! Each event loop has connections of its own: who uses another's is woken by that one's thread.
//!
//! The only repeat is of a request that came back untouched, because its connection had ended before the first byte.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use hashbrown::HashMap;
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri, response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_service::Service as _;

use super::body::SendBody;
use super::connect::Connector;
use super::error::BoxError;
use super::response::{MAX_HEADER_BYTES, MAX_HEADERS};
use crate::event_loops;

/// Resting connections kept for one host by one event loop.
const MAX_IDLE: usize = 512;
/// What has rested for so long in one event loop may be used by another that has none. Few calls are made then, and to be woken
/// by another thread is cheaper than a handshake. Otherwise the other one makes a connection for itself, and has it from then on.
const LENT_AFTER: Duration = Duration::from_millis(50);
/// Longest time between two looks for connections that have rested too long.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
/// `scheme://host[:port]`, as written in addresses.
type Origin = Arc<str>;

/// One set of connections. Clones share it.
#[derive(Clone)]
pub(super) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Connector,
    /// Longest rest of a connection before it may not be used again.
    idle: Duration,
    /// By [number of the event loop](event_loops::current).
    shelves: [Mutex<Shelf>; event_loops::MOST + 1],
}

/// The connections of one event loop, or of everything that runs on none.
#[derive(Default)]
struct Shelf {
    hosts: HashMap<Origin, Host>,
    sweeping: bool,
}

#[derive(Default)]
struct Host {
    /// The one that was used last is taken first, so that those beyond need may end.
    resting: Vec<(Instant, Box<Line>)>,
    shared: Option<Shared>,
    /// Held while dialling a host that speaks HTTP/2: one connection is enough for all who wait.
    dialling: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl Host {
    fn is_empty(&self) -> bool {
        self.resting.is_empty() && self.shared.is_none()
    }
}

/// An HTTP/2 connection.
#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<SendBody>,
    remote: Option<SocketAddr>,
    used: Instant,
}

/// An HTTP/1.1 connection.
struct Line {
    origin: Origin,
    /// The event loop on which it was made.
    event_loop: usize,
    sender: http1::SendRequest<SendBody>,
    /// `None` once it has ended.
    connection: Option<Pin<Box<http1::Connection<Stream, SendBody>>>>,
    remote: Option<SocketAddr>,
}

impl Line {
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(cx).is_ready()
        {
            self.connection = None;
        }
    }

    /// Drives it once; whether it takes a request.
    fn is_free(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        self.connection.is_some() && self.sender.is_ready()
    }

    async fn exchange(&mut self, request: Request<SendBody>) -> Result<http::Response<Incoming>, Failure> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        poll_fn(|cx| {
            if let Some(driven) = connection
                && driven.as_mut().poll(cx).is_ready()
            {
                *connection = None;
            }
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(Failure::of)
    }
}

/// Why there is no answer, and the request if it was not begun.
struct Failure {
    untouched: Option<Box<Request<SendBody>>>,
    error: hyper::Error,
}

impl Failure {
    fn of(mut failure: hyper::client::conn::TrySendError<Request<SendBody>>) -> Self {
        Self { untouched: failure.take_message().map(Box::new), error: failure.into_error() }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PoolError {
    #[error("no connection could be made")]
    Connect(#[source] BoxError),
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
}

impl PoolError {
    pub(super) fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }
}

/// An answer whose body is yet to be read.
pub(super) struct PoolAnswer {
    pub(super) head: response::Parts,
    pub(super) remote: Option<SocketAddr>,
    pub(super) body: AnswerBody,
}

impl Pool {
    pub(super) fn new(connector: Connector, idle: Duration) -> Self {
        let shelves = std::array::from_fn(|_| Mutex::default());
        Self { inner: Arc::new(Inner { connector, idle, shelves }) }
    }

    /// Sends a request with an absolute address that begins with `origin`.
    pub(super) async fn send(&self, origin: &str, mut request: Request<SendBody>) -> Result<PoolAnswer, PoolError> {
        let uri = request.uri().clone();
        loop {
            let (kept, rested) = match self.inner.take(origin).await {
                Some(kept) => (kept, true),
                // Boxed: it is rare, and its handshakes would make every call's future ten times as large.
                None => Box::pin(self.inner.dial(origin, &uri)).await?,
            };
            let failure = match kept {
                Kept::Line(mut line) => {
                    for_http1(&mut request, &uri);
                    match line.exchange(request).await {
                        Ok(answer) => return Ok(self.answer(answer, line)),
                        Err(failure) => failure,
                    }
                }
                Kept::Shared(mut shared) => {
                    for_http2(&mut request, &uri);
                    match shared.sender.try_send_request(request).await {
                        Ok(answer) => {
                            let (head, body) = answer.into_parts();
                            return Ok(PoolAnswer { head, remote: shared.remote, body: AnswerBody::shared(body) });
                        }
                        Err(failure) => Failure::of(failure),
                    }
                }
            };
            match failure.untouched {
                Some(untouched) if rested => request = *untouched,
                _ => return Err(PoolError::Broken(failure.error)),
            }
        }
    }

    fn answer(&self, answer: http::Response<Incoming>, line: Box<Line>) -> PoolAnswer {
        let (head, body) = answer.into_parts();
        let remote = line.remote;
        let home = Home { line, pool: Arc::downgrade(&self.inner) };
        PoolAnswer { head, remote, body: AnswerBody { body, home: Some(home) } }
    }
}

/// Of a shelf.
#[derive(Clone, Copy)]
enum Owner {
    Me,
    Another,
}

impl Owner {
    /// Whether what was used then may be used by me now.
    fn gives(self, used: Instant, now: Instant) -> bool {
        match self {
            Self::Me => true,
            Self::Another => now.saturating_duration_since(used) >= LENT_AFTER,
        }
    }
}

enum Kept {
    Line(Box<Line>),
    Shared(Shared),
}

impl Inner {
    /// A connection that is alive as far as can be seen.
    async fn take(&self, origin: &str) -> Option<Kept> {
        let here = event_loops::current();
        if let Some(kept) = self.take_from(here, origin, Owner::Me).await {
            return Some(kept);
        }
        for other in (0..self.shelves.len()).filter(|other| *other != here) {
            if let Some(kept) = self.take_from(other, origin, Owner::Another).await {
                return Some(kept);
            }
        }
        None
    }

    /// The one that was used last, of those that this event loop may use.
    async fn take_from(&self, event_loop: usize, origin: &str, owner: Owner) -> Option<Kept> {
        loop {
            let line = {
                let mut shelf = self.shelves[event_loop].lock();
                let host = shelf.hosts.get_mut(origin)?;
                let now = Instant::now();
                if let Some(shared) = &mut host.shared {
                    let usable = shared.sender.is_ready() && now.saturating_duration_since(shared.used) < self.idle;
                    if usable && owner.gives(shared.used, now) {
                        shared.used = now;
                        return Some(Kept::Shared(shared.clone()));
                    }
                    if !usable {
                        host.shared = None;
                    }
                }
                // Those below rested longer.
                let may_be_used = host.resting.partition_point(|(since, _)| owner.gives(*since, now));
                let (since, line) = host.resting.remove(may_be_used.checked_sub(1)?);
                if now.saturating_duration_since(since) >= self.idle {
                    host.resting.drain(..may_be_used - 1);
                    return None;
                }
                line
            };
            let mut line = line;
            if poll_fn(|cx| Poll::Ready(line.is_free(cx))).await {
                return Some(Kept::Line(line));
            }
        }
    }

    /// A new connection; or, of a host that speaks HTTP/2, the one that somebody else has made meanwhile, with `true`.
    async fn dial(self: &Arc<Self>, origin: &str, uri: &Uri) -> Result<(Kept, bool), PoolError> {
        let event_loop = event_loops::current();
        let shelf = &self.shelves[event_loop];
        let dialling = shelf.lock().hosts.get(origin).and_then(|host| host.dialling.clone());
        let _turn = match &dialling {
            Some(dialling) => {
                let turn = dialling.lock().await;
                if let Some(kept) = self.take(origin).await {
                    return Ok((kept, true));
                }
                Some(turn)
            }
            None => None,
        };
        let stream = self.connector.clone().call(uri.clone()).await.map_err(PoolError::Connect)?;
        let remote = peer_of(&stream);
        if !stream.connected().is_negotiated_h2() {
            let (sender, connection) = http1::Builder::new()
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HEADER_BYTES)
                .handshake(stream)
                .await
                .map_err(|error| PoolError::Connect(error.into()))?;
            let connection = Some(Box::pin(connection));
            let line = Line { origin: origin.into(), event_loop, sender, connection, remote };
            return Ok((Kept::Line(Box::new(line)), false));
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_BYTES as u32)
            .handshake(stream)
            .await
            .map_err(|error| PoolError::Connect(error.into()))?;
        // It ends with its last sender; what went wrong is told to the calls it carried.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let shared = Shared { sender, remote, used: Instant::now() };
        let mut shelf = shelf.lock();
        let host = shelf.hosts.entry(origin.into()).or_default();
        host.dialling.get_or_insert_default();
        host.shared = Some(shared.clone());
        self.keep_swept(event_loop, &mut shelf);
        Ok((Kept::Shared(shared), false))
    }

    fn rest(self: &Arc<Self>, line: Box<Line>) {
        let event_loop = line.event_loop;
        let mut shelf = self.shelves[event_loop].lock();
        let host = match shelf.hosts.get_mut(&line.origin) {
            Some(host) => host,
            None => shelf.hosts.entry(line.origin.clone()).or_default(),
        };
        if host.resting.len() >= MAX_IDLE {
            return;
        }
        host.resting.push((Instant::now(), line));
        self.keep_swept(event_loop, &mut shelf);
    }

    /// For a shelf on which something lies.
    fn keep_swept(self: &Arc<Self>, event_loop: usize, shelf: &mut Shelf) {
        if !std::mem::replace(&mut shelf.sweeping, true) {
            tokio::spawn(sweep(Arc::downgrade(self), event_loop));
        }
    }

    /// Ends what has rested too long. `false`: nothing is left.
    fn sweep(&self, event_loop: usize) -> bool {
        let mut shelf = self.shelves[event_loop].lock();
        for host in shelf.hosts.values_mut() {
            let young = host.resting.iter().position(|(since, _)| since.elapsed() < self.idle);
            host.resting.drain(..young.unwrap_or(host.resting.len()));
            host.shared.take_if(|shared| shared.sender.is_closed() || shared.used.elapsed() >= self.idle);
        }
        shelf.hosts.retain(|_, host| !host.is_empty());
        shelf.sweeping = !shelf.hosts.is_empty();
        shelf.sweeping
    }
}

/// Runs while something rests, so that an unused pool costs nothing.
async fn sweep(pool: Weak<Inner>, event_loop: usize) {
    loop {
        let Some(idle) = pool.upgrade().map(|pool| pool.idle) else { return };
        tokio::time::sleep(idle.min(SWEEP_EVERY)).await;
        if !pool.upgrade().is_some_and(|pool| pool.sweep(event_loop)) {
            return;
        }
    }
}

/// The connection that an answer arrives on, and where it belongs afterwards.
struct Home {
    line: Box<Line>,
    pool: Weak<Inner>,
}

/// An answer's body. Reading it drives its connection; once it is read to the end the connection rests. Dropped before,
/// the connection ends with it.
pub(crate) struct AnswerBody {
    body: Incoming,
    home: Option<Home>,
}

impl AnswerBody {
    fn shared(body: Incoming) -> Self {
        Self { body, home: None }
    }

    fn go_home(&mut self, cx: &mut Context<'_>) {
        if let Some(mut home) = self.home.take()
            && home.line.is_free(cx)
            && let Some(pool) = home.pool.upgrade()
        {
            pool.rest(home.line);
        }
    }
}

impl Body for AnswerBody {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending()
            && let Some(home) = &mut self.home
        {
            home.line.drive(cx);
            frame = Pin::new(&mut self.body).poll_frame(cx);
        }
        if let Poll::Ready(None) = frame {
            self.go_home(cx);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn peer_of(stream: &Stream) -> Option<SocketAddr> {
    let tcp = match stream {
        MaybeHttpsStream::Http(tcp) => tcp.inner(),
        MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner(),
    };
    tcp.peer_addr().ok()
}

/// The path alone stands in the request line, the host in a header (RFC 9112, section 3.2.1).
fn for_http1(request: &mut Request<SendBody>, uri: &Uri) {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    if let Some(host) = host_header(uri) {
        request.headers_mut().insert(HOST, host);
    }
}

/// The address is split into pseudo-headers (RFC 9113, section 8.3.1).
fn for_http2(request: &mut Request<SendBody>, uri: &Uri) {
    *request.uri_mut() = uri.clone();
    request.headers_mut().remove(HOST);
}

/// The port is named only where it is not the scheme's own.
fn host_header(uri: &Uri) -> Option<HeaderValue> {
    let usual = if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
    match uri.port_u16() {
        Some(port) if port == usual => HeaderValue::from_str(uri.host()?).ok(),
        _ => HeaderValue::from_str(uri.authority()?.as_str()).ok(),
    }
}
