//! How accounts get connected by a person: sign-in at the vendor, device codes, connect sessions and their claims.
//!
//! What a person connects through a link is not usable before it is *claimed*: the browser that finished brings back a
//! one-use claim, and the tenant's own backend, which knows whose browser that is, redeems it with its key. A link that
//! was sent to somebody else therefore plants nobody's account.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{Account, IdentityError};
use crate::clock::Millis;
use crate::ids::{AccountId, KeyId, OrganizationId, ServiceKey, Subject};
use crate::secret::Secret;

/// What gateways ask the auth service about connecting.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// Begins a sign-in in a browser (authorization code with PKCE).
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] names the field; [`IdentityError::NotFound`] for an account to reconnect.
    async fn start_sign_in(&self, request: SignIn) -> Result<StartedSignIn, IdentityError>;

    /// Begins a sign-in by a code typed on another device (RFC 8628).
    ///
    /// # Errors
    /// As [`Connect::start_sign_in`], and what the vendor said.
    async fn start_device(&self, request: SignIn) -> Result<StartedDevice, IdentityError>;

    /// Where a device sign-in stands; asks the vendor when it is time to.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when the organization has no such sign-in.
    async fn device(&self, organization: &OrganizationId, id: &str) -> Result<DeviceStatus, IdentityError>;

    /// # Errors
    /// [`IdentityError::Invalid`] names the field.
    async fn create_session(&self, request: NewConnectSession) -> Result<IssuedSession, IdentityError>;

    /// Makes what a browser has connected usable. A claim works once; while nothing waits for it, it is not used up.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when it is not a claim of this organization, was used, or has expired.
    async fn redeem_claim(&self, organization: &OrganizationId, claim: &Secret) -> Result<Vec<Account>, IdentityError>;

    /// Sets the OAuth client that sign-ins at a service use.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] names the field.
    async fn set_client(&self, request: NewOAuthClient) -> Result<OAuthClient, IdentityError>;

    /// The clients of one owner, without secrets.
    ///
    /// # Errors
    /// When the auth service cannot answer.
    async fn clients(&self, owner: &ClientOwner) -> Result<Vec<OAuthClient>, IdentityError>;

    /// Accounts that signed in through it cannot be refreshed any more.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`].
    async fn remove_client(&self, owner: &ClientOwner, service: &ServiceKey) -> Result<OAuthClient, IdentityError>;
}

/// A sign-in, as whoever begins it wants it.
#[derive(Debug, Clone)]
pub struct SignIn {
    pub organization: OrganizationId,
    /// The key that begins it.
    pub key: KeyId,
    pub service: ServiceKey,
    pub label: Option<String>,
    /// End user the account will belong to.
    pub owner: Option<Subject>,
    /// What the flow asks for before, e.g. a shop's host.
    pub fields: BTreeMap<String, Secret>,
    /// An account to connect again.
    pub account: Option<AccountId>,
    /// Where the browser goes afterwards, with `claim` or `error` in its query. Absent: our page shows the claim.
    pub return_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedSignIn {
    /// A page of ours that sends the browser on to the vendor; the first browser that opens it is the one that must finish.
    pub url: String,
    pub expires_at: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedDevice {
    pub id: String,
    pub user_code: String,
    pub verification_uri: String,
    /// With the code in it already.
    pub verification_uri_complete: Option<String>,
    pub interval_seconds: u32,
    pub expires_at: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceStatus {
    /// Nobody has typed the code yet; ask again after this long.
    Pending {
        interval_seconds: u32,
    },
    Connected(Account),
    /// The person said no.
    Denied,
    Expired,
    /// The vendor refused for good.
    Failed(String),
}

/// A link for one end user to connect some services.
#[derive(Debug, Clone)]
pub struct NewConnectSession {
    pub organization: OrganizationId,
    pub key: KeyId,
    /// Whose accounts these will be; `None`: shared in the organization.
    pub subject: Option<Subject>,
    /// Empty: every service.
    pub services: Vec<ServiceKey>,
    pub return_url: Option<String>,
    /// Asked for by a call that waits for its own caller to connect: the claim is in the answer, and the page shows none.
    pub by_call: bool,
    /// Accounts that work are not shown and cannot be changed: for links that a caller gets who may not change them.
    pub mend_only: bool,
}

#[derive(Debug, Clone)]
pub struct IssuedSession {
    pub id: String,
    /// Readable here and never again; the URL holds it too.
    pub token: Secret,
    pub url: Secret,
    pub expires_at: Millis,
    /// See [`NewConnectSession::by_call`].
    pub claim: Option<Secret>,
}

/// Whose OAuth client it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientOwner {
    Organization(OrganizationId),
    /// The operator's, for organizations that have none of their own.
    Platform,
}

#[derive(Debug, Clone)]
pub struct NewOAuthClient {
    pub owner: ClientOwner,
    pub service: ServiceKey,
    pub client_id: String,
    /// `None` for a public client.
    pub client_secret: Option<Secret>,
}

/// An OAuth client without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthClient {
    pub service: ServiceKey,
    pub client_id: String,
    pub has_secret: bool,
    /// Must be registered at the vendor, exactly.
    pub redirect_uri: String,
    pub updated_at: Millis,
}
