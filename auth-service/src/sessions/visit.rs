//! What a person may do on a connect page. Pages only show what these return.

use std::collections::BTreeMap;

use plugboard_core::identity::{
    Account, AccountChange, DeviceStatus, IdentityError, NewAccount, SignIn, StartedDevice,
};
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey, Subject};
use plugboard_core::manifest::Connector;
use plugboard_core::secret::Secret;
use plugboard_core::store::{Expect, Write};

use super::{SESSIONS, SessionRecord, Sessions};
use crate::accounts::NO_ACCOUNT;
use crate::oauth::authorize::Visit;
use crate::oauth::callback::with_query;

/// A browser inside its session.
pub struct ConnectVisit {
    pub(super) record: SessionRecord,
    /// SHA-256 of its cookie.
    pub(super) browser: String,
}

impl ConnectVisit {
    /// Who asks for the connection.
    pub fn organization_name(&self) -> &str {
        &self.record.organization_name
    }

    pub fn organization(&self) -> &OrganizationId {
        &self.record.organization
    }

    /// Whose accounts these will be; `None`: shared in the organization.
    pub fn subject(&self) -> Option<&Subject> {
        self.record.subject.as_ref()
    }

    /// Whether what is connected must be claimed.
    pub fn is_claimed(&self) -> bool {
        self.record.claim.is_some()
    }

    fn allows(&self, service: &ServiceKey) -> bool {
        self.record.services.is_empty() || self.record.services.contains(service)
    }

    fn to_oauth(&self) -> Visit {
        Visit { session: self.record.id.clone(), browser: self.browser.clone(), claim: self.record.claim.clone() }
    }
}

/// A service that this session may connect.
pub struct Connectable {
    /// Its manifest says the flows, in order of preference.
    pub connector: std::sync::Arc<Connector>,
    /// An OAuth client is set, so that its sign-ins can begin.
    pub can_sign_in: bool,
    pub accounts: Vec<Account>,
}

/// What a person wants connected.
pub struct Wish {
    pub service: ServiceKey,
    pub label: Option<String>,
    pub fields: BTreeMap<String, Secret>,
    /// An account to connect again.
    pub account: Option<AccountId>,
}

/// A session that its person has ended.
#[derive(Debug)]
pub enum Done {
    /// The tenant's page, with the claim in its query.
    Return(Secret),
    /// To be shown, for whoever sent the link.
    Claim(Secret),
    /// Nothing has to be claimed.
    Nothing,
}

impl Sessions {
    /// The services of a session, in key order.
    pub(crate) async fn connectable(&self, visit: &ConnectVisit) -> Result<Vec<Connectable>, IdentityError> {
        let accounts = self.accounts(visit).await?;
        let snapshot = self.oauth.catalog.snapshot();
        let mut services = Vec::new();
        for listed in snapshot.iter().filter(|listed| visit.allows(listed.key())) {
            let Some(connector) = listed.look() else { continue };
            let signs_in = connector.manifest().auth.flows.iter().any(|flow| flow.oauth.is_some());
            services.push(Connectable {
                can_sign_in: signs_in && self.oauth.has_client(visit.organization(), connector.key()).await?,
                accounts: accounts.iter().filter(|account| account.service == *connector.key()).cloned().collect(),
                connector,
            });
        }
        Ok(services)
    }

    /// The accounts of the session's user.
    pub(crate) async fn accounts(&self, visit: &ConnectVisit) -> Result<Vec<Account>, IdentityError> {
        let accounts = self.oauth.accounts.list(visit.organization()).await?;
        let ours = |account: &Account| account.owner.as_ref() == visit.subject() && visit.allows(&account.service);
        Ok(accounts.into_iter().filter(ours).collect())
    }

    /// Connects by a form; with [`Wish::account`], replaces the fields of an account.
    pub(crate) async fn connect(&self, visit: &ConnectVisit, wish: Wish) -> Result<Account, IdentityError> {
        self.check(visit, &wish).await?;
        let organization = visit.organization().clone();
        if let Some(account) = wish.account {
            let change = AccountChange { organization, account, label: wish.label, credentials: wish.fields };
            return self.oauth.accounts.update_claimed(change, visit.record.claim.clone()).await;
        }
        let request = NewAccount {
            organization,
            service: wish.service,
            label: wish.label,
            owner: visit.subject().cloned(),
            credentials: wish.fields,
        };
        self.oauth.accounts.create_claimed(request, visit.record.claim.clone()).await
    }

    /// The vendor's address, for this browser's popup.
    pub(crate) async fn sign_in(&self, visit: &ConnectVisit, wish: Wish) -> Result<String, IdentityError> {
        self.check(visit, &wish).await?;
        self.oauth.start_here(request(visit, wish), visit.to_oauth()).await
    }

    pub(crate) async fn start_device(&self, visit: &ConnectVisit, wish: Wish) -> Result<StartedDevice, IdentityError> {
        self.check(visit, &wish).await?;
        self.oauth.start_device(request(visit, wish), Some(visit.to_oauth())).await
    }

    pub(crate) async fn device(&self, visit: &ConnectVisit, id: &str) -> Result<DeviceStatus, IdentityError> {
        self.oauth.device(visit.organization(), id, Some(&visit.record.id)).await
    }

    pub(crate) async fn relabel(
        &self,
        visit: &ConnectVisit,
        account: &AccountId,
        label: String,
    ) -> Result<Account, IdentityError> {
        let account = self.own(visit, account).await?;
        let change = AccountChange {
            organization: account.organization,
            account: account.id,
            label: Some(label),
            credentials: BTreeMap::new(),
        };
        self.oauth.accounts.update(change).await
    }

    pub(crate) async fn remove(&self, visit: &ConnectVisit, account: &AccountId) -> Result<Account, IdentityError> {
        let account = self.own(visit, account).await?;
        self.oauth.accounts.delete(&account.organization, &account.id).await
    }

    /// Ends the session. The claim is in the answer and nowhere else.
    pub(crate) async fn finish(&self, visit: &ConnectVisit) -> Result<Done, IdentityError> {
        let record = &visit.record;
        let ended = Write::delete(format!("{SESSIONS}{}", record.id), Expect::Anything);
        let Some(claim) = &record.claim else {
            let _ = self.oauth.records.commit(vec![ended], None).await?;
            return Ok(record.return_url.as_deref().map_or(Done::Nothing, |url| Done::Return(Secret::new(url))));
        };
        let token = self.oauth.issue_claim(&record.organization, claim).await?;
        let _ = self.oauth.records.commit(vec![ended], None).await?;
        Ok(match &record.return_url {
            Some(url) => Done::Return(with_query(url, "claim", token.expose())),
            None => Done::Claim(token),
        })
    }

    async fn check(&self, visit: &ConnectVisit, wish: &Wish) -> Result<(), IdentityError> {
        if !visit.allows(&wish.service) {
            return Err(IdentityError::invalid("service", "is not one that this link is for"));
        }
        match &wish.account {
            Some(account) => self.own(visit, account).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn own(&self, visit: &ConnectVisit, account: &AccountId) -> Result<Account, IdentityError> {
        let accounts = self.accounts(visit).await?;
        accounts.into_iter().find(|own| own.id == *account).ok_or(NO_ACCOUNT)
    }
}

fn request(visit: &ConnectVisit, wish: Wish) -> SignIn {
    SignIn {
        organization: visit.organization().clone(),
        key: visit.record.key.clone(),
        service: wish.service,
        label: wish.label,
        owner: visit.subject().cloned(),
        fields: wish.fields,
        account: wish.account,
        return_url: None,
    }
}
