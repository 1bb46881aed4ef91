//! Bodies of requests: which of the content types is sent, and as what.

use plugboard_core::json_schema;
use serde_json::{Map, Value, json};

use super::budget::Reach;
use super::example::Maker;
use super::operations::Reader;
use super::schema::{self, bare};
use super::whole::Whole;

pub(super) const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

#[derive(Default)]
pub(super) struct Body {
    schema: Value,
    pub(super) required: bool,
    /// When it is not JSON.
    pub(super) encoding: Option<&'static str>,
    /// How lists travel in a form, when not by numbers.
    pub(super) arrays: Option<&'static str>,
    /// When it is not the one of the encoding.
    pub(super) content_type: Option<String>,
    shown: Option<Value>,
}

/// The type of a body without its parameters.
pub(super) fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether it is JSON, or leaves open what it is.
pub(super) fn is_json(essence: &str) -> bool {
    matches!(essence, JSON | "text/json" | "*/*" | "application/*") || essence.ends_with("+json")
}

/// Of OpenAPI 3.
pub(super) fn of(reader: &mut Reader<'_, '_>, operation: &Value) -> Option<Body> {
    let body = reader.document.resolve(operation.get("requestBody")?);
    let content = body.get("content")?.as_object()?;
    let required = body.get("required") == Some(&Value::Bool(true));
    let find = |fits: &dyn Fn(&str) -> bool| content.iter().find(|(kind, _)| fits(&essence(kind)));
    let chosen = find(&|kind| kind == JSON).or_else(|| find(&is_json));
    let chosen = chosen.or_else(|| find(&|kind| kind == FORM)).or_else(|| find(&|kind| kind == MULTIPART));
    let Some((kind, media)) = chosen else {
        let kinds: Vec<&str> = content.keys().map(String::as_str).collect();
        reader
            .remark(format!("a body of {} is not taken over: manifests send JSON, forms and files", kinds.join(", ")));
        return None;
    };
    let kind = essence(kind);
    let nothing = json!({});
    let schema = media.get("schema").unwrap_or(&nothing);
    let mut read = Body { required, shown: shown(media), ..Body::default() };
    match kind.as_str() {
        FORM => {
            read.encoding = Some("form");
            let deep = |one: &Value| one.get("style").is_some_and(|style| style == "deepObject");
            let by_number = media.get("encoding").and_then(Value::as_object).is_some_and(|all| all.values().any(deep));
            read.schema = read_schema(reader, schema);
            read.arrays = (!by_number && has_list(&read.schema)).then_some("repeat");
        }
        MULTIPART => {
            read.encoding = Some("multipart");
            read.schema = with_files(reader, schema);
        }
        kind => {
            read.content_type = is_special(kind).then(|| kind.to_owned());
            read.schema = read_schema(reader, schema);
        }
    }
    Some(read)
}

/// Swagger 2.0 has bodies among the parameters: one as a whole, or the fields of a form.
pub(super) fn of_parameters(reader: &mut Reader<'_, '_>, operation: &Value, parameters: &[&Value]) -> Option<Body> {
    let is_in = |parameter: &Value, place: &str| parameter.get("in").is_some_and(|one| one == place);
    let is_required = |parameter: &Value| parameter.get("required") == Some(&Value::Bool(true));
    let consumed = kinds(reader, operation, "consumes");
    if let Some(whole) = parameters.iter().find(|parameter| is_in(parameter, "body")) {
        let schema = read_schema(reader, whole.get("schema").unwrap_or(&json!({})));
        let wanted = consumed.into_iter().find(|kind| is_json(kind)).filter(|kind| is_special(kind));
        return Some(Body { schema, required: is_required(whole), content_type: wanted, ..Body::default() });
    }
    let fields: Vec<&Value> = parameters.iter().copied().filter(|parameter| is_in(parameter, "formData")).collect();
    if fields.is_empty() {
        return None;
    }
    let mut properties = Map::new();
    let (mut files, mut repeated) = (false, false);
    for field in &fields {
        let Some(name) = field.get("name").and_then(Value::as_str) else { continue };
        let is_file = is_file(field);
        files |= is_file;
        repeated |= field.get("collectionFormat").is_some_and(|format| format == "multi");
        let schema = if is_file { file(field) } else { read_schema(reader, field) };
        properties.insert(name.to_owned(), schema);
    }
    let required: Vec<Value> =
        fields.iter().filter(|field| is_required(field)).filter_map(|field| field.get("name").cloned()).collect();
    let consumes = |wanted: &str| consumed.iter().any(|kind| kind == wanted);
    let multipart = files || !consumes(FORM) && consumes(MULTIPART);
    let mut schema =
        Map::from_iter([("type".to_owned(), "object".into()), ("properties".to_owned(), properties.into())]);
    let needed = !required.is_empty();
    if needed {
        schema.insert("required".to_owned(), required.into());
    }
    let schema = Value::Object(schema);
    let arrays = (!multipart && has_list(&schema)).then_some(if repeated { "repeat" } else { "comma" });
    let encoding = Some(if multipart { "multipart" } else { "form" });
    Some(Body { schema, required: needed, encoding, arrays, ..Body::default() })
}

