//! What a connector says about itself: names, texts, limits, lists.

use std::path::Path;

use plugboard_core::ids::ServiceKey;
use plugboard_core::json_pointer::child;
use plugboard_core::manifest::{Condition, SuccessRule, body};
use serde_json::Value;

use super::Lint;

const TAGLINE: usize = 32;
const DESCRIPTION: usize = 200;

pub(super) fn check(lint: &mut Lint<'_>) {
    identity(lint);
    texts(lint);
    limits(lint);
    enums(lint);
    errors(lint);
}

fn identity(lint: &mut Lint<'_>) {
    let manifest = lint.manifest;
    let plain = ServiceKey::parse(&manifest.key).is_some() && !manifest.key.contains('.');
    lint.want(plain, "/key", || format!("{:?} is not [a-z0-9][a-z0-9_]*, at most 32 characters", manifest.key));
    let path = Path::new(&lint.source.file);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    lint.want(stem == manifest.key, "/key", || format!("the file is called {stem}.yaml, so the key is {stem}"));
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let category = manifest.category.as_str();
    if let Some(folder) = folder {
        lint.want(folder == category, "/category", || format!("is {category}, but the folder is {folder}"));
    }
    lint.want(is_https(&manifest.docs), "/docs", || "must be an https:// address".to_owned());
    lint.want(!manifest.version.is_empty(), "/version", || "is empty".to_owned());
    lint.want(manifest.ttl > 0, "/ttl", || "must be more than 0 seconds".to_owned());
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let date = time::Date::parse(&manifest.verified.on, &format);
    lint.want(date.is_ok(), "/verified/on", || "must be a date: 2026-11-22".to_owned());
    lint.want(!manifest.modules.is_empty(), "/modules", || "at least one is needed".to_owned());
    for (name, module) in &manifest.modules {
        let pointer = child("/modules", name);
        lint.want(is_snake(name), &pointer, || "the name of a module is snake_case".to_owned());
        let used = module.open || manifest.operations.iter().any(|operation| operation.module == *name);
        lint.want(used, &pointer, || "has no operation and is not open".to_owned());
        let path = lint.value.pointer(&child(&pointer, "body"));
        let idle = path.is_some() && manifest.operations.iter().all(|op| op.module != *name || op.body.is_none());
        lint.want(!idle || module.open, &pointer, || "names a body encoding, but no operation has a body".to_owned());
    }
}

fn texts(lint: &mut Lint<'_>) {
    let manifest = lint.manifest;
    let texts = [
        ("/name", &manifest.name, 60),
        ("/tagline", &manifest.tagline, TAGLINE),
        ("/description", &manifest.description, DESCRIPTION),
    ];
    for (pointer, text, most) in texts {
        let length = text.chars().count();
        lint.want(!text.trim().is_empty(), pointer, || "is empty".to_owned());
        lint.want(length <= most, pointer, || format!("has {length} characters; at most {most} are allowed"));
        lint.want(!text.contains('\n'), pointer, || "must be one line".to_owned());
    }
    // Every caller reads every tagline: letters that cost more than one byte are for names and keywords.
    lint.want(manifest.tagline.is_ascii(), "/tagline", || {
        "must be English: it is read by everybody, and it is short".to_owned()
    });
    for (at, hint) in manifest.hints.iter().enumerate() {
        lint.want(!hint.trim().is_empty(), &format!("/hints/{at}"), || "is empty".to_owned());
    }
    for (at, keyword) in manifest.keywords.iter().enumerate() {
        let twice = manifest.keywords[..at].contains(keyword);
        lint.want(!twice, &format!("/keywords/{at}"), || format!("{keyword} stands twice"));
    }
}

