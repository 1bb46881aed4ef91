//! Payloads too large for a queue message: request bodies and vendor answers over [`INLINE_LIMIT`].

pub mod embedded;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod nats;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

/// Larger payloads leave the queue message for the blob store. Bytes of JSON.
pub const INLINE_LIMIT: usize = 256 * 1024;

/// Handle of a stored payload. It holds 122 random bits and is meaningful only together with its organization.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BlobId(String);

impl BlobId {
    pub fn generate() -> Self {
        Self(format!("blob_{}", uuid::Uuid::new_v4().simple()))
    }

    pub fn trusted(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("blob_")?;
        (digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Keeps payloads for 24 hours, sealed at rest and bound to an organization.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Durable when it returns.
    ///
    /// # Errors
    /// When the store cannot be reached or is full.
    async fn put(&self, organization: &crate::ids::OrganizationId, data: Bytes) -> Result<BlobId, BlobError>;

    /// `None` when it does not exist, has expired, or belongs to another organization.
    ///
    /// # Errors
    /// When the store cannot be reached or the content does not open.
    async fn get(&self, organization: &crate::ids::OrganizationId, id: &BlobId) -> Result<Option<Bytes>, BlobError>;
}

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("the payload store cannot be reached: {0}")]
    Unavailable(String),
    #[error("a stored payload does not open: it was altered, or sealed with another key")]
    Damaged,
}
