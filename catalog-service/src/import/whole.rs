//! A schema with everything that its references and its `allOf` add. Borrowed: a document is read many times over, and the
//! same schema stands for many places in it.

use indexmap::IndexMap;
use serde_json::Value;

use super::document::Document;

/// Types of JSON Schema, without `null`.
pub(super) const TYPES: [&str; 6] = ["string", "integer", "number", "boolean", "array", "object"];

/// Several statements about one value.
pub(super) type Statements<'a> = Vec<&'a Value>;

#[derive(Default)]
pub(super) struct Whole<'a> {
    /// Keywords of which the first statement counts.
    keywords: IndexMap<&'a str, &'a Value>,
    types: Option<Vec<&'a str>>,
    pub(super) nullable: bool,
    pub(super) properties: IndexMap<&'a str, Statements<'a>>,
    pub(super) required: Vec<&'a str>,
    pub(super) allowed: Option<Vec<&'a Value>>,
    /// Of each list, the value fits at least one. `oneOf` is read so, too: what is left open here may fit several.
    pub(super) choices: Vec<Vec<&'a Value>>,
    /// Made of several schemas, none of which knows the properties of the others.
    pub(super) composed: bool,
    seen: Vec<*const Value>,
}

impl<'a> Whole<'a> {
    pub(super) fn of(document: &'a Document, statements: &[&'a Value]) -> Self {
        let mut whole = Self { composed: statements.len() > 1, ..Self::default() };
        for schema in statements {
            whole.add(document, schema);
        }
        whole.settle_choices(document);
        whole
    }

    pub(super) fn keyword(&self, name: &str) -> Option<&'a Value> {
        self.keywords.get(name).copied()
    }

    pub(super) fn keywords(&self) -> impl Iterator<Item = &'a str> {
        self.keywords.keys().copied()
    }

    /// What a schema without a type is for, if its keywords tell.
    pub(super) fn types(&self) -> Option<Vec<&'a str>> {
        let of_object = ["additionalProperties", "patternProperties", "minProperties", "maxProperties"];
        match &self.types {
            Some(types) => Some(types.clone()),
            None if !self.properties.is_empty() || of_object.iter().any(|name| self.keywords.contains_key(name)) => {
                Some(vec!["object"])
            }
            None if self.keywords.contains_key("items") => Some(vec!["array"]),
            None => None,
        }
    }

    fn add(&mut self, document: &'a Document, schema: &'a Value) {
        // A part that is the whole again would not end.
        if self.seen.contains(&std::ptr::from_ref(schema)) {
            return;
        }
        self.seen.push(schema);
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            match (keyword.as_str(), value) {
                ("type", _) => self.narrow_types(value),
                ("nullable" | "x-nullable", _) => self.nullable |= *value == Value::Bool(true),
                ("properties", Value::Object(properties)) => {
                    for (name, property) in properties {
                        self.properties.entry(name).or_default().push(property);
                    }
                }
                ("required", Value::Array(names)) => {
                    for name in names.iter().filter_map(Value::as_str) {
                        if !self.required.contains(&name) {
                            self.required.push(name);
                        }
                    }
                }
                ("enum", Value::Array(values)) => self.narrow_values(values),
                ("oneOf" | "anyOf", Value::Array(choice)) if !choice.is_empty() => {
                    self.choices.push(choice.iter().collect());
                }
                ("$ref" | "allOf", _) => {}
                _ => {
                    self.keywords.entry(keyword).or_insert(value);
                }
            }
        }
        // Afterwards, so that what stands beside a reference comes before what it leads to.
        if schema.get("$ref").is_some() {
            self.add(document, document.resolve(schema));
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.composed = true;
            self.add(document, part);
        }
    }

    fn narrow_types(&mut self, value: &'a Value) {
        let named: Vec<&str> = match value {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => return,
        };
        self.nullable |= named.contains(&"null");
        // `file` and words of the author's own say nothing that can be held against a value.
        let known: Vec<&str> = named.iter().copied().filter(|one| TYPES.contains(one)).collect();
        if known.is_empty() && named.iter().any(|one| *one != "null") {
            return;
        }
        self.types = match self.types.take() {
            None => Some(known),
            Some(mine) => {
                let both: Vec<&str> = mine.iter().copied().filter(|one| covers(&known, one)).collect();
                Some(if both.is_empty() { mine } else { both })
            }
        };
    }

    fn narrow_values(&mut self, values: &'a [Value]) {
        self.allowed = Some(match self.allowed.take() {
            None => values.iter().collect(),
            Some(mine) => {
                let both: Vec<&Value> = mine.iter().copied().filter(|value| values.contains(value)).collect();
                if both.is_empty() { mine } else { both }
            }
        });
    }

    /// "This or nothing" is this, and may be null; a choice of one is none.
    fn settle_choices(&mut self, document: &'a Document) {
        let mut open = Vec::new();
        while let Some(mut choice) = self.choices.pop() {
            let all = choice.len();
            choice.retain(|branch| !is_null(document.resolve(branch)));
            self.nullable |= choice.len() < all;
            match choice.as_slice() {
                [] => {}
                [only] => {
                    self.composed = true;
                    self.add(document, only);
                }
                _ => open.push(choice),
            }
        }
        open.reverse();
        self.choices = open;
    }
}

fn covers(types: &[&str], one: &str) -> bool {
    types.contains(&one) || one == "integer" && types.contains(&"number")
}

fn is_null(schema: &Value) -> bool {
    let said = |keyword: &str| schema.get(keyword);
    said("type").is_some_and(|kind| kind == "null")
        || schema.as_object().is_some_and(|members| members.get("const").is_some_and(Value::is_null))
        || said("enum")
            .and_then(Value::as_array)
            .is_some_and(|values| !values.is_empty() && values.iter().all(Value::is_null))
}
