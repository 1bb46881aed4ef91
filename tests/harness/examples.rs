//! The shipped manifests as test data: every operation with a call that fits it.

use std::sync::OnceLock;

use plugboard_core::manifest::{Manifest, Operation, Style};
use serde_json::{Map, Value, json};

use crate::stack::repository;

/// Every shipped manifest, sorted by key.
pub fn manifests() -> Vec<Manifest> {
    let mut found = Vec::new();
    let folder = repository().join("catalog-service/connectors");
    for category in std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        for file in std::fs::read_dir(category.path()).unwrap().flatten() {
            if file.path().extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(file.path()).unwrap();
                let manifest = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{:?}: {e}", file.path()));
                found.push(manifest);
            }
        }
    }
    found.sort_by(|one: &Manifest, other| one.key.cmp(&other.key));
    assert!(found.len() >= 99, "{} manifests", found.len());
    found
}

/// One of them, read once for all tests.
///
/// # Panics
/// When there is none with this key.
pub fn shipped(key: &str) -> Manifest {
    static ALL: OnceLock<Vec<Manifest>> = OnceLock::new();
    let found = ALL.get_or_init(manifests).iter().find(|manifest| manifest.key == key);
    found.unwrap_or_else(|| panic!("no connector {key}")).clone()
}

/// The operation's example as arguments of `connector_execute`.
pub fn example_call(manifest: &Manifest, operation: &Operation) -> Value {
    let mut call = Map::new();
    call.insert("service".into(), json!(manifest.key));
    call.insert("module".into(), json!(operation.module));
    call.insert("method".into(), json!(operation.method));
    if manifest.modules[&operation.module].style == Style::Rest {
        call.insert("path".into(), json!(example_path(operation)));
    }
    let Some(example) = &operation.request_example else { return call.into() };
    if !example.query.is_empty() {
        call.insert("query".into(), json!(example.query));
    }
    if let Some(body) = &example.body {
        call.insert("body".into(), body.clone());
    }
    call.into()
}

/// The path template with the example's parameters filled in.
pub fn example_path(operation: &Operation) -> String {
    let mut path = operation.path.clone().unwrap_or_default();
    for (name, value) in operation.request_example.iter().flat_map(|example| &example.path_params) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        path = path.replace(&format!("{{{name}+}}"), &text);
        path = path.replace(&format!("{{{name}}}"), &text.replace('/', "%2F"));
    }
    path
}
