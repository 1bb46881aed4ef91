//! What came back: whole, or piece by piece.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};

use super::error::EgressError;
use super::reader::BodyReader;

/// Most header fields of an answer.
pub const MAX_HEADERS: usize = 100;
/// Most bytes of an answer's status line and headers.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Status and headers of an answer.
#[derive(Clone)]
pub struct AnswerHead {
    /// The status, whatever it is: 3xx, 4xx and 5xx are answers, not errors. Redirects are not followed.
    pub status: StatusCode,
    /// Headers as they came; `Content-Encoding` and `Content-Length` are gone where the body was decoded.
    pub headers: HeaderMap,
}

/// A complete answer.
#[derive(Clone)]
pub struct EgressResponse {
    /// The status, whatever it is: 3xx, 4xx and 5xx are answers, not errors. Redirects are not followed.
    pub status: StatusCode,
    /// The protocol that was spoken.
    pub version: Version,
    /// Headers as they came; `Content-Encoding` and `Content-Length` are gone where the body was decoded.
    pub headers: HeaderMap,
    /// The body, decoded from gzip, deflate or brotli; any other coding is left as it came.
    pub body: Bytes,
    /// The peer.
    pub remote: Option<SocketAddr>,
    /// Bytes of body on the wire, without framing.
    pub wire_bytes: u64,
    /// Bytes of body after decoding.
    pub decoded_bytes: u64,
}

/// An answer whose body is read piece by piece; limits and deadline of the request hold for all of it.
pub struct EgressStream {
    pub(crate) head: AnswerHead,
    pub(crate) version: Version,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) reader: BodyReader,
}

impl EgressStream {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The headers, see [`EgressResponse::headers`].
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The protocol that was spoken.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The peer.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Bytes of body on the wire so far.
    pub fn wire_bytes(&self) -> u64 {
        self.reader.wire_bytes()
    }

    /// The next piece of the decoded body; `None` at its end.
    ///
    /// # Errors
    /// Timeout, Broken, TooLarge or Decode. The stream is of no use after an error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        match self.reader.chunk().await {
            Ok(piece) => Ok(piece),
            Err(error) => Err(error.with_head(Some(self.head.clone()))),
        }
    }

    /// The rest of the answer at once.
    ///
    /// # Errors
    /// As [`EgressStream::chunk`].
    pub async fn collect(mut self) -> Result<EgressResponse, EgressError> {
        match self.reader.rest().await {
            Ok(body) => Ok(EgressResponse {
                status: self.head.status,
                version: self.version,
                headers: self.head.headers,
                body,
                remote: self.remote,
                wire_bytes: self.reader.wire_bytes(),
                decoded_bytes: self.reader.decoded_bytes(),
            }),
            Err(error) => Err(error.with_head(Some(self.head))),
        }
    }
}

impl fmt::Debug for AnswerHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerHead").field("status", &self.status).field("headers", &self.headers.len()).finish()
    }
}

impl fmt::Debug for EgressResponse {
    /// Status and sizes only: headers and body may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressResponse")
            .field("status", &self.status)
            .field("version", &self.version)
            .field("headers", &self.headers.len())
            .field("wire_bytes", &self.wire_bytes)
            .field("decoded_bytes", &self.decoded_bytes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EgressStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressStream").field("head", &self.head).field("version", &self.version).finish_non_exhaustive()
    }
}
