//! Clocks of others beside this machine's. The journal's deadlines and tickets are compared across machines: a clock that
//! is seconds off ends calls early, or lets them begin when nobody waits any more.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use super::{Finding, Part};
use crate::clock::Millis;

/// In milliseconds.
const WARN: i64 = 1_000;
const FAIL: i64 = 5_000;

const REMEDY: &str = "let both machines follow NTP (chrony, systemd-timesyncd), and look which of them is wrong: \
                      deadlines of calls are compared across machines";

/// What another clock said, between two looks at our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub before: Millis,
    pub told: Millis,
    pub after: Millis,
    /// Of what the other said: it may have been later by as much.
    pub grain: Duration,
}

impl Look {
    /// By how much the other is ahead at least and at most, in milliseconds: when it looked is not known better than that
    /// it was between our two looks.
    fn ahead(&self) -> (i64, i64) {
        let grain = i64::try_from(self.grain.as_millis()).unwrap_or(i64::MAX);
        (self.told.0.saturating_sub(self.after.0), self.told.0.saturating_add(grain).saturating_sub(self.before.0))
    }
}

/// Warns and fails by what is sure, not by what could be.
pub fn judge(whose: &str, look: &Look) -> Finding {
    let (least, most) = look.ahead();
    let doubt = least.abs_diff(most).div_ceil(2);
    let middle = least.saturating_add(most) / 2;
    let (sure, way) = match (least, most) {
        (least, _) if least > 0 => (least, "ahead of"),
        (_, most) if most < 0 => (-most, "behind"),
        _ => {
            let within = least.unsigned_abs().max(most.unsigned_abs());
            return Part::Clock.ok(format!("{whose} and this machine agree within {within} ms"));
        }
    };
    let seen = format!("{whose} is {} ms {way} this machine, give or take {doubt} ms", middle.abs());
    match sure {
        sure if sure > FAIL => Part::Clock.fail(seen, REMEDY),
        sure if sure > WARN => Part::Clock.warn(seen, REMEDY),
        _ => Part::Clock.ok(seen),
    }
}

/// As NATS and JSON have it.
pub fn rfc3339(text: &str) -> Option<Millis> {
    millis(OffsetDateTime::parse(text, &Rfc3339).ok()?)
}

/// As HTTP has it in `Date`: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(text: &str) -> Option<Millis> {
    millis(OffsetDateTime::parse(text, &Rfc2822).ok()?)
}

fn millis(time: OffsetDateTime) -> Option<Millis> {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(Millis)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn look(told: i64, took: i64, grain: u64) -> Look {
        let before = Millis(1_800_000_000_000);
        Look {
            before,
            told: Millis(before.0 + told),
            after: Millis(before.0 + took),
            grain: Duration::from_millis(grain),
        }
    }

    fn state(told: i64, took: i64, grain: u64) -> State {
        judge("redis", &look(told, took, grain)).state
    }

    #[test]
    fn a_clock_is_off_by_what_is_sure() {
        for (told, expected) in [
            (0, State::Ok),
            (999, State::Ok),
            (1_100, State::Warn),
            (-1_100, State::Warn),
            (4_900, State::Warn),
            (5_100, State::Fail),
            (-5_100, State::Fail),
            (90_000, State::Fail),
            (-90_000, State::Fail),
        ] {
            assert_eq!(state(told, 0, 1), expected, "{told}");
        }
        // An answer that took long says less.
        assert_eq!(state(1_500, 1_000, 1), State::Ok);
        assert_eq!(state(5_500, 1_000, 1), State::Warn);
        // A whole second may have been the one before or after.
        assert_eq!(state(-900, 10, 1_000), State::Ok);
        assert_eq!(state(-2_500, 10, 1_000), State::Warn);
    }

    #[test]
    fn how_much_is_said() {
        let ahead = judge("NATS server n1", &look(7_010, 20, 1));
        assert_eq!(ahead.seen, "NATS server n1 is 7000 ms ahead of this machine, give or take 11 ms");
        let behind = judge("the gateway", &look(-90_000, 0, 1_000));
        assert!(behind.seen.starts_with("the gateway is 89500 ms behind this machine"), "{}", behind.seen);
        assert!(ahead.remedy.unwrap().contains("NTP"));
        assert_eq!(judge("redis", &look(3, 10, 1)).seen, "redis and this machine agree within 7 ms");
    }

    #[test]
    fn times_of_others_are_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Millis(784_111_777_000)));
        assert_eq!(rfc3339("2026-11-28T17:50:36.330441388Z"), Some(Millis(1_795_888_236_330)));
        assert_eq!((http_date("yesterday"), rfc3339("yesterday")), (None, None));
    }
}
