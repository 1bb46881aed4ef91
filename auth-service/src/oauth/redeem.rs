//! The token request, what is kept of its reply, and whose account it is.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use plugboard_core::clock::Millis;
use plugboard_core::egress::parse_url;
use plugboard_core::identity::IdentityError;
use plugboard_core::manifest::credentials::{CheckedCredentials, matches_whole};
use plugboard_core::manifest::host::normalize_host;
use plugboard_core::manifest::{Connector, Discovery, FlowKind, KeptField, Manifest, OAuthFlow, Source};
use plugboard_core::secret::{AccountFields, Secret};
use serde_json::Value;

use super::records::Intent;
use super::{ACCESS_TOKEN, OAuth, REFRESH_TOKEN};
use crate::accounts::SignedIn;
use crate::chance;
use crate::records::SignInRecord;
use crate::rendering;
use crate::token_endpoint::{self, Client, Failure, TokenCall, header};

/// Before a token's end; a vendor's clock and a call's time both fit in.
const AHEAD: Duration = Duration::from_secs(5 * 60);
const LONGEST_NAME: usize = 200;
const LONGEST_KEPT: usize = 2048;

/// A set of tokens as the vendor gave it.
pub(super) struct Tokens {
    pub access: Secret,
    pub refresh: Option<Secret>,
    pub life: Option<Duration>,
}

/// Why a sign-in came to nothing although the vendor said yes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedeemError {
    #[error("the vendor did not give a token: {}", .0.said())]
    Vendor(Failure),
    #[error("the vendor did not say {0}, without which the account cannot be used")]
    Missing(String),
    #[error("the vendor said something of {0} that cannot be used")]
    Unusable(String),
    #[error("this is the account {found:?}, but the one to connect again is {expected:?}")]
    OtherAccount { expected: String, found: String },
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<Failure> for RedeemError {
    fn from(failure: Failure) -> Self {
        Self::Vendor(failure)
    }
}

/// The value of `grant_type` in the vendor's words.
pub(super) fn grant<'o>(oauth: &'o OAuthFlow, name: &'o str) -> Secret {
    let standard = if name == "device_code" { "urn:ietf:params:oauth:grant-type:device_code" } else { name };
    Secret::new(oauth.dialect.grants.get(name).map_or(standard, String::as_str))
}

/// What an exchange at the token endpoint needs to know.
pub(super) struct Exchange<'a> {
    pub manifest: &'a Manifest,
    pub oauth: &'a OAuthFlow,
    pub client: &'a Client,
    /// A template.
    pub url: &'a str,
    /// Known so far.
    pub fields: &'a AccountFields,
    pub once: bool,
}

impl Exchange<'_> {
    pub(super) fn call<'c>(
        &'c self,
        url: &'c str,
        parameters: Vec<(&'c str, Secret)>,
    ) -> Result<TokenCall<'c>, Failure> {
        let further = self.oauth.token_params.iter().map(|(name, template)| {
            let value = rendering::text(template, self.fields);
            value.map(|value| (name.clone(), Secret::new(value)))
        });
        let further = further.collect::<Option<_>>().ok_or_else(|| Failure::unsendable("a field is missing"))?;
        Ok(TokenCall {
            url,
            style: self.oauth.dialect.request,
            names: &self.oauth.dialect.token,
            client: Some(self.client),
            parameters,
            further,
            once: self.once,
        })
    }

    pub(super) fn url(&self) -> Result<String, Failure> {
        rendering::url(self.url, self.manifest, self.fields).ok_or_else(|| Failure::unsendable("a field is missing"))
    }
}

