//! The retry budget of each host: repeats are a tenth of the calls, and one a second besides. A host in trouble does not
//! get three times its load from us.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Repeats that a call pays for.
const A_CALL: f64 = 0.1;
const A_SECOND: f64 = 1.0;
/// Repeats that can be saved up.
const MOST: f64 = 10.0;
const HOSTS: u64 = 50_000;

#[derive(Clone)]
pub(crate) struct RetryBudget {
    hosts: Cache<String, Arc<Mutex<Purse>>>,
}

#[derive(Debug, Clone, Copy)]
struct Purse {
    repeats: f64,
    at: Instant,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { hosts: Cache::builder().max_capacity(HOSTS).time_to_idle(Duration::from_secs(600)).build() }
    }
}

impl RetryBudget {
    fn of(&self, host: &str) -> Arc<Mutex<Purse>> {
        self.hosts.get_with_by_ref(host, || Arc::new(Mutex::new(Purse { repeats: MOST, at: Instant::now() })))
    }

    /// A first try was made.
    pub(crate) fn earn(&self, host: &str) {
        self.of(host).lock().add(A_CALL, Instant::now());
    }

    /// Whether a repeat may be made; it is paid for.
    pub(crate) fn spend(&self, host: &str) -> bool {
        let purse = self.of(host);
        let mut purse = purse.lock();
        purse.add(0.0, Instant::now());
        let may = purse.repeats >= 1.0;
        if may {
            purse.repeats -= 1.0;
        } else {
            metrics::counter!("executor_repeats_refused_total").increment(1);
        }
        may
    }
}

impl Purse {
    fn add(&mut self, earned: f64, now: Instant) {
        let waited = now.saturating_duration_since(self.at).as_secs_f64() * A_SECOND;
        self.repeats = (self.repeats + earned + waited).min(MOST);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeats_are_a_part_of_the_calls() {
        let budget = RetryBudget::default();
        let spent = |times: u32| (0..times).filter(|_| budget.spend("h")).count();
        assert_eq!(spent(100), 10, "what was saved up");
        (0..100).for_each(|_| budget.earn("h"));
        assert!((9..=10).contains(&spent(100)), "a tenth");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!((3..=4).contains(&spent(100)), "one a second");
        assert!(budget.spend("another"));
    }
}
