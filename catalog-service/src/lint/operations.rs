//! Operations: what they are called, what they do, what they take.

use std::collections::HashMap;

use plugboard_core::json_pointer::child;
use plugboard_core::manifest::{Effect, Idempotency, KNOWN_FORMATS, Operation, Param, ParamType, PathTemplate, Style};
use serde_json::Value;

use super::general::{is_snake, is_token, success};
use super::{Lint, bodies};

const VERBS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const SUMMARY: usize = 160;

pub(super) fn check(lint: &mut Lint<'_>) {
    let operations = &lint.manifest.operations;
    lint.want(!operations.is_empty(), "/operations", || "at least one is needed".to_owned());
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut recipes: HashMap<String, &str> = HashMap::new();
    for (at, operation) in operations.iter().enumerate() {
        let pointer = format!("/operations/{at}");
        let id = child(&pointer, "id");
        lint.want(is_snake(&operation.id), &id, || "is snake_case".to_owned());
        let first = ids.insert(&operation.id, at);
        lint.want(first.is_none(), &id, || format!("{} stands twice", operation.id));
        if let Some(first) = recipes.insert(recipe(operation), &operation.id) {
            lint.add(&pointer, format!("is the same call as {first}"));
        }
        let length = operation.summary.chars().count();
        lint.want((1..=SUMMARY).contains(&length), &child(&pointer, "summary"), || {
            format!("has {length} characters; 1 to {SUMMARY} are allowed")
        });
        call(lint, &pointer, operation);
        effect(lint, &pointer, operation);
        parameters(lint, &pointer, operation);
        bodies::check(lint, &pointer, operation);
        references(lint, &pointer, operation);
    }
}

/// The call as the vendor sees it; parameters count by place, not by name.
fn recipe(operation: &Operation) -> String {
    let mut path = String::new();
    let mut inside = false;
    for character in operation.path.as_deref().unwrap_or_default().chars() {
        match character {
            '{' => inside = true,
            '}' => {
                inside = false;
                path.push('*');
            }
            _ if inside => {}
            _ => path.push(character),
        }
    }
    format!("{} {} {path}", operation.module, operation.method)
}

fn call(lint: &mut Lint<'_>, pointer: &str, operation: &Operation) {
    let Some(module) = lint.manifest.modules.get(&operation.module) else {
        return lint.add(&child(pointer, "module"), format!("module {} does not exist", operation.module));
    };
    let method = child(pointer, "method");
    let place = child(pointer, "path");
    match (module.style, &operation.path) {
        (Style::Rpc, path) => {
            lint.want(path.is_none(), &place, || "an rpc operation has none".to_owned());
            lint.want(operation.query.is_empty() && operation.path_params.is_empty(), pointer, || {
                "an rpc operation takes its arguments in the body".to_owned()
            });
        }
        (Style::Rest, None) => lint.add(pointer, "a rest operation has a path"),
        (Style::Rest, Some(path)) => {
            let verb = VERBS.contains(&operation.method.as_str());
            lint.want(verb, &method, || format!("is one of {}", VERBS.join(", ")));
            let plain = !path.contains(['?', '#', '%', '\\', ' ']) && !path.contains("//") && !path.contains("..");
            lint.want(plain, &place, || "is written decoded, without query, `//` and `..`".to_owned());
            match PathTemplate::parse(path) {
                Err(error) => lint.add(&place, error.to_string()),
                Ok(template) => {
                    for name in template.names() {
                        let described = operation.path_params.contains_key(name);
                        lint.want(described, &place, || format!("{{{name}}} is not described in path_params"));
                    }
                    for name in operation.path_params.keys() {
                        let stands = template.names().contains(name);
                        lint.want(stands, &child(&child(pointer, "path_params"), name), || {
                            "does not stand in the path".to_owned()
                        });
                    }
                }
            }
        }
    }
    for name in operation.headers.keys() {
        lint.want(is_token(name), &child(&child(pointer, "headers"), name), || "is no header name".to_owned());
    }
}

fn effect(lint: &mut Lint<'_>, pointer: &str, operation: &Operation) {
    let module = lint.manifest.modules.get(&operation.module);
    let verb = match module.and_then(|module| module.rpc.as_ref()) {
        Some(rpc) => rpc.verb.as_str(),
        None => operation.method.as_str(),
    };
    let suggested = match verb {
        "GET" | "HEAD" => Effect::Read,
        "PUT" | "DELETE" => Effect::Idempotent,
        _ => Effect::Once,
    };
    let place = child(pointer, "effect");
    let explained = operation.effect_reason.as_ref().is_some_and(|reason| !reason.trim().is_empty());
    // That a vendor honours idempotency keys is said by `idempotency`.
    let usual = operation.effect == suggested || operation.effect == Effect::Keyed && suggested == Effect::Once;
    lint.want(usual || explained, &place, || {
        format!(
            "is {}, but {verb} suggests {}: say why in effect_reason",
            operation.effect.as_str(),
            suggested.as_str()
        )
    });
    let keyed = operation.effect != Effect::Keyed || lint.manifest.idempotency.is_some();
    lint.want(keyed, &place, || "keyed needs idempotency: how the vendor recognises a repeat".to_owned());
    if let Some(rule) = lint.manifest.idempotency.as_ref().filter(|_| operation.effect == Effect::Keyed) {
        repeat(lint, &place, operation, rule);
    }
}

