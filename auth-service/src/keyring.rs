//! The key ring: which master key is the present one, which are given up, and that every auth service holds what it needs.
//!
//! The keys are the source's; which of them is the present one is a record in the store, so that all replicas agree. A key
//! becomes the present one only when every auth service that has been heard of within 90 s holds it: none may meet a
//! record that it cannot open.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::identity::{IdentityError, MasterKeyStatus, MasterKeysStatus};
use plugboard_core::ids::InstanceId;
use plugboard_core::store::{Expect, Store, StoreError, Versioned, Write};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::audit::Event;
use crate::crypto::{MasterKey, MasterKeys};
use crate::key_source::{KeySource, KeySourceError, is_id};
use crate::keys::ATTEMPTS;
use crate::records::{self, Records};
use crate::rotation::{RotationRecord, Rotations};

pub(crate) const RECORD: &str = "platform/keyring";
pub(crate) const HOLDERS: &str = "platform/holder/";
/// How often a replica looks whether the ring has changed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often it asks its source, and says what it holds.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// A replica that has said nothing for longer is gone.
const HEARD: Duration = Duration::from_secs(90);
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a rotation waits for the other replicas to read a new key.
const LEARN_WITHIN: Duration = Duration::from_secs(5);
const LEARN_LOOKS: u32 = 20;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyringRecord {
    pub present: String,
    pub retired: BTreeSet<String>,
    /// About to become the present one: replicas that do not hold it ask their source again.
    pub announced: Option<String>,
    pub since: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HolderRecord {
    pub ids: BTreeSet<String>,
    pub at: i64,
}

pub(crate) struct Keyring {
    records: Records,
    source: Arc<dyn KeySource>,
    masters: MasterKeys,
    clock: Arc<dyn Clock>,
    me: InstanceId,
    /// What the source holds, and when this replica last said so.
    held: Mutex<(Vec<MasterKey>, Option<Millis>)>,
}

impl Keyring {
    pub(crate) fn new(
        records: Records,
        source: Arc<dyn KeySource>,
        masters: MasterKeys,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { records, source, masters, clock, me: InstanceId::generate(), held: Mutex::default() }
    }

    /// Reads the source and the record anew.
    ///
    /// # Errors
    /// When the present key is not held here, or one of the two cannot be read.
    pub(crate) async fn reload(&self) -> Result<KeyringRecord, IdentityError> {
        let keys = self.source.keys().await.map_err(|error| unavailable(&error))?;
        let told: BTreeSet<String> = keys.iter().map(|key| key.id.clone()).collect();
        let changed = {
            let mut held = self.held.lock();
            let changed =
                held.1.is_none() || held.0.len() != keys.len() || held.0.iter().any(|k| !told.contains(&k.id));
            held.0 = keys;
            changed
        };
        let record = self.apply().await?;
        let due = self.held.lock().1.is_none_or(|at| at.plus(TELL_EVERY) <= self.clock.now());
        if changed || due {
            self.tell(told).await?;
        }
        Ok(record)
    }

    /// Makes what the record says the ring of this process.
    async fn apply(&self) -> Result<KeyringRecord, IdentityError> {
        let found: Option<(KeyringRecord, _)> = self.records.get(RECORD).await?;
        let held = self.held.lock().0.clone();
        let record = match found {
            Some((record, _)) => record,
            None => first(&held),
        };
        let (present, earlier) = ring(&record, held)?;
        let ring = self.masters.ring();
        let same = |one: &MasterKey, other: &MasterKey| one.id == other.id && one.key.expose() == other.key.expose();
        let unchanged = ring.iter().count() == earlier.len() + 1
            && same(ring.present(), &present)
            && earlier.iter().all(|key| ring.by_id(&key.id).is_some_and(|known| same(known, key)));
        if !unchanged {
            self.masters.replace(present, earlier);
        }
        Ok(record)
    }

    /// Says what this replica holds.
    async fn tell(&self, ids: BTreeSet<String>) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let name = format!("{HOLDERS}{}", self.me);
        let mut writes = vec![records::put(name, HolderRecord { ids, at: now.0 }, Expect::Anything)?];
        for (name, found) in self.records.raw_page(HOLDERS, None, 1_000).await? {
            let old = records::decode::<HolderRecord>(&name, &found);
            if old.is_ok_and(|holder| Millis(holder.at).plus(FORGOTTEN) < now) {
                writes.push(Write::delete(name, Expect::Anything));
            }
        }
        let _ = self.records.commit(writes, None).await?;
        self.held.lock().1 = Some(now);
        Ok(())
    }

    /// Follows changes of the ring until told to stop.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        self.follow(stop).await;
        // Who is gone and has said so needs not be waited for.
        let gone = Write::delete(format!("{HOLDERS}{}", self.me), Expect::Anything);
        if let Err(error) = self.records.commit(vec![gone], None).await {
            tracing::debug!(%error, "nobody could be told that this auth service is gone");
        }
    }

    async fn follow(&self, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            match self.look().await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::error!(%error, "the key ring cannot be followed");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), IdentityError> {
        let found: Option<(KeyringRecord, _)> = self.records.get(RECORD).await?;
        let holds = |id: &String| self.held.lock().0.iter().any(|key| key.id == *id);
        let unknown = found
            .as_ref()
            .is_some_and(|(record, _)| !holds(&record.present) || record.announced.iter().any(|id| !holds(id)));
        let due = self.held.lock().1.is_none_or(|at| at.plus(TELL_EVERY) <= self.clock.now());
        if unknown || due { self.reload().await.map(drop) } else { self.apply().await.map(drop) }
    }

    pub(crate) async fn status(&self, rotations: &Rotations) -> Result<MasterKeysStatus, IdentityError> {
        let record = self.reload().await?;
        let held: Vec<String> = self.held.lock().0.iter().map(|key| key.id.clone()).collect();
        let mut counts = rotations.count().await?;
        // Every id that is held, given up, or that something still depends on.
        let mut ids: BTreeSet<String> = record.retired.iter().cloned().collect();
        ids.extend(held.iter().cloned());
        ids.extend(counts.keys().cloned());
        let keys = ids.into_iter().map(|id| MasterKeyStatus {
            held: held.contains(&id),
            present: id == record.present,
            retired: record.retired.contains(&id),
            records: counts.remove(&id).unwrap_or_default(),
            id,
        });
        Ok(MasterKeysStatus { keys: keys.collect(), rotation: rotations.status().await?, present: record.present })
    }

    pub(crate) async fn rotate(&self, to: Option<String>) -> Result<(), IdentityError> {
        let record = self.reload().await?;
        let to = match to {
            Some(to) => self.checked(&record, to)?,
            None => self.create(&record).await?,
        };
        self.wait_for_holders(&to).await?;
        for _ in 0..ATTEMPTS {
            let found: Option<(KeyringRecord, u64)> = self.records.get(RECORD).await?;
            let expect = found.as_ref().map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
            let mut record = found.map(|(record, _)| record).unwrap_or_default();
            let running: Option<(RotationRecord, u64)> = self.records.get(crate::rotation::RECORD).await?;
            if running.as_ref().is_some_and(|(rotation, _)| !rotation.status.done && rotation.status.to != to) {
                return Err(conflict(
                    "a rotation to another key is running; `plugboard rotate --status` shows how far",
                ));
            }
            let rotation_expect = running.map_or(Expect::Absent, |(_, version)| Expect::Version(version));
            let now = self.clock.now().0;
            let event = Event::platform("master_key.activate").target("master_key", &to);
            record = KeyringRecord { present: to.clone(), announced: None, since: now, retired: record.retired };
            let writes = vec![
                records::put(RECORD.to_owned(), &record, expect)?,
                records::put(crate::rotation::RECORD.to_owned(), RotationRecord::new(&to, now), rotation_expect)?,
            ];
            if self.records.commit_told(writes, None, vec![event]).await?.is_ok() {
                self.apply().await?;
                return Ok(());
            }
        }
        Err(records::contended())
    }

    fn checked(&self, record: &KeyringRecord, to: String) -> Result<String, IdentityError> {
        if !is_id(&to) {
            return Err(IdentityError::invalid("to", "is no id of a master key"));
        }
        if record.retired.contains(&to) {
            return Err(IdentityError::invalid("to", "names a key that was given up; make a new one"));
        }
        if !self.held.lock().0.iter().any(|key| key.id == to) {
            let known: Vec<_> = self.held.lock().0.iter().map(|key| key.id.clone()).collect();
            let message = format!("names a key that is not configured here; configured are {}", known.join(", "));
            return Err(IdentityError::invalid("to", message));
        }
        Ok(to)
    }

    /// A key under the next number.
    async fn create(&self, record: &KeyringRecord) -> Result<String, IdentityError> {
        let held: Vec<String> = self.held.lock().0.iter().map(|key| key.id.clone()).collect();
        let known = held.iter().chain(&record.retired);
        let next = known.filter_map(|id| id.parse::<u64>().ok()).max().unwrap_or(0) + 1;
        let id = next.to_string();
        self.source.create(&id).await.map_err(|error| match error {
            KeySourceError::ReadOnly(advice) => IdentityError::invalid("to", format!("is needed here: {advice}")),
            error => unavailable(&error),
        })?;
        self.reload().await?;
        Ok(id)
    }

    /// Nobody may be left who could not open what is sealed from now on.
    async fn wait_for_holders(&self, id: &str) -> Result<(), IdentityError> {
        self.announce(id).await?;
        let mut without = Vec::new();
        for _ in 0..LEARN_LOOKS {
            without = self.without(id).await?;
            if without.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(LEARN_WITHIN / LEARN_LOOKS).await;
        }
        Err(conflict(format!(
            "{} of the running auth services do not hold key {id:?} ({}): give it to each of them, then try again",
            without.len(),
            without.join(", ")
        )))
    }

    async fn announce(&self, id: &str) -> Result<(), IdentityError> {
        for _ in 0..ATTEMPTS {
            let found: Option<(KeyringRecord, u64)> = self.records.get(RECORD).await?;
            let expect = found.as_ref().map_or(Expect::Absent, |(_, version)| Expect::Version(*version));
            let present = self.masters.ring().present().id.clone();
            let mut record =
                found.map_or_else(|| KeyringRecord { present, ..Default::default() }, |(record, _)| record);
            record.announced = Some(id.to_owned());
            let write = records::put(RECORD.to_owned(), &record, expect)?;
            if self.records.commit(vec![write], None).await?.is_ok() {
                return Ok(());
            }
        }
        Err(records::contended())
    }

    async fn without(&self, id: &str) -> Result<Vec<String>, IdentityError> {
        let now = self.clock.now();
        let found = self.records.raw_page(HOLDERS, None, 10_000).await?;
        let mut without = Vec::new();
        for (name, found) in found {
            let holder: HolderRecord = records::decode(&name, &found)?;
            if Millis(holder.at).plus(HEARD) > now && !holder.ids.contains(id) {
                without.push(name.trim_start_matches(HOLDERS).to_owned());
            }
        }
        Ok(without)
    }

    pub(crate) async fn retire(&self, id: &str, rotations: &Rotations) -> Result<(), IdentityError> {
        let record = self.reload().await?;
        let held = self.held.lock().0.iter().any(|key| key.id == id);
        if !held && !record.retired.contains(id) {
            return Err(IdentityError::NotFound { what: "the master key" });
        }
        if record.present == id {
            return Err(conflict(format!("{id:?} is the present master key: rotate to another first")));
        }
        if rotations.status().await?.is_some_and(|rotation| !rotation.done) {
            return Err(conflict("a rotation is running; `plugboard rotate --status` shows how far"));
        }
        check_unused(id, rotations).await?;
        self.mark(id, true).await?;
        // Whoever had not heard of the new present key may have sealed meanwhile.
        if let Err(error) = check_unused(id, rotations).await {
            self.mark(id, false).await?;
            return Err(error);
        }
        self.source.remove(id).await.map_err(|error| unavailable(&error))?;
        self.reload().await.map(drop)
    }

    async fn mark(&self, id: &str, retired: bool) -> Result<(), IdentityError> {
        for _ in 0..ATTEMPTS {
            let found: Option<(KeyringRecord, u64)> = self.records.get(RECORD).await?;
            let (mut record, version) = found.ok_or_else(records::contended)?;
            if record.present == id {
                return Err(conflict(format!("{id:?} has become the present master key")));
            }
            let action = if retired { "master_key.retire" } else { "master_key.keep" };
            if retired {
                record.retired.insert(id.to_owned())
            } else {
                record.retired.remove(id)
            };
            let write = records::put(RECORD.to_owned(), &record, Expect::Version(version))?;
            let event = Event::platform(action).target("master_key", id);
            if self.records.commit_told(vec![write], None, vec![event]).await?.is_ok() {
                return Ok(());
            }
        }
        Err(records::contended())
    }
}

