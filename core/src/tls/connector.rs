//! Connections of gRPC clients.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

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
pub struct Connector(Arc<ClientConfig>);

impl Connector {
    pub(super) fn new(config: Arc<ClientConfig>) -> Self {
        Self(config)
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
        let config = self.0.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(HTTPS))).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(TlsConnector::from(config).connect(name, stream).await?))
        })
    }
}

/// Connects when it is first used: by TLS when there is any, in the clear otherwise.
pub fn channel(endpoint: &Endpoint, tls: Option<&ServiceTls>) -> Channel {
    match tls {
        Some(tls) => endpoint.connect_with_connector_lazy(tls.connector()),
        None => endpoint.connect_lazy(),
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
