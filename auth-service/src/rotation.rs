//! The walk that seals everything anew under the present master key, while calls go on.
//!
//! Each record is replaced by compare-and-set at the version that was read: whoever changes an account meanwhile wins, and
//! the walk reads again. How far it is stands in a record, so another replica, or the next start, goes on from there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plugboard_core::clock::Clock;
use plugboard_core::identity::{IdentityError, RotationStatus};
use plugboard_core::ids::InstanceId;
use plugboard_core::store::{Expect, Versioned};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::crypto::MasterKeys;
use crate::keys::ATTEMPTS;
use crate::records::{self, Records};
use crate::sealed::{Kind, kinds};

pub(crate) const RECORD: &str = "platform/rotation";
/// Records between two notes of how far it is.
const PAGE: usize = 100;
const COUNTED_AT_ONCE: usize = 500;
/// How often a replica looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Rest between pages: calls come first.
const REST: Duration = Duration::from_millis(2);
/// A replica that has not noted anything for longer has lost the walk to the next one.
const LEASE: Duration = Duration::from_secs(10);
/// Walks at most, until nothing is left.
const PASSES: u32 = 5;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RotationRecord {
    pub status: RotationStatus,
    /// Name of the last record that was seen, of the kind `status.at`.
    pub after: Option<String>,
    pub pass: u32,
    pub runner: Option<InstanceId>,
    pub lease_until: i64,
}

impl RotationRecord {
    pub(crate) fn new(to: &str, now: i64) -> Self {
        Self {
            status: RotationStatus { to: to.to_owned(), started_at: now, ..RotationStatus::default() },
            after: None,
            pass: 1,
            runner: None,
            lease_until: 0,
        }
    }
}

pub(crate) struct Rotations {
    records: Records,
    masters: MasterKeys,
    clock: Arc<dyn Clock>,
    kinds: Vec<Box<dyn Kind>>,
    me: InstanceId,
}

/// What became of one record.
enum Resealed {
    Yes,
    NotNeeded,
    Unreadable,
}

impl Rotations {
    pub(crate) fn new(records: Records, masters: MasterKeys, clock: Arc<dyn Clock>) -> Self {
        let kinds = kinds(records.scribe());
        Self { records, masters, clock, kinds, me: InstanceId::generate() }
    }

    pub(crate) async fn status(&self) -> Result<Option<RotationStatus>, IdentityError> {
        let found: Option<(RotationRecord, _)> = self.records.get(RECORD).await?;
        Ok(found.map(|(record, _)| record.status))
    }

    /// Records that depend on each master key, by kind.
    pub(crate) async fn count(&self) -> Result<BTreeMap<String, BTreeMap<String, u64>>, IdentityError> {
        let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let now = self.clock.now();
        for kind in &self.kinds {
            let mut after = None;
            loop {
                let page = self.records.raw_page(kind.prefix(), after.as_deref(), COUNTED_AT_ONCE).await?;
                for (name, found) in &page {
                    if let Some(id) = kind.master_of(name, found, now)? {
                        *counts.entry(id).or_default().entry(kind.name().to_owned()).or_default() += 1;
                    }
                }
                if page.len() < COUNTED_AT_ONCE {
                    break;
                }
                after = page.into_iter().next_back().map(|(name, _)| name);
            }
        }
        Ok(counts)
    }

    /// Walks whenever there is something to do, until told to stop.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            let wait = match self.step().await {
                Ok(true) => REST,
                Ok(false) => {
                    failing = false;
                    LOOK_EVERY
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the rotation of master keys waits");
                    }
                    LOOK_EVERY
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One page. True: there is more to do.
    async fn step(&self) -> Result<bool, IdentityError> {
        let found: Option<(RotationRecord, u64)> = self.records.get(RECORD).await?;
        let Some((mut record, version)) = found else { return Ok(false) };
        let now = self.clock.now();
        let others = record.runner.as_ref().is_some_and(|runner| *runner != self.me) && record.lease_until > now.0;
        // The ring follows within half a second.
        if record.status.done || others || record.status.to != self.masters.ring().present().id {
            return Ok(false);
        }
        let at = self.kinds.iter().position(|kind| kind.name() == record.status.at).unwrap_or(0);
        let Some(kind) = self.kinds.get(at) else { return Ok(false) };
        let page = self.records.raw_page(kind.prefix(), record.after.as_deref(), PAGE).await?;
        let whole = page.len() == PAGE;
        let last = page.last().map(|(name, _)| name.clone());
        for (name, found) in page {
            match self.reseal(kind.as_ref(), &name, found).await? {
                Resealed::Yes => record.status.resealed += 1,
                Resealed::NotNeeded => {}
                Resealed::Unreadable => record.status.unreadable += 1,
            }
        }
        kind.name().clone_into(&mut record.status.at);
        record.after = last;
        if !whole {
            self.next_kind(&mut record, at).await?;
        }
        record.runner = Some(self.me.clone());
        record.lease_until = self.clock.now().plus(LEASE).0;
        let write = records::put(RECORD.to_owned(), &record, Expect::Version(version))?;
        // Noted by another one meanwhile, or begun anew: that one goes on.
        let _ = self.records.commit(vec![write], None).await?;
        Ok(true)
    }

    /// After the last record of a kind: the next kind, another walk for what was sealed meanwhile by replicas that had
    /// not heard of the new key, or the end.
    async fn next_kind(&self, record: &mut RotationRecord, at: usize) -> Result<(), IdentityError> {
        record.after = None;
        if let Some(next) = self.kinds.get(at + 1) {
            next.name().clone_into(&mut record.status.at);
            return Ok(());
        }
        let counts = self.count().await?;
        let left: u64 = counts
            .iter()
            .filter(|(id, _)| **id != record.status.to)
            .flat_map(|(_, kinds)| kinds)
            .filter(|(kind, _)| kind.as_str() != "API keys")
            .map(|(_, count)| count)
            .sum();
        if left > record.status.unreadable && record.pass < PASSES {
            record.pass += 1;
            record.status.unreadable = 0;
            record.status.at = String::new();
            return Ok(());
        }
        record.status.done = true;
        record.status.finished_at = Some(self.clock.now().0);
        tracing::info!(
            to = record.status.to,
            resealed = record.status.resealed,
            unreadable = record.status.unreadable,
            "everything is sealed under the present master key"
        );
        Ok(())
    }

    async fn reseal(&self, kind: &dyn Kind, name: &str, found: Versioned) -> Result<Resealed, IdentityError> {
        let mut found = Some(found);
        for _ in 0..ATTEMPTS {
            let Some(present) = found else { return Ok(Resealed::NotNeeded) };
            let write = match kind.resealed(&self.masters, name, &present) {
                Ok(Some(write)) => write,
                Ok(None) => return Ok(Resealed::NotNeeded),
                Err(error) => {
                    tracing::error!(name, %error, "a record cannot be sealed under the present master key");
                    return Ok(Resealed::Unreadable);
                }
            };
            if self.records.commit(vec![write], None).await?.is_ok() {
                return Ok(Resealed::Yes);
            }
            found = self.records.raw(name).await?;
        }
        // Written all the time, and so under the present key; the count at the end sees if not.
        Ok(Resealed::NotNeeded)
    }
}
