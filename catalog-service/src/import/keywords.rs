//! Keywords about single values: lists, formats, patterns, bounds. What does not mean here what it means there is mended or
//! left out.

use plugboard_core::json_schema;
use serde_json::{Map, Value, json};

use super::schema::Writer;
use super::values::convert;
use super::whole::Whole;

/// Formats that are held against values here.
const FORMATS: [&str; 6] = ["date", "date-time", "uuid", "uri", "email", "byte"];

/// Keywords with a number, and the types that they are about.
const BOUNDS: [(&str, &[&str]); 10] = [
    ("minimum", &["integer", "number"]),
    ("maximum", &["integer", "number"]),
    ("exclusiveMinimum", &["integer", "number"]),
    ("exclusiveMaximum", &["integer", "number"]),
    ("minLength", &["string"]),
    ("maxLength", &["string"]),
    ("minItems", &["array"]),
    ("maxItems", &["array"]),
    ("minProperties", &["object"]),
    ("maxProperties", &["object"]),
];

impl Writer<'_, '_> {
    /// The values that are allowed, in the types of the schema.
    pub(super) fn values(&mut self, whole: &Whole<'_>, types: &[&str]) -> Option<Vec<Value>> {
        let mut listed: Vec<&Value> = whole.allowed.clone()?;
        // A list in a list, by mistake.
        if let ([Value::Array(inner)], false) = (listed.as_slice(), types.contains(&"array")) {
            listed = inner.iter().collect();
        }
        let in_list = types == ["array"] && listed.iter().all(|value| !value.is_array());
        let wanted: &[&str] = if in_list { &[] } else { types };
        let mut values: Vec<Value> = Vec::new();
        for value in listed {
            match convert(wanted, value) {
                _ if value.is_null() => values.push(Value::Null),
                Some(value) if !values.contains(&value) => values.push(value),
                Some(_) => {}
                None => self.note("leaves out values of another type than its own"),
            }
        }
        Some(values).filter(|values| values.iter().any(|value| !value.is_null()))
    }

    pub(super) fn scalars(&mut self, whole: &Whole<'_>, types: &[&str], small: &mut Map<String, Value>) {
        let about = |wanted: &[&str]| types.is_empty() || types.iter().any(|kind| wanted.contains(kind));
        let format = whole.keyword("format").and_then(Value::as_str).filter(|format| FORMATS.contains(format));
        if let Some(format) = format.filter(|_| about(&["string"])) {
            small.insert("format".to_owned(), format.into());
        }
        if let Some(value) = whole.keyword("const") {
            match convert(types, value) {
                Some(value) => drop(small.insert("const".to_owned(), value)),
                None => self.note("leaves out values of another type than its own"),
            }
        }
        if let Some(pattern) = whole.keyword("pattern").and_then(Value::as_str).filter(|_| about(&["string"])) {
            match plain_pattern(pattern) {
                Some(pattern) => drop(small.insert("pattern".to_owned(), pattern.into())),
                None => self.note(format!("leaves out the pattern {pattern:?}, which does not compile")),
            }
        }
        for (keyword, wanted) in BOUNDS {
            if let Some(bound) =
                whole.keyword(keyword).filter(|_| about(wanted)).and_then(|value| bound(keyword, value))
            {
                small.insert(keyword.to_owned(), bound);
            }
        }
        exclusive(whole, "exclusiveMinimum", "minimum", small);
        exclusive(whole, "exclusiveMaximum", "maximum", small);
        for (least, most) in [("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")] {
            let number = |name: &str| small.get(name).and_then(Value::as_f64);
            if let (Some(low), Some(high)) = (number(least), number(most))
                && low > high
            {
                small.shift_remove(least);
                small.shift_remove(most);
                self.note(format!("leaves out a {least} of {low} that is more than its {most} of {high}"));
            }
        }
        let step = whole.keyword("multipleOf").filter(|step| step.as_f64().is_some_and(|step| step > 0.0));
        if let Some(step) = step.filter(|_| about(&["integer", "number"])) {
            small.insert("multipleOf".to_owned(), step.clone());
        }
        let unique = whole.keyword("uniqueItems") == Some(&Value::Bool(true));
        if unique && about(&["array"]) {
            small.insert("uniqueItems".to_owned(), true.into());
        }
        if let Some(value) =
            whole.keyword("default").and_then(|value| convert(types, value)).filter(|value| !value.is_null())
        {
            small.insert("default".to_owned(), value);
        }
    }
}

/// Of `exclusiveMinimum: true` (OpenAPI 3.0), the number stands elsewhere.
fn exclusive(whole: &Whole<'_>, keyword: &str, number: &str, small: &mut Map<String, Value>) {
    if whole.keyword(keyword) == Some(&Value::Bool(true))
        && let Some(value) = small.shift_remove(number)
    {
        small.insert(keyword.to_owned(), value);
    }
}

/// A number; where it counts something, a whole one.
fn bound(keyword: &str, value: &Value) -> Option<Value> {
    let number = convert(&["number"], value).filter(Value::is_number)?;
    match keyword {
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => Some(number),
        _ => convert(&["integer"], &number).filter(|count| count.as_u64().is_some()),
    }
}

/// A pattern that compiles; `/…/i` as authors of JavaScript write it is read as they mean it.
pub(super) fn plain_pattern(pattern: &str) -> Option<String> {
    let inside = pattern.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    let pattern = match inside.filter(|(_, flags)| flags.bytes().all(|flag| b"gimsuy".contains(&flag))) {
        Some((inside, flags)) if flags.contains('i') => format!("(?i){inside}"),
        Some((inside, _)) => inside.to_owned(),
        None => pattern.to_owned(),
    };
    let schema = json!({ "type": "string", "pattern": pattern });
    (json_schema::faults(&schema).is_empty() && json_schema::compile(&schema).is_ok()).then_some(pattern)
}
