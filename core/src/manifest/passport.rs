//! What callers read about a connector: rows of `list_services`, passports of `describe_service`, and the public list.
//!
//! Written for readers who pay by the token: what is empty or usual is left out, and what the whole connector shares
//! (hints, limits, authorization) is said once.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::body;
use super::connector::Connector;
use super::limits::{LimitScope, RateLimit};
use super::model::{Category, Effect, ErrorRules, Manifest, Module, Operation, Param, Passport, Style};
use super::template::Template;
use super::token::TokenGrantKind;
use crate::error::CallError;

/// What lists say of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    pub key: String,
    pub name: String,
    pub description: String,
    pub category: Category,
    pub tagline: String,
    pub admin_only: bool,
}

impl Brief {
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            key: manifest.key.clone(),
            name: manifest.name.clone(),
            description: manifest.description.clone(),
            category: manifest.category,
            tagline: manifest.tagline.clone(),
            admin_only: manifest.admin_only,
        }
    }
}

/// One row of `list_services`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRow {
    pub key: String,
    pub name: String,
    pub category: &'static str,
    pub tagline: String,
    /// The caller's organization has a usable account.
    pub connected: bool,
    pub admin_only: bool,
}

impl ServiceRow {
    pub fn new(brief: &Brief, connected: bool) -> Self {
        Self {
            key: brief.key.clone(),
            name: brief.name.clone(),
            category: brief.category.as_str(),
            tagline: brief.tagline.clone(),
            connected,
            admin_only: brief.admin_only,
        }
    }
}

/// The list as text: a legend, then one line a service.
pub fn services_text(rows: &[ServiceRow]) -> String {
    let mut text = format!("{} services (+ connected, ! admin only)\n", rows.len());
    for row in rows {
        let marks = [(row.connected, "+"), (row.admin_only, "!")];
        let marks: String = marks.into_iter().filter(|(set, _)| *set).map(|(_, mark)| mark).collect();
        text.push_str(&format!("{}{marks}: {}\n", row.key, row.tagline));
    }
    text
}

/// The same columns, structured. Marks that are not set are left out, as they are in the text.
pub fn services_json(rows: &[ServiceRow]) -> Value {
    #[derive(Serialize)]
    struct Row<'a> {
        key: &'a str,
        tagline: &'a str,
        connected: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        admin_only: bool,
    }
    let rows: Vec<Row<'_>> = rows
        .iter()
        .map(|row| Row { key: &row.key, tagline: &row.tagline, connected: row.connected, admin_only: row.admin_only })
        .collect();
    json!({ "services": rows })
}

/// `/connectors.json`: every connector, admin-only ones included.
pub fn connectors_json<'a>(connectors: impl Iterator<Item = &'a Brief>) -> Value {
    connectors
        .map(|brief| {
            json!({
                "key": brief.key,
                "name": brief.name,
                "description": brief.description,
                "category": brief.category,
            })
        })
        .collect()
}

/// The passport without a module: what the connector is, how it is connected, and which modules it has.
pub fn index(connector: &Connector) -> Value {
    let manifest = connector.manifest();
    let mut index = head(manifest);
    index.insert("name".to_owned(), json!(manifest.name));
    index.insert("description".to_owned(), json!(manifest.description));
    index.insert("category".to_owned(), json!(manifest.category));
    index.insert("docs".to_owned(), json!(manifest.docs));
    put_true(&mut index, "admin_only", manifest.admin_only);
    index.insert("auth".to_owned(), auth(manifest));
    index.insert("transport".to_owned(), json!(transport(manifest)));
    if manifest.passport == Passport::Thin {
        index.insert("passport".to_owned(), json!("thin"));
    }
    let modules: Vec<Value> =
        manifest.modules.iter().map(|(name, module)| Value::Object(module_line(manifest, name, module))).collect();
    index.insert("modules".to_owned(), Value::Array(modules));
    if manifest.passport == Passport::Rich {
        put(&mut index, "hints", &manifest.hints);
        put(&mut index, "rate_limits", &limits(manifest, |_| true));
    }
    Value::Object(index)
}

