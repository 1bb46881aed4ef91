//! A caller's arguments against a manifest: everything that can be wrong is found before anything leaves.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::connector::{Connector, Found};
use super::model::{Effect, Manifest, Module, Operation, Style};
use super::params::{Problem, check_params, clip, query_pairs};
use super::request_path::{EMPTY_SEGMENT, ENCODED_DELIMITER, SafePath, has_delimiters};
use super::suggest;
use crate::error::{CallError, ErrorCode, Fix, FixKind};

/// What the caller wants.
#[derive(Debug, Clone, Copy)]
pub struct CallArguments<'a> {
    pub module: Option<&'a str>,
    pub method: &'a str,
    pub path: Option<&'a str>,
    pub query: Option<&'a Map<String, Value>>,
    pub body: Option<&'a RawValue>,
    pub headers: Option<&'a Map<String, Value>>,
}

/// A call that fits the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedCall {
    pub module: String,
    /// `None` for an unlisted path of an open module.
    pub operation: Option<String>,
    pub effect: Effect,
    /// Verb in capitals, or the vendor's method name.
    pub method: String,
    /// Percent-encoded; empty for RPC.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    /// JSON, as the caller wrote it.
    pub body: Option<Vec<u8>>,
}

const VERBS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

impl Connector {
    /// Checks a call. Every problem of parameters and body is reported at once, in `detail.problems`.
    ///
    /// # Errors
    /// The first problem, its field, and what would be right.
    pub fn check(&self, call: CallArguments<'_>) -> Result<CheckedCall, CallError> {
        let (name, module) = self.pick_module(call.module)?;
        // `null` is how many clients say "no body".
        let call = CallArguments { body: call.body.filter(|body| body.get() != "null"), ..call };
        match module.style {
            Style::Rest => self.check_rest(name, module, call),
            Style::Rpc => self.check_rpc(name, module, call),
        }
    }

    fn pick_module(&self, wanted: Option<&str>) -> Result<(&str, &Module), CallError> {
        let modules = &self.manifest().modules;
        let Some(wanted) = wanted.filter(|name| !name.is_empty()) else {
            if let (1, Some((name, module))) = (modules.len(), modules.first()) {
                return Ok((name, module));
            }
            let names: Vec<&str> = modules.keys().map(String::as_str).collect();
            let message =
                format!("`module` is required: {} has {} modules: {}.", self.key(), names.len(), names.join(", "));
            return Err(argument_with_options("module", message, &names));
        };
        self.require_module(wanted)
    }

    /// # Errors
    /// UNKNOWN_MODULE with the nearest right ones.
    pub fn require_module(&self, wanted: &str) -> Result<(&str, &Module), CallError> {
        let modules = &self.manifest().modules;
        if let Some((name, module)) = modules.get_key_value(wanted) {
            return Ok((name, module));
        }
        let names: Vec<&str> = modules.keys().map(String::as_str).collect();
        let near = suggest::nearest(wanted, names.iter().copied(), 3);
        let quoted = clip(&format!("{wanted:?}"));
        let message = format!("{} has no module {quoted}. Modules: {}.", self.key(), names.join(", "));
        let options = if near.is_empty() { names } else { near };
        Err(CallError::new(ErrorCode::UnknownModule, message)
            .field("module")
            .fix(Fix::new(FixKind::ChangeArgument).field("module").options(options)))
    }

    fn check_rest(&self, name: &str, module: &Module, call: CallArguments<'_>) -> Result<CheckedCall, CallError> {
        let method = call.method.to_ascii_uppercase();
        if !VERBS.contains(&method.as_str()) {
            let message = format!("`method` is an HTTP verb here: {}.", VERBS.join(", "));
            return Err(argument_with_options("method", message, &VERBS));
        }
        let written = call.path.filter(|path| !path.is_empty()).ok_or_else(|| {
            CallError::argument("path", format!("`path` is required: {}/{name} is a REST module.", self.key()))
        })?;
        let path = SafePath::parse(written).map_err(|why| CallError::argument("path", why))?;
        let found = self.find_rest(name, &method, &path.decoded);
        check_delimiters(&path, found.as_ref()).map_err(|why| CallError::argument("path", why))?;
        let Some(found) = found else {
            if module.open {
                return self.check_unlisted(name, method, path.sent, call);
            }
            return Err(self.unknown_operation(name, &method, &path.decoded));
        };
        let (query, headers, body) = self.check_operation(&found, call)?;
        Ok(CheckedCall {
            module: name.to_owned(),
            operation: Some(found.operation.id.clone()),
            effect: found.operation.effect,
            method,
            path: path.sent,
            query,
            headers,
            body,
        })
    }

