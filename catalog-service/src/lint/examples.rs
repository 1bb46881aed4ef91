//! Examples: a request must pass the very check that callers meet, an answer must be what the rules call a success.

use std::collections::HashMap;

use percent_encoding::{AsciiSet, utf8_percent_encode};
use plugboard_core::json_pointer::child;
use plugboard_core::manifest::{
    CallArguments, Connector, ConnectorOperation, Effect, Operation, RequestExample, Style,
};
use plugboard_core::percent::UNRESERVED;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Lint;

/// Of a path with several segments.
const REST: &AsciiSet = &UNRESERVED.remove(b'/');

pub(super) fn check(lint: &mut Lint<'_>, connector: &Connector) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for at in 0..lint.manifest.operations.len() {
        let operation = &lint.manifest.operations[at];
        let pointer = format!("/operations/{at}");
        let Some((_, compiled)) = connector.operation(&operation.id) else { continue };
        request(lint, &pointer, connector, operation, compiled);
        response(lint, &pointer, operation);
        // Who copies an operation in the manifest is to think about what this one says.
        let own = json!([operation.request_example, operation.response_example]).to_string();
        if let Some(first) = seen.insert(own, &operation.id) {
            lint.add(&pointer, format!("has the examples of {first}"));
        }
    }
}

fn request(
    lint: &mut Lint<'_>,
    pointer: &str,
    connector: &Connector,
    operation: &Operation,
    compiled: &ConnectorOperation,
) {
    let nothing = RequestExample::default();
    let place = child(pointer, "request_example");
    let example = match &operation.request_example {
        Some(example) => example,
        None => {
            let needed = !operation.path_params.is_empty()
                || operation.body_required
                || operation.query.values().any(|parameter| parameter.required);
            if needed {
                return lint.add(pointer, "needs a request_example: it has required arguments");
            }
            &nothing
        }
    };
    for name in example.path_params.keys() {
        let known = operation.path_params.contains_key(name);
        lint.want(known, &place, || format!("path has no parameter {name}"));
    }
    let path = match &compiled.path {
        None => None,
        Some(template) => {
            let rest = operation.path.as_deref().and_then(|path| path.strip_suffix("+}")).unwrap_or_default();
            let values: Vec<(String, String)> = template
                .names()
                .iter()
                .filter_map(|name| {
                    let set = if rest.ends_with(&format!("{{{name}")) { REST } else { UNRESERVED };
                    let text = match example.path_params.get(name)? {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    Some((name.clone(), utf8_percent_encode(&text, set).to_string()))
                })
                .collect();
            let value = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            match template.fill(value) {
                Some(path) => Some(path),
                None => return lint.add(&place, "needs a value for every path parameter"),
            }
        }
    };
    let query: Map<String, Value> = example.query.clone().into_iter().collect();
    let body = example.body.as_ref().and_then(|body| serde_json::value::to_raw_value(body).ok());
    let body: Option<&RawValue> = body.as_deref();
    let call = CallArguments {
        module: Some(&operation.module),
        method: &operation.method,
        path: path.as_deref(),
        query: Some(&query),
        body,
        headers: None,
    };
    match connector.check(call) {
        Ok(checked) if checked.operation.as_ref() == Some(&operation.id) => {}
        Ok(checked) => {
            let other = checked.operation.unwrap_or_else(|| "no operation".to_owned());
            lint.add(&place, format!("is taken for {other}"));
        }
        Err(error) => {
            let field = error.field.as_deref().unwrap_or_default().replacen("path.", "path_params.", 1);
            let detail = error.detail.as_ref().and_then(|detail| detail.get("problems")).map(Value::to_string);
            let exact = format!("{place}/{}", field.replace('.', "/"));
            lint.add(&exact, detail.unwrap_or_else(|| error.message.clone()));
        }
    }
}

fn response(lint: &mut Lint<'_>, pointer: &str, operation: &Operation) {
    let place = child(pointer, "response_example");
    let answer = &operation.response_example;
    let rpc = lint.manifest.modules.get(&operation.module).is_some_and(|module| module.style == Style::Rpc);
    let silent = answer.is_null() && (operation.effect == Effect::Read || rpc) && operation.method != "HEAD";
    lint.want(!silent, &place, || "this call has an answer".to_owned());
    let rule = operation.success.as_ref().or(lint.manifest.success.as_ref());
    if let Some(rule) = rule
        && !rule.fits(answer)
    {
        lint.add(&place, "is not a success by the success rule");
    }
    let items = operation.pagination.as_ref().and_then(|pagination| pagination.items.as_deref());
    if let Some(items) = items {
        let list = answer.pointer(items).is_some_and(|list| list.is_array() || list.is_object());
        lint.want(list, &place, || format!("has no list at {items:?}, where pagination.items looks for it"));
    }
}
