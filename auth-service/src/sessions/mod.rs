//! Connect sessions: a link for one end user, for a while, for some services.
//!
//! The link's token opens the session once; from then on it belongs to the browser that opened it, by a cookie. What is
//! connected in it waits to be claimed: when the person is done, the browser carries a claim to the tenant's return URL
//! (or our page shows it), and the tenant's backend redeems it.
//!
//! | what | value |
//! | --- | --- |
//! | a link | 15 min, single use |
//! | a visit that it has opened | 1 h |
//!
//! | name | record |
//! | --- | --- |
//! | `connect-session/<id>` | [`SessionRecord`] |
//! | `connect-token/<hash>`, `connect-browser/<hash>` | [`PointerRecord`] |

mod visit;

use std::sync::Arc;
use std::time::Duration;

use plugboard_core::clock::Millis;
use plugboard_core::identity::{Actor, IdentityError, IssuedSession, NewConnectSession, identify};
use plugboard_core::ids::{KeyId, OrganizationId, ServiceKey, Subject};
use plugboard_core::secret::Secret;
use plugboard_core::store::{Expect, Write};
use serde::{Deserialize, Serialize};

pub use self::visit::{ConnectVisit, Connectable, Done, ShownCode, Wish};
use crate::audit::Event;
use crate::keys::{NO_ORGANIZATION, checked_subject};
use crate::oauth::OAuth;
use crate::oauth::authorize::random_id;
use crate::oauth::records::{hash, random_token};
use crate::records::{self, OrganizationRecord};

const LINK_LIFE: Duration = Duration::from_secs(15 * 60);
const VISIT_LIFE: Duration = Duration::from_secs(60 * 60);
const MOST_SERVICES: usize = 200;
const LONGEST_URL: usize = 2048;

pub(crate) const SESSIONS: &str = "connect-session/";
pub(crate) const TOKENS: &str = "connect-token/";
pub(crate) const BROWSERS: &str = "connect-browser/";

const NO_SESSION: IdentityError = IdentityError::NotFound { what: "the connect session" };

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub id: String,
    pub organization: OrganizationId,
    pub organization_name: String,
    /// Whoever made the link.
    pub key: KeyId,
    pub subject: Option<Subject>,
    pub services: Vec<ServiceKey>,
    pub return_url: Option<String>,
    /// What accounts wait for; `None`: the link was shown to its own user only, at the terminal that started us.
    pub claim: Option<String>,
    /// Whoever asked for the link has the claim already: [`NewConnectSession::by_call`].
    #[serde(default)]
    pub by_call: bool,
    /// See [`NewConnectSession::mend_only`].
    #[serde(default)]
    pub mend_only: bool,
    pub expires_at: i64,
}

