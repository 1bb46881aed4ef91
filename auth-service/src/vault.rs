//! The fields of one account, against the ticket of one live job.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plugboard_core::catalog::CatalogHandle;
use plugboard_core::clock::Clock;
use plugboard_core::identity::{AccountState, Grant, IdentityError};
use plugboard_core::job::{TicketFacts, TicketKey};
use plugboard_core::manifest::credentials::flow_of;
use plugboard_core::manifest::{Connector, Manifest, Template, TokenGrantKind, Variable};
use plugboard_core::secret::{AccountFields, Secret};

use crate::accounts::{self, NO_ACCOUNT, check_ids};
use crate::crypto::MasterKeys;
use crate::kill;
use crate::records::{self, AccountRecord, Records};
use crate::tokens::{Stamp, TokenKey, TokenRequest, Tokens};

/// What stands for itself in a URL (RFC 3986 §2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The host of a made-up account whose manifest suggests none (RFC 2606).
const SANDBOX_HOST: &str = "sandbox.example.com";

pub(crate) struct VaultDesk {
    pub records: Records,
    pub catalog: Arc<CatalogHandle>,
    pub clock: Arc<dyn Clock>,
    pub masters: MasterKeys,
    pub tickets: TicketKey,
    pub tokens: Tokens,
    pub sandbox: bool,
}

impl VaultDesk {
    pub(crate) async fn resolve(&self, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
        self.check_ticket(grant)?;
        let left = self.clock.now().until(grant.deadline);
        match tokio::time::timeout(left, self.fields(grant)).await {
            Ok(fields) => fields.map(Arc::new),
            Err(_) => Err(IdentityError::VendorDown { message: "no token before the call's deadline".into() }),
        }
    }

    fn check_ticket(&self, grant: &Grant) -> Result<(), IdentityError> {
        let facts = TicketFacts {
            execution_id: &grant.execution_id,
            organization: &grant.organization,
            service: &grant.service,
            account: &grant.account,
            request_hash: &grant.request_hash,
            deadline: grant.deadline,
        };
        if !self.tickets.verify(facts, &grant.ticket) {
            tracing::warn!(execution_id = %grant.execution_id, "a ticket does not fit its facts");
            return Err(IdentityError::TicketRefused);
        }
        if grant.deadline <= self.clock.now() {
            return Err(IdentityError::TicketRefused);
        }
        Ok(())
    }

    async fn fields(&self, grant: &Grant) -> Result<AccountFields, IdentityError> {
        let (mut fields, version) = if grant.account.is_sandbox() {
            if !self.sandbox {
                return Err(NO_ACCOUNT);
            }
            (AccountFields::default(), 0)
        } else {
            self.stored(grant).await?
        };
        let connector = accounts::connector(&self.catalog, &grant.service)?
            .ok_or(IdentityError::NotFound { what: "the connector" })?;
        if grant.account.is_sandbox() {
            fields = made_up(connector.manifest());
        } else {
            fill_defaults(connector.manifest(), &mut fields);
        }
        if let Some(request) = token_request(&connector, &fields)? {
            let key = TokenKey {
                organization: grant.organization.clone(),
                service: grant.service.clone(),
                account: grant.account.clone(),
            };
            let stamp = Stamp { account_version: version, manifest: connector.digest().to_owned() };
            fields.token = Some(self.tokens.get(key, stamp, &request, grant.refresh).await?);
        }
        Ok(fields)
    }

    /// The account's own fields and its version.
    async fn stored(&self, grant: &Grant) -> Result<(AccountFields, u64), IdentityError> {
        check_ids(&grant.organization, &grant.account)?;
        let name = records::account(&grant.organization, &grant.account);
        let (found, kill) = tokio::join!(self.records.get(&name), kill::of(&self.records, &grant.organization));
        let found: Option<(AccountRecord, _)> = found?;
        let (record, _) = found.ok_or(NO_ACCOUNT)?;
        // The record says what it is, and the envelope is bound to that; a record in another's place is none.
        if record.organization != grant.organization || record.id != grant.account || record.service != grant.service {
            return Err(NO_ACCOUNT);
        }
        match record.state() {
            AccountState::Revoked => return Err(IdentityError::Revoked),
            _ if kill?.covers(&record.service) => return Err(IdentityError::Revoked),
            AccountState::Connected => {}
            AccountState::NeedsReauth => return Err(IdentityError::NeedsReauth),
        }
        let mut fields = AccountFields::default();
        for (name, value) in accounts::open(&self.masters, &record)? {
            if record.public.contains_key(&name) {
                fields.public.insert(name, value.expose().to_owned());
            } else {
                fields.secret.insert(name, value);
            }
        }
        Ok((fields, record.version))
    }
}

