//! Forgetting: what expires is noted under the hour after which it is of no use, and removed a little at a time.
//!
//! Adapters compare times when they read, so an expired record is gone at once; this only gives its space back.

use redb::ReadableTable;

use super::tables::Tables;
use crate::clock::Millis;

const HOUR_MS: i64 = 3_600_000;

/// What an entry of the index points at. The numbers are part of the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Journal = 1,
    Blob = 2,
    DeadLetter = 3,
}

/// Notes that the record may be removed once `at` has passed.
pub(crate) fn note(tables: &mut Tables<'_>, kind: Kind, key: &str, at: Millis) -> Result<(), redb::Error> {
    tables.expiry()?.insert((hour_after(at), kind as u8, key), ())?;
    Ok(())
}

/// Removes what has expired, about `budget` records at most. `true`: there may be more.
pub(super) fn sweep(tables: &mut Tables<'_>, now: Millis, budget: usize) -> Result<bool, redb::Error> {
    let hour = u32::try_from(now.0.div_euclid(HOUR_MS)).unwrap_or(0);
    let mut due = Vec::new();
    for entry in tables.read_expiry()?.range((0, 0, "")..(hour.saturating_add(1), 0, ""))?.take(budget) {
        let (key, ()) = (entry?.0, ());
        let (hour, kind, key) = key.value();
        due.push((hour, kind, key.to_owned()));
    }
    let mut left = budget;
    for (hour, kind, key) in &due {
        let (removed, again) = match *kind {
            kind if kind == Kind::Journal as u8 => crate::journal::embedded::expire(tables, key, now)?,
            kind if kind == Kind::Blob as u8 => crate::blobs::embedded::expire(tables, key)?,
            kind if kind == Kind::DeadLetter as u8 => crate::queue::local::dead_letters::expire(tables, key, now)?,
            // Of a later version; its index entry is kept for it.
            _ => (1, Some(now)),
        };
        tables.expiry()?.remove((*hour, *kind, key.as_str()))?;
        if let Some(at) = again {
            tables.expiry()?.insert((hour_after(at), *kind, key.as_str()), ())?;
        }
        left = left.saturating_sub(removed.max(1));
        if left == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first full hour at which `at` has passed.
fn hour_after(at: Millis) -> u32 {
    u32::try_from(at.0.div_euclid(HOUR_MS).saturating_add(1)).unwrap_or(u32::MAX)
}

/// What one look at an expired entry did: records removed, and when to look again if it lives on.
pub(crate) type Expired = (usize, Option<Millis>);
