//! How an account is connected, and where its fields travel.

use std::collections::BTreeSet;

use plugboard_core::json_pointer::child;
use plugboard_core::manifest::host::normalize_host;
use plugboard_core::manifest::{BodyEncoding, CredentialField, Template, TokenGrant, TokenGrantKind, Variable};
use serde_json::Value;

use super::general::{is_snake, is_token};
use super::{Lint, matches_whole, oauth, signatures};

/// What `transport.trace` sends.
const TRACE_HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// Headers that frame the request or carry somebody's identity: no caller may set them.
const CLOSED_HEADERS: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn check(lint: &mut Lint<'_>) {
    flows(lint);
    let mut used = BTreeSet::new();
    oauth::check(lint, &mut used);
    signatures::check(lint, &mut used);
    for (pointer, text, token_allowed) in templates(lint) {
        template(lint, &pointer, &text, token_allowed, &mut used);
    }
    unused(lint, &used);
    caller_headers(lint);
    trace(lint);
    test(lint);
}

fn flows(lint: &mut Lint<'_>) {
    let flows = &lint.manifest.auth.flows;
    lint.want(!flows.is_empty(), "/auth/flows", || "needs at least one flow".to_owned());
    for (at, flow) in flows.iter().enumerate() {
        let pointer = format!("/auth/flows/{at}");
        lint.want(!flow.label.trim().is_empty(), &child(&pointer, "label"), || "is empty".to_owned());
        for (name, credential) in &flow.fields {
            field(lint, &child(&child(&pointer, "fields"), name), name, credential);
        }
    }
}

fn field(lint: &mut Lint<'_>, pointer: &str, name: &str, field: &CredentialField) {
    lint.want(is_snake(name), pointer, || "the name of a field is snake_case".to_owned());
    lint.want(!field.label.trim().is_empty(), pointer, || "needs a label".to_owned());
    lint.want(!(field.host && field.secret), pointer, || "a host is not secret: say secret: false".to_owned());
    lint.want(field.default.is_none() || field.optional, pointer, || {
        "has a default, so it is optional: true".to_owned()
    });
    let values = [("sandbox", &field.sandbox), ("default", &field.default)];
    if let Some(pattern) = &field.pattern {
        match matches_whole(pattern, "") {
            None => lint.add(&child(pointer, "pattern"), "does not compile"),
            Some(_) => {
                for (what, value) in values {
                    let fits = value.as_ref().is_none_or(|value| matches_whole(pattern, value) == Some(true));
                    lint.want(fits, &child(pointer, what), || format!("does not match {pattern}"));
                }
                let needed = field.sandbox.is_some() || field.optional;
                lint.want(needed, pointer, || "has a pattern, so it needs a sandbox value that matches it".to_owned());
            }
        }
    }
    if field.host {
        for (what, value) in values {
            if let Some(Err(why)) = value.as_ref().map(|value| normalize_host(value, false)) {
                lint.add(&child(pointer, what), why);
            }
        }
        let needed = field.sandbox.is_some() || field.default.is_some();
        lint.want(needed, pointer, || "a host needs a sandbox value".to_owned());
    }
}

/// Every template with its place, and whether `{token}` makes sense in it.
fn templates(lint: &mut Lint<'_>) -> Vec<(String, String, bool)> {
    let transport = &lint.manifest.transport;
    let mut templates = Vec::new();
    let maps = [("headers", &transport.headers), ("query", &transport.query), ("body", &transport.body)];
    for (what, map) in maps {
        for (name, text) in map {
            let pointer = child(&format!("/transport/{what}"), name);
            lint.want(what != "headers" || is_token(name), &pointer, || "is no header name".to_owned());
            templates.push((pointer, text.clone(), true));
        }
    }
    if let Some(basic) = &transport.basic {
        templates.push(("/transport/basic/username".to_owned(), basic.username.clone(), true));
        templates.push(("/transport/basic/password".to_owned(), basic.password.clone(), true));
    }
    if let Some(token) = &transport.token {
        grant(lint, token);
        grant_templates(token, &mut templates);
    }
    for (name, module) in &lint.manifest.modules {
        templates.push((format!("{}/base_url", child("/modules", name)), module.base_url.clone(), true));
    }
    for (at, operation) in lint.manifest.operations.iter().enumerate() {
        for (name, text) in &operation.headers {
            templates.push((child(&format!("/operations/{at}/headers"), name), text.clone(), true));
        }
    }
    templates
}

