//! Calls under way, calls that were kept, and how many there were in each minute.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::fleet::{CallEntry, CallFilter, Minute, Rates};
use plugboard_core::identity::Principal;
use plugboard_core::ids::{ExecutionId, InstanceId, OrganizationId};
use plugboard_core::job::Job;

use super::limits::{
    GOOD_A_SECOND, MINUTES, MOST_GOOD, MOST_NOTABLE, NOTABLE_A_SECOND, SHARD_BYTES, SHARD_ORGANIZATIONS, SHARDS, SLOW,
};
use super::{Begun, entry};

/// Of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct RecentCalls(Arc<Inner>);

struct Inner {
    me: InstanceId,
    clock: Arc<dyn Clock>,
    shards: [Mutex<Shard>; SHARDS],
    hasher: DefaultHashBuilder,
}

/// What is known of some of the organizations.
#[derive(Default)]
struct Shard {
    organizations: HashMap<OrganizationId, Organization>,
    /// Of all entries in it, about.
    bytes: usize,
    numbers: u64,
}

#[derive(Default)]
struct Organization {
    under_way: HashMap<u64, Begun>,
    /// The newest last.
    good: VecDeque<Arc<CallEntry>>,
    notable: VecDeque<Arc<CallEntry>>,
    minutes: VecDeque<Minute>,
    good_pace: Pace,
    notable_pace: Pace,
    last: Option<Millis>,
}

/// So many in a second.
#[derive(Default)]
struct Pace {
    second: i64,
    count: u32,
}

impl Pace {
    fn admits(&mut self, now: Millis, most: u32) -> bool {
        let second = now.0.div_euclid(1_000);
        if self.second != second {
            *self = Self { second, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= most
    }
}

/// To be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept;

/// A call that is shown as under way until this is dropped.
pub(crate) struct UnderWay {
    calls: RecentCalls,
    organization: OrganizationId,
    number: u64,
    ended: bool,
}

impl std::fmt::Debug for RecentCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecentCalls").field("me", &self.0.me).finish_non_exhaustive()
    }
}

impl RecentCalls {
    pub fn new(me: InstanceId, clock: Arc<dyn Clock>) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self(Arc::new(Inner { me, clock, shards, hasher: DefaultHashBuilder::default() }))
    }

    fn shard(&self, organization: &OrganizationId) -> &Mutex<Shard> {
        // The remainder is below SHARDS.
        &self.0.shards[(self.0.hasher.hash_one(organization) % SHARDS as u64) as usize]
    }

    pub(crate) fn begin(&self, principal: &Principal, job: Arc<Job>) -> UnderWay {
        let organization = job.organization.clone();
        let mut shard = self.shard(&organization).lock();
        shard.numbers += 1;
        let number = shard.numbers;
        let begun = Begun { job, agent: principal.agent.clone() };
        shard.of(&organization, self.0.clock.now()).under_way.insert(number, begun);
        drop(shard);
        UnderWay { calls: self.clone(), organization, number, ended: false }
    }

    /// A call was answered that was never under way.
    pub(super) fn count(&self, organization: &OrganizationId, ok: bool, took: Duration) -> Option<Kept> {
        let now = self.0.clock.now();
        self.shard(organization).lock().of(organization, now).count(now, ok, took)
    }

    pub(super) fn keep(&self, entry: CallEntry) {
        let now = self.0.clock.now();
        let organization = entry.organization.clone();
        self.shard(&organization).lock().keep(&organization, now, entry);
    }

    pub(super) fn rates(&self, whose: Option<&OrganizationId>) -> Rates {
        let oldest = minute(self.0.clock.now()) - MINUTES as i64;
        let mut rates = Rates::default();
        self.each(whose, |id, organization| {
            rates.running += organization.under_way.len() as u64;
            let fresh = organization.minutes.iter().filter(|minute| minute.minute > oldest);
            rates.count(id, fresh.cloned());
        });
        rates.bounded()
    }

    /// Without content.
    pub(super) fn find(&self, filter: &CallFilter) -> Vec<CallEntry> {
        let (mut kept, mut begun) = (Vec::new(), Vec::new());
        // References alone under the lock, which calls take too.
        self.each(filter.organization.as_ref(), |_, organization| {
            kept.extend(organization.good.iter().chain(&organization.notable).cloned());
            begun.extend(organization.under_way.values().cloned());
        });
        let running = begun.iter().map(|begun| Arc::new(entry::running(begun, &self.0.me)));
        let mut found: Vec<Arc<CallEntry>> =
            kept.into_iter().chain(running).filter(|entry| filter.fits(entry)).collect();
        found.sort_by(|one, other| other.place().cmp(&one.place()));
        // One more than wanted says that there are more. Copied are these alone.
        found.truncate(filter.limit.saturating_add(1));
        found.into_iter().map(|entry| Arc::unwrap_or_clone(entry).without_content()).collect()
    }

    /// With its content, if it is asked for by its organization.
    pub(crate) fn get(&self, whose: Option<&OrganizationId>, id: &ExecutionId) -> Option<CallEntry> {
        let mut found = None;
        self.each(whose, |_, organization| {
            let kept = organization.good.iter().chain(&organization.notable);
            let fitting =
                kept.filter(|entry| entry.execution_id.as_ref() == Some(id)).max_by_key(|entry| entry.started);
            let begun = organization.under_way.values().find(|begun| begun.job.execution_id == *id);
            let running = begun.map(|begun| entry::running(begun, &self.0.me));
            found = found.take().or_else(|| fitting.map(|entry| CallEntry::clone(entry))).or(running);
        });
        if whose.is_some() { found } else { found.map(CallEntry::without_content) }
    }

    fn each(&self, whose: Option<&OrganizationId>, mut look: impl FnMut(&OrganizationId, &Organization)) {
        match whose {
            Some(id) => {
                if let Some(organization) = self.shard(id).lock().organizations.get(id) {
                    look(id, organization);
                }
            }
            None => {
                for shard in &self.0.shards {
                    shard.lock().organizations.iter().for_each(|(id, organization)| look(id, organization));
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().bytes).sum()
    }
}

impl UnderWay {
    /// `Some`: the call is to be kept.
    pub(super) fn end(mut self, ok: bool, took: Duration) -> Option<Kept> {
        self.ended = true;
        let now = self.calls.0.clock.now();
        let mut shard = self.calls.shard(&self.organization).lock();
        let organization = shard.of(&self.organization, now);
        organization.under_way.remove(&self.number);
        organization.count(now, ok, took)
    }
}

impl Drop for UnderWay {
    /// Of a caller that has left: nobody had an answer that could be told of.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut shard = self.calls.shard(&self.organization).lock();
        if let Some(organization) = shard.organizations.get_mut(&self.organization) {
            organization.under_way.remove(&self.number);
        }
    }
}

