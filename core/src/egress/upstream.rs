//! The way out as a port, for those whose tests have another world outside.

use futures::future::BoxFuture;

use super::client::Egress;
use super::error::EgressError;
use super::request::EgressRequest;
use super::response::EgressResponse;

/// Makes one outbound call.
///
/// What the request's `sent` flag says holds at every moment: unset, no byte has left. Dropping the future gives the call
/// up; the vendor may act all the same.
pub trait Upstream: Send + Sync + 'static {
    fn send(&self, request: Box<EgressRequest>) -> BoxFuture<'_, Result<EgressResponse, EgressError>>;
}

impl Upstream for Egress {
    fn send(&self, request: Box<EgressRequest>) -> BoxFuture<'_, Result<EgressResponse, EgressError>> {
        Box::pin(self.send(request))
    }
}
