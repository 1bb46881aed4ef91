//! A value that fits a small schema.

use serde_json::{Map, Value, json};

use super::pattern;
use super::schema::SHOWN;

/// Items that are made up for a list, at most.
const ITEMS: usize = 10;
/// A request shows so many members, unless more are required.
const MEMBERS: usize = 3;

/// How the values of one operation are made up, so that they are no other's.
#[derive(Clone, Copy)]
pub(super) struct Maker {
    /// The operation's.
    pub(super) number: u64,
    /// Use what the document shows.
    pub(super) shown: bool,
    /// Write every member, not only those that a request needs.
    pub(super) all: bool,
}

impl Maker {
    /// `name` is what the value is called.
    pub(super) fn of(self, schema: &Value, name: &str) -> Value {
        let said = |keyword: &str| schema.get(keyword).filter(|value| !value.is_null());
        let listed = || said("enum")?.as_array()?.iter().find(|value| !value.is_null());
        let shown = said(SHOWN).filter(|_| self.shown);
        if let Some(value) = shown.or_else(|| said("const")).or_else(listed).or_else(|| said("default")) {
            return value.clone();
        }
        match kind(schema) {
            Some("integer") => self.number(schema).into(),
            Some("number") => self.decimal(schema),
            Some("boolean") => true.into(),
            Some("array") => self.list(schema, name),
            Some("object") => self.object(schema),
            Some("null") => Value::Null,
            Some(_) => self.text(schema, name).into(),
            None => match schema.pointer("/anyOf/0") {
                Some(first) => self.of(first, name),
                None if schema.get("required").is_some() => self.object(schema),
                None => self.text(schema, name).into(),
            },
        }
    }

    fn object(self, schema: &Value) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let required: Vec<&str> = names(schema.get("required"));
        let mut members = Map::new();
        for (name, property) in properties.into_iter().flatten() {
            if self.all || required.contains(&name.as_str()) {
                members.insert(name.clone(), self.of(property, name));
            }
        }
        for (name, property) in properties.into_iter().flatten() {
            if members.len() >= MEMBERS {
                break;
            }
            if !members.contains_key(name) {
                members.insert(name.clone(), self.of(property, name));
            }
        }
        for name in required {
            if !members.contains_key(name) {
                members.insert(name.to_owned(), self.text(&Value::Null, name).into());
            }
        }
        if let Some(further) =
            schema.get("additionalProperties").filter(|further| further.is_object() && members.is_empty())
        {
            members.insert("key".to_owned(), self.of(further, "key"));
        }
        // Of each choice one.
        let more = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
        for choice in std::iter::once(schema).chain(more) {
            let branch = choice.pointer("/anyOf/0").filter(|branch| kind(branch).is_none_or(|kind| kind == "object"));
            if let Some(Value::Object(chosen)) = branch.map(|branch| self.object(branch)) {
                members
                    .extend(chosen.into_iter().filter(|(name, _)| !members.contains_key(name)).collect::<Map<_, _>>());
            }
        }
        Value::Object(members)
    }

    fn list(self, schema: &Value, name: &str) -> Value {
        if let Some(tuple) = schema.get("prefixItems").and_then(Value::as_array) {
            return tuple.iter().map(|item| self.of(item, name)).collect();
        }
        let count = schema.get("minItems").and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
        let item = |at: usize| {
            let maker = Self { number: self.number + at as u64, ..self };
            schema.get("items").map_or_else(|| self.text(&Value::Null, name).into(), |items| maker.of(items, name))
        };
        (0..count.unwrap_or(1).clamp(1, ITEMS)).map(item).collect()
    }

    /// The operation's number, or the nearest that the schema allows.
    fn number(self, schema: &Value) -> i64 {
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
        let least =
            bound("minimum").map(f64::ceil).or_else(|| bound("exclusiveMinimum").map(|least| least.floor() + 1.0));
        let most = bound("maximum").map(f64::floor).or_else(|| bound("exclusiveMaximum").map(|most| most.ceil() - 1.0));
        let (least, most) = (least.unwrap_or(f64::MIN), most.unwrap_or(f64::MAX));
        let mut number = self.number as f64;
        if number < least || number > most {
            let room = (most - least + 1.0).clamp(1.0, 1000.0);
            number = if least > f64::MIN { least + number % room } else { most };
        }
        if let Some(step) = bound("multipleOf") {
            let up = (number / step).ceil() * step;
            number = if up > most { (most / step).floor() * step } else { up };
        }
        number as i64
    }

    /// A whole number where one fits, for it is easier to read.
    fn decimal(self, schema: &Value) -> Value {
        let number = self.number(schema);
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
        let exact = number as f64;
        let fits = bound("minimum").is_none_or(|least| exact >= least)
            && bound("maximum").is_none_or(|most| exact <= most)
            && bound("exclusiveMinimum").is_none_or(|least| exact > least)
            && bound("exclusiveMaximum").is_none_or(|most| exact < most);
        let least = bound("minimum").or_else(|| bound("exclusiveMinimum"));
        let most = bound("maximum").or_else(|| bound("exclusiveMaximum"));
        match (least, most) {
            (Some(least), Some(most)) if !fits => json!(f64::midpoint(least, most)),
            _ => number.into(),
        }
    }

    fn text(self, schema: &Value, name: &str) -> String {
        let length =
            |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok());
        let (least, most) = (length("minLength").unwrap_or(0), length("maxLength").unwrap_or(usize::MAX));
        let Self { number, .. } = self;
        if let Some(text) =
            schema.get("pattern").and_then(Value::as_str).and_then(|text| pattern::matching(text, number, least, most))
        {
            return text;
        }
        match schema.get("format").and_then(Value::as_str).unwrap_or_default() {
            "date" => return "2026-04-15".to_owned(),
            "date-time" => return "2026-04-15T10:30:00Z".to_owned(),
            "uuid" => return format!("3f8b6c1e-52d4-4a9b-8c1d-{number:012x}"),
            "uri" => return format!("https://shop.example/{number}"),
            "email" => return format!("anna{number}@shop.example"),
            "byte" => return "dGV4dA==".to_owned(),
            _ => {}
        }
        let word: String = name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-')).collect();
        let text = format!("{}-{number}", if word.is_empty() { "text" } else { &word });
        let count = text.chars().count();
        // The number stays where the text is cut: it tells operations apart.
        let padding = "x".chars().cycle().take(least.saturating_sub(count));
        text.chars().skip(count.saturating_sub(most)).chain(padding).collect()
    }
}

/// The first type that is not `null`.
fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(one) => Some(one),
        Value::Array(several) => several.iter().filter_map(Value::as_str).find(|kind| *kind != "null").or(Some("null")),
        _ => None,
    }
}

pub(super) fn names(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}
