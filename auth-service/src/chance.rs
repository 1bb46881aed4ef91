//! What is drawn where no secret depends on it: how early a token is renewed. A simulation decides it for its own thread.

pub(crate) fn number() -> u32 {
    #[cfg(test)]
    if let Some(number) = seeded::number() {
        return number;
    }
    getrandom::u32().unwrap_or(u32::MAX / 2)
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

    pub(super) fn number() -> Option<u32> {
        SOURCE.with_borrow_mut(|source| source.as_mut().map(|random| random.next() as u32))
    }
}
