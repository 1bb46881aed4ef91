//! Paths of a document → operations of a manifest.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::document::Document;
use super::{example, schema, sentence, snake};

/// Verbs, and the effect that each suggests.
const VERBS: [(&str, &str); 6] = [
    ("get", "read"),
    ("head", "read"),
    ("put", "idempotent"),
    ("delete", "idempotent"),
    ("post", "once"),
    ("patch", "once"),
];

/// Content types of bodies, and their encodings, in order of preference.
const ENCODINGS: [(&str, Option<&str>); 3] = [
    ("application/json", None),
    ("application/x-www-form-urlencoded", Some("form")),
    ("multipart/form-data", Some("multipart")),
];

const JSON: &str = "application/json";

#[derive(Default)]
pub(super) struct Found {
    /// By name, what it is about.
    pub(super) modules: Map<String, Value>,
    pub(super) operations: Vec<Value>,
    /// A read that needs nothing.
    pub(super) test: Option<String>,
}

pub(super) fn of(document: &Document, remarks: &mut Vec<String>) -> Found {
    let mut found = Found::default();
    let mut ids = HashSet::new();
    for (path, item) in document.paths() {
        let item = document.resolve(item);
        for (verb, effect) in VERBS {
            let Some(operation) = item.get(verb) else { continue };
            let named = operation.get("operationId").and_then(Value::as_str);
            let wanted = snake(named.unwrap_or(&format!("{verb} {path}")));
            let id = (1..)
                .map(|number| if number == 1 { wanted.clone() } else { format!("{wanted}_{number}") })
                .find(|id| ids.insert(id.clone()))
                .unwrap_or(wanted);
            let tag = operation.pointer("/tags/0").and_then(Value::as_str).unwrap_or("api");
            let module = snake(tag);
            found.modules.entry(module.clone()).or_insert_with(|| sentence(tag, 60).trim_end_matches('.').into());
            let mut reader = Reader { document, remarks, id: &id };
            let draft = reader.operation(item, operation, path, verb, effect, &module);
            let needs_nothing = effect == "read" && verb == "get" && draft.get("request_example").is_none();
            if needs_nothing && !path.contains('{') && found.test.is_none() {
                found.test = Some(id.clone());
            }
            found.operations.push(draft);
        }
    }
    found
}

struct Reader<'a> {
    document: &'a Document,
    remarks: &'a mut Vec<String>,
    id: &'a str,
}

