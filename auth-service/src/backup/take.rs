//! Taking a backup.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::store::{Piece, Store, Versioned};
use tokio::sync::mpsc;

use super::format::{self, Encoder, FORMAT, Header, NeededKey, Summary};
use super::{BackupError, FLEETING};
use crate::audit::Scribe;
use crate::key_source::KeySource;
use crate::keyring::{self, KeyringRecord};
use crate::records;
use crate::sealed::{Kind, kinds};

/// Batches that wait for a slow reader.
const WAITING: usize = 4;

/// Hands out the bytes of a backup of everything in the store, as of one moment, and says what is in it. Whoever receives
/// them must have all of them before the backup is one.
///
/// # Errors
/// When the store or a master key cannot be read, or nobody receives.
pub async fn take(
    store: &dyn Store,
    source: &dyn KeySource,
    clock: Arc<dyn Clock>,
    to: mpsc::Sender<Bytes>,
) -> Result<Summary, BackupError> {
    let keys = source.keys().await?;
    let masters = keyring::masters(store, keys.clone()).await?;
    let ring = masters.ring();
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|_| BackupError::Io("the machine gave no randomness".to_owned()))?;
    let nonce = hex::encode(nonce);
    let header = Header {
        format: FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at: clock.now().0,
        signed_by: ring.present().id.clone(),
        check: format::check(ring.present(), &nonce),
        nonce,
    };
    let (mut encoder, bytes) = Encoder::begin(ring.present(), &header)?;
    send(&to, bytes).await?;

    let mut census = Census::new(kinds(&Scribe::new(masters, clock.clone())), clock.now());
    census.present.clone_from(&header.signed_by);
    let (pieces, arriving) = mpsc::channel::<Vec<Piece>>(WAITING);
    let encode = async {
        // Owned, so that its end is noticed by whoever sends.
        let mut arriving = arriving;
        let mut count = 0;
        while let Some(batch) = arriving.recv().await {
            let mut bytes = Vec::new();
            for Piece { key, value } in batch.iter().filter(|piece| !is_fleeting(&piece.key)) {
                census.meet(key, value.as_ref())?;
                encoder.piece(&mut bytes, key, value.as_deref())?;
                count += 1;
            }
            send(&to, bytes).await?;
        }
        Ok::<u64, BackupError>(count)
    };
    let (read, encoded) = tokio::join!(store.snapshot(pieces), encode);
    let count = encoded?;
    read?;
    let mut summary = Summary { pieces: count, records: census.counted(), master_keys: census.needed() };
    for (id, needed) in &mut summary.master_keys {
        // One that is not here is named all the same: a restore says which are missing.
        if let Some(key) = keys.iter().find(|key| key.id == *id) {
            needed.check = format::check(key, &header.nonce);
        }
    }
    send(&to, encoder.end(&summary)?).await?;
    Ok(summary)
}

pub(super) fn is_fleeting(name: &str) -> bool {
    FLEETING.iter().any(|prefix| name.starts_with(prefix))
}

async fn send(to: &mpsc::Sender<Bytes>, bytes: Vec<u8>) -> Result<(), BackupError> {
    to.send(bytes.into()).await.map_err(|_| BackupError::Io("nobody receives it any more".to_owned()))
}

/// What is in a backup, and which master keys it needs.
struct Census {
    kinds: Vec<Box<dyn Kind>>,
    now: Millis,
    /// The key that is the present one.
    present: String,
    /// The records that depend on a master key: which of the kinds, and the key.
    sealed: HashMap<String, (usize, String)>,
    /// Records that people ask for, by name, and which of [`COUNTED`] they are.
    counted: HashMap<String, usize>,
}

/// Names of records of a kind begin so.
const COUNTED: [(&str, &str); 4] =
    [("organizations", "org/"), ("API keys", "key/"), ("accounts", "account/"), ("audit entries", "audit/")];

impl Census {
    fn new(kinds: Vec<Box<dyn Kind>>, now: Millis) -> Self {
        Self { kinds, now, present: String::new(), sealed: HashMap::new(), counted: HashMap::new() }
    }

    fn meet(&mut self, name: &str, value: Option<&Bytes>) -> Result<(), BackupError> {
        self.sealed.remove(name);
        let counted = COUNTED.iter().position(|(_, prefix)| name.starts_with(prefix));
        match (counted, value) {
            (Some(kind), Some(_)) => {
                self.counted.insert(name.to_owned(), kind);
            }
            _ => {
                self.counted.remove(name);
            }
        }
        let kind = self.kinds.iter().position(|kind| name.starts_with(kind.prefix()));
        let Some(value) = value else { return Ok(()) };
        let found = Versioned { value: value.clone(), version: 1 };
        if name == keyring::RECORD {
            self.present = records::decode::<KeyringRecord>(name, &found)?.present;
        }
        if let Some(at) = kind
            && let Some(kind) = self.kinds.get(at)
            && let Some(master) = kind.master_of(name, &found, self.now)?
        {
            self.sealed.insert(name.to_owned(), (at, master));
        }
        Ok(())
    }

    fn counted(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<String, u64> = COUNTED.iter().map(|(name, _)| ((*name).to_owned(), 0)).collect();
        for (name, _) in self.counted.values().filter_map(|kind| COUNTED.get(*kind)) {
            *counts.entry((*name).to_owned()).or_default() += 1;
        }
        counts
    }

    fn needed(&self) -> BTreeMap<String, NeededKey> {
        // Without the present one no auth service starts.
        let mut needed = BTreeMap::from([(self.present.clone(), NeededKey::default())]);
        for (kind, master) in self.sealed.values() {
            // What has nothing sealed in it any more, a revoked account, names no key.
            let Some(kind) = self.kinds.get(*kind).filter(|_| !master.is_empty()) else { continue };
            *needed.entry(master.clone()).or_default().records.entry(kind.name().to_owned()).or_default() += 1;
        }
        needed
    }
}