/// Tokens of a reply. A vendor that does not repeat the refresh token lets the old one live.
pub(super) fn tokens(oauth: &OAuthFlow, reply: &Value) -> Result<Tokens, Failure> {
    let refresh = reply.pointer(&oauth.answer.refresh_token).filter(|value| !value.is_null());
    let refresh = refresh.map(|_| token_endpoint::token_at(reply, &oauth.answer.refresh_token)).transpose()?;
    let seconds = token_endpoint::seconds_at(reply, &oauth.answer.expires_in);
    Ok(Tokens {
        access: token_endpoint::token_at(reply, &oauth.answer.access_token)?,
        refresh,
        life: seconds.or(oauth.lifetime_seconds.map(u64::from)).map(Duration::from_secs),
    })
}

/// When a token ends, and when it is to be renewed: at 80 % of its life, give or take a tenth of it, so that accounts
/// connected together are not renewed together; at the latest five minutes before the end.
pub(super) fn times(obtained: Millis, life: Option<Duration>, random: u32) -> (Option<i64>, Option<i64>) {
    let Some(life) = life else { return (None, None) };
    let share = 0.7 + 0.2 * f64::from(random) / f64::from(u32::MAX);
    let usual = life.mul_f64(share);
    // Of a life so short that this would be at once, the share alone counts.
    let latest = if life > AHEAD * 2 { life.saturating_sub(AHEAD) } else { life };
    (Some(obtained.plus(life).0), Some(obtained.plus(usual.min(latest)).0))
}

impl OAuth {
    /// From the token reply to a connected account. `callback`: the query that the browser came back with.
    pub(super) async fn account_of(
        &self,
        connector: &Connector,
        intent: &Intent,
        kind: FlowKind,
        typed: BTreeMap<String, Secret>,
        callback: &[(String, String)],
        reply: &Value,
    ) -> Result<SignedIn, RedeemError> {
        let (flow, oauth) = super::flow_of(connector, kind)?;
        let mut fields = AccountFields::default();
        for (name, value) in typed {
            let secret = flow.fields.get(&name).is_none_or(|field| field.secret);
            put(&mut fields, &name, value.expose().to_owned(), secret);
        }
        let tokens = tokens(oauth, reply)?;
        fields.token = Some(tokens.access.clone());
        let of = |kept: &KeptField| match (&kept.callback, &kept.token) {
            (Some(name), _) => callback.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone()),
            (None, Some(pointer)) => text_at(reply, pointer),
            (None, None) => None,
        };
        for (name, kept) in oauth.keep.iter().filter(|(_, kept)| kept.discovery.is_none()) {
            self.keep(&mut fields, name, kept, of(kept))?;
        }
        let told = match &oauth.discovery {
            Some(discovery) => self.discover(connector.manifest(), discovery, &fields).await?,
            None => Value::Null,
        };
        for (name, kept) in &oauth.keep {
            if let Some(pointer) = &kept.discovery {
                self.keep(&mut fields, name, kept, text_at(&told, pointer))?;
            }
        }
        let name = oauth.account_name.as_ref().and_then(|source| account_name(source, callback, reply, &told));
        let now = self.clock.now();
        let (expires_at, refresh_at) = times(now, tokens.life, chance::number());
        let sign_in = SignInRecord {
            flow: kind.as_str().to_owned(),
            platform_client: intent.platform_client,
            client_id: intent.client_id.clone(),
            generation: 1,
            obtained_at: now.0,
            expires_at,
            refresh_at,
            refreshable: tokens.refresh.is_some(),
            unanswered: false,
            account_name: name,
        };
        fields.secret.insert(ACCESS_TOKEN.to_owned(), tokens.access);
        fields.secret.extend(tokens.refresh.map(|refresh| (REFRESH_TOKEN.to_owned(), refresh)));
        Ok(SignedIn {
            organization: intent.organization.clone(),
            service: intent.service.clone(),
            owner: intent.owner.clone(),
            label: intent.label.clone(),
            account: intent.account.clone(),
            fields: CheckedCredentials { public: fields.public, secret: fields.secret },
            sign_in,
            claim: intent.claim.clone(),
        })
    }

    pub(super) fn keep(
        &self,
        fields: &mut AccountFields,
        name: &str,
        kept: &KeptField,
        value: Option<String>,
    ) -> Result<(), RedeemError> {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return if kept.optional { Ok(()) } else { Err(RedeemError::Missing(name.to_owned())) };
        };
        let unusable = || RedeemError::Unusable(name.to_owned());
        if value.len() > LONGEST_KEPT || value.chars().any(char::is_control) {
            return Err(unusable());
        }
        let value = if kept.host {
            let host = url::Url::parse(&value).ok().and_then(|url| {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                url.host_str().map(|host| format!("{host}{port}"))
            });
            normalize_host(&host.unwrap_or(value), self.rules.allow_private_hosts).map_err(|_| unusable())?
        } else {
            value
        };
        if kept.pattern.as_ref().is_some_and(|pattern| !matches_whole(pattern, &value)) {
            return Err(unusable());
        }
        put(fields, name, value, kept.secret);
        Ok(())
    }

    /// Whose account it is. What is not told is found missing where it is needed.
    async fn discover(
        &self,
        manifest: &Manifest,
        discovery: &Discovery,
        fields: &AccountFields,
    ) -> Result<Value, RedeemError> {
        let url = rendering::url(&discovery.url, manifest, fields)
            .ok_or_else(|| Failure::unsendable("a field is missing"))?;
        let url = parse_url(&url).map_err(|error| Failure::unsendable(error.to_string()))?;
        let mut outgoing = token_endpoint::request(Method::GET, url);
        let usual = [("Authorization", "Bearer {token}"), ("Accept", "application/json")];
        let given = |name: &str| discovery.headers.keys().any(|given| given.eq_ignore_ascii_case(name));
        let usual = usual.into_iter().filter(|(name, _)| !given(name));
        let headers = discovery.headers.iter().map(|(name, text)| (name.as_str(), text.as_str())).chain(usual);
        for (name, text) in headers {
            let value = rendering::text(text, fields).ok_or_else(|| Failure::unsendable("a field is missing"))?;
            let (name, value) = header(name, &value)?;
            outgoing = outgoing.with_header(name, value);
        }
        let answer = token_endpoint::send(&*self.egress, outgoing).await;
        let told = answer.and_then(|answer| token_endpoint::json_of(&answer, &indexmap::IndexMap::new()));
        Ok(told.unwrap_or_else(|failure| {
            tracing::warn!(service = manifest.key, why = failure.said(), "the account's name was not told");
            Value::Null
        }))
    }
}

