//! Signatures: what they are made of exists, where they go is free, and a secret is in them.

use std::collections::BTreeSet;

use plugboard_core::json_pointer::child;
use plugboard_core::manifest::signature::{CompiledSignature, Named, SignedPart};
use plugboard_core::manifest::{BodyEncoding, Operation, Signature, SignatureAlgorithm, Style, Variable};
use serde_json::Value;

use super::general::is_token;
use super::{Lint, matches_whole};

/// `used` gathers the credential fields that a signature names.
pub(super) fn check(lint: &mut Lint<'_>, used: &mut BTreeSet<String>) {
    let mut signed: BTreeSet<&str> = BTreeSet::new();
    for (name, signature) in &lint.manifest.transport.signatures {
        let pointer = child("/transport/signatures", name);
        for (at, module) in signature.modules.iter().enumerate() {
            let known = lint.manifest.modules.contains_key(module);
            lint.want(known, &format!("{pointer}/modules/{at}"), || format!("module {module} does not exist"));
        }
        let modules = lint.manifest.modules.keys().filter(|module| signature.signs(module));
        for module in modules {
            let first = signed.insert(module);
            lint.want(first, &pointer, || format!("module {module} is signed twice"));
        }
        signature_of(lint, &pointer, signature, used);
    }
    body_fields(lint);
}

fn operations<'m>(lint: &Lint<'m>, signature: &'m Signature) -> Vec<&'m Operation> {
    lint.manifest.operations.iter().filter(|operation| signature.signs(&operation.module)).collect()
}

fn signature_of(lint: &mut Lint<'_>, pointer: &str, signature: &Signature, used: &mut BTreeSet<String>) {
    let compiled = match CompiledSignature::of(signature) {
        Ok(compiled) => compiled,
        Err(error) => return lint.add(&format!("{pointer}{}", error.place), error.message),
    };
    let mac = signature.algorithm.is_mac();
    lint.want(mac == signature.key.is_some(), pointer, || match mac {
        true => "an HMAC needs a key".to_owned(),
        false => "a digest takes no key: put the secret into the parts".to_owned(),
    });
    lint.want(!signature.parts.is_empty(), &child(pointer, "parts"), || "is empty: nothing is signed".to_owned());
    let named: Vec<Named> = compiled.signed_names().chain(compiled.placed_names()).cloned().collect();
    credentials(lint, pointer, &named, used);
    let secret = |named: &Named| matches!(named, Named::Credential(variable) if is_secret(lint, variable));
    let keyed = compiled.signed_names().any(secret);
    // The signed text of a digest holds its secret.
    let tells = !mac && keyed && compiled.placed_names().any(|named| *named == Named::Signed);
    lint.want(keyed, pointer, || "names no secret, so anybody could make it".to_owned());
    lint.want(!tells, pointer, || "{signed} would carry the secret that is signed".to_owned());
    let placed = compiled.placed_names().any(|named| *named == Named::Signature);
    lint.want(placed, pointer, || "goes nowhere: no header, query, body or payload names {signature}".to_owned());
    algorithm_field(lint, pointer, signature, used);
    sources(lint, pointer, signature, &named);
    placements(lint, pointer, signature);
}

fn is_secret(lint: &Lint<'_>, variable: &Variable) -> bool {
    match variable {
        Variable::Account(name) => {
            let mut flows = lint.manifest.auth.flows.iter();
            flows.any(|flow| flow.fields.get(name).is_some_and(|field| field.secret))
        }
        Variable::Token => true,
        Variable::Method => false,
    }
}

fn credentials(lint: &mut Lint<'_>, pointer: &str, named: &[Named], used: &mut BTreeSet<String>) {
    for named in named {
        match named {
            Named::Credential(Variable::Account(field)) => {
                let known = lint.manifest.auth.flows.iter().any(|flow| flow.brings(field));
                lint.want(known, pointer, || format!("no flow has a field {field}"));
                used.insert(field.clone());
            }
            Named::Credential(_) => {
                let transport = &lint.manifest.transport;
                let signed_in = lint.manifest.auth.flows.iter().all(|flow| flow.oauth.is_some());
                lint.want(transport.token.is_some() || signed_in, pointer, || {
                    "{token} needs transport.token, or that every flow is an OAuth one".to_owned()
                });
            }
            _ => {}
        }
    }
}

/// The account chooses among what is known, and among nothing else.
fn algorithm_field(lint: &mut Lint<'_>, pointer: &str, signature: &Signature, used: &mut BTreeSet<String>) {
    let Some(name) = &signature.algorithm_field else { return };
    let pointer = child(pointer, "algorithm_field");
    used.insert(name.clone());
    let fits = |text: &str| {
        SignatureAlgorithm::parse(text).is_some_and(|algorithm| algorithm.is_mac() == signature.algorithm.is_mac())
    };
    for flow in &lint.manifest.auth.flows {
        let Some(field) = flow.fields.get(name) else {
            lint.add(&pointer, format!("a flow has no field {name}"));
            continue;
        };
        let closed = field.pattern.as_deref().is_some_and(|pattern| {
            let alternatives: Vec<&str> = pattern.trim_matches(['^', '$', '(', ')']).split('|').collect();
            alternatives.iter().all(|name| fits(name) && matches_whole(pattern, name) == Some(true))
        });
        lint.want(closed, &pointer, || {
            format!("{name} needs a pattern of names that can stand in algorithm, as ^(md5|sha256)$")
        });
    }
}

