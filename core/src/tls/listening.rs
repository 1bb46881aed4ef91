//! A listener, with TLS or without, and who is at its other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::names::Roles;
use super::public::PublicTls;
use super::services::ServiceTls;

/// Whoever takes longer is no client of ours.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once: they cost, and others wait in the kernel.
const HANDSHAKES: usize = 256;
/// After the system refused to accept: it has too many files open, mostly.
const REST: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection, as far as the connection itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// No certificate was asked for.
    Unproven,
    /// The holder of a certificate of our CA.
    Certified(Roles),
}

/// What is asked of whoever connects.
#[derive(Clone)]
enum Guard {
    Services(Box<ServiceTls>),
    Public(PublicTls),
}

/// A bound address.
pub struct Listening {
    listener: TcpListener,
    /// `None`: nothing is asked.
    guard: Option<Guard>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listening").field(&self.listener).finish()
    }
}

impl Listening {
    /// For services of ours.
    pub fn to_services(listener: TcpListener, tls: Option<&ServiceTls>) -> Self {
        Self { listener, guard: tls.map(|tls| Guard::Services(Box::new(tls.clone()))) }
    }

    /// For everybody.
    pub fn to_public(listener: TcpListener, tls: Option<&PublicTls>) -> Self {
        Self { listener, guard: tls.cloned().map(Guard::Public) }
    }

    /// A second one at the same address; each connection goes to either.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn share(&self) -> io::Result<Self> {
        use std::os::fd::AsFd;
        let listener = std::net::TcpListener::from(self.listener.as_fd().try_clone_to_owned()?);
        Ok(Self { listener: TcpListener::from_std(listener)?, guard: self.guard.clone() })
    }

    /// # Errors
    /// When the system does not know.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Begins to accept. Handshakes are made beside each other: one that stalls holds up nobody.
    ///
    /// # Errors
    /// When the system does not know the address.
    pub fn accept(self) -> io::Result<Incoming> {
        let address = self.local_addr()?;
        let Some(guard) = self.guard else {
            return Ok(Incoming { address, origin: Origin::Plain(self.listener) });
        };
        let (done, accepted) = mpsc::channel(1);
        tokio::spawn(accept_all(self.listener, guard, done));
        Ok(Incoming { address, origin: Origin::Tls(accepted) })
    }
}

/// Connections that were accepted, and proven where that is asked for.
pub struct Incoming {
    address: SocketAddr,
    origin: Origin,
}

enum Origin {
    Plain(TcpListener),
    Tls(mpsc::Receiver<(Io, SocketAddr)>),
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Incoming").field(&self.address).finish()
    }
}

impl Incoming {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next one; waits for ever when there is none.
    pub async fn next(&mut self) -> (Io, SocketAddr) {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Io, SocketAddr)> {
        match &mut self.origin {
            Origin::Tls(accepted) => match accepted.poll_recv(context) {
                Poll::Ready(Some(accepted)) => Poll::Ready(accepted),
                // The task ends only with its runtime.
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            },
            Origin::Plain(listener) => loop {
                match listener.poll_accept(context) {
                    Poll::Ready(Ok((stream, from))) => return Poll::Ready((Io::plain(stream), from)),
                    Poll::Ready(Err(error)) if is_the_callers(&error) => {}
                    Poll::Ready(Err(error)) => {
                        tracing::error!(%error, "a connection could not be accepted");
                        let waker = context.waker().clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(REST).await;
                            waker.wake();
                        });
                        return Poll::Pending;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            },
        }
    }
}

/// For tonic.
impl Stream for Incoming {
    type Item = io::Result<Io>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context).map(|(io, _)| Some(Ok(io)))
    }
}

/// Whether it is the caller who has gone, and not this machine that cannot.
fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn accept_all(listener: TcpListener, guard: Guard, done: mpsc::Sender<(Io, SocketAddr)>) {
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = done.closed() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_callers(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let (guard, done) = (guard.clone(), done.clone());
        tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(HANDSHAKE, guard.prove(stream)).await {
                // Nobody takes it any more: the listener was closed.
                Ok(Ok(io)) => drop(done.send((io, from)).await),
                Ok(Err(error)) => guard.refused(from, &error),
                Err(_) => guard.refused(from, &io::ErrorKind::TimedOut.into()),
            }
        });
    }
}

async fn handshake(config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    TlsAcceptor::from(config).accept(stream).await
}

impl Guard {
    async fn prove(&self, stream: TcpStream) -> io::Result<Io> {
        stream.set_nodelay(true)?;
        let (stream, peer) = match self {
            Self::Public(tls) => (handshake(tls.server(), stream).await?, Peer::Unproven),
            Self::Services(tls) => {
                let stream = handshake(tls.server(), stream).await?;
                let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                // The handshake fails without one.
                let certificate = certificate.ok_or(io::ErrorKind::PermissionDenied)?;
                let peer = Peer::Certified(tls.roles_of(certificate));
                (stream, peer)
            }
        };
        Ok(Io { stream: Wire::Tls(Box::new(stream)), peer })
    }

    /// Among services it is somebody's mistake or an attack; in public it is every other scanner.
    fn refused(&self, from: SocketAddr, error: &io::Error) {
        match self {
            Self::Services(_) => tracing::warn!(%from, %error, "a connection was refused: its TLS handshake failed"),
            Self::Public(_) => tracing::debug!(%from, %error, "a TLS handshake failed"),
        }
    }
}

/// A connection.
pub struct Io {
    stream: Wire,
    peer: Peer,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// As it was accepted.
    pub fn plain(stream: TcpStream) -> Self {
        Self { stream: Wire::Plain(stream), peer: Peer::Unproven }
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Io").field(&self.peer).finish()
    }
}

impl Connected for Io {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
