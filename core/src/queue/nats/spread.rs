//! Which lane a job takes.
//!
//! A consumer hands messages out in their order, so a quiet organization's job must not lie behind a burst of another.
//! What an organization sends beyond a modest pace goes to a bulk lane: to one of two that are its own by its name, the
//! one in which less waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::subjects::{Lane, Source};
use super::link::NatsLink;
use super::topology;
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

/// How old what we know of the bulk lanes may be.
const DEPTHS_EVERY: Duration = Duration::from_secs(1);

/// The other lane is taken when so many messages fewer wait in it. Between equals, one lane makes the larger packs.
const WORTH_IT: u64 = 64;

pub(super) struct Spread {
    link: NatsLink,
    paces: Mutex<HashMap<(OrganizationId, bool), Pace>>,
    depths: Arc<Depths>,
}

fn pace(waiting: bool) -> f64 {
    if waiting { PACE_WAITING } else { PACE_BACKGROUND }
}

/// A bucket of jobs that may pass.
struct Pace {
    left: f64,
    at: Instant,
}

/// Messages that wait, by source.
struct Depths {
    waiting: [AtomicU64; Source::COUNT],
    asked: Mutex<Option<Instant>>,
}

impl Spread {
    pub(super) fn new(link: &NatsLink) -> Self {
        let depths = Depths { waiting: std::array::from_fn(|_| AtomicU64::new(0)), asked: Mutex::default() };
        Self { link: link.clone(), paces: Mutex::default(), depths: Arc::new(depths) }
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
        self.ask_for_depths();
        let [one, other] = Lane::bulk(job);
        let waiting = |lane: Lane| &self.depths.waiting[lane.source().index()];
        let shorter = waiting(other).load(Ordering::Relaxed) + WORTH_IT < waiting(one).load(Ordering::Relaxed);
        let lane = if shorter { other } else { one };
        waiting(lane).fetch_add(1, Ordering::Relaxed);
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

    /// In a task of its own; nobody waits for it.
    fn ask_for_depths(&self) {
        let mut asked = self.depths.asked.lock();
        if asked.is_some_and(|at| at.elapsed() < DEPTHS_EVERY) {
            return;
        }
        *asked = Some(Instant::now());
        let (link, depths) = (self.link.clone(), self.depths.clone());
        tokio::spawn(async move {
            let bulk = Source::all().filter(|source| source.is_bulk());
            let answers = bulk.map(|source| {
                let link = &link;
                async move { (source, topology::consumer(link, source).await) }
            });
            for (source, consumer) in futures::future::join_all(answers).await {
                if let Ok(Some(consumer)) = consumer {
                    depths.waiting[source.index()].store(consumer.num_pending, Ordering::Relaxed);
                }
            }
        });
    }
}
