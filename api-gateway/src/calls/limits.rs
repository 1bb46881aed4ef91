//! How much is kept.

use std::time::Duration;

/// Good and quick ones of an organization.
pub(super) const MOST_GOOD: usize = 100;
/// Failures and slow ones of an organization.
pub(super) const MOST_NOTABLE: usize = 200;
/// A call that takes this long is slow.
pub(super) const SLOW: Duration = Duration::from_secs(2);
/// Of the good ones of an organization that are made in one second, so many are written down.
pub(super) const GOOD_A_SECOND: u32 = 10;
pub(super) const NOTABLE_A_SECOND: u32 = 50;
/// Enough to keep busy threads from meeting at one lock.
pub(super) const SHARDS: usize = 16;
/// Of what is kept in one of them.
pub(super) const SHARD_BYTES: usize = 1 << 20;
/// In one of them; whoever has not called for longest is forgotten first.
pub(super) const SHARD_ORGANIZATIONS: usize = 1_000;
/// Minutes that are counted.
pub(super) const MINUTES: usize = 16;
/// Of a request as it is shown.
pub(super) const REQUEST_BYTES: usize = 2 * 1024;
/// A body larger than this is not read to be shown.
pub(super) const BODY_BYTES: usize = 16 * 1024;