/// The passport of one module: its operations with everything a call needs.
///
/// # Errors
/// `UNKNOWN_MODULE` with the nearest names.
pub fn module(connector: &Connector, name: &str) -> Result<Value, CallError> {
    let manifest = connector.manifest();
    let (name, module) = connector.require_module(name)?;
    let mut spec = head(manifest);
    spec.insert("module".to_owned(), json!(name));
    let mut line = module_line(manifest, name, module);
    line.shift_remove("name");
    spec.append(&mut line);
    spec.insert("call".to_owned(), json!(how_to_call(module)));
    if manifest.passport == Passport::Thin {
        return Ok(Value::Object(spec));
    }
    let operations: Vec<&Operation> = manifest.operations.iter().filter(|op| op.module == name).collect();
    let recipes: Vec<Value> = operations.iter().map(|operation| recipe(operation)).collect();
    spec.insert("recipes".to_owned(), Value::Array(recipes));
    let used: IndexMap<&String, &IndexMap<String, String>> =
        manifest.enums.iter().filter(|(list, _)| operations.iter().any(|op| uses(op, list))).collect();
    put(&mut spec, "enums", &used);
    put(&mut spec, "hints", &manifest.hints);
    let spends = |bucket: &str| operations.iter().any(|op| op.rate_limit.as_deref().unwrap_or("default") == bucket);
    put(&mut spec, "rate_limits", &limits(manifest, spends));
    put(&mut spec, "errors", &error_notes(&manifest.errors));
    shorten(&mut spec);
    Ok(Value::Object(spec))
}

/// What a reader's context should spend on one module, in bytes.
const LARGEST: usize = 12 * 1024;

/// Where a passport would be longer, examples give way, since no call needs them: of answers before of requests, the
/// longest first. It says so.
fn shorten(spec: &mut Map<String, Value>) {
    let note = |left_out: usize| json!(format!("{left_out} examples, so that this fits into 12 KB"));
    let mut size = json!(spec).to_string().len();
    let mut left_out = 0;
    for kind in ["response_example", "request_example"] {
        while size > LARGEST {
            let Some(Value::Array(recipes)) = spec.get_mut("recipes") else { return };
            let length = |recipe: &Value| recipe.get(kind).map_or(0, |example| example.to_string().len());
            let longest = recipes.iter_mut().max_by_key(|recipe| length(recipe)).and_then(Value::as_object_mut);
            if longest.and_then(|recipe| recipe.shift_remove(kind)).is_none() {
                break;
            }
            left_out += 1;
            spec.insert("left_out".to_owned(), note(left_out));
            size = json!(spec).to_string().len();
        }
    }
}

/// What every passport begins with: whose it is, and how long it may be kept.
fn head(manifest: &Manifest) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("key".to_owned(), json!(manifest.key));
    head.insert("version".to_owned(), json!(manifest.version));
    head.insert("ttl".to_owned(), json!(manifest.ttl));
    head
}

fn module_line(manifest: &Manifest, name: &str, module: &Module) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("name".to_owned(), json!(name));
    line.insert("summary".to_owned(), json!(module.summary));
    line.insert("style".to_owned(), json!(module.style));
    put_true(&mut line, "open", module.open);
    if manifest.passport == Passport::Rich {
        let count = manifest.operations.iter().filter(|operation| operation.module == name).count();
        line.insert("operations".to_owned(), json!(count));
    }
    line
}

fn how_to_call(module: &Module) -> String {
    let shape = match module.style {
        Style::Rest => {
            "method is the HTTP verb, path as in the recipe with {parameters} filled in, query and body apart"
        }
        Style::Rpc => "method is the vendor's method name, arguments go into body; no path, no query",
    };
    match module.open {
        true => format!("{shape}. What no recipe lists is passed on too, as an action that is never repeated"),
        false => shape.to_owned(),
    }
}

