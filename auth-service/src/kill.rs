//! The kill switch. What is revoked is unusable with the commit that says so; the vendor is told afterwards.
//!
//! One account: its record becomes `revoked` and its credentials leave it, in one commit. A service or an organization: a
//! record that every resolve and every check of a key reads says so first, so that no number of accounts delays it; then
//! the accounts are revoked one by one. What the vendors must be told with is kept, sealed, apart from the accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugboard_core::clock::Clock;
use plugboard_core::identity::{
    Account, AccountState, Change, IdentityError, RevocationReport, Revoke, Revoked, RevokedAccount, VendorRevocation,
};
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::store::Expect;

use crate::accounts::{NO_ACCOUNT, check_ids};
use crate::audit::Event;
use crate::crypto::{self, MasterKeys, Place};
use crate::keys::{ATTEMPTS, NO_ORGANIZATION};
use crate::records::{self, AccountRecord, DueRecord, Kill, KillRecord, OrganizationRecord, Records, RevocationRecord};

const LONGEST_REASON: usize = 500;
/// The state's reason, for programs; the person's words are in the report.
const REVOKED: &str = "kill_switch";

pub(crate) struct KillSwitch {
    pub records: Records,
    pub masters: MasterKeys,
    pub clock: Arc<dyn Clock>,
}

/// What is revoked as a whole in an organization.
pub(crate) async fn of(records: &Records, organization: &OrganizationId) -> Result<KillRecord, IdentityError> {
    let found: Option<(KillRecord, _)> = records.get(&records::kill(organization)).await?;
    Ok(found.map(|(record, _)| record).unwrap_or_default())
}

impl KillRecord {
    pub(crate) fn covers(&self, service: &ServiceKey) -> bool {
        self.organization.is_some() || self.services.contains_key(service)
    }

    /// Accounts as lists show them, while they are being revoked.
    pub(crate) fn shown(&self, mut accounts: Vec<Account>) -> Vec<Account> {
        for account in &mut accounts {
            if self.covers(&account.service) {
                account.state = AccountState::Revoked;
                REVOKED.clone_into(&mut account.state_reason);
            }
        }
        accounts
    }
}

impl KillSwitch {
    pub(crate) async fn revoke(&self, request: Revoke) -> Result<RevocationReport, IdentityError> {
        let Revoke { organization, what, reason } = request;
        let reason = checked_reason(&reason)?;
        if OrganizationId::parse(organization.as_str()).is_none() {
            return Err(NO_ORGANIZATION);
        }
        match what {
            Revoked::Account(account) => {
                check_ids(&organization, &account)?;
                self.account(&organization, &account, &reason).await?;
                let report = self.report(&organization).await?;
                let accounts = report.accounts.into_iter().filter(|revoked| revoked.account == account);
                Ok(RevocationReport::of(accounts.collect()))
            }
            Revoked::Service(service) => {
                let event = Event::of(&organization, "connector.revoke").target("connector", &service).note(&reason);
                let kill = Kill { reason: reason.clone(), at: self.clock.now().0 };
                self.mark(&organization, event, |record| {
                    record.services.insert(service.clone(), kill.clone());
                })
                .await?;
                let revoked = self.accounts(&organization, |account| account.service == service, &reason).await;
                // From here on each account says so itself, and the service can be connected anew.
                let event = Event::of(&organization, "connector.revoked").target("connector", &service);
                let revoked = revoked?;
                self.mark(&organization, event.note(format!("{} accounts", revoked.len())), |record| {
                    record.services.remove(&service);
                })
                .await?;
                self.report_of(&organization, &revoked).await
            }
            Revoked::Organization => {
                let found: Option<(OrganizationRecord, _)> =
                    self.records.get(&records::organization(&organization)).await?;
                found.ok_or(NO_ORGANIZATION)?;
                let event =
                    Event::of(&organization, "organization.revoke").target("organization", &organization).note(&reason);
                let kill = Kill { reason: reason.clone(), at: self.clock.now().0 };
                self.mark(&organization, event, |record| {
                    record.organization.get_or_insert_with(|| kill.clone());
                })
                .await?;
                let revoked = self.accounts(&organization, |_| true, &reason).await?;
                self.report_of(&organization, &revoked).await
            }
        }
    }

    pub(crate) async fn report(&self, organization: &OrganizationId) -> Result<RevocationReport, IdentityError> {
        if OrganizationId::parse(organization.as_str()).is_none() {
            return Ok(RevocationReport::default());
        }
        let records: Vec<RevocationRecord> = self.records.list(&records::revocations_of(organization)).await?;
        Ok(RevocationReport::of(records.into_iter().map(|record| record.report).collect()))
    }

