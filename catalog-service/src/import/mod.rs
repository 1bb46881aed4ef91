//! The draft of a manifest from an OpenAPI document (3.0, 3.1, or Swagger 2.0). What can be taken over is; what a person has to
//! decide is said. The draft loads as it is, and `connectors lint` goes on from there.
//!
//! | module | what it does |
//! | --- | --- |
//! | `document` | reads the document, follows its references, knows its servers and how they want to be asked |
//! | `operations` | paths → operations, parameters, bodies and answers |
//! | `schema` | its schemas → the small ones of manifests |
//! | `example` | values that fit them |

mod document;
mod example;
mod operations;
mod schema;
#[cfg(test)]
mod tests;

use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::manifest::{Category, Manifest};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use self::document::Document;

/// Longest key and tagline of a manifest.
const SHORT: usize = 32;

/// What the document does not say.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// From the title when absent.
    pub key: Option<String>,
    pub category: Category,
    /// ISO 8601.
    pub today: String,
}

#[derive(Debug)]
pub struct Draft {
    /// In YAML.
    pub text: String,
    /// What was left out or made up.
    pub remarks: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the document is neither JSON nor YAML: {0}")]
    Unreadable(String),
    #[error("the document is no OpenAPI: it has no `openapi: 3.x` and no `swagger: \"2.0\"`")]
    NotOpenApi,
    #[error("the document has no operations")]
    NoOperations,
    #[error("the draft cannot be written: {0}")]
    Unwritable(String),
}

/// # Errors
/// A document that is none, or has nothing to call.
pub fn draft(text: &str, wanted: &Wanted) -> Result<Draft, ImportError> {
    let document = Document::parse(text)?;
    let mut remarks = Vec::new();
    let found = operations::of(&document, &mut remarks);
    if found.operations.is_empty() {
        return Err(ImportError::NoOperations);
    }
    let title = document.text("/info/title").unwrap_or("Service");
    let key = wanted.key.clone().unwrap_or_else(|| short(&snake(title)));
    let base = document.base_url().unwrap_or_else(|| {
        remarks.push("modules: the document names no server; base_url is made up".to_owned());
        "https://api.example.com".to_owned()
    });
    let modules: Map<String, Value> = found
        .modules
        .into_iter()
        .map(|(name, summary)| (name, json!({ "summary": summary, "base_url": base })))
        .collect();
    let (fields, transport) = document.security(&mut remarks);
    let test = found.test.clone();
    if test.is_none() {
        remarks.push(
            "auth.test: there is no read without required parameters; name one that proves an account".to_owned(),
        );
    }
    remarks.push("tagline, description and keywords: write them for a model that has to choose a service".to_owned());
    let docs = document.text("/externalDocs/url").unwrap_or("https://docs.example.com");
    let mut manifest = json!({
        "key": key,
        "name": title,
        "tagline": short(title),
        "description": sentence(document.text("/info/description").unwrap_or(title), 200),
        "category": wanted.category,
        "docs": docs,
        "version": wanted.today,
        "keywords": [key],
        "auth": { "flows": [{ "kind": "credentials", "label": "API access", "fields": fields }] },
        "transport": transport,
        "modules": modules,
        "operations": found.operations,
        "verified": { "how": "specification", "on": wanted.today },
    });
    if let Some(test) = test {
        manifest["auth"]["test"] = test.into();
    }
    // Through the model: what comes out has its shape, and only its members.
    let unwritable = |error: &dyn std::fmt::Display| ImportError::Unwritable(error.to_string());
    let manifest: Manifest = serde_json::from_value(manifest).map_err(|error| unwritable(&error))?;
    let text = serde_saphyr::to_string(&manifest).map_err(|error| unwritable(&error))?;
    Ok(Draft { text, remarks })
}

/// As manifests write dates.
#[must_use]
pub fn today() -> String {
    let now = OffsetDateTime::from_unix_timestamp(SystemClock.now().0 / 1_000);
    now.unwrap_or(OffsetDateTime::UNIX_EPOCH).date().to_string()
}

/// `getOrder-byId V2` → `get_order_by_id_v2`.
fn snake(text: &str) -> String {
    let mut snake = String::new();
    let mut lower = false;
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            lower = false;
            if !snake.is_empty() && !snake.ends_with('_') {
                snake.push('_');
            }
            continue;
        }
        if c.is_ascii_uppercase() && lower {
            snake.push('_');
        }
        lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        snake.push(c.to_ascii_lowercase());
    }
    let snake = snake.trim_matches('_');
    match snake.as_bytes().first() {
        Some(first) if first.is_ascii_lowercase() => snake.to_owned(),
        _ => format!("x{snake}"),
    }
}

fn short(text: &str) -> String {
    text.chars().take(SHORT).collect::<String>().trim_end_matches(['_', ' ']).to_owned()
}

/// The first sentence, on one line.
fn sentence(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let first = line.split_inclusive(". ").next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let mut cut: String = first.chars().take(longest).collect();
    if cut.len() < first.len() {
        cut.push('…');
        return cut;
    }
    cut.push('.');
    cut
}
