//! A listener for browsers and agents, as axum wants it.

use std::io;
use std::net::SocketAddr;

use axum::serve::Listener;
use plugboard_core::tls::{Incoming, Io, Listening};

/// Serves HTTPS where `[tls]` has a public certificate.
pub struct PublicListener(Incoming);

impl PublicListener {
    /// # Errors
    /// When the system does not know the address.
    pub fn new(listening: Listening) -> io::Result<Self> {
        listening.accept().map(Self)
    }
}

impl Listener for PublicListener {
    type Io = Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Io, SocketAddr) {
        self.0.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.address())
    }
}
