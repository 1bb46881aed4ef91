//! Domain types ↔ protobuf: the only translation, used by client and server.

mod connect;

use plugboard_proto::auth::v1 as proto;

use super::{
    Account, AccountChange, AccountState, Change, Grant, IdentityError, IssuedKey, Key, NewAccount, NewKey, Principal,
    Scope, Scopes,
};
use crate::clock::Millis;
use crate::ids::{AccountId, ExecutionId, KeyId, OrganizationId, ServiceKey, Subject};
use crate::secret::{AccountFields, Secret};

fn unreadable(what: &str) -> IdentityError {
    IdentityError::Unavailable(format!("the auth service sent {what} this version does not understand"))
}

fn subject(text: String) -> Option<Subject> {
    (!text.is_empty()).then_some(Subject(text))
}

fn text(subject: Option<Subject>) -> String {
    subject.map(|subject| subject.0).unwrap_or_default()
}

/// Zero stands for "never" on the wire.
fn moment(millis: i64) -> Option<Millis> {
    (millis != 0).then_some(Millis(millis))
}

/// Scopes of a principal or key. One that this version does not know gives nothing, so it is dropped.
fn known_scopes(names: &[String]) -> Scopes {
    names.iter().filter_map(|name| Scope::parse(name)).collect()
}

impl From<Principal> for proto::Principal {
    fn from(principal: Principal) -> Self {
        Self {
            key_id: principal.key_id.as_str().to_owned(),
            operator: principal.is_operator(),
            organization_id: principal.organization.map(|id| id.as_str().to_owned()).unwrap_or_default(),
            scopes: principal.scopes.names(),
            subject: text(principal.subject),
            agent: String::new(),
            expires_at_ms: principal.expires_at.0,
        }
    }
}

impl TryFrom<proto::Principal> for Principal {
    type Error = IdentityError;

    fn try_from(message: proto::Principal) -> Result<Self, IdentityError> {
        // Both marks must agree: a lost field must not turn a tenant into the operator.
        let organization = match (message.operator, message.organization_id.is_empty()) {
            (true, true) => None,
            (false, false) => Some(OrganizationId::trusted(message.organization_id)),
            _ => return Err(unreadable("a principal")),
        };
        Ok(Self {
            key_id: KeyId::trusted(message.key_id),
            organization,
            scopes: known_scopes(&message.scopes),
            subject: subject(message.subject),
            expires_at: Millis(message.expires_at_ms),
        })
    }
}

impl From<Key> for proto::Key {
    fn from(key: Key) -> Self {
        Self {
            id: key.id.as_str().to_owned(),
            organization_id: key.organization.as_str().to_owned(),
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes.names(),
            subject: text(key.subject),
            created_at_ms: key.created_at.0,
            expires_at_ms: key.expires_at.0,
            revoked_at_ms: key.revoked_at.map_or(0, |at| at.0),
            last_used_at_ms: key.last_used_at.map_or(0, |at| at.0),
        }
    }
}

impl From<proto::Key> for Key {
    fn from(message: proto::Key) -> Self {
        Self {
            id: KeyId::trusted(message.id),
            organization: OrganizationId::trusted(message.organization_id),
            name: message.name,
            prefix: message.prefix,
            scopes: known_scopes(&message.scopes),
            subject: subject(message.subject),
            created_at: Millis(message.created_at_ms),
            expires_at: Millis(message.expires_at_ms),
            revoked_at: moment(message.revoked_at_ms),
            last_used_at: moment(message.last_used_at_ms),
        }
    }
}

impl From<IssuedKey> for proto::IssuedKey {
    fn from(issued: IssuedKey) -> Self {
        Self { key: Some(issued.key.into()), secret: issued.secret.expose().to_owned() }
    }
}

impl TryFrom<proto::IssuedKey> for IssuedKey {
    type Error = IdentityError;

    fn try_from(message: proto::IssuedKey) -> Result<Self, IdentityError> {
        let key = message.key.ok_or_else(|| unreadable("a key"))?;
        Ok(Self { key: key.into(), secret: Secret::new(message.secret) })
    }
}

impl From<NewKey> for proto::IssueKeyRequest {
    fn from(request: NewKey) -> Self {
        Self {
            organization_id: request.organization.as_str().to_owned(),
            name: request.name,
            scopes: request.scopes.names(),
            expires_in_days: request.expires_in_days,
            subject: request.subject.map(|subject| subject.0),
        }
    }
}

impl TryFrom<proto::IssueKeyRequest> for NewKey {
    type Error = IdentityError;

    fn try_from(message: proto::IssueKeyRequest) -> Result<Self, IdentityError> {
        let scopes = message.scopes.iter().map(|name| {
            Scope::parse(name).ok_or_else(|| {
                let known = Scopes::all().names().join(", ");
                IdentityError::invalid("scopes", format!("an unknown scope; the scopes are {known}"))
            })
        });
        Ok(Self {
            organization: OrganizationId::trusted(message.organization_id),
            name: message.name,
            scopes: scopes.collect::<Result<_, _>>()?,
            expires_in_days: message.expires_in_days,
            subject: message.subject.map(Subject),
        })
    }
}

impl From<Account> for proto::Account {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.as_str().to_owned(),
            organization_id: account.organization.as_str().to_owned(),
            service: account.service.as_str().to_owned(),
            label: account.label,
            owner: text(account.owner),
            state: account.state.as_str().to_owned(),
            state_reason: account.state_reason,
            state_since_ms: account.state_since.0,
            public_fields: account.public_fields.into_iter().collect(),
            created_at_ms: account.created_at.0,
            updated_at_ms: account.updated_at.0,
        }
    }
}

