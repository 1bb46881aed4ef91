//! Who calls, with which accounts: the ports of the auth service.
//!
//! [`Directory`] serves gateways, [`Vault`] serves executors. Embedded, both are the auth service's own struct; between
//! processes they are gRPC clients that cannot be told apart from it.

mod actor;
mod agent;
mod audit;
mod cache;
mod call_log;
mod connect;
mod custody;
mod grpc;
mod label;
mod scopes;
mod service_auth;
mod status;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use actor::{ACTOR_METADATA, Actor, actor, asked_from, identify, on_behalf_of};
pub use agent::{Agent, AgentDraft};
pub use audit::{
    AuditEntry, AuditFault, AuditHead, AuditLink, AuditPage, AuditQuery, CallBatch, CallCount, CallFacts, ChainCheck,
    PLATFORM, Target, chain_start, link_hash,
};
pub use cache::{CachedDirectory, CachedVault, FRESH_FOR, Freshness};
pub use call_log::{CallLog, CallLogWriter, CallNote, CallSink};
pub use connect::{
    ClientOwner, Connect, DeviceStatus, IssuedSession, NewConnectSession, NewOAuthClient, OAuthClient, SignIn,
    StartedDevice, StartedSignIn,
};
pub use custody::{
    Custody, MasterKeyStatus, MasterKeysStatus, RevocationReport, Revoke, Revoked, RevokedAccount, RotationStatus,
    VendorRevocation,
};
pub use grpc::{EndpointError, GrpcConnect, GrpcCustody, GrpcDirectory, GrpcVault};
pub use label::{MAX_LABEL, fold_label, normalize_label};
pub use scopes::{Scope, Scopes};
pub use service_auth::{ServiceAuth, ServiceRole, service_token};
pub use status::to_status;

use crate::clock::Millis;
use crate::ids::{AccountId, AgentId, ExecutionId, KeyId, OrganizationId, ServiceKey, Subject};
use crate::secret::{AccountFields, Secret};

/// What gateways ask the auth service.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// # Errors
    /// [`IdentityError::KeyRefused`] when the key is garbled, unknown, expired or revoked; the caller learns no more.
    async fn verify_key(&self, key: &Secret) -> Result<Principal, IdentityError>;

    /// Every account of an organization, without credentials.
    ///
    /// # Errors
    /// When the auth service cannot answer.
    async fn accounts(&self, organization: &OrganizationId) -> Result<Vec<Account>, IdentityError>;

    /// Changes as they happen, with a beat every 100 ms. The stream ends when the connection does.
    ///
    /// # Errors
    /// When it cannot be opened.
    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError>;

    /// # Errors
    /// [`IdentityError::Invalid`] for an empty or overlong name.
    async fn create_organization(&self, name: &str) -> Result<(Organization, IssuedKey), IdentityError>;

    /// # Errors
    /// [`IdentityError::Invalid`] names the field; [`IdentityError::NotFound`] for an unknown organization.
    async fn issue_key(&self, request: NewKey) -> Result<IssuedKey, IdentityError>;

    /// # Errors
    /// When the auth service cannot answer.
    async fn keys(&self, organization: &OrganizationId) -> Result<Vec<Key>, IdentityError>;

    /// Revoking twice is no error.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when the organization has no such key.
    async fn revoke_key(&self, organization: &OrganizationId, key: &KeyId) -> Result<Key, IdentityError>;

    /// # Errors
    /// [`IdentityError::Invalid`] names the field, [`IdentityError::Exists`] when the label is taken.
    async fn create_account(&self, request: NewAccount) -> Result<Account, IdentityError>;

    /// # Errors
    /// As [`Directory::create_account`], and [`IdentityError::NotFound`].
    async fn update_account(&self, request: AccountChange) -> Result<Account, IdentityError>;

    /// # Errors
    /// [`IdentityError::NotFound`] when the organization has no such account.
    async fn delete_account(
        &self,
        organization: &OrganizationId,
        account: &AccountId,
    ) -> Result<Account, IdentityError>;
}

/// What executors ask the auth service.
#[async_trait]
pub trait Vault: Send + Sync + 'static {
    /// The fields of one account, against the ticket of one live job.
    ///
    /// # Errors
    /// [`IdentityError::TicketRefused`] when the ticket does not fit the facts or its deadline has passed.
    async fn resolve(&self, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError>;

    /// Whether these fields are still the account's, as far as is known here without asking. `false`: ask again.
    fn holds(&self, grant: &Grant, fields: &Arc<AccountFields>) -> bool {
        let _ = (grant, fields);
        false
    }

    /// As [`Directory::changes`].
    ///
    /// # Errors
    /// When it cannot be opened.
    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError>;
}

/// Everything a ticket was minted over, and the ticket.
#[derive(Debug, Clone)]
pub struct Grant {
    pub execution_id: ExecutionId,
    pub organization: OrganizationId,
    pub service: ServiceKey,
    pub account: AccountId,
    pub request_hash: [u8; 32],
    pub deadline: Millis,
    pub ticket: [u8; 32],
    /// The vendor has just refused the present token: get a new one.
    pub refresh: bool,
}

/// Who a key speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub key_id: KeyId,
    /// `None` for the platform operator.
    pub organization: Option<OrganizationId>,
    pub scopes: Scopes,
    pub subject: Option<Subject>,
    /// Narrows what the key may do.
    pub agent: Option<Arc<Agent>>,
    pub expires_at: Millis,
}

