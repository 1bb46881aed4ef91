//! What a change of manifests means for callers. Operations are compared by how they are called, since that is what a
//! caller writes; their ids and the names of path parameters are ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use plugboard_core::manifest::{Effect, Manifest, Operation};
use serde_json::Value;

use crate::contract::{Contract, Field};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// A call that was fine is refused now, or does something else.
    pub breaks: bool,
    /// `ozon`, or `ozon.list_products`.
    pub place: String,
    pub message: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.breaks { "BREAKS" } else { "      " };
        write!(f, "{mark} {}: {}", self.place, self.message)
    }
}

/// Differences between two sets of manifests, matched by key.
pub fn catalogs(old: &[Manifest], new: &[Manifest]) -> Vec<Change> {
    let by_key = |manifests: &[Manifest]| -> BTreeMap<String, Manifest> {
        manifests.iter().map(|manifest| (manifest.key.clone(), manifest.clone())).collect()
    };
    let (old, new) = (by_key(old), by_key(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) => changes.extend(connectors(old, new)),
            (Some(_), None) => changes.push(change(true, key, "connector removed")),
            (None, _) => changes.push(change(false, key, "connector added")),
        }
    }
    changes
}

/// Differences between two manifests of one connector.
pub fn connectors(old: &Manifest, new: &Manifest) -> Vec<Change> {
    let key = &new.key;
    let mut changes = Vec::new();
    if old.admin_only != new.admin_only {
        let message = if new.admin_only { "is for admins only" } else { "is for everybody, not for admins only" };
        changes.push(change(new.admin_only, key, message));
    }
    let headers = |manifest: &Manifest| -> BTreeSet<String> {
        manifest.transport.caller_headers.iter().map(|name| name.to_ascii_lowercase()).collect()
    };
    let (before, after) = (headers(old), headers(new));
    before.difference(&after).for_each(|name| changes.push(change(true, key, format!("header {name} not taken"))));
    after.difference(&before).for_each(|name| changes.push(change(false, key, format!("header {name} taken"))));
    for (name, module) in &old.modules {
        // One that is gone takes its operations along, and they are named below.
        let closed = new.modules.get(name).map_or(module.open, |now| module.open && !now.open);
        if closed {
            changes.push(change(true, key, format!("module {name} takes described calls only")));
        }
    }
    let (before, after) = (by_call(old), by_call(new));
    for (call, operation) in &before {
        match after.get(call) {
            None => changes.push(change(true, &place(old, operation), format!("removed: {call}"))),
            Some(now) => operations(old, operation, new, now, &mut changes),
        }
    }
    for (call, operation) in after.iter().filter(|(call, _)| !before.contains_key(*call)) {
        changes.push(change(false, &place(new, operation), format!("added: {call}")));
    }
    changes
}

fn change(breaks: bool, place: &str, message: impl Into<String>) -> Change {
    Change { breaks, place: place.to_owned(), message: message.into() }
}

fn place(manifest: &Manifest, operation: &Operation) -> String {
    format!("{}.{}", manifest.key, operation.id)
}

/// Operations by module, method and path, in which parameters have no names.
fn by_call(manifest: &Manifest) -> BTreeMap<String, &Operation> {
    let key = |operation: &Operation| {
        let mut path = operation.path.clone().unwrap_or_default();
        for name in operation.path_params.keys() {
            path = path.replace(&format!("{{{name}}}"), "{}").replace(&format!("{{{name}+}}"), "{+}");
        }
        format!("{} {} {path}", operation.module, operation.method).trim_end().to_owned()
    };
    manifest.operations.iter().map(|operation| (key(operation), operation)).collect()
}