    fn check_rpc(&self, name: &str, module: &Module, call: CallArguments<'_>) -> Result<CheckedCall, CallError> {
        let method = call.method;
        let well_formed = !method.is_empty()
            && method.len() <= 128
            // It becomes a part of a path, where dots can walk the tree.
            && !method.starts_with('.')
            && !method.contains("..")
            && method.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !well_formed {
            let message = format!(
                "`method` is the vendor's method name here, e.g. {}.",
                self.operations_of(name).next().map_or("user.get", |(operation, _)| operation.method.as_str())
            );
            return Err(CallError::argument("method", message));
        }
        if call.path.is_some_and(|path| !path.is_empty()) {
            let message = format!("`path` must be empty: {}/{name} is RPC, `method` names the call.", self.key());
            return Err(CallError::argument("path", message));
        }
        if call.query.is_some_and(|query| !query.is_empty()) {
            let message = format!("`query` is not used by {}/{name}: put arguments into `body`.", self.key());
            return Err(CallError::argument("query", message));
        }
        let found = self.find_rpc(name, method);
        let Some(found) = found else {
            if module.open {
                return self.check_unlisted(name, method.to_owned(), String::new(), call);
            }
            return Err(self.unknown_operation(name, method, ""));
        };
        let (query, headers, body) = self.check_operation(&found, call)?;
        Ok(CheckedCall {
            module: name.to_owned(),
            operation: Some(found.operation.id.clone()),
            effect: found.operation.effect,
            method: method.to_owned(),
            path: String::new(),
            query,
            headers,
            body,
        })
    }

    /// A path or method that no operation describes, in a module that allows it.
    fn check_unlisted(
        &self,
        module: &str,
        method: String,
        path: String,
        call: CallArguments<'_>,
    ) -> Result<CheckedCall, CallError> {
        let empty = Map::new();
        let query = query_pairs(&Default::default(), call.query.unwrap_or(&empty)).map_err(|p| report(vec![p]))?;
        Ok(CheckedCall {
            module: module.to_owned(),
            operation: None,
            effect: Effect::Once,
            method,
            path,
            query,
            headers: self.check_headers(call.headers).map_err(|problem| report(vec![problem]))?,
            body: call.body.map(|body| body.get().as_bytes().to_vec()),
        })
    }

    #[allow(clippy::type_complexity, reason = "three parts of one request")]
    fn check_operation(
        &self,
        found: &Found<'_, '_>,
        call: CallArguments<'_>,
    ) -> Result<(Vec<(String, String)>, Vec<(String, String)>, Option<Vec<u8>>), CallError> {
        let operation = found.operation;
        let empty = Map::new();
        let query = call.query.unwrap_or(&empty);
        let mut problems = check_params(self.manifest(), found, query);
        // Clients that fill in every argument send `{}` where there is nothing to send.
        let body = call.body.filter(|body| operation.body.is_some() || !is_empty_object(body));
        check_body(self.manifest(), found, body, &mut problems);
        let headers = self.check_headers(call.headers).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(report(problems));
        }
        let pairs = query_pairs(&operation.query, query).map_err(|problem| report(vec![problem]))?;
        Ok((pairs, headers, body.map(|body| body.get().as_bytes().to_vec())))
    }

    fn check_headers(&self, headers: Option<&Map<String, Value>>) -> Result<Vec<(String, String)>, Problem> {
        let Some(headers) = headers else { return Ok(Vec::new()) };
        let allowed = &self.manifest().transport.caller_headers;
        let mut checked = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            let field = format!("headers.{name}");
            let Some(canonical) = allowed.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
                let message = if allowed.is_empty() {
                    format!("{} takes no headers from callers", self.key())
                } else {
                    format!("is not one of the headers {} takes: {}", self.key(), allowed.join(", "))
                };
                return Err(Problem::new(field, message).options(allowed.iter().map(String::as_str)));
            };
            let text = value.as_str().ok_or_else(|| Problem::new(field.clone(), "must be a string"))?;
            // RFC 9110 §5.5; what is outside ASCII would arrive as something else.
            if text.len() > 8 * 1024 || text.bytes().any(|b| !(b' '..=b'~').contains(&b) && b != b'\t') {
                let message = "must be at most 8 KiB of ASCII without line breaks or control characters";
                return Err(Problem::new(field, message));
            }
            if checked.iter().any(|(known, _)| known == canonical) {
                return Err(Problem::new(field, "stands twice, in different spellings"));
            }
            checked.push((canonical.clone(), text.to_owned()));
        }
        Ok(checked)
    }

    fn unknown_operation(&self, module: &str, method: &str, path: &str) -> CallError {
        let recipe = |operation: &Operation| match &operation.path {
            Some(path) => format!("{} {path}", operation.method),
            None => operation.method.clone(),
        };
        let mut other_verbs: Vec<&str> = Vec::new();
        for (operation, compiled) in self.operations_of(module) {
            let fits = compiled.path.as_ref().is_some_and(|template| template.matches(path).is_some());
            if fits && !other_verbs.contains(&operation.method.as_str()) {
                other_verbs.push(&operation.method);
            }
        }
        let path = clip(path);
        let called = if path.is_empty() { method.to_owned() } else { format!("{method} {path}") };
        if !other_verbs.is_empty() {
            let message =
                format!("{}/{module} serves {path} with {}, not with {method}.", self.key(), other_verbs.join(", "));
            return CallError::new(ErrorCode::UnknownOperation, message)
                .field("method")
                .fix(Fix::new(FixKind::ChangeArgument).field("method").options(other_verbs));
        }
        let recipes: Vec<String> = self.operations_of(module).map(|(operation, _)| recipe(operation)).collect();
        let near = suggest::nearest(&called, recipes.iter().map(String::as_str), 3);
        let elsewhere = self.manifest().modules.keys().find(|other| {
            other.as_str() != module
                && (self.find_rest(other, method, &path).is_some()
                    || path.is_empty() && self.find_rpc(other, method).is_some())
        });
        let field = if path.is_empty() { "method" } else { "path" };
        let mut message = format!("{}/{module} has no operation {called}.", self.key());
        match elsewhere {
            Some(other) => message.push_str(&format!(" It belongs to module {other}.")),
            None if !near.is_empty() => message.push_str(&format!(" Nearest: {}.", near.join("; "))),
            None => {}
        }
        let fix = match elsewhere {
            Some(other) => Fix::new(FixKind::ChangeArgument).field("module").options([other.as_str()]),
            None => Fix::new(FixKind::ChangeArgument)
                .field(field)
                .options(near)
                .hint(format!("describe_service({}, {module}) lists the operations.", self.key())),
        };
        CallError::new(ErrorCode::UnknownOperation, message).field(field).fix(fix)
    }
}

