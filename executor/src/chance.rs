//! What is drawn: random parts of waits, nonces. A simulation decides it for its own thread.

/// A number from 0 up to, but not including, 1.
pub(crate) fn fraction() -> f64 {
    #[cfg(test)]
    if let Some(fraction) = seeded::fraction() {
        return fraction;
    }
    rand::random()
}

/// A number that no request has had before.
pub(crate) fn nonce() -> [u8; 16] {
    #[cfg(test)]
    if let Some(nonce) = seeded::nonce() {
        return nonce;
    }
    rand::random()
}

#[cfg(test)]
pub(crate) mod seeded {
    use std::cell::RefCell;

    use plugboard_core::testing::Random;

    thread_local! {
        static SOURCE: RefCell<Option<Random>> = const { RefCell::new(None) };
    }

    /// What this thread draws from now on comes from here; `None`: from anywhere.
    pub(crate) fn from(source: Option<Random>) {
        SOURCE.set(source);
    }

    pub(super) fn nonce() -> Option<[u8; 16]> {
        let two = |random: &mut Random| u128::from(random.next()) << 64 | u128::from(random.next());
        SOURCE.with_borrow_mut(|source| source.as_mut().map(|random| two(random).to_be_bytes()))
    }

    pub(super) fn fraction() -> Option<f64> {
        SOURCE.with_borrow_mut(|source| source.as_mut().map(Random::fraction))
    }
}
