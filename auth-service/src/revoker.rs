//! Telling vendors that an account is revoked (RFC 7009), in the background, until each has been told or cannot be.
//!
//! | what | value |
//! | --- | --- |
//! | one request | 10 s |
//! | tries | 12, from 15 s apart to an hour |
//! | a replica that took one on and fell silent loses it after | 60 s |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use plugboard_core::clock::Clock;
use plugboard_core::identity::{IdentityError, VendorRevocation};
use plugboard_core::ids::{OrganizationId, ServiceKey};
use plugboard_core::secret::Secret;
use plugboard_core::store::{Expect, Write};
use tokio_util::sync::CancellationToken;

use crate::audit::Event;
use crate::crypto::{self, MasterKeys, Place};
use crate::oauth::OAuth;
use crate::records::{self, Records, RevocationRecord};

const LOOK_EVERY: Duration = Duration::from_millis(500);
const TAKEN_FOR: Duration = Duration::from_secs(60);
const TRIES: u32 = 12;
const FIRST_REST: Duration = Duration::from_secs(15);
const LONGEST_REST: Duration = Duration::from_secs(60 * 60);
const AT_ONCE: usize = 100;

/// Tells a vendor that what an account was connected with is no longer to work.
#[async_trait]
pub trait VendorRevoker: Send + Sync + 'static {
    async fn revoke(&self, account: RevokedCredentials<'_>) -> Told;
}

/// What was in the account.
#[derive(Debug, Clone, Copy)]
pub struct RevokedCredentials<'a> {
    pub organization: &'a OrganizationId,
    pub service: &'a ServiceKey,
    pub fields: &'a BTreeMap<String, Secret>,
}

/// How telling a vendor ended. The texts go into the report; they hold nothing of the vendor's answer but codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Revoked,
    /// There is no way to tell it.
    NotRevocable(String),
    Refused(String),
    /// Later.
    NoAnswer(String),
}

/// By the revocation endpoint that the connector's manifest names.
#[async_trait]
impl VendorRevoker for OAuth {
    async fn revoke(&self, account: RevokedCredentials<'_>) -> Told {
        match self.revoke_tokens(account.organization, account.service, account.fields).await {
            Ok(true) => Told::Revoked,
            Ok(false) => Told::NotRevocable("the vendor has no revocation endpoint: end the credentials there".into()),
            Err(IdentityError::VendorRefused { message }) => Told::Refused(message),
            Err(IdentityError::VendorDown { message }) => Told::NoAnswer(message),
            Err(IdentityError::Invalid { .. }) => {
                Told::NotRevocable("the OAuth client or the connector it was connected with is gone".into())
            }
            Err(error) => {
                tracing::warn!(%error, "a vendor could not be told of a revocation");
                Told::NoAnswer("our own side was not ready".into())
            }
        }
    }
}

pub(crate) struct Revoker {
    pub records: Records,
    pub masters: MasterKeys,
    pub clock: Arc<dyn Clock>,
    pub vendors: Arc<dyn VendorRevoker>,
}

impl Revoker {
    /// Until told to stop.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            match self.work().await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(%error, "revocations wait to be told to vendors");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn work(&self) -> Result<(), IdentityError> {
        let mut after: Option<String> = None;
        loop {
            let due = self.records.raw_page(records::REVOCATIONS_DUE, after.as_deref(), AT_ONCE).await?;
            for (name, _) in &due {
                self.one(name).await?;
            }
            if due.len() < AT_ONCE {
                return Ok(());
            }
            after = due.into_iter().next_back().map(|(name, _)| name);
        }
    }

    async fn one(&self, due: &str) -> Result<(), IdentityError> {
        let name = format!("revocation/{}", due.trim_start_matches(records::REVOCATIONS_DUE));
        let found: Option<(RevocationRecord, u64)> = self.records.get(&name).await?;
        let Some((mut record, version)) = found else {
            let write = Write::delete(due, Expect::Anything);
            return self.records.commit(vec![write], None).await.map(drop);
        };
        let now = self.clock.now();
        if record.next_at > now.0 {
            return Ok(());
        }
        // Taken on: another replica waits.
        record.next_at = now.plus(TAKEN_FOR).0;
        record.report.attempts += 1;
        let write = records::put(name.clone(), &record, Expect::Version(version))?;
        if self.records.commit(vec![write], None).await?.is_err() {
            return Ok(());
        }
        let told = self.tell(&record).await;
        self.settle(due, name, record, version + 1, told).await
    }

    async fn tell(&self, record: &RevocationRecord) -> Told {
        let Some(sealed) = &record.sealed else { return Told::NotRevocable("nothing is kept to tell it with".into()) };
        let place = Place {
            organization: &record.organization,
            service: &record.report.service,
            account: &record.report.account,
            record_version: record.version,
        };
        match crypto::open(&self.masters, place, sealed) {
            Ok(fields) => {
                let (organization, service) = (&record.organization, &record.report.service);
                self.vendors.revoke(RevokedCredentials { organization, service, fields: &fields }).await
            }
            Err(error) => {
                tracing::error!(account = %record.report.account, %error, "a revoked account cannot be told to its vendor");
                Told::Refused("its credentials cannot be read any more".into())
            }
        }
    }

    async fn settle(
        &self,
        due: &str,
        name: String,
        mut record: RevocationRecord,
        version: u64,
        told: Told,
    ) -> Result<(), IdentityError> {
        let now = self.clock.now();
        record.report.updated_at = now.0;
        let (state, detail) = match told {
            Told::Revoked => (VendorRevocation::Revoked, None),
            Told::NotRevocable(why) => (VendorRevocation::NotRevocable, Some(why)),
            Told::Refused(why) => (VendorRevocation::Failed, Some(why)),
            Told::NoAnswer(why) if record.report.attempts >= TRIES => (VendorRevocation::Failed, Some(why)),
            Told::NoAnswer(why) => (VendorRevocation::Pending, Some(why)),
        };
        record.report.vendor = state;
        record.report.detail = detail;
        let mut writes = Vec::new();
        let mut events = Vec::new();
        if state == VendorRevocation::Pending {
            let rest = FIRST_REST * (1 << (record.report.attempts.saturating_sub(1)).min(10));
            record.next_at = now.plus(rest.min(LONGEST_REST)).0;
        } else {
            // What the vendor was to be told with has done its service.
            record.sealed = None;
            writes.push(Write::delete(due, Expect::Anything));
            let action = match state {
                VendorRevocation::Revoked => "account.vendor_revoked",
                VendorRevocation::NotRevocable => "account.vendor_not_revocable",
                VendorRevocation::Pending | VendorRevocation::Failed => "account.vendor_revocation_failed",
            };
            events.push(Event::of(&record.organization, action).target("account", &record.report.account));
        }
        writes.push(records::put(name, &record, Expect::Version(version))?);
        // Sealed anew under another master key, or revoked again, meanwhile: the next look finds it as it is then.
        self.records.commit_told(writes, None, events).await.map(drop)
    }
}
