//! Templates of a manifest, filled in with the fields of an account.

use percent_encoding::utf8_percent_encode;
use plugboard_core::manifest::{Manifest, Template, Variable};
use plugboard_core::percent::UNRESERVED;
use plugboard_core::secret::AccountFields;
use serde_json::Value;

/// `None` when a field is not there, or the text is no template (which `connectors lint` refuses).
pub(crate) fn text(template: &str, fields: &AccountFields) -> Option<String> {
    Template::parse(template).ok()?.render(|variable| field(variable, fields))
}

/// As [`text`]. Hosts stand as they are, they were checked when they were given; anything else is encoded, so that no
/// field can change which host is meant.
pub(crate) fn url(template: &str, manifest: &Manifest, fields: &AccountFields) -> Option<String> {
    let template = Template::parse(template).ok()?;
    let encoded: Vec<(&Variable, String)> = template
        .variables()
        .filter_map(|variable| {
            let value = field(variable, fields)?;
            let stands = matches!(variable, Variable::Account(name) if is_host(manifest, name));
            let value = if stands { value.to_owned() } else { utf8_percent_encode(value, UNRESERVED).to_string() };
            Some((variable, value))
        })
        .collect();
    let value =
        |wanted: &Variable| encoded.iter().find(|(variable, _)| *variable == wanted).map(|(_, value)| value.as_str());
    template.render(value)
}

/// Every text of a JSON value is a template.
pub(crate) fn json(template: &Value, fields: &AccountFields) -> Option<Value> {
    Some(match template {
        Value::String(one) => Value::String(text(one, fields)?),
        Value::Array(items) => Value::Array(items.iter().map(|item| json(item, fields)).collect::<Option<_>>()?),
        Value::Object(members) => {
            let members = members.iter().map(|(name, item)| Some((name.clone(), json(item, fields)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
        other => other.clone(),
    })
}

fn is_host(manifest: &Manifest, name: &str) -> bool {
    manifest.auth.flows.iter().any(|flow| {
        let typed = flow.fields.get(name).is_some_and(|field| field.host);
        typed || flow.oauth.as_ref().and_then(|oauth| oauth.keep.get(name)).is_some_and(|kept| kept.host)
    })
}

fn field<'f>(variable: &Variable, fields: &'f AccountFields) -> Option<&'f str> {
    match variable {
        Variable::Account(name) => fields.get(name),
        Variable::Token => fields.token.as_ref().map(|token| token.expose()),
        Variable::Method => None,
    }
}
