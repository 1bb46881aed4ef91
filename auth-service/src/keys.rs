//! API keys: issue, verify, list, rotate, revoke.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::identity::{Change, IdentityError, IssuedKey, Key, NewKey, Principal, RotateKey, Scopes};
use plugboard_core::ids::{KeyId, OrganizationId, Subject};
use plugboard_core::secret::Secret;
use plugboard_core::store::{Expect, Write};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::agents;
use crate::api_key::{self, Kind};
use crate::audit::Event;
use crate::crypto::MasterKeys;
use crate::kill;
use crate::peppers::{Moving, Peppers};
use crate::records::{self, KeyPointer, KeyRecord, OrganizationRecord, Records, UsedRecord};

const HOUR: Duration = Duration::from_secs(60 * 60);
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
    peppers: Peppers,
    usage: Mutex<Usage>,
}

/// Which keys were used, until it is written down.
#[derive(Default)]
struct Usage {
    seen: HashMap<KeyId, Millis>,
    written: HashMap<KeyId, Millis>,
    /// Keys seen under an earlier pepper.
    moving: HashMap<KeyId, Moving>,
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
        Self { records, clock, peppers: Peppers::new(masters.clone()), usage: Mutex::default() }
    }

    pub(crate) async fn verify(&self, key: &Secret) -> Result<Principal, IdentityError> {
        let kind = api_key::parse(key).ok_or(IdentityError::KeyRefused)?;
        let (record, now) = self.find(kind, key).await?.ok_or(IdentityError::KeyRefused)?;
        let agent = match (&record.organization, &record.agent) {
            (Some(organization), Some(agent)) => {
                // Without its agent's limits a key would have none.
                let agent = agents::get(&self.records, organization, agent).await?;
                Some(Arc::new(agent.ok_or(IdentityError::KeyRefused)?))
            }
            _ => None,
        };
        self.usage.lock().seen.insert(record.id.clone(), now);
        Ok(Principal {
            key_id: record.id.clone(),
            scopes: record.scopes(),
            expires_at: Millis(record.expires_at),
            organization: record.organization,
            subject: record.subject,
            agent,
        })
    }

    /// The record of a key that is good.
    async fn find(&self, kind: Kind, key: &Secret) -> Result<Option<(KeyRecord, Millis)>, IdentityError> {
        let peppers = self.peppers.all();
        // A key that moves to another pepper between two looks is found by the second round.
        for _ in 0..if peppers.len() > 1 { 2 } else { 1 } {
            for pepper in peppers.iter() {
                let hash = api_key::hash(&pepper.key, key);
                let place = api_key::place(&hash);
                let Some((record, version)) = self.records.get::<KeyRecord>(&records::key(&place)).await? else {
                    continue;
                };
                let same: bool = record.hash.as_bytes().ct_eq(hex::encode(hash).as_bytes()).into();
                let now = self.clock.now();
                let valid = same
                    && (kind == Kind::Operator) == record.organization.is_none()
                    && record.revoked_at.is_none()
                    && Millis(record.expires_at) > now
                    && !self.is_killed(&record).await?;
                if !valid {
                    return Ok(None);
                }
                if let Some(moving) = self.peppers.moving(key, pepper, place, version) {
                    self.usage.lock().moving.insert(record.id.clone(), moving);
                }
                return Ok(Some((record, now)));
            }
        }
        Ok(None)
    }

    async fn is_killed(&self, record: &KeyRecord) -> Result<bool, IdentityError> {
        match &record.organization {
            Some(organization) => Ok(kill::of(&self.records, organization).await?.organization.is_some()),
            None => Ok(false),
        }
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
        if let Some(agent) = &request.agent
            && agents::get(&self.records, &request.organization, agent).await?.is_none()
        {
            return Err(IdentityError::invalid("agent", "is no agent of this organization"));
        }

        let life = DAY * request.expires_in_days;
        let mut draft = self.draft(Some(request.organization.clone()), name, request.scopes, life, None)?;
        draft.record.subject = subject;
        draft.record.agent = request.agent;
        let event = Event::of(&request.organization, "key.issue").target("key", &draft.record.id);
        match self.records.commit_told(draft.writes()?, None, vec![event]).await? {
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
        let pepper = self.peppers.present();
        let hash = api_key::hash(&pepper.key, &secret);
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
            agent: None,
            pepper: pepper.id,
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
        for _ in 0..ATTEMPTS {
            // Read anew each time: a key that moves to another pepper is at another place.
            let Some((mut record, name, version)) = self.stored(organization, key).await? else { continue };
            if record.revoked_at.is_none() {
                record.revoked_at = Some(self.clock.now().0);
                let write = records::put(name, &record, Expect::Version(version))?;
                let event = Event::of(organization, "key.revoke").target("key", &record.id);
                let change = Change::KeyRevoked(record.id.clone());
                if self.records.commit_told(vec![write], Some(change), vec![event]).await?.is_err() {
                    continue;
                }
            }
            return self.listed(organization, &record).await;
        }
        Err(records::contended())
    }

    /// A key's record, its name and its version; `None`: it has just moved.
    async fn stored(
        &self,
        organization: &OrganizationId,
        key: &KeyId,
    ) -> Result<Option<(KeyRecord, String, u64)>, IdentityError> {
        let found: Option<(KeyPointer, _)> = self.records.get(&records::key_of(organization, key)).await?;
        let name = records::key(&found.ok_or(NO_KEY)?.0.place);
        let found: Option<(KeyRecord, u64)> = self.records.get(&name).await?;
        Ok(found.map(|(record, version)| (record, name, version)))
    }

    /// A second key with the rights of the first, which ends after the overlap.
    pub(crate) async fn rotate(&self, request: &RotateKey) -> Result<IssuedKey, IdentityError> {
        let RotateKey { organization, key, overlap_hours } = request;
        if *overlap_hours > RotateKey::MAX_OVERLAP_HOURS {
            let message = format!("is from 0 to {}", RotateKey::MAX_OVERLAP_HOURS);
            return Err(IdentityError::invalid("overlap_hours", message));
        }
        if OrganizationId::parse(organization.as_str()).is_none() || KeyId::parse(key.as_str()).is_none() {
            return Err(NO_KEY);
        }
        for _ in 0..ATTEMPTS {
            let Some((mut old, name, version)) = self.stored(organization, key).await? else { continue };
            let now = self.clock.now();
            if old.revoked_at.is_some() || Millis(old.expires_at) <= now {
                return Err(IdentityError::Conflict { message: "the key has ended; issue a new one".into() });
            }
            let life = Duration::from_millis(u64::try_from(old.expires_at - old.created_at).unwrap_or(0));
            let mut draft = self.draft(Some(organization.clone()), old.name.clone(), old.scopes(), life, None)?;
            draft.record.subject.clone_from(&old.subject);
            draft.record.agent.clone_from(&old.agent);
            if *overlap_hours == 0 {
                old.revoked_at = Some(now.0);
            } else {
                let until = now.plus(HOUR * *overlap_hours);
                old.expires_at = old.expires_at.min(until.0);
            }
            let mut writes = draft.writes()?;
            writes.push(records::put(name, &old, Expect::Version(version))?);
            let event = Event::of(organization, "key.rotate")
                .target("key", &old.id)
                .note(format!("followed by {}, works for {overlap_hours} more hours", draft.record.id));
            // Told in any case: gateways remember the first key with its old end.
            let change = Change::KeyRevoked(old.id.clone());
            if self.records.commit_told(writes, Some(change), vec![event]).await?.is_ok() {
                return Ok(IssuedKey { key: draft.record.listed(organization, None), secret: draft.secret });
            }
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
        let moving = std::mem::take(&mut self.usage.lock().moving);
        for (key, moving) in moving {
            // Its next use tries again.
            if let Err(error) = moving.apply(&self.records).await {
                tracing::debug!(%error, %key, "a key could not be moved to the present pepper");
            }
        }
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