/// Optional fields that were left empty take the manifest's value, also one that was added later.
fn fill_defaults(manifest: &Manifest, fields: &mut AccountFields) {
    let Some(flow) = flow_of(manifest, |name| fields.get(name).is_some()) else { return };
    for (name, field) in &flow.fields {
        if let Some(default) = &field.default
            && fields.get(name).is_none()
        {
            insert(fields, name, default, field.secret);
        }
    }
}

/// The built-in account of the sandbox: every field that the first flow asks for.
fn made_up(manifest: &Manifest) -> AccountFields {
    let mut fields = AccountFields::default();
    let Some(flow) = flow_of(manifest, |_| true) else { return fields };
    for (name, field) in &flow.fields {
        let value = match (&field.sandbox, &field.default) {
            (Some(value), _) | (None, Some(value)) => value.clone(),
            (None, None) if field.optional => continue,
            (None, None) if field.host => SANDBOX_HOST.to_owned(),
            (None, None) => format!("sandbox-{name}"),
        };
        insert(&mut fields, name, &value, field.secret);
    }
    fields
}

fn insert(fields: &mut AccountFields, name: &str, value: &str, secret: bool) {
    if secret {
        fields.secret.insert(name.to_owned(), Secret::new(value));
    } else {
        fields.public.insert(name.to_owned(), value.to_owned());
    }
}

/// The manifest's token grant with the account's fields filled in; `None` when it has none.
fn token_request(connector: &Connector, fields: &AccountFields) -> Result<Option<TokenRequest>, IdentityError> {
    let manifest = connector.manifest();
    let Some(grant) = &manifest.transport.token else { return Ok(None) };
    let TokenGrantKind::ClientCredentials = grant.kind;
    let render = |text: &str| {
        let template = Template::parse(text)
            .map_err(|error| IdentityError::Unavailable(format!("{}: transport.token: {error}", connector.key())))?;
        // A field that the grant needs is not there: the account was connected before it was asked for.
        template.render(|variable| field(variable, fields)).ok_or(IdentityError::NeedsReauth)
    };
    Ok(Some(TokenRequest {
        url: token_url(connector, fields)?,
        client_id: Secret::new(render(&grant.client_id)?),
        client_secret: Secret::new(render(&grant.client_secret)?),
        client_auth: grant.client_auth,
        scope: grant.scope.as_deref().map(render).transpose()?,
    }))
}

/// Hosts stand as they are, they were checked when they were given; anything else is encoded, so that no field can
/// change which host is meant.
fn token_url(connector: &Connector, fields: &AccountFields) -> Result<String, IdentityError> {
    let manifest = connector.manifest();
    let template = connector.transport().token_url.as_ref().ok_or(IdentityError::NeedsReauth)?;
    let is_host = |name: &str| {
        let mut flows = manifest.auth.flows.iter();
        flows.any(|flow| flow.fields.get(name).is_some_and(|field| field.host))
    };
    let encoded: Vec<(&Variable, String)> = template
        .variables()
        .filter_map(|variable| {
            let value = field(variable, fields)?;
            let stands = matches!(variable, Variable::Account(name) if is_host(name));
            let value = if stands { value.to_owned() } else { utf8_percent_encode(value, UNRESERVED).to_string() };
            Some((variable, value))
        })
        .collect();
    let value =
        |wanted: &Variable| encoded.iter().find(|(variable, _)| *variable == wanted).map(|(_, value)| value.as_str());
    template.render(value).ok_or(IdentityError::NeedsReauth)
}

fn field<'f>(variable: &Variable, fields: &'f AccountFields) -> Option<&'f str> {
    match variable {
        Variable::Account(name) => fields.get(name),
        Variable::Token | Variable::Method => None,
    }
}

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
