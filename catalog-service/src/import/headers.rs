//! Headers that operations ask for: fixed ones, and those that callers may set.

use indexmap::IndexMap;
use plugboard_core::egress::is_settable_header;
use serde_json::Value;

use super::budget::Reach;
use super::operations::Reader;
use super::parameters::{only, text};
use super::remarks::Remarks;
use super::schema;
use super::security::Access;

/// What callers never set, beyond what frames a request: it is the account's, or follows from the body.
const OURS: [&str; 3] = ["authorization", "content-type", "accept"];

/// Headers of all operations, by their names in small letters.
#[derive(Default)]
pub(super) struct Headers {
    asked: IndexMap<String, Asked>,
}

struct Asked {
    name: String,
    required: usize,
    operations: usize,
}

impl Headers {
    /// A header with its one value, where the operation must have it; others are noted for callers.
    pub(super) fn read(&mut self, reader: &Reader<'_, '_>, parameter: &Value, name: &str) -> Option<(String, String)> {
        let required = parameter.get("required") == Some(&Value::Bool(true));
        let small = schema::small(reader.document, parameter.get("schema").unwrap_or(parameter), Reach::Request).schema;
        let fixed = only(small.get("enum")).or_else(|| small.get("const")).or_else(|| small.get("default"));
        let fixed = fixed.and_then(text).filter(|text| required && is_value(text));
        let lower = name.to_ascii_lowercase();
        if OURS.contains(&lower.as_str()) && (lower != "accept" || fixed.is_none()) {
            return None;
        }
        if let Some(value) = fixed {
            return Some((name.to_owned(), value));
        }
        let asked = self.asked.entry(lower).or_insert(Asked { name: name.to_owned(), required: 0, operations: 0 });
        asked.operations += 1;
        asked.required += usize::from(required);
        None
    }

    /// The names that callers may set, but for those that carry a credential.
    pub(super) fn of_callers(self, access: &Access, remarks: &mut Remarks) -> Vec<String> {
        let free = self.asked.into_values().filter(|asked| !access.takes_header(&asked.name));
        let mut names = Vec::new();
        for Asked { name, required, operations } in free {
            if !is_settable_header(&name) {
                remarks.document(format!(
                    "the header {name} frames the request; nobody can set it ({operations} operations)"
                ));
                continue;
            }
            remarks.document(format!(
                "the header {name} is the callers' to set ({operations} operations, {required} of which require it)"
            ));
            names.push(name);
        }
        names
    }
}

/// Templates have braces, and header values no line breaks.
fn is_value(text: &str) -> bool {
    !text.contains(['{', '}']) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
