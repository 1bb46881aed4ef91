//! What this process knows of the ways to vendors, found once a call: the breaker of each organization's way, and the
//! retry budget that all ways to a host share.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, Equivalent};
use moka::sync::Cache;
use parking_lot::Mutex;
use plugboard_core::fleet;
use plugboard_core::ids::{OrganizationId, ServiceKey};
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::budget::RetryBudget;

const LINES: u64 = 50_000;
/// Longer than a breaker or a budget remembers.
const IDLE: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub(crate) struct Lines {
    lines: Cache<Key, Arc<Line>, DefaultHashBuilder>,
    budgets: Cache<String, Arc<Mutex<RetryBudget>>>,
}

/// The way of an organization through a connector to a host.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) host: String,
    breaker: Mutex<Breaker>,
    budget: Arc<Mutex<RetryBudget>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    organization: OrganizationId,
    service: ServiceKey,
    host: String,
}

/// Hashes as [`Key`] does.
#[derive(Hash)]
struct KeyRef<'a> {
    organization: &'a OrganizationId,
    service: &'a ServiceKey,
    host: &'a str,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.organization == key.organization && *self.service == key.service && self.host == key.host
    }
}

/// Permission to call; its holder tells how it went. Dropped without a word, it counts for nothing.
pub(crate) struct Pass(Arc<Line>);

impl Default for Lines {
    fn default() -> Self {
        Self {
            lines: Cache::builder()
                .max_capacity(LINES)
                .time_to_idle(IDLE)
                .build_with_hasher(DefaultHashBuilder::default()),
            budgets: Cache::builder().max_capacity(LINES).time_to_idle(IDLE).build(),
        }
    }
}

impl Lines {
    pub(crate) fn of(&self, organization: &OrganizationId, service: &ServiceKey, host: &str) -> Arc<Line> {
        if let Some(line) = self.lines.get(&KeyRef { organization, service, host }) {
            return line;
        }
        let key = Key { organization: organization.clone(), service: service.clone(), host: host.to_owned() };
        self.lines.get_with(key, || {
            let budget = self.budgets.get_with_by_ref(host, Arc::default);
            Arc::new(Line { host: host.to_owned(), breaker: Mutex::default(), budget })
        })
    }

    /// Hosts that are left alone, the latest first.
    pub(crate) fn open(&self) -> Vec<fleet::Breaker> {
        let now = Instant::now();
        let open = self.lines.iter().filter_map(|(key, line)| {
            let (open_for, rests_for) = line.breaker.lock().rest(now)?;
            Some(fleet::Breaker {
                organization: key.organization.clone(),
                service: key.service.clone(),
                host: key.host.clone(),
                open_for,
                rests_for,
            })
        });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|breaker| breaker.open_for);
        open
    }
}

impl Line {
    /// # Errors
    /// How long the host is left alone.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Pass, Duration> {
        self.breaker.lock().enter(Instant::now())?;
        Ok(Pass(self.clone()))
    }

    /// A first try is made.
    pub(crate) fn earn(&self) {
        self.budget.lock().earn(Instant::now());
    }

    /// Whether a repeat may be made; it is paid for.
    pub(crate) fn may_repeat(&self) -> bool {
        self.budget.lock().spend(Instant::now())
    }
}

impl Pass {
    pub(crate) fn report(self, healthy: bool) {
        self.0.breaker.lock().report(healthy, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(line: &Arc<Line>) {
        for _ in 0..30 {
            if let Ok(pass) = line.enter() {
                pass.report(false);
            }
        }
    }

    #[test]
    fn organizations_do_not_open_for_each_other() {
        let (lines, service) = (Lines::default(), ServiceKey::trusted("ozon"));
        let (one, other) = (OrganizationId::generate(), OrganizationId::generate());
        fails(&lines.of(&one, &service, "api.example"));
        assert!(lines.of(&one, &service, "api.example").enter().is_err());
        assert!(lines.of(&one, &service, "other.example").enter().is_ok());
        assert!(lines.of(&one, &ServiceKey::trusted("hubspot"), "api.example").enter().is_ok());
        assert!(lines.of(&other, &service, "api.example").enter().is_ok());
        let open = lines.open();
        let (first, rest) = open.split_first().unwrap();
        assert_eq!((&first.organization, first.host.as_str(), rest.len()), (&one, "api.example", 0));
        assert!(!first.rests_for.is_zero());
    }

    #[test]
    fn a_host_has_one_budget() {
        let (lines, service) = (Lines::default(), ServiceKey::trusted("ozon"));
        let line = |host| lines.of(&OrganizationId::generate(), &service, host);
        let (one, other) = (line("api.example"), line("api.example"));
        assert!((0..20).filter(|_| one.may_repeat()).count() < 20);
        assert!(!other.may_repeat());
        assert!(line("other.example").may_repeat());
    }
}
