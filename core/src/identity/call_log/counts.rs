//! How many calls of each kind there were since this was last asked.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{CallNote, Kind};
use crate::clock::Clock;

/// Kinds that a shard tells apart.
pub(super) const KINDS: usize = 8_192;

const SHARDS: usize = 16;

thread_local! {
    /// Threads take turns at the shards, so that as many threads as there are shards never meet at a lock.
    static SHARD: Cell<usize> = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS)
    };
}

pub(super) struct Counts {
    shards: [Mutex<HashMap<Kind, Count>>; SHARDS],
    room: usize,
}

pub(super) struct Count {
    /// When the first of them ended.
    pub since: i64,
    pub calls: u64,
}

impl Counts {
    pub(super) fn with_room(kinds: usize) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), room: kinds }
    }

    /// `false`: there is no room for another kind.
    pub(super) fn add(&self, call: &CallNote<'_>, clock: &dyn Clock) -> bool {
        let Some(shard) = self.shards.get(SHARD.get()) else { return false };
        let mut shard = shard.lock();
        if let Some(count) = shard.get_mut(call) {
            count.calls += 1;
            return true;
        }
        if shard.len() >= self.room {
            return false;
        }
        shard.insert(Kind::from(call), Count { since: clock.now().0, calls: 1 });
        true
    }

    /// A kind can come from several shards.
    pub(super) fn take(&self) -> impl Iterator<Item = (Kind, Count)> + '_ {
        self.shards.iter().flat_map(|shard| std::mem::take(&mut *shard.lock()))
    }
}
