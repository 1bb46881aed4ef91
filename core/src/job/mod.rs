//! One accepted call, and how it ended.

mod envelope;
mod execution_ids;
mod ticket;

use bytes::Bytes;
use sha2::{Digest, Sha256};

pub use envelope::{AccountRef, CallState, Envelope, LimitUse, Page, TruncatedData};
pub use execution_ids::{Acceptance, Accepted, ExecutionIds};
pub use ticket::{TicketFacts, TicketKey};

use crate::blobs::BlobId;
use crate::clock::Millis;
use crate::ids::{AccountId, ExecutionId, InstanceId, KeyId, OrganizationId, ServiceKey, Subject};
use crate::manifest::Effect;
use crate::telemetry::metrics::StageTimes;

/// Everything an executor needs to make one call, except the credential.
#[derive(Debug, Clone)]
pub struct Job {
    pub execution_id: ExecutionId,
    pub organization: OrganizationId,
    pub subject: Option<Subject>,
    pub key_id: KeyId,
    pub service: ServiceKey,
    pub account: AccountId,
    pub account_label: String,
    pub module: String,
    /// `None` for an unlisted path of an open module.
    pub operation: Option<String>,
    /// Digest of the manifest the call was validated against.
    pub manifest_digest: String,
    pub effect: Effect,
    /// HTTP verb, or the vendor's method name for RPC.
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Option<Payload>,
    pub headers: Vec<(String, String)>,
    pub request_hash: [u8; 32],
    pub ticket: [u8; 32],
    pub accepted_at: Millis,
    pub deadline: Millis,
    /// The gateway that waits; `None` for a background job.
    pub reply_to: Option<InstanceId>,
    pub trace: TraceContext,
}

impl Job {
    /// A caller waits for the answer.
    pub fn interactive(&self) -> bool {
        self.reply_to.is_some()
    }
}

/// JSON that travels inline, or lies in the blob store when it is too large for a queue message.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    Inline(Bytes),
    Blob { id: BlobId, bytes: u64 },
}

impl Payload {
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(data) => data.len() as u64,
            Self::Blob { bytes, .. } => *bytes,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Payload {
    /// Content belongs to the tenant and stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// W3C Trace Context, as received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext {
    pub traceparent: String,
    pub tracestate: String,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub execution_id: ExecutionId,
    /// [`Envelope`] without `data`, serialized once by whoever knows the outcome.
    pub envelope: Bytes,
    /// The vendor's answer as JSON; `None` is JSON null.
    pub data: Option<Payload>,
    /// Where its time went until then, as far as its executor saw it.
    pub stages: StageTimes,
}

/// What makes two calls the same call.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    pub account: &'a AccountId,
    pub module: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a [(String, String)],
    pub headers: &'a [(String, String)],
    pub body: Option<&'a [u8]>,
}

impl RequestParts<'_> {
    /// SHA-256 over the length-prefixed parts, so that no two different calls hash alike by concatenation.
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        for text in [self.account.as_str(), self.module, self.method, self.path] {
            part(text.as_bytes());
        }
        for list in [self.query, self.headers] {
            part(&(list.len() as u64).to_be_bytes());
            for (name, value) in list {
                part(name.as_bytes());
                part(value.as_bytes());
            }
        }
        match self.body {
            Some(body) => part(body),
            None => hasher.update(u64::MAX.to_be_bytes()),
        }
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_hash_sees_every_part() {
        let account = AccountId::generate();
        let query = vec![("a".to_owned(), "b".to_owned())];
        let base = RequestParts {
            account: &account,
            module: "m",
            method: "GET",
            path: "/x",
            query: &query,
            headers: &[],
            body: None,
        };
        let shifted = vec![("ab".to_owned(), String::new())];
        let variants = [
            RequestParts { module: "n", ..base },
            RequestParts { path: "/y", ..base },
            RequestParts { query: &shifted, ..base },
            RequestParts { headers: &query, query: &[], ..base },
            RequestParts { body: Some(b""), ..base },
        ];
        for variant in variants {
            assert_ne!(variant.hash(), base.hash(), "{variant:?}");
        }
        assert_eq!(base.hash(), base.hash());
    }
}
