//! The retry budget of each host: repeats are a tenth of the calls, and one a second besides. A host in trouble does not
//! get three times its load from us.

use tokio::time::Instant;

/// Repeats that a call pays for.
const A_CALL: f64 = 0.1;
const A_SECOND: f64 = 1.0;
/// Repeats that can be saved up.
const MOST: f64 = 10.0;

/// Of one host.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    repeats: f64,
    at: Instant,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { repeats: MOST, at: Instant::now() }
    }
}

impl RetryBudget {
    /// A first try was made.
    pub(crate) fn earn(&mut self, now: Instant) {
        self.add(A_CALL, now);
    }

    /// Whether a repeat may be made; it is paid for.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        self.add(0.0, now);
        let may = self.repeats >= 1.0;
        if may {
            self.repeats -= 1.0;
        } else {
            metrics::counter!("plugboard_repeats_refused_total").increment(1);
        }
        may
    }

    fn add(&mut self, earned: f64, now: Instant) {
        let waited = now.saturating_duration_since(self.at).as_secs_f64() * A_SECOND;
        self.repeats = (self.repeats + earned + waited).min(MOST);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn repeats_are_a_part_of_the_calls() {
        let mut now = Instant::now();
        let mut budget = RetryBudget { repeats: MOST, at: now };
        let spent = |budget: &mut RetryBudget, now| (0..100).filter(|_| budget.spend(now)).count();
        assert_eq!(spent(&mut budget, now), 10, "what was saved up");
        (0..100).for_each(|_| budget.earn(now));
        assert!((9..=10).contains(&spent(&mut budget, now)), "a tenth");
        now += Duration::from_secs(3);
        assert!((3..=4).contains(&spent(&mut budget, now)), "one a second");
    }
}
