//! What may happen after each try, decided without doing it.

use std::time::Duration;

use plugboard_core::error::EffectOutcome;
use plugboard_core::manifest::Effect;

use plugboard_core::broken::broken;

/// Repeats after failures that provably sent nothing.
const MAX_UNSENT: u32 = 2;
/// Repeats after a failure whose outcome is not known.
const MAX_UNCLEAR: u32 = 1;
/// Repeats after the vendor said that it is asked too often.
const MAX_LIMITED: u32 = 2;
/// Its wait when it names none.
const LIMITED: Duration = Duration::from_secs(1);
/// First wait between two tries, doubled with each; the actual one is a random part of it.
const BASE: Duration = Duration::from_millis(100);
/// A try with less time than this before the deadline would only end as the next failure.
const LEAST_TIME: Duration = Duration::from_millis(50);

/// What earlier tries of the same execution, here or elsewhere, may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    Nothing,
    /// The vendor refused.
    Refused,
    /// The vendor may have done it.
    Unclear,
}

/// How one try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// No byte left, and another try may do better.
    Unsent,
    /// No byte left, and none ever will: refused by policy, or no time is left.
    Blocked,
    /// A byte may have left, no answer came.
    Unclear,
    /// An answer began to come and cannot be used.
    Answered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    End,
    /// Try again after a random part of this.
    Again(Duration),
}

/// The tries of one job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    effect: Effect,
    /// An earlier start may have made the call, and may yet: perhaps it only stands still.
    followed: bool,
    past: Past,
    unsent: u32,
    unclear: u32,
    limited: u32,
    refreshes_left: bool,
}

impl Course {
    /// `followed`: an earlier start may have made the call. `refreshable`: the manifest says how to get a new token.
    pub(super) fn new(effect: Effect, followed: bool, refreshable: bool) -> Self {
        let past = if followed { Past::Unclear } else { Past::Nothing };
        Self { effect, followed, past, unsent: 0, unclear: 0, limited: 0, refreshes_left: refreshable }
    }

    /// After a failed try, with this much time left.
    pub(super) fn after(&mut self, failed: Failed, left: Duration) -> Next {
        let tries = match failed {
            Failed::Blocked => return Next::End,
            Failed::Answered => {
                self.past = Past::Unclear;
                return Next::End;
            }
            Failed::Unsent => {
                self.unsent += 1;
                if self.unsent > MAX_UNSENT {
                    return Next::End;
                }
                self.unsent
            }
            Failed::Unclear => {
                self.past = Past::Unclear;
                self.unclear += 1;
                // Reads and idempotent calls may be repeated; a keyed one carries the same key each time. That is
                // what a redelivery would do as well.
                let single = self.effect == Effect::Once && !broken("retry_after_reset");
                if single || self.unclear > MAX_UNCLEAR {
                    return Next::End;
                }
                self.unclear
            }
        };
        let wait = BASE * (1 << (tries - 1).min(8));
        if left < wait + LEAST_TIME { Next::End } else { Next::Again(wait) }
    }

    /// The vendor did nothing because it is asked too often. How long to wait before the same is asked again; not for a
    /// `once` call, whose vendor may mean another request than this one.
    pub(super) fn limited(&mut self, asked: Option<Duration>, left: Duration) -> Option<Duration> {
        if self.past == Past::Nothing {
            self.past = Past::Refused;
        }
        self.limited += 1;
        let wait = asked.unwrap_or(LIMITED * (1 << (self.limited - 1).min(4)));
        let may = self.effect != Effect::Once && self.limited <= MAX_LIMITED && wait + LEAST_TIME < left;
        may.then_some(wait)
    }

    /// The vendor refused the credential. True: get a new token and try again, once.
    pub(super) fn may_refresh(&mut self) -> bool {
        if self.past == Past::Nothing {
            self.past = Past::Refused;
        }
        std::mem::take(&mut self.refreshes_left)
    }

    /// What can be said of the whole call when its last try ended like this. `for_all`: a refusal for what the request
    /// itself is.
    pub(super) fn outcome(&self, last: EffectOutcome, for_all: bool) -> EffectOutcome {
        use EffectOutcome::{NotSent, Rejected, Unknown};
        match (self.past, last) {
            (Past::Refused, NotSent) => Rejected,
            (Past::Unclear, NotSent) => Unknown,
            // "No such order" may well be what the first, unanswered deletion left behind. A key makes the vendor
            // answer for all tries, if it got as far as looking at it; a read leaves nothing behind.
            (Past::Unclear, Rejected) if self.effect == Effect::Idempotent => Unknown,
            (Past::Unclear, Rejected) if self.effect == Effect::Keyed && !for_all => Unknown,
            // What was refused now may be accepted from whoever held the intent before.
            (_, Rejected) if self.effect == Effect::Keyed && self.followed => Unknown,
            (_, last) => last,
        }
    }
}

