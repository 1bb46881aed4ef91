//! Who calls: extractors that let a handler be entered only by those who may.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use plugboard_core::error::CallError;
use plugboard_core::identity::{Account, Actor, ClientOwner, Principal, Scope, identify};
use plugboard_core::ids::{AccountId, AgentId, ExecutionId, KeyId, OrganizationId, Subject};

use super::error::Problem;
use crate::accounts;
use crate::principal::require;
use crate::state::Gateway;

/// A key of an organization.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) principal: Arc<Principal>,
    pub(super) organization: OrganizationId,
}

/// A member whose key has `read:tools`.
pub(super) struct Reader(pub(super) Member);

/// A member whose key has `admin`.
pub(super) struct Admin(pub(super) Member);

/// The platform operator.
pub(super) struct Operator;

/// Whoever manages the keys of the organization in the path: its admin, or the operator.
pub(super) struct Keeper {
    pub(super) principal: Arc<Principal>,
    pub(super) organization: OrganizationId,
}

/// Whoever manages OAuth clients: an organization's admin its own, the operator the platform's.
pub(super) struct ClientKeeper(pub(super) ClientOwner);

/// `{id}` of a connection.
pub(super) struct ConnectionId(pub(super) AccountId);

/// `{id}` of a sign-in by code.
pub(super) struct DeviceId(pub(super) String);

/// `{key}` of an API key.
pub(super) struct ApiKeyId(pub(super) KeyId);

/// `{service}`.
pub(super) struct ServiceName(pub(super) String);

impl Member {
    fn with(principal: Arc<Principal>, scope: Scope) -> Result<Self, Problem> {
        require(&principal, scope)?;
        let organization = principal.organization.clone().ok_or_else(CallError::internal)?;
        Ok(Self { principal, organization })
    }

    /// A key bound to an end user sees shared connections and that user's own; an admin's, every one; any other key
    /// those that it can call with.
    pub(super) fn sees(&self, account: &Account) -> bool {
        let everything = self.principal.subject.is_none() && self.principal.scopes.has(Scope::Admin);
        everything || accounts::visible(std::slice::from_ref(account), &self.principal).next().is_some()
    }
}

impl Member {
    /// # Errors
    /// When the key is bound to an end user, and so to that user's things, or to an agent, which must not loosen its own
    /// limits.
    pub(super) fn for_everyone(&self) -> Result<(), Problem> {
        if self.principal.is_bound() { Err(Problem::bound()) } else { Ok(()) }
    }
}

impl Keeper {
    /// A key bound to an end user manages that user's keys only: an unbound one would see more than its issuer does.
    pub(super) fn manages(&self, subject: Option<&Subject>) -> bool {
        self.principal.subject.is_none() || self.principal.subject.as_ref() == subject
    }
}

async fn principal(parts: &Parts, gateway: &Gateway) -> Result<Arc<Principal>, Problem> {
    let principal = gateway.principal(&parts.headers).await?;
    // For the audit log: whatever this request does, it does for this key.
    identify(Actor::of(&principal));
    Ok(principal)
}

/// Whose things a key may see to that is bound to nobody: with this scope its organization's, the operator (`None`) its own
/// or everybody's.
async fn whose(parts: &Parts, gateway: &Gateway, scope: Scope) -> Result<Option<OrganizationId>, Problem> {
    let principal = principal(parts, gateway).await?;
    if principal.is_operator() {
        return Ok(None);
    }
    let member = Member::with(principal, scope)?;
    member.for_everyone()?;
    Ok(Some(member.organization))
}

/// An organization's audit log, or (`None`) the platform's, and who may read it.
pub(super) struct Auditor(pub(super) Option<OrganizationId>);

impl FromRequestParts<Arc<Gateway>> for Auditor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        whose(parts, gateway, Scope::ReadData).await.map(Self)
    }
}

/// A member with `admin` whose key is not bound to an end user: what it does concerns everyone.
pub(super) struct Governor(pub(super) Member);

impl FromRequestParts<Arc<Gateway>> for Governor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let member = Member::with(principal(parts, gateway).await?, Scope::Admin)?;
        member.for_everyone()?;
        Ok(Self(member))
    }
}

/// An organization's dead letters, or (`None`) everybody's, and who may see to them.
pub(super) struct Overseer(pub(super) Option<OrganizationId>);

impl FromRequestParts<Arc<Gateway>> for Overseer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        whose(parts, gateway, Scope::Admin).await.map(Self)
    }
}

