//! Which of several operations at one address a request is for: they are told apart by the body alone, as in GraphQL, or
//! where the vendor's method is a field of the body.

use std::collections::{HashMap, HashSet};

use plugboard_core::json_schema::{self, Validator};
use plugboard_core::manifest::{Connector, Operation};
use serde_json::Value;

/// What is known of an operation's bodies.
pub(super) struct Shape {
    /// `None`: it takes any body, or none.
    schema: Option<Validator>,
    example: Value,
    words: HashSet<String>,
}

impl Shape {
    pub(super) fn of(operation: &Operation) -> Self {
        let example = operation.request_example.as_ref().and_then(|example| example.body.clone()).unwrap_or_default();
        let compile = |schema| {
            // `connectors lint` refuses a schema that does not compile.
            json_schema::compile(schema).inspect_err(
                |error| tracing::error!(operation = operation.id, %error, "a body schema does not compile"),
            )
        };
        let schema = operation.body.as_ref().and_then(|schema| compile(schema).ok());
        let mut found = HashSet::new();
        words(&example, &mut found);
        Self { schema, example, words: found }
    }

    fn accepts(&self, body: &Value) -> bool {
        self.schema.as_ref().is_none_or(|schema| schema.is_valid(body))
    }
}

/// The body as the caller wrote it: without the fields in which credentials travel.
pub(super) fn written(connector: &Connector, body: &[u8]) -> Value {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        for (name, _) in &connector.transport().body {
            members.shift_remove(name);
        }
        for (_, signature) in &connector.transport().signatures {
            signature.body_names().for_each(|name| {
                members.shift_remove(name);
            });
        }
    }
    body
}

/// The position of the shape that fits best. An example means its own operation. Else the schemas decide, since their
/// constants are what the vendor looks at; and where several take the body, as all queries of a GraphQL endpoint do,
/// the words that it shares with an example: a word counts for more the fewer examples have it. The first of equals.
pub(super) fn best(shapes: &[&Shape], body: &Value) -> usize {
    if let Some(exact) = shapes.iter().position(|shape| shape.example == *body) {
        return exact;
    }
    let mut candidates: Vec<usize> = (0..shapes.len()).filter(|at| shapes[*at].accepts(body)).collect();
    if candidates.is_empty() {
        // Arguments were checked before; one that no schema takes still deserves the likeliest answer.
        candidates = (0..shapes.len()).collect();
    }
    let mut known: HashMap<&str, f64> = HashMap::new();
    for word in candidates.iter().flat_map(|at| &shapes[*at].words) {
        *known.entry(word).or_default() += 1.0;
    }
    let mut asked = HashSet::new();
    words(body, &mut asked);
    let likeness = |at: &usize| -> f64 {
        let shared = asked.iter().filter(|word| shapes[*at].words.contains(*word));
        shared.filter_map(|word| known.get(word.as_str())).map(|examples| 1.0 / examples).sum()
    };
    // `max_by` takes the last of equals.
    candidates.iter().rev().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).copied().unwrap_or_default()
}

/// Names and the words of texts, however deep.
fn words(value: &Value, found: &mut HashSet<String>) {
    let mut add = |text: &str| {
        let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| !part.is_empty());
        found.extend(parts.map(str::to_owned));
    };
    match value {
        Value::String(text) => add(text),
        Value::Array(items) => items.iter().for_each(|item| words(item, found)),
        Value::Object(members) => {
            members.keys().for_each(|name| add(name));
            members.values().for_each(|value| words(value, found));
        }
        _ => {}
    }
}
