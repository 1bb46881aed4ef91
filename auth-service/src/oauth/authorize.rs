//! Authorization code with PKCE (RFC 6749 §4.1, RFC 7636, RFC 9700): from the link to the vendor.
//!
//! A link is bound to the browser that follows it first; what comes back must come by that browser. The state is 256
//! random bits, stored as a hash beside everything it stands for, and works once.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plugboard_core::clock::Millis;
use plugboard_core::egress::parse_url;
use plugboard_core::identity::{IdentityError, SignIn, StartedSignIn};
use plugboard_core::ids::{AccountId, OrganizationId};
use plugboard_core::manifest::{Connector, Flow, FlowKind, OAuthFlow};
use plugboard_core::secret::{AccountFields, Secret};
use plugboard_core::store::{Expect, Write};
use sha2::{Digest, Sha256};

use super::records::{self as names, FlowRecord, Intent, hash, random_token};
use super::{FLOW_LIFE, NO_SIGN_IN, OAuth, flow_of};
use crate::accounts::{self, NO_ACCOUNT};
use crate::keys::checked_subject;
use crate::records::{self, AccountRecord, OrganizationRecord};
use crate::{rendering, sessions};

const VERIFIER: &str = ":verifier";

/// Where a sign-in belongs when it was begun on a connect page.
pub(crate) struct Visit {
    pub session: String,
    /// SHA-256 of the session's cookie.
    pub browser: String,
    pub claim: Option<String>,
}

/// A sign-in before the person leaves for the vendor.
#[derive(Debug, Clone)]
pub struct Departure {
    /// Who asks.
    pub organization: String,
    pub service: String,
    /// The end user the account will belong to.
    pub owner: Option<String>,
    pub scopes: Vec<String>,
}

/// What a sign-in of any kind needs before it begins.
pub(super) struct Prepared {
    pub intent: Intent,
    pub typed: BTreeMap<String, Secret>,
}

impl OAuth {
    pub(crate) async fn start_sign_in(&self, request: SignIn) -> Result<StartedSignIn, IdentityError> {
        // Whose browser will follow the link is not known, so what it connects has to be claimed.
        let claim = Some(random_id()?);
        let (record, expires_at) = self.flow_record(request, None, claim).await?;
        let link = random_token()?;
        let write = records::put(names::link(&link), &record, Expect::Absent)?;
        self.records.commit(vec![write], None).await?.map_err(|_| records::contended())?;
        Ok(StartedSignIn { url: format!("{}/oauth/start/{}", self.public_url, link.expose()), expires_at })
    }

    /// On a connect page: the vendor's address for this browser.
    pub(crate) async fn start_here(&self, request: SignIn, visit: Visit) -> Result<String, IdentityError> {
        let browser = visit.browser.clone();
        let (record, _) = self.flow_record(request, Some(&visit), visit.claim.clone()).await?;
        self.depart(record, browser, None).await
    }

    /// What a link is about. Looking does not use it up.
    pub(crate) async fn departure(&self, link: &Secret) -> Result<Departure, IdentityError> {
        let (record, _) = self.link(link).await?;
        let intent = &record.intent;
        let connector = self.connector(&intent.service)?;
        let (_, oauth) = flow_of(&connector, FlowKind::PopupOauth)?;
        let found: Option<(OrganizationRecord, _)> =
            self.records.get(&records::organization(&intent.organization)).await?;
        let (organization, _) = found.ok_or(NO_SIGN_IN)?;
        Ok(Departure {
            organization: organization.name,
            service: connector.manifest().name.clone(),
            owner: intent.owner.as_ref().map(|owner| owner.0.clone()),
            scopes: oauth.scopes.clone(),
        })
    }

    /// Uses a link up: from now on the sign-in belongs to this browser.
    pub(crate) async fn follow(&self, link: &Secret, browser: &Secret) -> Result<String, IdentityError> {
        let (record, version) = self.link(link).await?;
        self.depart(record, hash(browser), Some(Write::delete(names::link(link), Expect::Version(version)))).await
    }

    async fn link(&self, link: &Secret) -> Result<(FlowRecord, u64), IdentityError> {
        let found: Option<(FlowRecord, u64)> = self.records.get(&names::link(link)).await?;
        found.filter(|(record, _)| Millis(record.expires_at) > self.clock.now()).ok_or(NO_SIGN_IN)
    }

    async fn depart(
        &self,
        mut record: FlowRecord,
        browser: String,
        used: Option<Write>,
    ) -> Result<String, IdentityError> {
        let intent = &record.intent;
        let connector = self.connector(&intent.service)?;
        let (_, oauth) = flow_of(&connector, FlowKind::PopupOauth)?;
        let typed = self.unseal(&intent.organization, &intent.service, &record.id, &record.sealed)?;
        let verifier = typed.get(VERIFIER).ok_or(NO_SIGN_IN)?;
        let state = random_token()?;
        let url = self.authorize_url(&connector, oauth, &record, &typed, &state, verifier)?;
        record.browser = Some(browser);
        let mut writes = vec![records::put(names::flow(&state), &record, Expect::Absent)?];
        writes.extend(used);
        // A link that somebody else has used in between is used up.
        self.records.commit(writes, None).await?.map_err(|_| NO_SIGN_IN)?;
        Ok(url)
    }

