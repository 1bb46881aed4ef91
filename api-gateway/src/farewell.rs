//! Telling clients that keep a connection open that this gateway is about to stop.
//!
//! A listener that closes an idle connection races with the request that a client is sending on it, and a client cannot
//! know whether that request was read. So from the moment a stop is asked for every answer over HTTP/1 says
//! `connection: close`: whoever is in use goes elsewhere by itself before the listener closes. HTTP/2 has GOAWAY, which
//! names the last request that was taken, and needs none of this.

use std::task::{Context, Poll};

use futures::TryFutureExt;
use futures::future::MapOk;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

#[derive(Debug, Clone)]
pub(crate) struct Farewell<S> {
    inner: S,
    leaving: CancellationToken,
}

impl<S> Farewell<S> {
    pub(crate) fn new(inner: S, leaving: CancellationToken) -> Self {
        Self { inner, leaving }
    }
}

impl<S, B, R> Service<Request<B>> for Farewell<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = MapOk<S::Future, fn(Response<R>) -> Response<R>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let last = request.version() < Version::HTTP_2 && self.leaving.is_cancelled();
        self.inner.call(request).map_ok(if last { closing } else { std::convert::identity })
    }
}

fn closing<R>(mut response: Response<R>) -> Response<R> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn connection(version: Version, leaving: &CancellationToken) -> Option<HeaderValue> {
        let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
        let mut request = Request::new(());
        *request.version_mut() = version;
        let response = Farewell::new(inner, leaving.clone()).oneshot(request).await.unwrap();
        response.headers().get(CONNECTION).cloned()
    }

    #[tokio::test]
    async fn from_the_stop_on_connections_are_not_kept() {
        let leaving = CancellationToken::new();
        assert_eq!(connection(Version::HTTP_11, &leaving).await, None);
        leaving.cancel();
        assert_eq!(connection(Version::HTTP_11, &leaving).await.unwrap(), "close");
        assert_eq!(connection(Version::HTTP_2, &leaving).await, None, "no header of HTTP/2");
    }
}
