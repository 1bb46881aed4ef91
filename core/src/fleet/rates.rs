//! Calls counted by the minute, with how long they took, in a form that can be added up over gateways.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::OrganizationId;

/// Two steps for each doubling, from a millisecond to a minute and beyond.
const BUCKETS: usize = 34;
/// Organizations that are told of by name.
const MOST_NAMED: usize = 50;

/// What was answered in one minute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Since 1970.
    pub minute: i64,
    pub calls: u32,
    pub failed: u32,
    /// Calls by how long they took; trailing zeros are left out.
    took: Vec<u32>,
}

impl Minute {
    pub fn new(minute: i64) -> Self {
        Self { minute, ..Self::default() }
    }

    pub fn count(&mut self, ok: bool, took: Duration) {
        self.calls = self.calls.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(!ok));
        let at = bucket(took);
        if self.took.len() <= at {
            self.took.resize(at + 1, 0);
        }
        if let Some(count) = self.took.get_mut(at) {
            *count = count.saturating_add(1);
        }
    }

    fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        let length = self.took.len().max(other.took.len()).min(BUCKETS);
        self.took.resize(length, 0);
        for (sum, more) in self.took.iter_mut().zip(&other.took) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// How long at most this part of the calls took, within a fifth. `None`: there were none.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let all: u64 = self.took.iter().copied().map(u64::from).sum();
        let wanted = (all as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.took.iter().enumerate() {
            seen += u64::from(*count);
            if *count > 0 && seen >= wanted {
                return Some(middle(at));
            }
        }
        None
    }
}

/// The half doublings of a millisecond that this is.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if micros < 1_000 {
        return 0;
    }
    let doublings = (micros / 1_000).ilog2();
    // Above the square root of two times the doubling, or below.
    let above = u128::from(micros) * u128::from(micros) >= (1_000_000_u128 << (2 * doublings + 1));
    (1 + 2 * doublings as usize + usize::from(above)).min(BUCKETS - 1)
}

/// What stands for a bucket: the geometric middle of its edges.
fn middle(bucket: usize) -> Duration {
    let edge = bucket.saturating_sub(1) as f64 / 2.0;
    let millis = if bucket == 0 { 0.5 } else { (edge + 0.25).exp2() };
    Duration::from_secs_f64(millis / 1_000.0)
}

/// How much an organization calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    pub calls: u64,
    pub failed: u64,
}

/// The last minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// By minute; one without calls may be missing.
    minutes: BTreeMap<i64, Minute>,
    /// The busiest ones, over all these minutes.
    organizations: BTreeMap<OrganizationId, Activity>,
    /// Calls under way now.
    pub running: u64,
}

impl Rates {
    /// Of whoever has answered nothing yet.
    pub fn of_running(running: u64) -> Self {
        Self { running, ..Self::default() }
    }

    pub fn count(&mut self, organization: &OrganizationId, minutes: impl Iterator<Item = Minute>) {
        let mut activity = Activity::default();
        for minute in minutes {
            activity.calls += u64::from(minute.calls);
            activity.failed += u64::from(minute.failed);
            self.merge(&minute);
        }
        if activity.calls > 0 {
            self.organizations.insert(organization.clone(), activity);
        }
    }

    fn merge(&mut self, minute: &Minute) {
        self.minutes.entry(minute.minute).or_insert_with(|| Minute::new(minute.minute)).add(minute);
    }

    /// What another gateway has answered.
    pub fn add(&mut self, other: Self) {
        self.running += other.running;
        other.minutes.values().for_each(|minute| self.merge(minute));
        for (organization, more) in other.organizations {
            let sum = self.organizations.entry(organization).or_default();
            sum.calls += more.calls;
            sum.failed += more.failed;
        }
    }

    /// The busiest organizations first.
    pub fn busiest(&self) -> Vec<(OrganizationId, Activity)> {
        let mut all: Vec<_> = self.organizations.iter().map(|(id, activity)| (id.clone(), *activity)).collect();
        all.sort_by(|(one, first), (other, second)| second.calls.cmp(&first.calls).then_with(|| one.cmp(other)));
        all.truncate(MOST_NAMED);
        all
    }

    /// As it travels: without organizations that are not among the busiest.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { organizations: self.busiest().into_iter().collect(), ..self }
    }

    /// `count` minutes up to this one, without a gap.
    pub fn series(&self, last: i64, count: i64) -> Vec<Minute> {
        let of = |minute| self.minutes.get(&minute).cloned().unwrap_or_else(|| Minute::new(minute));
        (last - count + 1..=last).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_truth() {
        for (part, calls) in [(0.5, 50), (0.95, 95)] {
            let mut minute = Minute::new(1);
            for millis in 1..=100_u64 {
                minute.count(true, Duration::from_millis(millis * 7));
            }
            let (found, exact) = (minute.quantile(part).unwrap().as_secs_f64(), f64::from(calls) * 0.007);
            assert!((found / exact - 1.0).abs() < 0.2, "{part}: {found} and not {exact}");
        }
        assert_eq!(Minute::new(1).quantile(0.5), None);
    }

    #[test]
    fn every_duration_has_a_bucket_whose_middle_is_near() {
        for micros in [1_u64, 999, 1_000, 1_413, 1_415, 2_000, 60_000, 1_000_000, 65_000_000] {
            let took = Duration::from_micros(micros);
            let near = middle(bucket(took)).as_secs_f64() / took.as_secs_f64();
            assert!(micros < 1_000 || (0.8..1.25).contains(&near), "{micros}: {near}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn gateways_add_up_without_gaps() {
        let (one, other) = (OrganizationId::generate(), OrganizationId::generate());
        let minute = |at, calls: u32| {
            let mut minute = Minute::new(at);
            (0..calls).for_each(|call| minute.count(call > 0, Duration::from_millis(5)));
            minute
        };
        let (mut here, mut there) = (Rates::default(), Rates::default());
        here.count(&one, [minute(7, 3)].into_iter());
        there.count(&one, [minute(7, 2), minute(9, 1)].into_iter());
        there.count(&other, [minute(9, 10)].into_iter());
        here.add(there);
        let series = here.series(9, 3);
        let counted: Vec<_> = series.iter().map(|minute| (minute.minute, minute.calls, minute.failed)).collect();
        assert_eq!(counted, [(7, 5, 2), (8, 0, 0), (9, 11, 2)]);
        assert_eq!(
            here.busiest(),
            [(other, Activity { calls: 10, failed: 1 }), (one, Activity { calls: 6, failed: 3 })]
        );
    }
}
