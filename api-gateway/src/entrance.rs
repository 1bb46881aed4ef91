//! Where connections come in, and who serves them.

use std::io;
use std::net::SocketAddr;

use axum::serve::Listener;
use futures::FutureExt;
use futures::future::select_all;
use plugboard_core::event_loops::EventLoops;
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::tls::Io;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

/// Connections on their way to one event loop. One that is held up gets no more than these meanwhile.
const ON_THE_WAY: usize = 4;

/// A listener, and the runtime on which its connections are served.
#[derive(Debug)]
pub struct Entrance<L> {
    pub(crate) listener: L,
    pub(crate) runtime: Handle,
}

impl<L> Entrance<L> {
    /// Served by the runtime that this is called on.
    pub fn here(listener: L) -> Self {
        Self { listener, runtime: Handle::current() }
    }
}

impl Entrance<Dealt> {
    /// One for each event loop; connections go to each in turn.
    ///
    /// # Errors
    /// When the listener's address is not known.
    pub fn dealt(listener: TcpListener, loops: &EventLoops, life: &Lifecycle) -> io::Result<Vec<Self>> {
        let address = listener.local_addr()?;
        let mut hands = Vec::new();
        let mut entrances = Vec::new();
        for runtime in loops.handles() {
            let (hand, streams) = mpsc::channel(ON_THE_WAY);
            hands.push(hand);
            entrances.push(Self { listener: Dealt { streams, address }, runtime: runtime.clone() });
        }
        life.supervise("accepting", deal(listener, hands, life.stopping()));
        Ok(entrances)
    }
}

type Hand = mpsc::Sender<(std::net::TcpStream, SocketAddr)>;

async fn deal(mut listener: TcpListener, mut hands: Vec<Hand>, stop: CancellationToken) {
    while let Some((stream, from)) = stop.run_until_cancelled(Listener::accept(&mut listener)).await {
        // Small answers would wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        match stream.into_std() {
            Ok(stream) => hand_out(&mut hands, (stream, from)).await,
            Err(error) => tracing::warn!(%error, "a connection could not be served"),
        }
    }
}

/// To the next that has room.
async fn hand_out(hands: &mut [Hand], mut connection: (std::net::TcpStream, SocketAddr)) {
    for _ in 0..hands.len() {
        let sent = hands[0].try_send(connection);
        hands.rotate_left(1);
        match sent {
            Ok(()) => return,
            Err(TrySendError::Full(back) | TrySendError::Closed(back)) => connection = back,
        }
    }
    let (free, ..) = select_all(hands.iter().map(|hand| hand.reserve().boxed())).await;
    // Closed, at a stop: then the connection ends here.
    if let Ok(free) = free {
        free.send(connection);
    }
}

/// What one event loop gets of a listener.
#[derive(Debug)]
pub struct Dealt {
    streams: mpsc::Receiver<(std::net::TcpStream, SocketAddr)>,
    address: SocketAddr,
}

impl Listener for Dealt {
    /// The same as of a listener that speaks TLS, so that the server is not compiled twice.
    type Io = Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Io, SocketAddr) {
        while let Some((stream, from)) = self.streams.recv().await {
            match TcpStream::from_std(stream) {
                Ok(stream) => return (Io::plain(stream), from),
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
        }
        // Nothing is dealt any more, which the server is told by its own signal.
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn each_event_loop_gets_its_part() {
        let (loops, life) = (EventLoops::start(3).unwrap(), Lifecycle::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut entrances = Entrance::dealt(listener, &loops, &life).unwrap();
        let mut served = Vec::new();
        for _ in 0..2 {
            for entrance in &mut entrances {
                let client = TcpStream::connect(address).await.unwrap();
                let accepted = tokio::time::timeout(Duration::from_secs(10), entrance.listener.accept()).await;
                let (stream, from) = accepted.expect("it is this one's turn");
                assert_eq!(from, client.local_addr().unwrap());
                served.push((client, stream));
            }
        }
        life.stop();
        life.run_until_stopped(Duration::from_secs(5)).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
    }

    #[tokio::test]
    async fn who_is_held_up_gets_no_more_than_fits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (held_up, _full) = mpsc::channel(1);
        let (free, mut streams) = mpsc::channel(8);
        let mut hands = vec![held_up, free];
        for _ in 0..5 {
            let _client = TcpStream::connect(address).await.unwrap();
            let (stream, from) = listener.accept().await.unwrap();
            hand_out(&mut hands, (stream.into_std().unwrap(), from)).await;
        }
        let free = std::iter::from_fn(|| streams.try_recv().ok()).count();
        assert_eq!(free, 4);
    }
}
