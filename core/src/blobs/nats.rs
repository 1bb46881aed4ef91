//! Large payloads in a JetStream stream: sealed pieces of 256 KiB, dropped by the server after 24 hours.
//!
//! Pieces are messages of subjects of their own, fetched by subject. So storing a payload takes one round trip, and so
//! does fetching one that fits a piece; the object store of the client libraries takes three to five, one after
//! another, and makes and deletes a consumer for each read. The first piece is written last: where it is, all are.

use std::time::Duration;

use async_nats::{HeaderMap, StatusCode};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::{BlobError, BlobId, Blobs};
use crate::ids::OrganizationId;
use crate::queue::nats::{NatsLink, Stored, ensure_payloads, message_id_headers, put_header};
use crate::queue::subjects::HEADER_PIECES;
use crate::seal::Sealer;
use crate::secret::SecretKey;

/// Content of a piece, in bytes.
const PIECE: usize = 256 * 1024;

/// Pieces under way at once.
const AT_ONCE: usize = 4;

const ATTEMPT: Duration = Duration::from_secs(3);

const GIVE_UP: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(100);

/// A replica that answers "not there" may only be behind: asked again for this long, because the reference to a payload
/// travels faster than replication.
const CATCH_UP: Duration = Duration::from_millis(500);

/// [`Blobs`] on JetStream.
#[derive(Debug, Clone)]
pub struct NatsBlobs {
    link: NatsLink,
    sealer: Sealer,
}

impl NatsBlobs {
    /// Makes the stream when it is absent.
    ///
    /// # Errors
    /// When it is absent and cannot be made.
    pub async fn open(link: &NatsLink, key: SecretKey) -> Result<Self, BlobError> {
        ensure_payloads(link).await.map_err(|error| BlobError::Unavailable(error.to_string()))?;
        Ok(Self { link: link.clone(), sealer: Sealer::new(key) })
    }

    async fn put_piece(&self, place: Place<'_>, data: &Bytes) -> Result<(), BlobError> {
        let start = place.index * PIECE;
        let content = data.slice(start..data.len().min(start + PIECE));
        let (sealer, aad) = (self.sealer.clone(), place.aad());
        let sealed = tokio::task::spawn_blocking(move || sealer.seal(&aad, &content))
            .await
            .map_err(|error| BlobError::Unavailable(error.to_string()))?
            .map_err(|error| BlobError::Unavailable(error.to_string()))?;
        let sealed = Bytes::from(sealed);
        let subject = place.subject(&self.link);
        // The subject is unique to the piece, so it serves as message id: a repeated attempt is stored once.
        let mut headers = message_id_headers(&subject);
        put_header(&mut headers, HEADER_PIECES, &place.pieces.to_string());
        let until = Instant::now() + GIVE_UP;
        loop {
            let trouble = if self.link.connected_by(until).await {
                match self.link.store(subject.clone(), headers.clone(), sealed.clone(), ATTEMPT).await {
                    Stored::Yes { .. } => return Ok(()),
                    Stored::Refused { text, .. } | Stored::NotSent(text) | Stored::Unknown(text) => text,
                }
            } else {
                "no connection".to_owned()
            };
            if Instant::now() + PAUSE >= until {
                return Err(BlobError::Unavailable(trouble));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The sealed piece and the number of pieces.
    async fn get_piece(&self, place: Place<'_>, wait: Duration) -> Result<Option<(Bytes, usize)>, BlobError> {
        let subject = self.link.names().payload_read(&place.subject(&self.link));
        let patience = Instant::now() + wait;
        let until = Instant::now() + GIVE_UP;
        loop {
            let trouble = if self.link.connected_by(until).await {
                match self.link.ask(subject.clone(), None, Bytes::new(), ATTEMPT).await {
                    Ok(message) if message.status == Some(StatusCode::NOT_FOUND) => {
                        if self.link.replicas() == 1 || Instant::now() >= patience {
                            return Ok(None);
                        }
                        "not there yet".to_owned()
                    }
                    Ok(message) if message.status.is_none() => {
                        let pieces = pieces(message.headers.as_ref()).ok_or(BlobError::Damaged)?;
                        return Ok(Some((message.payload, pieces)));
                    }
                    Ok(message) => message.description.unwrap_or_default(),
                    Err(trouble) => format!("{trouble:?}"),
                }
            } else {
                "no connection".to_owned()
            };
            if Instant::now() + PAUSE >= until {
                return Err(BlobError::Unavailable(trouble));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn open_piece(&self, place: Place<'_>, sealed: Bytes) -> Result<Vec<u8>, BlobError> {
        let (sealer, aad) = (self.sealer.clone(), place.aad());
        tokio::task::spawn_blocking(move || sealer.open(&aad, &sealed))
            .await
            .map_err(|error| BlobError::Unavailable(error.to_string()))?
            .map_err(|_| BlobError::Damaged)
    }
}

#[async_trait]
impl Blobs for NatsBlobs {
    async fn put(&self, organization: &OrganizationId, data: Bytes) -> Result<BlobId, BlobError> {
        let id = BlobId::generate();
        let pieces = data.len().div_ceil(PIECE).max(1);
        let place = |index| Place { organization, id: &id, index, pieces };
        stream::iter(1..pieces)
            .map(|index| self.put_piece(place(index), &data))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        self.put_piece(place(0), &data).await?;
        Ok(id)
    }

    async fn get(&self, organization: &OrganizationId, id: &BlobId) -> Result<Option<Bytes>, BlobError> {
        // The number of pieces is not known before the first is here, and is part of what it is sealed with.
        let place = |index, pieces| Place { organization, id, index, pieces };
        let Some((sealed, pieces)) = self.get_piece(place(0, 0), CATCH_UP).await? else { return Ok(None) };
        let first = self.open_piece(place(0, pieces), sealed).await?;
        if pieces == 1 {
            return Ok(Some(first.into()));
        }
        let mut whole = BytesMut::with_capacity(pieces * PIECE);
        whole.extend_from_slice(&first);
        let mut rest = stream::iter(1..pieces)
            .map(|index| async move {
                match self.get_piece(place(index, pieces), CATCH_UP).await? {
                    Some((sealed, _)) => self.open_piece(place(index, pieces), sealed).await.map(Some),
                    None => Ok(None),
                }
            })
            .buffered(AT_ONCE);
        while let Some(piece) = rest.next().await {
            match piece? {
                Some(piece) => whole.extend_from_slice(&piece),
                // The later pieces are the older ones: it expired while it was read.
                None => return Ok(None),
            }
        }
        Ok(Some(whole.freeze()))
    }
}

/// Where a piece belongs. Sealed with it, so that none can be swapped, dropped, or given to another organization.
#[derive(Clone, Copy)]
struct Place<'a> {
    organization: &'a OrganizationId,
    id: &'a BlobId,
    index: usize,
    pieces: usize,
}

impl Place<'_> {
    fn aad(&self) -> Vec<u8> {
        format!("payload\n{}\n{}\n{}/{}", self.organization, self.id, self.index, self.pieces).into_bytes()
    }

    fn subject(&self, link: &NatsLink) -> String {
        link.names().payload(self.organization, self.id.as_str(), self.index)
    }
}

fn pieces(headers: Option<&HeaderMap>) -> Option<usize> {
    headers?.get(HEADER_PIECES)?.as_str().parse().ok().filter(|&pieces| pieces > 0)
}
