//! Jobs that wait for a slot in this process: callers who wait come first, and the organizations take turns.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use hashbrown::HashMap;
use tokio::sync::Notify;

use super::shares::{Share, Shares};
use crate::ids::OrganizationId;
use crate::job::Job;

/// Every so many jobs, one without a waiting caller goes first, or those would wait for ever in a busy process.
const BACKGROUND_EVERY: u32 = 8;

/// Where receivers wait until there is a job that may have a slot.
#[derive(Debug)]
pub(super) struct Pickup {
    shares: Arc<Shares>,
    came: Notify,
}

impl Pickup {
    pub(super) fn new(shares: Arc<Shares>) -> Self {
        Self { shares, came: Notify::new() }
    }

    pub(super) fn shares(&self) -> &Arc<Shares> {
        &self.shares
    }

    /// A job has come.
    pub(super) fn came(&self) {
        self.came.notify_one();
    }

    /// What `pop` gives, as soon as it gives something. Cancel-safe: nothing is awaited after `pop` gave it.
    pub(super) async fn next<T>(&self, mut pop: impl FnMut(&Arc<Shares>) -> Option<T>) -> T {
        loop {
            // From here on nothing that comes or becomes free is missed.
            let (mut something, mut room) = (pin!(self.came.notified()), pin!(self.shares.freed()));
            something.as_mut().enable();
            room.as_mut().enable();
            if let Some(next) = pop(&self.shares) {
                // Others that wait may be woken by what this one was woken by.
                self.came();
                return next;
            }
            tokio::select! {
                () = something => {}
                () = room => {}
            }
        }
    }
}

/// What can wait here.
pub(super) trait Waits {
    fn job(&self) -> &Job;
}

#[derive(Debug)]
pub(super) struct Ready<T> {
    waiting: Turns<T>,
    background: Turns<T>,
    picked: u32,
}

impl<T> Default for Ready<T> {
    fn default() -> Self {
        Self { waiting: Turns::default(), background: Turns::default(), picked: 0 }
    }
}

impl<T: Waits> Ready<T> {
    pub(super) fn len(&self) -> usize {
        self.waiting.len + self.background.len
    }

    /// How many jobs with waiting callers, or without, are here, and the first of each organization.
    pub(super) fn waiting(&self, waiting_callers: bool) -> (usize, impl Iterator<Item = &T>) {
        let turns = if waiting_callers { &self.waiting } else { &self.background };
        (turns.len, turns.lanes.values().filter_map(VecDeque::front))
    }

    /// The first of those after which this one would come.
    pub(super) fn ahead_of(&self, job: &Job) -> Option<&T> {
        let turns = if job.interactive() { &self.waiting } else { &self.background };
        turns.lanes.get(&job.organization)?.front()
    }

    pub(super) fn push_back(&mut self, item: T) {
        self.turns(&item).push(item, VecDeque::push_back);
    }

    /// For what was handed back: its turn has been already.
    pub(super) fn push_front(&mut self, item: T) {
        self.turns(&item).push(item, VecDeque::push_front);
    }

    /// The next job that may have a slot.
    pub(super) fn pop(&mut self, shares: &Arc<Shares>) -> Option<(T, Share)> {
        self.picked = self.picked.wrapping_add(1);
        let background_first = self.picked.is_multiple_of(BACKGROUND_EVERY);
        let (first, second) = match background_first {
            true => (&mut self.background, &mut self.waiting),
            false => (&mut self.waiting, &mut self.background),
        };
        first.pop(shares).or_else(|| second.pop(shares))
    }

    /// Everything, whoever's turn it is.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        let all = [std::mem::take(&mut self.waiting), std::mem::take(&mut self.background)];
        all.into_iter().flat_map(|turns| turns.lanes.into_values()).flatten()
    }

    /// Takes out what waits because its organization has its part of the slots.
    pub(super) fn blocked(&mut self, shares: &Shares, which: impl Fn(&T) -> bool) -> Vec<T> {
        let mut blocked = self.waiting.blocked(shares, &which);
        blocked.extend(self.background.blocked(shares, &which));
        blocked
    }

    fn turns(&mut self, item: &T) -> &mut Turns<T> {
        if item.job().interactive() { &mut self.waiting } else { &mut self.background }
    }
}

/// Jobs of one kind, by organization.
#[derive(Debug)]
struct Turns<T> {
    lanes: HashMap<OrganizationId, VecDeque<T>>,
    /// Organizations with jobs, each once: the first is next and then goes last.
    order: VecDeque<OrganizationId>,
    len: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), order: VecDeque::new(), len: 0 }
    }
}

impl<T: Waits> Turns<T> {
    fn push(&mut self, item: T, push: fn(&mut VecDeque<T>, T)) {
        let organization = &item.job().organization;
        let lane = match self.lanes.get_mut(organization) {
            Some(lane) => lane,
            None => {
                self.order.push_back(organization.clone());
                self.lanes.entry(organization.clone()).or_default()
            }
        };
        push(lane, item);
        self.len += 1;
    }

