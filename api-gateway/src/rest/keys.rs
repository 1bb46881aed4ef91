//! API keys: issue, list, rotate, revoke. A secret is in the answer that issues it and nowhere else.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::identity::{IssuedKey, Key, NewKey, Principal, RotateKey, Scope, Scopes};
use plugboard_core::ids::{AgentId, KeyId, Subject};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Decode, Fields};
use super::caller::{ApiKeyId, Keeper};
use super::error::{Problem, shown};
use super::openapi::{Absent, BadBody, Closed, ScopeSchema, Unfitting};
use super::reply::{self, timestamp};
use crate::state::Gateway;

/// Name of a key that is given none.
const UNNAMED: &str = "API key";

#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRequest {
    /// To recognise it by.
    name: Option<String>,
    /// `write:tools` when left out.
    #[schema(value_type = Option<Vec<ScopeSchema>>)]
    scopes: Option<Vec<String>>,
    /// 90 when left out.
    #[schema(minimum = 1, maximum = 365)]
    expires_in_days: Option<u32>,
    /// The end user the key acts for: it sees shared connections and that user's own.
    subject: Option<String>,
    /// Id of the agent the key is for: it may do what both the key and the agent permit.
    agent: Option<String>,
}

#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRotation {
    /// How long the present key still works beside the new one; 24 when left out, 0: not at all.
    #[schema(minimum = 0, maximum = 720)]
    overlap_hours: Option<u32>,
}

impl Decode for KeyRotation {
    const FIELDS: &'static [&'static str] = &["overlap_hours"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self { overlap_hours: fields.count("overlap_hours")? })
    }
}

impl Decode for KeyRequest {
    const FIELDS: &'static [&'static str] = &["name", "scopes", "expires_in_days", "subject", "agent"];

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Problem> {
        Ok(Self {
            name: fields.text("name")?,
            scopes: fields.texts("scopes")?,
            expires_in_days: fields.count("expires_in_days")?,
            subject: fields.text("subject")?,
            agent: fields.text("agent")?,
        })
    }
}

/// No `Debug`: it holds a key.
#[derive(Serialize, ToSchema)]
pub(super) struct IssuedApiKey {
    id: String,
    /// The key itself, shown this once.
    key: String,
    /// Its first characters.
    prefix: String,
    name: String,
    #[schema(value_type = Vec<ScopeSchema>)]
    scopes: Vec<String>,
    subject: Option<String>,
    /// Id of the agent it is bound to.
    agent: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKey {
    id: String,
    /// The first characters of the key.
    prefix: String,
    name: String,
    #[schema(value_type = Vec<ScopeSchema>)]
    scopes: Vec<String>,
    subject: Option<String>,
    /// Id of the agent it is bound to.
    agent: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// To the minute.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKeys {
    api_keys: Vec<ApiKey>,
}

impl ApiKey {
    fn of(key: &Key) -> Self {
        Self {
            id: key.id.as_str().to_owned(),
            prefix: key.prefix.clone(),
            name: key.name.clone(),
            scopes: key.scopes.names(),
            subject: key.subject.as_ref().map(|subject| subject.0.clone()),
            agent: key.agent.as_ref().map(|agent| agent.as_str().to_owned()),
            created_at: timestamp(key.created_at),
            expires_at: timestamp(key.expires_at),
            revoked_at: key.revoked_at.map(timestamp),
            last_used_at: key.last_used_at.map(timestamp),
        }
    }
}

/// Issues a key. For an admin of the organization, or the platform operator.
#[utoipa::path(post, path = "/api/v1/organizations/{org}/api-keys", tag = "organizations", operation_id = "issueApiKey",
    params(("org" = String, Path, description = "Id of the organization, or `me`.")), request_body = KeyRequest,
    responses((status = 201, description = "Issued.", body = IssuedApiKey), BadBody, Absent, Closed))]
