//! Everything that is wrong with a manifest, with file, line and place. Loading asks only whether a manifest can be
//! used; this asks whether it says the truth in the way the others do. CI wants no findings.

mod account;
mod bodies;
mod examples;
mod general;
mod oauth;
mod operations;
mod signatures;
mod urls;

#[cfg(test)]
mod oauth_tests;
#[cfg(test)]
mod signatures_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use plugboard_core::manifest::{Connector, Manifest};
use serde_json::Value;

use crate::lines::Lines;
use crate::load::{self, Finding, LoadError, Source};
use crate::schema;

/// Lints the manifests that are compiled in.
///
/// # Errors
/// When the binary is damaged.
pub fn built_in() -> Result<Vec<Finding>, LoadError> {
    Ok(sources(&load::built_in()?))
}

/// Lints every manifest below a directory, or one file.
///
/// # Errors
/// What cannot be read.
pub fn path(path: &Path) -> Result<Vec<Finding>, LoadError> {
    Ok(sources(&load::directory(path)?))
}

/// Lints manifests that are served together.
pub fn sources(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut files: HashMap<String, &str> = HashMap::new();
    for file in sources {
        findings.extend(source(file));
        let key = load::to_value(file).ok().and_then(|value| value.get("key")?.as_str().map(str::to_owned));
        let Some(key) = key else { continue };
        if let Some(first) = files.insert(key.clone(), &file.file) {
            let line = Lines::of(&file.text).at("/key");
            let message = format!("{key} is also defined by {first}");
            findings.push(Finding { file: file.file.clone(), line, place: "key".to_owned(), message });
        }
    }
    findings
}

/// Lints one manifest.
pub fn source(source: &Source) -> Vec<Finding> {
    if source.text.len() as u64 > load::MAX_FILE {
        return vec![load::too_large(&source.file)];
    }
    let value = match load::to_value(source) {
        Ok(value) => value,
        Err(finding) => return vec![finding],
    };
    let wrong = schema::findings(source, &value);
    if !wrong.is_empty() {
        return wrong;
    }
    let manifest = match load::from_value(source, &value) {
        Ok(manifest) => manifest,
        Err(findings) => return findings,
    };
    let mut lint =
        Lint { source, value: &value, manifest: &manifest, lines: Lines::of(&source.text), findings: Vec::new() };
    general::check(&mut lint);
    account::check(&mut lint);
    urls::check(&mut lint);
    operations::check(&mut lint);
    match Connector::from_manifest(manifest.clone()) {
        Ok(connector) => examples::check(&mut lint, &connector),
        // The rules above name the same mistakes by place; what they do not know is said here.
        Err(error) if lint.findings.is_empty() => lint.add("", error.to_string()),
        Err(_) => {}
    }
    let mut findings = lint.findings;
    findings.sort_by_key(|finding| finding.line);
    findings
}

/// One manifest under inspection.
struct Lint<'a> {
    source: &'a Source,
    value: &'a Value,
    manifest: &'a Manifest,
    lines: Lines,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    /// Notes a finding about the value at a JSON pointer.
    fn add(&mut self, pointer: &str, message: impl Into<String>) {
        self.findings.push(Finding {
            file: self.source.file.clone(),
            line: self.lines.at(pointer),
            place: schema::place(pointer, self.value),
            message: message.into(),
        });
    }

    /// Notes a finding unless the statement holds.
    fn want(&mut self, holds: bool, pointer: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.add(pointer, message());
        }
    }

    /// RFC 6901: empty, or beginning with a slash.
    fn want_pointer(&mut self, text: &str, pointer: &str) {
        self.want(text.is_empty() || text.starts_with('/'), pointer, || {
            format!("{text:?} is no JSON pointer: begin with `/`")
        });
    }
}

/// Whether the whole value matches, as credential fields do; `None` when the pattern does not compile.
fn matches_whole(pattern: &str, value: &str) -> Option<bool> {
    regex::Regex::new(&format!(r"\A(?:{pattern})\z")).ok().map(|pattern| pattern.is_match(value))
}
