//! One JSON-RPC message on its way out, in the pieces it is made of.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// A message. What many answers share is not copied into each.
#[derive(Debug)]
pub(super) struct Message {
    head: Vec<u8>,
    rest: Option<(Bytes, Vec<u8>)>,
}

impl From<Vec<u8>> for Message {
    fn from(whole: Vec<u8>) -> Self {
        Self { head: whole, rest: None }
    }
}

impl Message {
    pub(super) fn around(head: Vec<u8>, shared: Bytes, tail: Vec<u8>) -> Self {
        Self { head, rest: Some((shared, tail)) }
    }

    /// In one piece.
    pub(super) fn joined(self) -> Vec<u8> {
        let mut whole = self.head;
        if let Some((shared, tail)) = self.rest {
            whole.extend_from_slice(&shared);
            whole.extend_from_slice(&tail);
        }
        whole
    }

    pub(super) fn into_body(self) -> Body {
        match self.rest {
            None => Body::from(self.head),
            Some((shared, tail)) => Body::new(Pieces([Some(self.head.into()), Some(shared), Some(tail.into())])),
        }
    }
}

/// Of known length, so that it is sent with `Content-Length`.
struct Pieces([Option<Bytes>; 3]);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.iter_mut().find_map(Option::take);
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().flatten().map(|piece| piece.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn the_same_in_one_piece_and_in_three() {
        let message = || Message::around(b"{\"a\":".to_vec(), Bytes::from_static(b"[1,2]"), b"}".to_vec());
        assert_eq!(message().joined(), b"{\"a\":[1,2]}");
        let body = message().into_body();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(11), false));
        assert_eq!(body.collect().await.unwrap().to_bytes(), message().joined());
        let whole = Message::from(b"{}".to_vec());
        assert_eq!(whole.into_body().collect().await.unwrap().to_bytes(), "{}");
    }
}
