//! API keys: issue, verify, list, revoke.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::identity::{Change, IdentityError, IssuedKey, Key, NewKey, Principal, Scopes};
use plugboard_core::ids::{KeyId, OrganizationId, Subject};
use plugboard_core::secret::{Secret, SecretKey};
use plugboard_core::store::{Expect, Write};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::api_key::{self, Kind};
use crate::crypto::MasterKeys;
use crate::records::{self, KeyPointer, KeyRecord, OrganizationRecord, Records, UsedRecord};

/// What the pepper is derived for; changing it would forget every key.
const PEPPER: &str = "api-key-pepper";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How exact "last used" is.
const USED_EVERY: Duration = Duration::from_secs(60);
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const LONGEST_NAME: usize = 100;
const LONGEST_SUBJECT: usize = 256;
/// Look-ups in flight for one list.
const CONCURRENT: usize = 16;
/// Attempts at a change that others race.
pub(crate) const ATTEMPTS: usize = 8;

pub(crate) const NO_KEY: IdentityError = IdentityError::NotFound { what: "the API key" };
pub(crate) const NO_ORGANIZATION: IdentityError = IdentityError::NotFound { what: "the organization" };

pub(crate) struct Keys {
    records: Records,
    clock: Arc<dyn Clock>,
    /// One for each master key, the present one first.
    peppers: Vec<SecretKey>,
    usage: Mutex<Usage>,
}

/// Which keys were used, until it is written down.
#[derive(Default)]
struct Usage {
    seen: HashMap<KeyId, Millis>,
    written: HashMap<KeyId, Millis>,
}

/// A key that is not stored yet.
pub(crate) struct Draft {
    pub record: KeyRecord,
    pub place: String,
    pub secret: Secret,
}

impl Draft {
    pub(crate) fn pointer(&self) -> KeyPointer {
        self.record.pointer(&self.place)
    }

    /// The writes that make it valid.
    pub(crate) fn writes(&self) -> Result<Vec<Write>, IdentityError> {
        let mut writes = vec![records::put(records::key(&self.place), &self.record, Expect::Absent)?];
        if let Some(organization) = &self.record.organization {
            let name = records::key_of(organization, &self.record.id);
            writes.push(records::put(name, self.pointer(), Expect::Absent)?);
        }
        Ok(writes)
    }
}

impl Keys {
    pub(crate) fn new(records: Records, clock: Arc<dyn Clock>, masters: &MasterKeys) -> Self {
        let peppers = masters.iter().map(|master| master.key.derive(PEPPER)).collect();
        Self { records, clock, peppers, usage: Mutex::default() }
    }

    pub(crate) async fn verify(&self, key: &Secret) -> Result<Principal, IdentityError> {
        let kind = api_key::parse(key).ok_or(IdentityError::KeyRefused)?;
        for pepper in &self.peppers {
            let hash = api_key::hash(pepper, key);
            let place = api_key::place(&hash);
            let Some((record, _)) = self.records.get::<KeyRecord>(&records::key(&place)).await? else { continue };
            let same: bool = record.hash.as_bytes().ct_eq(hex::encode(hash).as_bytes()).into();
            let now = self.clock.now();
            let valid = same
                && (kind == Kind::Operator) == record.organization.is_none()
                && record.revoked_at.is_none()
                && Millis(record.expires_at) > now;
            if !valid {
                return Err(IdentityError::KeyRefused);
            }
            self.usage.lock().seen.insert(record.id.clone(), now);
            return Ok(Principal {
                key_id: record.id.clone(),
                scopes: record.scopes(),
                expires_at: Millis(record.expires_at),
                organization: record.organization,
                subject: record.subject,
            });
        }
        Err(IdentityError::KeyRefused)
    }

    pub(crate) async fn issue(&self, request: NewKey) -> Result<IssuedKey, IdentityError> {
        if !(1..=NewKey::MAX_DAYS).contains(&request.expires_in_days) {
            let message = format!("is from 1 to {}", NewKey::MAX_DAYS);
            return Err(IdentityError::invalid("expires_in_days", message));
        }
        if request.scopes.is_empty() {
            let known = Scopes::all().names().join(", ");
            return Err(IdentityError::invalid("scopes", format!("name at least one of {known}")));
        }
        let subject = request.subject.map(|subject| checked_subject("subject", &subject)).transpose()?;
        let name = checked_name("name", &request.name)?;
        if OrganizationId::parse(request.organization.as_str()).is_none() {
            return Err(NO_ORGANIZATION);
        }
        let found: Option<(OrganizationRecord, _)> =
            self.records.get(&records::organization(&request.organization)).await?;
        found.ok_or(NO_ORGANIZATION)?;

        let life = DAY * request.expires_in_days;
        let mut draft = self.draft(Some(request.organization.clone()), name, request.scopes, life, None)?;
        draft.record.subject = subject;
        match self.records.commit(draft.writes()?, None).await? {
            Ok(()) => Ok(IssuedKey { key: draft.record.listed(&request.organization, None), secret: draft.secret }),
            Err(_) => Err(records::contended()),
        }
    }