    async fn report_of(
        &self,
        organization: &OrganizationId,
        accounts: &[AccountId],
    ) -> Result<RevocationReport, IdentityError> {
        let report = self.report(organization).await?;
        let these = report.accounts.into_iter().filter(|revoked| accounts.contains(&revoked.account));
        Ok(RevocationReport::of(these.collect()))
    }

    /// Changes the record that stops everything at once.
    async fn mark(
        &self,
        organization: &OrganizationId,
        event: Event,
        change: impl Fn(&mut KillRecord),
    ) -> Result<(), IdentityError> {
        let name = records::kill(organization);
        for _ in 0..ATTEMPTS {
            let found: Option<(KillRecord, u64)> = self.records.get(&name).await?;
            let expect = found.as_ref().map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
            let mut record = found.map(|(record, _)| record).unwrap_or_default();
            change(&mut record);
            let write = records::put(name.clone(), &record, expect)?;
            let told = Change::OrganizationChanged(organization.clone());
            if self.records.commit_told(vec![write], Some(told), vec![event.clone()]).await?.is_ok() {
                return Ok(());
            }
        }
        Err(records::contended())
    }

    /// Revokes accounts one by one; which were.
    async fn accounts(
        &self,
        organization: &OrganizationId,
        concerns: impl Fn(&AccountRecord) -> bool,
        reason: &str,
    ) -> Result<Vec<AccountId>, IdentityError> {
        let accounts: Vec<AccountRecord> = self.records.list(&records::accounts_of(organization)).await?;
        let mut revoked = Vec::new();
        for account in accounts.iter().filter(|account| concerns(account)) {
            match self.account(organization, &account.id, reason).await {
                Ok(()) => revoked.push(account.id.clone()),
                // Deleted meanwhile.
                Err(IdentityError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(revoked)
    }

    async fn account(&self, organization: &OrganizationId, id: &AccountId, reason: &str) -> Result<(), IdentityError> {
        let name = records::account(organization, id);
        for _ in 0..ATTEMPTS {
            let found: Option<(AccountRecord, u64)> = self.records.get(&name).await?;
            let (old, version) = found.ok_or(NO_ACCOUNT)?;
            let now = self.clock.now();
            if old.state(now).state == AccountState::Revoked {
                return Ok(());
            }
            let mut new = old.clone();
            new.version += 1;
            new.updated_at = now.0;
            new.set_state(AccountState::Revoked, REVOKED, now);
            // Its tokens are gone from here on, and with them whatever was waited for.
            new.sign_in = None;
            new.claim = None;
            new.sealed = self.nothing(&new)?;
            let revocation = RevocationRecord {
                report: RevokedAccount {
                    account: id.clone(),
                    service: old.service.clone(),
                    label: old.label.clone(),
                    reason: reason.to_owned(),
                    revoked_at: now.0,
                    vendor: VendorRevocation::Pending,
                    detail: None,
                    attempts: 0,
                    updated_at: now.0,
                },
                organization: organization.clone(),
                version: old.version,
                sealed: Some(old.sealed),
                next_at: now.0,
            };
            let writes = vec![
                records::put(name.clone(), &new, Expect::Version(version))?,
                records::put(records::revocation(organization, id), &revocation, Expect::Anything)?,
                records::put(records::revocation_due(organization, id), DueRecord {}, Expect::Anything)?,
            ];
            let event = Event::of(organization, "account.revoke").target("account", id).note(reason);
            let told = Change::AccountsChanged(organization.clone());
            if self.records.commit_told(writes, Some(told), vec![event]).await?.is_ok() {
                return Ok(());
            }
        }
        Err(records::contended())
    }

    /// An envelope without fields.
    fn nothing(&self, record: &AccountRecord) -> Result<crypto::Sealed, IdentityError> {
        let place = Place {
            organization: &record.organization,
            service: &record.service,
            account: &record.id,
            record_version: record.version,
        };
        crypto::seal(&self.masters, place, &BTreeMap::new())
            .map_err(|error| IdentityError::Unavailable(format!("credentials: {error}")))
    }
}

fn checked_reason(reason: &str) -> Result<String, IdentityError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
        let message = format!("says in 1 to {LONGEST_REASON} characters, on one line, why");
        return Err(IdentityError::invalid("reason", message));
    }
    Ok(reason.to_owned())
}
