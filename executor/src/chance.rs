//! What is drawn: random parts of waits, nonces. A simulation decides it for its own thread.

#[cfg(test)]
use plugboard_core::testing::{Random, drawn};

/// A number from 0 up to, but not including, 1.
pub(crate) fn fraction() -> f64 {
    #[cfg(test)]
    if let Some(fraction) = drawn(Random::fraction) {
        return fraction;
    }
    rand::random()
}

/// A number that no request has had before.
pub(crate) fn nonce() -> [u8; 16] {
    #[cfg(test)]
    if let Some(nonce) = drawn(|random| u128::from(random.next()) << 64 | u128::from(random.next())) {
        return nonce.to_be_bytes();
    }
    rand::random()
}
