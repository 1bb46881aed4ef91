//! A collector of traces: OTLP over gRPC, as exporters speak it.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// One span as it came, ids in hexadecimal.
#[derive(Debug, Clone)]
pub struct Span {
    /// `service.name` of its process.
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty where there is none.
    pub parent: String,
    pub failed: bool,
    pub attributes: Vec<(String, String)>,
}

/// A running collector. It serves for the rest of the test binary's life.
#[derive(Debug, Clone)]
pub struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::new(Mutex::new(Vec::new()));
        let service = TraceServiceServer::new(Desk(spans.clone()));
        let serving = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { url, spans }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What came of this trace so far.
    pub fn of_trace(&self, trace: &str) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.trace == trace).cloned().collect()
    }

    pub fn all(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

struct Desk(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Desk {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_process in request.into_inner().resource_spans {
            let resource = of_process.resource.unwrap_or_default();
            let name = resource.attributes.iter().find(|one| one.key == "service.name");
            let service = name.map(|one| text(one.value.as_ref().and_then(|value| value.value.as_ref())));
            let spans = of_process.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| Span {
                service: service.clone().unwrap_or_default(),
                name: span.name,
                trace: hex::encode(span.trace_id),
                id: hex::encode(span.span_id),
                parent: hex::encode(span.parent_span_id),
                failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
                attributes: span
                    .attributes
                    .iter()
                    .map(|one| (one.key.clone(), text(one.value.as_ref().and_then(|value| value.value.as_ref()))))
                    .collect(),
            });
            self.0.lock().unwrap().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
