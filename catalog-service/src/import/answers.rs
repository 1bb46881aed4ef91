//! What a call answers, to show it: the sandbox does.

use serde_json::{Map, Value, json};

use super::bodies::{self, essence, is_file, is_json, shown};
use super::budget::Reach;
use super::example::Maker;
use super::operations::Reader;
use super::schema;

/// Items of a list that are shown.
const ITEMS: usize = 2;
/// Characters of a text that are shown.
const LONGEST: usize = 200;

#[derive(Default)]
pub(super) struct Answer {
    shown: Option<Value>,
    /// To make one up.
    schema: Option<Value>,
}

/// Of the first success.
pub(super) fn of(reader: &mut Reader<'_, '_>, operation: &Value, verb: &str) -> Answer {
    let answers = operation.get("responses").and_then(Value::as_object);
    let by = |fits: &dyn Fn(&str) -> bool| answers?.iter().find(|(status, _)| fits(status)).map(|(_, answer)| answer);
    let success = by(&|status| status.starts_with('2')).or_else(|| by(&|status| status == "default"));
    let answer = success.map(|answer| reader.document.resolve(answer));
    match answer.and_then(|answer| media(reader, operation, answer)) {
        Some(Media::Json { shown, schema }) => {
            let schema = schema.map(|schema| schema::small(reader.document, schema, Reach::Answer).schema);
            if shown.is_none() && schema.is_some() {
                reader.remark("response_example is made up from the schema");
            }
            if shown.is_none() && schema.is_none() {
                return unknown(reader, verb);
            }
            Answer { shown: shown.map(|value| pruned(&value)), schema }
        }
        Some(Media::Text) => Answer::plain("".into()),
        Some(Media::File(kind)) => {
            reader.remark(format!("answers with {kind}; response_example is empty"));
            Answer::plain("".into())
        }
        None => unknown(reader, verb),
    }
}

fn unknown(reader: &mut Reader<'_, '_>, verb: &str) -> Answer {
    // What changes something may answer with nothing; what reads has something to say.
    if verb == "get" {
        reader.remark("the document does not say what it answers; response_example is empty");
        return Answer::plain(json!({}));
    }
    Answer::plain(Value::Null)
}

enum Media<'a> {
    Json { shown: Option<Value>, schema: Option<&'a Value> },
    Text,
    File(String),
}

fn media<'a>(reader: &Reader<'a, '_>, operation: &Value, answer: &'a Value) -> Option<Media<'a>> {
    if reader.document.is_older() {
        let shown = answer.get("examples").and_then(Value::as_object);
        let shown =
            shown.and_then(|all| all.iter().find(|(kind, _)| is_json(&essence(kind)))).map(|(_, one)| one.clone());
        let schema = answer.get("schema");
        if shown.is_none() && schema.is_none() {
            return None;
        }
        let kinds = bodies::kinds(reader, operation, "produces");
        return Some(match kinds.first() {
            _ if schema.is_some_and(|schema| is_file(reader.document.resolve(schema))) => {
                Media::File(kinds.first().cloned().unwrap_or_else(|| "a file".to_owned()))
            }
            Some(kind) if !kinds.iter().any(|kind| is_json(kind)) => other(kind),
            _ => Media::Json { shown, schema },
        });
    }
    let content = answer.get("content")?.as_object()?;
    match content.iter().find(|(kind, _)| is_json(&essence(kind))) {
        Some((_, media)) => Some(Media::Json { shown: shown(media), schema: media.get("schema") }),
        None => content.keys().next().map(|kind| other(&essence(kind))),
    }
}

fn other(kind: &str) -> Media<'static> {
    let readable =
        kind.starts_with("text/") || ["xml", "csv", "yaml", "javascript"].iter().any(|word| kind.contains(word));
    if readable { Media::Text } else { Media::File(kind.to_owned()) }
}

/// Short enough to be read, and of the same shape.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().take(ITEMS).map(pruned).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, one)| (name.clone(), pruned(one))).collect::<Map<_, _>>())
        }
        Value::String(text) => text.chars().take(LONGEST).collect::<String>().into(),
        other => other.clone(),
    }
}

impl Answer {
    fn plain(value: Value) -> Self {
        Self { shown: Some(value), schema: None }
    }

    pub(super) fn example(&self, maker: Maker) -> Value {
        match (&self.shown, &self.schema) {
            (Some(shown), None) => shown.clone(),
            (Some(shown), Some(_)) if maker.shown => shown.clone(),
            (_, Some(schema)) => Maker { all: true, ..maker }.of(schema, "text"),
            (None, None) => Value::Null,
        }
    }
}
