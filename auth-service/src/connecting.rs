//! What pages call: sign-ins of a browser, and what a person may do inside a connect session. Each checks what it must;
//! a page only shows what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugboard_core::identity::{
    Account, DeviceStatus, IdentityError, IssuedSession, NewConnectSession, Revoke, Revoked, StartedDevice,
};
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::manifest::Connector;
use plugboard_core::secret::Secret;

use crate::oauth::authorize::Departure;
use crate::oauth::callback::{Arrival, Refusal};
use crate::probe::{self, Verdict};
use crate::service::AuthService;
use crate::sessions::{ConnectVisit, Connectable, Done, ShownCode, Wish};

impl AuthService {
    /// What a sign-in link is about.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when it was used or has expired.
    pub async fn departure(&self, link: &Secret) -> Result<Departure, IdentityError> {
        self.oauth.departure(link).await
    }

    /// Uses a sign-in link up; the vendor's address for this browser.
    ///
    /// # Errors
    /// As [`AuthService::departure`].
    pub async fn follow(&self, link: &Secret, browser: &Secret) -> Result<String, IdentityError> {
        self.oauth.follow(link, browser).await
    }

    /// The end of a sign-in. `cookies`: every mark of ours that this browser has.
    ///
    /// # Errors
    /// [`Refusal`], which is a page in plain words.
    pub async fn callback(
        &self,
        service: &ServiceKey,
        query: &[(String, String)],
        cookies: &[Secret],
    ) -> Result<Arrival, Refusal> {
        self.oauth.callback(service, query, cookies).await
    }

    /// Tells the vendor that the tokens among an account's sealed fields are to end (RFC 7009). False: there is no way to.
    ///
    /// # Errors
    /// [`IdentityError::VendorRefused`], [`IdentityError::VendorDown`].
    pub async fn revoke_tokens(
        &self,
        organization: &OrganizationId,
        service: &ServiceKey,
        fields: &BTreeMap<String, Secret>,
    ) -> Result<bool, IdentityError> {
        self.oauth.revoke_tokens(organization, service, fields).await
    }

    /// A session whose accounts need no claim: for a link that is shown to its own user only, at the terminal that
    /// started this process. Never for a link that is sent.
    ///
    /// # Errors
    /// As `Connect::create_session`.
    pub async fn create_trusted_session(&self, request: NewConnectSession) -> Result<IssuedSession, IdentityError> {
        self.sessions.create_with(request, None).await
    }

    /// Opens a connect link, once: the browser's cookie, and its session.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when it was opened or has expired.
    pub async fn open_session(&self, token: &Secret) -> Result<(Secret, ConnectVisit), IdentityError> {
        self.sessions.open(token).await
    }

    /// The session of a browser, by its cookie.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when it has ended.
    pub async fn visit(&self, cookie: &Secret) -> Result<ConnectVisit, IdentityError> {
        self.sessions.visit(cookie).await
    }

    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn connectable(&self, visit: &ConnectVisit) -> Result<Vec<Connectable>, IdentityError> {
        self.sessions.connectable(visit).await
    }

    /// The accounts of the session's user, at the session's services.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn visit_accounts(&self, visit: &ConnectVisit) -> Result<Vec<Account>, IdentityError> {
        self.sessions.accounts(visit).await
    }

    /// Submits a credentials form: a new account, or new fields of one.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] names the field.
    pub async fn submit_form(&self, visit: &ConnectVisit, wish: Wish) -> Result<Account, IdentityError> {
        self.sessions.connect(visit, wish).await
    }

    /// The vendor's address for a popup. The popup comes back to our callback, whose page says that it can be closed.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] names the field.
    pub async fn start_popup(&self, visit: &ConnectVisit, wish: Wish) -> Result<String, IdentityError> {
        self.sessions.sign_in(visit, wish).await
    }

    /// # Errors
    /// As [`AuthService::start_popup`], and what the vendor said.
    pub async fn start_code(&self, visit: &ConnectVisit, wish: Wish) -> Result<StartedDevice, IdentityError> {
        self.sessions.start_device(visit, wish).await
    }

    /// # Errors
    /// [`IdentityError::NotFound`] when this session has not begun it.
    pub async fn poll_code(&self, visit: &ConnectVisit, id: &str) -> Result<DeviceStatus, IdentityError> {
        self.sessions.device(visit, id).await
    }

    /// # Errors
    /// [`IdentityError::Exists`] when the label is taken.
    pub async fn relabel(
        &self,
        visit: &ConnectVisit,
        account: &AccountId,
        label: String,
    ) -> Result<Account, IdentityError> {
        self.sessions.relabel(visit, account, label).await
    }

    /// # Errors
    /// [`IdentityError::NotFound`] when it is not an account of this session's user.
    pub async fn disconnect(&self, visit: &ConnectVisit, account: &AccountId) -> Result<Account, IdentityError> {
        self.sessions.remove(visit, account).await
    }

    /// What somebody was shown when a code was begun.
    ///
    /// # Errors
    /// As [`AuthService::poll_code`].
    pub async fn shown_code(&self, visit: &ConnectVisit, id: &str) -> Result<ShownCode, IdentityError> {
        self.sessions.shown(visit, id).await
    }

    /// Makes an account unusable at once and for ever, and has its vendor told.
    ///
    /// # Errors
    /// As [`AuthService::disconnect`].
    pub async fn revoke_own(&self, visit: &ConnectVisit, account: &AccountId) -> Result<(), IdentityError> {
        let own = self.sessions.changeable(visit, account).await?;
        let what = Revoked::Account(own.id);
        let reason = "taken back on the connect page".to_owned();
        self.kill.revoke(Revoke { organization: own.organization, what, reason }).await.map(drop)
    }

    /// Asks the vendor whether it accepts an account.
    ///
    /// # Errors
    /// As [`AuthService::disconnect`]; [`IdentityError::NeedsReauth`] when it lacks something.
    pub async fn test_account(&self, visit: &ConnectVisit, account: &AccountId) -> Result<Verdict, IdentityError> {
        let own = self.sessions.own(visit, account).await?;
        let connector = self.oauth.connector(&own.service)?;
        if connector.manifest().auth.test.is_none() {
            return Ok(Verdict::NoTest);
        }
        let record = self.oauth.account_record(&own.organization, &own.id).await?;
        let fields = self.vault.to_test(record).await?;
        probe::probe(&*self.oauth.egress, &*self.oauth.clock, &connector, &fields).await
    }

    /// Places of the services that fit some words, from the best on.
    pub(crate) fn search_services(&self, query: &str) -> BTreeMap<ServiceKey, usize> {
        let found = self.oauth.catalog.snapshot().search(query);
        found.into_iter().enumerate().map(|(place, connector)| (connector.key().clone(), place)).collect()
    }

    /// The connector of an account; `None` when the catalog has it no more.
    pub(crate) fn connector_of(&self, service: &ServiceKey) -> Option<Arc<Connector>> {
        self.oauth.connector(service).ok()
    }

    pub(crate) fn allows_private_hosts(&self) -> bool {
        self.oauth.rules.allow_private_hosts
    }

    /// Ends the session and says where the browser goes.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn finish(&self, visit: &ConnectVisit) -> Result<Done, IdentityError> {
        self.sessions.finish(visit).await
    }
}
