//! Accounts: create, change, list, delete. Credentials go in here and come out only in [`crate::vault`].

mod signed_in;

use std::collections::BTreeMap;
use std::sync::Arc;

use plugboard_core::catalog::CatalogHandle;
use plugboard_core::clock::Clock;
use plugboard_core::identity::{
    Account, AccountChange, AccountState, Change, IdentityError, NewAccount, fold_label, normalize_label,
};
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey, Subject};
use plugboard_core::manifest::Connector;
use plugboard_core::manifest::credentials::{CheckedCredentials, CredentialRules, FieldError};
use plugboard_core::secret::Secret;
use plugboard_core::store::{Expect, Write};

pub(crate) use self::signed_in::SignedIn;
use crate::audit::Event;
use crate::crypto::{self, CustodyError, MasterKeys, Place};
use crate::keys::{ATTEMPTS, NO_ORGANIZATION, checked_subject};
use crate::records::{self, AccountRecord, LabelRecord, OrganizationRecord, Records};

pub(crate) const NO_ACCOUNT: IdentityError = IdentityError::NotFound { what: "the account" };

/// Longest name of a service that a default label takes over; the rest is room for a number.
const LONGEST_DEFAULT: usize = 56;

pub(crate) struct Accounts {
    records: Records,
    catalog: Arc<CatalogHandle>,
    clock: Arc<dyn Clock>,
    masters: MasterKeys,
    rules: CredentialRules,
}

impl Accounts {
    pub(crate) fn new(
        records: Records,
        catalog: Arc<CatalogHandle>,
        clock: Arc<dyn Clock>,
        masters: MasterKeys,
        rules: CredentialRules,
    ) -> Self {
        Self { records, catalog, clock, masters, rules }
    }

    pub(crate) async fn list(&self, organization: &OrganizationId) -> Result<Vec<Account>, IdentityError> {
        if OrganizationId::parse(organization.as_str()).is_none() {
            return Ok(Vec::new());
        }
        let records: Vec<AccountRecord> = self.records.list(&records::accounts_of(organization)).await?;
        let now = self.clock.now();
        Ok(records.iter().map(|record| record.account(now)).collect())
    }

    pub(crate) async fn create(&self, request: NewAccount) -> Result<Account, IdentityError> {
        self.create_claimed(request, None).await
    }

    /// `claim`: not usable before whatever has this id is claimed.
    pub(crate) async fn create_claimed(
        &self,
        request: NewAccount,
        claim: Option<String>,
    ) -> Result<Account, IdentityError> {
        if OrganizationId::parse(request.organization.as_str()).is_none() {
            return Err(NO_ORGANIZATION);
        }
        let owner = request.owner.as_ref().map(|owner| checked_subject("owner", owner)).transpose()?;
        let label = match &request.label {
            Some(label) => Label::Exactly(checked_label(label)?),
            None => Label::Like(None),
        };
        let connector = self.connector(&request.service)?;
        let fields = self.rules.check(connector.manifest(), &request.credentials).map_err(invalid)?;
        let mut record = self.draft(request.organization, request.service, owner, claim);
        self.put_in(&mut record, fields)?;
        self.insert(record, label, &connector.manifest().name).await
    }

    fn draft(
        &self,
        organization: OrganizationId,
        service: ServiceKey,
        owner: Option<Subject>,
        claim: Option<String>,
    ) -> AccountRecord {
        let now = self.clock.now().0;
        let mut record = AccountRecord {
            id: AccountId::generate(),
            organization,
            service,
            label: String::new(),
            owner,
            state: String::new(),
            state_reason: String::new(),
            state_since: now,
            claim,
            sign_in: None,
            public: BTreeMap::new(),
            created_at: now,
            updated_at: now,
            version: 1,
            sealed: crypto::Sealed::nothing(),
        };
        record.set_state(complete_state(&record), "", self.clock.now());
        record
    }

    async fn insert(
        &self,
        mut record: AccountRecord,
        label: Label,
        service_name: &str,
    ) -> Result<Account, IdentityError> {
        let organization: Option<(OrganizationRecord, _)> =
            self.records.get(&records::organization(&record.organization)).await?;
        organization.ok_or(NO_ORGANIZATION)?;
        for _ in 0..ATTEMPTS {
            record.label = match &label {
                Label::Exactly(label) => label.clone(),
                Label::Like(wish) => self.free_label(&record, wish.as_deref().unwrap_or(service_name)).await?,
            };
            let writes = vec![
                records::put(record.name(), &record, Expect::Absent)?,
                records::put(record.label_name(), LabelRecord { account: record.id.clone() }, Expect::Absent)?,
            ];
            match self
                .records
                .commit_told(writes, Some(changed(&record)), vec![told(&record, "account.create")])
                .await?
            {
                Ok(()) => return Ok(record.account(self.clock.now())),
                Err(_) if matches!(label, Label::Exactly(_)) => return Err(taken(&record)),
                // Somebody took the label in between: on to the next number.
                Err(_) => {}
            }
        }
        Err(records::contended())
    }

