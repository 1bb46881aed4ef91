//! The algorithm, without a clock and without a store. Times are microseconds.

use super::{Bucket, Turn, micros, to_micros};
use std::time::Duration;

/// What to answer, and what to store (`None`: nothing).
pub(super) fn take(stored: i64, now: i64, bucket: &Bucket, cost: u32, patience: Duration) -> (Turn, Option<i64>) {
    let Bucket { interval, burst, .. } = *bucket;
    // More than a bucket holds could never be taken at once.
    let cost = i64::from(cost.clamp(1, burst));
    let next = stored.max(now).saturating_add(interval.saturating_mul(cost));
    let earliest = next.saturating_sub(interval.saturating_mul(burst.into()));
    let wait = earliest.saturating_sub(now);
    if wait <= 0 {
        let remaining = u32::try_from(-wait / interval).unwrap_or(u32::MAX);
        return (Turn::Now { remaining }, Some(next));
    }
    if wait > to_micros(patience) {
        return (Turn::TooLate(micros(wait)), None);
    }
    (Turn::After(micros(wait)), Some(next))
}

/// What to store so that nothing goes before `rest` is over, and then one request at a time.
pub(super) fn rest(stored: i64, now: i64, bucket: &Bucket, rest: Duration) -> i64 {
    let spent = bucket.interval.saturating_mul(i64::from(bucket.burst) - 1);
    stored.max(now.saturating_add(to_micros(rest)).saturating_add(spent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(interval: i64, burst: u32) -> Bucket {
        Bucket { key: "k".to_owned(), interval, burst }
    }

    proptest! {
        /// In no window of time do more requests go than the rate and the burst allow, whoever waits how long.
        #[test]
        fn never_more_than_the_limit(
            interval in 1_i64..50_000,
            burst in 1_u32..20,
            asks in prop::collection::vec((0_i64..20_000, 0_u64..500_000, 1_u32..4), 1..200),
        ) {
            let bucket = bucket(interval, burst);
            let (mut now, mut stored, mut went) = (0, 0, Vec::new());
            for (pause, patience, cost) in asks {
                now += pause;
                let (turn, next) = take(stored, now, &bucket, cost, Duration::from_micros(patience));
                let at = match turn {
                    Turn::Now { .. } => Some(now),
                    Turn::After(wait) => {
                        prop_assert!(wait <= Duration::from_micros(patience));
                        Some(now + to_micros(wait))
                    }
                    Turn::TooLate(wait) => {
                        prop_assert!(wait > Duration::from_micros(patience) && next.is_none());
                        None
                    }
                };
                if let Some(at) = at {
                    went.extend((0..cost.min(burst)).map(|_| at));
                    stored = next.unwrap();
                }
            }
            went.sort_unstable();
            for (first, from) in went.iter().enumerate() {
                for (last, to) in went.iter().enumerate().skip(first) {
                    let allowed = i64::from(burst) + (to - from) / interval;
                    prop_assert!(((last - first) as i64) < allowed, "{} in {} µs", last - first + 1, to - from);
                }
            }
        }
    }

    #[test]
    fn a_rest_is_kept_and_ends_with_one_request() {
        let bucket = bucket(1_000, 5);
        let stored = rest(0, 0, &bucket, Duration::from_millis(10));
        assert_eq!(take(stored, 0, &bucket, 1, Duration::ZERO).0, Turn::TooLate(Duration::from_millis(10)));
        let (turn, next) = take(stored, 10_000, &bucket, 1, Duration::ZERO);
        assert_eq!(turn, Turn::Now { remaining: 0 });
        assert!(matches!(take(next.unwrap(), 10_000, &bucket, 1, Duration::ZERO).0, Turn::TooLate(_)));
        // It never shortens a longer one.
        assert_eq!(rest(stored, 0, &bucket, Duration::from_millis(1)), stored);
    }
}
