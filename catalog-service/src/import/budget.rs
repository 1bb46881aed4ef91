//! How much of a schema is written out. Schemas refer to each other, so that written out a small document may have no end.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::Value;

/// Levels of nesting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// What callers send.
    Request = 5,
    /// What is only shown.
    Answer = 3,
}

/// What all schemas of a draft may have together, in members of objects and branches of choices: about as much as a manifest
/// has room for.
const OF_REQUESTS: usize = 60_000;
const OF_ANSWERS: usize = 12_000;

/// What each schema may have. The more operations a draft has, the less there is for each.
pub(super) struct Budgets {
    request: usize,
    answer: usize,
    /// How deep a schema was written before.
    known: RefCell<HashMap<(*const Value, Reach), usize>>,
}

impl Budgets {
    /// `part` of what is usual: a half, a quarter.
    pub(super) fn for_operations(count: usize, part: usize) -> Self {
        let request = (OF_REQUESTS / count.max(1) / part).clamp(10, 300);
        let answer = (OF_ANSWERS / count.max(1) / part).clamp(4, 60);
        Self { request, answer, known: RefCell::default() }
    }

    /// Goes as deep as the budget allows, everywhere alike: what is written of one member does not depend on the size of
    /// another that stands before it. The first level is written whatever it costs. `shared` is a schema that other places
    /// refer to as well, so that the depth is not sought again.
    pub(super) fn deepest<T>(
        &self,
        reach: Reach,
        shared: Option<&Value>,
        mut write: impl FnMut(usize, &mut Budget) -> T,
    ) -> T {
        let key = shared.map(|schema| (std::ptr::from_ref(schema), reach));
        let known = key.and_then(|key| self.known.borrow().get(&key).copied());
        let parts = if reach == Reach::Request { self.request } else { self.answer };
        for depth in (2..=known.unwrap_or(reach as usize)).rev() {
            let mut budget = Budget { left: parts, is_spent: false };
            let written = write(depth, &mut budget);
            if !budget.is_spent {
                self.remember(key, depth);
                return written;
            }
        }
        self.remember(key, 1);
        write(1, &mut Budget { left: usize::MAX, is_spent: false })
    }

    fn remember(&self, key: Option<(*const Value, Reach)>, depth: usize) {
        if let Some(key) = key {
            self.known.borrow_mut().insert(key, depth);
        }
    }
}

pub(super) struct Budget {
    left: usize,
    is_spent: bool,
}

impl Budget {
    /// Whether so many parts more may be written.
    pub(super) fn take(&mut self, parts: usize) -> bool {
        self.is_spent |= parts > self.left;
        self.left = self.left.saturating_sub(parts);
        !self.is_spent
    }
}
