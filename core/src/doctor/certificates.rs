//! Which certificates there are and when they end, and what is said in the clear.

use super::{Finding, Part};
use crate::clock::Millis;
use crate::tls::{Description, Tls, TlsError};

/// In seconds.
const HOUR: i64 = 3_600;
/// Whoever renews certificates does so when a third of their time is left; with half of that gone, nobody does.
const LAST_PART: i64 = 6;

/// Of certificates that could be read, or why they could not. Without any, nothing.
pub fn judge(opened: &Result<Tls, TlsError>, now: Millis) -> Vec<Finding> {
    match opened {
        Ok(tls) => tls.describe().iter().map(|each| certificate(each, now.0 / 1000)).collect(),
        Err(error) => vec![Part::Tls.fail(error.to_string(), "mend the setting or the file, then run this again")],
    }
}

fn certificate(each: &Description, now: i64) -> Finding {
    let left = left(each.ends - now);
    let names = if each.names.is_empty() { String::new() } else { format!(" for {}", each.names.join(", ")) };
    let seen = format!("{} = {:?}{names} ends in {left}, at {}", each.setting, each.path, each.ends_at());
    if each.ends - now < (each.ends - each.begins) / LAST_PART {
        Part::Tls.fail(seen, "renew it: whoever does that should have done so by now")
    } else {
        Part::Tls.ok(seen)
    }
}

/// In whole hours, from two days on in whole days.
fn left(seconds: i64) -> String {
    match seconds / HOUR {
        ..1 => "less than an hour".to_owned(),
        1 => "1 hour".to_owned(),
        hours @ ..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}

/// What [`crate::tls::check_addresses`] says of all addresses.
pub fn judge_addresses(clear: &Result<Vec<String>, TlsError>) -> Option<Finding> {
    match clear {
        Ok(clear) if clear.is_empty() => None,
        Ok(clear) => Some(Part::Tls.warn(
            format!("what is said to {} is not encrypted", clear.join(", ")),
            "set tls.certificate, tls.private_key and tls.ca in every service, unless the network encrypts by itself",
        )),
        Err(error) => Some(Part::Tls.fail(error.to_string(), "make addresses and [tls] agree in every service")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_told_in_days_or_hours() {
        let soon = [(0, "less than an hour"), (HOUR, "1 hour"), (24 * HOUR, "24 hours"), (48 * HOUR - 1, "47 hours")];
        let later = [(48 * HOUR, "2 days"), (365 * 24 * HOUR - 1, "364 days")];
        for (seconds, expected) in soon.into_iter().chain(later) {
            assert_eq!(left(seconds), expected, "{seconds} s");
        }
    }
}