/// Content types that an operation of Swagger 2.0 names under a keyword, or the document for all.
pub(super) fn kinds(reader: &Reader<'_, '_>, operation: &Value, keyword: &str) -> Vec<String> {
    let named = operation.get(keyword).or_else(|| reader.document.at(&format!("/{keyword}")));
    named.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(essence).collect()
}

pub(super) fn is_file(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "file")
}

/// Whether a body of JSON needs a header for its type.
fn is_special(kind: &str) -> bool {
    kind != JSON && !kind.contains('*')
}

fn read_schema(reader: &mut Reader<'_, '_>, schema: &Value) -> Value {
    let small = schema::small(reader.document, schema, Reach::Request);
    for note in small.notes {
        reader.remark(format!("the body {note}"));
    }
    small.schema
}

/// Members that are files are given by name and content.
fn with_files(reader: &mut Reader<'_, '_>, schema: &Value) -> Value {
    let mut small = read_schema(reader, schema);
    let whole = Whole::of(reader.document, &[schema]);
    let Some(properties) = small.get_mut("properties").and_then(Value::as_object_mut) else { return small };
    for (name, statements) in &whole.properties {
        let one = Whole::of(reader.document, statements);
        let items = one.keyword("items").map(|items| Whole::of(reader.document, &[items]));
        let Some(property) = properties.get_mut(*name) else { continue };
        if is_binary(&one) {
            *property = file(property);
        } else if items.is_some_and(|items| is_binary(&items)) {
            property["items"] = file(&Value::Null);
        }
    }
    small
}

fn is_binary(whole: &Whole<'_>) -> bool {
    let encoded = ["contentMediaType", "contentEncoding"].iter().any(|name| whole.keyword(name).is_some());
    encoded || whole.keyword("format").is_some_and(|format| format == "binary")
}

fn file(described: &Value) -> Value {
    let mut file = json!({
        "type": "object",
        "required": ["filename", "content"],
        "properties": {
            "filename": { "type": "string" },
            "content": { "type": "string", "format": "byte" },
            "content_type": { "type": "string" },
        },
    });
    if let Some(text) = described.get("description").and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
        file["description"] = super::names::phrase(text, 100).into();
    }
    file
}

fn has_list(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    let is_list = |one: &Value| match one.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "array"),
        kind => kind.is_some_and(|kind| kind == "array"),
    };
    properties.into_iter().flatten().any(|(_, one)| is_list(one))
}

/// What a document shows of a body or an answer.
pub(super) fn shown(media: &Value) -> Option<Value> {
    let named = || media.get("examples")?.as_object()?.values().next()?.get("value");
    let shown = media.get("example").or_else(named)?;
    match shown {
        // JSON in a text.
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            Some(serde_json::from_str(text).unwrap_or_else(|_| shown.clone()))
        }
        _ => Some(shown.clone()),
    }
}

impl Body {
    /// What the document shows if it is valid, else what is made up of its parts; the most modest that fits.
    pub(super) fn example(&self, maker: Maker) -> Value {
        let validator = json_schema::compile(&self.bare()).ok();
        let fine = |value: &Value| validator.as_ref().is_some_and(|validator| validator.is_valid(value));
        let made = |shown: bool, all: bool| Maker { shown, all, ..maker }.of(&self.schema, "body");
        let whole = self.shown.clone().filter(|value| maker.shown && fine(value));
        let few = || Some(made(maker.shown, false)).filter(&fine);
        let all = || Some(made(maker.shown, true)).filter(&fine);
        let own = || Some(made(false, false)).filter(&fine);
        whole.or_else(few).or_else(all).or_else(own).unwrap_or_else(|| made(false, true))
    }

    pub(super) fn bare(&self) -> Value {
        bare(self.schema.clone())
    }
}
