//! What is stored of sign-ins that are under way. Names hold a hash of what the browser holds, never the thing itself.
//!
//! | name | record |
//! | --- | --- |
//! | `oauth-client/<organization, or platform>/<service>` | [`ClientRecord`] |
//! | `sign-in-link/<hash>` | [`FlowRecord`] that no browser has opened yet |
//! | `sign-in/<hash of the state>` | [`FlowRecord`] of one browser, on its way to the vendor and back |
//! | `device/<organization>/<id>` | [`DeviceRecord`] |
//! | `claim/<hash>` | [`ClaimRecord`] |
//! | `refresh/<organization>/<account>` | [`LeaseRecord`]: who refreshes, and how far |

use plugboard_core::identity::{Actor, ClientOwner, IdentityError};
use plugboard_core::ids::{AccountId, KeyId, OrganizationId, ServiceKey, Subject};
use plugboard_core::secret::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::crypto::Sealed;
use crate::sealed::{Home, SealedRecord};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClientRecord {
    pub service: ServiceKey,
    pub client_id: String,
    pub has_secret: bool,
    pub updated_at: i64,
    pub version: u64,
    pub sealed: Sealed,
}

/// Who wants what connected; the same for browsers and devices.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub organization: OrganizationId,
    /// The initiating principal.
    pub key: KeyId,
    pub service: ServiceKey,
    pub label: Option<String>,
    pub owner: Option<Subject>,
    pub account: Option<AccountId>,
    /// The connect session it belongs to.
    pub session: Option<String>,
    /// What the account will wait for.
    pub claim: Option<String>,
    pub return_url: Option<String>,
    pub platform_client: bool,
    pub client_id: String,
}

impl Intent {
    /// Whoever signs in: the holder of a link, who has no key, and perhaps a connect session.
    pub(crate) fn actor(&self) -> Actor {
        Actor::person(self.session.as_deref(), self.owner.as_ref())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FlowRecord {
    pub id: String,
    pub intent: Intent,
    pub issuer: Option<String>,
    pub redirect_uri: String,
    /// SHA-256 of the browser's cookie.
    pub browser: Option<String>,
    pub expires_at: i64,
    /// PKCE verifier and the typed fields.
    pub sealed: Sealed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    pub id: String,
    pub intent: Intent,
    pub interval_seconds: u32,
    /// The vendor must not be asked before.
    pub poll_at: i64,
    pub expires_at: i64,
    pub end: Option<DeviceEnd>,
    /// Device code and the typed fields.
    pub sealed: Sealed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeviceEnd {
    Connected(AccountId),
    Denied,
    Expired,
    Failed(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClaimRecord {
    pub organization: OrganizationId,
    /// What accounts wait for.
    pub claim: String,
    pub expires_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseRecord {
    /// A token of the holder's own.
    pub owner: String,
    /// The tokens it is about.
    pub generation: u64,
    pub until: i64,
    /// The refresh token may have left.
    pub sent: bool,
}

pub(crate) fn client(owner: &ClientOwner, service: &ServiceKey) -> String {
    format!("{}{service}", clients_of(owner))
}

pub(crate) fn clients_of(owner: &ClientOwner) -> String {
    match owner {
        ClientOwner::Organization(organization) => format!("{CLIENTS}{organization}/"),
        ClientOwner::Platform => format!("{CLIENTS}{PLATFORM}/"),
    }
}

pub(crate) const CLIENTS: &str = "oauth-client/";
/// Stands where an organization's id does.
pub(crate) const PLATFORM: &str = "platform";
pub(crate) const LINKS: &str = "sign-in-link/";
pub(crate) const FLOWS: &str = "sign-in/";
pub(crate) const DEVICES: &str = "device/";
pub(crate) const CLAIMS: &str = "claim/";

pub(crate) fn link(token: &Secret) -> String {
    format!("{LINKS}{}", hash(token))
}

pub(crate) fn flow(state: &Secret) -> String {
    format!("{FLOWS}{}", hash(state))
}

pub(crate) fn device(organization: &OrganizationId, id: &str) -> String {
    format!("{DEVICES}{organization}/{id}")
}

pub(crate) fn claim(claim: &Secret) -> String {
    format!("{CLAIMS}{}", hash(claim))
}

pub(crate) fn lease(organization: &OrganizationId, account: &AccountId) -> String {
    format!("refresh/{organization}/{account}")
}

/// What a client's secret is bound to: one that was put beside another id does not open.
pub(crate) fn client_place(client_id: &str) -> String {
    format!("oauth-client {client_id}")
}

impl SealedRecord for ClientRecord {
    fn home(&self, name: &str) -> Option<Home> {
        let (organization, _) = name.strip_prefix(CLIENTS)?.split_once('/')?;
        Some(Home {
            organization: OrganizationId::trusted(organization),
            service: self.service.clone(),
            account: AccountId::trusted(client_place(&self.client_id)),
            // Not that of the record: see `OAuth::seal`.
            version: 1,
        })
    }

    fn sealed(&self) -> Option<&Sealed> {
        Some(&self.sealed)
    }

    fn put_sealed(&mut self, sealed: Sealed) {
        self.sealed = sealed;
    }
}

/// Of a sign-in under way, whatever its kind.
fn home_of(intent: &Intent, id: &str) -> Home {
    Home {
        organization: intent.organization.clone(),
        service: intent.service.clone(),
        account: AccountId::trusted(id),
        version: 1,
    }
}

impl SealedRecord for FlowRecord {
    fn home(&self, _: &str) -> Option<Home> {
        Some(home_of(&self.intent, &self.id))
    }

    fn sealed(&self) -> Option<&Sealed> {
        Some(&self.sealed)
    }

    fn put_sealed(&mut self, sealed: Sealed) {
        self.sealed = sealed;
    }
}

impl SealedRecord for DeviceRecord {
    fn home(&self, _: &str) -> Option<Home> {
        Some(home_of(&self.intent, &self.id))
    }

    fn sealed(&self) -> Option<&Sealed> {
        Some(&self.sealed)
    }

    fn put_sealed(&mut self, sealed: Sealed) {
        self.sealed = sealed;
    }
}

/// SHA-256, hex: enough for tokens of 256 random bits.
pub(crate) fn hash(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose()))
}

/// 256 random bits, fit for a URL.
pub(crate) fn random_token() -> Result<Secret, IdentityError> {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut random = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *random).map_err(|_| IdentityError::Unavailable("the machine gave no randomness".into()))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(*random)))
}
