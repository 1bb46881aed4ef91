//! How an account is connected, and where its fields travel.

use std::collections::BTreeSet;

use plugboard_core::manifest::host::normalize_host;
use plugboard_core::manifest::{CredentialField, FlowKind, Template, Variable};

use super::general::{is_snake, is_token};
use super::{Lint, matches_whole};
use crate::lines::child;

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
    for (pointer, text, token_allowed) in templates(lint) {
        template(lint, &pointer, &text, token_allowed, &mut used);
    }
    unused(lint, &used);
    caller_headers(lint);
    test(lint);
}

fn flows(lint: &mut Lint<'_>) {
    let flows = &lint.manifest.auth.flows;
    let typed = flows.iter().any(|flow| flow.kind == FlowKind::Credentials);
    lint.want(typed, "/auth/flows", || "needs at least one flow of kind credentials".to_owned());
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
        for (what, text) in
            [("url", &token.url), ("client_id", &token.client_id), ("client_secret", &token.client_secret)]
        {
            templates.push((format!("/transport/token/{what}"), text.clone(), false));
        }
        if let Some(scope) = &token.scope {
            templates.push(("/transport/token/scope".to_owned(), scope.clone(), false));
        }
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

fn template(lint: &mut Lint<'_>, pointer: &str, text: &str, token_allowed: bool, used: &mut BTreeSet<String>) {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => return lint.add(pointer, error.to_string()),
    };
    for variable in template.variables() {
        match variable {
            Variable::Account(field) => {
                let known = lint.manifest.auth.flows.iter().any(|flow| flow.fields.contains_key(field));
                lint.want(known, pointer, || format!("no flow has a field {field}"));
                used.insert(field.clone());
            }
            Variable::Token => {
                let granted = lint.manifest.transport.token.is_some();
                lint.want(token_allowed && granted, pointer, || "{token} needs transport.token".to_owned());
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
    }
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
    lint.want(!operation.body_required, "/auth/test", || format!("{id} needs a body"));
}