    /// Of the first organization that has not its part already. There are few that have: their parts are large.
    fn pop(&mut self, shares: &Arc<Shares>) -> Option<(T, Share)> {
        for _ in 0..self.order.len() {
            let organization = self.order.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&organization) else { continue };
            let share = lane.front().and_then(|item| shares.enter(item.job()));
            let item = share.and_then(|share| Some((lane.pop_front()?, share)));
            if lane.is_empty() {
                self.lanes.remove(&organization);
            } else {
                self.order.push_back(organization);
            }
            if let Some(item) = item {
                self.len -= 1;
                return Some(item);
            }
        }
        None
    }
}

impl<T: Waits> Turns<T> {
    fn blocked(&mut self, shares: &Shares, which: &impl Fn(&T) -> bool) -> Vec<T> {
        let mut blocked = Vec::new();
        self.lanes.retain(|_, lane| {
            if lane.front().is_some_and(|item| !shares.fits(item.job())) {
                let (out, stay) = std::mem::take(lane).into_iter().partition::<Vec<T>, _>(which);
                blocked.extend(out);
                *lane = stay.into();
            }
            !lane.is_empty()
        });
        self.order.retain(|organization| self.lanes.contains_key(organization));
        self.len -= blocked.len();
        blocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::InstanceId;
    use crate::manifest::Effect;
    use crate::testing::JobBuilder;

    impl Waits for Job {
        fn job(&self) -> &Job {
            self
        }
    }

    fn job(organization: &OrganizationId, waiting: bool) -> Job {
        let builder = JobBuilder::new(Effect::Once).organization(organization);
        if waiting { builder.reply_to(&InstanceId::generate()).build() } else { builder.build() }
    }

    fn order(ready: &mut Ready<Job>, shares: &Arc<Shares>) -> Vec<Job> {
        std::iter::from_fn(|| ready.pop(shares)).map(|(job, _)| job).collect()
    }

    #[tokio::test]
    async fn organizations_take_turns() {
        let (shares, mut ready) = (Shares::new(256), Ready::default());
        let (many, few) = (OrganizationId::generate(), OrganizationId::generate());
        for _ in 0..4 {
            ready.push_back(job(&many, false));
        }
        ready.push_back(job(&few, false));
        let order: Vec<_> = order(&mut ready, &shares).iter().map(|job| job.organization == few).collect();
        assert_eq!(order, [false, true, false, false, false]);
        assert_eq!(ready.len(), 0);
    }

    #[tokio::test]
    async fn callers_who_wait_come_first_and_the_others_are_not_forgotten() {
        let (shares, mut ready) = (Shares::new(256), Ready::default());
        let organization = OrganizationId::generate();
        for waiting in [false, true] {
            for _ in 0..16 {
                ready.push_back(job(&organization, waiting));
            }
        }
        let order: Vec<_> = order(&mut ready, &shares).iter().map(Job::interactive).collect();
        assert_eq!(order.len(), 32);
        assert_eq!(order[..16].iter().filter(|waiting| !**waiting).count(), 2);
        assert!(order[..7].iter().all(|waiting| *waiting));
    }

    #[tokio::test]
    async fn who_has_its_part_is_passed_over() {
        let (shares, mut ready) = (Shares::new(16), Ready::default());
        let (noisy, quiet) = (OrganizationId::generate(), OrganizationId::generate());
        drop(shares.enter(&job(&quiet, true)));
        for _ in 0..10 {
            ready.push_back(job(&noisy, false));
        }
        ready.push_back(job(&quiet, false));
        let held: Vec<_> = std::iter::from_fn(|| ready.pop(&shares)).collect();
        assert_eq!(held.iter().filter(|(job, _)| job.organization == noisy).count(), 4);
        assert_eq!(held.len(), 5);
        drop(held);
        assert_eq!(order(&mut ready, &shares).len(), 6);
    }

    #[tokio::test]
    async fn what_is_in_the_way_can_be_taken_out() {
        let (shares, mut ready) = (Shares::new(16), Ready::default());
        let (noisy, quiet) = (OrganizationId::generate(), OrganizationId::generate());
        drop(shares.enter(&job(&quiet, true)));
        for organization in [&noisy, &quiet].into_iter().cycle().take(20) {
            ready.push_back(job(organization, false));
        }
        assert!(ready.blocked(&shares, |_| true).is_empty(), "nobody has its part yet");
        let _held: Vec<_> = (0..4).map(|_| shares.enter(&job(&noisy, false)).unwrap()).collect();
        assert!(ready.blocked(&shares, |_| false).is_empty());
        let out = ready.blocked(&shares, |_| true);
        assert!(out.len() == 10 && out.iter().all(|job| job.organization == noisy));
        assert_eq!(order(&mut ready, &shares).len(), 10);
    }

    #[tokio::test]
    async fn what_was_handed_back_is_next() {
        let (shares, mut ready) = (Shares::new(16), Ready::default());
        let organization = OrganizationId::generate();
        let back = job(&organization, true);
        ready.push_back(job(&organization, true));
        ready.push_front(back.clone());
        let (first, _) = ready.pop(&shares).unwrap();
        assert_eq!(first.execution_id, back.execution_id);
        assert_eq!(ready.drain().count(), 1);
    }
}