/// Each kind of grant has what it needs.
fn grant(lint: &mut Lint<'_>, token: &TokenGrant) {
    let at = "/transport/token";
    match token.kind {
        TokenGrantKind::ClientCredentials => {
            lint.want(!token.client_id.is_empty(), at, || "client_credentials needs client_id".to_owned());
        }
        TokenGrantKind::Login => lint.want(token.login.is_some(), at, || "needs `login`: the request".to_owned()),
        TokenGrantKind::JwtBearer => {
            lint.want(token.assertion.is_some(), at, || "needs `assertion`: what is signed".to_owned());
        }
    }
    let (login, assertion) = (token.kind == TokenGrantKind::Login, token.kind == TokenGrantKind::JwtBearer);
    lint.want(login || token.login.is_none(), "/transport/token/login", || "belongs to kind login".to_owned());
    let fits = assertion || token.assertion.is_none();
    lint.want(fits, "/transport/token/assertion", || "belongs to kind jwt_bearer".to_owned());
    lint.want_pointer(&token.access_token, "/transport/token/access_token");
    lint.want_pointer(&token.expires_in, "/transport/token/expires_in");
    let long = token.assertion.as_ref().is_some_and(|assertion| assertion.lifetime_seconds > 3600);
    lint.want(!long, "/transport/token/assertion/lifetime_seconds", || "is at most 3600".to_owned());
}

fn grant_templates(token: &TokenGrant, templates: &mut Vec<(String, String, bool)>) {
    let mut add =
        |place: String, text: &str| templates.push((format!("/transport/token/{place}"), text.to_owned(), false));
    for (what, text) in [("url", &token.url), ("client_id", &token.client_id), ("client_secret", &token.client_secret)]
    {
        add(what.to_owned(), text);
    }
    if let Some(scope) = &token.scope {
        add("scope".to_owned(), scope);
    }
    token.params.iter().for_each(|(name, text)| add(child("params", name), text));
    if let Some(login) = &token.login {
        login.headers.iter().for_each(|(name, text)| add(child("login/headers", name), text));
        texts(&login.body, "login/body", &mut add);
    }
    if let Some(assertion) = &token.assertion {
        add("assertion/key".to_owned(), &assertion.key);
        add("assertion/issuer".to_owned(), &assertion.issuer);
        let optional =
            [("key_id", &assertion.key_id), ("subject", &assertion.subject), ("audience", &assertion.audience)];
        for (what, text) in optional {
            if let Some(text) = text {
                add(format!("assertion/{what}"), text);
            }
        }
        assertion.claims.iter().for_each(|(name, text)| add(child("assertion/claims", name), text));
    }
}

/// Every text of a JSON value, with its place.
fn texts(value: &Value, place: &str, add: &mut impl FnMut(String, &str)) {
    match value {
        Value::String(text) => add(place.to_owned(), text),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| texts(item, &format!("{place}/{at}"), add));
        }
        Value::Object(members) => members.iter().for_each(|(name, item)| texts(item, &child(place, name), add)),
        _ => {}
    }
}