    pub(crate) async fn update(&self, request: AccountChange) -> Result<Account, IdentityError> {
        self.update_claimed(request, None).await
    }

    /// `claim`: with new credentials it is not usable before whatever has this id is claimed.
    pub(crate) async fn update_claimed(
        &self,
        request: AccountChange,
        claim: Option<String>,
    ) -> Result<Account, IdentityError> {
        check_ids(&request.organization, &request.account)?;
        let label = request.label.as_deref().map(checked_label).transpose()?;
        let name = records::account(&request.organization, &request.account);
        for _ in 0..ATTEMPTS {
            let found: Option<(AccountRecord, _)> = self.records.get(&name).await?;
            let (old, version) = found.ok_or(NO_ACCOUNT)?;
            let mut new = old.clone();
            new.version += 1;
            new.updated_at = self.clock.now().0;
            if let Some(label) = &label {
                new.label.clone_from(label);
            }
            if claim.is_some() && !request.credentials.is_empty() {
                new.claim.clone_from(&claim);
            }
            self.change_fields(&old, &mut new, &request.credentials)?;

            let mut writes = vec![records::put(name.clone(), &new, Expect::Version(version))?];
            // The old label is this account's for as long as the account is at the expected version.
            if fold_label(&new.label) != fold_label(&old.label) {
                writes.push(Write::delete(old.label_name(), Expect::Anything));
                let holder = LabelRecord { account: new.id.clone() };
                writes.push(records::put(new.label_name(), holder, Expect::Absent)?);
            }
            let what = if request.credentials.is_empty() { "account.relabel" } else { "account.reconnect" };
            match self.records.commit_told(writes, Some(changed(&new)), vec![told(&new, what)]).await? {
                Ok(()) => return Ok(new.account(self.clock.now())),
                Err(conflict) if conflict == new.label_name() => return Err(taken(&new)),
                Err(_) => {}
            }
        }
        Err(records::contended())
    }

    pub(crate) async fn delete(
        &self,
        organization: &OrganizationId,
        account: &AccountId,
    ) -> Result<Account, IdentityError> {
        check_ids(organization, account)?;
        let name = records::account(organization, account);
        for _ in 0..ATTEMPTS {
            let found: Option<(AccountRecord, _)> = self.records.get(&name).await?;
            let (record, version) = found.ok_or(NO_ACCOUNT)?;
            let writes = vec![
                Write::delete(name.clone(), Expect::Version(version)),
                Write::delete(record.label_name(), Expect::Anything),
            ];
            let event = told(&record, "account.delete");
            if self.records.commit_told(writes, Some(changed(&record)), vec![event]).await?.is_ok() {
                return Ok(record.account(self.clock.now()));
            }
        }
        Err(records::contended())
    }

    /// Seals the old fields anew under the record's new version, with the given ones in their places.
    fn change_fields(
        &self,
        old: &AccountRecord,
        new: &mut AccountRecord,
        given: &BTreeMap<String, Secret>,
    ) -> Result<(), IdentityError> {
        let present = open(&self.masters, old)?;
        if given.is_empty() {
            new.sealed = crypto::seal(&self.masters, place(new), &present).map_err(|e| custody(&e))?;
            return Ok(());
        }
        let connector = self.connector(&old.service)?;
        if old.sign_in.is_some() {
            // Typed credentials replace a sign-in whole: none of its fields belong to another way to connect.
            let fields = self.rules.check(connector.manifest(), given).map_err(invalid)?;
            new.sign_in = None;
            new.set_state(complete_state(new), "", self.clock.now());
            return self.put_in(new, fields);
        }
        let (fields, complete) = self.rules.check_change(connector.manifest(), &present, given).map_err(invalid)?;
        if complete {
            new.set_state(complete_state(new), "", self.clock.now());
        } else {
            new.set_state(AccountState::NeedsReauth, "incomplete", self.clock.now());
        }
        self.put_in(new, fields)
    }

