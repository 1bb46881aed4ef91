//! What depends on a master key, for whoever walks over all of it.
//!
//! A new kind of sealed record implements [`SealedRecord`] and is named in [`kinds`]; rotation, the count of records for
//! each key and the refusal to retire a key in use then cover it.

use std::marker::PhantomData;

use plugboard_core::clock::Millis;
use plugboard_core::identity::IdentityError;
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::store::{Expect, Versioned, Write};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::audit::{HeadRecord, Scribe};
use crate::crypto::{self, MasterKeys, Place, Sealed};
use crate::oauth::records::{self as oauth, ClientRecord, DeviceRecord, FlowRecord};
use crate::records::{self, AccountRecord, KeyRecord, RevocationRecord};

/// Where a record's envelope belongs.
pub(crate) struct Home {
    pub organization: OrganizationId,
    pub service: ServiceKey,
    pub account: AccountId,
    pub version: u64,
}

impl Home {
    fn place(&self) -> Place<'_> {
        Place {
            organization: &self.organization,
            service: &self.service,
            account: &self.account,
            record_version: self.version,
        }
    }
}

/// A record with an envelope in it.
pub(crate) trait SealedRecord: Serialize + DeserializeOwned + 'static {
    /// Where the envelope of the record of this name belongs; `None`: nowhere, it is no name of such a record.
    fn home(&self, name: &str) -> Option<Home>;

    /// `None`: this one has no envelope.
    fn sealed(&self) -> Option<&Sealed>;

    /// Takes an envelope that was sealed anew for the same place.
    fn put_sealed(&mut self, sealed: Sealed);
}

/// Records of one kind that depend on master keys.
pub(crate) trait Kind: Send + Sync {
    /// In the plural, for people.
    fn name(&self) -> &'static str;

    /// Names of these records begin with it, and no others do.
    fn prefix(&self) -> &'static str;

    /// The master key that this record depends on.
    fn master_of(&self, name: &str, found: &Versioned, now: Millis) -> Result<Option<String>, IdentityError>;

    /// Whether it opens, or holds, with the master key that it depends on; `None`: that cannot be told.
    fn opens(&self, masters: &MasterKeys, name: &str, found: &Versioned) -> Result<Option<bool>, IdentityError>;

    /// The write that makes it depend on the present one; `None`: it does, or it moves in its own time.
    fn resealed(&self, masters: &MasterKeys, name: &str, found: &Versioned) -> Result<Option<Write>, IdentityError>;
}

/// Every kind there is.
pub(crate) fn kinds(scribe: &Scribe) -> Vec<Box<dyn Kind>> {
    vec![
        Envelopes::<AccountRecord>::kind("accounts", "account/"),
        Envelopes::<RevocationRecord>::kind("revocations", "revocation/"),
        Envelopes::<ClientRecord>::kind("OAuth clients", oauth::CLIENTS),
        Envelopes::<FlowRecord>::kind("sign-in links", oauth::LINKS),
        Envelopes::<FlowRecord>::kind("sign-ins", oauth::FLOWS),
        Envelopes::<DeviceRecord>::kind("device sign-ins", oauth::DEVICES),
        Box::new(AuditHeads(scribe.clone())),
        Box::new(ApiKeys),
    ]
}

struct Envelopes<R> {
    name: &'static str,
    prefix: &'static str,
    records: PhantomData<fn() -> R>,
}

impl<R: SealedRecord> Envelopes<R> {
    fn kind(name: &'static str, prefix: &'static str) -> Box<dyn Kind> {
        Box::new(Self { name, prefix, records: PhantomData })
    }
}

