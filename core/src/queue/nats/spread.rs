//! Which lane a job takes.
//!
//! A consumer hands messages out in their order, so a quiet organization's job must not lie behind a burst of another.
//! What an organization sends beyond a modest pace goes to a bulk lane: to one of two that are its own by its name, the
//! one in which less waits.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::subjects::Lane;
use super::survey::Looks;
use crate::ids::OrganizationId;
use crate::job::Job;

/// Jobs of one organization, with and without waiting callers apart, that pass before its pace counts: by so many another
/// one's may be delayed.
const BURST: f64 = 64.0;
/// Jobs a second after that, through this process.
const PACE_WAITING: f64 = 256.0;
const PACE_BACKGROUND: f64 = 64.0;

/// Organizations that have been at rest are forgotten when there are this many.
const REMEMBERED: usize = 4_096;

/// The other lane is taken when so many messages fewer wait in it. Between equals, one lane makes the larger packs.
const WORTH_IT: u64 = 64;

pub(super) struct Spread {
    paces: Mutex<HashMap<(OrganizationId, bool), Pace>>,
    looks: Arc<Looks>,
}

fn pace(waiting: bool) -> f64 {
    if waiting { PACE_WAITING } else { PACE_BACKGROUND }
}

/// A bucket of jobs that may pass.
struct Pace {
    left: f64,
    at: Instant,
}

impl Spread {
    pub(super) fn new(looks: Arc<Looks>) -> Self {
        Self { paces: Mutex::default(), looks }
    }

    /// Whether one more job would pass.
    pub(super) fn is_within_pace(&self, job: &Job) -> bool {
        let waiting = job.interactive();
        let paces = self.paces.lock();
        let own = paces.get(&(job.organization.clone(), waiting));
        own.is_none_or(|own| own.left + own.at.elapsed().as_secs_f64() * pace(waiting) >= 1.0)
    }

    pub(super) fn lane(&self, job: &Job) -> Lane {
        if self.within_pace(&job.organization, job.interactive()) {
            return Lane::of(job);
        }
        let [one, other] = Lane::bulk(job);
        let waiting = |lane: Lane| self.looks.waiting(lane.source());
        let lane = if waiting(other) + WORTH_IT < waiting(one) { other } else { one };
        self.looks.sent(lane.source());
        lane
    }

    fn within_pace(&self, organization: &OrganizationId, waiting: bool) -> bool {
        let (now, pace) = (Instant::now(), pace(waiting));
        let key = (organization.clone(), waiting);
        let mut paces = self.paces.lock();
        if paces.len() >= REMEMBERED && !paces.contains_key(&key) {
            paces.retain(|_, own| own.left + now.duration_since(own.at).as_secs_f64() * PACE_BACKGROUND < BURST);
        }
        let own = paces.entry(key).or_insert(Pace { left: BURST, at: now });
        own.left = (own.left + now.duration_since(own.at).as_secs_f64() * pace).min(BURST);
        own.at = now;
        let within = own.left >= 1.0;
        if within {
            own.left -= 1.0;
        }
        within
    }
}
