//! Records of the auth service: organizations, keys, accounts.
//!
//! Every write names what it expects to find, and a batch is applied whole or not at all.

pub mod embedded;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod redis;
pub(crate) mod redis_link;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

/// A record and the version it was read at. Versions start at 1 and grow by one with each write of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    pub value: Bytes,
    pub version: u64,
}

/// What must hold for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Version(u64),
    Anything,
}

#[derive(Debug, Clone)]
pub enum Write {
    Put { key: String, value: Bytes, expect: Expect },
    Delete { key: String, expect: Expect },
}

impl Write {
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>, expect: Expect) -> Self {
        Self::Put { key: key.into(), value: value.into(), expect }
    }

    pub fn delete(key: impl Into<String>, expect: Expect) -> Self {
        Self::Delete { key: key.into(), expect }
    }
}

/// Pieces that are sent at once.
const PIECES: usize = 500;

/// A record of a snapshot, or that there is none after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub key: String,
    pub value: Option<Bytes>,
}

impl From<(String, Versioned)> for Piece {
    fn from((key, record): (String, Versioned)) -> Self {
        Self { key, value: Some(record.value) }
    }
}

/// Durable when it answers; what the contract suite `testing::store` checks.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// # Errors
    /// When the store cannot be reached.
    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError>;

    /// Applies all writes and appends `notice` (if any) to the change log, or does nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] names the key whose expectation did not hold.
    async fn commit(&self, writes: Vec<Write>, notice: Option<Bytes>) -> Result<(), StoreError>;

    /// Records whose key begins with `prefix`, in key order.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError>;

    /// At most `limit` records whose key begins with `prefix`, in key order, beginning after the key `after`. For walks
    /// over more than fits in memory: what is written meanwhile may or may not be met.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, StoreError>;

    /// Everything that is stored, as of one moment before this returns, however long it takes and whoever writes
    /// meanwhile. Of pieces with the same key the last one counts.
    ///
    /// # Errors
    /// When the store cannot be reached, or nobody receives any more; what was sent is no snapshot then.
    async fn snapshot(&self, to: mpsc::Sender<Vec<Piece>>) -> Result<(), StoreError>;

    /// The notices after `sequence`, and the sequence number of the newest one. The log keeps at least the last 1,000;
    /// `missed` says that older ones than asked for are gone.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn changes_after(&self, sequence: u64) -> Result<Changes, StoreError>;
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub notices: Vec<Bytes>,
    /// Sequence number up to which this answer is complete.
    pub upto: u64,
    pub missed: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// Somebody else wrote first: read again and decide anew.
    #[error("{key} is not as expected")]
    Conflict { key: String },
    #[error("a stored record is unreadable: {0}")]
    Unreadable(String),
}

/// Nobody receives the pieces of a snapshot.
fn given_up<T>(_: T) -> StoreError {
    StoreError::Unavailable("the snapshot was given up".to_owned())
}
