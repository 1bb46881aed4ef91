//! Values that documents give, as the types want them.

use plugboard_core::json_schema;
use serde_json::{Map, Number, Value};

/// Whether a value is of a type of JSON Schema.
pub(super) fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

/// The value in one of the types: documents write `"false"` and `1` where they mean `false` and `"1"`.
pub(super) fn convert(types: &[&str], value: &Value) -> Option<Value> {
    if types.is_empty() || types.iter().any(|kind| is_of(kind, value)) {
        return Some(value.clone());
    }
    types.iter().find_map(|kind| match (*kind, value) {
        ("string", Value::Number(number)) => Some(number.to_string().into()),
        ("string", Value::Bool(flag)) => Some(flag.to_string().into()),
        ("boolean", Value::String(text)) => text.trim().to_ascii_lowercase().parse().ok().map(Value::Bool),
        ("integer", Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        ("integer", Value::Number(number)) => whole(number),
        ("number", Value::String(text)) => text.trim().parse::<Number>().ok().map(Value::Number),
        _ => None,
    })
}

/// `5.0` is an integer to JSON Schema.
fn whole(number: &Number) -> Option<Value> {
    let exact = |number: f64| number.fract() == 0.0 && number.abs() < 9e15;
    number.as_f64().filter(|number| exact(*number)).map(|number| (number as i64).into())
}

/// Whether a value is what a schema of a manifest wants.
pub(super) fn fits(schema: &Value, value: &Value) -> bool {
    let only_typed =
        |members: &Map<String, Value>| members.keys().all(|name| matches!(name.as_str(), "type" | "description"));
    match (schema.get("type"), schema.as_object()) {
        (Some(Value::String(kind)), Some(members)) if only_typed(members) => is_of(kind, value),
        _ => json_schema::compile(schema).is_ok_and(|validator| validator.is_valid(value)),
    }
}
