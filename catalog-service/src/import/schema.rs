//! Schemas of documents → the small ones of manifests. A small schema never refuses what the document allows: what it cannot
//! say it leaves open.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::budget::{Budget, Reach};
use super::document::Document;
use super::keywords::plain_pattern;
use super::names::phrase;
use super::values::{convert, fits};
use super::whole::Whole;

/// What a document shows of a value. It goes into the examples and is taken out of the schema ([`bare`]).
pub(super) const SHOWN: &str = "example";

/// Keywords that would refuse values, and that are not understood here.
const LEFT_OUT: [&str; 11] = [
    "not",
    "if",
    "contains",
    "minContains",
    "maxContains",
    "dependentSchemas",
    "dependencies",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
];

pub(super) struct Small {
    /// With what the document shows under [`SHOWN`].
    pub(super) schema: Value,
    /// What it leaves open, and what was mended.
    pub(super) notes: BTreeSet<String>,
}

pub(super) fn small(document: &Document, schema: &Value, reach: Reach) -> Small {
    let shared = schema.get("$ref").map(|_| document.resolve(schema));
    document.budgets.deepest(reach, shared, |depth, budget| {
        let mut writer = Writer { document, reach, budget, notes: BTreeSet::new() };
        let schema = writer.node(&[schema], depth);
        if reach as usize > depth && writer.notes.contains(CUT) {
            writer.notes.remove(CUT);
            writer.notes.insert(format!("is large, and left open below level {depth}"));
        }
        Small { schema, notes: writer.notes }
    })
}

pub(super) const CUT: &str = "is left open below the fifth level";

/// The schema without what the document shows.
pub(super) fn bare(mut schema: Value) -> Value {
    strip(&mut schema);
    schema
}

fn strip(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    members.shift_remove(SHOWN);
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties", Value::Object(properties)) => properties.values_mut().for_each(strip),
            ("anyOf" | "allOf" | "prefixItems", Value::Array(branches)) => branches.iter_mut().for_each(strip),
            ("items" | "additionalProperties", one) => strip(one),
            _ => {}
        }
    }
}

pub(super) struct Writer<'a, 'b> {
    document: &'a Document,
    reach: Reach,
    pub(super) budget: &'b mut Budget,
    notes: BTreeSet<String>,
}