fn template(lint: &mut Lint<'_>, pointer: &str, text: &str, token_allowed: bool, used: &mut BTreeSet<String>) {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => return lint.add(pointer, error.to_string()),
    };
    for variable in template.variables() {
        match variable {
            Variable::Account(field) => {
                let known = lint.manifest.auth.flows.iter().any(|flow| flow.brings(field));
                lint.want(known, pointer, || format!("no flow has a field {field}"));
                used.insert(field.clone());
            }
            Variable::Token => {
                let signed_in = lint.manifest.auth.flows.iter().all(|flow| flow.oauth.is_some());
                let granted = lint.manifest.transport.token.is_some() || signed_in;
                lint.want(token_allowed && granted, pointer, || {
                    "{token} needs transport.token, or that every flow is an OAuth one".to_owned()
                });
            }
            Variable::Method => lint.add(pointer, "{method} belongs to rpc.path"),
        }
    }
}

/// A person is asked for nothing that is not needed.
fn unused(lint: &mut Lint<'_>, used: &BTreeSet<String>) {
    let flows = lint.manifest.auth.flows.iter().enumerate();
    let idle = flows.flat_map(|(at, flow)| {
        let names = flow.fields.keys().filter(|name| !used.contains(*name));
        names.map(move |name| child(&format!("/auth/flows/{at}/fields"), name))
    });
    for pointer in idle.collect::<Vec<_>>() {
        lint.add(&pointer, "is asked for, but no template uses it");
    }
}

fn caller_headers(lint: &mut Lint<'_>) {
    let transport = &lint.manifest.transport;
    for (at, name) in transport.caller_headers.iter().enumerate() {
        let pointer = format!("/transport/caller_headers/{at}");
        lint.want(is_token(name), &pointer, || "is no header name".to_owned());
        let ours = transport.headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        lint.want(!ours, &pointer, || format!("{name} carries credentials; callers must not set it"));
        let closed = CLOSED_HEADERS.contains(&name.to_ascii_lowercase().as_str());
        lint.want(!closed, &pointer, || format!("{name} frames or authorizes the request; callers must not set it"));
        let trace = transport.trace && TRACE_HEADERS.contains(&name.to_ascii_lowercase().as_str());
        lint.want(!trace, &pointer, || format!("{name} is set by transport.trace; callers must not set it"));
    }
}

/// What goes along is the platform's, so that nothing else may have the same names.
fn trace(lint: &mut Lint<'_>) {
    if !lint.manifest.transport.trace {
        return;
    }
    let is_trace = |name: &&String| TRACE_HEADERS.contains(&name.to_ascii_lowercase().as_str());
    let fixed = lint.manifest.transport.headers.keys().any(|name| is_trace(&name));
    let declared =
        lint.manifest.operations.iter().any(|operation| operation.headers.keys().any(|name| is_trace(&name)));
    lint.want(!fixed && !declared, "/transport/trace", || {
        "traceparent and tracestate are headers of this manifest already".to_owned()
    });
}

/// The account test runs without a person or an argument.
fn test(lint: &mut Lint<'_>) {
    let Some(id) = &lint.manifest.auth.test else { return };
    let Some(operation) = lint.manifest.operations.iter().find(|operation| operation.id == *id) else {
        return lint.add("/auth/test", format!("no operation has the id {id}"));
    };
    let read = operation.effect == plugboard_core::manifest::Effect::Read;
    lint.want(read, "/auth/test", || format!("{id} is not a read"));
    let required = operation.query.iter().find(|(_, parameter)| parameter.required).map(|(name, _)| name);
    lint.want(required.is_none(), "/auth/test", || {
        format!("{id} needs query.{}", required.map(String::as_str).unwrap_or_default())
    });
    let path = operation.path_params.keys().next();
    lint.want(path.is_none(), "/auth/test", || {
        format!("{id} needs path.{}", path.map(String::as_str).unwrap_or_default())
    });
    let encoding = lint.manifest.body_encoding(&operation.module, Some(operation));
    let files = operation.body.is_some() && encoding == BodyEncoding::Multipart;
    lint.want(!files, "/auth/test", || format!("{id} sends files"));
    let body = operation.request_example.as_ref().and_then(|example| example.body.as_ref());
    lint.want(!operation.body_required || body.is_some_and(Value::is_object), "/auth/test", || {
        format!("{id} needs a body, and its request_example has no object")
    });
}
