//! Keys that are missing, malformed, made up by hand, or used for two things.

use subtle::ConstantTimeEq;

use super::{Finding, Part};
use crate::secret::{Secret, SecretKey};

/// What a setting holds that is to be 64 hexadecimal digits.
pub struct Configured {
    /// As in the settings.
    pub name: &'static str,
    pub text: Secret,
    /// Whether every service has it.
    pub everybody: bool,
    /// Who has it.
    pub whose: &'static str,
}

/// A key and what it is called.
pub struct Named {
    pub name: String,
    pub key: SecretKey,
}

const MAKE: &str = "`plugboard keys generate` prints a fresh set; change it in every service that has it";

/// Of 32 random bytes about 30 differ; fewer than this many is less likely than a guessed key.
const FEWEST_DIFFERENT: usize = 16;

/// The keys that are well formed, and what is wrong with the others.
pub fn judge(configured: &[Configured]) -> (Vec<Named>, Vec<Finding>) {
    let (mut keys, mut findings) = (Vec::new(), Vec::new());
    for Configured { name, text, everybody, whose } in configured {
        if text.expose().is_empty() {
            findings.push(match everybody {
                true => Part::Keys.fail(format!("{name} is not set; {whose} have it"), MAKE),
                false => Part::Keys.skipped(format!("{name} is not in these settings; {whose} have it")),
            });
            continue;
        }
        match SecretKey::from_hex(text.expose()) {
            Ok(key) => {
                let key = Named { name: (*name).to_owned(), key };
                findings.push(strength(&key));
                keys.push(key);
            }
            Err(error) => findings.push(Part::Keys.fail(format!("{name}: {error}"), MAKE)),
        }
    }
    (keys, findings)
}

/// Whether a key looks drawn by lot.
pub fn strength(key: &Named) -> Finding {
    let name = &key.name;
    match weakness(&key.key) {
        None => Part::Keys.ok(format!("{name} is set and well formed")),
        Some(why) => Part::Keys.fail(format!("{name} can be guessed: {why}"), MAKE),
    }
}

fn weakness(key: &SecretKey) -> Option<&'static str> {
    let bytes = key.expose();
    let mut seen = [false; 256];
    bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let different = seen.iter().filter(|seen| **seen).count();
    let step = bytes[1].wrapping_sub(bytes[0]);
    if different > 1 && bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step) {
        return Some("it counts up or down");
    }
    if different < FEWEST_DIFFERENT {
        return Some("it is made of few different bytes");
    }
    // By lot this comes out once in 10^13.
    if bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return Some("it is text that was written as hexadecimal digits, or an example");
    }
    None
}

/// Keys that two settings share: then whoever is given the one has the other.
pub fn judge_shared(keys: &[Named]) -> Vec<Finding> {
    let pairs = keys.iter().enumerate().flat_map(|(at, one)| keys[at + 1..].iter().map(move |other| (one, other)));
    let same = pairs.filter(|(one, other)| bool::from(one.key.expose().ct_eq(other.key.expose())));
    same.map(|(one, other)| {
        let seen = format!("{} and {} are the same key: whoever has the one has the other", one.name, other.name);
        Part::Keys.fail(seen, MAKE)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const GOOD: &str = "8f1d3c5a7be94602d1c8ef35a0b47692e3581c7f09ad64b2c5f0913e7d8ab642";

    fn configured(text: &str, everybody: bool) -> Configured {
        let name = if everybody { "secrets.cluster_secret" } else { "secrets.payload_key" };
        Configured { name, text: Secret::new(text), everybody, whose: "all services" }
    }

    fn states(configured: &[Configured]) -> Vec<State> {
        judge(configured).1.iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn missing_malformed_and_good_keys() {
        assert_eq!(states(&[configured("", true), configured("", false)]), [State::Fail, State::Skipped]);
        assert_eq!(states(&[configured(GOOD, true), configured("canary", true)]), [State::Ok, State::Fail]);
        let (_, findings) = judge(&[configured("canary", true), configured(GOOD, true)]);
        let said = format!("{findings:?}");
        assert!(!said.contains("canary") && !said.contains(GOOD), "{said}");
    }

    #[test]
    fn what_was_made_up_by_hand_is_found() {
        let counted: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let text = hex::encode(b"change-me-change-me-change-me-ok");
        let prose = hex::encode(b"The quick brown fox jumps over a");
        for weak in ["00".repeat(32), "0123456789abcdef".repeat(4), counted, text, prose] {
            assert_eq!(states(&[configured(&weak, true)]), [State::Fail], "{weak}");
        }
        for _ in 0..1_000 {
            assert_eq!(weakness(&SecretKey::generate().unwrap()), None);
        }
    }

    #[test]
    fn a_key_for_two_things_is_found() {
        let named = |name: &str, byte| Named { name: name.to_owned(), key: SecretKey::new([byte; 32]) };
        let found = judge_shared(&[named("a", 1), named("b", 2), named("c", 1)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].seen.starts_with("a and c are the same key"), "{found:?}");
    }
}