fn auth(manifest: &Manifest) -> Value {
    let flows = manifest.auth.flows.iter().map(|flow| {
        let mut line = Map::new();
        line.insert("kind".to_owned(), json!(flow.kind.as_str()));
        line.insert("label".to_owned(), json!(flow.label));
        if let Some(oauth) = &flow.oauth {
            put(&mut line, "scopes", &oauth.scopes);
        }
        let fields: IndexMap<&String, String> = flow
            .fields
            .iter()
            .map(|(name, field)| {
                let optional = if field.optional { " (optional)" } else { "" };
                (name, format!("{}{optional}", field.label))
            })
            .collect();
        put(&mut line, "fields", &fields);
        Value::Object(line)
    });
    flows.collect()
}

/// Where credentials travel, in words. Templates name fields, never values, so nothing secret can stand here.
fn transport(manifest: &Manifest) -> String {
    let transport = &manifest.transport;
    let mut words = Vec::new();
    for (name, text) in transport.headers.iter().filter(|(_, text)| has_variables(text)) {
        words.push(format!("header {name}: {}", in_words(text)));
    }
    words.extend(
        transport.query.iter().filter(|(_, t)| has_variables(t)).map(|(name, _)| format!("query parameter {name}")),
    );
    words.extend(transport.body.iter().filter(|(_, t)| has_variables(t)).map(|(name, _)| format!("body field {name}")));
    for signature in transport.signatures.values() {
        let named = |names: &IndexMap<String, String>, what: &str| {
            names.keys().map(|name| format!("{what} {name}")).collect::<Vec<_>>()
        };
        let places = [
            named(&signature.headers, "header"),
            named(&signature.query, "query parameter"),
            named(&signature.body, "body field"),
        ];
        let places = if signature.payload.is_some() { "the body".to_owned() } else { places.concat().join(" and ") };
        let word = format!("signature in {places}");
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if transport.basic.is_some() {
        words.push("HTTP Basic".to_owned());
    }
    if let Some(token) = &transport.token {
        let how = match token.kind {
            TokenGrantKind::ClientCredentials => "token obtained with client credentials",
            TokenGrantKind::Login => "session opened by signing in",
            TokenGrantKind::JwtBearer => "token obtained with a signed assertion",
        };
        words.push(how.to_owned());
    }
    if manifest.modules.values().any(|module| has_variables(&module.base_url)) {
        words.push("parts of the address".to_owned());
    }
    if words.is_empty() { "no authorization".to_owned() } else { format!("{}; added by the server", words.join(", ")) }
}

fn has_variables(text: &str) -> bool {
    Template::parse(text).is_ok_and(|template| template.variables().next().is_some())
}

/// `Bearer {account.api_token}` → `Bearer <api_token>`.
fn in_words(text: &str) -> String {
    text.replace("{account.", "<").replace('{', "<").replace('}', ">")
}

fn recipe(operation: &Operation) -> Value {
    let mut recipe = Map::new();
    recipe.insert("id".to_owned(), json!(operation.id));
    recipe.insert("method".to_owned(), json!(operation.method));
    if let Some(path) = &operation.path {
        recipe.insert("path".to_owned(), json!(path));
    }
    recipe.insert("summary".to_owned(), json!(operation.summary));
    recipe.insert("effect".to_owned(), json!(operation.effect));
    put(&mut recipe, "path_params", &parameters(&operation.path_params, true));
    put(&mut recipe, "query", &parameters(&operation.query, false));
    if let Some(body) = &operation.body {
        recipe.insert("body".to_owned(), body.clone());
        put_true(&mut recipe, "body_required", operation.body_required);
    }
    if let Some(example) = &operation.request_example {
        recipe.insert("request_example".to_owned(), json!(example));
    }
    if !operation.response_example.is_null() {
        recipe.insert("response_example".to_owned(), operation.response_example.clone());
    }
    if let Some(pagination) = &operation.pagination {
        recipe.insert("pagination".to_owned(), json!(pagination));
    }
    if let Some(bucket) = &operation.rate_limit {
        recipe.insert("rate_limit".to_owned(), json!(bucket));
    }
    if operation.effect == Effect::Keyed {
        recipe.insert("note".to_owned(), json!("safe to repeat with the same idempotency_key"));
    }
    Value::Object(recipe)
}

/// Parameters as JSON Schema words, without defaults that everybody assumes.
fn parameters(declared: &IndexMap<String, Param>, in_path: bool) -> IndexMap<&String, Value> {
    declared
        .iter()
        .map(|(name, parameter)| {
            let mut value = json!(parameter);
            if let Some(object) = value.as_object_mut() {
                if object.get("style").is_some_and(|style| style == "repeat") {
                    object.shift_remove("style");
                }
                if in_path {
                    // A path parameter is always required.
                    object.shift_remove("required");
                }
                for bound in ["minimum", "maximum"] {
                    // 1.0 was written as 1.
                    if let Some(number) = object.get(bound).and_then(Value::as_f64)
                        && number.fract() == 0.0
                        && number.abs() < 9e15
                    {
                        object.insert(bound.to_owned(), json!(number as i64));
                    }
                }
            }
            (name, value)
        })
        .collect()
}

fn uses(operation: &Operation, list: &str) -> bool {
    fn mentions(schema: &Value, list: &str) -> bool {
        match schema {
            Value::Object(members) => {
                members.iter().any(|(name, value)| body::names_list(name) && value == list || mentions(value, list))
            }
            Value::Array(items) => items.iter().any(|item| mentions(item, list)),
            _ => false,
        }
    }
    let parameters = operation.path_params.values().chain(operation.query.values());
    parameters.into_iter().any(|parameter| parameter.x_enum.as_deref() == Some(list))
        || operation.body.as_ref().is_some_and(|body| mentions(body, list))
}

/// `50 per 1 s per account; note`.
fn limits(manifest: &Manifest, wanted: impl Fn(&str) -> bool) -> IndexMap<&String, String> {
    let line = |limit: &RateLimit| {
        let scope = match limit.scope {
            LimitScope::Account => "account",
            LimitScope::App => "application",
            LimitScope::EgressIp => "address",
        };
        let burst = limit.burst.map(|burst| format!(", {burst} at once")).unwrap_or_default();
        let note = limit.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
        format!("{} per {} s per {scope}{burst}{note}", limit.requests, limit.per_seconds)
    };
    let limits = manifest.rate_limits.iter().filter(|(name, _)| wanted(name));
    limits.map(|(name, limit)| (name, line(limit))).collect()
}

/// What the vendor's statuses and codes mean beyond HTTP.
fn error_notes(rules: &ErrorRules) -> Vec<String> {
    let notes = rules.map.iter().map(|mapping| {
        let status = mapping.status.map(|status| format!("status {status}"));
        let code = mapping.code.as_ref().map(|code| format!("code {code}"));
        let when: Vec<String> = status.into_iter().chain(code).collect();
        let means = json!(mapping.means);
        format!("{}: {}", when.join(", "), means.as_str().unwrap_or_default())
    });
    notes.collect()
}

/// Puts a value in unless it is empty.
fn put(object: &mut Map<String, Value>, name: &str, value: &impl Serialize) {
    let value = json!(value);
    let empty = match &value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Null => true,
        _ => false,
    };
    if !empty {
        object.insert(name.to_owned(), value);
    }
}

fn put_true(object: &mut Map<String, Value>, name: &str, set: bool) {
    if set {
        object.insert(name.to_owned(), Value::Bool(true));
    }
}