/// Whether a caller may repeat a call whose outcome is not known. A new call would carry a new key.
pub(super) fn is_repeatable(effect: Effect) -> bool {
    matches!(effect, Effect::Read | Effect::Idempotent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Effect; 4] = [Effect::Read, Effect::Idempotent, Effect::Keyed, Effect::Once];
    const PLENTY: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_not_sent_is_repeated_twice_for_any_effect() {
        for effect in ALL {
            let mut course = Course::new(effect, false, false);
            assert!(matches!(course.after(Failed::Unsent, PLENTY), Next::Again(_)));
            assert!(matches!(course.after(Failed::Unsent, PLENTY), Next::Again(_)));
            assert_eq!(course.after(Failed::Unsent, PLENTY), Next::End);
            assert_eq!(course.outcome(EffectOutcome::NotSent, false), EffectOutcome::NotSent);
        }
    }

    #[test]
    fn once_is_never_sent_again_after_the_first_byte() {
        let mut course = Course::new(Effect::Once, false, true);
        assert_eq!(course.after(Failed::Unclear, PLENTY), Next::End);
        for effect in [Effect::Read, Effect::Idempotent, Effect::Keyed] {
            let mut course = Course::new(effect, false, false);
            assert!(matches!(course.after(Failed::Unclear, PLENTY), Next::Again(_)));
            assert_eq!(course.after(Failed::Unclear, PLENTY), Next::End);
        }
    }

    #[test]
    fn nothing_is_begun_that_cannot_end_in_time() {
        for failed in [Failed::Unsent, Failed::Unclear] {
            assert_eq!(Course::new(Effect::Read, false, false).after(failed, Duration::from_millis(100)), Next::End);
        }
        assert_eq!(Course::new(Effect::Read, false, false).after(Failed::Blocked, PLENTY), Next::End);
    }

    #[test]
    fn a_token_is_refreshed_once_and_only_where_there_is_a_way() {
        let mut course = Course::new(Effect::Once, false, true);
        assert!(course.may_refresh());
        assert!(!course.may_refresh());
        assert!(!Course::new(Effect::Once, false, false).may_refresh());
    }

    #[test]
    fn the_past_colours_the_end() {
        use EffectOutcome::{NotSent, Rejected, Unknown};
        let unclear = |effect| {
            let mut course = Course::new(effect, false, false);
            course.after(Failed::Unclear, PLENTY);
            course
        };
        assert_eq!(unclear(Effect::Idempotent).outcome(Rejected, true), Unknown);
        assert_eq!(unclear(Effect::Keyed).outcome(Rejected, true), Rejected);
        // It was asked too often, or is still at it.
        assert_eq!(unclear(Effect::Keyed).outcome(Rejected, false), Unknown);
        assert_eq!(unclear(Effect::Read).outcome(Rejected, false), Rejected);
        // Another start may come back and be accepted.
        assert_eq!(Course::new(Effect::Keyed, true, false).outcome(Rejected, true), Unknown);
        assert_eq!(Course::new(Effect::Read, true, false).outcome(Rejected, true), Rejected);
        for effect in [Effect::Read, Effect::Idempotent, Effect::Keyed] {
            assert_eq!(unclear(effect).outcome(NotSent, false), Unknown);
            assert_eq!(Course::new(effect, true, false).outcome(NotSent, false), Unknown);
        }
        let mut refused = Course::new(Effect::Once, false, true);
        refused.may_refresh();
        assert_eq!(refused.outcome(NotSent, false), Rejected);
    }

    #[test]
    fn who_is_asked_too_often_is_asked_again_when_it_says() {
        let second = Duration::from_secs(1);
        let mut read = Course::new(Effect::Read, false, false);
        assert_eq!(read.limited(Some(3 * second), 10 * second), Some(3 * second));
        assert_eq!(read.limited(None, 10 * second), Some(2 * second));
        assert_eq!(read.limited(Some(second), 10 * second), None, "often enough");
        assert_eq!(read.outcome(EffectOutcome::NotSent, false), EffectOutcome::Rejected);
        assert_eq!(Course::new(Effect::Read, false, false).limited(Some(10 * second), 10 * second), None, "no time");
        assert_eq!(Course::new(Effect::Once, false, false).limited(Some(second), 10 * second), None);
        assert_eq!(Course::new(Effect::Keyed, false, false).limited(Some(second), 10 * second), Some(second));
    }
}
