//! Calls that must be refused, made out of the manifests: each is an operation's own example with one argument spoilt.
//!
//! What a body says of itself decides: an object whose schema does not forbid further fields takes them.

use plugboard_core::manifest::{Connector, Manifest, Operation, Param, ParamType, Style, body};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::examples::example_call;

/// A call, and the argument that must be named when it is refused.
#[derive(Debug, Clone)]
pub struct BadCall {
    pub what: String,
    pub call: Value,
    pub field: String,
}

const UNKNOWN: &str = "zz_unknown";

/// Every way to spoil the operation's example.
pub fn bad_calls(connector: &Connector, operation: &Operation) -> Vec<BadCall> {
    let manifest = connector.manifest();
    let mut spoiler = Spoiler { connector, operation, good: example_call(manifest, operation), bad: Vec::new() };
    spoiler.path();
    spoiler.query();
    spoiler.headers();
    spoiler.body();
    spoiler.bad
}

struct Spoiler<'c> {
    connector: &'c Connector,
    operation: &'c Operation,
    good: Value,
    bad: Vec<BadCall>,
}

impl Spoiler<'_> {
    fn add(&mut self, what: &str, field: impl Into<String>, member: &str, value: Value) {
        let mut call = self.good.clone();
        call[member] = value;
        let (key, id) = (self.connector.key(), &self.operation.id);
        let field = field.into();
        self.bad.push(BadCall { what: format!("{key}.{id}: {field}: {what}"), call, field });
    }

    fn path(&mut self) {
        if self.style() == Style::Rpc {
            self.add("a path for RPC", "path", "path", json!("/x"));
            return;
        }
        let good = self.good["path"].as_str().unwrap_or_default().to_owned();
        self.add("no slash", "path", "path", json!(good[1..]));
        let unknown = format!("{good}/{UNKNOWN}/{UNKNOWN}");
        // Where the path fits another verb, the verb is what is wrong.
        let served =
            ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().any(|verb| self.finds(verb, &unknown).is_some());
        if !served && !self.connector.manifest().modules[&self.operation.module].open {
            self.add("an unknown path", "path", "path", json!(unknown));
        }
        let parameters: Vec<(String, Param)> =
            self.operation.path_params.iter().map(|(name, parameter)| (name.clone(), parameter.clone())).collect();
        for (name, parameter) in parameters {
            for (what, value) in bad_values(self.connector.manifest(), &parameter) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                // In a path everything is text, and another text may be another operation's address.
                if value.is_object() || value.is_boolean() {
                    continue;
                }
                let mut spoilt = self.operation.clone();
                spoilt.request_example.get_or_insert_default().path_params.insert(name.clone(), json!(text));
                let path = crate::examples::example_path(&spoilt);
                if self.finds(&self.operation.method, &path).is_some_and(|found| found == self.operation.id) {
                    self.add(what, format!("path.{name}"), "path", json!(path));
                }
            }
        }
    }

    fn query(&mut self) {
        if self.style() == Style::Rpc {
            self.add("a query for RPC", "query", "query", json!({UNKNOWN: 1}));
            return;
        }
        let good = self.good.get("query").and_then(Value::as_object).cloned().unwrap_or_default();
        let with = |name: &str, value: Value| -> Value {
            let mut query = good.clone();
            query.insert(name.to_owned(), value);
            query.into()
        };
        self.add("an unknown parameter", format!("query.{UNKNOWN}"), "query", with(UNKNOWN, json!("x")));
        let parameters: Vec<(String, Param)> =
            self.operation.query.iter().map(|(name, parameter)| (name.clone(), parameter.clone())).collect();
        for (name, parameter) in parameters {
            let place = format!("query.{name}");
            if parameter.required {
                let mut query = good.clone();
                query.shift_remove(&name);
                self.add("missing", place.clone(), "query", query.into());
            }
            for (what, value) in bad_values(self.connector.manifest(), &parameter) {
                self.add(what, place.clone(), "query", with(&name, value));
            }
            if parameter.kind == ParamType::Array {
                let item =
                    Param { kind: parameter.items.unwrap_or(ParamType::String), items: None, ..parameter.clone() };
                for (what, value) in bad_values(self.connector.manifest(), &item) {
                    self.add(what, format!("{place}.0"), "query", with(&name, json!([value])));
                }
            }
        }
    }

    fn headers(&mut self) {
        self.add("an unknown header", "headers.X-Zz-Unknown", "headers", json!({"X-Zz-Unknown": "x"}));
        for name in self.connector.manifest().transport.caller_headers.clone() {
            let place = format!("headers.{name}");
            self.add("a number", place.clone(), "headers", json!({name.as_str(): 5}));
            self.add("a line break", place, "headers", json!({name: "a\r\nX-Other: b"}));
        }
    }

    fn body(&mut self) {
        let Some(schema) = &self.operation.body else {
            self.add("a body that is not taken", "body", "body", json!({UNKNOWN: 1}));
            return;
        };
        if self.operation.body_required {
            self.add("missing", "body", "body", Value::Null);
        }
        let schema = body::resolved(self.connector.manifest(), schema);
        let good = self.good.get("body").cloned().unwrap_or_else(|| empty(&schema));
        let mut spoilt = Vec::new();
        spoil(&schema, &good, "body", &mut spoilt);
        for (what, place, value) in spoilt.into_iter().filter(|(_, _, value)| !value.is_null()) {
            self.add(what, place, "body", value);
        }
    }

    fn style(&self) -> Style {
        self.connector.manifest().modules[&self.operation.module].style
    }

    /// The operation that answers at a path.
    fn finds(&self, verb: &str, path: &str) -> Option<String> {
        let found = self.connector.find_rest(&self.operation.module, verb, path)?;
        Some(found.operation.id.clone())
    }
}

