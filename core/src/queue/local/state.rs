//! What waits in the local queue, by organization, within its bounds.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::LocalQueueLimits;
use crate::clock::Millis;
use crate::ids::{ExecutionId, OrganizationId};
use crate::job::{Job, Payload};
use crate::queue::QueueDepth;
use crate::queue::ready::{Ready, Waits};
use crate::queue::survey::{BACKGROUND, INTERACTIVE, Line, Survey};

/// How long a published id is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Lanes without jobs are kept for the organization's next one until there are this many lanes.
const IDLE_LANES: usize = 1_024;

/// A job in the queue or in an executor's hands.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) job: Arc<Job>,
    /// Deliveries so far.
    pub(super) starts: u32,
    /// The count of starts that would be found after a crash. `None`: the job is in memory only.
    pub(super) recorded: Option<u32>,
    pub(super) place: Place,
}

impl Waits for Entry {
    fn job(&self) -> &Job {
        &self.job
    }
}

/// Room taken within the bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    lane: usize,
    pub(super) bytes: usize,
}

/// The room that one organization takes.
#[derive(Debug)]
struct Lane {
    organization: OrganizationId,
    /// Announced, waiting, delayed and held.
    jobs: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    lanes: Vec<Lane>,
    free: Vec<usize>,
    by_organization: HashMap<OrganizationId, usize>,
    pub(super) ready: Ready<Entry>,
    pub(super) delayed: u64,
    pub(super) held: u64,
    jobs: usize,
    bytes: usize,
    pub(super) published: Published,
}

impl State {
    /// Takes room for a job; `None` when a bound is reached.
    pub(super) fn reserve(&mut self, job: &Job, limits: &LocalQueueLimits) -> Option<Place> {
        let bytes = size(job);
        if self.jobs >= limits.total || self.bytes.saturating_add(bytes) > limits.bytes {
            return None;
        }
        let lane = self.lane(&job.organization);
        if self.lanes[lane].jobs >= limits.per_organization {
            return None;
        }
        Some(self.take(lane, bytes))
    }

    /// Takes room for a job that is already stored.
    pub(super) fn reserve_beyond_bounds(&mut self, job: &Job) -> Place {
        let lane = self.lane(&job.organization);
        self.take(lane, size(job))
    }

    pub(super) fn release(&mut self, place: Place) {
        self.lanes[place.lane].jobs -= 1;
        self.jobs -= 1;
        self.bytes -= place.bytes;
    }

    pub(super) fn depth(&self) -> QueueDepth {
        QueueDepth { waiting: self.ready.len() as u64 + self.delayed, held: self.held }
    }

    pub(super) fn survey(&self, now: Millis) -> Survey {
        let line = |waiting_callers, class| {
            let mut line = Line { class, waiting: 0, held: 0, oldest: Duration::ZERO };
            let (jobs, first) = self.ready.waiting(waiting_callers);
            line.waiting = jobs as u64;
            line.oldest = first.map(|entry| entry.job.accepted_at.until(now)).max().unwrap_or_default();
            line
        };
        let (waiting, mut background) = (line(true, INTERACTIVE), line(false, BACKGROUND));
        // Whose they are is not counted apart.
        background.waiting += self.delayed;
        background.held = self.held;
        Survey { lines: vec![waiting, background], unaccounted: 0 }
    }

    /// Organizations take turns: a job waits behind those of its own.
    pub(super) fn wait_ahead(&self, job: &Job, now: Millis) -> Duration {
        self.ready.ahead_of(job).map(|entry| entry.job.accepted_at.until(now)).unwrap_or_default()
    }

    fn take(&mut self, lane: usize, bytes: usize) -> Place {
        self.lanes[lane].jobs += 1;
        self.jobs += 1;
        self.bytes += bytes;
        Place { lane, bytes }
    }

    fn lane(&mut self, organization: &OrganizationId) -> usize {
        if let Some(lane) = self.by_organization.get(organization) {
            return *lane;
        }
        if self.free.is_empty() && self.lanes.len() >= IDLE_LANES && self.lanes.len().is_power_of_two() {
            self.free_idle_lanes();
        }
        let lane = Lane { organization: organization.clone(), jobs: 0 };
        let at = match self.free.pop() {
            Some(at) => {
                self.lanes[at] = lane;
                at
            }
            None => {
                self.lanes.push(lane);
                self.lanes.len() - 1
            }
        };
        self.by_organization.insert(organization.clone(), at);
        at
    }

