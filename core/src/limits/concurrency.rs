//! Calls at once: how many an organization may have under way at one connector, all executors together.
//!
//! Each executor leases slots, uses them call after call without asking anybody, and gives back what it has not used for
//! a second; of many it keeps one until its lease ends, so that an organization that calls now and then is not asked for
//! with every call. Where more is wanted than there is, each executor has its part. A lease that is not renewed ends, so an
//! executor that dies keeps nobody's slots for long.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use hashbrown::{Equivalent, HashMap};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LimitError;
use crate::fleet::Crowd;
use crate::ids::{OrganizationId, ServiceKey};

/// Without a renewal for this long, slots are free again.
pub const LEASE: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How often what is not used is given back.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// What rests is not renewed, and not used when its lease may end before the next look.
const LAPSES: Duration = LEASE.saturating_sub(TIDY_EVERY.saturating_mul(2));
/// Where there are so many, the others do not miss the one that rests.
const PLENTY: u32 = 16;
/// How often whoever waits asks again: another executor may have given something back.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Whoever divides the slots may be silent for this long, as a Redis that waits for its disk is, before a process keeps
/// the bound for itself alone.
const SILENCE: Duration = Duration::from_secs(2);
/// Questions under way at once while tidying.
const TOGETHER: usize = 64;

/// What a holder says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub wanted: u32,
    /// Taken already; they come back when their calls end.
    pub in_use: u32,
    /// Slots of all holders together.
    pub most: u32,
}

/// Divides slots among holders. An implementation knows which holder it is.
#[async_trait]
pub trait SlotLeases: Send + Sync + 'static {
    /// How many this holder may use from now on, for [`LEASE`]. Fewer than are in use: some others get theirs first.
    ///
    /// # Errors
    /// When nobody can be asked.
    async fn lease(&self, key: &str, ask: Ask) -> Result<u32, LimitError>;
}

/// Of a process that is alone.
#[derive(Debug)]
pub struct Alone;

#[async_trait]
impl SlotLeases for Alone {
    async fn lease(&self, _: &str, ask: Ask) -> Result<u32, LimitError> {
        Ok(ask.wanted.min(ask.most))
    }
}

/// The slots of this process.
pub struct Concurrency {
    leases: Arc<dyn SlotLeases>,
    pools: Mutex<HashMap<Key, Arc<Pool>>>,
}

impl std::fmt::Debug for Concurrency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Concurrency").field("pools", &self.pools.lock().len()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    organization: OrganizationId,
    service: ServiceKey,
}

/// Hashes as [`Key`] does.
#[derive(Hash)]
struct KeyRef<'a> {
    organization: &'a OrganizationId,
    service: &'a ServiceKey,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.organization == key.organization && *self.service == key.service
    }
}

/// Slots for the calls of one organization to one connector.
#[derive(Debug)]
struct Pool {
    key: String,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    most: u32,
    granted: u32,
    in_use: u32,
    waiting: u32,
    /// Most that were in use since the last look.
    peak: u32,
    renewed: Option<Instant>,
    /// Since when nobody could be asked.
    silent: Option<Instant>,
    /// Somebody asks for more at this moment.
    asking: bool,
}

impl State {
    fn take(&mut self, most: u32) -> bool {
        self.most = most;
        let free = self.in_use < self.granted;
        if free {
            self.in_use += 1;
            self.peak = self.peak.max(self.in_use);
        }
        free
    }

    /// How many slots to ask for, if there is anything to ask. To be looked at every [`TIDY_EVERY`].
    fn due(&mut self) -> Option<u32> {
        let used = std::mem::replace(&mut self.peak, self.in_use);
        let since = |time| self.renewed.is_none_or(|at| at.elapsed() >= time);
        let plenty = self.most >= PLENTY;
        if used == 0 && self.granted == 1 && plenty {
            if since(LAPSES) {
                self.granted = 0;
            }
            return None;
        }
        let keep = used.max(u32::from(plenty && self.granted > 0));
        let due = since(RENEW_EVERY) || self.waiting > 0 || self.granted > keep;
        (due && !self.asking).then_some(keep)
    }
}

/// A place for one call, given back when it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Pool>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state.lock().in_use -= 1;
        self.0.freed.notify_one();
    }
}

impl Concurrency {
    pub fn new(leases: Arc<dyn SlotLeases>) -> Self {
        Self { leases, pools: Mutex::default() }
    }