pub(super) async fn issue(
    State(gateway): State<Arc<Gateway>>,
    keeper: Keeper,
    Body(wanted): Body<KeyRequest>,
) -> Result<Response, Problem> {
    let issued = gateway.directory.issue_key(new_key(keeper, wanted)?).await?;
    reply::json(StatusCode::CREATED, &IssuedApiKey::of(&issued))
}

impl IssuedApiKey {
    fn of(issued: &IssuedKey) -> Self {
        let key = ApiKey::of(&issued.key);
        Self {
            id: key.id,
            key: issued.secret.expose().to_owned(),
            prefix: key.prefix,
            name: key.name,
            scopes: key.scopes,
            subject: key.subject,
            agent: key.agent,
            created_at: key.created_at,
            expires_at: key.expires_at,
        }
    }
}

fn new_key(keeper: Keeper, wanted: KeyRequest) -> Result<NewKey, Problem> {
    let scopes = match wanted.scopes {
        Some(names) => parse_scopes(&names)?,
        None => Scopes::default_for_keys(),
    };
    no_more_than(&keeper.principal, scopes)?;
    let expires_in_days = wanted.expires_in_days.unwrap_or(NewKey::DEFAULT_DAYS);
    if !(1..=NewKey::MAX_DAYS).contains(&expires_in_days) {
        let detail = format!("`expires_in_days` must be 1 to {}.", NewKey::MAX_DAYS);
        return Err(Problem::argument("expires_in_days", detail));
    }
    let subject = wanted.subject.map(Subject).or_else(|| keeper.principal.subject.clone());
    if !keeper.manages(subject.as_ref()) {
        return Err(Problem::other_subject("subject"));
    }
    let name = wanted.name.unwrap_or_else(|| UNNAMED.to_owned());
    let agent = match wanted.agent {
        Some(id) => {
            let absent = || Problem::argument("agent", "`agent` is no agent of this organization.");
            Some(AgentId::parse(&id).ok_or_else(absent)?)
        }
        // An agent that issues keys must not get rid of its limits by them.
        None => keeper.principal.agent.as_ref().map(|agent| agent.id.clone()),
    };
    if let Some(own) = &keeper.principal.agent
        && agent.as_ref() != Some(&own.id)
    {
        let detail = "This key is bound to an agent and issues keys for that agent only.";
        return Err(Problem::new(ErrorCode::PolicyDenied, detail).field("agent"));
    }
    Ok(NewKey { organization: keeper.organization, name, scopes, expires_in_days, subject, agent })
}

fn parse_scopes(names: &[String]) -> Result<Scopes, Problem> {
    if names.is_empty() {
        return Err(Problem::argument("scopes", "`scopes` is empty. Leave it out for `write:tools`."));
    }
    names.iter().map(|name| Scope::parse(name).ok_or_else(|| no_such_scope(name))).collect()
}

fn no_such_scope(name: &str) -> Problem {
    let known = Scope::ALL.map(Scope::as_str);
    let detail = format!("There is no scope {:?}. Scopes: {}.", shown(name), known.join(", "));
    Problem::argument("scopes", detail).fix(Fix::new(FixKind::ChangeArgument).field("scopes").options(known))
}

/// A key hands out what it passes itself.
fn no_more_than(issuer: &Principal, scopes: Scopes) -> Result<(), Problem> {
    match scopes.iter().find(|scope| !issuer.is_operator() && !issuer.scopes.permit(*scope)) {
        None => Ok(()),
        Some(scope) => {
            let detail = format!("This key cannot issue the scope `{scope}`, which it does not have.");
            let error = CallError::new(ErrorCode::AuthPermissionDenied, detail).field("scopes");
            Err(error.fix(Fix::new(FixKind::AddScope).options([scope.as_str()])).into())
        }
    }
}

