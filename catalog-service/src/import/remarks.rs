//! What was left out or made up. The same of many operations is one line.

use indexmap::IndexMap;

use super::names::some;

/// Operations that a line names.
const NAMED: usize = 3;

#[derive(Default)]
pub(super) struct Remarks {
    /// What is said, and of which operations; of the document when there are none.
    said: IndexMap<String, Vec<String>>,
}

impl Remarks {
    pub(super) fn document(&mut self, what: impl Into<String>) {
        self.said.entry(what.into()).or_default();
    }

    pub(super) fn operation(&mut self, id: &str, what: impl Into<String>) {
        let ids = self.said.entry(what.into()).or_default();
        if ids.last().is_none_or(|last| last != id) {
            ids.push(id.to_owned());
        }
    }

    /// What is said of operations.
    pub(super) fn of_operations(&self) -> String {
        let lines: Vec<String> = self.said.iter().filter(|(_, ids)| !ids.is_empty()).map(line).collect();
        lines.join("; ")
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.said.iter().map(line).collect()
    }
}

fn line((what, ids): (&String, &Vec<String>)) -> String {
    match ids.as_slice() {
        [] => what.clone(),
        [id] => format!("{id}: {what}"),
        ids => format!("{} operations: {what} ({})", ids.len(), some(ids, NAMED)),
    }
}