impl Reader<'_> {
    fn operation(
        &mut self,
        item: &Value,
        operation: &Value,
        path: &str,
        verb: &str,
        effect: &str,
        module: &str,
    ) -> Value {
        let said = |name: &str| operation.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let summary = said("summary").or_else(|| said("description")).unwrap_or(self.id);
        let mut draft = json!({
            "id": self.id, "module": module, "method": verb.to_uppercase(), "path": path,
            "summary": sentence(summary, 100), "effect": effect,
        });
        let mut shown = Map::new();
        let (mut path_params, mut query, mut form) = (Map::new(), Map::new(), Map::new());
        let mut body = self.body(operation);
        for parameter in [item, operation].into_iter().filter_map(|from| from.get("parameters")?.as_array()).flatten() {
            let parameter = self.document.resolve(parameter);
            let Some(name) = parameter.get("name").and_then(Value::as_str) else { continue };
            match parameter.get("in").and_then(Value::as_str).unwrap_or_default() {
                "path" => drop(path_params.insert(name.to_owned(), self.parameter(parameter, true))),
                "query" => drop(query.insert(name.to_owned(), self.parameter(parameter, false))),
                // Swagger 2.0 has bodies among the parameters.
                "body" => {
                    let whole = parameter.get("schema").unwrap_or(&Value::Null);
                    let required = parameter.get("required") == Some(&Value::Bool(true));
                    body = Some((schema::small(self.document, whole, 0), required, None));
                }
                "formData" => drop(form.insert(name.to_owned(), schema::small(self.document, parameter, 1))),
                "header" => self.remark(&format!("the header {name} is not taken over")),
                _ => {}
            }
        }
        if !form.is_empty() {
            body = Some((json!({ "type": "object", "properties": form }), false, Some("form")));
        }
        for (place, parameters) in [("path_params", path_params), ("query", query)] {
            let needed = parameters.iter().filter(|(_, one)| one.get("required") == Some(&Value::Bool(true)));
            let values: Map<String, Value> = needed.map(|(name, one)| (name.clone(), example::of(one))).collect();
            if !values.is_empty() {
                shown.insert(place.to_owned(), Value::Object(values));
            }
            if !parameters.is_empty() {
                draft[place] = Value::Object(parameters);
            }
        }
        if let Some((schema, required, encoding)) = body.filter(|_| !matches!(verb, "get" | "head")) {
            shown.insert("body".to_owned(), example::of(&schema));
            draft["body"] = schema;
            draft["body_required"] = required.into();
            if let Some(encoding) = encoding {
                draft["body_encoding"] = encoding.into();
            }
        }
        if !shown.is_empty() {
            draft["request_example"] = Value::Object(shown);
        }
        draft["response_example"] = self.answer(operation);
        draft
    }

    fn remark(&mut self, what: &str) {
        self.remarks.push(format!("{}: {what}", self.id));
    }

    fn parameter(&mut self, parameter: &Value, is_path: bool) -> Value {
        let schema = parameter.get("schema").unwrap_or(parameter);
        let whole = schema::merged(self.document, schema);
        let small = schema::small(self.document, schema, 0);
        let mut draft = Map::new();
        let kind =
            if is_path && matches!(schema::kind(&whole), "array" | "object") { "string" } else { schema::kind(&whole) };
        draft.insert("type".to_owned(), kind.into());
        let description = parameter.get("description").and_then(Value::as_str).unwrap_or_default();
        if !description.trim().is_empty() {
            draft.insert("description".to_owned(), sentence(description, 100).trim_end_matches('.').into());
        }
        for keyword in ["format", "enum", "pattern", "minimum", "maximum", "maxLength", "default"] {
            if let Some(value) = small.get(keyword) {
                draft.insert(keyword.to_owned(), value.clone());
            }
        }
        if is_path || parameter.get("required") == Some(&Value::Bool(true)) {
            draft.insert("required".to_owned(), true.into());
        }
        if kind == "array" {
            let items = small.pointer("/items/type").and_then(Value::as_str).unwrap_or("string");
            draft.insert("items".to_owned(), items.into());
            let together = parameter.get("explode") == Some(&Value::Bool(false))
                || parameter.get("collectionFormat").is_some_and(|format| format == "csv");
            if together {
                draft.insert("style".to_owned(), "comma".into());
            }
        }
        Value::Object(draft)
    }

    /// Schema, whether it must be there, and its encoding if that is not JSON.
    fn body(&mut self, operation: &Value) -> Option<(Value, bool, Option<&'static str>)> {
        let body = self.document.resolve(operation.get("requestBody")?);
        let content = body.get("content")?.as_object()?;
        let required = body.get("required") == Some(&Value::Bool(true));
        for (kind, encoding) in ENCODINGS {
            let found = content.iter().find(|(name, _)| name.split(';').next() == Some(kind));
            if let Some(schema) = found.and_then(|(_, media)| media.get("schema")) {
                return Some((schema::small(self.document, schema, 0), required, encoding));
            }
        }
        let kinds: Vec<&str> = content.keys().map(String::as_str).collect();
        self.remark(&format!("a body of {} is not taken over", kinds.join(", ")));
        None
    }

    /// What the document shows for the first success, or something of its shape.
    fn answer(&mut self, operation: &Value) -> Value {
        let answers = operation.get("responses").and_then(Value::as_object).into_iter().flatten();
        let success = answers
            .filter(|(status, _)| status.starts_with('2'))
            .map(|(_, answer)| self.document.resolve(answer))
            .next();
        let Some(success) = success else { return Value::Null };
        let media = success.pointer("/content").and_then(|content| content.get(JSON)).unwrap_or(success);
        let shown = media
            .get("example")
            .or_else(|| media.get("examples")?.as_object()?.values().next()?.get("value"))
            .or_else(|| media.get("examples")?.get(JSON));
        match (shown, media.get("schema")) {
            (Some(shown), _) => shown.clone(),
            (None, Some(schema)) => {
                self.remark("response_example is made up from the schema");
                example::of(&schema::small(self.document, schema, 0))
            }
            (None, None) => Value::Null,
        }
    }
}
