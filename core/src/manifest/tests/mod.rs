//! The rules of manifests, on small ones.

mod calls;
mod passports;
mod properties;
mod searches;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{CallArguments, CheckedCall, Connector, Manifest};
use crate::error::CallError;

const SHOP: &str = include_str!("shop.yaml");

fn manifest(yaml: &str) -> Manifest {
    let value: Value = serde_saphyr::from_str(yaml).unwrap();
    serde_json::from_value(value).unwrap()
}

fn connector(yaml: &str) -> Connector {
    Connector::from_manifest(manifest(yaml)).unwrap()
}

fn shop() -> Connector {
    connector(SHOP)
}

/// A call in the words of the tool: `{module, method, path, query, body, headers}`.
fn check(connector: &Connector, call: Value) -> Result<CheckedCall, CallError> {
    let text = |name: &str| call.get(name).and_then(Value::as_str).map(str::to_owned);
    let map = |name: &str| call.get(name).and_then(Value::as_object).cloned();
    let body: Option<Box<RawValue>> = call.get("body").map(|body| serde_json::value::to_raw_value(body).unwrap());
    let (module, path) = (text("module"), text("path"));
    let (query, headers): (Option<Map<_, _>>, Option<Map<_, _>>) = (map("query"), map("headers"));
    connector.check(CallArguments {
        module: module.as_deref(),
        method: &text("method").unwrap_or_default(),
        path: path.as_deref(),
        query: query.as_ref(),
        body: body.as_deref(),
        headers: headers.as_ref(),
    })
}

/// Fields at fault, in order.
fn fields(error: &CallError) -> Vec<String> {
    match error.detail.as_ref().and_then(|detail| detail.get("problems")).and_then(Value::as_array) {
        Some(problems) => problems.iter().map(|problem| problem["field"].as_str().unwrap().to_owned()).collect(),
        None => error.field.clone().into_iter().collect(),
    }
}

fn get(path: &str) -> Value {
    json!({"module": "orders", "method": "GET", "path": path})
}
