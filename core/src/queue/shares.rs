//! How the slots of one executor are divided, so that no organization and no kind of call takes all of them.
//!
//! | who | may hold at most |
//! | --- | --- |
//! | calls without a waiting caller, all together | seven eighths of the slots |
//! | one organization | three quarters |
//! | one organization, without waiting callers | a quarter |
//!
//! The bounds of one organization hold only while another one is active, within the last minute that is: whoever is
//! alone may use what there is.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ids::OrganizationId;
use crate::job::Job;

/// An organization that took a slot this short a while ago is active.
const ACTIVE: Duration = Duration::from_secs(60);

/// Organizations that hold nothing are forgotten when there are this many.
const REMEMBERED: usize = 1_024;

/// The slots of one executor.
#[derive(Debug)]
pub struct Shares {
    slots: usize,
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    background: usize,
    by_organization: HashMap<OrganizationId, Own>,
    /// A job had to wait since a slot was last given back.
    refused: bool,
    /// The organization that took the last slot, and the last one that was not the same.
    newest: Option<(OrganizationId, Instant)>,
    other: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Own {
    waiting: usize,
    background: usize,
}

impl Shares {
    pub fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self { slots: slots.max(1), held: Mutex::default(), freed: Notify::new() })
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    /// `None`: this job has to wait until others have ended.
    pub fn enter(self: &Arc<Self>, job: &Job) -> Option<Share> {
        let mut held = self.held.lock();
        if !held.fits(job, self.slots) {
            return None;
        }
        held.enter(&job.organization, job.interactive());
        Some(Share { shares: self.clone(), organization: job.organization.clone(), waiting: job.interactive() })
    }

    /// Whether [`Self::enter`] would let this job in now.
    pub(super) fn fits(&self, job: &Job) -> bool {
        self.held.lock().fits(job, self.slots)
    }

    /// Waits until a slot has become free, after one was refused. Cancel-safe.
    pub(super) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }
}

impl Held {
    fn fits(&mut self, job: &Job, slots: usize) -> bool {
        let alone = !self.another_is_active(&job.organization, Instant::now());
        let own = self.by_organization.get(&job.organization).copied().unwrap_or_default();
        let part = |parts: usize, of: usize| (slots * parts / of).max(1);
        let fits = match job.interactive() {
            true => alone || own.waiting + own.background < part(3, 4),
            false => self.background < part(7, 8) && (alone || own.background < part(1, 4)),
        };
        self.refused |= !fits;
        fits
    }

    fn another_is_active(&mut self, organization: &OrganizationId, now: Instant) -> bool {
        let other = match &mut self.newest {
            Some((newest, at)) if newest == organization => {
                *at = now;
                self.other
            }
            newest => {
                let before = newest.replace((organization.clone(), now)).map(|(_, at)| at);
                self.other = before;
                before
            }
        };
        other.is_some_and(|at| now.saturating_duration_since(at) < ACTIVE)
    }

    fn enter(&mut self, organization: &OrganizationId, waiting: bool) {
        if self.by_organization.len() >= REMEMBERED && !self.by_organization.contains_key(organization) {
            self.by_organization.retain(|_, own| own.waiting + own.background > 0);
        }
        let own = self.by_organization.entry(organization.clone()).or_default();
        if waiting {
            own.waiting += 1;
        } else {
            own.background += 1;
            self.background += 1;
        }
    }
}

/// The right of one job to run. Dropped when it has ended.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    organization: OrganizationId,
    waiting: bool,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock();
        if let Some(own) = held.by_organization.get_mut(&self.organization) {
            if self.waiting {
                own.waiting -= 1;
            } else {
                own.background -= 1;
            }
        }
        if !self.waiting {
            held.background -= 1;
        }
        // Nearly always nobody waits, and to wake a receiver for nothing takes as long as a good part of a call.
        let refused = std::mem::take(&mut held.refused);
        drop(held);
        if refused {
            self.shares.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;

    use super::*;
    use crate::ids::InstanceId;
    use crate::manifest::Effect;
    use crate::testing::JobBuilder;

    fn job(organization: &OrganizationId, waiting: bool) -> Job {
        let builder = JobBuilder::new(Effect::Once).organization(organization);
        if waiting { builder.reply_to(&InstanceId::generate()).build() } else { builder.build() }
    }

    fn take(shares: &Arc<Shares>, job: &Job) -> Vec<Share> {
        std::iter::from_fn(|| shares.enter(job)).take(1_000).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_alone_may_use_what_there_is() {
        let (shares, alone) = (Shares::new(64), OrganizationId::generate());
        assert_eq!(take(&shares, &job(&alone, false)).len(), 56, "room is left for callers who wait");
        assert_eq!(take(&shares, &job(&alone, true)).len(), 1_000, "the executor's own slots are the bound");
    }

    #[tokio::test(start_paused = true)]
    async fn beside_others_an_organization_has_its_part() {
        let (shares, noisy, quiet) = (Shares::new(64), OrganizationId::generate(), OrganizationId::generate());
        drop(shares.enter(&job(&quiet, true)));
        let background = take(&shares, &job(&noisy, false));
        assert_eq!(background.len(), 16);
        assert_eq!(take(&shares, &job(&noisy, true)).len(), 32, "48 with those in background");
        assert!(shares.enter(&job(&quiet, false)).is_some());
        drop(background);
        assert_eq!(take(&shares, &job(&noisy, true)).len(), 48);
        tokio::time::advance(ACTIVE).await;
        drop(shares.enter(&job(&noisy, true)));
        assert_eq!(take(&shares, &job(&noisy, false)).len(), 56, "the other one has left long ago");
    }

    #[tokio::test]
    async fn a_slot_given_back_wakes_only_who_was_refused() {
        let (shares, noisy, quiet) = (Shares::new(4), OrganizationId::generate(), OrganizationId::generate());
        drop(shares.enter(&job(&quiet, true)));
        let waits = job(&noisy, true);
        let mut held = take(&shares, &waits);
        assert_eq!(held.len(), 3);
        for round in 0..2 {
            let mut freed = pin!(shares.freed());
            freed.as_mut().enable();
            assert!(!shares.fits(&waits));
            held.pop();
            assert!(freed.now_or_never().is_some(), "round {round}");
            held.extend(shares.enter(&waits));
            assert_eq!(held.len(), 3);
        }
        let mut freed = pin!(shares.freed());
        freed.as_mut().enable();
        held.clear();
        assert!(freed.now_or_never().is_none(), "nothing was refused since");
    }

    #[tokio::test]
    async fn organizations_at_rest_are_forgotten() {
        let shares = Shares::new(1_000_000);
        let kept = shares.enter(&job(&OrganizationId::generate(), true));
        for _ in 0..3 * REMEMBERED {
            drop(shares.enter(&job(&OrganizationId::generate(), true)));
        }
        assert!(shares.held.lock().by_organization.len() <= REMEMBERED);
        assert!(kept.is_some_and(|kept| shares.held.lock().by_organization.contains_key(&kept.organization)));
    }
}
