//! The fields of one account, against the ticket of one live job.

use std::sync::Arc;

use metrics::Counter;
use plugboard_core::catalog::CatalogHandle;
use plugboard_core::clock::Clock;
use plugboard_core::identity::{AccountState, Grant, IdentityError};
use plugboard_core::ids::{AccountId, OrganizationId};
use plugboard_core::job::{TicketFacts, TicketKey};
use plugboard_core::manifest::credentials::flow_of;
use plugboard_core::manifest::{Connector, Manifest};
use plugboard_core::secret::{AccountFields, Secret};

use crate::accounts::{self, NO_ACCOUNT, check_ids};
use crate::crypto::MasterKeys;
use crate::grants;
use crate::kill;
use crate::oauth::refresh::Refresh;
use crate::oauth::{self};
use crate::records::{self, AccountRecord, Records};
use crate::tokens::{Stamp, TokenKey, Tokens};
use plugboard_core::broken::broken;

/// The host of a made-up account whose manifest suggests none (RFC 2606).
const SANDBOX_HOST: &str = "sandbox.example.com";

pub(crate) struct VaultDesk {
    pub records: Records,
    pub catalog: Arc<CatalogHandle>,
    pub clock: Arc<dyn Clock>,
    pub masters: MasterKeys,
    pub tickets: TicketKey,
    pub tokens: Tokens,
    pub refresh: Arc<Refresh>,
    pub sandbox: bool,
    pub resolves: Resolves,
}

/// How questions for fields ended.
pub(crate) struct Resolves {
    ok: Counter,
    refused: Counter,
    vendor: Counter,
    unavailable: Counter,
}

impl Default for Resolves {
    fn default() -> Self {
        let counter = |result| metrics::counter!("plugboard_resolves_total", "result" => result);
        Self {
            ok: counter("ok"),
            refused: counter("refused"),
            vendor: counter("vendor"),
            unavailable: counter("unavailable"),
        }
    }
}

impl Resolves {
    fn count<T>(&self, resolved: &Result<T, IdentityError>) {
        let counter = match resolved {
            Ok(_) => &self.ok,
            Err(IdentityError::VendorDown { .. } | IdentityError::VendorRefused { .. }) => &self.vendor,
            Err(IdentityError::Unavailable(_)) => &self.unavailable,
            Err(_) => &self.refused,
        };
        counter.increment(1);
    }
}

impl VaultDesk {
    pub(crate) async fn resolve(&self, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
        let resolved = self.try_resolve(grant).await;
        self.resolves.count(&resolved);
        resolved
    }