impl SessionRecord {
    /// Whoever has opened the link: no key of ours, but somebody whom the tenant has named.
    fn actor(&self) -> Actor {
        Actor::person(Some(&self.id), self.subject.as_ref())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct PointerRecord {
    session: String,
    expires_at: i64,
}

/// The use cases of connect pages.
pub(crate) struct Sessions {
    oauth: Arc<OAuth>,
}

impl Sessions {
    pub(crate) fn new(oauth: Arc<OAuth>) -> Self {
        Self { oauth }
    }

    pub(crate) async fn create(&self, request: NewConnectSession) -> Result<IssuedSession, IdentityError> {
        self.create_with(request, Some(random_id()?)).await
    }

    /// `claim`: see [`SessionRecord::claim`].
    pub(crate) async fn create_with(
        &self,
        request: NewConnectSession,
        claim: Option<String>,
    ) -> Result<IssuedSession, IdentityError> {
        let organization = self.organization(&request.organization).await?;
        if request.services.len() > MOST_SERVICES {
            return Err(IdentityError::invalid("services", format!("are at most {MOST_SERVICES}")));
        }
        for service in &request.services {
            let known = crate::accounts::connector(&self.oauth.catalog, service)?;
            known.ok_or_else(|| {
                IdentityError::invalid(
                    "services",
                    format!("{service} is not in the catalog; list_services shows what is"),
                )
            })?;
        }
        let record = SessionRecord {
            id: random_id()?,
            organization: request.organization,
            organization_name: organization.name,
            key: request.key,
            subject: request.subject.as_ref().map(|subject| checked_subject("subject", subject)).transpose()?,
            services: request.services,
            return_url: request.return_url.as_deref().map(checked_return_url).transpose()?,
            claim,
            by_call: request.by_call,
            mend_only: request.mend_only,
            expires_at: self.oauth.clock.now().plus(LINK_LIFE).0,
        };
        let token = random_token()?;
        let pointer = PointerRecord { session: record.id.clone(), expires_at: record.expires_at };
        let writes = vec![
            records::put(format!("{SESSIONS}{}", record.id), &record, Expect::Absent)?,
            records::put(format!("{TOKENS}{}", hash(&token)), &pointer, Expect::Absent)?,
        ];
        let event = Event::of(&record.organization, "session.create").target("session", &record.id);
        self.oauth.records.commit_told(writes, None, vec![event]).await?.map_err(|_| records::contended())?;
        let claim = match &record.claim {
            Some(claim) if record.by_call => {
                Some(self.oauth.issue_claim(&record.organization, claim, LINK_LIFE + VISIT_LIFE).await?)
            }
            _ => None,
        };
        Ok(IssuedSession {
            id: record.id,
            url: Secret::new(format!("{}/connect/{}", self.oauth.public_url, token.expose())),
            token,
            expires_at: Millis(record.expires_at),
            claim,
        })
    }

    /// Opens a link, once. The cookie is the browser's from now on.
    pub(crate) async fn open(&self, token: &Secret) -> Result<(Secret, ConnectVisit), IdentityError> {
        let name = format!("{TOKENS}{}", hash(token));
        let (pointer, version) = self.pointer(&name).await?;
        let (mut record, at) = self.session(&pointer.session).await?;
        let expires_at = self.oauth.clock.now().plus(VISIT_LIFE).0;
        record.expires_at = expires_at;
        let cookie = random_token()?;
        let next = PointerRecord { session: record.id.clone(), expires_at };
        let writes = vec![
            Write::delete(name, Expect::Version(version)),
            records::put(format!("{BROWSERS}{}", hash(&cookie)), &next, Expect::Absent)?,
            records::put(format!("{SESSIONS}{}", record.id), &record, Expect::Version(at))?,
        ];
        identify(record.actor());
        let event = Event::of(&record.organization, "session.open").target("session", &record.id);
        // Refused: somebody else has opened it in between.
        self.oauth.records.commit_told(writes, None, vec![event]).await?.map_err(|_| NO_SESSION)?;
        let visit = ConnectVisit { record, browser: hash(&cookie) };
        Ok((cookie, visit))
    }

    /// The session of a browser that has opened one. Whatever the present request does from here on, it does for it.
    pub(crate) async fn visit(&self, cookie: &Secret) -> Result<ConnectVisit, IdentityError> {
        let (pointer, _) = self.pointer(&format!("{BROWSERS}{}", hash(cookie))).await?;
        let (record, _) = self.session(&pointer.session).await?;
        identify(record.actor());
        Ok(ConnectVisit { record, browser: hash(cookie) })
    }

    async fn pointer(&self, name: &str) -> Result<(PointerRecord, u64), IdentityError> {
        let found: Option<(PointerRecord, u64)> = self.oauth.records.get(name).await?;
        found.filter(|(pointer, _)| Millis(pointer.expires_at) > self.oauth.clock.now()).ok_or(NO_SESSION)
    }

    async fn session(&self, id: &str) -> Result<(SessionRecord, u64), IdentityError> {
        let found: Option<(SessionRecord, u64)> = self.oauth.records.get(&format!("{SESSIONS}{id}")).await?;
        found.filter(|(record, _)| Millis(record.expires_at) > self.oauth.clock.now()).ok_or(NO_SESSION)
    }

    async fn organization(&self, id: &OrganizationId) -> Result<OrganizationRecord, IdentityError> {
        if OrganizationId::parse(id.as_str()).is_none() {
            return Err(NO_ORGANIZATION);
        }
        let found: Option<(OrganizationRecord, _)> = self.oauth.records.get(&records::organization(id)).await?;
        found.map(|(record, _)| record).ok_or(NO_ORGANIZATION)
    }
}

/// A page of the tenant's: https, or http on its own machine.
pub(crate) fn checked_return_url(text: &str) -> Result<String, IdentityError> {
    let wrong = |message: &str| IdentityError::invalid("return_url", message);
    if text.len() > LONGEST_URL {
        return Err(wrong("is longer than 2048 bytes"));
    }
    let url = url::Url::parse(text.trim()).map_err(|_| wrong("is not an absolute URL: https://…"))?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err(wrong("must begin with https://")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(wrong("has no user name and no fragment"));
    }
    Ok(url.into())
}
