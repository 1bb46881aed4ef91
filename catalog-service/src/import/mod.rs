//! The draft of a manifest from an OpenAPI document (3.0, 3.1, or Swagger 2.0). What can be taken over is; what a person has to
//! decide is said. The draft loads as it is, and `connectors lint` goes on from there.
//!
//! | module | what it does |
//! | --- | --- |
//! | `document`, `selection` | reads the document, follows its references; which part of it is drafted |
//! | `servers`, `modules` | where calls go, and how they are grouped |
//! | `security` | how accounts prove themselves |
//! | `operations`, `drafted` | paths → operations, one after the other; an operation → what manifests write |
//! | `paths`, `parameters`, `headers`, `bodies`, `answers` | the parts of one |
//! | `whole`, `schema`, `keywords`, `choices`, `budget` | its schemas → the small ones of manifests, and how much of them |
//! | `values`, `example`, `pattern` | values that fit them |
//! | `names`, `remarks` | names and texts; what was left out or made up |

mod answers;
mod bodies;
mod budget;
mod choices;
mod document;
mod drafted;
mod example;
mod headers;
mod keywords;
mod modules;
mod names;
mod operations;
mod parameters;
mod paths;
mod pattern;
mod remarks;
mod schema;
mod security;
mod selection;
mod servers;
#[cfg(test)]
mod tests;
mod values;
mod whole;

use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::ids::ServiceKey;
use plugboard_core::manifest::{Category, Manifest, Operation};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use self::budget::Budgets;
use self::document::Document;
use self::drafted::{Constants, Seen};
use self::modules::Modules;
use self::names::{SHORT, line, sentence, short, snake};
use self::remarks::Remarks;
use self::security::Access;
pub use self::selection::Selection;
use self::servers::Servers;
use crate::lint;
use crate::load::{Finding, MAX_FILE, Source};

/// A manifest has no room for more operations, however little is said of each.
const MOST: usize = 4_000;
/// Of the usual budget for schemas, what is tried until the draft is small enough to be loaded: all, a half, a quarter…
const PARTS: [usize; 4] = [1, 2, 4, 16];
/// Longest name of a service.
const NAME: usize = 60;

/// What the document does not say.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// From the title when absent.
    pub key: Option<String>,
    pub category: Category,
    /// ISO 8601.
    pub today: String,
    pub selection: Selection,
}

#[derive(Debug)]
pub struct Draft {
    pub key: String,
    pub operations: usize,
    /// In YAML.
    pub text: String,
    /// What was left out or made up.
    pub remarks: Vec<String>,
}

impl Draft {
    /// What lint says of it, in a file of its name.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        lint::source(&Source { file: format!("{}.yaml", self.key), text: self.text.clone() })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the document is neither JSON nor YAML: {0}")]
    Unreadable(String),
    #[error("the document is no OpenAPI: it has no `openapi: 3.x` and no `swagger: \"2.0\"`")]
    NotOpenApi,
    #[error("the key {0:?} is not [a-z0-9][a-z0-9_]*, at most 32 characters")]
    Key(String),
    #[error("the document has no operations")]
    NoOperations,
    #[error("no operation of the document can stand in a manifest: {0}")]
    NoneLeft(String),
    #[error(
        "the document has {count} operations, more than a manifest can hold: draft a part with --tag NAME or --path PREFIX; {choices}"
    )]
    TooMany { count: usize, choices: String },
    #[error("the document's paths lie in other files; bundle it first (`redocly bundle`)")]
    Elsewhere,
    #[error("the document has no operation of that tag and path; {0}")]
    NotSelected(String),
    #[error("the draft cannot be written: {0}")]
    Unwritable(String),
}

/// # Errors
/// A document that is none, or has nothing to call.
pub fn draft(text: &str, wanted: &Wanted) -> Result<Draft, ImportError> {
    if let Some(key) = &wanted.key
        && (ServiceKey::parse(key).is_none() || key.contains('.'))
    {
        return Err(ImportError::Key(key.clone()));
    }
    let mut document = Document::parse(text)?;
    let count = wanted.selection.count(&document);
    if count > MOST {
        return Err(ImportError::TooMany { count, choices: selection::choices(&document) });
    }
    let mut whole = None;
    for part in PARTS {
        document.budgets = Budgets::for_operations(count, part);
        let mut draft = attempt(&document, wanted)?;
        if draft.text.len() as u64 <= MAX_FILE {
            if whole.is_some() {
                draft.remarks.push(format!(
                    "schemas are written out less deep than they could be, so that the draft is no larger than a manifest may be; a part drafted with --tag NAME or --path PREFIX says more; {}",
                    selection::choices(&document)
                ));
            }
            return Ok(draft);
        }
        whole.get_or_insert(draft);
    }
    whole.map(|draft| too_large(draft, &document)).ok_or(ImportError::NoOperations)
}

fn too_large(mut draft: Draft, document: &Document) -> Draft {
    draft.remarks.push(format!(
        "the draft has {} operations and {:.1} MiB, and a manifest has at most 1 MiB: draft a part with --tag NAME or --path PREFIX; {}",
        draft.operations,
        draft.text.len() as f64 / MAX_FILE as f64,
        selection::choices(document)
    ));
    draft
}

