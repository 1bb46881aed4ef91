//! A collector of traces that counts them: what is measured exports its spans as it would in production.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Serves for the rest of the run.
pub struct Collector {
    url: String,
    spans: Arc<AtomicU64>,
}

impl Collector {
    /// # Errors
    /// When there is no port to listen at.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let spans = Arc::new(AtomicU64::new(0));
        let desk = TraceServiceServer::new(Desk(spans.clone()));
        let serving = tonic::transport::Server::builder().add_service(desk);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Self { url, spans })
    }

    /// Environment of whatever is to export here; everything else about traces is as by default.
    pub fn settings(&self) -> [(&str, &str); 1] {
        [("PLUGBOARD_TELEMETRY__OTLP_ENDPOINT", self.url.as_str())]
    }

    /// How many spans have come.
    pub fn spans(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }
}

struct Desk(Arc<AtomicU64>);

#[tonic::async_trait]
impl TraceService for Desk {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let of_scopes = request.get_ref().resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        self.0.fetch_add(of_scopes.map(|scope| scope.spans.len() as u64).sum(), Ordering::Relaxed);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