impl<R: SealedRecord> Kind for Envelopes<R> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn prefix(&self) -> &'static str {
        self.prefix
    }

    fn master_of(&self, name: &str, found: &Versioned, _now: Millis) -> Result<Option<String>, IdentityError> {
        let record: R = records::decode(name, found)?;
        Ok(record.sealed().map(|sealed| sealed.master_key().to_owned()))
    }

    fn opens(&self, masters: &MasterKeys, name: &str, found: &Versioned) -> Result<Option<bool>, IdentityError> {
        let record: R = records::decode(name, found)?;
        let (Some(sealed), Some(home)) = (record.sealed(), record.home(name)) else { return Ok(None) };
        Ok(Some(crypto::open(masters, home.place(), sealed).is_ok()))
    }

    fn resealed(&self, masters: &MasterKeys, name: &str, found: &Versioned) -> Result<Option<Write>, IdentityError> {
        let mut record: R = records::decode(name, found)?;
        let Some(sealed) = record.sealed() else { return Ok(None) };
        let unreadable = |why: String| IdentityError::Unavailable(format!("{name}: {why}"));
        let home = record.home(name).ok_or_else(|| unreadable("belongs nowhere".to_owned()))?;
        let resealed = crypto::reseal(masters, home.place(), sealed).map_err(|error| unreadable(error.to_string()))?;
        let Some(resealed) = resealed else { return Ok(None) };
        record.put_sealed(resealed);
        records::put(name.to_owned(), &record, Expect::Version(found.version)).map(Some)
    }
}

impl SealedRecord for AccountRecord {
    fn home(&self, _: &str) -> Option<Home> {
        Some(Home {
            organization: self.organization.clone(),
            service: self.service.clone(),
            account: self.id.clone(),
            version: self.version,
        })
    }

    fn sealed(&self) -> Option<&Sealed> {
        Some(&self.sealed)
    }

    fn put_sealed(&mut self, sealed: Sealed) {
        self.sealed = sealed;
    }
}

impl SealedRecord for RevocationRecord {
    fn home(&self, _: &str) -> Option<Home> {
        Some(Home {
            organization: self.organization.clone(),
            service: self.report.service.clone(),
            account: self.report.account.clone(),
            version: self.version,
        })
    }

    fn sealed(&self) -> Option<&Sealed> {
        self.sealed.as_ref()
    }

    fn put_sealed(&mut self, sealed: Sealed) {
        self.sealed = Some(sealed);
    }
}

/// Signed ends of audit logs: signed anew, if the signature holds.
struct AuditHeads(Scribe);

impl Kind for AuditHeads {
    fn name(&self) -> &'static str {
        "audit heads"
    }

    fn prefix(&self) -> &'static str {
        records::AUDIT_HEADS
    }

    fn master_of(&self, name: &str, found: &Versioned, _now: Millis) -> Result<Option<String>, IdentityError> {
        Ok(Some(records::decode::<HeadRecord>(name, found)?.key))
    }

    fn opens(&self, _: &MasterKeys, name: &str, found: &Versioned) -> Result<Option<bool>, IdentityError> {
        let head: HeadRecord = records::decode(name, found)?;
        // One that is marked as broken was signed by whoever marked it.
        Ok(Some(self.0.holds(name.trim_start_matches(records::AUDIT_HEADS), &head)))
    }

    fn resealed(&self, masters: &MasterKeys, name: &str, found: &Versioned) -> Result<Option<Write>, IdentityError> {
        let mut head: HeadRecord = records::decode(name, found)?;
        if head.key == masters.ring().present().id {
            return Ok(None);
        }
        let chain = name.trim_start_matches(records::AUDIT_HEADS);
        if !self.0.holds(chain, &head) {
            return Err(IdentityError::Unavailable(format!("{name}: the signature does not hold")));
        }
        self.0.sign(chain, &mut head);
        records::put(name.to_owned(), &head, Expect::Version(found.version)).map(Some)
    }
}

/// API keys that are still good: their hashes depend on a pepper. Only whoever presents a key can have it hashed anew, so
/// they move when they are next used.
struct ApiKeys;

impl Kind for ApiKeys {
    fn name(&self) -> &'static str {
        "API keys"
    }

    fn prefix(&self) -> &'static str {
        "key/"
    }

    fn master_of(&self, name: &str, found: &Versioned, now: Millis) -> Result<Option<String>, IdentityError> {
        let record: KeyRecord = records::decode(name, found)?;
        let over = record.revoked_at.is_some() || Millis(record.expires_at) <= now;
        Ok((!over).then_some(record.pepper))
    }

    /// Only whoever presents a key can tell.
    fn opens(&self, _: &MasterKeys, _: &str, _: &Versioned) -> Result<Option<bool>, IdentityError> {
        Ok(None)
    }

    fn resealed(&self, _: &MasterKeys, _: &str, _: &Versioned) -> Result<Option<Write>, IdentityError> {
        Ok(None)
    }
}
