//! The schema of a body as calls are held to it: the lists that it names are written out.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::model::Manifest;

/// Keywords that name a list of the manifest. What is `x-extensible-enum` (the name others use, too) stays open: the list
/// tells the usual values, and the vendor has others.
pub fn names_list(keyword: &str) -> bool {
    matches!(keyword, "x-enum" | "x-extensible-enum")
}

/// Puts the values of a list where `x-enum` names it.
pub fn resolved(manifest: &Manifest, schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let mut all: Map<String, Value> =
                members.iter().map(|(name, member)| (name.clone(), resolved(manifest, member))).collect();
            let list = members.get("x-enum").and_then(Value::as_str).and_then(|name| manifest.enums.get(name));
            if let Some(list) = list.filter(|_| !members.contains_key("enum")) {
                all.insert("enum".to_owned(), values(list, members.get("type")));
            }
            all.into()
        }
        Value::Array(items) => items.iter().map(|item| resolved(manifest, item)).collect(),
        other => other.clone(),
    }
}

/// A list is keyed by text; where the schema wants numbers, its keys are numbers.
fn values(list: &IndexMap<String, String>, kind: Option<&Value>) -> Value {
    let named = |wanted: &str| match kind {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == wanted),
        Some(kind) => kind == wanted,
        None => false,
    };
    let numeric = (named("integer") || named("number")) && !named("string");
    let value = |key: &String| match key.parse::<serde_json::Number>() {
        Ok(number) if numeric => Value::Number(number),
        _ => Value::String(key.clone()),
    };
    list.keys().map(value).chain(named("null").then_some(Value::Null)).collect()
}
