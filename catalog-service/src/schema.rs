//! The JSON Schema of the manifest format: for editors (`# yaml-language-server: $schema=…`), and to report every
//! mistake of a file at once, where deserialization stops at the first.

use std::sync::OnceLock;

use plugboard_core::json_pointer::child;
use plugboard_core::json_schema::{self, ValidationErrorKind as Kind, Validator};
use plugboard_core::manifest::{Manifest, suggest};
use serde_json::Value;

use crate::lines::Lines;
use crate::load::{Finding, Source};

/// The schema.
pub fn manifest_schema() -> Value {
    let mut schema = schemars::schema_for!(Manifest).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), "Plugboard connector manifest".into());
    }
    schema
}

/// The schema as it stands in `schema/connector.schema.json`.
pub fn manifest_schema_text() -> String {
    format!("{:#}\n", manifest_schema())
}

fn validator() -> Option<&'static Validator> {
    static VALIDATOR: OnceLock<Option<Validator>> = OnceLock::new();
    VALIDATOR.get_or_init(|| json_schema::compile(&manifest_schema()).ok()).as_ref()
}

/// Every way in which the value is not a manifest.
pub(crate) fn findings(source: &Source, value: &Value) -> Vec<Finding> {
    let Some(validator) = validator() else { return Vec::new() };
    let mut findings = Vec::new();
    let mut lines = None;
    for error in validator.iter_errors(value) {
        let mut pointer = error.instance_path().as_str().to_owned();
        let message = match error.kind() {
            Kind::Required { property } => {
                format!("{} is missing", property.as_str().unwrap_or_default())
            }
            Kind::AdditionalProperties { unexpected } => {
                let known = known_properties(error.schema_path().as_str());
                let near = |name: &str| {
                    let best = suggest::nearest(name, known.iter().map(String::as_str), 1);
                    best.first().map(|best| format!(" (did you mean {best}?)")).unwrap_or_default()
                };
                if let Some(first) = unexpected.first() {
                    pointer = child(&pointer, first);
                }
                let names: Vec<String> = unexpected.iter().map(|name| format!("{name}{}", near(name))).collect();
                format!("unknown key {}", names.join(", "))
            }
            Kind::Enum { options } => format!("must be one of {options}"),
            _ => {
                let text = error.to_string();
                match text.char_indices().nth(200) {
                    Some((end, _)) => format!("{}…", &text[..end]),
                    None => text,
                }
            }
        };
        let line = lines.get_or_insert_with(|| Lines::of(&source.text)).at(&pointer);
        findings.push(Finding { file: source.file.clone(), line, place: place(&pointer, value), message });
    }
    findings
}

/// Names that the object schema at this keyword knows.
fn known_properties(schema_path: &str) -> Vec<String> {
    let schema = manifest_schema();
    let Some((object, _)) = schema_path.rsplit_once('/') else { return Vec::new() };
    // The path may lead through `$ref`s; the last definition on it is the object.
    let mut node = &schema;
    for step in object.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let next = match node.get("$ref").and_then(Value::as_str).and_then(|path| schema.pointer(&path[1..])) {
            Some(target) => target,
            None => node,
        };
        node = match step.as_str() {
            "$ref" => next,
            step => match next.get(step).or_else(|| step.parse().ok().and_then(|at: usize| next.get(at))) {
                Some(child) => child,
                None => return Vec::new(),
            },
        };
    }
    let properties = node.get("properties").and_then(Value::as_object);
    properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}

/// A pointer as a reader says it: dots, and operations by id.
pub(crate) fn place(pointer: &str, manifest: &Value) -> String {
    let mut words = Vec::new();
    let mut at = String::new();
    for step in pointer.split('/').skip(1) {
        at = format!("{at}/{step}");
        let id = match words.as_slice() {
            [first] if first == "operations" => manifest.pointer(&format!("{at}/id")).and_then(Value::as_str),
            _ => None,
        };
        let word = id.map_or_else(|| step.replace("~1", "/").replace("~0", "~"), str::to_owned);
        words.push(word);
    }
    words.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/connector.schema.json");
        let current = manifest_schema_text();
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/schema")).unwrap();
            std::fs::write(path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == current, "stale: UPDATE_SCHEMA=1 cargo test --profile ci -p catalog-service schema");
    }

    #[test]
    fn places_read_like_a_path() {
        let manifest = serde_json::json!({"operations": [{"id": "a", "query": {"x/y": {}}}]});
        assert_eq!(place("/operations/0/query/x~1y", &manifest), "operations.a.query.x/y");
        assert_eq!(place("", &manifest), "");
    }
}
