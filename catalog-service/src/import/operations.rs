//! Paths of a document → operations, one after the other.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;
use serde_json::Value;

use super::document::Document;
use super::drafted::Drafted;
use super::headers::Headers;
use super::modules::Modules;
use super::names::{free, sentence, snake};
use super::parameters::{self, Parameter, Place};
use super::paths::Path;
use super::remarks::Remarks;
use super::selection::Selection;
use super::{answers, bodies};

/// Verbs, and the effect that each suggests.
const VERBS: [(&str, &str); 6] = [
    ("get", "read"),
    ("head", "read"),
    ("put", "idempotent"),
    ("delete", "idempotent"),
    ("post", "once"),
    ("patch", "once"),
];
/// Verbs of documents that no call has.
const OTHER_VERBS: [&str; 2] = ["options", "trace"];

/// The document and where remarks on one operation go.
pub(super) struct Reader<'a, 'r> {
    pub(super) document: &'a Document,
    remarks: &'r mut Remarks,
    id: &'r str,
}

impl Reader<'_, '_> {
    pub(super) fn remark(&mut self, what: impl Into<String>) {
        self.remarks.operation(self.id, what);
    }
}

#[derive(Default)]
pub(super) struct Found<'a> {
    pub(super) drafted: Vec<Drafted>,
    /// What each says of security.
    pub(super) security: Vec<(String, Option<&'a Value>)>,
    pub(super) headers: Headers,
}

pub(super) fn of<'a>(
    document: &'a Document,
    selection: &Selection,
    modules: &mut Modules,
    remarks: &mut Remarks,
) -> Found<'a> {
    let mut found = Found::default();
    let mut ids: HashSet<String> = HashSet::new();
    // One address and verb is one call, whatever its parameters are called.
    let mut calls: HashMap<String, String> = HashMap::new();
    for (written, item) in document.paths() {
        let item = document.resolve(item);
        let taken = |verb: &str| item.get(verb).filter(|operation| selection.takes(written, operation));
        for verb in OTHER_VERBS.iter().filter(|verb| taken(verb).is_some()) {
            remarks.operation(written, format!("{} is not taken over", verb.to_uppercase()));
        }
        for (verb, effect) in VERBS {
            let Some(operation) = taken(verb) else { continue };
            let id = free(&name(operation, verb, written), |id| !ids.contains(id));
            let path = match Path::read(written) {
                Ok(path) => path,
                Err(why) => {
                    remarks.operation(&id, format!("is left out: it {why}"));
                    continue;
                }
            };
            let module = modules.of(item, operation, remarks);
            let call = format!("{module} {verb} {}", path.shape());
            if let Some(first) = calls.get(&call) {
                remarks.operation(&id, format!("is left out: it is the same call as {first}"));
                continue;
            }
            calls.insert(call, id.clone());
            ids.insert(id.clone());
            let number = found.drafted.len() as u64 + 1;
            let mut reader = Reader { document, remarks, id: &id };
            let mut drafted = read(&mut reader, item, operation, path, verb, &mut found.headers);
            drafted.effect = effect;
            drafted.number = number;
            drafted.module = module;
            found.security.push((id, operation.get("security").or_else(|| document.at("/security"))));
            found.drafted.push(drafted);
        }
    }
    found
}

fn name(operation: &Value, verb: &str, path: &str) -> String {
    let named = operation.get("operationId").and_then(Value::as_str).and_then(snake);
    named.or_else(|| snake(&format!("{verb} {path}"))).unwrap_or_else(|| verb.to_owned())
}

fn read(
    reader: &mut Reader<'_, '_>,
    item: &Value,
    operation: &Value,
    path: Path,
    verb: &str,
    headers: &mut Headers,
) -> Drafted {
    let said = |name: &str| operation.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let summary = sentence(said("summary").or_else(|| said("description")).unwrap_or(reader.id), 100);
    let mut drafted = Drafted::new(reader.id, verb, &path.text, summary);
    let asked = all_parameters(reader, item, operation);
    for ((place, name), parameter) in &asked {
        match place.as_str() {
            "path" => match path.names.iter().find(|(original, _)| original == name) {
                Some(_) => {
                    for (_, plain) in path.names.iter().filter(|(original, _)| original == name) {
                        drafted.path_params.extend(parameters::of(reader, parameter, plain, Place::Path));
                    }
                }
                None => reader.remark(format!("the parameter {name} does not stand in the path, so it is left out")),
            },
            "query" => drafted.query.extend(parameters::of(reader, parameter, name, Place::Query)),
            "header" => drafted.headers.extend(headers.read(reader, parameter, name)),
            "cookie" => reader.remark(format!("the cookie {name} is not taken over")),
            _ => {}
        }
    }
    complete_path(reader, &path, &mut drafted.path_params);
    for (name, value) in path.query {
        if drafted.query.iter().all(|parameter| parameter.name != name) {
            drafted.query.push(parameters::constant(name, value));
        }
    }
    drafted.body = match reader.document.is_older() {
        true => bodies::of_parameters(reader, operation, &asked.values().copied().collect::<Vec<_>>()),
        false => bodies::of(reader, operation),
    };
    if drafted.body.is_some() && matches!(verb, "get" | "head") {
        reader.remark(format!("a {} has no body; what it says of one is left out", verb.to_uppercase()));
        drafted.body = None;
    }
    if let Some(kind) = drafted.body.as_mut().and_then(|body| body.content_type.take()) {
        drafted.headers.push(("Content-Type".to_owned(), kind));
    }
    drafted.answer = answers::of(reader, operation, verb);
    if operation.get("tags").and_then(Value::as_array).is_some_and(|tags| tags.len() > 1) {
        reader.remark("has several tags; the first names its module");
    }
    if operation.get("deprecated") == Some(&Value::Bool(true)) {
        reader.remark("is deprecated");
    }
    if operation.get("callbacks").is_some() {
        reader.remark("has callbacks, which are not taken over");
    }
    drafted
}

/// By place and name; an operation's own stand for those of its path.
fn all_parameters<'a>(
    reader: &Reader<'a, '_>,
    item: &'a Value,
    operation: &'a Value,
) -> IndexMap<(String, String), &'a Value> {
    let mut all = IndexMap::new();
    for parameter in [item, operation].into_iter().filter_map(|from| from.get("parameters")?.as_array()).flatten() {
        let parameter = reader.document.resolve(parameter);
        let said = |name: &str| parameter.get(name).and_then(Value::as_str);
        if let (Some(place), Some(name)) = (said("in"), said("name")) {
            all.insert((place.to_owned(), name.to_owned()), parameter);
        }
    }
    all
}

fn complete_path(reader: &mut Reader<'_, '_>, path: &Path, described: &mut Vec<Parameter>) {
    for (original, name) in &path.names {
        if described.iter().all(|parameter| parameter.name != *name) {
            reader
                .remark(format!("the document does not describe {{{original}}} of the path; it is taken as a string"));
            described.push(parameters::plain(name));
        }
    }
}
