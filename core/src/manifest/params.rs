//! Path and query parameters: checked against their declaration, turned into text.

use indexmap::IndexMap;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::connector::Found;
use super::formats;
use super::model::{ArrayStyle, Manifest, Param, ParamType};
use super::suggest;
use crate::json_schema;

/// One thing wrong with the arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    pub field: String,
    pub message: String,
    pub options: Vec<Value>,
}

impl Problem {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), options: Vec::new() }
    }

    pub(super) fn options<T: Into<Value>>(mut self, options: impl IntoIterator<Item = T>) -> Self {
        self.options = options.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn from_schema(root: &str, schema: &Value, error: &json_schema::ValidationError<'_>) -> Self {
        use json_schema::ValidationErrorKind as Kind;
        let place = error.instance_path().as_str().replace('/', ".").replace("~1", "/").replace("~0", "~");
        let mut field = format!("{root}{place}");
        let mut options = Vec::new();
        let message = match error.kind() {
            Kind::Required { property } => {
                field = format!("{field}.{}", property.as_str().unwrap_or_default());
                "is required".to_owned()
            }
            Kind::AdditionalProperties { unexpected } => {
                let names = unexpected.join(", ");
                let known = sibling_properties(schema, error.schema_path().as_str());
                if let [only] = unexpected.as_slice() {
                    field = format!("{field}.{only}");
                    let near = suggest::nearest(only, known.iter().copied(), 3);
                    options = near.into_iter().map(Value::from).collect();
                }
                match (options.as_slice(), known.as_slice()) {
                    ([best, ..], _) => {
                        format!("is not known here; did you mean {}?", best.as_str().unwrap_or_default())
                    }
                    (_, []) => format!("is not known here: {names}"),
                    _ => clip(&format!("is not known here: {names}; known: {}", known.join(", "))),
                }
            }
            Kind::Enum { options: allowed } => {
                options = allowed.as_array().cloned().unwrap_or_default();
                clip(&format!("must be one of {allowed}"))
            }
            _ => clip(&error.to_string()),
        };
        Self { field, message, options }
    }
}