/// The present key and the others, as the record has it.
fn ring(record: &KeyringRecord, held: Vec<MasterKey>) -> Result<(MasterKey, Vec<MasterKey>), IdentityError> {
    let (present, earlier): (Vec<_>, Vec<_>) = held.into_iter().partition(|key| key.id == record.present);
    let Some(present) = present.into_iter().next() else {
        return Err(IdentityError::Unavailable(format!(
            "the present master key {:?} is not among those configured here",
            record.present
        )));
    };
    Ok((present, earlier))
}

/// The ring of a store that no service of this process works on.
///
/// # Errors
/// When the store cannot be read, or its present key is not among these.
pub(crate) async fn masters(store: &dyn Store, keys: Vec<MasterKey>) -> Result<MasterKeys, IdentityError> {
    let found = store.get(RECORD).await.map_err(|error| IdentityError::Unavailable(error.to_string()))?;
    let record = match found {
        Some(found) => records::decode(RECORD, &found)?,
        None => first(&keys),
    };
    let (present, earlier) = ring(&record, keys)?;
    Ok(MasterKeys::new(present).with_earlier(earlier))
}

/// Until the first rotation the first key is the present one.
fn first(held: &[MasterKey]) -> KeyringRecord {
    let present = held.first().map(|key| key.id.clone()).unwrap_or_default();
    KeyringRecord { present, ..KeyringRecord::default() }
}

/// How many auth services have been heard of lately.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn holders(store: &dyn Store, now: Millis) -> Result<usize, StoreError> {
    let found = store.page(HOLDERS, None, 10_000).await?;
    let heard = |(name, found): &&(String, Versioned)| {
        records::decode::<HolderRecord>(name, found).is_ok_and(|holder| Millis(holder.at).plus(HEARD) > now)
    };
    Ok(found.iter().filter(heard).count())
}

async fn check_unused(id: &str, rotations: &Rotations) -> Result<(), IdentityError> {
    let counts = rotations.count().await?;
    let Some(used) = counts.get(id).filter(|used| used.values().sum::<u64>() > 0) else { return Ok(()) };
    let what: Vec<String> = used.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    Err(conflict(format!(
        "{id:?} is still needed by {}. Rotate first; API keys move when they are next used, or end when they expire",
        what.join(", ")
    )))
}

fn conflict(message: impl Into<String>) -> IdentityError {
    IdentityError::Conflict { message: message.into() }
}

fn unavailable(error: &KeySourceError) -> IdentityError {
    IdentityError::Unavailable(error.to_string())
}