    fn put_in(&self, record: &mut AccountRecord, fields: CheckedCredentials) -> Result<(), IdentityError> {
        let mut all = fields.secret;
        all.extend(fields.public.iter().map(|(name, value)| (name.clone(), Secret::new(value.as_str()))));
        record.public = fields.public;
        record.sealed = crypto::seal(&self.masters, place(record), &all).map_err(|e| custody(&e))?;
        Ok(())
    }

    /// The name, or the first of "name 2", "name 3"… that is free.
    async fn free_label(&self, record: &AccountRecord, name: &str) -> Result<String, IdentityError> {
        let plain: String = name.chars().filter(|c| *c != ':' && !c.is_control()).take(LONGEST_DEFAULT).collect();
        let plain = normalize_label(&plain).unwrap_or_else(|_| record.service.as_str().to_owned());
        let accounts: Vec<AccountRecord> = self.records.list(&records::accounts_of(&record.organization)).await?;
        let taken: Vec<String> = accounts
            .iter()
            .filter(|account| account.service == record.service)
            .map(|account| fold_label(&account.label))
            .collect();
        let numbered = (2..).map(|number: u64| format!("{plain} {number}"));
        std::iter::once(plain.clone())
            .chain(numbered)
            .find(|label| !taken.contains(&fold_label(label)))
            .ok_or_else(records::contended)
    }

    fn connector(&self, service: &ServiceKey) -> Result<Arc<Connector>, IdentityError> {
        connector(&self.catalog, service)?
            .ok_or_else(|| IdentityError::invalid("service", "is not in the catalog; list_services shows what is"))
    }
}

/// The state of an account that lacks nothing.
fn complete_state(record: &AccountRecord) -> AccountState {
    if record.claim.is_some() { AccountState::PendingClaim } else { AccountState::Connected }
}

/// The label of a new account.
enum Label {
    /// Refused when it is taken.
    Exactly(String),
    /// Numbered when it is taken; `None`: the service's name.
    Like(Option<String>),
}

/// The present version of a connector; `None` when the catalog has none.
pub(crate) fn connector(
    catalog: &CatalogHandle,
    service: &ServiceKey,
) -> Result<Option<Arc<Connector>>, IdentityError> {
    if !catalog.is_ready() {
        return Err(IdentityError::Unavailable("the catalog is not loaded yet".into()));
    }
    Ok(catalog.snapshot().get(service))
}

pub(crate) fn check_ids(organization: &OrganizationId, account: &AccountId) -> Result<(), IdentityError> {
    let known = OrganizationId::parse(organization.as_str()).is_some() && AccountId::parse(account.as_str()).is_some();
    if known { Ok(()) } else { Err(NO_ACCOUNT) }
}

/// All fields of an account, public ones too.
pub(crate) fn open(masters: &MasterKeys, record: &AccountRecord) -> Result<BTreeMap<String, Secret>, IdentityError> {
    crypto::open(masters, place(record), &record.sealed).map_err(|error| {
        tracing::error!(account = %record.id, %error, "the credentials of an account cannot be opened");
        custody(&error)
    })
}

pub(crate) fn place(record: &AccountRecord) -> Place<'_> {
    Place {
        organization: &record.organization,
        service: &record.service,
        account: &record.id,
        record_version: record.version,
    }
}

pub(crate) fn custody(error: &CustodyError) -> IdentityError {
    IdentityError::Unavailable(format!("credentials: {error}"))
}

/// For the audit log.
pub(crate) fn told(record: &AccountRecord, action: &'static str) -> Event {
    Event::of(&record.organization, action).target("account", &record.id).note(record.service.as_str())
}

pub(crate) fn changed(record: &AccountRecord) -> Change {
    Change::AccountsChanged(record.organization.clone())
}

fn taken(record: &AccountRecord) -> IdentityError {
    IdentityError::Exists { what: format!("an account of {} with the label {:?}", record.service, record.label) }
}

pub(crate) fn checked_label(label: &str) -> Result<String, IdentityError> {
    normalize_label(label).map_err(|message| IdentityError::invalid("label", message))
}

/// The first wrong field, with the others in its message.
pub(crate) fn invalid(errors: Vec<FieldError>) -> IdentityError {
    let mut errors = errors.into_iter();
    let Some(first) = errors.next() else { return IdentityError::invalid("credentials", "are not right") };
    let rest: String = errors.map(|error| format!("; {error}")).collect();
    IdentityError::invalid(first.field, first.message + &rest)
}
