//! What depends on a master key, for whoever walks over all of it.
//!
//! A new kind of sealed record implements [`SealedRecord`] and is named in [`kinds`]; rotation, the count of records for
//! each key and the refusal to retire a key in use then cover it.

use std::marker::PhantomData;

use plugboard_core::clock::Millis;
use plugboard_core::identity::IdentityError;
use plugboard_core::store::{Expect, Versioned, Write};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::audit::{HeadRecord, Scribe};
use crate::crypto::{self, MasterKeys, Place, Sealed};
use crate::records::{self, AccountRecord, KeyRecord, RevocationRecord};

/// A record with an envelope in it.
pub(crate) trait SealedRecord: Serialize + DeserializeOwned + 'static {
    /// In the plural, for people.
    const KIND: &'static str;
    /// Names of these records begin with it, and no others do.
    const PREFIX: &'static str;

    /// The envelope and where it belongs; `None`: this one has none.
    fn sealed(&self) -> Option<(Place<'_>, &Sealed)>;

    /// Takes an envelope that was sealed anew for the same place.
    fn put_sealed(&mut self, sealed: Sealed);
}

/// Records of one kind that depend on master keys.
pub(crate) trait Kind: Send + Sync {
    fn name(&self) -> &'static str;
    fn prefix(&self) -> &'static str;

    /// The master key that this record depends on.
    fn master_of(&self, name: &str, found: &Versioned, now: Millis) -> Result<Option<String>, IdentityError>;

    /// The write that makes it depend on the present one; `None`: it does, or it moves in its own time.
    fn resealed(&self, masters: &MasterKeys, name: &str, found: &Versioned) -> Result<Option<Write>, IdentityError>;
}

/// Every kind there is.
pub(crate) fn kinds(scribe: &Scribe) -> Vec<Box<dyn Kind>> {
    vec![
        Box::new(Envelopes::<AccountRecord>(PhantomData)),
        Box::new(Envelopes::<RevocationRecord>(PhantomData)),
        Box::new(AuditHeads(scribe.clone())),
        Box::new(ApiKeys),
    ]
}

pub(crate) struct Envelopes<R>(PhantomData<fn() -> R>);

impl<R: SealedRecord> Kind for Envelopes<R> {
    fn name(&self) -> &'static str {
        R::KIND
    }

    fn prefix(&self) -> &'static str {
        R::PREFIX
    }

    fn master_of(&self, name: &str, found: &Versioned, _now: Millis) -> Result<Option<String>, IdentityError> {
        let record: R = records::decode(name, found)?;
        Ok(record.sealed().map(|(_, sealed)| sealed.master_key().to_owned()))
    }

    fn resealed(&self, masters: &MasterKeys, name: &str, found: &Versioned) -> Result<Option<Write>, IdentityError> {
        let mut record: R = records::decode(name, found)?;
        let Some((place, sealed)) = record.sealed() else { return Ok(None) };
        let resealed = crypto::reseal(masters, place, sealed)
            .map_err(|error| IdentityError::Unavailable(format!("{name}: {error}")))?;
        let Some(resealed) = resealed else { return Ok(None) };
        record.put_sealed(resealed);
        records::put(name.to_owned(), &record, Expect::Version(found.version)).map(Some)
    }
}

impl SealedRecord for AccountRecord {
    const KIND: &'static str = "accounts";
    const PREFIX: &'static str = "account/";

    fn sealed(&self) -> Option<(Place<'_>, &Sealed)> {
        let place = Place {
            organization: &self.organization,
            service: &self.service,
            account: &self.id,
            record_version: self.version,
        };
        Some((place, &self.sealed))
    }

    fn put_sealed(&mut self, sealed: Sealed) {
        self.sealed = sealed;
    }
}

impl SealedRecord for RevocationRecord {
    const KIND: &'static str = "revocations";
    const PREFIX: &'static str = "revocation/";

    fn sealed(&self) -> Option<(Place<'_>, &Sealed)> {
        let place = Place {
            organization: &self.organization,
            service: &self.report.service,
            account: &self.report.account,
            record_version: self.version,
        };
        self.sealed.as_ref().map(|sealed| (place, sealed))
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

    fn resealed(&self, _: &MasterKeys, _: &str, _: &Versioned) -> Result<Option<Write>, IdentityError> {
        Ok(None)
    }
}
