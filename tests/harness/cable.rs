//! A TCP relay in front of a server: the cable that a test pulls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Relays connections of `address` to a server. Dropping it cuts every connection and refuses new ones.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    connections: Arc<Mutex<JoinSet<()>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Cable {
    /// Listens on a port of the system's choice.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let accepting = tokio::spawn(accept(listener, target.clone(), connections.clone()));
        Self { address, target, connections, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection. New ones are still accepted.
    pub fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }

    /// From now on, new connections go there.
    pub fn point_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: Arc<Mutex<SocketAddr>>, connections: Arc<Mutex<JoinSet<()>>>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let target = *target.lock().unwrap();
        connections.lock().unwrap().spawn(async move {
            // A server that is down looks like one that hangs up.
            let Ok(mut far) = TcpStream::connect(target).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}
