//! The part of a document that is drafted.

use indexmap::IndexMap;
use serde_json::Value;

use super::document::Document;
use super::names::some;

/// Tags that are named where one is to be chosen.
const NAMED: usize = 20;

/// What is asked for; everything when nothing is.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// An operation has one of these.
    pub tags: Vec<String>,
    /// Its path begins with one of these.
    pub paths: Vec<String>,
}

impl Selection {
    pub(super) fn takes(&self, path: &str, operation: &Value) -> bool {
        let tagged = || tags(operation).any(|tag| self.tags.iter().any(|wanted| wanted.eq_ignore_ascii_case(tag)));
        (self.tags.is_empty() || tagged())
            && (self.paths.is_empty() || self.paths.iter().any(|start| path.starts_with(start.as_str())))
    }

    /// How many operations of the document it takes, about: other members of a path count as well.
    pub(super) fn count(&self, document: &Document) -> usize {
        let of_path = |(path, item): (&String, &Value)| {
            let members = document.resolve(item).as_object().into_iter().flatten();
            members.filter(|(_, operation)| operation.is_object() && self.takes(path, operation)).count()
        };
        document.paths().map(of_path).sum()
    }

    pub(super) fn is_everything(&self) -> bool {
        self.tags.is_empty() && self.paths.is_empty()
    }
}

fn tags(operation: &Value) -> impl Iterator<Item = &str> {
    operation.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The tags of a document with how many operations each has, the greatest first.
pub(super) fn choices(document: &Document) -> String {
    let mut counted: IndexMap<&str, usize> = IndexMap::new();
    for (_, item) in document.paths() {
        for operation in document.resolve(item).as_object().into_iter().flatten().map(|(_, operation)| operation) {
            tags(operation).for_each(|tag| *counted.entry(tag).or_default() += 1);
        }
    }
    if counted.is_empty() {
        return "it has no tags".to_owned();
    }
    counted.sort_by(|_, a, _, b| b.cmp(a));
    let named: Vec<String> = counted.iter().map(|(tag, count)| format!("{tag} ({count})")).collect();
    format!("its tags are {}", some(&named, NAMED))
}
