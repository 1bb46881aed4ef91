//! A request as an organization's admin may see it: what is secret by its name or by its looks is `***`, and what is long
//! is cut. The account's credentials are not in it in the first place: a gateway never has them.

use plugboard_core::job::{Job, Payload};
use plugboard_core::manifest::Connector;
use serde_json::{Map, Value, json};

use super::limits::{BODY_BYTES, REQUEST_BYTES};

/// As vendors' answers have it.
const MASK: &str = "***";
/// Of one value.
const VALUE: usize = 80;
/// Of one list, and of one object.
const MEMBERS: usize = 20;
const DEPTH: usize = 6;

/// Parts of names under which secrets, and people's documents and cards, are sent.
const SENSITIVE: [&str; 33] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "credential",
    "signature",
    "session",
    "cookie",
    "bearer",
    "otp",
    "pin",
    "cvv",
    "cvc",
    "card",
    "pan",
    "iban",
    "passport",
    "snils",
    "ssn",
    "inn",
    "birth",
    "phone",
    "email",
    "account_number",
    "accountnumber",
    "pwd",
    "auth",
    "sign",
];
/// Names that are short, and parts of harmless ones: they count as a whole word.
const WHOLE: [&str; 9] = ["otp", "pin", "pan", "inn", "sign", "auth", "card", "ssn", "pwd"];

/// A run this long, in which there are digits and letters, looks like a key or a token. Ids of some vendors look the same,
/// and are masked with them.
const RUN: usize = 24;
/// The same of a part of a run that separators divide, so that a path of short words is shown.
const PART: usize = 16;

/// The request of a job, as JSON of [`REQUEST_BYTES`] at most.
pub(super) fn request(job: &Job, connector: &Connector) -> String {
    let operation = job.operation.as_deref().and_then(|id| connector.operation(id));
    let template = operation.and_then(|(_, compiled)| compiled.path.as_ref());
    let mut shown = Map::new();
    shown.insert("method".to_owned(), json!(bounded(&text(&job.method), VALUE)));
    shown.insert("module".to_owned(), json!(job.module));
    match template {
        Some(template) => {
            shown.insert("path".to_owned(), json!(template.as_str()));
            let names = template.names().iter().map(String::as_str);
            let values = template.matches(&job.path).unwrap_or_default();
            insert(&mut shown, "path_params", pairs(names.zip(values)));
        }
        None if !job.path.is_empty() => {
            shown.insert("path".to_owned(), json!(bounded(&text(&job.path), VALUE * 2)));
        }
        None => {}
    }
    let texts = |list: &'static str, found: &[(String, String)], shown: &mut Map<String, Value>| {
        insert(shown, list, pairs(found.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
    };
    texts("query", &job.query, &mut shown);
    texts("headers", &job.headers, &mut shown);
    if let Some(body) = body(job.body.as_ref()) {
        shown.insert("body".to_owned(), body);
    }
    fit(shown)
}

/// Leaves the largest parts out until it is small enough.
fn fit(shown: Map<String, Value>) -> String {
    let mut shown = Value::Object(shown);
    let mut text = shown.to_string();
    for part in ["body", "query", "headers", "path_params"] {
        if text.len() <= REQUEST_BYTES {
            return text;
        }
        if let Some(large) = shown.get_mut(part) {
            *large = json!("… (too large to be shown)");
            text = shown.to_string();
        }
    }
    if text.len() <= REQUEST_BYTES { text } else { json!({"path": "… (too large to be shown)"}).to_string() }
}

fn insert(shown: &mut Map<String, Value>, name: &str, found: Map<String, Value>) {
    if !found.is_empty() {
        shown.insert(name.to_owned(), Value::Object(found));
    }
}

fn pairs<'a>(found: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    let shown = |(name, value): (&str, &str)| {
        let value = if is_sensitive(name) { MASK.to_owned() } else { bounded(&text(value), VALUE) };
        (bounded(&text(name), VALUE), Value::String(value))
    };
    found.take(MEMBERS).map(shown).collect()
}

fn body(body: Option<&Payload>) -> Option<Value> {
    let bytes = match body? {
        Payload::Inline(bytes) if bytes.len() <= BODY_BYTES => bytes,
        body => return Some(json!(format!("… ({} bytes)", body.len()))),
    };
    // Checked JSON; anything else is not ours to guess at.
    let value = serde_json::from_slice(bytes).ok()?;
    Some(masked(value, DEPTH))
}

fn masked(value: Value, depth: usize) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) if depth == 0 => json!("…"),
        Value::Object(members) => {
            let more = members.len() > MEMBERS;
            let mut shown: Map<String, Value> = members
                .into_iter()
                .take(MEMBERS)
                .map(|(name, value)| {
                    let value = if is_sensitive(&name) { json!(MASK) } else { masked(value, depth - 1) };
                    (bounded(&text(&name), VALUE), value)
                })
                .collect();
            if more {
                shown.insert("…".to_owned(), json!("…"));
            }
            Value::Object(shown)
        }
        Value::Array(items) => {
            let more = items.len() > MEMBERS;
            let shown = items.into_iter().take(MEMBERS).map(|item| masked(item, depth - 1));
            shown.chain(more.then(|| json!("…"))).collect()
        }
        Value::String(found) => Value::String(bounded(&text(&found), VALUE)),
        // Of a card, or of an account.
        Value::Number(number) if number.to_string().len() > 11 => json!(MASK),
        other => other,
    }
}

fn is_sensitive(name: &str) -> bool {
    let mut words = String::with_capacity(name.len() + 4);
    let mut before_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && before_lower {
            words.push('_');
        }
        before_lower = c.is_lowercase();
        words.push(if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    }
    let joined = words.replace('_', "");
    SENSITIVE.into_iter().any(|part| match WHOLE.contains(&part) {
        true => words.split('_').any(|word| word == part),
        false => joined.contains(part) || words.contains(part),
    })
}

/// With what looks like a key in it masked.
pub(super) fn text(found: &str) -> String {
    let mut shown = String::with_capacity(found.len());
    let mut rest = found;
    while !rest.is_empty() {
        let run = rest.find(|c: char| !of_run(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(run);
        shown.push_str(if looks_secret(run) { MASK } else { run });
        let between = after.find(of_run).unwrap_or(after.len());
        shown.push_str(&after[..between]);
        rest = &after[between..];
    }
    shown
}

/// Of a token of RFC 6750 and its like.
fn of_run(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=' | '.' | '~')
}

fn looks_secret(run: &str) -> bool {
    let longest = run.split(['/', '.', '_', '-']).map(str::len).max().unwrap_or_default();
    let has = |kind: fn(&u8) -> bool| run.as_bytes().iter().any(kind);
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    run.len() >= RUN && ((mixed && longest >= PART) || longest >= 2 * PART)
}

/// Cut after so many characters.
pub(super) fn bounded(found: &str, most: usize) -> String {
    match found.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &found[..end]),
        None => found.to_owned(),
    }
}
