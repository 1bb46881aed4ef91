//! OAuth clients: an organization's own, else the platform's.

use std::collections::BTreeMap;

use plugboard_core::identity::{ClientOwner, IdentityError, NewOAuthClient, OAuthClient};
use plugboard_core::ids::{OrganizationId, ServiceKey};
use plugboard_core::manifest::{ClientAuth, FlowKind, OAuthFlow};
use plugboard_core::secret::Secret;
use plugboard_core::store::{Expect, Write};

use super::OAuth;
use super::records::{self as names, ClientRecord};
use crate::audit::Event;
use crate::keys::ATTEMPTS;
use crate::records;
use crate::token_endpoint::Client;

const NO_CLIENT: IdentityError = IdentityError::NotFound { what: "the OAuth client" };
const SECRET: &str = "client_secret";
const LONGEST: usize = 4096;

/// A client and whose it is.
pub(super) struct Found {
    pub platform: bool,
    pub client: Client,
}

impl OAuth {
    pub(crate) async fn set_client(&self, request: NewOAuthClient) -> Result<OAuthClient, IdentityError> {
        let connector = self.connector(&request.service)?;
        let mut flows = connector.manifest().auth.flows.iter().filter_map(|flow| flow.oauth.as_ref());
        if flows.clone().next().is_none() {
            let message = format!("{} has no sign-in; its credentials are typed", connector.manifest().name);
            return Err(IdentityError::invalid("service", message));
        }
        let client_id = checked("client_id", &request.client_id)?;
        let secret = request.client_secret.map(|secret| checked("client_secret", secret.expose()).map(Secret::new));
        let secret = secret.transpose()?;
        if secret.is_none() && flows.all(|oauth| oauth.client_auth != ClientAuth::None) {
            return Err(IdentityError::invalid("client_secret", "is missing: this service wants one"));
        }
        let name = names::client(&request.owner, &request.service);
        for _ in 0..ATTEMPTS {
            let found: Option<(ClientRecord, _)> = self.records.get(&name).await?;
            let (version, expect) =
                found.map_or((1, Expect::Absent), |(record, at)| (record.version + 1, Expect::Version(at)));
            let fields: BTreeMap<String, Secret> =
                secret.iter().map(|secret| (SECRET.to_owned(), secret.clone())).collect();
            let record = ClientRecord {
                service: request.service.clone(),
                client_id: client_id.clone(),
                has_secret: secret.is_some(),
                updated_at: self.clock.now().0,
                version,
                sealed: self.seal(
                    &organization_of(&request.owner),
                    &request.service,
                    &names::client_place(&client_id),
                    &fields,
                )?,
            };
            let write = records::put(name.clone(), &record, expect)?;
            let event = event(&request.owner, "oauth_client.set", &request.service);
            if self.records.commit_told(vec![write], None, vec![event]).await?.is_ok() {
                return Ok(self.listed(&record));
            }
        }
        Err(records::contended())
    }

    pub(crate) async fn clients(&self, owner: &ClientOwner) -> Result<Vec<OAuthClient>, IdentityError> {
        let records: Vec<ClientRecord> = self.records.list(&names::clients_of(owner)).await?;
        Ok(records.iter().map(|record| self.listed(record)).collect())
    }

    pub(crate) async fn remove_client(
        &self,
        owner: &ClientOwner,
        service: &ServiceKey,
    ) -> Result<OAuthClient, IdentityError> {
        let name = names::client(owner, service);
        let found: Option<(ClientRecord, _)> = self.records.get(&name).await?;
        let (record, version) = found.ok_or(NO_CLIENT)?;
        let write = Write::delete(name, Expect::Version(version));
        let event = event(owner, "oauth_client.remove", service);
        match self.records.commit_told(vec![write], None, vec![event]).await? {
            Ok(()) => Ok(self.listed(&record)),
            Err(_) => Err(records::contended()),
        }
    }

    /// The client that a sign-in of this organization uses.
    pub(super) async fn client(
        &self,
        organization: &OrganizationId,
        service: &ServiceKey,
        oauth: &OAuthFlow,
    ) -> Result<Found, IdentityError> {
        for owner in [ClientOwner::Organization(organization.clone()), ClientOwner::Platform] {
            if let Some(found) = self.client_of(&owner, service, oauth).await? {
                return Ok(found);
            }
        }
        let message = format!(
            "has no OAuth client yet: register one at the vendor with the redirect URI {} and set it with PUT \
             /api/v1/oauth-clients/{service}",
            self.redirect_uri(service)
        );
        Err(IdentityError::invalid("service", message))
    }

    /// The same client as before, for what was begun with it.
    pub(super) async fn same_client(
        &self,
        organization: &OrganizationId,
        service: &ServiceKey,
        oauth: &OAuthFlow,
        platform: bool,
        client_id: &str,
    ) -> Result<Option<Client>, IdentityError> {
        let owner = if platform { ClientOwner::Platform } else { ClientOwner::Organization(organization.clone()) };
        let found = self.client_of(&owner, service, oauth).await?;
        Ok(found.map(|found| found.client).filter(|client| client.id.expose() == client_id))
    }

    /// Whether a sign-in at this service can begin at all.
    pub(crate) async fn has_client(
        &self,
        organization: &OrganizationId,
        service: &ServiceKey,
    ) -> Result<bool, IdentityError> {
        for owner in [ClientOwner::Organization(organization.clone()), ClientOwner::Platform] {
            if self.records.get::<ClientRecord>(&names::client(&owner, service)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn client_of(
        &self,
        owner: &ClientOwner,
        service: &ServiceKey,
        oauth: &OAuthFlow,
    ) -> Result<Option<Found>, IdentityError> {
        let found: Option<(ClientRecord, _)> = self.records.get(&names::client(owner, service)).await?;
        let Some((record, _)) = found else { return Ok(None) };
        let mut fields =
            self.unseal(&organization_of(owner), service, &names::client_place(&record.client_id), &record.sealed)?;
        let secret = fields.remove(SECRET).unwrap_or_else(|| Secret::new(""));
        let client = Client { id: Secret::new(record.client_id), secret, auth: oauth.client_auth };
        Ok(Some(Found { platform: *owner == ClientOwner::Platform, client }))
    }

    fn listed(&self, record: &ClientRecord) -> OAuthClient {
        let signs_in_by_browser = self
            .connector(&record.service)
            .is_ok_and(|connector| connector.manifest().flow(FlowKind::PopupOauth).is_some());
        OAuthClient {
            service: record.service.clone(),
            client_id: record.client_id.clone(),
            has_secret: record.has_secret,
            redirect_uri: if signs_in_by_browser { self.redirect_uri(&record.service) } else { String::new() },
            updated_at: plugboard_core::clock::Millis(record.updated_at),
        }
    }
}

/// For the audit log: the platform's own clients are in the platform's.
fn event(owner: &ClientOwner, action: &'static str, service: &ServiceKey) -> Event {
    let event = match owner {
        ClientOwner::Organization(organization) => Event::of(organization, action),
        ClientOwner::Platform => Event::platform(action),
    };
    event.target("connector", service)
}

fn organization_of(owner: &ClientOwner) -> OrganizationId {
    match owner {
        ClientOwner::Organization(organization) => organization.clone(),
        ClientOwner::Platform => OrganizationId::trusted(names::PLATFORM),
    }
}

fn checked(field: &str, text: &str) -> Result<String, IdentityError> {
    let text = text.trim();
    if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
        return Err(IdentityError::invalid(field, format!("has 1 to {LONGEST} bytes in one line")));
    }
    Ok(text.to_owned())
}
