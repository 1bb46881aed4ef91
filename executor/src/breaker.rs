//! Circuit breakers: a host that fails is left alone for a while, by the organization that saw it fail.
//!
//! One breaker for each [`crate::lines::Line`], in this process. Only failures of the host count: no
//! connection, no answer, 5xx. A refusal (4xx) says that the host is well, so a bad key opens nothing; and what one
//! organization sees never closes the way for another.
//!
//! | what | value |
//! | --- | --- |
//! | opens at | half of at least 20 calls in 30 s |
//! | stays open for | 5 s, doubled each time a probe fails, at most 60 s; a random part more |
//! | then | one probe at a time |

use std::time::Duration;

use tokio::time::Instant;

use crate::chance;

const WINDOW: Duration = Duration::from_secs(30);
const LEAST_CALLS: u32 = 20;
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// A probe that brings no verdict in this time gives way to another.
const PROBE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: State,
    present: Half,
    before: Half,
    open: Option<Open>,
}

/// Half a window.
#[derive(Debug, Default, Clone, Copy)]
struct Half {
    since: Option<Instant>,
    calls: u32,
    failures: u32,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
        rest: Duration,
    },
    HalfOpen {
        probing_since: Instant,
        rest: Duration,
    },
}

impl Breaker {
    /// # Errors
    /// How long the host is left alone.
    pub(crate) fn enter(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until, .. } if now < until => Err(until - now),
            State::HalfOpen { probing_since, .. } if now < probing_since + PROBE => Err(FIRST_REST),
            State::Open { rest, .. } | State::HalfOpen { rest, .. } => {
                self.state = State::HalfOpen { probing_since: now, rest };
                Ok(())
            }
        }
    }

    /// How a call went that was let in. One that nobody reports counts for nothing.
    pub(crate) fn report(&mut self, healthy: bool, now: Instant) {
        match self.state {
            State::Closed => {
                self.count(healthy, now);
                let (calls, failures) =
                    (self.present.calls + self.before.calls, self.present.failures + self.before.failures);
                if calls >= LEAST_CALLS && failures * 2 >= calls {
                    self.open(FIRST_REST, now);
                }
            }
            State::HalfOpen { .. } if healthy => *self = Self::default(),
            State::HalfOpen { rest, .. } => self.open((rest * 2).min(LONGEST_REST), now),
            // Calls that were under way when it opened.
            State::Open { .. } => {}
        }
    }

    /// How long it has not been closed, and how long it lets nobody through yet. `None`: it is closed.
    pub(crate) fn rest(&self, now: Instant) -> Option<(Duration, Duration)> {
        let open_for = now.saturating_duration_since(self.open.as_ref()?.since);
        let rests_for = match self.state {
            State::Open { until, .. } => until.saturating_duration_since(now),
            State::Closed | State::HalfOpen { .. } => Duration::ZERO,
        };
        Some((open_for, rests_for))
    }

    fn count(&mut self, healthy: bool, now: Instant) {
        let age = self.present.since.map(|since| now - since);
        if age.is_none_or(|age| age >= WINDOW / 2) {
            let fresh = age.is_some_and(|age| age < WINDOW);
            self.before = if fresh { self.present } else { Half::default() };
            self.present = Half { since: Some(now), ..Half::default() };
        }
        self.present.calls += 1;
        self.present.failures += u32::from(!healthy);
    }

    fn open(&mut self, rest: Duration, now: Instant) {
        metrics::counter!("plugboard_breaker_opened_total").increment(1);
        let open = self.open.take().or_else(|| Some(Open::new(now)));
        let jitter = rest.mul_f64(0.25 * chance::fraction());
        *self = Self { state: State::Open { until: now + rest + jitter, rest }, open, ..Self::default() };
    }
}

/// Counts a breaker that is not closed, also when it is forgotten as it is.
#[derive(Debug)]
struct Open {
    since: Instant,
}

impl Open {
    fn new(since: Instant) -> Self {
        metrics::gauge!("plugboard_breakers_open").increment(1.0);
        Self { since }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("plugboard_breakers_open").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failed(breaker: &mut Breaker, now: Instant, times: u32) {
        for _ in 0..times {
            if breaker.enter(now).is_ok() {
                breaker.report(false, now);
            }
        }
    }

    #[test]
    fn opens_when_half_of_enough_calls_fail() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        failed(&mut breaker, now, 19);
        assert!(breaker.enter(now).is_ok(), "too few to judge by");
        breaker.report(true, now);
        let wait = breaker.enter(now).unwrap_err();
        assert!((5 * SECOND..=7 * SECOND).contains(&wait), "{wait:?}");
        // A minority of failures opens nothing.
        let mut well = Breaker::default();
        for call in 0..100 {
            assert!(well.enter(now).is_ok());
            well.report(call % 3 != 0, now);
        }
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        failed(&mut breaker, now, 19);
        failed(&mut breaker, now + 31 * SECOND, 10);
        assert!(breaker.enter(now + 31 * SECOND).is_ok());
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        failed(&mut breaker, now, 20);
        for rest in [5, 10, 20, 40, 60, 60] {
            let wait = breaker.enter(now).unwrap_err();
            assert_eq!(breaker.rest(now).unwrap().1, wait);
            assert!(wait >= rest * SECOND && wait <= rest * SECOND * 5 / 4, "{wait:?}, not {rest} s");
            now += wait;
            assert!(breaker.enter(now).is_ok(), "the probe");
            assert!(breaker.enter(now).is_err(), "one only");
            breaker.report(false, now);
        }
        now += breaker.enter(now).unwrap_err();
        assert!(breaker.enter(now).is_ok());
        // A probe that never came back makes room for another.
        assert!(breaker.enter(now + 60 * SECOND).is_ok());
        breaker.report(true, now);
        failed(&mut breaker, now, 19);
        assert!(breaker.enter(now).is_ok(), "closed, with nothing left of before");
        assert_eq!(breaker.rest(now), None);
    }
}