impl<'a> Writer<'a, '_> {
    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.notes.insert(what.into());
    }

    pub(super) fn node(&mut self, statements: &[&'a Value], depth: usize) -> Value {
        let mut whole = Whole::of(self.document, statements);
        let mut types = whole.types().unwrap_or_default();
        if types.contains(&"number") {
            types.retain(|kind| *kind != "integer");
        }
        let mut small = Map::new();
        if let Some(text) = whole.keyword("description").and_then(Value::as_str).filter(|text| !text.trim().is_empty())
        {
            small.insert("description".to_owned(), phrase(text, 100).into());
        }
        let values = self.values(&whole, &types);
        whole.nullable |= values.iter().flatten().any(Value::is_null);
        self.scalars(&whole, &types, &mut small);
        let is = |kind: &str| types.contains(&kind);
        let scalar_list = types == ["array"] && values.iter().flatten().all(|value| !value.is_array());
        if let Some(values) = values.clone().filter(|_| !scalar_list) {
            small.insert("enum".to_owned(), values.into());
        }
        if is("array") {
            self.items(&whole, depth, &mut small);
            if let (true, Some(values)) = (scalar_list, values) {
                let items = small.entry("items").or_insert_with(|| json!({}));
                items["enum"] = values.into();
            }
        }
        if is("object") || types.is_empty() {
            self.members(&whole, depth, &mut small);
        }
        self.choices(&whole, depth, &mut types, &mut small);
        for keyword in whole.keywords().filter(|keyword| LEFT_OUT.contains(keyword)) {
            self.note(format!("leaves out what `{keyword}` says"));
        }
        self.kind(&whole, &types, &mut small);
        self.shown(&whole, &types, &mut small);
        Value::Object(small)
    }

    /// Types come last because choices may name them, and stand first because people read them first.
    fn kind(&self, whole: &Whole<'_>, types: &[&str], small: &mut Map<String, Value>) {
        let mut names: Vec<Value> = types.iter().map(|kind| (*kind).into()).collect();
        if whole.nullable {
            let null_only = types.is_empty() && small.keys().all(|keyword| keyword == "description");
            if !names.is_empty() || null_only && whole.types().is_some() {
                names.push("null".into());
            }
            if let Some(Value::Array(values)) =
                small.get_mut("enum").filter(|values| !values.as_array().is_some_and(|v| v.contains(&Value::Null)))
            {
                values.push(Value::Null);
            }
            if let Some(value) = small.shift_remove("const") {
                small.insert("enum".to_owned(), json!([value, null]));
            }
        }
        let kind =
            if names.len() == 1 { names.pop() } else { Some(Value::Array(names)).filter(|all| *all != json!([])) };
        if let Some(kind) = kind {
            small.shift_insert(0, "type".to_owned(), kind);
        }
    }

    fn items(&mut self, whole: &Whole<'a>, depth: usize, small: &mut Map<String, Value>) {
        let tuple = whole.keyword("prefixItems").and_then(Value::as_array);
        let items = whole.keyword("items").filter(|items| items.is_object());
        if tuple.is_none() && items.is_none() {
            return;
        }
        if depth == 0 {
            return self.note(CUT);
        }
        if let Some(tuple) = tuple {
            let items: Vec<Value> = tuple.iter().map(|item| self.node(&[item], depth - 1)).collect();
            small.insert("prefixItems".to_owned(), items.into());
        }
        if let Some(items) = items {
            let items = self.node(&[items], depth - 1);
            if items != json!({}) {
                small.insert("items".to_owned(), items);
            }
        }
    }

    fn members(&mut self, whole: &Whole<'a>, depth: usize, small: &mut Map<String, Value>) {
        // What only the vendor writes is not sent, what only callers write is not answered.
        let hidden = if self.reach == Reach::Request { "readOnly" } else { "writeOnly" };
        let is_hidden = |name: &str| {
            let statements = whole.properties.get(name);
            statements.is_some_and(|all| all.iter().any(|one| one.get(hidden) == Some(&Value::Bool(true))))
        };
        let visible: Vec<_> = whole.properties.iter().filter(|(name, _)| !is_hidden(name)).collect();
        let open = depth == 0 || !self.budget.take(visible.len());
        if open && !visible.is_empty() {
            self.note(CUT);
        }
        let mut properties = Map::new();
        if !open {
            for (name, statements) in &visible {
                properties.insert((**name).to_owned(), self.node(statements, depth - 1));
            }
        }
        // Without properties there is no word on which of them are hidden, but for those that are known here.
        let required = whole.required.iter().filter(|name| match properties.is_empty() {
            true => !is_hidden(name),
            false => properties.contains_key(**name),
        });
        let required: Vec<Value> = required.map(|name| (*name).into()).collect();
        let is_all = visible.len() == whole.properties.len() && !properties.is_empty() || whole.properties.is_empty();
        if !properties.is_empty() {
            small.insert("properties".to_owned(), properties.into());
        }
        // What is shown has its members, or is cut off and has none.
        if !required.is_empty() && self.reach == Reach::Request {
            small.insert("required".to_owned(), required.into());
        }
        self.further(whole, depth, is_all && !open, small);
    }

    /// Members that have no names.
    fn further(&mut self, whole: &Whole<'a>, depth: usize, is_all: bool, small: &mut Map<String, Value>) {
        if let Some(patterns) = whole.keyword("patternProperties").and_then(Value::as_object) {
            if depth == 0 || !self.budget.take(patterns.len()) {
                return self.note(CUT);
            }
            let sound = patterns.iter().filter(|(pattern, _)| plain_pattern(pattern).as_ref() == Some(*pattern));
            let all: Map<String, Value> =
                sound.map(|(pattern, one)| (pattern.clone(), self.node(&[one], depth - 1))).collect();
            if all.len() == patterns.len() {
                small.insert("patternProperties".to_owned(), all.into());
            } else {
                return self.note("leaves out patternProperties with a pattern that does not compile");
            }
        }
        match whole.keyword("additionalProperties") {
            // A part of a composed schema speaks of its own properties alone.
            _ if whole.composed || !whole.choices.is_empty() => {}
            Some(Value::Bool(false)) if is_all => drop(small.insert("additionalProperties".to_owned(), false.into())),
            Some(schema @ Value::Object(_)) if is_all => {
                if depth == 0 || !self.budget.take(1) {
                    return self.note(CUT);
                }
                let one = self.node(&[schema], depth - 1);
                if one != json!({}) {
                    small.insert("additionalProperties".to_owned(), one);
                }
            }
            _ => {}
        }
    }

    fn shown(&self, whole: &Whole<'_>, types: &[&str], small: &mut Map<String, Value>) {
        let first = |all: &'_ Value| all.as_array().and_then(|all| all.first()).cloned();
        let shown = whole.keyword("example").or_else(|| whole.keyword("x-example")).cloned();
        let shown = shown.or_else(|| first(whole.keyword("examples")?));
        let Some(shown) = shown.and_then(|value| convert(types, &value)) else { return };
        // Answers are shown and never checked, and members of objects have examples of their own.
        let plain = !shown.is_object() && !shown.is_array();
        let fine = self.reach == Reach::Answer || !plain || fits(&Value::Object(small.clone()), &shown);
        if fine {
            small.insert(SHOWN.to_owned(), shown);
        }
    }
}