    fn authorize_url(
        &self,
        connector: &Connector,
        oauth: &OAuthFlow,
        record: &FlowRecord,
        typed: &BTreeMap<String, Secret>,
        state: &Secret,
        verifier: &Secret,
    ) -> Result<String, IdentityError> {
        let broken = |what: &str| IdentityError::Unavailable(format!("{}: {what}", connector.key()));
        let fields = AccountFields::of_secrets(typed.clone());
        let template = oauth.authorize_url.as_deref().ok_or_else(|| broken("no authorize_url"))?;
        let url =
            rendering::url(template, connector.manifest(), &fields).ok_or_else(|| broken("a field is missing"))?;
        let mut url = parse_url(&url).map_err(|error| broken(&error.to_string()))?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()));
        let scope = oauth.scopes.join(&oauth.scope_separator);
        let ours = [
            ("response_type", "code"),
            ("client_id", record.intent.client_id.as_str()),
            ("redirect_uri", record.redirect_uri.as_str()),
            ("scope", scope.as_str()),
            ("state", state.expose()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let mut query = url.query_pairs_mut();
        for (name, value) in ours {
            let name = oauth.dialect.authorize.get(name).map_or(name, String::as_str);
            if !name.is_empty() && !value.is_empty() && !oauth.authorize_params.contains_key(name) {
                query.append_pair(name, value);
            }
        }
        for (name, template) in &oauth.authorize_params {
            let value = rendering::text(template, &fields).ok_or_else(|| broken("a field is missing"))?;
            query.append_pair(name, &value);
        }
        drop(query);
        Ok(url.into())
    }

    async fn flow_record(
        &self,
        request: SignIn,
        visit: Option<&Visit>,
        claim: Option<String>,
    ) -> Result<(FlowRecord, Millis), IdentityError> {
        let connector = self.connector(&request.service)?;
        let (flow, oauth) = flow_of(&connector, FlowKind::PopupOauth)?;
        let Prepared { intent, mut typed } = self.prepare(request, &connector, flow, oauth, visit, claim).await?;
        typed.insert(VERIFIER.to_owned(), random_token()?);
        let expires_at = self.clock.now().plus(FLOW_LIFE);
        let id = random_id()?;
        let record = FlowRecord {
            issuer: oauth.issuer.clone(),
            redirect_uri: self.redirect_uri(&intent.service),
            browser: None,
            expires_at: expires_at.0,
            sealed: self.seal(&intent.organization, &intent.service, &id, &typed)?,
            intent,
            id,
        };
        Ok((record, expires_at))
    }

    /// Checks everything that can be checked before a person is sent anywhere.
    pub(super) async fn prepare(
        &self,
        request: SignIn,
        connector: &Connector,
        flow: &Flow,
        oauth: &OAuthFlow,
        visit: Option<&Visit>,
        claim: Option<String>,
    ) -> Result<Prepared, IdentityError> {
        let organization = request.organization;
        if OrganizationId::parse(organization.as_str()).is_none() {
            return Err(crate::keys::NO_ORGANIZATION);
        }
        let mut fields = request.fields;
        let mut owner = request.owner.as_ref().map(|owner| checked_subject("owner", owner)).transpose()?;
        if let Some(account) = &request.account {
            let record = self.account_record(&organization, account).await?;
            if record.service != request.service {
                return Err(IdentityError::invalid("service", format!("the account is one of {}", record.service)));
            }
            owner.clone_from(&record.owner);
            // What was typed then still holds, unless it is typed anew.
            let known = accounts::open(&self.masters, &record)?;
            let asked = known.into_iter().filter(|(name, _)| flow.fields.contains_key(name));
            fields = asked.chain(fields).collect();
        }
        let checked = self.rules.check_flow(connector.manifest(), flow, &fields).map_err(accounts::invalid)?;
        let public = checked.public.into_iter().map(|(name, value)| (name, Secret::new(value)));
        let found = self.client(&organization, &request.service, oauth).await?;
        let intent = Intent {
            organization,
            key: request.key,
            service: request.service,
            label: request.label.as_deref().map(accounts::checked_label).transpose()?,
            owner,
            account: request.account,
            session: visit.map(|visit| visit.session.clone()),
            claim,
            return_url: request.return_url.as_deref().map(sessions::checked_return_url).transpose()?,
            platform_client: found.platform,
            client_id: found.client.id.expose().to_owned(),
        };
        Ok(Prepared { intent, typed: public.chain(checked.secret).collect() })
    }

    pub(crate) async fn account_record(
        &self,
        organization: &OrganizationId,
        account: &AccountId,
    ) -> Result<AccountRecord, IdentityError> {
        accounts::check_ids(organization, account)?;
        let found: Option<(AccountRecord, _)> = self.records.get(&records::account(organization, account)).await?;
        found.map(|(record, _)| record).ok_or(NO_ACCOUNT)
    }
}

/// The PKCE verifier out of what was sealed.
pub(super) fn take_verifier(typed: &mut BTreeMap<String, Secret>) -> Option<Secret> {
    typed.remove(VERIFIER)
}

/// 128 random bits, for ids that are no secret.
pub(crate) fn random_id() -> Result<String, IdentityError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| IdentityError::Unavailable("the machine gave no randomness".into()))?;
    Ok(hex::encode(random))
}
