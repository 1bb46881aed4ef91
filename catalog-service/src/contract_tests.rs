//! The built-in operations: each is described enough to be called, answers in its own words, and keeps its contract.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use plugboard_core::json_pointer::child;
use plugboard_core::manifest::{Effect, Manifest, Operation};
use serde_json::Value;

use crate::contract::{Contract, lines};
use crate::load;

fn manifests() -> Vec<Manifest> {
    let sources = load::built_in().unwrap();
    sources.iter().map(|source| load::manifest(source).unwrap()).collect()
}

/// Nothing but that it was done: no answer at all, or words that say the same whatever was asked for. Some vendors
/// answer so.
fn only_says_done(answer: &Value) -> bool {
    match answer {
        Value::Null | Value::Bool(true) => true,
        Value::Number(number) => number.as_u64() == Some(1),
        Value::String(text) => ["ok", "success"].contains(&text.to_lowercase().as_str()),
        Value::Object(members) => !members.is_empty() && members.values().all(only_says_done),
        Value::Bool(false) | Value::Array(_) => false,
    }
}

#[test]
fn every_answer_is_an_operations_own() {
    let manifests = manifests();
    let mut seen: HashMap<String, String> = HashMap::new();
    let (mut twice, mut done, mut silent) = (Vec::new(), Vec::new(), 0);
    for manifest in &manifests {
        for operation in &manifest.operations {
            let name = format!("{}.{}", manifest.key, operation.id);
            if only_says_done(&operation.response_example) {
                silent += usize::from(operation.response_example.is_null());
                done.push((name, operation.effect));
            } else if let Some(other) = seen.insert(operation.response_example.to_string(), name.clone()) {
                twice.push(format!("{name} answers as {other} does"));
            }
        }
    }
    println!(
        "{} answers, all different; {} only say that it was done, {silent} of them nothing",
        seen.len(),
        done.len()
    );
    assert!(twice.is_empty(), "{}", twice.join("\n"));
    // A read tells something; that keys are good, or an operation has ended, is one word.
    let reads: Vec<&String> = done.iter().filter(|(_, effect)| *effect == Effect::Read).map(|(name, _)| name).collect();
    assert_eq!(reads, ["datadog.validate_keys", "yandex_disk.get_operation"]);
    assert!(done.len() * 12 <= seen.len(), "{} operations only say that it was done", done.len());
}

#[test]
fn operations_describe_what_they_take() {
    let manifests = manifests();
    let operations = manifests.iter().flat_map(|manifest| manifest.operations.iter().map(move |one| (manifest, one)));
    let mut leaves: Vec<usize> =
        operations.map(|(manifest, operation)| Contract::of(manifest, operation).leaves()).collect();
    leaves.sort_unstable();
    let median = leaves[leaves.len() / 2];
    println!("{} typed arguments in {} operations, {median} at the median", leaves.iter().sum::<usize>(), leaves.len());
    assert!(median >= 3, "{median} typed arguments at the median");
}

const HEAD: &str = "\
# What callers rely on, an operation a line: how it is called | what it does | what it needs | a digest of all that
# binds its arguments (names, types, values, bounds). A line that changes is a change that callers notice:
# `plugboard connectors diff OLD NEW` says what it means for them.
";

#[test]
fn nobody_changes_a_contract_unseen() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/contracts.txt");
    let mut manifests = manifests();
    manifests.sort_by(|one, other| one.key.cmp(&other.key));
    let current: Vec<String> = manifests.iter().flat_map(lines).collect();
    if std::env::var_os("UPDATE_CONTRACTS").is_some() {
        std::fs::write(&path, format!("{HEAD}{}\n", current.join("\n"))).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let committed: HashSet<&str> = committed.lines().filter(|line| !line.starts_with('#')).collect();
    let is: HashSet<&str> = current.iter().map(String::as_str).collect();
    let mut changed: Vec<String> = committed.difference(&is).map(|line| format!("- {line}")).collect();
    changed.extend(is.difference(&committed).map(|line| format!("+ {line}")));
    changed.sort_by(|one, other| one[2..].cmp(&other[2..]));
    let update = "UPDATE_CONTRACTS=1 cargo test --profile ci -p catalog-service contract";
    assert!(changed.is_empty(), "callers notice this; when it is meant: {update}\n{}", changed.join("\n"));
}

