//! Connections of gRPC clients.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::services::ServiceTls;

/// Where a port is not said.
const HTTPS: u16 = 443;

/// Connects to an `https` address and checks that its name is the server's.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    within: Duration,
}

impl Connector {
    /// `within`: for the connection and the handshake together.
    pub(super) fn new(config: Arc<ClientConfig>, within: Duration) -> Self {
        Self { config, within }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { config, within } = self.clone();
        let connecting = async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(HTTPS))).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(TlsConnector::from(config).connect(name, stream).await?))
        };
        Box::pin(async move {
            tokio::time::timeout(within, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }
}

/// Connects when it is first used, `within` this time: by TLS when there is any, in the clear otherwise.
pub fn channel(endpoint: Endpoint, within: Duration, tls: Option<&ServiceTls>) -> Channel {
    match tls {
        // Limited by the connector: a limit of the endpoint's would make an error of which nobody could tell any more that
        // the connection never came to be.
        Some(tls) => endpoint.connect_with_connector_lazy(tls.connector(within)),
        None => endpoint.connect_timeout(within).connect_lazy(),
    }
}

/// What a failure comes from: of a connection that was never made, why not.
pub(crate) fn reason(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

/// The scheme of our services' addresses.
pub(crate) fn scheme(tls: Option<&ServiceTls>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}