fn limits(lint: &mut Lint<'_>) {
    let manifest = lint.manifest;
    for (name, limit) in &manifest.rate_limits {
        let pointer = child("/rate_limits", name);
        lint.want(limit.requests > 0, &child(&pointer, "requests"), || "must be more than 0".to_owned());
        lint.want(limit.per_seconds > 0, &child(&pointer, "per_seconds"), || "must be more than 0".to_owned());
        lint.want(limit.burst != Some(0), &child(&pointer, "burst"), || "must be more than 0".to_owned());
        let used = name == "default" || manifest.operations.iter().any(|op| op.rate_limit.as_ref() == Some(name));
        lint.want(used, &pointer, || "no operation spends from this bucket".to_owned());
    }
    if let Some(rule) = &manifest.idempotency {
        let header = rule.header.as_ref().is_none_or(|header| is_token(header));
        lint.want(header, "/idempotency/header", || "is no header name".to_owned());
        let places = [&rule.header, &rule.query, &rule.field].into_iter().flatten().count();
        lint.want(places == 1, "/idempotency", || "needs exactly one of header, query, field".to_owned());
    }
}

fn enums(lint: &mut Lint<'_>) {
    let manifest = lint.manifest;
    for (name, values) in &manifest.enums {
        let pointer = child("/enums", name);
        lint.want(!values.is_empty(), &pointer, || "has no values".to_owned());
        let in_parameters = manifest.operations.iter().any(|operation| {
            let parameters = operation.path_params.values().chain(operation.query.values());
            parameters.into_iter().any(|parameter| parameter.x_enum.as_ref() == Some(name))
        });
        let used = in_parameters
            || manifest.operations.iter().filter_map(|op| op.body.as_ref()).any(|body| mentions(body, name));
        lint.want(used, &pointer, || format!("no parameter and no body has x-enum: {name}"));
    }
}

/// Whether a schema names the list anywhere.
fn mentions(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(members) => {
            let here = |(key, value): (&String, &Value)| body::names_list(key) && value.as_str() == Some(name);
            members.iter().any(|member| here(member) || mentions(member.1, name))
        }
        Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        _ => false,
    }
}

fn errors(lint: &mut Lint<'_>) {
    let rules = &lint.manifest.errors;
    let lists =
        [("message", &rules.message), ("code", &rules.code), ("retry_after_pointers", &rules.retry_after_pointers)];
    for (name, pointers) in lists {
        for (at, pointer) in pointers.iter().enumerate() {
            lint.want_pointer(pointer, &format!("/errors/{name}/{at}"));
        }
    }
    for (at, mapping) in rules.map.iter().enumerate() {
        let pointer = format!("/errors/map/{at}");
        let conditional = mapping.status.is_some() || mapping.code.is_some();
        lint.want(conditional, &pointer, || "needs a status or a code".to_owned());
        if let Some(status) = mapping.status {
            lint.want((200..600).contains(&status), &pointer, || format!("{status} is no HTTP status"));
        }
        let readable = mapping.code.is_none() || !rules.code.is_empty();
        lint.want(readable, &pointer, || "compares a code, but errors.code does not say where it is".to_owned());
    }
    if let Some(rule) = &lint.manifest.success {
        success(lint, rule, "/success");
    }
}

pub(super) fn success(lint: &mut Lint<'_>, rule: &SuccessRule, pointer: &str) {
    // An operation without conditions takes the connector's rule back.
    let overrides = pointer != "/success" && lint.manifest.success.is_some();
    lint.want(overrides || !rule.all.is_empty(), pointer, || "has no condition".to_owned());
    for (at, condition) in rule.all.iter().enumerate() {
        let pointer = format!("{pointer}/all/{at}");
        lint.want_pointer(&condition.pointer, &pointer);
        let Condition { equals, not_equals, present, empty, .. } = condition;
        let tests = [equals.is_some(), not_equals.is_some(), present.is_some(), empty.is_some()];
        let count = tests.into_iter().filter(|given| *given).count();
        lint.want(count == 1, &pointer, || {
            format!("needs exactly one of equals, not_equals, present, empty; it has {count}")
        });
    }
}

pub(super) fn is_https(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.has_host())
}

pub(super) fn is_snake(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
