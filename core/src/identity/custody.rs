//! Custody as the operator and an organization's admin see it: master keys, revocation, the audit log, agents.
//!
//! The documents here pass through gateways unread, so they travel as the JSON that they are.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Agent, AgentDraft, AuditPage, AuditQuery, CallBatch, IdentityError, IssuedKey, RotateKey};
use crate::ids::{AccountId, AgentId, OrganizationId, ServiceKey};

/// What gateways ask the auth service beyond [`super::Directory`].
#[async_trait]
pub trait Custody: Send + Sync + 'static {
    /// Which master keys there are, and what is sealed under each.
    ///
    /// # Errors
    /// When the auth service cannot answer.
    async fn master_keys(&self) -> Result<MasterKeysStatus, IdentityError>;

    /// Makes `to` the present master key (absent: a key that is made now) and begins to seal every record anew.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] when there is no such key, or none can be made here; [`IdentityError::Conflict`] while
    /// some auth service does not hold it, or another rotation runs.
    async fn rotate_master_key(&self, to: Option<String>) -> Result<MasterKeysStatus, IdentityError>;

    /// Gives a master key up for good.
    ///
    /// # Errors
    /// [`IdentityError::Conflict`] while it is the present one or something is sealed under it.
    async fn retire_master_key(&self, id: &str) -> Result<MasterKeysStatus, IdentityError>;

    /// The kill switch: unusable at once, then revoked at the vendor.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account or organization.
    async fn revoke(&self, request: Revoke) -> Result<RevocationReport, IdentityError>;

    /// What has been revoked, and what the vendors said.
    ///
    /// # Errors
    /// When the auth service cannot answer.
    async fn revocations(&self, organization: &OrganizationId) -> Result<RevocationReport, IdentityError>;

    /// Entries of one audit log.
    ///
    /// # Errors
    /// When the auth service cannot answer.
    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, IdentityError>;

    /// Enters calls that were made, all of them or none. A process sends an organization's next batch when the one
    /// before is answered; the same batch twice is entered once.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`]: the batches may be sent again, unchanged. [`IdentityError::Invalid`]: one of
    /// them cannot be entered.
    async fn append_calls(&self, batches: &[CallBatch]) -> Result<(), IdentityError>;

    /// # Errors
    /// [`IdentityError::Invalid`] names the field.
    async fn create_agent(&self, organization: &OrganizationId, draft: &AgentDraft) -> Result<Agent, IdentityError>;

    /// # Errors
    /// When the auth service cannot answer.
    async fn agents(&self, organization: &OrganizationId) -> Result<Vec<Agent>, IdentityError>;

    /// # Errors
    /// As [`Custody::create_agent`], and [`IdentityError::NotFound`].
    async fn update_agent(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        draft: &AgentDraft,
    ) -> Result<Agent, IdentityError>;

    /// # Errors
    /// [`IdentityError::Conflict`] while a key is bound to it; [`IdentityError::NotFound`].
    async fn delete_agent(&self, organization: &OrganizationId, agent: &AgentId) -> Result<Agent, IdentityError>;

    /// A second key with the same rights; the first one ends after the overlap.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when the organization has no such key, or it has ended.
    async fn rotate_key(&self, request: &RotateKey) -> Result<IssuedKey, IdentityError>;
}

/// The key ring, and how far a rotation is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterKeysStatus {
    /// New records are sealed under it.
    pub present: String,
    pub keys: Vec<MasterKeyStatus>,
    #[serde(default)]
    pub rotation: Option<RotationStatus>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterKeyStatus {
    pub id: String,
    /// The answering auth service holds it.
    pub held: bool,
    pub present: bool,
    pub retired: bool,
    /// Records that depend on it, by kind.
    pub records: std::collections::BTreeMap<String, u64>,
}

impl MasterKeyStatus {
    pub fn in_use(&self) -> u64 {
        self.records.values().sum()
    }
}

/// A walk over every sealed record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationStatus {
    pub to: String,
    pub done: bool,
    /// Kind of records that the walk is at.
    pub at: String,
    pub resealed: u64,
    /// Records that do not open, and so stay as they are. The log of the auth service names them.
    pub unreadable: u64,
    pub started_at: i64,
    pub finished_at: Option<i64>,
}

/// What to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    pub organization: OrganizationId,
    pub what: Revoked,
    /// For people, later.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    Account(AccountId),
    Service(ServiceKey),
    Organization,
}

/// What became of revoked accounts at their vendors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationReport {
    /// Still being told.
    pub pending: u64,
    pub revoked: u64,
    /// The vendor has no way to be told.
    pub not_revocable: u64,
    pub failed: u64,
    pub accounts: Vec<RevokedAccount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedAccount {
    pub account: AccountId,
    pub service: ServiceKey,
    pub label: String,
    pub reason: String,
    pub revoked_at: i64,
    pub vendor: VendorRevocation,
    /// What the vendor said last, in our words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub attempts: u32,
    pub updated_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VendorRevocation {
    Pending,
    Revoked,
    NotRevocable,
    Failed,
}

impl RevocationReport {
    pub fn of(accounts: Vec<RevokedAccount>) -> Self {
        let count = |state| accounts.iter().filter(|account| account.vendor == state).count() as u64;
        Self {
            pending: count(VendorRevocation::Pending),
            revoked: count(VendorRevocation::Revoked),
            not_revocable: count(VendorRevocation::NotRevocable),
            failed: count(VendorRevocation::Failed),
            accounts,
        }
    }
}