/// Names of the properties beside the keyword at this JSON pointer.
fn sibling_properties<'s>(schema: &'s Value, keyword: &str) -> Vec<&'s str> {
    let parent = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
    let properties = schema.pointer(parent).and_then(|object| object.get("properties")).and_then(Value::as_object);
    properties.map(|properties| properties.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// An error quotes the value; a long one would drown the message.
pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(240) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Every problem of the path and query parameters.
pub(super) fn check_params(manifest: &Manifest, found: &Found<'_, '_>, query: &Map<String, Value>) -> Vec<Problem> {
    let operation = found.operation;
    let mut problems = Vec::new();
    let names = found.compiled.path.as_ref().map(|path| path.names()).unwrap_or_default();
    for (name, raw) in names.iter().zip(&found.params) {
        let Some(parameter) = operation.path_params.get(name) else { continue };
        let text = percent_decode_str(raw).decode_utf8_lossy().into_owned();
        let place = format!("path.{name}");
        check_value(manifest, found, name, parameter, &Value::String(text), &place, &mut problems);
    }
    for (name, value) in query {
        let place = format!("query.{name}");
        match operation.query.get(name) {
            Some(_) if value.is_null() => {}
            Some(parameter) => check_value(manifest, found, name, parameter, value, &place, &mut problems),
            None => {
                let known: Vec<&str> = operation.query.keys().map(String::as_str).collect();
                let near = suggest::nearest(name, known.iter().copied(), 3);
                let message = match (near.as_slice(), known.is_empty()) {
                    (_, true) => format!("is not known: {} takes no query parameters", operation.id),
                    ([], _) => format!("is not known; {} takes {}", operation.id, known.join(", ")),
                    (near, _) => format!("is not known; did you mean {}?", near.join(" or ")),
                };
                problems.push(Problem::new(place, message).options(if near.is_empty() { known } else { near }));
            }
        }
    }
    for (name, parameter) in &operation.query {
        if parameter.required && query.get(name).is_none_or(Value::is_null) {
            let about = parameter.description.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
            problems.push(Problem::new(format!("query.{name}"), format!("is required{about}")));
        }
    }
    problems
}

fn check_value(
    manifest: &Manifest,
    found: &Found<'_, '_>,
    name: &str,
    parameter: &Param,
    value: &Value,
    place: &str,
    problems: &mut Vec<Problem>,
) {
    match (parameter.kind, value) {
        (ParamType::Array, Value::Array(items)) => {
            let item_type = parameter.items.unwrap_or(ParamType::String);
            for (at, item) in items.iter().enumerate() {
                check_scalar(manifest, found, name, parameter, item_type, item, &format!("{place}.{at}"), problems);
            }
        }
        // One value stands for a list of one.
        (ParamType::Array, scalar) if !scalar.is_object() => {
            let item_type = parameter.items.unwrap_or(ParamType::String);
            match scalar.as_str() {
                Some(text) if parameter.style == ArrayStyle::Comma => {
                    for part in text.split(',') {
                        let part = Value::String(part.to_owned());
                        check_scalar(manifest, found, name, parameter, item_type, &part, place, problems);
                    }
                }
                _ => check_scalar(manifest, found, name, parameter, item_type, scalar, place, problems),
            }
        }
        (ParamType::Array, _) => problems.push(Problem::new(place, "must be an array")),
        (ParamType::Object, Value::Object(_)) => {}
        (ParamType::Object, _) => problems.push(Problem::new(place, "must be an object")),
        (kind, value) => check_scalar(manifest, found, name, parameter, kind, value, place, problems),
    }
}

#[allow(clippy::too_many_arguments, reason = "one rule applied at one place")]
fn check_scalar(
    manifest: &Manifest,
    found: &Found<'_, '_>,
    name: &str,
    parameter: &Param,
    kind: ParamType,
    value: &Value,
    place: &str,
    problems: &mut Vec<Problem>,
) {
    let Some(text) = scalar_text(value) else {
        problems.push(Problem::new(place, format!("must be {}", article(kind))));
        return;
    };
    let number: Option<f64> = match kind {
        // Wider than any vendor's ids; JSON says 5.0 is an integer, but vendors would not read it in a URL.
        ParamType::Integer => text.parse::<i128>().ok().map(|number| number as f64),
        ParamType::Number => text.parse::<f64>().ok().filter(|number| number.is_finite()),
        _ => None,
    };
    let fits = match kind {
        ParamType::Integer | ParamType::Number => number.is_some(),
        ParamType::Boolean => matches!(text.as_str(), "true" | "false"),
        ParamType::String => value.is_string() || value.is_number(),
        ParamType::Array | ParamType::Object => false,
    };
    if !fits {
        problems.push(Problem::new(place, format!("must be {}, not {}", article(kind), clip(&value.to_string()))));
        return;
    }
    let allowed: Vec<Value> = match &parameter.x_enum {
        Some(list) if parameter.values.is_empty() => manifest
            .enums
            .get(list)
            .map(|list| list.keys().map(|key| Value::String(key.clone())).collect())
            .unwrap_or_default(),
        _ => parameter.values.clone(),
    };
    if !allowed.is_empty() && !allowed.iter().any(|option| scalar_text(option).as_deref() == Some(text.as_str())) {
        let list: Vec<String> = allowed.iter().filter_map(scalar_text).collect();
        problems.push(Problem::new(place, format!("must be one of {}", list.join(", "))).options(allowed));
        return;
    }
    if let Some(format) = &parameter.format
        && let Err(expected) = formats::check(format, &text)
    {
        problems.push(Problem::new(place, format!("must be {expected}, not {}", clip(&format!("{text:?}")))));
    }
    if let Some(number) = number {
        if let Some(least) = parameter.minimum.filter(|least| number < *least) {
            problems.push(Problem::new(place, format!("must be at least {least}")));
        }
        if let Some(most) = parameter.maximum.filter(|most| number > *most) {
            problems.push(Problem::new(place, format!("must be at most {most}")));
        }
    }
    if let Some(most) = parameter.max_length.filter(|most| text.chars().count() as u64 > *most) {
        problems.push(Problem::new(place, format!("must be at most {most} characters")));
    }
    if parameter.pattern.is_some()
        && let Some(pattern) = found.compiled.pattern(found.operation, place.starts_with("path."), name)
        && !pattern.is_match(&text)
    {
        problems.push(Problem::new(place, format!("must match {}", pattern.as_str())));
    }
}

fn article(kind: ParamType) -> &'static str {
    match kind {
        ParamType::String => "a string",
        ParamType::Integer => "an integer",
        ParamType::Number => "a number",
        ParamType::Boolean => "true or false",
        ParamType::Array => "an array",
        ParamType::Object => "an object",
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The query as it is sent, in the caller's order.
pub(super) fn query_pairs(
    declared: &IndexMap<String, Param>,
    query: &Map<String, Value>,
) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs = Vec::with_capacity(query.len());
    for (name, value) in query {
        let style = declared.get(name).map(|parameter| parameter.style).unwrap_or_default();
        push_pairs(name, value, style, &mut pairs, 0)?;
    }
    Ok(pairs)
}

fn push_pairs(
    name: &str,
    value: &Value,
    style: ArrayStyle,
    pairs: &mut Vec<(String, String)>,
    depth: usize,
) -> Result<(), Problem> {
    if depth > 8 {
        return Err(Problem::new(format!("query.{name}"), "is nested too deeply"));
    }
    match value {
        Value::Null => {}
        Value::Array(items) if style == ArrayStyle::Comma => {
            let items: Option<Vec<String>> = items.iter().map(scalar_text).collect();
            let items =
                items.ok_or_else(|| Problem::new(format!("query.{name}"), "must be an array of plain values"))?;
            pairs.push((name.to_owned(), items.join(",")));
        }
        Value::Array(items) => {
            let item_name = if style == ArrayStyle::Brackets { format!("{name}[]") } else { name.to_owned() };
            for item in items {
                push_pairs(&item_name, item, style, pairs, depth + 1)?;
            }
        }
        Value::Object(members) => {
            for (member, value) in members {
                push_pairs(&format!("{name}[{member}]"), value, style, pairs, depth + 1)?;
            }
        }
        scalar => pairs.push((name.to_owned(), scalar_text(scalar).unwrap_or_default())),
    }
    Ok(())
}
