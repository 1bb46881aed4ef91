//! How much of a schema is written out. Schemas refer to each other, so that written out a small document may have no end.

/// Members of objects and branches of choices.
const PARTS: usize = 300;

/// Levels of nesting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// What callers send.
    Request = 5,
    /// What is only shown.
    Answer = 3,
}

pub(super) struct Budget {
    left: usize,
    pub(super) is_spent: bool,
}

impl Budget {
    fn new() -> Self {
        Self { left: PARTS, is_spent: false }
    }

    /// Whether so many parts more may be written.
    pub(super) fn take(&mut self, parts: usize) -> bool {
        self.is_spent |= parts > self.left;
        self.left = self.left.saturating_sub(parts);
        !self.is_spent
    }
}

/// Goes as deep as the budget allows, everywhere alike: what is written of one member does not depend on the size of
/// another that stands before it. The first level is written whatever it costs.
pub(super) fn deepest<T>(reach: Reach, mut write: impl FnMut(usize, &mut Budget) -> T) -> T {
    for depth in (2..=reach as usize).rev() {
        let mut budget = Budget::new();
        let written = write(depth, &mut budget);
        if !budget.is_spent {
            return written;
        }
    }
    write(1, &mut Budget { left: usize::MAX, is_spent: false })
}
