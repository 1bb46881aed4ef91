//! What an API key looks like: `sk-org-` or `sk-op-`, 43 base62 characters (32 random bytes), 6 of CRC-32.
//!
//! The checksum is for people and secret scanners: a garbled key is recognised without asking anybody. It is no
//! protection; that is the 256 random bits.

use hmac::{Hmac, KeyInit, Mac};
use plugboard_core::secret::{Secret, SecretKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// ⌈256 / log2 62⌉
const RANDOM: usize = 43;
/// ⌈32 / log2 62⌉
const CHECKSUM: usize = 6;
/// Characters of a key that lists show, to recognise it by.
const SHOWN: usize = 12;

/// Whom a key speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Organization,
    Operator,
}

impl Kind {
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Organization => "sk-org-",
            Self::Operator => "sk-op-",
        }
    }
}

/// A new key.
///
/// # Errors
/// When the machine has no randomness to give.
pub fn generate(kind: Kind) -> Result<Secret, getrandom::Error> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *random)?;
    Ok(from_random(kind, &random))
}

fn from_random(kind: Kind, random: &[u8; 32]) -> Secret {
    // Reserved whole, so that no part of the key stays behind in memory as the text grows.
    let mut text = String::with_capacity(kind.prefix().len() + RANDOM + CHECKSUM);
    text.push_str(kind.prefix());
    push_base62(&mut text, random, RANDOM);
    let checksum = crc32fast::hash(text.as_bytes()).to_be_bytes();
    push_base62(&mut text, &checksum, CHECKSUM);
    Secret::new(text)
}

/// The kind of a well-formed key; `None` for anything that was never one.
pub fn parse(key: &Secret) -> Option<Kind> {
    let text = key.expose();
    let kind = [Kind::Organization, Kind::Operator].into_iter().find(|kind| text.starts_with(kind.prefix()))?;
    let digits = &text.as_bytes()[kind.prefix().len()..];
    if digits.len() != RANDOM + CHECKSUM || !digits.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let (body, checksum) = text.split_at(text.len() - CHECKSUM);
    let mut expected = String::with_capacity(CHECKSUM);
    push_base62(&mut expected, &crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM);
    (checksum == expected).then_some(kind)
}

/// The part of a key that may be shown.
pub fn shown(key: &Secret) -> String {
    key.expose().chars().take(SHOWN).collect()
}

/// What is stored of a key: HMAC-SHA-256 under a pepper that the store does not hold.
pub(crate) fn hash(pepper: &SecretKey, key: &Secret) -> [u8; 32] {
    let mut mac = match Hmac::<Sha256>::new_from_slice(pepper.expose()) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    mac.update(key.expose().as_bytes());
    mac.finalize().into_bytes().into()
}

/// Where a key's record is: a half of the hash of its hash. How far a look-up came in comparing names therefore says
/// nothing about the hash, which is compared apart and in constant time.
pub(crate) fn place(hash: &[u8; 32]) -> String {
    hex::encode(&Sha256::digest(hash)[..16])
}

/// Big-endian number in base 62, `width` digits with leading zeros.
fn push_base62(text: &mut String, number: &[u8], width: usize) {
    let mut rest = Zeroizing::new(number.to_vec());
    let mut digits = Zeroizing::new(vec![0_u8; width]);
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u16;
        for byte in rest.iter_mut() {
            let value = (remainder << 8) | u16::from(*byte);
            // Below 62 × 256 / 62 = 256 and below 62: neither conversion loses anything.
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = DIGITS[usize::from(remainder)];
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_in_base_62() {
        let base62 = |number: &[u8], width| {
            let mut text = String::new();
            push_base62(&mut text, number, width);
            text
        };
        assert_eq!(base62(&[0; 32], RANDOM), "0".repeat(43));
        assert_eq!(base62(&[61], 2), "0z");
        assert_eq!(base62(&[62], 2), "10");
        assert_eq!(base62(&u32::MAX.to_be_bytes(), CHECKSUM), "4gfFC3");
        // 2^256 - 1 has exactly 43 digits.
        assert!(!base62(&[0xff; 32], RANDOM).starts_with('0'));
    }

    #[test]
    fn the_format_is_fixed() {
        let key = from_random(Kind::Organization, &[7; 32]);
        assert_eq!(key.expose().len(), 7 + 43 + 6);
        assert_eq!(shown(&key).len(), 12);
        assert!(shown(&key).starts_with("sk-org-"));
        assert_eq!(parse(&from_random(Kind::Operator, &[7; 32])), Some(Kind::Operator));
        // Keys given out must stay valid: this is one.
        assert_eq!(key.expose(), "sk-org-1fJjkkpe9PiTw9KSulA8Ghct30vZz4HpdQ5c5b9cPF12T0MUH");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "sk-org-", "sk-op-", "sk-org-x", "Bearer sk-org-", "sk-org-ключ"] {
            assert_eq!(parse(&Secret::new(text)), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_generated_key_is_a_key(random: [u8; 32], operator: bool) {
            let kind = if operator { Kind::Operator } else { Kind::Organization };
            prop_assert_eq!(parse(&from_random(kind, &random)), Some(kind));
        }

        #[test]
        fn a_garbled_key_is_noticed(random: [u8; 32], at in 7_usize..56, to in "[0-9A-Za-z]") {
            let key = from_random(Kind::Organization, &random);
            let mut text = key.expose().to_owned();
            text.replace_range(at..=at, &to);
            let same = text == key.expose();
            prop_assert_eq!(parse(&Secret::new(text)).is_some(), same);
        }

        #[test]
        fn a_key_with_something_missing_or_added_is_noticed(random: [u8; 32], cut in 0_usize..56, tail in "[0-9A-Za-z]{1,3}") {
            let key = from_random(Kind::Organization, &random);
            prop_assert!(parse(&Secret::new(&key.expose()[..cut])).is_none());
            let longer = format!("{}{tail}", key.expose());
            prop_assert!(parse(&Secret::new(longer)).is_none());
        }

        #[test]
        fn anything_can_be_parsed(text in "\\PC{0,70}") {
            let _ = parse(&Secret::new(text));
        }
    }

    #[test]
    fn the_hash_depends_on_the_pepper() {
        let key = from_random(Kind::Organization, &[7; 32]);
        let (a, b) = (SecretKey::new([1; 32]), SecretKey::new([2; 32]));
        assert_eq!(hash(&a, &key), hash(&a, &key));
        assert_ne!(hash(&a, &key), hash(&b, &key));
        assert_ne!(place(&hash(&a, &key)), hex::encode(&hash(&a, &key)[..16]));
    }
}
