//! Back from the vendor: every check before the code is redeemed.
//!
//! In this order: the state is known, was not used and is young; it was made for this very callback address; the browser
//! is the one that left; the issuer is the one that was asked (RFC 9207). Only then is the code shown to anybody.

use plugboard_core::clock::Millis;
use plugboard_core::identity::{Account, IdentityError, identify};
use plugboard_core::ids::ServiceKey;
use plugboard_core::manifest::{Connector, FlowKind, OAuthFlow};
use plugboard_core::secret::{AccountFields, Secret};
use plugboard_core::store::{Expect, Write};

use super::authorize::take_verifier;
use super::claims;
use super::records::{self as names, FlowRecord, Intent, hash};
use super::redeem::{Exchange, RedeemError, grant};
use super::{OAuth, flow_of};
use crate::accounts::SignedIn;

/// How a sign-in ended well.
#[derive(Debug)]
pub struct Arrival {
    pub service: String,
    pub account: Account,
    /// What the vendor calls it.
    pub account_name: Option<String>,
    pub next: Next,
}

/// Where the browser goes.
#[derive(Debug)]
pub enum Next {
    /// Back to the tenant, with the claim in its query.
    Return(Secret),
    /// Our page shows the claim.
    Show(Secret),
    /// Back to the connect page it came from.
    Session,
}

/// Why a sign-in is refused. Each is a page in plain words.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("This sign-in is not known here. It was finished before, or it was begun more than 10 minutes ago.")]
    Unknown,
    #[error("This sign-in was begun in another browser. It can only be finished where it was begun.")]
    OtherBrowser,
    #[error("This answer belongs to a sign-in at another service.")]
    OtherService,
    #[error("This answer does not come from the service that was asked.")]
    OtherIssuer,
    #[error("You did not give your permission at {service}.")]
    Denied { service: String, return_url: Option<String> },
    #[error("{service} refused: {code}.")]
    VendorSaid { service: String, code: String, return_url: Option<String> },
    #[error("{service} has signed you in, but the account could not be connected: {why}.")]
    NotConnected { service: String, why: String },
    #[error("The sign-in cannot be finished right now.")]
    Platform(#[from] IdentityError),
}

impl OAuth {
    /// `cookies`: what this browser holds of ours.
    pub(crate) async fn callback(
        &self,
        service: &ServiceKey,
        query: &[(String, String)],
        cookies: &[Secret],
    ) -> Result<Arrival, Refusal> {
        let connector = self.connector(service).map_err(|_| Refusal::Unknown)?;
        let (_, oauth) = flow_of(&connector, FlowKind::PopupOauth).map_err(|_| Refusal::Unknown)?;
        let given = |name: &str| {
            let name = oauth.dialect.callback.get(name).map_or(name, String::as_str);
            let mut found = query.iter().filter(|(one, _)| one == name).map(|(_, value)| value.as_str());
            // A parameter that is there twice is nobody's honest answer.
            found.next().filter(|_| found.next().is_none())
        };
        let record = self.arrive(given("state").unwrap_or_default()).await?;
        let intent = &record.intent;
        if intent.service != *service {
            return Err(Refusal::OtherService);
        }
        if !cookies.iter().any(|cookie| record.browser.as_deref() == Some(hash(cookie).as_str())) {
            return Err(Refusal::OtherBrowser);
        }
        if record.issuer.as_deref().is_some_and(|issuer| given("iss") != Some(issuer)) {
            return Err(Refusal::OtherIssuer);
        }
        // This browser is the one that left: what comes of it is its person's doing.
        identify(intent.actor());
        let name = &connector.manifest().name;
        let Some(code) = given("code").filter(|code| !code.is_empty()) else {
            return Err(refused(name, given("error").unwrap_or_default(), intent));
        };
        let not_connected = |why: RedeemError| Refusal::NotConnected { service: name.clone(), why: why.to_string() };
        let signed_in = self.redeem(&connector, oauth, &record, code, query).await.map_err(not_connected)?;
        let account_name = signed_in.sign_in.account_name.clone();
        let account = self.accounts.connect(signed_in).await?;
        let next = match (&intent.session, &intent.claim) {
            (Some(_), _) | (None, None) => Next::Session,
            (None, Some(claim)) => {
                let claim = self.issue_claim(&intent.organization, claim, claims::LIFE).await?;
                match &intent.return_url {
                    Some(url) => Next::Return(with_query(url, "claim", claim.expose())),
                    None => Next::Show(claim),
                }
            }
        };
        Ok(Arrival { service: name.clone(), account, account_name, next })
    }