fn minute(now: Millis) -> i64 {
    now.0.div_euclid(60_000)
}

impl Shard {
    fn of(&mut self, id: &OrganizationId, now: Millis) -> &mut Organization {
        if self.organizations.len() >= SHARD_ORGANIZATIONS && !self.organizations.contains_key(id) {
            self.make_room();
        }
        let organization = self.organizations.entry(id.clone()).or_default();
        organization.last = Some(now);
        organization
    }

    /// For one more organization.
    fn make_room(&mut self) {
        let idle = self.organizations.iter().filter(|(_, organization)| organization.under_way.is_empty());
        let Some(longest) = idle.min_by_key(|(_, organization)| organization.last).map(|(id, _)| id.clone()) else {
            return;
        };
        if let Some(gone) = self.organizations.remove(&longest) {
            let entries = gone.good.iter().chain(&gone.notable);
            self.bytes = self.bytes.saturating_sub(entries.map(|entry| entry.weight()).sum());
        }
    }

    fn keep(&mut self, id: &OrganizationId, now: Millis, entry: CallEntry) {
        let weight = entry.weight();
        let organization = self.of(id, now);
        let is_notable = is_notable(entry.code == "OK" || entry.code == "RUNNING", entry.total_us);
        let (list, most) = match is_notable {
            true => (&mut organization.notable, MOST_NOTABLE),
            false => (&mut organization.good, MOST_GOOD),
        };
        list.push_back(Arc::new(entry));
        let mut freed = 0;
        while list.len() > most {
            freed += list.pop_front().map_or(0, |entry| entry.weight());
        }
        self.bytes = (self.bytes + weight).saturating_sub(freed);
        while self.bytes > SHARD_BYTES && self.drop_one() {}
    }

    /// The oldest of whoever has most, a good one first. `false`: there is none.
    fn drop_one(&mut self) -> bool {
        let most = self.organizations.values_mut().max_by_key(|one| one.good.len() + one.notable.len());
        let dropped = most.and_then(|one| one.good.pop_front().or_else(|| one.notable.pop_front()));
        let Some(dropped) = dropped else { return false };
        self.bytes = self.bytes.saturating_sub(dropped.weight());
        true
    }
}

fn is_notable(ok: bool, total_us: Option<u64>) -> bool {
    !ok || total_us.is_some_and(|total| u128::from(total) >= SLOW.as_micros())
}

impl Organization {
    fn count(&mut self, now: Millis, ok: bool, took: Duration) -> Option<Kept> {
        let present = minute(now);
        if self.minutes.back().is_none_or(|last| last.minute < present) {
            if self.minutes.len() >= MINUTES {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Minute::new(present));
        }
        // A clock that went back counts in the newest minute.
        if let Some(last) = self.minutes.back_mut() {
            last.count(ok, took);
        }
        let admitted = match is_notable(ok, u64::try_from(took.as_micros()).ok()) {
            true => self.notable_pace.admits(now, NOTABLE_A_SECOND),
            false => self.good_pace.admits(now, GOOD_A_SECOND),
        };
        admitted.then_some(Kept)
    }
}