/// Every `required`, value, type, and bound is in the digest, whichever operation has it.
#[test]
fn whatever_binds_a_caller_is_in_the_contract() {
    let mut count = 0;
    for manifest in manifests() {
        for operation in &manifest.operations {
            let digest = Contract::of(&manifest, operation).digest();
            for (what, mutant) in mutants(operation) {
                count += 1;
                let other = Contract::of(&manifest, &mutant).digest();
                assert_ne!(other, digest, "{}.{}: {what}", manifest.key, operation.id);
            }
        }
        for (name, list) in manifest.enums.iter().filter(|(name, _)| binds(&manifest, name)) {
            for value in list.keys() {
                count += 1;
                let mut mutant = manifest.clone();
                mutant.enums[name].shift_remove(value);
                assert_ne!(lines(&mutant), lines(&manifest), "{}: enums.{name} without {value}", manifest.key);
            }
        }
    }
    println!("{count} changes noticed");
    assert!(count >= 10_000, "{count} changes");
}

/// Whether a list is what some argument may be, and not only what its values mean.
fn binds(manifest: &Manifest, list: &str) -> bool {
    fn anywhere(schema: &Value, list: &str) -> bool {
        match schema {
            Value::Object(members) => {
                let here = members.get("x-enum").is_some_and(|name| name == list) && !members.contains_key("enum");
                here || members.values().any(|member| anywhere(member, list))
            }
            Value::Array(items) => items.iter().any(|item| anywhere(item, list)),
            _ => false,
        }
    }
    manifest.operations.iter().any(|operation| anywhere(&serde_json::to_value(operation).unwrap(), list))
}

/// The operation with one thing changed at a time.
fn mutants(operation: &Operation) -> Vec<(String, Operation)> {
    let whole = serde_json::to_value(operation).unwrap();
    let mut changes = vec![
        ("/effect".to_owned(), Value::from(if operation.effect == Effect::Read { "once" } else { "read" })),
        ("/method".to_owned(), Value::from(format!("{}X", operation.method))),
    ];
    if operation.body.is_some() {
        changes.push(("/body_required".to_owned(), Value::from(!operation.body_required)));
    }
    for part in ["query", "body"] {
        if let Some(schema) = whole.get(part) {
            visit(schema, &format!("/{part}"), &mut changes);
        }
    }
    let apply = |(place, value): (String, Value)| {
        let mut mutant = whole.clone();
        let (parent, name) = place.rsplit_once('/').unwrap();
        let parent = mutant.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        parent.insert(name.to_owned(), value.clone());
        (format!("{place}: {value}"), serde_json::from_value(mutant).unwrap())
    };
    changes.into_iter().map(apply).collect()
}

/// Other values for the keywords that bind, by place.
fn visit(schema: &Value, place: &str, changes: &mut Vec<(String, Value)>) {
    let Value::Object(members) = schema else {
        if let Value::Array(items) = schema {
            items.iter().enumerate().for_each(|(at, item)| visit(item, &format!("{place}/{at}"), changes));
        }
        return;
    };
    for (name, value) in members {
        let place = child(place, name);
        let mut change = |value: Value| changes.push((place.clone(), value));
        match (name.as_str(), value) {
            ("required", Value::Bool(required)) => change(Value::from(!required)),
            ("required" | "enum", Value::Array(listed)) => {
                for at in 0..listed.len() {
                    let mut fewer = listed.clone();
                    fewer.remove(at);
                    change(fewer.into());
                }
            }
            ("type", Value::String(kind)) => change(Value::from(if kind == "boolean" { "integer" } else { "boolean" })),
            ("minimum" | "maximum" | "minItems" | "maxItems" | "minLength" | "maxLength", Value::Number(bound)) => {
                let next =
                    bound.as_u64().map_or_else(|| Value::from(bound.as_f64().unwrap() + 1.0), |n| Value::from(n + 1));
                change(next);
            }
            ("pattern" | "format", Value::String(rule)) => change(Value::from(format!("{rule}x"))),
            _ => visit(value, &place, changes),
        }
    }
}
