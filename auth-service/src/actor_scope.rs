//! Requests of other services are handled on behalf of the actor that they name.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::Request;
use plugboard_core::identity::{ACTOR_METADATA, Actor, on_behalf_of};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

/// A gRPC service whose handlers see who asks. Only callers that the service's own gate lets in are believed.
#[derive(Debug, Clone)]
pub(crate) struct ActorScope<S>(pub S);

impl<S: NamedService> NamedService for ActorScope<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for ActorScope<S>
where
    S: Service<Request<Body>, Error = Infallible> + Send,
    S::Future: Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<S::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Most requests are about no one in particular: checks of keys, looks at accounts.
        if !request.headers().contains_key(ACTOR_METADATA) {
            return Box::pin(self.0.call(request));
        }
        let metadata = MetadataMap::from_headers(request.headers().clone());
        let json = metadata.get_bin(ACTOR_METADATA).and_then(|value| value.to_bytes().ok());
        let actor = json.and_then(|json| serde_json::from_slice::<Actor>(&json).ok()).unwrap_or_default();
        Box::pin(on_behalf_of(actor, self.0.call(request)))
    }
}
