//! Schemas of bodies.

use plugboard_core::json_pointer::child;
use plugboard_core::json_schema;
use plugboard_core::manifest::{BodyEncoding, Operation, body};
use serde_json::Value;

use super::Lint;

/// Keywords of the draft that manifests use, and ours. Another word is a mistake, such as a comma in a text that stands
/// without quotes: the draft would pass over it.
const KEYWORDS: [&str; 38] = [
    "type",
    "description",
    "properties",
    "required",
    "items",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "minItems",
    "maxItems",
    "uniqueItems",
    "prefixItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "dependentRequired",
    "default",
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "if",
    "then",
    "x-enum",
    "x-extensible-enum",
];

pub(super) fn check(lint: &mut Lint<'_>, pointer: &str, operation: &Operation) {
    let place = child(pointer, "body");
    let Some(schema) = &operation.body else {
        lint.want(!operation.body_required, &child(pointer, "body_required"), || "there is no body".to_owned());
        return;
    };
    walk(lint, schema, &place);
    let form = lint.manifest.body_encoding(&operation.module, Some(operation)) == BodyEncoding::Form;
    lint.want(form || operation.body_arrays.is_none(), &child(pointer, "body_arrays"), || {
        "belongs to body_encoding form".to_owned()
    });
    for error in json_schema::faults(schema) {
        let text: String = error.to_string().chars().take(200).collect();
        lint.add(&format!("{place}{}", error.instance_path().as_str()), text);
    }
    if let Err(error) = json_schema::compile(&body::resolved(lint.manifest, schema)) {
        lint.add(&place, format!("does not compile: {error}"));
    }
}

/// What the draft allows and we do not: references, words it does not know, lists that do not exist, required names
/// that nothing describes.
fn walk(lint: &mut Lint<'_>, schema: &Value, pointer: &str) {
    let Some(members) = schema.as_object() else {
        if let Value::Array(items) = schema {
            for (at, item) in items.iter().enumerate() {
                walk(lint, item, &format!("{pointer}/{at}"));
            }
        }
        return;
    };
    for (name, value) in members {
        let place = child(pointer, name);
        match (name.as_str(), value) {
            ("$ref" | "$dynamicRef", Value::String(_)) => lint.add(&place, "references are not allowed; write it out"),
            (_, Value::String(list)) if body::names_list(name) => {
                let known = lint.manifest.enums.contains_key(list);
                lint.want(known, &place, || format!("enums has no list {list}"));
                let array = members.get("type").is_some_and(|kind| kind == "array");
                lint.want(!array, &place, || "belongs to the items of an array".to_owned());
            }
            ("properties" | "patternProperties", Value::Object(properties)) => {
                for (name, property) in properties {
                    walk(lint, property, &child(&place, name));
                }
            }
            // Data, not schemas.
            ("enum" | "const" | "default" | "dependentRequired", _) => {}
            (known, _) => {
                lint.want(KEYWORDS.contains(&known), &place, || format!("{known:?} is no keyword"));
                walk(lint, value, &place);
            }
        }
    }
    let properties = members.get("properties").and_then(Value::as_object);
    if let (Some(properties), Some(Value::Array(required))) = (properties, members.get("required")) {
        for name in required.iter().filter_map(Value::as_str) {
            let described = properties.contains_key(name);
            lint.want(described, &child(pointer, "required"), || format!("{name} is not among the properties"));
        }
    }
}