/// The key is put in where the caller gives none, so that it must have a place and cannot be required.
fn repeat(lint: &mut Lint<'_>, place: &str, operation: &Operation, rule: &Idempotency) {
    if let Some(name) = &rule.query {
        let optional = operation.query.get(name).is_some_and(|parameter| !parameter.required);
        lint.want(optional, place, || format!("keyed needs an optional query parameter {name}"));
    }
    if let Some(name) = &rule.field {
        let member = |keyword: &str| operation.body.as_ref().and_then(|schema| schema.get(keyword));
        let known = member("properties").is_some_and(|properties| properties.get(name).is_some());
        let required =
            member("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|n| n == name));
        lint.want(known && !required, place, || format!("keyed needs an optional field {name} at the top of the body"));
    }
}

fn parameters(lint: &mut Lint<'_>, pointer: &str, operation: &Operation) {
    for (what, parameters) in [("path_params", &operation.path_params), ("query", &operation.query)] {
        for (name, param) in parameters {
            parameter(lint, &child(&child(pointer, what), name), param, what == "path_params");
        }
    }
}

fn parameter(lint: &mut Lint<'_>, pointer: &str, parameter: &Param, in_path: bool) {
    if let Some(format) = &parameter.format {
        let known = KNOWN_FORMATS.contains(&format.as_str());
        lint.want(known, &child(pointer, "format"), || format!("is one of {}", KNOWN_FORMATS.join(", ")));
    }
    if let Some(pattern) = &parameter.pattern {
        let sound = regex::Regex::new(pattern).is_ok();
        lint.want(sound, &child(pointer, "pattern"), || "does not compile".to_owned());
    }
    if let Some(list) = &parameter.x_enum {
        let known = lint.manifest.enums.contains_key(list);
        lint.want(known, &child(pointer, "x-enum"), || format!("enums has no list {list}"));
        lint.want(parameter.values.is_empty(), pointer, || "has enum and x-enum; one is enough".to_owned());
    }
    let array = parameter.kind == ParamType::Array;
    lint.want(array || parameter.items.is_none(), pointer, || "items belong to arrays".to_owned());
    let scalar_items = !matches!(parameter.items, Some(ParamType::Array | ParamType::Object));
    lint.want(scalar_items, pointer, || "items are plain values".to_owned());
    let (least, most) = (parameter.minimum.unwrap_or(f64::MIN), parameter.maximum.unwrap_or(f64::MAX));
    lint.want(least <= most, pointer, || format!("minimum {least} is more than maximum {most}"));
    let kind = if array { parameter.items.unwrap_or(ParamType::String) } else { parameter.kind };
    for (at, value) in parameter.values.iter().enumerate() {
        lint.want(fits(kind, value), &format!("{pointer}/enum/{at}"), || format!("{value} is of another type"));
    }
    if let Some(default) = &parameter.default {
        let fit = match default {
            Value::Array(items) if array => items.iter().all(|item| fits(kind, item)),
            single => fits(kind, single),
        };
        lint.want(fit, &child(pointer, "default"), || format!("{default} is of another type"));
        lint.want(!parameter.required, &child(pointer, "default"), || "a required parameter has none".to_owned());
    }
    if in_path {
        let plain = !matches!(parameter.kind, ParamType::Object);
        lint.want(plain, pointer, || "an object cannot stand in a path".to_owned());
    } else {
        lint.want(!parameter.encoded, pointer, || "encoded is for path parameters".to_owned());
    }
}

fn fits(kind: ParamType, value: &Value) -> bool {
    match kind {
        ParamType::String => value.is_string(),
        ParamType::Integer => value.is_i64() || value.is_u64(),
        ParamType::Number => value.is_number(),
        ParamType::Boolean => value.is_boolean(),
        ParamType::Array => value.is_array(),
        ParamType::Object => value.is_object(),
    }
}

fn references(lint: &mut Lint<'_>, pointer: &str, operation: &Operation) {
    if let Some(bucket) = &operation.rate_limit {
        let known = lint.manifest.rate_limits.contains_key(bucket);
        lint.want(known, &child(pointer, "rate_limit"), || format!("rate_limits has no bucket {bucket}"));
    }
    if let Some(rule) = &operation.success {
        success(lint, rule, &child(pointer, "success"));
    }
    let Some(pagination) = &operation.pagination else { return };
    let place = child(pointer, "pagination");
    for (what, name) in [("request", &pagination.request), ("size", &pagination.size)] {
        let Some(name) = name else { continue };
        let place = child(&place, what);
        if name.starts_with('/') {
            let known = operation.body.as_ref().is_some_and(|schema| body_has(schema, name));
            lint.want(known, &place, || format!("the body has no {name}"));
        } else {
            let known = operation.query.contains_key(name);
            lint.want(known, &place, || format!("there is no query parameter {name}; a body field begins with `/`"));
        }
    }
    let pointers = [
        ("next", &pagination.next),
        ("items", &pagination.items),
        ("total", &pagination.total),
        ("more", &pagination.more),
    ];
    for (what, text) in pointers {
        if let Some(text) = text {
            lint.want_pointer(text, &child(&place, what));
        }
    }
}

/// Whether a body schema describes, or at least allows, the value at a pointer.
fn body_has(schema: &Value, pointer: &str) -> bool {
    let mut node = schema;
    for step in pointer.split('/').skip(1) {
        let Some(properties) = node.get("properties").and_then(Value::as_object) else { return true };
        match properties.get(step) {
            Some(property) => node = property,
            None => return false,
        }
    }
    true
}
