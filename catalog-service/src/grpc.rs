//! The catalog over gRPC.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use plugboard_core::catalog::{MAX_MESSAGE, ManifestDocument};
use plugboard_core::identity::ServiceAuth;
use plugboard_proto::catalog::v1 as wire;
use plugboard_proto::catalog::v1::catalog_server::{Catalog, CatalogServer};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::catalog::{CatalogService, CatalogSnapshot};

/// Serves a [`CatalogService`].
#[derive(Debug)]
pub struct CatalogGrpc {
    catalog: Arc<CatalogService>,
    callers: Option<ServiceAuth>,
    stop: CancellationToken,
}

impl CatalogGrpc {
    /// `callers`: who may ask; without it the listener is trusted (one process). Watching never ends by
    /// itself, so streams are closed when `stop` fires: a drain would wait for them for ever.
    pub fn new(catalog: Arc<CatalogService>, callers: Option<ServiceAuth>, stop: CancellationToken) -> Self {
        Self { catalog, callers, stop }
    }

    /// As a service for a tonic router.
    pub fn into_server(self) -> CatalogServer<Self> {
        CatalogServer::new(self).max_encoding_message_size(MAX_MESSAGE)
    }

    /// Every one of our services may read the catalog.
    #[allow(clippy::result_large_err, reason = "what tonic wants")]
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.callers.as_ref().map_or(Ok(()), |callers| callers.caller(request).map(drop))
    }
}

#[tonic::async_trait]
impl Catalog for CatalogGrpc {
    type WatchStream = BoxStream<'static, Result<wire::Snapshot, Status>>;

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.admit(&request)?;
        let mut have = request.into_inner().have;
        let snapshots = self.catalog.snapshots().filter_map(move |snapshot| {
            let known = std::mem::replace(&mut have, snapshot.digest.clone()) == snapshot.digest;
            std::future::ready((!known).then(|| Ok(to_wire(&snapshot))))
        });
        let stop = self.stop.clone();
        Ok(Response::new(snapshots.take_until(async move { stop.cancelled().await }).boxed()))
    }

    async fn get_manifest(
        &self,
        request: Request<wire::GetManifestRequest>,
    ) -> Result<Response<wire::ManifestDocument>, Status> {
        self.admit(&request)?;
        match self.catalog.document(&request.into_inner().digest) {
            Some(document) => Ok(Response::new(document_to_wire(&document))),
            None => Err(Status::not_found("no manifest has this digest")),
        }
    }
}

fn to_wire(snapshot: &CatalogSnapshot) -> wire::Snapshot {
    wire::Snapshot {
        digest: snapshot.digest.clone(),
        manifests: snapshot.documents.iter().map(document_to_wire).collect(),
    }
}

fn document_to_wire(document: &ManifestDocument) -> wire::ManifestDocument {
    wire::ManifestDocument {
        key: document.key.to_string(),
        digest: document.digest.clone(),
        json: document.json.to_vec(),
    }
}
