//! [`Blobs`] in memory, for tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{BlobError, BlobId, Blobs};
use crate::clock::{Clock, Millis};
use crate::ids::OrganizationId;

const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Clones share their payloads.
#[derive(Clone)]
pub struct MemoryBlobs {
    payloads: Arc<Mutex<HashMap<BlobId, Payload>>>,
    clock: Arc<dyn Clock>,
}

/// Whose it is, what it is, and when it expires.
type Payload = (OrganizationId, Bytes, Millis);

impl MemoryBlobs {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { payloads: Arc::default(), clock }
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, organization: &OrganizationId, data: Bytes) -> Result<BlobId, BlobError> {
        let id = BlobId::generate();
        let expires = self.clock.now().plus(LIFE);
        self.payloads.lock().insert(id.clone(), (organization.clone(), data, expires));
        Ok(id)
    }

    async fn get(&self, organization: &OrganizationId, id: &BlobId) -> Result<Option<Bytes>, BlobError> {
        let now = self.clock.now();
        let payloads = self.payloads.lock();
        let found = payloads.get(id).filter(|(owner, _, expires)| owner == organization && now < *expires);
        Ok(found.map(|(_, data, _)| data.clone()))
    }
}