impl Principal {
    pub fn is_operator(&self) -> bool {
        self.organization.is_none()
    }

    /// To an end user or an agent.
    pub fn is_bound(&self) -> bool {
        self.subject.is_some() || self.agent.is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    pub id: OrganizationId,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    pub organization: OrganizationId,
    pub name: String,
    pub scopes: Scopes,
    /// 1 to [`NewKey::MAX_DAYS`].
    pub expires_in_days: u32,
    pub subject: Option<Subject>,
    /// An agent of the organization that the key is for.
    pub agent: Option<AgentId>,
}

impl NewKey {
    /// Life of a key when none is named.
    pub const DEFAULT_DAYS: u32 = 90;
    pub const MAX_DAYS: u32 = 365;
}

/// An API key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: KeyId,
    pub organization: OrganizationId,
    pub name: String,
    /// First characters of the secret, to recognise it by.
    pub prefix: String,
    pub scopes: Scopes,
    pub subject: Option<Subject>,
    pub agent: Option<AgentId>,
    pub created_at: Millis,
    pub expires_at: Millis,
    pub revoked_at: Option<Millis>,
    /// Written at most once a minute.
    pub last_used_at: Option<Millis>,
}

/// A second key beside one that is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotateKey {
    pub organization: OrganizationId,
    pub key: KeyId,
    /// How long the first one still works. At most [`RotateKey::MAX_OVERLAP_HOURS`].
    pub overlap_hours: u32,
}

impl RotateKey {
    pub const DEFAULT_OVERLAP_HOURS: u32 = 24;
    /// 30 days.
    pub const MAX_OVERLAP_HOURS: u32 = 30 * 24;
}

/// A key at its creation: the only moment its secret can be read.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    pub key: Key,
    pub secret: Secret,
}

/// A connected account of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub organization: OrganizationId,
    pub service: ServiceKey,
    /// Unique per organization and service, NFC, compared without case.
    pub label: String,
    /// `None`: shared in the organization.
    pub owner: Option<Subject>,
    pub state: AccountState,
    /// Why, as a word for programs (`invalid_grant`, `refresh_lost`, `HTTP 503`); empty when all is well.
    pub state_reason: String,
    /// Since when.
    pub state_since: Millis,
    /// Fields that are not secret.
    pub public_fields: BTreeMap<String, String>,
    pub created_at: Millis,
    pub updated_at: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountState {
    Connected,
    /// Works, but its token nears its end and nothing can renew it.
    Expiring,
    /// Its secrets are gone, incomplete or refused: a person must connect it again.
    NeedsReauth,
    Revoked,
    /// The vendor's sign-in does not answer. What is left of the present token still works.
    VendorDown,
    /// Connected through a link, and nobody has confirmed yet that the right person did it.
    PendingClaim,
}

impl AccountState {
    pub const ALL: [Self; 6] =
        [Self::Connected, Self::Expiring, Self::NeedsReauth, Self::Revoked, Self::VendorDown, Self::PendingClaim];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Expiring => "expiring",
            Self::NeedsReauth => "needs_reauth",
            Self::Revoked => "revoked",
            Self::VendorDown => "vendor_down",
            Self::PendingClaim => "pending_claim",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether calls may be tried with it.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Connected | Self::Expiring | Self::VendorDown)
    }
}

#[derive(Debug, Clone)]
pub struct NewAccount {
    pub organization: OrganizationId,
    pub service: ServiceKey,
    /// `None`: the service's name.
    pub label: Option<String>,
    pub owner: Option<Subject>,
    pub credentials: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone)]
pub struct AccountChange {
    pub organization: OrganizationId,
    pub account: AccountId,
    pub label: Option<String>,
    /// Fields to replace; the others stay, unless a host field changes, which clears the secrets.
    pub credentials: BTreeMap<String, Secret>,
}

/// One item of the change stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Everything up to now has been told.
    Beat,
    KeyRevoked(KeyId),
    AccountsChanged(OrganizationId),
    /// Something about the whole organization: it was revoked, or an agent of it changed. Its keys and accounts are to
    /// be asked for again.
    OrganizationChanged(OrganizationId),
    /// Changes were missed: nothing cached may be used.
    Reset,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the key is not valid")]
    KeyRefused,
    #[error("the ticket does not fit")]
    TicketRefused,
    #[error("{what} does not exist")]
    NotFound { what: &'static str },
    #[error("{what} exists already")]
    Exists { what: String },
    #[error("{field}: {message}")]
    Invalid { field: String, message: String },
    /// The account's secrets are gone or were never complete: it must be connected again.
    #[error("the account must be connected again")]
    NeedsReauth,
    /// By the kill switch.
    #[error("the account has been revoked")]
    Revoked,
    /// What is asked does not fit the present state of things.
    #[error("{message}")]
    Conflict { message: String },
    /// The vendor refused to issue a token for this account.
    #[error("the vendor refused the account: {message}")]
    VendorRefused { message: String },
    /// The vendor's token endpoint did not answer.
    #[error("the vendor's sign-in does not answer: {message}")]
    VendorDown { message: String },
    /// Text for the log; callers are told to try again.
    #[error("the auth service cannot answer: {0}")]
    Unavailable(String),
}

impl IdentityError {
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }
}
