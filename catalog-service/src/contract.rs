//! What a caller of a connector relies on: which operations there are, how each is called, what it does, and what it
//! takes. Texts, examples, limits and credentials are no part of it.
//!
//! `tests/fixtures/contracts.txt` has a line of it for each built-in operation, so that nobody changes what callers rely
//! on without seeing it; [`crate::diff`] says what a change means for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use plugboard_core::manifest::{Effect, Manifest, Operation, Param, body};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Keywords of a schema that tell people something and bind nobody.
const TEXTS: [&str; 6] = ["description", "title", "default", "examples", "x-enum", "x-extensible-enum"];

/// The contract of one operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    pub module: String,
    /// `GET /orders/{id}`, or the name of an RPC method.
    pub call: String,
    pub effect: Effect,
    /// By place: `path.id`, `query.limit`, `body`, `body.lines[].sku`.
    pub fields: BTreeMap<String, Field>,
}

/// What one argument must be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Field {
    /// The place of the object or array that holds it.
    pub parent: Option<String>,
    pub required: bool,
    /// None: any.
    pub types: BTreeSet<String>,
    /// JSON texts; none: any.
    pub values: BTreeSet<String>,
    /// Every other keyword that binds: bounds, patterns, formats.
    pub rules: BTreeMap<String, Value>,
}

impl Contract {
    pub fn of(manifest: &Manifest, operation: &Operation) -> Self {
        let mut fields = BTreeMap::new();
        for (name, parameter) in &operation.path_params {
            fields.insert(format!("path.{name}"), Field { required: true, ..field(manifest, parameter) });
        }
        for (name, parameter) in &operation.query {
            fields.insert(format!("query.{name}"), field(manifest, parameter));
        }
        if let Some(schema) = &operation.body {
            let body = Field { required: operation.body_required, ..Field::default() };
            walk("body", body, &body::resolved(manifest, schema), &mut fields);
        }
        let call = match &operation.path {
            Some(path) => format!("{} {path}", operation.method),
            None => operation.method.clone(),
        };
        Self { module: operation.module.clone(), call, effect: operation.effect, fields }
    }

    /// Arguments with a type of their own: those that hold no others.
    pub fn leaves(&self) -> usize {
        let holders: BTreeSet<&String> = self.fields.values().filter_map(|field| field.parent.as_ref()).collect();
        let typed = |field: &Field| !field.types.is_empty() || !field.values.is_empty();
        self.fields.iter().filter(|(place, field)| typed(field) && !holders.contains(place)).count()
    }

    /// Short, and another one whenever anything of the contract is another.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{} {} {}\n", self.module, self.call, self.effect.as_str()));
        for (place, field) in &self.fields {
            hash.update(format!("{place} {field}\n"));
        }
        hex::encode(&hash.finalize()[..5])
    }
}

/// One line: how it is called, what it does, what it needs, and the digest.
impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needed = |(place, field): &(&String, &Field)| field.required && !place.starts_with("path.");
        let needed: Vec<&str> = self.fields.iter().filter(needed).map(|(place, _)| place.as_str()).collect();
        let (module, call, effect, digest) = (&self.module, &self.call, self.effect.as_str(), self.digest());
        write!(f, "{module} {call} | {effect} | {} | {digest}", needed.join(" "))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join("|");
        let required = if self.required { "required" } else { "optional" };
        write!(f, "{required} {} [{}] {}", join(&self.types), join(&self.values), json!(self.rules))
    }
}

/// The contracts of a connector, a line for each operation, in the order of the manifest.
pub fn lines(manifest: &Manifest) -> Vec<String> {
    let line =
        |operation: &Operation| format!("{}.{} | {}", manifest.key, operation.id, Contract::of(manifest, operation));
    manifest.operations.iter().map(line).collect()
}