fn put(fields: &mut AccountFields, name: &str, value: String, secret: bool) {
    if secret {
        fields.secret.insert(name.to_owned(), Secret::new(value));
    } else {
        fields.public.insert(name.to_owned(), value);
    }
}

fn account_name(source: &Source, callback: &[(String, String)], reply: &Value, told: &Value) -> Option<String> {
    let from_callback = |name: &String| callback.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone());
    let name = match source {
        Source { callback: Some(name), .. } => from_callback(name),
        Source { token: Some(pointer), .. } => text_at(reply, pointer),
        Source { discovery: Some(pointer), .. } => text_at(told, pointer),
        _ => None,
    }?;
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    (!name.is_empty()).then_some(name)
}

/// A text, or a number as one.
fn text_at(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_ahead_of_their_end() {
        let at = |life: u64, random: u32| {
            let (end, renew) = times(Millis(0), Some(Duration::from_secs(life)), random);
            (end.unwrap() / 1000, renew.unwrap() / 1000)
        };
        assert_eq!(at(3600, 0), (3600, 2520));
        assert_eq!(at(3600, u32::MAX), (3600, 3240));
        // Five minutes are more than a tenth of twenty.
        assert_eq!(at(1200, u32::MAX), (1200, 900));
        assert_eq!(at(60, u32::MAX / 2), (60, 47));
        assert_eq!(times(Millis(0), None, 0), (None, None));
    }
}
