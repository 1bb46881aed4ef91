//! What a request meets first: MCP, where nearly all of them go, without a detour through the table of routes. Everything else
//! is done aside: pages and lists of a whole catalog take their time, and one connection of HTTP/2 may carry many calls.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use plugboard_core::event_loops;
use tower_service::Service;

use crate::mcp::{McpEndpoint, PATH, ToolServer};

pub(crate) struct Front<S> {
    mcp: Arc<McpEndpoint<S>>,
    /// Knows `/mcp` as well, for what is written a little differently.
    router: Router,
}

impl<S> Front<S> {
    pub(crate) fn new(mcp: Arc<McpEndpoint<S>>, router: Router) -> Self {
        Self { mcp, router }
    }
}

impl<S> Clone for Front<S> {
    fn clone(&self) -> Self {
        Self { mcp: self.mcp.clone(), router: self.router.clone() }
    }
}

impl<S: ToolServer> Service<Request<Body>> for Front<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Router as Service<Request<Body>>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match request.uri().path() {
            PATH => self.mcp.clone().handle(request).map(Ok).boxed(),
            _ => event_loops::aside(self.router.call(request).boxed()).boxed(),
        }
    }
}
