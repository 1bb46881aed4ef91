//! Accounts connected by a person who signs in at the vendor. Which URLs, names and rules a vendor has is the manifest's
//! word; nothing here knows one.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`clients`] | OAuth clients of organizations and of the platform |
//! | [`authorize`] | authorization code with PKCE: from the link to the vendor |
//! | [`callback`] | and back: every check before the code is redeemed |
//! | [`device`] | RFC 8628 |
//! | [`redeem`] | the token request, what is kept of its reply, and whose account it is |
//! | [`refresh`] | new tokens: one at a time over all processes, durable before use |
//! | [`revoke`] | RFC 7009 |
//! | [`claims`] | what a browser brings back so that an account becomes usable |
//! | [`records`] | what is stored |
//!
//! | what | value |
//! | --- | --- |
//! | a link, and a state | 10 min, single use |
//! | a claim | 1 h, single use |
//! | one request to a vendor | 8 s |

pub(crate) mod authorize;
pub(crate) mod callback;
pub(crate) mod claims;
mod clients;
pub(crate) mod device;
pub(crate) mod records;
mod redeem;
pub(crate) mod refresh;
mod revoke;
mod sweep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plugboard_core::catalog::CatalogHandle;
use plugboard_core::clock::Clock;
use plugboard_core::egress::Upstream;
use plugboard_core::identity::IdentityError;
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::manifest::credentials::CredentialRules;
use plugboard_core::manifest::{Connector, Flow, FlowKind, OAuthFlow};
use plugboard_core::secret::Secret;

pub use self::authorize::Departure;
pub use self::callback::{Arrival, Next, Refusal};
use crate::accounts::{self, Accounts};
use crate::crypto::{self, MasterKeys, Place, Sealed};
use crate::records::Records;

/// Names of tokens among an account's sealed fields. No field of a manifest has a colon in its name.
pub(crate) const ACCESS_TOKEN: &str = ":access_token";
pub(crate) const REFRESH_TOKEN: &str = ":refresh_token";

/// Life of a link and of a state.
pub(crate) const FLOW_LIFE: Duration = Duration::from_secs(10 * 60);

pub(crate) const NO_SIGN_IN: IdentityError = IdentityError::NotFound { what: "the sign-in" };

/// What every part needs.
pub(crate) struct OAuth {
    pub records: Records,
    pub catalog: Arc<CatalogHandle>,
    pub clock: Arc<dyn Clock>,
    pub masters: MasterKeys,
    pub egress: Arc<dyn Upstream>,
    pub rules: CredentialRules,
    pub accounts: Arc<Accounts>,
    /// Where browsers reach us, without a trailing slash.
    pub public_url: String,
}

impl OAuth {
    pub(crate) fn connector(&self, service: &ServiceKey) -> Result<Arc<Connector>, IdentityError> {
        accounts::connector(&self.catalog, service)?
            .ok_or_else(|| IdentityError::invalid("service", "is not in the catalog; list_services shows what is"))
    }

    /// Exactly one for each connector, so that a code for one can never be taken for another's.
    pub(crate) fn redirect_uri(&self, service: &ServiceKey) -> String {
        format!("{}/oauth/callback/{service}", self.public_url)
    }

    /// Seals what belongs to a sign-in under way; `id` is in its record.
    fn seal(
        &self,
        organization: &OrganizationId,
        service: &ServiceKey,
        id: &str,
        fields: &BTreeMap<String, Secret>,
    ) -> Result<Sealed, IdentityError> {
        let account = AccountId::trusted(id);
        let place = Place { organization, service, account: &account, record_version: 1 };
        crypto::seal(&self.masters, place, fields).map_err(|error| accounts::custody(&error))
    }

    fn unseal(
        &self,
        organization: &OrganizationId,
        service: &ServiceKey,
        id: &str,
        sealed: &Sealed,
    ) -> Result<BTreeMap<String, Secret>, IdentityError> {
        let account = AccountId::trusted(id);
        let place = Place { organization, service, account: &account, record_version: 1 };
        crypto::open(&self.masters, place, sealed).map_err(|error| accounts::custody(&error))
    }
}

/// The connector's flow of a kind, with its authorization server.
fn flow_of(connector: &Connector, kind: FlowKind) -> Result<(&Flow, &OAuthFlow), IdentityError> {
    let flow = connector.manifest().flow(kind);
    flow.and_then(|flow| Some((flow, flow.oauth.as_ref()?))).ok_or_else(|| {
        let name = &connector.manifest().name;
        let how: Vec<&str> = connector.manifest().auth.flows.iter().map(|flow| flow.kind.as_str()).collect();
        let how = how.join(", ");
        IdentityError::invalid("service", format!("{name} is not connected by {}; it has {how}", kind.as_str()))
    })
}