    async fn try_resolve(&self, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
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
        }
        self.complete(&connector, &mut fields, &grant.organization, &grant.account, version, grant.refresh).await?;
        Ok(fields)
    }

    /// The account's own fields and its version.
    async fn stored(&self, grant: &Grant) -> Result<(AccountFields, u64), IdentityError> {
        check_ids(&grant.organization, &grant.account)?;
        let name = records::account(&grant.organization, &grant.account);
        let (found, kill) = tokio::join!(self.records.get(&name), kill::of(&self.records, &grant.organization));
        let found: Option<(AccountRecord, _)> = found?;
        let (mut record, _) = found.ok_or(NO_ACCOUNT)?;
        // The record says what it is, and the envelope is bound to that; a record in another's place is none.
        if record.organization != grant.organization || record.id != grant.account || record.service != grant.service {
            return Err(NO_ACCOUNT);
        }
        if broken("no_tenant_check") {
            record = self.anybodys(record).await?;
        }
        let state = record.state(self.clock.now()).state;
        if state == AccountState::Revoked || kill?.covers(&record.service) {
            return Err(IdentityError::Revoked);
        }
        if !state.is_usable() {
            return Err(IdentityError::NeedsReauth);
        }
        let record = self.refresh.usable(record, grant.refresh).await?;
        self.check_alive(&record)?;
        Ok((self.opened(&record)?, record.version))
    }

    /// A look-up that forgets whose account it wants.
    async fn anybodys(&self, own: AccountRecord) -> Result<AccountRecord, IdentityError> {
        let all: Vec<AccountRecord> = self.records.list("account/").await?;
        Ok(all.into_iter().find(|one| one.service == own.service).unwrap_or(own))
    }

    /// After waiting for a vendor, which takes long enough for the kill switch.
    fn check_alive(&self, record: &AccountRecord) -> Result<(), IdentityError> {
        match record.state(self.clock.now()).state {
            AccountState::Revoked => Err(IdentityError::Revoked),
            _ => Ok(()),
        }
    }

    fn opened(&self, record: &AccountRecord) -> Result<AccountFields, IdentityError> {
        let mut fields = AccountFields::default();
        for (name, value) in accounts::open(&self.masters, record)? {
            match name.as_str() {
                oauth::ACCESS_TOKEN => fields.token = Some(value),
                // Nobody but this service ever needs it.
                oauth::REFRESH_TOKEN => {}
                _ if record.public.contains_key(&name) => {
                    fields.public.insert(name, value.expose().to_owned());
                }
                _ => {
                    fields.secret.insert(name, value);
                }
            }
        }
        Ok(fields)
    }

    /// As a call would get them, also of an account that still waits for its claim: for its own person's test of it.
    pub(crate) async fn to_test(&self, record: AccountRecord) -> Result<AccountFields, IdentityError> {
        let connector = accounts::connector(&self.catalog, &record.service)?
            .ok_or(IdentityError::NotFound { what: "the connector" })?;
        let kill = kill::of(&self.records, &record.organization).await?;
        let state = record.state(self.clock.now()).state;
        if state == AccountState::Revoked || kill.covers(&record.service) {
            return Err(IdentityError::Revoked);
        }
        // What waits has only just come, and is not anybody's to renew.
        let record = if state.is_usable() { self.refresh.usable(record, false).await? } else { record };
        self.check_alive(&record)?;
        let mut fields = self.opened(&record)?;
        self.complete(&connector, &mut fields, &record.organization, &record.id, record.version, false).await?;
        Ok(fields)
    }

    /// Defaults, names, and the token that the manifest's grant brings.
    async fn complete(
        &self,
        connector: &Connector,
        fields: &mut AccountFields,
        organization: &OrganizationId,
        account: &AccountId,
        version: u64,
        refused: bool,
    ) -> Result<(), IdentityError> {
        if !account.is_sandbox() {
            name_token(connector.manifest(), fields);
            fill_defaults(connector.manifest(), fields);
        }
        // Whoever has signed in has a token already.
        if fields.token.is_none()
            && let Some(request) = grants::token_request(connector, fields)?
        {
            let (organization, service) = (organization.clone(), connector.key().clone());
            let key = TokenKey { organization, service, account: account.clone() };
            let stamp = Stamp { account_version: version, manifest: connector.digest().to_owned() };
            fields.token = Some(self.tokens.get(key, stamp, &request, refused).await?);
        }
        Ok(())
    }
}

/// An access token may also go by the name of a field that other accounts of the service have typed.
fn name_token(manifest: &Manifest, fields: &mut AccountFields) {
    let Some(token) = &fields.token else { return };
    let mut named = manifest.auth.flows.iter().filter_map(|flow| flow.oauth.as_ref()?.token_field.clone());
    if let Some(name) = named.next() {
        fields.secret.insert(name, token.clone());
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
    let Some(flow) = manifest.auth.flows.first() else { return fields };
    for (name, field) in &flow.fields {
        let value = match (&field.sandbox, &field.default) {
            (Some(value), _) | (None, Some(value)) => value.clone(),
            (None, None) if field.optional => continue,
            (None, None) if field.host => SANDBOX_HOST.to_owned(),
            (None, None) => format!("sandbox-{name}"),
        };
        insert(&mut fields, name, &value, field.secret);
    }
    // Who would sign in has what the sign-in would bring.
    if let Some(oauth) = &flow.oauth {
        for (name, kept) in &oauth.keep {
            let value = if kept.host { SANDBOX_HOST.to_owned() } else { format!("sandbox-{name}") };
            insert(&mut fields, name, &value, kept.secret);
        }
        fields.token = Some(Secret::new(AccountId::sandbox_token(&manifest.key)));
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

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