/// Keys of the organization, by prefix.
#[utoipa::path(get, path = "/api/v1/organizations/{org}/api-keys", tag = "organizations", operation_id = "listApiKeys",
    params(("org" = String, Path, description = "Id of the organization, or `me`.")),
    responses((status = 200, description = "The keys.", body = ApiKeys), Absent, Closed))]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, keeper: Keeper) -> Result<Response, Problem> {
    let keys = gateway.directory.uncached().keys(&keeper.organization).await?;
    let managed = keys.iter().filter(|key| keeper.manages(key.subject.as_ref()));
    reply::json(StatusCode::OK, &ApiKeys { api_keys: managed.map(ApiKey::of).collect() })
}

/// Revokes a key. Revoking twice is no error.
#[utoipa::path(delete, path = "/api/v1/organizations/{org}/api-keys/{key}", tag = "organizations",
    operation_id = "revokeApiKey", params(
        ("org" = String, Path, description = "Id of the organization, or `me`."),
        ("key" = String, Path, description = "Id of the key.")),
    responses((status = 204, description = "Revoked."), Absent, Closed))]
pub(super) async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    keeper: Keeper,
    ApiKeyId(key): ApiKeyId,
) -> Result<Response, Problem> {
    managed(&gateway, &keeper, &key).await?;
    gateway.directory.revoke_key(&keeper.organization, &key).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A second key with the same rights; the present one ends after the overlap. The new secret is shown this once.
#[utoipa::path(post, path = "/api/v1/organizations/{org}/api-keys/{key}/rotate", tag = "organizations",
    operation_id = "rotateApiKey", params(
        ("org" = String, Path, description = "Id of the organization, or `me`."),
        ("key" = String, Path, description = "Id of the key.")),
    request_body = KeyRotation,
    responses((status = 201, description = "Issued.", body = IssuedApiKey), BadBody, Absent, Unfitting, Closed))]
pub(super) async fn rotate(
    State(gateway): State<Arc<Gateway>>,
    keeper: Keeper,
    ApiKeyId(key): ApiKeyId,
    Body(wanted): Body<KeyRotation>,
) -> Result<Response, Problem> {
    let old = managed(&gateway, &keeper, &key).await?;
    no_more_than(&keeper.principal, old.scopes)?;
    let overlap_hours = wanted.overlap_hours.unwrap_or(RotateKey::DEFAULT_OVERLAP_HOURS);
    let request = RotateKey { organization: keeper.organization, key, overlap_hours };
    let issued = gateway.custody.rotate_key(&request).await?;
    gateway.directory.forget_organization(&request.organization);
    reply::json(StatusCode::CREATED, &IssuedApiKey::of(&issued))
}

/// The key, if this caller manages it.
async fn managed(gateway: &Gateway, keeper: &Keeper, key: &KeyId) -> Result<Key, Problem> {
    let keys = gateway.directory.uncached().keys(&keeper.organization).await?;
    let own = keeper.principal.agent.as_ref().map(|agent| &agent.id);
    let found = keys.into_iter().find(|one| {
        one.id == *key && keeper.manages(one.subject.as_ref()) && (own.is_none() || one.agent.as_ref() == own)
    });
    found.ok_or_else(|| Problem::absent("API key"))
}

#[cfg(test)]
mod tests {
    use plugboard_core::clock::Millis;
    use plugboard_core::ids::OrganizationId;

    use super::*;

    #[test]
    fn nobody_hands_out_more_than_they_have() {
        let issuer = |scopes: &[Scope], organization| Principal {
            key_id: KeyId::generate(),
            organization,
            scopes: scopes.iter().copied().collect(),
            subject: None,
            agent: None,
            expires_at: Millis(i64::MAX),
        };
        let member = |scopes: &[Scope]| issuer(scopes, Some(OrganizationId::generate()));
        let wanted = |scope: Scope| [scope].into_iter().collect::<Scopes>();
        assert!(no_more_than(&member(&[Scope::Admin]), Scopes::all()).is_ok());
        assert!(no_more_than(&issuer(&[], None), Scopes::all()).is_ok());
        assert!(no_more_than(&member(&[Scope::WriteTools]), wanted(Scope::ReadTools)).is_ok());
        assert!(no_more_than(&member(&[Scope::WriteTools]), wanted(Scope::Chat)).is_err());
    }
}