    /// A key for an organization, or (`None`) for the operator; its secret made here unless given.
    pub(crate) fn draft(
        &self,
        organization: Option<OrganizationId>,
        name: String,
        scopes: Scopes,
        life: Duration,
        secret: Option<Secret>,
    ) -> Result<Draft, IdentityError> {
        let kind = if organization.is_some() { Kind::Organization } else { Kind::Operator };
        let secret = match secret {
            Some(secret) => secret,
            None => api_key::generate(kind)
                .map_err(|_| IdentityError::Unavailable("the machine gave no randomness".into()))?,
        };
        let pepper = self.peppers.first().ok_or_else(|| IdentityError::Unavailable("no master key".into()))?;
        let hash = api_key::hash(pepper, &secret);
        let now = self.clock.now();
        let record = KeyRecord {
            id: KeyId::generate(),
            hash: hex::encode(hash),
            organization,
            name,
            prefix: api_key::shown(&secret),
            scopes: scopes.names(),
            subject: None,
            created_at: now.0,
            expires_at: now.plus(life).0,
            revoked_at: None,
        };
        Ok(Draft { record, place: api_key::place(&hash), secret })
    }

    pub(crate) async fn list(&self, organization: &OrganizationId) -> Result<Vec<Key>, IdentityError> {
        if OrganizationId::parse(organization.as_str()).is_none() {
            return Ok(Vec::new());
        }
        let pointers: Vec<KeyPointer> = self.records.list(&records::keys_of(organization)).await?;
        let listed = pointers.into_iter().map(|pointer| async move {
            let record: Option<(KeyRecord, _)> = self.records.get(&records::key(&pointer.place)).await?;
            match record {
                Some((record, _)) => self.listed(organization, &record).await.map(Some),
                None => Ok(None),
            }
        });
        let keys: Vec<Option<Key>> = stream::iter(listed).buffered(CONCURRENT).try_collect().await?;
        Ok(keys.into_iter().flatten().collect())
    }

    async fn listed(&self, organization: &OrganizationId, record: &KeyRecord) -> Result<Key, IdentityError> {
        let used = self.records.get::<UsedRecord>(&records::key_used(&record.id)).await?;
        Ok(record.listed(organization, used.map(|(used, _)| used)))
    }

    pub(crate) async fn revoke(&self, organization: &OrganizationId, key: &KeyId) -> Result<Key, IdentityError> {
        if OrganizationId::parse(organization.as_str()).is_none() || KeyId::parse(key.as_str()).is_none() {
            return Err(NO_KEY);
        }
        let found: Option<(KeyPointer, _)> = self.records.get(&records::key_of(organization, key)).await?;
        let (pointer, _) = found.ok_or(NO_KEY)?;
        let record = self.revoke_at(&pointer).await?;
        self.listed(organization, &record).await
    }

    async fn revoke_at(&self, pointer: &KeyPointer) -> Result<KeyRecord, IdentityError> {
        let name = records::key(&pointer.place);
        for _ in 0..ATTEMPTS {
            let found: Option<(KeyRecord, _)> = self.records.get(&name).await?;
            let (mut record, version) = found.ok_or(NO_KEY)?;
            if record.revoked_at.is_none() {
                record.revoked_at = Some(self.clock.now().0);
                let write = records::put(name.clone(), &record, Expect::Version(version))?;
                if self.records.commit(vec![write], Some(Change::KeyRevoked(record.id.clone()))).await?.is_err() {
                    continue;
                }
            }
            return Ok(record);
        }
        Err(records::contended())
    }

    /// Writes down which keys were used, once a minute each, until told to stop and then once more.
    pub(crate) async fn note_usage(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(FLUSH_EVERY) => {}
            }
            self.flush_usage().await;
        }
    }

    async fn flush_usage(&self) {
        let due: Vec<(KeyId, Millis)> = {
            let mut usage = self.usage.lock();
            let seen = std::mem::take(&mut usage.seen);
            let now = self.clock.now();
            usage.written.retain(|_, at| now < at.plus(USED_EVERY));
            let due: Vec<_> = seen.into_iter().filter(|(key, _)| !usage.written.contains_key(key)).collect();
            usage.written.extend(due.iter().cloned());
            due
        };
        for (key, at) in due {
            // A lost note costs nothing but exactness.
            if let Err(error) = self.note_used(&key, at).await {
                tracing::debug!(%error, "the use of a key could not be noted");
            }
        }
    }

    async fn note_used(&self, key: &KeyId, at: Millis) -> Result<(), IdentityError> {
        let name = records::key_used(key);
        let before: Option<(UsedRecord, _)> = self.records.get(&name).await?;
        // Another replica may have noted it.
        if before.is_some_and(|(used, _)| at < Millis(used.at).plus(USED_EVERY)) {
            return Ok(());
        }
        let write = records::put(name, UsedRecord { at: at.0 }, Expect::Anything)?;
        self.records.commit(vec![write], None).await.map(|_| ())
    }
}

/// The name of an organization or key.
pub(crate) fn checked_name(field: &str, name: &str) -> Result<String, IdentityError> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME {
        return Err(IdentityError::invalid(field, format!("has 1 to {LONGEST_NAME} characters")));
    }
    if name.chars().any(char::is_control) {
        return Err(IdentityError::invalid(field, "has no line breaks or other control characters"));
    }
    Ok(name.to_owned())
}

/// An end user in the tenant's own words.
pub(crate) fn checked_subject(field: &str, subject: &Subject) -> Result<Subject, IdentityError> {
    let text = subject.0.trim();
    if text.is_empty() || text.len() > LONGEST_SUBJECT || text.chars().any(char::is_control) {
        let message = format!("is a name of 1 to {LONGEST_SUBJECT} bytes without control characters, or absent");
        return Err(IdentityError::invalid(field, message));
    }
    Ok(Subject(text.to_owned()))
}