/// Names of path parameters in the order of the path.
fn path_names(operation: &Operation) -> Vec<&String> {
    let path = operation.path.as_deref().unwrap_or_default();
    let mut names: Vec<(usize, &String)> = operation
        .path_params
        .keys()
        .filter_map(|name| {
            Some((path.find(&format!("{{{name}}}")).or_else(|| path.find(&format!("{{{name}+}}")))?, name))
        })
        .collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

fn operations(old: &Manifest, before: &Operation, new: &Manifest, after: &Operation, changes: &mut Vec<Change>) {
    let place = place(new, after);
    let (mut was, is) = (Contract::of(old, before), Contract::of(new, after));
    let renamed: Vec<(String, Field)> = path_names(before)
        .into_iter()
        .zip(path_names(after))
        .filter_map(|(before, after)| Some((format!("path.{after}"), was.fields.remove(&format!("path.{before}"))?)))
        .collect();
    was.fields.extend(renamed);
    if was.effect != is.effect {
        changes.push(change(is.effect > was.effect, &place, effect(was.effect, is.effect)));
    }
    for (name, field) in &was.fields {
        match is.fields.get(name) {
            Some(now) => fields(&place, name, field, now, changes),
            None if is_deep(field, &is) => {}
            None => {
                let refused = name == "body" || name.starts_with("query.") || is_closed(field, &is);
                let what = if refused { "is refused" } else { "is no longer described" };
                changes.push(change(refused, &place, format!("{name} {what}")));
            }
        }
    }
    for (name, field) in is.fields.iter().filter(|(name, _)| !was.fields.contains_key(*name)) {
        if !is_deep(field, &was) {
            let what = if field.required { "is new and required" } else { "is new" };
            changes.push(change(field.required, &place, format!("{name} {what}")));
        }
    }
}

fn effect(was: Effect, is: Effect) -> String {
    format!("effect was {}, is {}", was.as_str(), is.as_str())
}

/// What holds the field is not there either, and that is said once.
fn is_deep(field: &Field, contract: &Contract) -> bool {
    field.parent.as_ref().is_some_and(|parent| !contract.fields.contains_key(parent))
}

/// Nothing undescribed may stand beside the field.
fn is_closed(field: &Field, contract: &Contract) -> bool {
    let holder = field.parent.as_ref().and_then(|parent| contract.fields.get(parent));
    holder.is_some_and(|holder| holder.rules.get("additionalProperties") == Some(&Value::Bool(false)))
}

fn fields(place: &str, name: &str, was: &Field, is: &Field, changes: &mut Vec<Change>) {
    let mut add = |breaks, message: String| changes.push(change(breaks, place, format!("{name} {message}")));
    match (was.required, is.required) {
        (false, true) => add(true, "is required now".to_owned()),
        (true, false) => add(false, "is not required any more".to_owned()),
        _ => {}
    }
    let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if was.types != is.types {
        let taken = |kind: &String| is.types.contains(kind) || kind == "integer" && is.types.contains("number");
        let narrower = !is.types.is_empty() && (was.types.is_empty() || !was.types.iter().all(taken));
        let words = |set: &BTreeSet<String>| if set.is_empty() { "anything".to_owned() } else { list(set) };
        add(narrower, format!("was {}, is {}", words(&was.types), words(&is.types)));
    }
    if was.values != is.values {
        match (was.values.is_empty(), is.values.is_empty()) {
            (true, _) => add(true, format!("takes only {}", list(&is.values))),
            (_, true) => add(false, "takes other values, too".to_owned()),
            _ => {
                let lost: BTreeSet<String> = was.values.difference(&is.values).cloned().collect();
                let gained: BTreeSet<String> = is.values.difference(&was.values).cloned().collect();
                if !lost.is_empty() {
                    add(true, format!("does not take {}", list(&lost)));
                }
                if !gained.is_empty() {
                    add(false, format!("takes {}, too", list(&gained)));
                }
            }
        }
    }
    let rules: BTreeSet<&String> = was.rules.keys().chain(is.rules.keys()).collect();
    for rule in rules {
        match (was.rules.get(rule), is.rules.get(rule)) {
            (before, after) if before == after => {}
            (_, None) => add(false, format!("has no {rule} any more")),
            (before, Some(after)) => {
                let was = before.map_or("none".to_owned(), Value::to_string);
                add(narrows(rule, before, after), format!("{rule} was {was}, is {after}"));
            }
        }
    }
}

/// Whether a rule that is new or another refuses what was taken before. Of a pattern nobody can tell.
fn narrows(rule: &str, before: Option<&Value>, after: &Value) -> bool {
    let (Some(before), Some(after)) = (before.and_then(Value::as_f64), after.as_f64()) else {
        return rule != "additionalProperties" || after == &Value::Bool(false);
    };
    if rule.starts_with("min") || rule == "exclusiveMinimum" { after > before } else { after < before }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
