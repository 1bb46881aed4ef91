//! Reading a backup back into a store.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::identity::{AccountState, Change, IdentityError};
use plugboard_core::store::{Expect, Store, Versioned, Write};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::format::{self, Decoder, Header, Next, Piece, Summary};
use super::{BackupError, take};
use crate::audit::{Event, Scribe};
use crate::crypto::MasterKey;
use crate::key_source::KeySource;
use crate::keyring;
use crate::records::{self, AccountRecord, KeyRecord, KillRecord, Records};

/// There while a restore is under way.
const MARK: &str = "platform/restoring";
/// Records that are read, written or deleted at once.
const BATCH: usize = 500;
/// Bytes that are written at once, about.
const BATCH_BYTES: usize = 1 << 20;
/// Records of the store that is replaced which only say what may not be used: they stay.
const STOPS: [&str; 3] = [KILLS, "revocation/", records::REVOCATIONS_DUE];
const KILLS: &str = "kill/";

#[derive(Debug, Serialize, Deserialize)]
struct MarkRecord {
    taken_at: i64,
}

/// What a restore may do to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replace {
    /// Delete what is in a store that is not empty.
    pub all: bool,
    /// Nobody else can have the store open, so nobody needs to be looked for.
    pub alone: bool,
}

/// What a restore has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    pub records: u64,
    /// Revocations of the store that was replaced which the backup did not have.
    pub revocations_kept: u64,
}

/// A backup that was read to its end: its signature holds, and every master key that it needs is here.
#[derive(Debug)]
pub struct Backup<R> {
    from: R,
    signer: MasterKey,
    header: Header,
    summary: Summary,
}

impl<R: Read + Seek> Backup<R> {
    /// Reads and checks all of it; nothing is written.
    ///
    /// # Errors
    /// When it is damaged, altered, of a later format, or a master key is missing or another one.
    pub async fn open(mut from: R, source: &dyn KeySource) -> Result<Self, BackupError> {
        let keys = source.keys().await?;
        let find = |header: &Header| signer_of(header, &keys);
        let mut decoder = Decoder::begin(&mut from, find)?;
        let summary = loop {
            if let Next::End(summary) = decoder.next()? {
                break summary;
            }
        };
        let header = decoder.header;
        let missing: Vec<String> =
            summary.master_keys.keys().filter(|id| !keys.iter().any(|key| key.id == **id)).cloned().collect();
        if !missing.is_empty() {
            return Err(BackupError::KeysMissing { needed: summary.master_keys.into_keys().collect(), missing });
        }
        for key in &keys {
            // Without a check it was not at hand when the backup was taken either.
            let needed = summary.master_keys.get(&key.id).filter(|needed| !needed.check.is_empty());
            if needed.is_some_and(|needed| needed.check != format::check(key, &header.nonce)) {
                return Err(BackupError::OtherKey(key.id.clone()));
            }
        }
        let signer = signer_of(&header, &keys)?;
        Ok(Self { from, signer, header, summary })
    }

    pub fn taken_at(&self) -> Millis {
        Millis(self.header.taken_at)
    }

    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Makes the store hold what the backup has, and nothing else but the revocations that it knows already. One that
    /// does not come to its end leaves a store with which no auth service starts, and is to be made again.
    ///
    /// # Errors
    /// Before anything is written: when the store is in use, or is not empty and may not be replaced. Later: when it
    /// cannot be written, or the backup has changed since it was checked.
    pub async fn restore(
        mut self,
        store: Arc<dyn Store>,
        source: &dyn KeySource,
        clock: Arc<dyn Clock>,
        replace: Replace,
    ) -> Result<Restored, BackupError> {
        check_target(store.as_ref(), clock.now(), replace).await?;
        let mark = records::put(MARK.to_owned(), MarkRecord { taken_at: self.header.taken_at }, Expect::Anything)?;
        let mut target = Target { kept: read_stops(store.as_ref()).await?, store, batch: IndexMap::new(), bytes: 0 };
        target.store.commit(vec![mark], None).await?;
        target.clear().await?;
        let restored = self.fill(&mut target).await?;

        let masters = keyring::masters(target.store.as_ref(), source.keys().await?).await?;
        let records = Records::new(target.store, Arc::new(Notify::new()), Scribe::new(masters, clock));
        let event = Event::platform("platform.restore")
            .note(format!("as of {}; {} revocations kept", self.header.taken_at, restored.revocations_kept));
        let unmark = Write::delete(MARK, Expect::Anything);
        match records.commit_told(vec![unmark], Some(Change::Reset), vec![event]).await? {
            Ok(()) => Ok(restored),
            Err(_) => Err(records::contended().into()),
        }
    }

    async fn fill(&mut self, target: &mut Target) -> Result<Restored, BackupError> {
        self.from.seek(SeekFrom::Start(0)).map_err(|error| BackupError::Io(error.to_string()))?;
        let signer = self.signer.clone();
        let mut decoder = Decoder::begin(&mut self.from, |_| Ok(signer))?;
        let mut restored = Restored { records: 0, revocations_kept: 0 };
        // The signature is checked once more: until then the mark stays.
        while let Next::Piece(piece) = decoder.next()? {
            restored.records += u64::from(piece.value.is_some());
            target.take(piece).await?;
        }
        restored.revocations_kept = target.put_stops().await?;
        Ok(restored)
    }
}