/// Values that a parameter of a path or a query must not have. There every value is text in the end, so a number may stand
/// for a text.
fn bad_values(manifest: &Manifest, parameter: &Param) -> Vec<(&'static str, Value)> {
    let mut bad = Vec::new();
    match parameter.kind {
        ParamType::Integer => bad.extend([("no number", json!(UNKNOWN)), ("a fraction", json!(1.5))]),
        ParamType::Number => bad.push(("no number", json!(UNKNOWN))),
        ParamType::Boolean => bad.extend([("neither true nor false", json!("maybe")), ("a number", json!(7))]),
        ParamType::String => bad.push(("true", json!(true))),
        ParamType::Array => {}
        ParamType::Object => bad.push(("a text", json!("x"))),
    }
    if parameter.kind != ParamType::Object {
        bad.push(("an object", json!({"a": 1})));
    }
    let has_list = !parameter.values.is_empty()
        || parameter.x_enum.as_ref().is_some_and(|list| manifest.enums.get(list).is_some_and(|list| !list.is_empty()));
    let numeric = matches!(parameter.kind, ParamType::Integer | ParamType::Number);
    if has_list {
        bad.push(("none of the values", if numeric { json!(987_654_321) } else { json!(UNKNOWN) }));
        return bad;
    }
    if parameter.kind == ParamType::Array {
        return bad;
    }
    if let Some(least) = parameter.minimum.filter(|_| numeric) {
        bad.push(("too little", json!(least.floor() as i64 - 1)));
    }
    if let Some(most) = parameter.maximum.filter(|_| numeric) {
        bad.push(("too much", json!(most.ceil() as i64 + 1)));
    }
    if let Some(most) = parameter.max_length.filter(|most| *most < 1_000) {
        bad.push(("too long", json!("x".repeat(most as usize + 1))));
    }
    if parameter.format.is_some() {
        bad.push(("another format", json!(UNKNOWN)));
    }
    if let Some(text) = parameter.pattern.as_deref().and_then(misfit) {
        bad.push(("another pattern", json!(text)));
    }
    bad
}

/// A text that does not match.
fn misfit(pattern: &str) -> Option<&'static str> {
    let pattern = Regex::new(pattern).ok()?;
    ["zz unknown", "~", "0", "z", "\u{44f}"].into_iter().find(|text| !pattern.is_match(text))
}

/// The kind of thing the schema wants, without anything in it.
fn empty(schema: &Value) -> Value {
    if schema["type"] == "array" { json!([]) } else { json!({}) }
}

type Spoilt = Vec<(&'static str, String, Value)>;

/// Puts what was spoilt below a place into the whole around it.
fn inside(deeper: Spoilt, spoilt: &mut Spoilt, wrap: impl Fn(Value) -> Value) {
    spoilt.extend(deeper.into_iter().map(|(what, place, value)| (what, place, wrap(value))));
}

/// `good` with one thing in it spoilt, as often as the schema gives reason to, and the place of it.
fn spoil(schema: &Value, good: &Value, place: &str, spoilt: &mut Spoilt) {
    let here = |what, value| (what, place.to_owned(), value);
    spoilt.extend(bad_scalars(schema).into_iter().map(|(what, value)| here(what, value)));
    let count = |keyword: &str| schema[keyword].as_u64().unwrap_or_default();
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        let list = good.as_array().cloned().unwrap_or_default();
        if count("minItems") > 0 {
            spoilt.push(here("too few", json!([])));
        }
        let mut deeper = Vec::new();
        let first = list.first().cloned().unwrap_or_else(|| empty(items));
        spoil(items, &first, &format!("{place}.0"), &mut deeper);
        inside(deeper, spoilt, |value| {
            let mut list = list.clone();
            if list.is_empty() {
                list.push(value)
            } else {
                list[0] = value
            }
            list.into()
        });
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let members = good.as_object().cloned().unwrap_or_default();
    let with = |name: &str, value: Value| -> Value {
        let mut members: Map<String, Value> = members.clone();
        members.insert(name.to_owned(), value);
        members.into()
    };
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        let mut fewer = members.clone();
        fewer.shift_remove(name);
        spoilt.push(("missing", format!("{place}.{name}"), fewer.into()));
    }
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        spoilt.push(("an unknown field", format!("{place}.{UNKNOWN}"), with(UNKNOWN, json!("x"))));
    }
    for (name, property) in properties {
        let mut deeper = Vec::new();
        let value = members.get(name).cloned().unwrap_or_else(|| empty(property));
        spoil(property, &value, &format!("{place}.{name}"), &mut deeper);
        inside(deeper, spoilt, |value| with(name, value));
    }
}

