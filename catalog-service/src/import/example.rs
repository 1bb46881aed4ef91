//! A value that fits a small schema, where the document shows none.

use serde_json::{Map, Value, json};

pub(super) fn of(schema: &Value) -> Value {
    let said = |keyword: &str| schema.get(keyword);
    if let Some(value) = said("default").or_else(|| said("enum").and_then(|values| values.get(0))) {
        return value.clone();
    }
    let number =
        |default: i64| said("minimum").filter(|least| least.is_number()).cloned().unwrap_or_else(|| default.into());
    match said("type").and_then(Value::as_str).unwrap_or_default() {
        "integer" => number(1),
        "number" => number(10),
        "boolean" => true.into(),
        "array" => json!([said("items").map(of).unwrap_or_default()]),
        "object" => {
            let properties = said("properties").and_then(Value::as_object).into_iter().flatten();
            Value::Object(properties.map(|(name, schema)| (name.clone(), of(schema))).collect::<Map<_, _>>())
        }
        _ => text(schema).into(),
    }
}

fn text(schema: &Value) -> String {
    let number =
        |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok());
    let text = match schema.get("format").and_then(Value::as_str).unwrap_or_default() {
        "date" => return "2026-04-15".to_owned(),
        "date-time" => return "2026-04-15T10:30:00Z".to_owned(),
        "uuid" => return "3f8b6c1e-52d4-4a9b-8c1d-7e0f5a2b9c64".to_owned(),
        "uri" => return "https://shop.example/1".to_owned(),
        "email" => return "anna@shop.example".to_owned(),
        "byte" => return "dGV4dA==".to_owned(),
        _ => "text".to_owned(),
    };
    let least = text.chars().cycle().take(number("minLength").unwrap_or(0).max(4));
    least.take(number("maxLength").unwrap_or(usize::MAX)).collect()
}
