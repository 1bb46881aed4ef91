//! Bytes that stand in a JSON string as they are: neither quote, backslash nor control character. Eight at a time.

/// Bytes of one step.
pub(super) const WORD: usize = 8;

const LOWEST: u64 = u64::from_le_bytes([0x01; WORD]);
const HIGHEST: u64 = u64::from_le_bytes([0x80; WORD]);

/// How many bytes at the start of the word are plain.
pub(super) fn in_word(word: [u8; WORD]) -> usize {
    let word = u64::from_le_bytes(word);
    // The highest bit of each byte that is less than `limit` (at most 0x80). A borrow may mark bytes above one that is
    // marked rightly, never below.
    let less = |word: u64, limit: u8| word.wrapping_sub(LOWEST * u64::from(limit)) & !word & HIGHEST;
    let equal = |byte: u8| less(word ^ (LOWEST * u64::from(byte)), 1);
    let found = less(word, 0x20) | equal(b'"') | equal(b'\\');
    found.trailing_zeros() as usize / WORD
}

/// How many bytes at the start are plain.
pub(super) fn run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<WORD>()) {
        let plain = in_word(*word);
        at += plain;
        if plain < WORD {
            return at;
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| is_plain(**byte)).count()
}

fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_and_bytes_agree(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x1e_u8..0x24, 0x5a_u8..0x5e, 0x7e_u8..0x82], 0..40)) {
            let expected = bytes.iter().take_while(|byte| is_plain(**byte)).count();
            prop_assert_eq!(run(&bytes), expected);
        }
    }
}
