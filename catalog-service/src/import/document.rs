//! The document as it is, and what its references lead to.

use std::cell::RefCell;
use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::ImportError;
use super::budget::Budgets;
use super::names::some;
use super::remarks::Remarks;
use crate::yaml;

/// References that lead to references.
const HOPS: usize = 16;
/// References that a remark names.
const NAMED: usize = 3;

pub(super) struct Document {
    root: Value,
    pub(super) budgets: Budgets,
    /// References that lead nowhere.
    lost: RefCell<BTreeSet<String>>,
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, ImportError> {
        let unreadable = |error: &dyn std::fmt::Display| ImportError::Unreadable(error.to_string());
        // JSON is YAML, but its own parser is faster and has no bounds meant for short files.
        let root: Value = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text).map_err(|error| unreadable(&error))?,
            false => yaml::parse(text).map_err(|error| unreadable(&error))?,
        };
        let this = Self { root, budgets: Budgets::for_operations(1, 1), lost: RefCell::default() };
        let is = |pointer: &str, version: &str| this.text(pointer).is_some_and(|text| text.starts_with(version));
        if is("/openapi", "3.") || is("/swagger", "2.") { Ok(this) } else { Err(ImportError::NotOpenApi) }
    }

    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.root.pointer(pointer)
    }

    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer)?.as_str().filter(|text| !text.trim().is_empty())
    }

    /// Swagger 2.0, whose parameters travel otherwise unless they say so.
    pub(super) fn is_older(&self) -> bool {
        self.root.get("swagger").is_some()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.root.get("paths").and_then(Value::as_object).into_iter().flatten()
    }

    /// What a reference inside the document stands for; `null` when it leads nowhere, which is noted.
    pub(super) fn resolve<'a>(&'a self, mut value: &'a Value) -> &'a Value {
        for _ in 0..HOPS {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
            let Some(found) = self.target(reference) else {
                self.lost.borrow_mut().insert(reference.to_owned());
                return &Value::Null;
            };
            value = found;
        }
        &Value::Null
    }

    /// A fragment is a pointer in the form of a URL (RFC 6901, section 6).
    fn target(&self, reference: &str) -> Option<&Value> {
        let pointer = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
        self.root.pointer(&pointer)
    }

    /// Whether its paths are only pointers to other files.
    pub(super) fn lies_elsewhere(&self) -> bool {
        let elsewhere = |item: &Value| item.get("$ref").and_then(Value::as_str).is_some_and(|to| !to.starts_with('#'));
        self.paths().next().is_some() && self.paths().all(|(_, item)| elsewhere(item))
    }

    /// Says which references led nowhere.
    pub(super) fn tell_lost(&self, remarks: &mut Remarks) {
        let lost = self.lost.borrow();
        let (inside, outside): (Vec<_>, Vec<_>) = lost.iter().partition(|reference| reference.starts_with('#'));
        let tell = |lost: &[&String], why: &str| {
            format!("{} references {why}: {}; what they stand for is left open", lost.len(), some(lost, NAMED))
        };
        if !inside.is_empty() {
            remarks.document(tell(&inside, "lead nowhere"));
        }
        if !outside.is_empty() {
            remarks.document(tell(&outside, "lead to other files (bundle the document first: `redocly bundle`)"));
        }
    }
}
