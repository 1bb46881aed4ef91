//! [`Blobs`] in the embedded data file: sealed pieces of 255 KiB, written a few at a time so that a long payload does
//! not hold up what others write, and made visible by their head, which is written last.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable};

use super::{BlobError, BlobId, Blobs};
use crate::clock::Millis;
use crate::embedded::expiry::{self, Expired, Kind};
use crate::embedded::tables::{BLOBS, CHUNKS, Tables};
use crate::embedded::{Embedded, EmbeddedError};
use crate::ids::OrganizationId;
use crate::seal::{SealError, Sealer};
use crate::secret::SecretKey;

/// Life of a payload.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Content of a piece, in bytes: sealed and with its key it just fits one of redb's pages of 256 KiB.
const PIECE: usize = 255 * 1024;
/// Pieces in one operation of the writer.
const PIECES_AT_ONCE: usize = 8;

#[derive(Debug, Clone)]
pub struct EmbeddedBlobs {
    file: Embedded,
    sealer: Sealer,
}

impl EmbeddedBlobs {
    pub fn new(file: Embedded, key: SecretKey) -> Self {
        Self { file, sealer: Sealer::new(key) }
    }
}

#[async_trait]
impl Blobs for EmbeddedBlobs {
    async fn put(&self, organization: &OrganizationId, data: Bytes) -> Result<BlobId, BlobError> {
        let id = BlobId::generate();
        let expires = self.file.clock().now().plus(LIFE);
        let pieces = data.len().div_ceil(PIECE);
        let head = Head {
            expires,
            bytes: data.len() as u64,
            pieces: u32::try_from(pieces).map_err(|_| BlobError::Unavailable("too large".to_owned()))?,
            organization: organization.clone(),
        };
        for first in (0..head.pieces).step_by(PIECES_AT_ONCE) {
            let sealed = self.seal(&head, &id, data.clone(), first).await?;
            let (id, noted) = (id.clone(), first == 0);
            self.file
                .write(sealed.iter().map(Vec::len).sum(), move |tables| {
                    if noted {
                        // Before the head exists, so that the pieces of an abandoned payload are removed as well.
                        expiry::note(tables, Kind::Blob, id.as_str(), expires)?;
                    }
                    for (index, piece) in (first..).zip(&sealed) {
                        tables.chunks()?.insert((id.as_str(), index), piece.as_slice())?;
                    }
                    Ok(())
                })
                .await?;
        }
        let key = id.clone();
        self.file
            .write(0, move |tables| {
                if head.pieces == 0 {
                    expiry::note(tables, Kind::Blob, key.as_str(), expires)?;
                }
                tables.blobs()?.insert(key.as_str(), head.encode().as_slice())?;
                Ok(())
            })
            .await?;
        Ok(id)
    }

    async fn get(&self, organization: &OrganizationId, id: &BlobId) -> Result<Option<Bytes>, BlobError> {
        let now = self.file.clock().now();
        let (organization, id, sealer) = (organization.clone(), id.clone(), self.sealer.clone());
        self.file
            .read_long(move |transaction| {
                let head = {
                    let table = transaction.open_table(BLOBS)?;
                    let head = table.get(id.as_str())?;
                    head.and_then(|head| Head::decode(head.value()))
                };
                Ok(match head.filter(|head| head.organization == organization && now < head.expires) {
                    Some(head) => read(transaction, &sealer, &head, &id)?.map(Some),
                    None => Ok(None),
                })
            })
            .await?
    }
}

impl EmbeddedBlobs {
    /// Seals the pieces from `first` on, away from the caller's task: it keeps a core busy for a millisecond or two.
    async fn seal(&self, head: &Head, id: &BlobId, data: Bytes, first: u32) -> Result<Vec<Vec<u8>>, BlobError> {
        let (sealer, head, id) = (self.sealer.clone(), head.clone(), id.clone());
        let work = move || {
            let pieces = data.chunks(PIECE).skip(first as usize).take(PIECES_AT_ONCE);
            (first..)
                .zip(pieces)
                .map(|(index, piece)| sealer.seal(&head.place(&id, index), piece))
                .collect::<Result<Vec<_>, SealError>>()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(sealed) => sealed.map_err(|error| BlobError::Unavailable(error.to_string())),
            Err(error) => Err(BlobError::Unavailable(error.to_string())),
        }
    }
}

/// The inner result is about the content, the outer one about the file.
fn read(
    transaction: &ReadTransaction,
    sealer: &Sealer,
    head: &Head,
    id: &BlobId,
) -> Result<Result<Bytes, BlobError>, redb::Error> {
    let table = transaction.open_table(CHUNKS)?;
    // The length is a hint of the file, not yet a fact.
    let mut data = Vec::with_capacity((head.pieces as usize).saturating_mul(PIECE).min(64 << 20));
    for index in 0..head.pieces {
        let Some(piece) = table.get((id.as_str(), index))? else { return Ok(Err(BlobError::Damaged)) };
        match sealer.open(&head.place(id, index), piece.value()) {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(_) => return Ok(Err(BlobError::Damaged)),
        }
    }
    Ok(if data.len() as u64 == head.bytes { Ok(data.into()) } else { Err(BlobError::Damaged) })
}

/// Removes a payload, whole or abandoned.
pub(crate) fn expire(tables: &mut Tables<'_>, key: &str) -> Result<Expired, redb::Error> {
    tables.blobs()?.remove(key)?;
    let mut removed = 1;
    let pieces: Vec<u32> = tables
        .read_chunks()?
        .range((key, 0)..=(key, u32::MAX))?
        .map(|entry| Ok(entry?.0.value().1))
        .collect::<Result<_, redb::Error>>()?;
    for index in pieces {
        tables.chunks()?.remove((key, index))?;
        removed += 1;
    }
    Ok((removed, None))
}

#[derive(Debug, Clone)]
struct Head {
    expires: Millis,
    bytes: u64,
    pieces: u32,
    organization: OrganizationId,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + self.organization.as_str().len());
        out.extend_from_slice(&self.expires.0.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.pieces.to_le_bytes());
        out.extend_from_slice(self.organization.as_str().as_bytes());
        out
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (expires, rest) = record.split_first_chunk()?;
        let (bytes, rest) = rest.split_first_chunk()?;
        let (pieces, organization) = rest.split_first_chunk()?;
        Some(Self {
            expires: Millis(i64::from_le_bytes(*expires)),
            bytes: u64::from_le_bytes(*bytes),
            pieces: u32::from_le_bytes(*pieces),
            organization: OrganizationId::trusted(std::str::from_utf8(organization).ok()?),
        })
    }

    /// What a piece is bound to: its payload's owner and id, its index and their number.
    fn place(&self, id: &BlobId, index: u32) -> Vec<u8> {
        let mut aad = b"plugboard blob\0".to_vec();
        for text in [self.organization.as_str(), id.as_str()] {
            aad.extend_from_slice(text.as_bytes());
            aad.push(0);
        }
        aad.extend_from_slice(&index.to_le_bytes());
        aad.extend_from_slice(&self.pieces.to_le_bytes());
        aad
    }
}

impl From<EmbeddedError> for BlobError {
    fn from(error: EmbeddedError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
