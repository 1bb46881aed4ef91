//! Which limits of vendors make calls wait now, for whoever looks on. A call that need not wait leaves no trace here.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use plugboard_core::fleet::{Congestion, Reason};
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::job::Job;
use tokio::time::Instant;

/// Enough to see what is wrong.
const MOST: usize = 256;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Congestions(Arc<Mutex<HashMap<Key, Until>>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    organization: OrganizationId,
    service: ServiceKey,
    account: AccountId,
    bucket: String,
}

struct Until {
    reason: Reason,
    at: Instant,
}

impl Congestions {
    /// The next call of this kind may go after `wait`.
    pub(crate) fn note(&self, job: &Job, bucket: &str, reason: Reason, wait: Duration) {
        let key = Key {
            organization: job.organization.clone(),
            service: job.service.clone(),
            account: job.account.clone(),
            bucket: bucket.to_owned(),
        };
        let now = Instant::now();
        let mut noted = self.0.lock();
        if noted.len() >= MOST && !noted.contains_key(&key) {
            noted.retain(|_, until| until.at > now);
            if noted.len() >= MOST {
                return;
            }
        }
        noted.insert(key, Until { reason, at: now + wait });
    }

    /// The longest waits first.
    pub(crate) fn now(&self) -> Vec<Congestion> {
        let now = Instant::now();
        let mut noted = self.0.lock();
        noted.retain(|_, until| until.at > now);
        let of = |(key, until): (&Key, &Until)| Congestion {
            organization: key.organization.clone(),
            service: key.service.clone(),
            account: key.account.clone(),
            bucket: key.bucket.clone(),
            reason: until.reason,
            wait: until.at.saturating_duration_since(now),
        };
        let mut all: Vec<Congestion> = noted.iter().map(of).collect();
        drop(noted);
        all.sort_by_key(|one| std::cmp::Reverse(one.wait));
        all
    }
}

#[cfg(test)]
mod tests {
    use plugboard_core::manifest::Effect;
    use plugboard_core::testing::JobBuilder;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten_and_the_rest_is_bounded() {
        let congestions = Congestions::default();
        let job = JobBuilder::new(Effect::Read).build();
        congestions.note(&job, "slow", Reason::UsedUp, Duration::from_secs(2));
        congestions.note(&job, "quick", Reason::AtRest, Duration::from_secs(1));
        let names = || congestions.now().into_iter().map(|one| one.bucket).collect::<Vec<_>>();
        assert_eq!(names(), ["slow", "quick"]);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(names(), ["slow"]);
        for number in 0..2 * MOST {
            congestions.note(&job, &number.to_string(), Reason::UsedUp, Duration::from_secs(9));
        }
        assert_eq!(congestions.now().len(), MOST);
    }
}
