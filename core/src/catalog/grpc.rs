//! The catalog in another process.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use plugboard_proto::catalog::v1 as wire;
use sha2::{Digest, Sha256};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use super::{Catalog, CatalogError, ManifestDocument};
use crate::ids::ServiceKey;
use crate::secret::Secret;
use crate::tls::{self, ServiceTls};

/// A whole catalog travels in one message: some megabytes with every built-in connector.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// | what | how long | why |
/// | --- | --- | --- |
/// | connecting | 2 s | a catalog in the same cluster answers in milliseconds |
/// | an answer | 5 s | covers a catalog that is just starting |
/// | keepalive | 5 s + 5 s | a stream to a machine that vanished would wait for ever |
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The [`Catalog`] port over gRPC. Connects when first used, and again after a failure; following the stream after it
/// ended is the business of [`super::CatalogHandle::follow`].
#[derive(Debug, Clone)]
pub struct GrpcCatalog {
    client: wire::catalog_client::CatalogClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl GrpcCatalog {
    /// To `http://host:port`, or `https://` with `tls`, without connecting yet. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the address is malformed, or does not go with `tls`.
    pub fn connect_lazy(url: &str, tls: Option<&ServiceTls>) -> Result<Self, CatalogError> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| CatalogError::Unavailable(format!("{url:?} is no address: {error}")))?
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let scheme = tls::scheme(tls);
        if endpoint.uri().scheme_str() != Some(scheme) {
            return Err(CatalogError::Unavailable(format!("{url:?} is no address here: write {scheme}://host:port")));
        }
        let client = wire::catalog_client::CatalogClient::new(tls::channel(endpoint, CONNECT_TIMEOUT, tls));
        Ok(Self { client: client.max_decoding_message_size(MAX_MESSAGE), authorization: None })
    }

    /// Presents this service token with every request.
    ///
    /// # Errors
    /// When the token cannot stand in a header.
    pub fn with_token(mut self, token: &Secret) -> Result<Self, CatalogError> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.expose())
            .parse()
            .map_err(|_| CatalogError::Unavailable("the service token cannot stand in a header".to_owned()))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// The catalog of this moment, with the digest of all of it: for whoever wants one look.
    ///
    /// # Errors
    /// When the catalog service does not answer in time.
    pub async fn look(&self) -> Result<(String, Vec<ManifestDocument>), CatalogError> {
        let request = self.request(wire::WatchRequest { have: String::new() });
        let mut client = self.client.clone();
        let first = async { client.watch(request).await?.into_inner().message().await };
        let first = tokio::time::timeout(ANSWER_TIMEOUT, first).await.map_err(|_| slow())?;
        let snapshot = first.map_err(|status| unavailable(&status))?;
        let snapshot = snapshot.ok_or_else(|| CatalogError::Unavailable("it sent nothing".to_owned()))?;
        Ok((snapshot.digest, snapshot.manifests.into_iter().filter_map(accept).collect()))
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

#[async_trait]
impl Catalog for GrpcCatalog {
    async fn watch(&self) -> Result<BoxStream<'static, Vec<ManifestDocument>>, CatalogError> {
        // Whoever watches anew is owed the whole catalog, so nothing is said about what this process already has.
        let request = self.request(wire::WatchRequest { have: String::new() });
        let mut client = self.client.clone();
        let opened = tokio::time::timeout(ANSWER_TIMEOUT, client.watch(request)).await;
        let stream = opened.map_err(|_| slow())?.map_err(|status| unavailable(&status))?.into_inner();
        let documents = stream.map(|received| match received {
            Ok(snapshot) => Some(snapshot.manifests.into_iter().filter_map(accept).collect()),
            Err(status) => {
                tracing::warn!(code = ?status.code(), "the catalog's stream ended: {}", status.message());
                None
            }
        });
        Ok(documents
            .take_while(|documents| std::future::ready(documents.is_some()))
            .filter_map(std::future::ready)
            .boxed())
    }

    async fn by_digest(&self, digest: &str) -> Result<Option<ManifestDocument>, CatalogError> {
        let request = self.request(wire::GetManifestRequest { digest: digest.to_owned() });
        let mut client = self.client.clone();
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, client.get_manifest(request)).await;
        match answered.map_err(|_| slow())? {
            Ok(document) => Ok(accept(document.into_inner())),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
            Err(status) => Err(unavailable(&status)),
        }
    }
}

/// Takes a document that is what it says it is: jobs pin digests, so a wrong one must not get in.
fn accept(document: wire::ManifestDocument) -> Option<ManifestDocument> {
    let Some(key) = ServiceKey::parse(&document.key) else {
        tracing::error!(key = document.key, "the catalog sent a manifest with an impossible key; it is left out");
        return None;
    };
    if hex::encode(Sha256::digest(&document.json)) != document.digest {
        tracing::error!(key = document.key, "the catalog sent a manifest with a wrong digest; it is left out");
        return None;
    }
    Some(ManifestDocument { key, digest: document.digest, json: document.json.into() })
}

fn slow() -> CatalogError {
    CatalogError::Unavailable(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))
}

fn unavailable(status: &tonic::Status) -> CatalogError {
    CatalogError::Unavailable(format!("{:?}: {}", status.code(), tls::reason(status)))
}