    fn free_idle_lanes(&mut self) {
        for (at, lane) in self.lanes.iter().enumerate() {
            if lane.jobs == 0 && self.by_organization.remove(&lane.organization).is_some() {
                self.free.push(at);
            }
        }
    }
}

/// Bytes of a job that differ much between jobs; the rest is a kilobyte or so.
fn size(job: &Job) -> usize {
    match &job.body {
        Some(Payload::Inline(body)) => body.len() + 1024,
        Some(Payload::Blob { .. }) | None => 1024,
    }
}

/// Ids published in the last ten minutes, 16 bytes each.
#[derive(Debug, Default)]
pub(super) struct Published {
    ids: HashSet<u128>,
    by_age: VecDeque<(Millis, u128)>,
}

impl Published {
    /// `false`: it is known already.
    pub(super) fn insert(&mut self, id: &ExecutionId, now: Millis) -> bool {
        while let Some((at, old)) = self.by_age.front()
            && at.plus(REMEMBERED) <= now
        {
            self.ids.remove(old);
            self.by_age.pop_front();
        }
        let id = compact(id);
        let new = self.ids.insert(id);
        if new {
            self.by_age.push_back((now, id));
        }
        new
    }

    /// Forgets an id whose publishing failed.
    pub(super) fn remove(&mut self, id: &ExecutionId) {
        let id = compact(id);
        self.ids.remove(&id);
        // Rare, and what failed is near the end.
        if let Some(at) = self.by_age.iter().rposition(|(_, known)| *known == id) {
            self.by_age.remove(at);
        }
    }
}

/// The 128 bits of a generated id; of any other text, as many of its digest.
fn compact(id: &ExecutionId) -> u128 {
    let text = id.as_str();
    match text.strip_prefix("ex_").filter(|digits| digits.len() == 32).map(|digits| u128::from_str_radix(digits, 16)) {
        Some(Ok(bits)) => bits,
        _ => {
            use sha2::Digest;
            let digest: [u8; 32] = sha2::Sha256::digest(text.as_bytes()).into();
            digest.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Effect;
    use crate::testing::JobBuilder;

    const LIMITS: LocalQueueLimits = LocalQueueLimits { total: 100, per_organization: 50, bytes: 200 * 1024 };

    fn entry(state: &mut State, organization: &OrganizationId) -> Entry {
        let job = JobBuilder::new(Effect::Read).organization(organization).build();
        let place = state.reserve(&job, &LIMITS).unwrap();
        Entry { job: job.into(), starts: 0, recorded: None, place }
    }

    #[test]
    fn idle_lanes_are_used_again() {
        let mut state = State::default();
        let busy = OrganizationId::generate();
        let held = entry(&mut state, &busy);
        for _ in 0..10 * IDLE_LANES {
            let entry = entry(&mut state, &OrganizationId::generate());
            state.release(entry.place);
        }
        assert_eq!(state.lanes.len(), IDLE_LANES);
        let again = entry(&mut state, &busy);
        assert_eq!(again.place.lane, held.place.lane, "a lane in use stays");
        assert_eq!(state.lanes[held.place.lane].jobs, 2);
    }

    #[test]
    fn ids_are_forgotten_after_ten_minutes() {
        let mut published = Published::default();
        let (one, two) = (ExecutionId::generate(), ExecutionId::trusted("another form"));
        assert!(published.insert(&one, Millis(0)) && published.insert(&two, Millis(1)));
        assert!(!published.insert(&one, Millis(599_999)) && !published.insert(&two, Millis(599_999)));
        assert!(published.insert(&one, Millis(600_000)));
        assert!(!published.insert(&two, Millis(600_000)));
        published.remove(&two);
        assert!(published.insert(&two, Millis(600_001)));
        assert_eq!(published.by_age.len(), published.ids.len());
    }
}
