//! Parameters of paths and queries.

use plugboard_core::manifest::ArrayStyle;
use serde_json::{Map, Value, json};

use super::budget::Reach;
use super::example::{Maker, names};
use super::names::phrase;
use super::operations::Reader;
use super::schema::{self, SHOWN, bare};
use super::values::{convert, fits};
use super::whole::TYPES;

/// Bounds of JSON Schema that parameters of manifests have no word for.
const UNSAID: [&str; 5] = ["minLength", "minItems", "maxItems", "uniqueItems", "multipleOf"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
}

pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) required: bool,
    /// As manifests write it.
    pub(super) draft: Map<String, Value>,
    /// What a value must fit.
    schema: Value,
    /// What the document shows.
    shown: Vec<Value>,
    /// The default of a parameter that is required all the same.
    usual: Option<Value>,
    place: Place,
}

/// What several values of one parameter are joined by.
enum Joined {
    Style(ArrayStyle),
    /// In one text.
    By(&'static str),
}

/// One parameter; of an object whose members travel as parameters of their own, all of them.
pub(super) fn of(reader: &mut Reader<'_, '_>, parameter: &Value, name: &str, place: Place) -> Vec<Parameter> {
    let required = place == Place::Path || parameter.get("required") == Some(&Value::Bool(true));
    // As text of another format.
    let content = parameter.get("content").and_then(Value::as_object).and_then(|content| content.iter().next());
    if let Some((kind, _)) = content {
        reader.remark(format!("the parameter {name} is text of the type {kind}, which callers write themselves"));
        return vec![Parameter::new(
            reader,
            name,
            place,
            required,
            &json!({}),
            parameter,
            &Joined::Style(ArrayStyle::Repeat),
        )];
    }
    let small = schema::small(reader.document, parameter.get("schema").unwrap_or(parameter), Reach::Request);
    for note in small.notes {
        reader.remark(format!("the parameter {name} {note}"));
    }
    let style = joined(parameter, reader.document.is_older());
    let is_form = parameter.get("style").is_none_or(|style| style == "form");
    let apart = place == Place::Query && is_form && parameter.get("explode") != Some(&Value::Bool(false));
    let members = small.schema.get("properties").and_then(Value::as_object);
    match members.filter(|members| apart && !members.is_empty() && !reader.document.is_older()) {
        Some(members) => {
            let needed = names(small.schema.get("required"));
            let nothing = json!({});
            let one = |(name, member): (&String, &Value)| {
                let required = required && needed.contains(&name.as_str());
                Parameter::new(reader, name, place, required, member, &nothing, &style)
            };
            members.iter().map(one).collect()
        }
        None => vec![Parameter::new(reader, name, place, required, &small.schema, parameter, &style)],
    }
}

/// A parameter that always has one value.
pub(super) fn constant(name: String, value: String) -> Parameter {
    let schema = json!({ "type": "string", "enum": [value] });
    let mut draft = Map::from_iter([("type".to_owned(), "string".into()), ("required".to_owned(), true.into())]);
    draft.insert("enum".to_owned(), json!([value]));
    Parameter { name, required: true, draft, schema, shown: Vec::new(), usual: None, place: Place::Query }
}

/// A parameter of a path that nothing describes.
pub(super) fn plain(name: &str) -> Parameter {
    let draft = Map::from_iter([("type".to_owned(), "string".into()), ("required".to_owned(), true.into())]);
    let schema = json!({ "type": "string" });
    Parameter {
        name: name.to_owned(),
        required: true,
        draft,
        schema,
        shown: Vec::new(),
        usual: None,
        place: Place::Path,
    }
}

/// `collectionFormat` (Swagger 2.0), or `style` and `explode`.
fn joined(parameter: &Value, older: bool) -> Joined {
    let said = |name: &str| parameter.get(name).and_then(Value::as_str).unwrap_or_default();
    let explode = parameter.get("explode").and_then(Value::as_bool);
    match (said("style"), said("collectionFormat")) {
        (_, "multi") => Joined::Style(ArrayStyle::Repeat),
        (_, "pipes") => Joined::By("|"),
        (_, "ssv") => Joined::By(" "),
        (_, "tsv") => Joined::By("\t"),
        ("pipeDelimited", _) if explode != Some(true) => Joined::By("|"),
        ("spaceDelimited", _) if explode != Some(true) => Joined::By(" "),
        ("deepObject", _) => Joined::Style(ArrayStyle::Brackets),
        _ if older || explode == Some(false) => Joined::Style(ArrayStyle::Comma),
        _ => Joined::Style(ArrayStyle::Repeat),
    }
}

impl Parameter {
    fn new(
        reader: &mut Reader<'_, '_>,
        name: &str,
        place: Place,
        required: bool,
        small: &Value,
        parameter: &Value,
        style: &Joined,
    ) -> Self {
        let mut draft = Map::new();
        let mut kind = kind(small);
        let mut hint = String::new();
        if kind == "array" && place == Place::Path {
            (kind, hint) = ("string", "values joined by a comma".to_owned());
        }
        if kind == "object" && place == Place::Path {
            reader.remark(format!("the parameter {name} is an object; its text is the caller's to write"));
            kind = "string";
        }
        if let (Joined::By(by), "array") = (style, kind) {
            (kind, hint) = ("string", format!("values joined by {by:?}"));
            reader.remark(format!("the parameter {name} has its values joined by {by:?}; it is drafted as one text"));
        }
        draft.insert("type".to_owned(), kind.into());
        let said = [parameter, small].iter().find_map(|from| from.get("description")?.as_str()).unwrap_or_default();
        let said = if said.trim().is_empty() { String::new() } else { phrase(said, 100) };
        let description: Vec<String> = [said, hint.clone()].into_iter().filter(|text| !text.is_empty()).collect();
        if !description.is_empty() {
            draft.insert("description".to_owned(), description.join("; ").into());
        }
        if required {
            draft.insert("required".to_owned(), true.into());
        }
        let nothing = json!({});
        let (of_value, item) = match kind {
            "array" => (branch(small, "array").get("items").unwrap_or(&nothing), item_kind(reader, name, small)),
            _ if hint.is_empty() => (small, kind),
            _ => (&nothing, kind),
        };
        let rules = rules(reader, name, of_value, item);
        let default = small.get("default").and_then(|value| default(kind, item, value));
        let mut schema = json!({ "type": item });
        if let Some(members) = schema.as_object_mut() {
            members.extend(rules.clone());
        }
        draft.extend(rules);
        // Who must give a value has none that is taken otherwise.
        let (usual, default) = if required { (default, None) } else { (None, default) };
        draft.extend(default.map(|value| ("default".to_owned(), value)));
        if kind == "array" {
            draft.insert("items".to_owned(), item.into());
            if let Joined::Style(style) = style
                && *style != ArrayStyle::Repeat
            {
                draft.insert("style".to_owned(), json!(style));
            }
            schema = json!({ "type": "array", "items": schema });
        } else if kind == "object" {
            schema = bare(small.clone());
        }
        Self { name: name.to_owned(), required, draft, schema, shown: shown(parameter, small), usual, place }
    }

