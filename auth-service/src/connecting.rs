//! What pages call: sign-ins of a browser, and what a person may do inside a connect session. Each checks what it must;
//! a page only shows what comes back.

use std::collections::BTreeMap;

use plugboard_core::identity::{Account, DeviceStatus, IdentityError, IssuedSession, NewConnectSession, StartedDevice};
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::secret::Secret;

use crate::oauth::authorize::Departure;
use crate::oauth::callback::{Arrival, Refusal};
use crate::service::AuthService;
use crate::sessions::{ConnectVisit, Connectable, Done, Wish};

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

    /// Ends the session and says where the browser goes.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn finish(&self, visit: &ConnectVisit) -> Result<Done, IdentityError> {
        self.sessions.finish(visit).await
    }
}