/// Encoded delimiters belong into parameters declared `encoded`, a closing slash into templates that end in one.
fn check_delimiters(path: &SafePath, found: Option<&Found<'_, '_>>) -> Result<(), &'static str> {
    let template = found.and_then(|found| found.compiled.path.as_ref());
    if path.ends_with_slash() && !template.is_some_and(|template| template.as_str().ends_with('/')) {
        return Err(EMPTY_SEGMENT);
    }
    if !has_delimiters(&path.decoded) {
        return Ok(());
    }
    let (Some(found), Some(template)) = (found, template) else { return Err(ENCODED_DELIMITER) };
    let declared = |name: &str| found.operation.path_params.get(name).is_some_and(|parameter| parameter.encoded);
    let stray =
        template.names().iter().zip(&found.params).any(|(name, value)| has_delimiters(value) && !declared(name));
    if stray { Err(ENCODED_DELIMITER) } else { Ok(()) }
}

fn is_empty_object(body: &RawValue) -> bool {
    let inside = body.get().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inside.is_some_and(|inside| inside.trim().is_empty())
}

fn check_body(manifest: &Manifest, found: &Found<'_, '_>, body: Option<&RawValue>, problems: &mut Vec<Problem>) {
    let operation = found.operation;
    match (body, &operation.body) {
        (None, _) if operation.body_required => {
            let required = operation.body.as_ref().and_then(|schema| schema.get("required"));
            let hint = match required.and_then(Value::as_array) {
                Some(names) if !names.is_empty() => {
                    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                    format!("is required, with {}", names.join(", "))
                }
                _ => "is required".to_owned(),
            };
            problems.push(Problem::new("body", hint));
        }
        (None, _) => {}
        (Some(_), None) => problems.push(Problem::new("body", "this operation takes no body")),
        (Some(body), Some(_)) => {
            let Some(validator) = found.compiled.body_validator(manifest, operation) else { return };
            let value: Value = match serde_json::from_str(body.get()) {
                Ok(value) => value,
                Err(error) => {
                    problems.push(Problem::new("body", format!("is not JSON: {error}")));
                    return;
                }
            };
            if validator.is_valid(&value) {
                return;
            }
            let schema = operation.body.as_ref().unwrap_or(&Value::Null);
            for error in validator.iter_errors(&value).take(8) {
                problems.push(Problem::from_schema("body", schema, &error));
            }
        }
    }
}

fn argument_with_options(field: &str, message: String, options: &[&str]) -> CallError {
    CallError::argument(field, message)
        .fix(Fix::new(FixKind::ChangeArgument).field(field).options(options.iter().copied()))
}

/// All problems as one error: the first in the message, the rest in `detail`.
fn report(problems: Vec<Problem>) -> CallError {
    let Some(first) = problems.first() else { return CallError::internal() };
    let more = match problems.len() {
        1 => String::new(),
        count => format!(" ({} more in `detail`)", count - 1),
    };
    let mut error = CallError::argument(&first.field, format!("`{}` {}{more}", first.field, first.message));
    if !first.options.is_empty() {
        error = error.fix(Fix::new(FixKind::ChangeArgument).field(&first.field).options(first.options.iter().cloned()));
    }
    if problems.len() > 1 {
        let list: Vec<Value> = problems.iter().map(|p| json!({"field": p.field, "message": p.message})).collect();
        error = error.detail(json!({ "problems": list }));
    }
    error
}