    /// What the document shows, if it fits; else something of its shape.
    pub(super) fn example(&self, maker: Maker) -> Value {
        let kind = self.draft.get("type").and_then(Value::as_str).unwrap_or_default();
        let one = |value: &Value| match (kind, value) {
            ("array", Value::Array(_)) => Some(value.clone()),
            ("array", one) => Some(json!([one])),
            _ => convert(&[kind], value),
        };
        let fine = |value: &Value| (self.place == Place::Query || is_segment(value)) && fits(&self.schema, value);
        let shown = self.shown.iter().filter(|_| maker.shown).filter_map(one).find(fine);
        shown.unwrap_or_else(|| maker.of(&self.schema, &self.name))
    }

    /// The one value it can have, or has where nobody says otherwise.
    pub(super) fn constant(&self) -> Option<String> {
        if !self.required {
            return None;
        }
        only(self.draft.get("enum")).or(self.usual.as_ref()).and_then(text)
    }
}

/// The value of a list of one.
pub(super) fn only(values: Option<&Value>) -> Option<&Value> {
    values?.as_array().filter(|values| values.len() == 1)?.first()
}

/// A value that stands for itself in a URL or a header.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The one type that a parameter has. Text takes every plain value.
fn kind(small: &Value) -> &'static str {
    let kinds = kinds(small);
    let numeric = kinds.iter().all(|kind| matches!(*kind, "integer" | "number"));
    match kinds.as_slice() {
        [] => "string",
        [one] => one,
        kinds if kinds.contains(&"array") => "array",
        _ if numeric => "number",
        _ => "string",
    }
}