    /// The sign-in of a state, which is used up by looking.
    async fn arrive(&self, state: &str) -> Result<FlowRecord, Refusal> {
        let name = names::flow(&Secret::new(state));
        let found: Option<(FlowRecord, u64)> = self.records.get(&name).await?;
        let (record, version) = found.ok_or(Refusal::Unknown)?;
        let used = self.records.commit(vec![Write::delete(name, Expect::Version(version))], None).await?;
        if used.is_err() || Millis(record.expires_at) <= self.clock.now() {
            return Err(Refusal::Unknown);
        }
        Ok(record)
    }

    async fn redeem(
        &self,
        connector: &Connector,
        oauth: &OAuthFlow,
        record: &FlowRecord,
        code: &str,
        query: &[(String, String)],
    ) -> Result<SignedIn, RedeemError> {
        let intent = &record.intent;
        let mut typed = self.unseal(&intent.organization, &intent.service, &record.id, &record.sealed)?;
        let verifier = take_verifier(&mut typed).ok_or(super::NO_SIGN_IN)?;
        let client = self
            .same_client(&intent.organization, &intent.service, oauth, intent.platform_client, &intent.client_id)
            .await?
            .ok_or(IdentityError::NotFound { what: "the OAuth client" })?;
        let mut fields = AccountFields::of_secrets(typed.clone());
        // A host that the vendor told on the way may be part of the token URL; it is checked as every host is.
        for (name, kept) in &oauth.keep {
            if let Some(parameter) = &kept.callback {
                let value = query.iter().find(|(one, _)| one == parameter).map(|(_, value)| value.clone());
                self.keep(&mut fields, name, kept, value)?;
            }
        }
        let exchange = Exchange {
            manifest: connector.manifest(),
            oauth,
            client: &client,
            url: &oauth.token_url,
            fields: &fields,
            once: true,
        };
        let url = exchange.url()?;
        let parameters = vec![
            ("grant_type", grant(oauth, "authorization_code")),
            ("code", Secret::new(code)),
            ("redirect_uri", Secret::new(record.redirect_uri.as_str())),
            ("code_verifier", verifier),
        ];
        let reply = exchange.call(&url, parameters)?.send(&*self.egress, &oauth.dialect.errors).await?;
        let signed_in = self.account_of(connector, intent, FlowKind::PopupOauth, typed, query, &reply).await?;
        self.check_same_account(intent, &signed_in).await?;
        Ok(signed_in)
    }

    /// An account is connected again by whoever it belongs to at the vendor, if the vendor tells.
    pub(super) async fn check_same_account(&self, intent: &Intent, signed_in: &SignedIn) -> Result<(), RedeemError> {
        let Some(account) = &intent.account else { return Ok(()) };
        let record = self.account_record(&intent.organization, account).await?;
        let expected = record.sign_in.and_then(|sign_in| sign_in.account_name);
        match (expected, &signed_in.sign_in.account_name) {
            (Some(expected), Some(found)) if expected != *found => {
                Err(RedeemError::OtherAccount { expected, found: found.clone() })
            }
            _ => Ok(()),
        }
    }
}

fn refused(service: &str, code: &str, intent: &Intent) -> Refusal {
    let (service, return_url) = (service.to_owned(), intent.return_url.clone());
    let back = |code: &str| return_url.as_deref().map(|url| with_query(url, "error", code).expose().to_owned());
    if code == "access_denied" {
        return Refusal::Denied { service, return_url: back(code) };
    }
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let code: String = code.chars().filter(plain).take(64).collect();
    let code = if code.is_empty() { "no code came back".to_owned() } else { code };
    Refusal::VendorSaid { service, return_url: back("sign_in_failed"), code }
}

pub(crate) fn with_query(url: &str, name: &str, value: &str) -> Secret {
    let Ok(mut parsed) = url::Url::parse(url) else { return Secret::new(url) };
    parsed.query_pairs_mut().append_pair(name, value);
    Secret::new(String::from(parsed))
}