impl TryFrom<proto::Account> for Account {
    type Error = IdentityError;

    fn try_from(message: proto::Account) -> Result<Self, IdentityError> {
        let state = AccountState::parse(&message.state).ok_or_else(|| unreadable("an account's state"))?;
        Ok(Self {
            id: AccountId::trusted(message.id),
            organization: OrganizationId::trusted(message.organization_id),
            service: ServiceKey::trusted(message.service),
            label: message.label,
            owner: subject(message.owner),
            state,
            state_reason: message.state_reason,
            state_since: Millis(message.state_since_ms),
            public_fields: message.public_fields.into_iter().collect(),
            created_at: Millis(message.created_at_ms),
            updated_at: Millis(message.updated_at_ms),
        })
    }
}

impl From<NewAccount> for proto::CreateAccountRequest {
    fn from(request: NewAccount) -> Self {
        Self {
            organization_id: request.organization.as_str().to_owned(),
            service: request.service.as_str().to_owned(),
            label: request.label,
            owner: request.owner.map(|owner| owner.0),
            credentials: exposed(&request.credentials),
        }
    }
}

impl From<proto::CreateAccountRequest> for NewAccount {
    fn from(message: proto::CreateAccountRequest) -> Self {
        Self {
            organization: OrganizationId::trusted(message.organization_id),
            service: ServiceKey::trusted(message.service),
            label: message.label,
            owner: message.owner.map(Subject),
            credentials: hidden(message.credentials),
        }
    }
}

impl From<AccountChange> for proto::UpdateAccountRequest {
    fn from(request: AccountChange) -> Self {
        Self {
            organization_id: request.organization.as_str().to_owned(),
            account_id: request.account.as_str().to_owned(),
            label: request.label,
            credentials: exposed(&request.credentials),
        }
    }
}

impl From<proto::UpdateAccountRequest> for AccountChange {
    fn from(message: proto::UpdateAccountRequest) -> Self {
        Self {
            organization: OrganizationId::trusted(message.organization_id),
            account: AccountId::trusted(message.account_id),
            label: message.label,
            credentials: hidden(message.credentials),
        }
    }
}

impl From<&Grant> for proto::ResolveRequest {
    fn from(grant: &Grant) -> Self {
        Self {
            execution_id: grant.execution_id.as_str().to_owned(),
            organization_id: grant.organization.as_str().to_owned(),
            service: grant.service.as_str().to_owned(),
            account_id: grant.account.as_str().to_owned(),
            request_hash: grant.request_hash.to_vec(),
            deadline_ms: grant.deadline.0,
            ticket: grant.ticket.to_vec(),
            refresh: grant.refresh,
        }
    }
}

impl TryFrom<proto::ResolveRequest> for Grant {
    type Error = IdentityError;

    fn try_from(message: proto::ResolveRequest) -> Result<Self, IdentityError> {
        // A ticket of another length fits nothing.
        let exact = |bytes: Vec<u8>| bytes.try_into().map_err(|_| IdentityError::TicketRefused);
        Ok(Self {
            execution_id: ExecutionId::trusted(message.execution_id),
            organization: OrganizationId::trusted(message.organization_id),
            service: ServiceKey::trusted(message.service),
            account: AccountId::trusted(message.account_id),
            request_hash: exact(message.request_hash)?,
            deadline: Millis(message.deadline_ms),
            ticket: exact(message.ticket)?,
            refresh: message.refresh,
        })
    }
}

impl From<&AccountFields> for proto::ResolvedAccount {
    fn from(fields: &AccountFields) -> Self {
        let secret = fields.secret.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        let public = fields.public.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self {
            fields: public.chain(secret).collect(),
            secret_fields: fields.secret.keys().cloned().collect(),
            token: fields.token.as_ref().map(|token| token.expose().to_owned()),
        }
    }
}

impl From<proto::ResolvedAccount> for AccountFields {
    fn from(message: proto::ResolvedAccount) -> Self {
        let mut fields = Self::default();
        fields.token = message.token.map(Secret::new);
        for (name, value) in message.fields {
            if message.secret_fields.contains(&name) {
                fields.secret.insert(name, Secret::new(value));
            } else {
                fields.public.insert(name, value);
            }
        }
        fields
    }
}

/// A change as it is told and as it is logged in the store. Beats carry no number here; the server adds its own.
impl From<&Change> for proto::Change {
    fn from(change: &Change) -> Self {
        use proto::change::What;
        Self {
            what: Some(match change {
                Change::Beat => What::Beat(proto::Beat::default()),
                Change::KeyRevoked(key) => What::KeyRevoked(key.as_str().to_owned()),
                Change::AccountsChanged(organization) => What::AccountsChanged(organization.as_str().to_owned()),
                Change::Reset => What::Reset(proto::Reset {}),
            }),
        }
    }
}

impl From<proto::Change> for Change {
    fn from(message: proto::Change) -> Self {
        use proto::change::What;
        match message.what {
            Some(What::Beat(_)) => Self::Beat,
            Some(What::KeyRevoked(key)) => Self::KeyRevoked(KeyId::trusted(key)),
            Some(What::AccountsChanged(organization)) => Self::AccountsChanged(OrganizationId::trusted(organization)),
            // A kind of change from a newer version may concern anything that is cached.
            Some(What::Reset(_)) | None => Self::Reset,
        }
    }
}

fn exposed<M: FromIterator<(String, String)>>(fields: &std::collections::BTreeMap<String, Secret>) -> M {
    fields.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect()
}

fn hidden(fields: impl IntoIterator<Item = (String, String)>) -> std::collections::BTreeMap<String, Secret> {
    fields.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
}
