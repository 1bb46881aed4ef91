//! What is wrong with a deployment, and what to do about it.
//!
//! Looks are made by whoever owns the thing (`queue::nats`, `store::redis`, the auth service, the binary for the public
//! API); here is what is made of them. A judgement is a plain function from what was seen to findings.
//!
//! | file | what it judges |
//! | --- | --- |
//! | `finding` | what a finding is |
//! | `examine` | checks side by side, each with its time |
//! | [`certificates`] | certificates of services and public listeners, addresses in the clear |
//! | [`nats`] | servers, streams, consumers and what lies in them |
//! | [`redis`] | how it keeps what it is given, and its room |
//! | [`keys`] | keys that are missing, malformed, made up by hand or used twice |
//! | [`clocks`] | clocks of others beside this machine's |
//! | [`catalog`] | the catalog service beside the gateway's catalog |
//! | [`egress`] | what is open besides public addresses, and whether one vendor is reached |
//!
//! Nothing here changes anything, and no finding repeats a secret: addresses are told without user and password.

pub mod catalog;
pub mod certificates;
pub mod clocks;
pub mod egress;
mod examine;
mod finding;
pub mod keys;
pub mod nats;
pub mod redis;

pub use examine::{Check, LIMIT, examine};
pub use finding::{Finding, Part, State, UnknownPart, is_healthy};

use url::Url;

/// An address without what may be secret in it.
pub fn shown(address: &str) -> String {
    let Ok(url) = Url::parse(address) else { return "an address that cannot be read".to_owned() };
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// `1.2 GB`.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// How full something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Enough,
    Little,
    Hardly,
}

impl Room {
    fn of(used: u64, limit: u64) -> Self {
        match used.saturating_mul(100) / limit.max(1) {
            95.. => Self::Hardly,
            80.. => Self::Little,
            _ => Self::Enough,
        }
    }

    fn judge(self, part: Part, seen: String, remedy: impl Into<String>) -> Finding {
        match self {
            Self::Enough => part.ok(seen),
            Self::Little => part.warn(seen, remedy),
            Self::Hardly => part.fail(seen, remedy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_without_passwords() {
        assert_eq!(shown("redis://auth:canary@redis:6379/0"), "redis://redis:6379");
        assert_eq!(shown("nats://canary@10.0.0.1:4222"), "nats://10.0.0.1:4222");
        assert!(!shown("canary").contains("canary"));
    }

    #[test]
    fn numbers_of_bytes_are_short() {
        assert_eq!([bytes(12), bytes(1_500), bytes(2_000_000_000)], ["12 B", "1.5 kB", "2.0 GB"]);
    }

    #[test]
    fn room_ends_before_the_limit() {
        assert_eq!([Room::of(0, 0), Room::of(79, 100)], [Room::Enough; 2]);
        assert_eq!([Room::of(80, 100), Room::of(95, 100)], [Room::Little, Room::Hardly]);
    }
}