/// What is signed must be there: a misspelt name would leave its part out, and every signature would be wrong.
fn sources(lint: &mut Lint<'_>, pointer: &str, signature: &Signature, named: &[Named]) {
    let operations = operations(lint, signature);
    let transport = &lint.manifest.transport;
    let rule = lint.manifest.idempotency.as_ref();
    for named in named {
        let (what, name, known) = match named {
            Named::Query(name) => {
                let own = transport.query.contains_key(name) || signature.query.contains_key(name);
                let key = rule.is_some_and(|rule| rule.query.as_ref() == Some(name));
                let declared = operations.iter().any(|operation| {
                    let parts = |declared: &String| name.starts_with(&format!("{declared}["));
                    operation.query.contains_key(name) || operation.query.keys().any(parts)
                });
                ("query parameter", name, own || key || declared)
            }
            Named::Body(name) => {
                let own = transport.body.contains_key(name) || signature.body.contains_key(name);
                let key = rule.is_some_and(|rule| rule.field.as_ref() == Some(name));
                let declared = operations.iter().any(|operation| has_field(lint, operation, name));
                ("body field", name, own || key || declared)
            }
            _ => continue,
        };
        lint.want(known, pointer, || format!("no operation that it signs has a {what} {name}"));
    }
    for (at, part) in signature.parts.iter().enumerate() {
        if let SignedPart::Fields(fields) = part {
            let place = format!("{pointer}/parts/{at}/fields");
            lint.want(!fields.fields.is_empty(), &place, || "is empty: say query, body or both".to_owned());
        }
    }
}

/// At the top of the body as it is sent.
fn has_field(lint: &Lint<'_>, operation: &Operation, name: &str) -> bool {
    let module = lint.manifest.modules.get(&operation.module);
    if let Some(field) = module.and_then(|module| module.body_field.as_ref()) {
        return field == name;
    }
    let properties = operation.body.as_ref().and_then(|body| body.get("properties")).and_then(Value::as_object);
    properties.is_some_and(|properties| properties.contains_key(name))
}

/// A place is one thing's.
fn placements(lint: &mut Lint<'_>, pointer: &str, signature: &Signature) {
    let operations = operations(lint, signature);
    let transport = &lint.manifest.transport;
    let rule = lint.manifest.idempotency.as_ref();
    for name in signature.headers.keys() {
        let place = child(&child(pointer, "headers"), name);
        let same = |other: &String| other.eq_ignore_ascii_case(name);
        lint.want(is_token(name), &place, || "is no header name".to_owned());
        let taken = transport.headers.keys().chain(&transport.caller_headers).any(same)
            || transport.basic.is_some() && name.eq_ignore_ascii_case("authorization")
            || operations.iter().any(|operation| operation.headers.keys().any(same))
            || rule.is_some_and(|rule| rule.header.as_ref().is_some_and(same));
        lint.want(!taken, &place, || "collides: something else sets this header".to_owned());
    }
    for name in signature.query.keys() {
        let taken = transport.query.contains_key(name)
            || operations.iter().any(|operation| operation.query.contains_key(name))
            || rule.is_some_and(|rule| rule.query.as_ref() == Some(name));
        let place = child(&child(pointer, "query"), name);
        lint.want(!taken, &place, || "collides: something else sets this parameter".to_owned());
    }
    for name in signature.body.keys() {
        let taken = transport.body.contains_key(name)
            || operations.iter().any(|operation| has_field(lint, operation, name))
            || rule.is_some_and(|rule| rule.field.as_ref() == Some(name));
        let place = child(&child(pointer, "body"), name);
        lint.want(!taken, &place, || "collides: something else sets this field".to_owned());
    }
    if signature.body.is_empty() && signature.payload.is_none() {
        return;
    }
    for operation in operations {
        let bodiless = matches!(verb(lint, operation), "GET" | "HEAD");
        lint.want(!bodiless, pointer, || format!("{} has no body to sign in", operation.id));
        let files = lint.manifest.body_encoding(&operation.module, Some(operation)) == BodyEncoding::Multipart;
        lint.want(!files, pointer, || format!("{} sends files, which no signature covers", operation.id));
    }
}

fn verb<'m>(lint: &Lint<'m>, operation: &'m Operation) -> &'m str {
    let module = lint.manifest.modules.get(&operation.module);
    match module.filter(|module| module.style == Style::Rpc).and_then(|module| module.rpc.as_ref()) {
        Some(rpc) => rpc.verb.as_str(),
        None => operation.method.as_str(),
    }
}

fn body_fields(lint: &mut Lint<'_>) {
    for (name, module) in &lint.manifest.modules {
        let place = format!("{}/body_field", child("/modules", name));
        let form = module.body == BodyEncoding::Form;
        lint.want(module.body_field.is_none() || form, &place, || "belongs to body: form".to_owned());
    }
}
