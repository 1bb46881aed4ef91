//! Random parts of waits. A simulation decides them for its own thread.

/// A number from 0 up to, but not including, 1.
pub(crate) fn fraction() -> f64 {
    #[cfg(test)]
    if let Some(fraction) = seeded::fraction() {
        return fraction;
    }
    rand::random()
}

#[cfg(test)]
pub(crate) mod seeded {
    use std::cell::RefCell;

    use crate::simulation::Random;

    thread_local! {
        static SOURCE: RefCell<Option<Random>> = const { RefCell::new(None) };
    }

    /// What this thread draws from now on comes from here; `None`: from anywhere.
    pub(crate) fn from(source: Option<Random>) {
        SOURCE.set(source);
    }

    pub(super) fn fraction() -> Option<f64> {
        SOURCE.with_borrow_mut(|source| source.as_mut().map(Random::fraction))
    }
}