/// Values of JSON that the schema itself refuses.
fn bad_scalars(schema: &Value) -> Vec<(&'static str, Value)> {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut bad = Vec::new();
    let others = [("string", json!(UNKNOWN)), ("boolean", json!(true)), ("array", json!([])), ("object", json!({}))];
    if let Some((_, value)) = others.into_iter().find(|(kind, _)| !kinds.is_empty() && !kinds.contains(kind)) {
        bad.push(("another type", value));
    }
    if kinds.contains(&"integer") && !kinds.contains(&"number") {
        bad.push(("a fraction", json!(1.5)));
    }
    let numeric = kinds.contains(&"integer") || kinds.contains(&"number");
    if schema.get("enum").is_some() || schema.get("const").is_some() {
        bad.push(("none of the values", if numeric { json!(987_654_321) } else { json!(UNKNOWN) }));
        return bad;
    }
    let bound = |keyword: &str| schema[keyword].as_f64().filter(|_| numeric);
    bad.extend(bound("minimum").map(|least| ("too little", json!(least.floor() as i64 - 1))));
    bad.extend(bound("exclusiveMinimum").map(|least| ("too little", json!(least.floor() as i64))));
    bad.extend(bound("maximum").map(|most| ("too much", json!(most.ceil() as i64 + 1))));
    if !kinds.contains(&"string") {
        return bad;
    }
    if schema["minLength"].as_u64().is_some_and(|least| least > 0) {
        bad.push(("too short", json!("")));
    }
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| *most < 1_000) {
        bad.push(("too long", json!("x".repeat(most as usize + 1))));
    }
    if schema.get("format").is_some() {
        bad.push(("another format", json!(UNKNOWN)));
    }
    if let Some(text) = schema["pattern"].as_str().and_then(misfit) {
        bad.push(("another pattern", json!(text)));
    }
    bad
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plugboard_core::error::CallError;
    use plugboard_core::manifest::CallArguments;

    use super::*;
    use crate::examples::manifests;

    /// All fields that a refusal names.
    fn named(error: &CallError) -> Vec<String> {
        let problems = error.detail.as_ref().and_then(|detail| detail["problems"].as_array());
        let problems = problems.into_iter().flatten().filter_map(|problem| problem["field"].as_str());
        error.field.iter().map(String::as_str).chain(problems).map(str::to_owned).collect()
    }

    fn check(connector: &Connector, call: &Value) -> Result<(), CallError> {
        let raw = call.get("body").map(|body| serde_json::value::to_raw_value(body).unwrap());
        let checked = connector.check(CallArguments {
            module: call["module"].as_str(),
            method: call["method"].as_str().unwrap(),
            path: call["path"].as_str(),
            query: call["query"].as_object(),
            body: raw.as_deref(),
            headers: call["headers"].as_object(),
        });
        checked.map(|_| ())
    }

    #[test]
    fn no_operation_takes_what_its_manifest_excludes() {
        let (mut count, mut wrong) = (0, Vec::new());
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for manifest in manifests() {
            let connector = Connector::from_manifest(manifest).unwrap();
            for operation in &connector.manifest().operations {
                let good = example_call(connector.manifest(), operation);
                if let Err(error) = check(&connector, &good) {
                    wrong.push(format!("{}.{}: its example: {error:?}", connector.key(), operation.id));
                    continue;
                }
                for bad in bad_calls(&connector, operation) {
                    count += 1;
                    let part = bad.field.split('.').next().unwrap_or_default().to_owned();
                    *kinds.entry(part).or_default() += 1;
                    match check(&connector, &bad.call) {
                        Ok(()) => wrong.push(format!("{}: taken: {}", bad.what, bad.call)),
                        Err(error) if !named(&error).contains(&bad.field) => {
                            wrong.push(format!("{}: named {:?}: {}", bad.what, named(&error), error.message));
                        }
                        Err(_) => {}
                    }
                }
            }
        }
        eprintln!("{count} bad calls refused: {kinds:?}");
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..wrong.len().min(60)].join("\n"));
        assert!(count >= 5_000, "{count} bad calls");
    }
}