fn attempt(document: &Document, wanted: &Wanted) -> Result<Draft, ImportError> {
    let mut remarks = Remarks::default();
    let mut modules = Modules::new(Servers::of(document, &mut remarks));
    let mut found = operations::of(document, &wanted.selection, &mut modules, &mut remarks);
    if found.drafted.is_empty() {
        let why = remarks.of_operations();
        return Err(match wanted.selection.is_everything() {
            _ if !why.is_empty() => ImportError::NoneLeft(why),
            true if document.lies_elsewhere() => ImportError::Elsewhere,
            true => ImportError::NoOperations,
            false => ImportError::NotSelected(selection::choices(document)),
        });
    }
    let access = security::of(document, &found.security, &mut remarks);
    let constants = Constants::take(&mut found.drafted);
    let test = found.drafted.iter().find(|operation| operation.is_test()).map(|operation| operation.id.clone());
    let callers = found.headers.of_callers(&access, &mut remarks);
    let transport = transport(&access, constants, callers, &mut remarks);
    let mut manifest = identity(document, wanted, &mut remarks);
    let key = manifest["key"].as_str().unwrap_or_default().to_owned();
    manifest["auth"] = json!({ "flows": [{ "kind": "credentials", "label": "API access", "fields": access.fields }] });
    match test {
        Some(test) => manifest["auth"]["test"] = test.into(),
        None => {
            remarks.document("auth.test: there is no read without required parameters; name one that proves an account")
        }
    }
    manifest["transport"] = transport.into();
    manifest["modules"] = modules.write().into();
    let count = found.drafted.len();
    let mut seen = Seen::default();
    let operations = found.drafted.into_iter().map(|operation| checked(operation.write(&mut seen)));
    manifest["operations"] = operations.collect::<Result<Vec<Value>, _>>()?.into();
    manifest["verified"] = json!({ "how": "specification", "on": wanted.today });
    document.tell_lost(&mut remarks);
    let text = write(&manifest)?;
    Ok(Draft { key, operations: count, text, remarks: remarks.into_lines() })
}

/// What the connector is called, and what it says of itself.
fn identity(document: &Document, wanted: &Wanted, remarks: &mut Remarks) -> Value {
    let title = document.text("/info/title").unwrap_or("Service");
    let own = || snake(title).or_else(|| snake(&servers::host_word(document)?)).map(|key| short(&key));
    let key = wanted.key.clone().or_else(own).unwrap_or_else(|| "service".to_owned());
    // Everybody reads taglines: letters beyond ASCII are for names.
    let tagline =
        if title.is_ascii() { short(&line(title, SHORT + 1)) } else { short(&format!("{key} API").replace('_', " ")) };
    remarks.document("tagline, description and keywords: write them for a model that has to choose a service");
    let docs = document.text("/externalDocs/url").map(|url| url.replacen("http://", "https://", 1));
    let docs = docs.filter(|url| url::Url::parse(url).is_ok_and(|url| url.scheme() == "https" && url.has_host()));
    let docs = docs.unwrap_or_else(|| {
        remarks.document("docs: the document does not say where the documentation is; the address is made up");
        "https://docs.example.com".to_owned()
    });
    if document.at("/webhooks").and_then(Value::as_object).is_some_and(|hooks| !hooks.is_empty()) {
        remarks.document("the document's webhooks are not taken over");
    }
    json!({
        "key": key,
        "name": line(title, NAME),
        "tagline": tagline,
        "description": sentence(document.text("/info/description").unwrap_or(title), 200),
        "category": wanted.category,
        "docs": docs,
        "version": wanted.today,
        "keywords": [key],
    })
}

fn transport(access: &Access, constants: Constants, callers: Vec<String>, remarks: &mut Remarks) -> Map<String, Value> {
    let mut transport = Map::new();
    for (what, mut all, credentials) in
        [("headers", constants.headers, &access.headers), ("query", constants.query, &access.query)]
    {
        for (name, value) in &all {
            remarks.document(format!(
                "transport.{what}: every operation must have {name} as {value}, so each call gets it"
            ));
        }
        all.extend(credentials.clone());
        if !all.is_empty() {
            transport.insert(what.to_owned(), all.into());
        }
    }
    if let Some(basic) = &access.basic {
        transport.insert("basic".to_owned(), basic.clone());
    }
    if !callers.is_empty() {
        transport.insert("caller_headers".to_owned(), callers.into());
    }
    transport
}

/// An operation as it is written, if the model takes it. One after the other: all at once take the memory twice.
fn checked(operation: Value) -> Result<Value, ImportError> {
    match Operation::deserialize(&operation) {
        Ok(_) => Ok(operation),
        Err(error) => Err(ImportError::Unwritable(format!("{}: {error}", operation["id"]))),
    }
}

/// What is said and no defaults; a manifest without its operations, which have been checked, goes through the model.
fn write(manifest: &Value) -> Result<String, ImportError> {
    let unwritable = |error: &dyn std::fmt::Display| ImportError::Unwritable(error.to_string());
    let mut frame: Map<String, Value> = manifest
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "operations")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    frame.insert("operations".to_owned(), json!([]));
    Manifest::deserialize(&Value::Object(frame)).map_err(|error| unwritable(&error))?;
    serde_saphyr::to_string(manifest).map_err(|error| unwritable(&error))
}

/// As manifests write dates.
#[must_use]
pub fn today() -> String {
    let now = OffsetDateTime::from_unix_timestamp(SystemClock.now().0 / 1_000);
    now.unwrap_or(OffsetDateTime::UNIX_EPOCH).date().to_string()
}
