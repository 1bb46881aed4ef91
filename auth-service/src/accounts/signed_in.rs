//! Accounts that signed in at the vendor, and accounts that wait to be claimed.

use std::collections::BTreeMap;

use plugboard_core::identity::{Account, AccountState, IdentityError};
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey, Subject};
use plugboard_core::manifest::credentials::CheckedCredentials;
use plugboard_core::secret::Secret;
use plugboard_core::store::Expect;

use super::{Accounts, Label, NO_ACCOUNT, changed, complete_state, custody, open, place, told};
use crate::crypto;
use crate::keys::ATTEMPTS;
use crate::records::{self, AccountRecord, SignInRecord};

/// What a sign-in has brought.
#[derive(Clone)]
pub(crate) struct SignedIn {
    pub organization: OrganizationId,
    pub service: ServiceKey,
    pub owner: Option<Subject>,
    /// A wish: numbered when it is taken, because the person has signed in already.
    pub label: Option<String>,
    /// The account to connect again.
    pub account: Option<AccountId>,
    /// With the tokens under the names of [`crate::oauth`].
    pub fields: CheckedCredentials,
    pub sign_in: SignInRecord,
    pub claim: Option<String>,
}

impl Accounts {
    /// An account that has signed in at the vendor: a new one, or an old one connected again.
    pub(crate) async fn connect(&self, signed_in: SignedIn) -> Result<Account, IdentityError> {
        let connector = self.connector(&signed_in.service)?;
        let Some(account) = signed_in.account.clone() else {
            let label = Label::Like(signed_in.label.clone().or_else(|| signed_in.sign_in.account_name.clone()));
            let SignedIn { organization, service, owner, claim, .. } = signed_in.clone();
            let mut record = self.draft(organization, service, owner, claim);
            self.put_signed_in(&mut record, &signed_in)?;
            return self.insert(record, label, &connector.manifest().name).await;
        };
        let name = records::account(&signed_in.organization, &account);
        for _ in 0..ATTEMPTS {
            let found: Option<(AccountRecord, _)> = self.records.get(&name).await?;
            let (mut record, version) = found.ok_or(NO_ACCOUNT)?;
            record.version += 1;
            record.updated_at = self.clock.now().0;
            let generation = record.sign_in.as_ref().map_or(0, |sign_in| sign_in.generation);
            record.claim.clone_from(&signed_in.claim);
            record.set_state(complete_state(&record), "", self.clock.now());
            self.put_signed_in(&mut record, &signed_in)?;
            if let Some(sign_in) = &mut record.sign_in {
                sign_in.generation = generation + 1;
            }
            let write = records::put(name.clone(), &record, Expect::Version(version))?;
            let event = told(&record, "account.reconnect");
            if self.records.commit_told(vec![write], Some(changed(&record)), vec![event]).await?.is_ok() {
                return Ok(record.account(self.clock.now()));
            }
        }
        Err(records::contended())
    }

    /// Makes usable what waits for this claim.
    pub(crate) async fn claim(
        &self,
        organization: &OrganizationId,
        claim: &str,
    ) -> Result<Vec<Account>, IdentityError> {
        let waiting: Vec<AccountRecord> = self.records.list(&records::accounts_of(organization)).await?;
        let mut claimed = Vec::new();
        for record in waiting.into_iter().filter(|record| record.claim.as_deref() == Some(claim)) {
            claimed.extend(self.claim_one(&record.name(), claim).await?);
        }
        Ok(claimed)
    }

    async fn claim_one(&self, name: &str, claim: &str) -> Result<Option<Account>, IdentityError> {
        for _ in 0..ATTEMPTS {
            let found: Option<(AccountRecord, _)> = self.records.get(name).await?;
            let Some((old, version)) = found.filter(|(record, _)| record.claim.as_deref() == Some(claim)) else {
                return Ok(None);
            };
            let now = self.clock.now();
            let record = self.resealed(&old, |record, _| {
                record.claim = None;
                record.set_state(AccountState::Connected, "", now);
            })?;
            let write = records::put(name.to_owned(), &record, Expect::Version(version))?;
            let event = told(&record, "account.claim");
            if self.records.commit_told(vec![write], Some(changed(&record)), vec![event]).await?.is_ok() {
                return Ok(Some(record.account(self.clock.now())));
            }
        }
        Err(records::contended())
    }

    /// The next version of a record with its fields; the envelope is bound to the version.
    pub(crate) fn resealed(
        &self,
        old: &AccountRecord,
        change: impl FnOnce(&mut AccountRecord, &mut BTreeMap<String, Secret>),
    ) -> Result<AccountRecord, IdentityError> {
        let mut fields = open(&self.masters, old)?;
        let mut record = old.clone();
        record.version += 1;
        record.updated_at = self.clock.now().0;
        change(&mut record, &mut fields);
        record.sealed = crypto::seal(&self.masters, place(&record), &fields).map_err(|e| custody(&e))?;
        Ok(record)
    }

    fn put_signed_in(&self, record: &mut AccountRecord, signed_in: &SignedIn) -> Result<(), IdentityError> {
        record.sign_in = Some(signed_in.sign_in.clone());
        self.put_in(record, signed_in.fields.clone())
    }
}
