//! Made-up values that fit what a manifest asks for, so that a new connector needs no test code.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use plugboard_core::manifest::CredentialField;
use plugboard_core::manifest::credentials::matches_whole;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Value, json};

/// How often something is repeated that may be repeated without end.
const ENOUGH: u32 = 24;
/// And at most, where a pattern allows for very much: secrets stay readable in a failure.
const MOST: u32 = 40;

/// Letters and digits that occur nowhere else.
pub fn unique() -> String {
    format!("cnr{}", uuid::Uuid::new_v4().simple())
}

/// A host of its own, where a tenant may name any.
pub fn host() -> String {
    format!("{}.example.com", unique())
}

/// Every required field. What is secret is made up anew; the rest is what the manifest's own sandbox has, since it is
/// plausible there.
pub fn fields(asked: &IndexMap<String, CredentialField>) -> BTreeMap<String, String> {
    let required = asked.iter().filter(|(_, field)| !field.optional);
    required.map(|(name, field)| (name.clone(), value(name, field))).collect()
}

fn value(name: &str, field: &CredentialField) -> String {
    let suggested = field.sandbox.clone().or_else(|| field.default.clone());
    let value = match (&field.pattern, suggested) {
        // A private key cannot be invented.
        (_, Some(value)) if !field.secret || field.multiline => value,
        (Some(pattern), _) => fitting(pattern),
        (None, _) if field.host => host(),
        (None, _) => unique(),
    };
    let fits = field.pattern.as_ref().is_none_or(|pattern| matches_whole(pattern, &value));
    assert!(fits, "{name}: {value} does not fit {:?}", field.pattern);
    value
}

/// A random text that the whole pattern matches, of lower-case letters and digits where it leaves the choice.
///
/// # Panics
/// When the pattern does not compile.
pub fn fitting(pattern: &str) -> String {
    let parsed = regex_syntax::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let mut text = String::new();
    write(&parsed, &mut text);
    text
}

fn write(pattern: &Hir, text: &mut String) {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => text.push(one_of(class)),
        HirKind::Repetition(repetition) => {
            // Of a character as many as make it unique, of a group as few as fit.
            let enough = if matches!(repetition.sub.kind(), HirKind::Class(_)) { ENOUGH } else { 1 };
            let most = repetition.max.map_or(enough, |most| if enough == 1 { most.min(1) } else { most.min(MOST) });
            for _ in 0..most.max(repetition.min) {
                write(&repetition.sub, text);
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, text)),
        HirKind::Alternation(choices) => choices.iter().take(1).for_each(|choice| write(choice, text)),
    }
}

fn one_of(class: &Class) -> char {
    let Class::Unicode(class) = class else { panic!("a pattern is about text") };
    let within = |c: &char| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(c));
    for preferred in ["0123456789abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"] {
        let fitting: Vec<char> = preferred.chars().filter(within).collect();
        if !fitting.is_empty() {
            let at = uuid::Uuid::new_v4().as_u128() % fitting.len() as u128;
            return fitting[usize::try_from(at).unwrap_or_default()];
        }
    }
    class.ranges()[0].start()
}

/// A JSON document that has these values at these pointers (RFC 6901). Digits are places in a list.
pub fn document(values: &[(&str, Value)]) -> Value {
    let mut document = Value::Null;
    for (pointer, value) in values {
        let mut place = &mut document;
        for step in pointer.split('/').skip(1) {
            place = match step.parse::<usize>() {
                Ok(at) => {
                    if !place.is_array() {
                        *place = json!([]);
                    }
                    let items = place.as_array_mut().unwrap();
                    while items.len() <= at {
                        items.push(Value::Null);
                    }
                    &mut items[at]
                }
                Err(_) => {
                    if !place.is_object() {
                        *place = json!({});
                    }
                    place
                        .as_object_mut()
                        .unwrap()
                        .entry(step.replace("~1", "/").replace("~0", "~"))
                        .or_insert(Value::Null)
                }
            };
        }
        *place = value.clone();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_fits() {
        for pattern in [
            "[0-9]{10}",
            "AC[0-9a-fA-F]{32}",
            "(sk|rk)_(live|test)_[A-Za-z0-9]{8,}",
            r"\S+",
            r"[0-9]{6,12}:[A-Za-z0-9_-]{30,50}",
            r"((eu|in)\.)?mixpanel\.com",
            "production|sandbox",
            r"[\w~-][\w.~-]*(/[\w~-][\w.~-]*)*",
        ] {
            let (one, other) = (fitting(pattern), fitting(pattern));
            assert!(matches_whole(pattern, &one), "{pattern}: {one}");
            assert!(one.is_ascii() && other.is_ascii());
        }
        assert_ne!(fitting("[A-Za-z0-9]{40}"), fitting("[A-Za-z0-9]{40}"));
    }

    #[test]
    fn documents_have_their_values() {
        let made = document(&[("/a/0/b", json!(1)), ("/a/1", json!("x")), ("/c~1d", json!(null))]);
        assert_eq!(made, json!({"a": [{"b": 1}, "x"], "c/d": null}));
        assert_eq!(document(&[("/0/id", json!("t"))]), json!([{"id": "t"}]));
    }
}