    /// A slot, if there is one within `patience`. `most`: those of all executors together.
    pub async fn enter(
        &self,
        organization: &OrganizationId,
        service: &ServiceKey,
        most: u32,
        patience: Duration,
    ) -> Option<Slot> {
        let pool = self.pool(organization, service);
        if pool.state.lock().take(most) {
            return Some(Slot(pool));
        }
        let _waiting = Waiting::enter(&pool);
        let wait = async {
            loop {
                let freed = pool.freed.notified();
                if pool.state.lock().take(most) {
                    return;
                }
                if let Some(asking) = Asking::begin(&pool) {
                    self.ask(&pool, 0).await;
                    drop(asking);
                    if pool.state.lock().take(most) {
                        return;
                    }
                }
                let _ = tokio::time::timeout(ASK_AGAIN, freed).await;
            }
        };
        tokio::time::timeout(patience, wait).await.ok().map(|()| Slot(pool.clone()))
    }

    /// Renews leases and gives back what is not used, until it is stopped.
    pub async fn keep(self: Arc<Self>, stopping: CancellationToken) {
        while stopping.run_until_cancelled(tokio::time::sleep(TIDY_EVERY)).await.is_some() {
            self.tidy().await;
        }
    }

    /// Who waits for a slot, the longest lines first.
    pub fn crowds(&self) -> Vec<Crowd> {
        let pools = self.pools.lock();
        let mut crowds: Vec<Crowd> = pools
            .iter()
            .filter_map(|(key, pool)| {
                let state = pool.state.lock();
                (state.waiting > 0).then(|| Crowd {
                    organization: key.organization.clone(),
                    service: key.service.clone(),
                    most: state.most,
                    in_use: state.in_use,
                    waiting: state.waiting,
                })
            })
            .collect();
        drop(pools);
        crowds.sort_by_key(|crowd| std::cmp::Reverse(crowd.waiting));
        crowds
    }

    fn pool(&self, organization: &OrganizationId, service: &ServiceKey) -> Arc<Pool> {
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(&KeyRef { organization, service }) {
            return pool.clone();
        }
        let key = format!("{service}:{organization}");
        let pool = Arc::new(Pool { key, state: Mutex::default(), freed: Notify::new() });
        pools.insert(Key { organization: organization.clone(), service: service.clone() }, pool.clone());
        pool
    }

    /// Asks for what is used, for `keep` at least, and for what is waited for.
    async fn ask(&self, pool: &Pool, keep: u32) {
        let ask = {
            let state = pool.state.lock();
            let wanted = keep.max(state.in_use).saturating_add(state.waiting);
            Ask { wanted: wanted.min(state.most), in_use: state.in_use, most: state.most }
        };
        let leased = self.leases.lease(&pool.key, ask).await;
        let mut state = pool.state.lock();
        let granted = match leased {
            Ok(granted) => {
                state.silent = None;
                granted
            }
            Err(error) => {
                tracing::debug!(%error, "slots are not shared at the moment");
                match state.silent.get_or_insert_with(Instant::now).elapsed() {
                    silent if silent < SILENCE => return,
                    // A vendor that is not asked at all helps nobody.
                    _ => ask.wanted,
                }
            }
        };
        state.granted = granted;
        state.renewed = Some(Instant::now());
        let free = granted.saturating_sub(state.in_use).min(state.waiting);
        drop(state);
        (0..free).for_each(|_| pool.freed.notify_one());
    }

    async fn tidy(&self) {
        let pools: Vec<Arc<Pool>> = self.pools.lock().values().cloned().collect();
        let due = pools.into_iter().filter_map(|pool| {
            let due = pool.state.lock().due();
            due.map(|keep| (pool, keep))
        });
        futures::stream::iter(due)
            .for_each_concurrent(TOGETHER, async |(pool, keep)| self.ask(&pool, keep).await)
            .await;
        // Whoever enters has its pool from this table, under this lock.
        self.pools.lock().retain(|_, pool| {
            let state = pool.state.lock();
            Arc::strong_count(pool) > 1 || state.granted > 0 || state.in_use > 0
        });
    }
}

struct Waiting<'a>(&'a Pool);

impl<'a> Waiting<'a> {
    fn enter(pool: &'a Pool) -> Self {
        pool.state.lock().waiting += 1;
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
    }
}

/// One asks at a time.
struct Asking<'a>(&'a Pool);