/// Types of a schema, or of the branches of its choice.
fn kinds(small: &Value) -> Vec<&'static str> {
    let known = |kind: &Value| TYPES.into_iter().find(|known| kind == known);
    match small.get("type") {
        Some(Value::Array(several)) => several.iter().filter_map(known).collect(),
        Some(one) => known(one).into_iter().collect(),
        None => {
            let mut all: Vec<&str> = branches(small).flat_map(kinds).collect();
            all.sort_unstable();
            all.dedup();
            all
        }
    }
}

fn branches(small: &Value) -> impl Iterator<Item = &Value> {
    small.get("anyOf").and_then(Value::as_array).into_iter().flatten()
}

/// The branch of a choice that is of a type, or the schema itself.
fn branch<'a>(small: &'a Value, kind: &str) -> &'a Value {
    branches(small).find(|branch| kinds(branch).contains(&kind)).unwrap_or(small)
}

/// Items travel as plain values.
fn item_kind(reader: &mut Reader<'_, '_>, name: &str, small: &Value) -> &'static str {
    let kind = branch(small, "array").get("items").map_or("string", kind);
    if matches!(kind, "array" | "object") {
        reader
            .remark(format!("the items of the parameter {name} are no plain values; how they travel is to be decided"));
        return "string";
    }
    kind
}

/// What single values are held to.
fn rules(reader: &mut Reader<'_, '_>, name: &str, small: &Value, kind: &str) -> Map<String, Value> {
    let mut rules = Map::new();
    let said = |keyword: &str| small.get(keyword);
    let is_text = kind == "string";
    if let Some(format) = said("format").filter(|_| is_text) {
        rules.insert("format".to_owned(), format.clone());
    }
    let values = said("enum").and_then(Value::as_array).cloned().or_else(|| Some(vec![said("const")?.clone()]));
    let values: Vec<Value> = values
        .into_iter()
        .flatten()
        .filter(|value| !value.is_null())
        .filter_map(|value| convert(&[kind], &value))
        .collect();
    if !values.is_empty() {
        rules.insert("enum".to_owned(), values.into());
    }
    if let Some(pattern) = said("pattern").and_then(Value::as_str).filter(|_| is_text) {
        match regex::Regex::new(pattern) {
            Ok(_) => drop(rules.insert("pattern".to_owned(), pattern.into())),
            Err(_) => reader.remark(format!("the pattern of the parameter {name} looks around, so it is left out")),
        }
    }
    if matches!(kind, "integer" | "number") {
        let step = if kind == "integer" { 1.0 } else { 0.0 };
        for (keyword, exclusive, step) in
            [("minimum", "exclusiveMinimum", step), ("maximum", "exclusiveMaximum", -step)]
        {
            let beyond = || Some(json!(said(exclusive)?.as_f64()? + step));
            if let Some(bound) = said(keyword).cloned().or_else(beyond) {
                rules.insert(keyword.to_owned(), bound);
            }
        }
    }
    if let Some(most) = said("maxLength").filter(|_| is_text) {
        rules.insert("maxLength".to_owned(), most.clone());
    }
    for keyword in UNSAID.into_iter().filter(|keyword| small.get(keyword).is_some()) {
        reader.remark(format!("`{keyword}` of parameters is not taken over"));
    }
    rules
}

/// A default in the type of the parameter.
fn default(kind: &str, item: &str, value: &Value) -> Option<Value> {
    match (kind, value) {
        ("array", Value::Array(items)) => items.iter().map(|value| convert(&[item], value)).collect(),
        ("array", one) => convert(&[item], one),
        ("object", _) => Some(value.clone()).filter(Value::is_object),
        _ => convert(&[kind], value),
    }
}

fn shown(parameter: &Value, small: &Value) -> Vec<Value> {
    let named = parameter.get("examples").and_then(|examples| match examples {
        Value::Object(named) => named.values().next()?.get("value"),
        Value::Array(several) => several.first(),
        _ => None,
    });
    [parameter.get("example"), named, parameter.get("x-example"), small.get(SHOWN), small.get("default")]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

/// Whether it can stand between two slashes.
fn is_segment(value: &Value) -> bool {
    text(value).is_some_and(|text| {
        !text.is_empty() && !text.contains(['/', '\\', '#', '?', '%', '{']) && !text.starts_with('.')
    })
}
