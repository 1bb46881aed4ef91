//! The request's body, which knows when it begins to leave.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Whether a byte of a request may have left.
///
/// It is set when the HTTP layer takes the request to encode it, a moment before the first write: it may
/// be set without need, never left unset wrongly. One flag for one request: it is never reset.
#[derive(Clone, Debug, Default)]
pub struct SentFlag(Arc<AtomicBool>);

impl SentFlag {
    /// True when a byte may have left.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// From now on a byte may have left. For whoever makes the call.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A body of known length in one piece, or none.
///
/// hyper asks `is_end_stream` exactly when it encodes a request's head (both for HTTP/1.1 and HTTP/2), and
/// hands requests that it did not get to encode back untouched. That is what makes the flag exact.
pub(crate) struct SendBody {
    data: Option<Bytes>,
    sent: SentFlag,
}

impl SendBody {
    pub(crate) fn new(data: Option<Bytes>, sent: SentFlag) -> Self {
        Self { data: data.filter(|data| !data.is_empty()), sent }
    }
}

impl Body for SendBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.sent.set();
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent.set();
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