impl<'a> Asking<'a> {
    fn begin(pool: &'a Pool) -> Option<Self> {
        let asked_already = std::mem::replace(&mut pool.state.lock().asking, true);
        // Made only if it is the first: dropping it says that nobody asks.
        (!asked_already).then(|| Self(pool))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.state.lock().asking = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(30);

    fn who() -> (OrganizationId, ServiceKey) {
        (OrganizationId::generate(), ServiceKey::trusted("ozon"))
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_at_once() {
        let slots = Arc::new(Concurrency::new(Arc::new(Alone)));
        let ((one, ozon), (other, _)) = (who(), who());
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(slots.enter(&one, &ozon, 3, Duration::ZERO).await.expect("a slot"));
        }
        assert!(slots.enter(&one, &ozon, 3, SHORT).await.is_none());
        // Another organization, and another connector, have their own.
        assert!(slots.enter(&other, &ozon, 3, SHORT).await.is_some());
        assert!(slots.enter(&one, &ServiceKey::trusted("hubspot"), 3, SHORT).await.is_some());
        let waits = tokio::spawn({
            let (slots, one, ozon) = (slots.clone(), one.clone(), ozon.clone());
            async move { slots.enter(&one, &ozon, 3, LONG).await.is_some() }
        });
        tokio::time::sleep(SHORT).await;
        assert!(!waits.is_finished());
        let crowds = slots.crowds();
        assert_eq!((crowds.len(), crowds[0].in_use, crowds[0].waiting), (1, 3, 1));
        held.pop();
        assert!(waits.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_who_waits_has_a_turn() {
        let slots = Arc::new(Concurrency::new(Arc::new(Alone)));
        let (one, ozon) = who();
        let began = Instant::now();
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let (slots, one, ozon) = (slots.clone(), one.clone(), ozon.clone());
                tokio::spawn(async move {
                    let slot = slots.enter(&one, &ozon, 10, LONG).await.expect("in time");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    drop(slot);
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(1_200), "{took:?}");
    }

    /// Whoever is asked takes its time.
    struct Slow;

    #[async_trait]
    impl SlotLeases for Slow {
        async fn lease(&self, _: &str, ask: Ask) -> Result<u32, LimitError> {
            tokio::time::sleep(SHORT).await;
            Ok(ask.wanted.min(ask.most))
        }
    }

    /// Does not answer.
    struct Silent;

    #[async_trait]
    impl SlotLeases for Silent {
        async fn lease(&self, _: &str, _: Ask) -> Result<u32, LimitError> {
            tokio::time::sleep(SHORT).await;
            Err(LimitError("away".to_owned()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_that_cannot_be_shared_for_long_is_kept_alone() {
        let slots = Concurrency::new(Arc::new(Silent));
        let (one, ozon) = who();
        assert!(slots.enter(&one, &ozon, 2, SILENCE - SHORT).await.is_none(), "others may have them all");
        let held = (slots.enter(&one, &ozon, 2, LONG).await, slots.enter(&one, &ozon, 2, LONG).await);
        assert!(held.0.is_some() && held.1.is_some());
        assert!(slots.enter(&one, &ozon, 2, LONG).await.is_none(), "it is a bound all the same");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_ask_for_one_another() {
        let slots = Arc::new(Concurrency::new(Arc::new(Slow)));
        let (one, ozon) = who();
        let calls: Vec<_> = (0..200)
            .map(|_| {
                let (slots, one, ozon) = (slots.clone(), one.clone(), ozon.clone());
                tokio::spawn(async move { slots.enter(&one, &ozon, 16, LONG).await.is_some() })
            })
            .collect();
        for call in calls {
            assert!(tokio::time::timeout(LONG, call).await.expect("nobody stands still").unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pools_at_rest_are_forgotten() {
        let slots = Arc::new(Concurrency::new(Arc::new(Alone)));
        let (one, ozon) = who();
        let slot = slots.enter(&one, &ozon, 3, SHORT).await.expect("a slot");
        for _ in 0..3 {
            slots.tidy().await;
        }
        assert_eq!(slots.pools.lock().len(), 1);
        drop(slot);
        for _ in 0..3 {
            slots.tidy().await;
        }
        assert_eq!(slots.pools.lock().len(), 0);
    }

    /// Counts how often it is asked.
    #[derive(Default)]
    struct Counted(std::sync::atomic::AtomicU32);

    #[async_trait]
    impl SlotLeases for Counted {
        async fn lease(&self, _: &str, ask: Ask) -> Result<u32, LimitError> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(ask.wanted.min(ask.most))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_calls_now_and_then_is_asked_for_once_a_lease() {
        let leases = Arc::new(Counted::default());
        let slots = Concurrency::new(leases.clone());
        let (one, ozon) = who();
        let asked = || leases.0.load(std::sync::atomic::Ordering::Relaxed);
        for _ in 0..4 {
            drop(slots.enter(&one, &ozon, 64, SHORT).await.expect("a slot"));
            for _ in 0..2 {
                tokio::time::sleep(TIDY_EVERY).await;
                slots.tidy().await;
            }
        }
        assert!((1..=3).contains(&asked()), "{} questions for 4 calls in 8 s", asked());
        let before = asked();
        // It is not renewed, and not used for longer than it lives.
        let rest = LEASE.as_secs() - 1;
        for _ in 0..rest {
            tokio::time::sleep(TIDY_EVERY).await;
            slots.tidy().await;
        }
        assert_eq!((slots.pools.lock().len(), asked()), (0, before));
        // Where there are few, what rests is given back.
        drop(slots.enter(&one, &ozon, 3, SHORT).await.expect("a slot"));
        for _ in 0..2 {
            slots.tidy().await;
        }
        assert_eq!((slots.pools.lock().len(), asked()), (0, before + 2));
    }
}