/// Whoever lists connections: a member those it sees, the operator (`None`) those of an organization that it names.
pub(super) struct Lister(pub(super) Option<Member>);

impl FromRequestParts<Arc<Gateway>> for Lister {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let principal = principal(parts, gateway).await?;
        if principal.is_operator() {
            return Ok(Self(None));
        }
        Member::with(principal, Scope::ReadTools).map(|member| Self(Some(member)))
    }
}

/// `{execution_id}` of a call.
pub(super) struct CallId(pub(super) ExecutionId);

impl FromRequestParts<Arc<Gateway>> for CallId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let id = piece(parts, gateway, "execution_id").await.and_then(|text| ExecutionId::parse(&text));
        id.map(Self).ok_or_else(|| Problem::absent("call"))
    }
}

/// `{execution_id}` of a dead letter.
pub(super) struct LetterId(pub(super) ExecutionId);

impl FromRequestParts<Arc<Gateway>> for LetterId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let id = piece(parts, gateway, "execution_id").await.and_then(|text| ExecutionId::parse(&text));
        id.map(Self).ok_or_else(|| Problem::absent("dead letter"))
    }
}

/// `{agent}`.
pub(super) struct AgentName(pub(super) AgentId);

impl FromRequestParts<Arc<Gateway>> for AgentName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let id = piece(parts, gateway, "agent").await.and_then(|text| AgentId::parse(&text));
        id.map(Self).ok_or_else(|| Problem::absent("agent"))
    }
}

/// `{master_key}`.
pub(super) struct MasterKeyName(pub(super) String);

impl FromRequestParts<Arc<Gateway>> for MasterKeyName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        piece(parts, gateway, "master_key").await.map(Self).ok_or_else(|| Problem::absent("master key"))
    }
}

/// A piece of the path, decoded. A path that cannot be decoded names nothing.
async fn piece(parts: &mut Parts, gateway: &Arc<Gateway>, name: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, gateway).await.ok()?;
    params.iter().find(|(one, _)| *one == name).map(|(_, value)| value.to_owned())
}

impl FromRequestParts<Arc<Gateway>> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        Member::with(principal(parts, gateway).await?, Scope::ReadTools).map(Self)
    }
}

impl FromRequestParts<Arc<Gateway>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        Member::with(principal(parts, gateway).await?, Scope::Admin).map(Self)
    }
}

impl FromRequestParts<Arc<Gateway>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let principal = principal(parts, gateway).await?;
        if principal.is_operator() { Ok(Self) } else { Err(Problem::operator_only()) }
    }
}

impl FromRequestParts<Arc<Gateway>> for Keeper {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let principal = principal(parts, gateway).await?;
        if !principal.is_operator() {
            require(&principal, Scope::Admin)?;
        }
        let named = piece(parts, gateway, "org").await.unwrap_or_default();
        let organization = match &principal.organization {
            None => OrganizationId::parse(&named),
            Some(own) => (named == "me" || named == own.as_str()).then(|| own.clone()),
        };
        let organization = organization.ok_or_else(|| Problem::absent("organization"))?;
        Ok(Self { principal, organization })
    }
}

impl FromRequestParts<Arc<Gateway>> for ClientKeeper {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let principal = principal(parts, gateway).await?;
        if principal.is_operator() {
            return Ok(Self(ClientOwner::Platform));
        }
        let member = Member::with(principal, Scope::Admin)?;
        if member.principal.subject.is_some() {
            // The client is everybody's in the organization.
            return Err(Problem::other_subject("client_id"));
        }
        Ok(Self(ClientOwner::Organization(member.organization)))
    }
}

impl FromRequestParts<Arc<Gateway>> for DeviceId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        piece(parts, gateway, "id").await.map(Self).ok_or_else(|| Problem::absent("sign-in"))
    }
}

impl FromRequestParts<Arc<Gateway>> for ConnectionId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let id = piece(parts, gateway, "id").await.and_then(|text| AccountId::parse(&text));
        id.map(Self).ok_or_else(|| Problem::absent("connection"))
    }
}

impl FromRequestParts<Arc<Gateway>> for ApiKeyId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let id = piece(parts, gateway, "key").await.and_then(|text| KeyId::parse(&text));
        id.map(Self).ok_or_else(|| Problem::absent("API key"))
    }
}

impl FromRequestParts<Arc<Gateway>> for ServiceName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        piece(parts, gateway, "service").await.map(Self).ok_or_else(|| Problem::absent("service"))
    }
}