fn signer_of(header: &Header, keys: &[MasterKey]) -> Result<MasterKey, BackupError> {
    let id = &header.signed_by;
    let Some(key) = keys.iter().find(|key| key.id == *id) else {
        return Err(BackupError::KeysMissing { needed: vec![id.clone()], missing: vec![id.clone()] });
    };
    if format::check(key, &header.nonce) != header.check {
        return Err(BackupError::OtherKey(id.clone()));
    }
    Ok(key.clone())
}

/// With what a restore left behind that did not come to its end nobody may work.
///
/// # Errors
/// When there is such a thing.
pub(crate) async fn refuse_half_restored(records: &Records) -> Result<(), IdentityError> {
    match records.get::<MarkRecord>(MARK).await? {
        None => Ok(()),
        Some(_) => {
            Err(IdentityError::Unavailable("a restore of this store did not come to its end: make it again".to_owned()))
        }
    }
}

async fn check_target(store: &dyn Store, now: Millis, replace: Replace) -> Result<(), BackupError> {
    if !replace.alone {
        let running = keyring::holders(store, now).await?;
        if running > 0 {
            return Err(BackupError::Running(running));
        }
    }
    let unfinished = store.get(MARK).await?.is_some();
    if replace.all || unfinished {
        return Ok(());
    }
    let first = store.page("", None, BATCH).await?;
    if first.iter().any(|(name, _)| !take::is_fleeting(name)) {
        return Err(BackupError::NotEmpty(store.list(records::ORGANIZATIONS).await?.len()));
    }
    Ok(())
}

/// A record by which something may not be used.
#[derive(Debug)]
struct Stop {
    value: Bytes,
    /// The backup says otherwise.
    news: bool,
}

/// What is revoked in a store. Records that cannot be read stop nothing.
async fn read_stops(store: &dyn Store) -> Result<HashMap<String, Stop>, BackupError> {
    let mut stops = HashMap::new();
    for prefix in STOPS.iter().chain(&["key/", "account/"]) {
        let mut after = None;
        loop {
            let page = store.page(prefix, after.as_deref(), BATCH).await?;
            let full = page.len() == BATCH;
            after = page.last().map(|(name, _)| name.clone());
            let stopping = page.into_iter().filter(|(name, found)| is_stop(name, found));
            stops.extend(stopping.map(|(name, found)| {
                let news = name.starts_with(KILLS);
                (name, Stop { value: found.value, news })
            }));
            if !full {
                break;
            }
        }
    }
    Ok(stops)
}

fn is_stop(name: &str, found: &Versioned) -> bool {
    if name.starts_with("key/") {
        return records::decode::<KeyRecord>(name, found).is_ok_and(|key| key.revoked_at.is_some());
    }
    if name.starts_with("account/") {
        let revoked = AccountState::Revoked.as_str();
        return records::decode::<AccountRecord>(name, found).is_ok_and(|account| account.state == revoked);
    }
    if name.starts_with(KILLS) {
        return records::decode::<KillRecord>(name, found).is_ok_and(|kill| kill != KillRecord::default());
    }
    true
}

/// The store that is written, a batch at a time.
struct Target {
    store: Arc<dyn Store>,
    /// What was revoked in what is replaced.
    kept: HashMap<String, Stop>,
    batch: IndexMap<String, Option<Bytes>>,
    bytes: usize,
}

impl Target {
    /// Deletes everything but the mark.
    async fn clear(&mut self) -> Result<(), BackupError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.page("", after.as_deref(), BATCH).await?;
            let full = page.len() == BATCH;
            after = page.last().map(|(name, _)| name.clone());
            let names = page.into_iter().map(|(name, _)| name).filter(|name| name != MARK);
            let writes = names.map(|name| Write::delete(name, Expect::Anything)).collect();
            self.store.commit(writes, None).await?;
            if !full {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, piece: Piece) -> Result<(), BackupError> {
        let Piece { name, value } = piece;
        let mut value = value.map(Bytes::from);
        if let (Some(value), Some(stop)) = (&mut value, self.kept.get_mut(&name)) {
            stop.news = stop.value != *value;
            value.clone_from(&stop.value);
        }
        self.put(name, value).await
    }

    async fn put(&mut self, name: String, value: Option<Bytes>) -> Result<(), BackupError> {
        self.bytes += name.len() + value.as_ref().map_or(0, Bytes::len);
        self.batch.insert(name, value);
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// What the backup has no record of; how many keys, accounts and organizations were kept from coming back.
    async fn put_stops(&mut self) -> Result<u64, BackupError> {
        let mut count = 0;
        for (name, stop) in std::mem::take(&mut self.kept) {
            count += u64::from(stop.news && !name.starts_with("revocation"));
            if STOPS.iter().any(|prefix| name.starts_with(prefix)) {
                self.put(name, Some(stop.value)).await?;
            }
        }
        self.flush().await?;
        Ok(count)
    }

    async fn flush(&mut self) -> Result<(), BackupError> {
        self.bytes = 0;
        let writes = std::mem::take(&mut self.batch).into_iter().map(|(name, value)| match value {
            Some(value) => Write::put(name, value, Expect::Anything),
            None => Write::delete(name, Expect::Anything),
        });
        Ok(self.store.commit(writes.collect(), None).await?)
    }
}