fn field(manifest: &Manifest, parameter: &Param) -> Field {
    let texts = |values: &[Value]| values.iter().map(Value::to_string).collect();
    let listed = parameter.x_enum.as_ref().and_then(|list| manifest.enums.get(list));
    let values = match listed {
        Some(list) if parameter.values.is_empty() => list.keys().map(|key| json!(key).to_string()).collect(),
        _ => texts(&parameter.values),
    };
    let rules = [
        ("format", parameter.format.as_ref().map(|format| json!(format))),
        ("pattern", parameter.pattern.as_ref().map(|pattern| json!(pattern))),
        ("minimum", parameter.minimum.map(|least| json!(least))),
        ("maximum", parameter.maximum.map(|most| json!(most))),
        ("maxLength", parameter.max_length.map(|most| json!(most))),
        ("items", parameter.items.map(|kind| json!(kind))),
    ];
    let rules = rules.into_iter().filter_map(|(name, rule)| Some((name.to_owned(), rule?))).collect();
    let kind = json!(parameter.kind).as_str().unwrap_or_default().to_owned();
    Field { parent: None, required: parameter.required, types: BTreeSet::from([kind]), values, rules }
}

/// Notes the field, which knows already where it is held and whether it is needed, and all that it holds.
fn walk(place: &str, mut field: Field, schema: &Value, fields: &mut BTreeMap<String, Field>) {
    // `true` takes anything, and `false` nothing.
    let Some(members) = schema.as_object() else {
        field.rules.insert("schema".to_owned(), schema.clone());
        fields.insert(place.to_owned(), field);
        return;
    };
    let needed = members.get("required").and_then(Value::as_array);
    let needed: Vec<&str> = needed.into_iter().flatten().filter_map(Value::as_str).collect();
    let held = |required| Field { parent: Some(place.to_owned()), required, ..Field::default() };
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            ("type", Value::String(kind)) => {
                field.types.insert(kind.clone());
            }
            ("type", Value::Array(kinds)) => {
                field.types.extend(kinds.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            ("enum", Value::Array(values)) => field.values = values.iter().map(Value::to_string).collect(),
            ("const", value) => field.values = BTreeSet::from([value.to_string()]),
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    walk(&format!("{place}.{name}"), held(needed.contains(&name.as_str())), property, fields);
                }
            }
            ("items", items @ Value::Object(_)) => walk(&format!("{place}[]"), held(false), items, fields),
            ("additionalProperties", others @ Value::Object(_)) => {
                walk(&format!("{place}.*"), held(false), others, fields);
            }
            ("oneOf" | "anyOf" | "allOf", Value::Array(branches)) => {
                for (at, branch) in branches.iter().enumerate() {
                    walk(&format!("{place}<{keyword} {at}>"), held(false), branch, fields);
                }
            }
            ("required", _) => {}
            (text, _) if TEXTS.contains(&text) => {}
            (rule, value) => {
                field.rules.insert(rule.to_owned(), value.clone());
            }
        }
    }
    // What is needed without being described, as in a branch.
    let described = members.get("properties").and_then(Value::as_object);
    for name in needed.iter().filter(|name| described.is_none_or(|described| !described.contains_key(**name))) {
        fields.insert(format!("{place}.{name}"), held(true));
    }
    fields.insert(place.to_owned(), field);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_says_all_that_binds() {
        let mut fields = BTreeMap::new();
        let schema = json!({"type": "object", "required": ["lines"], "additionalProperties": false, "properties": {
            "lines": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["sku"], "properties": {
                "sku": {"type": ["string", "null"], "description": "x", "maxLength": 9}, "kind": {"enum": ["b", "a"]}}}},
            "to": {"oneOf": [{"type": "string"}, {"type": "array"}]},
        }});
        walk("body", Field { required: true, ..Field::default() }, &schema, &mut fields);
        let lines: Vec<String> = fields.iter().map(|(place, field)| format!("{place} {field}")).collect();
        assert_eq!(
            lines,
            [
                r#"body required object [] {"additionalProperties":false}"#,
                r#"body.lines required array [] {"minItems":1}"#,
                "body.lines[] optional object [] {}",
                r#"body.lines[].kind optional  ["a"|"b"] {}"#,
                r#"body.lines[].sku required null|string [] {"maxLength":9}"#,
                "body.to optional  [] {}",
                "body.to<oneOf 0> optional string [] {}",
                "body.to<oneOf 1> optional array [] {}",
            ]
        );
    }
}
