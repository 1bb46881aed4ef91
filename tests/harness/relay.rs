//! A TCP relay in front of a server, which cuts a connection after so many bytes, or lets none through for a while.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    In,
    /// Back to the client.
    Out,
}

/// Of the next connection that carries bytes this way, this many more pass, and then both ends are reset.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    pub way: Way,
    pub after: usize,
}

#[derive(Debug)]
struct Shared {
    cut: Mutex<Option<Cut>>,
    /// Nothing passes, and nothing is closed: what a partition looks like from both ends.
    still: watch::Sender<bool>,
    /// Changed: every connection is reset.
    reset: watch::Sender<u64>,
}

/// Where connections go; asked for each of them. `None`: nowhere yet.
pub type Target = Arc<dyn Fn() -> Option<SocketAddr> + Send + Sync>;

/// A relay. It serves for the rest of the runtime's life.
#[derive(Debug, Clone)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// # Panics
    /// When no port can be had.
    pub async fn start(target: Target) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { cut: Mutex::new(None), still: watch::Sender::new(false), reset: watch::Sender::new(0) });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay(near, target.clone(), serving.clone()));
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Arms a cut; the last one counts.
    pub fn cut(&self, cut: Cut) {
        *self.shared.cut.lock().unwrap() = Some(cut);
    }

    /// The cut has been made.
    pub fn has_cut(&self) -> bool {
        self.shared.cut.lock().unwrap().is_none()
    }

    /// Resets every connection now.
    pub fn reset(&self) {
        self.shared.reset.send_modify(|times| *times += 1);
    }

    /// For this long no byte passes either way.
    pub async fn stand_still(&self, time: Duration) {
        self.shared.still.send_replace(true);
        tokio::time::sleep(time).await;
        self.shared.still.send_replace(false);
    }
}

async fn relay(mut near: TcpStream, target: Target, shared: Arc<Shared>) {
    // A server that is down looks like one that hangs up.
    let Some(address) = target() else { return };
    let Ok(mut far) = TcpStream::connect(address).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let mut reset = shared.reset.subscribe();
    reset.mark_unchanged();
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    let closed = tokio::select! {
        closed = carry(near_read, far_write, Way::In, &shared) => closed,
        closed = carry(far_read, near_write, Way::Out, &shared) => closed,
        _ = reset.changed() => false,
    };
    if !closed {
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
}

/// Until one end closes (true), or the connection breaks or is cut. An end that closes closes both: nobody here uses half
/// a connection.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, way: Way, shared: &Shared) -> bool {
    let mut still = shared.still.subscribe();
    let mut buffer = vec![0; 1 << 16];
    let mut left: Option<usize> = None;
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) => return true,
            Ok(read) => read,
            Err(_) => return false,
        };
        if still.wait_for(|still| !still).await.is_err() {
            return false;
        }
        left = left.or_else(|| shared.cut.lock().unwrap().take_if(|cut| cut.way == way).map(|cut| cut.after));
        let passed = left.map_or(read, |left| left.min(read));
        if to.write_all(&buffer[..passed]).await.is_err() {
            return false;
        }
        if let Some(left) = &mut left {
            *left -= passed;
            if *left == 0 {
                return false;
            }
        }
    }
}
