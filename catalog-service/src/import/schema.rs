//! Schemas of documents → the small ones of manifests: types, requirements, enums, formats and ranges.

use serde_json::{Map, Value, json};

use super::document::Document;
use super::sentence;

/// Deeper objects are left open.
const DEEPEST: usize = 5;

/// Keywords that mean the same there and here.
const KEPT: [&str; 9] =
    ["enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default"];

const FORMATS: [&str; 6] = ["date", "date-time", "uuid", "uri", "email", "byte"];

pub(super) fn small(document: &Document, schema: &Value, depth: usize) -> Value {
    let whole = merged(document, schema);
    let mut small = Map::new();
    let kind = kind(&whole);
    small.insert("type".to_owned(), kind.into());
    if let Some(description) = whole.get("description").and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
        small.insert("description".to_owned(), sentence(description, 100).trim_end_matches('.').into());
    }
    if let Some(format) = whole.get("format").and_then(Value::as_str).filter(|format| FORMATS.contains(format)) {
        small.insert("format".to_owned(), format.into());
    }
    for keyword in KEPT {
        if let Some(value) = whole.get(keyword).filter(|value| !value.is_null()) {
            small.insert(keyword.to_owned(), value.clone());
        }
    }
    match kind {
        "array" => {
            let items = whole.get("items").filter(|_| depth < DEEPEST);
            let items =
                items.map_or_else(|| json!({ "type": "object" }), |items| self::small(document, items, depth + 1));
            small.insert("items".to_owned(), items);
        }
        "object" if depth < DEEPEST => {
            let properties = whole.get("properties").and_then(Value::as_object).into_iter().flatten();
            let writable = properties.filter(|(_, one)| one.get("readOnly") != Some(&Value::Bool(true)));
            let properties: Map<String, Value> =
                writable.map(|(name, one)| (name.clone(), self::small(document, one, depth + 1))).collect();
            let required = whole.get("required").and_then(Value::as_array).into_iter().flatten();
            let required: Vec<Value> = required
                .filter(|name| name.as_str().is_some_and(|name| properties.contains_key(name)))
                .cloned()
                .collect();
            if !properties.is_empty() {
                small.insert("properties".to_owned(), Value::Object(properties));
            }
            if !required.is_empty() {
                small.insert("required".to_owned(), required.into());
            }
        }
        _ => {}
    }
    Value::Object(small)
}

/// The schema with everything that `allOf` adds; of alternatives, the first.
pub(super) fn merged(document: &Document, schema: &Value) -> Map<String, Value> {
    let schema = document.resolve(schema);
    let mut whole = schema.as_object().cloned().unwrap_or_default();
    let parts = whole.remove("allOf").and_then(|parts| parts.as_array().cloned()).unwrap_or_default();
    let first = |list: Option<Value>| list.and_then(|list| list.as_array()?.first().cloned());
    let alternative = first(whole.remove("oneOf")).or_else(|| first(whole.remove("anyOf")));
    for part in parts.iter().chain(&alternative) {
        // A part that is the whole again would not end.
        if document.resolve(part) == schema {
            continue;
        }
        for (keyword, value) in merged(document, part) {
            match (whole.get_mut(&keyword), value) {
                (Some(Value::Object(mine)), Value::Object(more)) => mine.extend(more),
                (Some(Value::Array(mine)), Value::Array(more)) => mine.extend(more),
                (Some(_), _) => {}
                (None, value) => {
                    whole.insert(keyword, value);
                }
            }
        }
    }
    whole
}

/// One of the types; a schema that names none is what its keywords are for.
pub(super) fn kind(schema: &Map<String, Value>) -> &'static str {
    let named = match schema.get("type") {
        Some(Value::String(one)) => Some(one.as_str()),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).find(|one| *one != "null"),
        _ => None,
    };
    match named {
        Some("integer") => "integer",
        Some("number") => "number",
        Some("boolean") => "boolean",
        Some("array") => "array",
        Some("object") => "object",
        Some(_) => "string",
        None if schema.contains_key("properties") || schema.contains_key("additionalProperties") => "object",
        None if schema.contains_key("items") => "array",
        None if schema.is_empty() => "object",
        None => "string",
    }
}
