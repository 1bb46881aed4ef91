//! What a person typed into the connect form, checked against a manifest's `credentials` flows.

use std::collections::BTreeMap;

use regex::Regex;

use super::host::normalize_host;
use super::model::{CredentialField, Flow, FlowKind, Manifest};
use super::template::Variable;
use crate::secret::{AccountFields, Secret};

/// Longest value of one field, in bytes.
pub const MAX_FIELD: usize = 16 * 1024;

/// Credentials that fit one flow, split by who may see them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckedCredentials {
    pub public: BTreeMap<String, String>,
    pub secret: BTreeMap<String, Secret>,
}

impl Manifest {
    /// A credential field, as the first flow that asks for it describes it.
    pub fn credential(&self, name: &str) -> Option<&CredentialField> {
        self.auth.flows.iter().find_map(|flow| flow.fields.get(name))
    }

    /// What a variable stands for in the requests of an account. An empty field counts as absent, because a form cannot
    /// tell the two apart, and then has its default.
    pub fn value_of<'a>(&'a self, fields: &'a AccountFields, variable: &Variable) -> Option<&'a str> {
        let value = match variable {
            Variable::Account(name) => match fields.get(name) {
                Some(value) if !value.is_empty() => Some(value),
                _ => self.credential(name).and_then(|field| field.default.as_deref()),
            },
            Variable::Token => fields.token.as_ref().map(Secret::expose),
            Variable::Method => None,
        };
        value.filter(|value| !value.is_empty())
    }
}

/// One wrong field. The message never repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// `credentials.<name>`, or `credentials`.
    pub field: String,
    pub message: String,
}

impl FieldError {
    fn new(name: &str, message: impl Into<String>) -> Self {
        Self { field: format!("credentials.{name}"), message: message.into() }
    }
}

/// Old and new fields put together, and what is wrong: with the name of the field where it is only absent.
struct Merged {
    checked: CheckedCredentials,
    problems: Vec<(FieldError, Option<String>)>,
}

/// The settings of a check.
#[derive(Debug, Clone, Copy, Default)]
pub struct CredentialRules {
    /// Host fields may name single labels, addresses and ports, for services on an intranet. Default: no.
    pub allow_private_hosts: bool,
}

impl CredentialRules {
    /// Checks a complete set of fields. White space around values is taken off, an empty value counts as absent.
    ///
    /// Of several `credentials` flows the first whose required fields are all given wins; one that also knows every
    /// given field goes before one that does not.
    ///
    /// # Errors
    /// Everything that is wrong: absent fields first, each group in the order of the form.
    pub fn check(
        self,
        manifest: &Manifest,
        given: &BTreeMap<String, Secret>,
    ) -> Result<CheckedCredentials, Vec<FieldError>> {
        let merged = self.merge(manifest, &BTreeMap::new(), given)?;
        if merged.problems.is_empty() {
            return Ok(merged.checked);
        }
        Err(merged.problems.into_iter().map(|(error, _)| error).collect())
    }

    /// Checks what is typed before a person signs in: every field of this one flow.
    ///
    /// # Errors
    /// As [`CredentialRules::check`].
    pub fn check_flow(
        self,
        manifest: &Manifest,
        flow: &Flow,
        given: &BTreeMap<String, Secret>,
    ) -> Result<CheckedCredentials, Vec<FieldError>> {
        let merged = self.merge_flow(manifest, flow, &BTreeMap::new(), given);
        if merged.problems.is_empty() {
            return Ok(merged.checked);
        }
        Err(merged.problems.into_iter().map(|(error, _)| error).collect())
    }

    /// Checks some fields that replace those an account has. An empty value removes an optional field; fields of
    /// another flow than the one that now applies are dropped. When a host changes, the secrets that do not come with
    /// the change are dropped: they belong to the old host.
    ///
    /// The second value says whether nothing required is missing now.
    ///
    /// # Errors
    /// Everything that is wrong with the given fields.
    pub fn check_change(
        self,
        manifest: &Manifest,
        present: &BTreeMap<String, Secret>,
        given: &BTreeMap<String, Secret>,
    ) -> Result<(CheckedCredentials, bool), Vec<FieldError>> {
        let merged = self.merge(manifest, present, given)?;
        let emptied = |name: &str| given.get(name).is_some_and(|value| value.expose().trim().is_empty());
        let (left_out, wrong): (Vec<_>, Vec<_>) =
            merged.problems.into_iter().partition(|(_, absent)| absent.as_deref().is_some_and(|name| !emptied(name)));
        if wrong.is_empty() {
            return Ok((merged.checked, left_out.is_empty()));
        }
        Err(wrong.into_iter().map(|(error, _)| error).collect())
    }

    fn merge(
        self,
        manifest: &Manifest,
        old: &BTreeMap<String, Secret>,
        given: &BTreeMap<String, Secret>,
    ) -> Result<Merged, Vec<FieldError>> {
        let flow = choose(manifest, &kept(old, given), &filled(given))?;
        Ok(self.merge_flow(manifest, flow, old, given))
    }

    fn merge_flow(
        self,
        manifest: &Manifest,
        flow: &Flow,
        old: &BTreeMap<String, Secret>,
        given: &BTreeMap<String, Secret>,
    ) -> Merged {
        let (kept, given) = (kept(old, given), filled(given));
        let mut problems = Vec::new();
        let mut values: BTreeMap<&str, String> = BTreeMap::new();
        for (name, field) in &flow.fields {
            match given.get(name.as_str()).map(|value| self.check_value(field, value)) {
                Some(Ok(value)) => values.extend([(name.as_str(), value)]),
                Some(Err(message)) => problems.push((FieldError::new(name, message), None)),
                None => values.extend(kept.get(name.as_str()).map(|value| (name.as_str(), (*value).to_owned()))),
            }
        }
        if hosts_differ(flow, old, &values) {
            values.retain(|name, _| given.contains_key(name) || !flow.fields[*name].secret);
        }
        for (name, field) in &flow.fields {
            if !field.optional && !values.contains_key(name.as_str()) && !given.contains_key(name.as_str()) {
                problems.push((FieldError::new(name, missing(manifest, flow, field)), Some(name.clone())));
            }
        }
        let unknown = given.keys().filter(|name| !flow.fields.contains_key(**name));
        problems.extend(unknown.map(|name| (FieldError::new(&shown(name), not_a_field(flow)), None)));
        problems.sort_by_key(|(_, absent)| absent.is_none());

        let mut checked = CheckedCredentials::default();
        for (name, value) in values {
            if flow.fields[name].secret {
                checked.secret.insert(name.to_owned(), Secret::new(value));
            } else {
                checked.public.insert(name.to_owned(), value);
            }
        }
        Merged { checked, problems }
    }

    fn check_value(self, field: &CredentialField, value: &str) -> Result<String, String> {
        if value.len() > MAX_FIELD {
            return Err(format!("is longer than {MAX_FIELD} bytes"));
        }
        let broken = |c: char| c.is_control() && !(field.multiline && matches!(c, '\n' | '\r' | '\t'));
        if value.chars().any(broken) {
            return Err("has a line break or another control character inside; paste it as one line".to_owned());
        }
        let value = if field.host { normalize_host(value, self.allow_private_hosts)? } else { value.to_owned() };
        match &field.pattern {
            Some(pattern) if !matches_whole(pattern, &value) => {
                let hint = field.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                Err(format!("does not look right: it must match `{pattern}`{hint}"))
            }
            _ => Ok(value),
        }
    }
}

/// What an account has that is not given anew.
fn kept<'v>(old: &'v BTreeMap<String, Secret>, given: &BTreeMap<String, Secret>) -> BTreeMap<&'v str, &'v str> {
    let old = old.iter().filter(|(name, _)| !given.contains_key(*name));
    old.map(|(name, value)| (name.as_str(), value.expose())).collect()
}

fn filled(given: &BTreeMap<String, Secret>) -> BTreeMap<&str, &str> {
    let given = given.iter().map(|(name, value)| (name.as_str(), value.expose().trim()));
    given.filter(|(_, value)| !value.is_empty()).collect()
}

/// The flow that a complete set of fields belongs to: what an account's defaults and secrets are read by later.
pub fn flow_of(manifest: &Manifest, has: impl Fn(&str) -> bool) -> Option<&Flow> {
    flows(manifest).find(|flow| is_complete(flow, &has)).or_else(|| flows(manifest).next())
}

fn flows(manifest: &Manifest) -> impl DoubleEndedIterator<Item = &Flow> {
    manifest.auth.flows.iter().filter(|flow| flow.kind == FlowKind::Credentials)
}

fn is_complete(flow: &Flow, has: impl Fn(&str) -> bool) -> bool {
    flow.fields.iter().all(|(name, field)| field.optional || has(name))
}

/// Whether the account's requests would go to another host than before.
fn hosts_differ(flow: &Flow, old: &BTreeMap<String, Secret>, new: &BTreeMap<&str, String>) -> bool {
    flow.fields.iter().filter(|(_, field)| field.host).any(|(name, field)| {
        let before = old.get(name).map(Secret::expose).or(field.default.as_deref());
        let after = new.get(name.as_str()).map(String::as_str).or(field.default.as_deref());
        before != after
    })
}

fn choose<'m>(
    manifest: &'m Manifest,
    present: &BTreeMap<&str, &str>,
    given: &BTreeMap<&str, &str>,
) -> Result<&'m Flow, Vec<FieldError>> {
    let has = |name: &str| given.contains_key(name) || present.contains_key(name);
    let known = |flow: &Flow| given.keys().filter(|name| flow.fields.contains_key(**name)).count();
    let complete = || flows(manifest).filter(|flow| is_complete(flow, has));
    if let Some(flow) = complete().find(|flow| known(flow) == given.len()).or_else(|| complete().next()) {
        return Ok(flow);
    }
    // None is complete: the one the person seems to mean is reported, the first of equals.
    flows(manifest).rev().max_by_key(|flow| known(flow)).ok_or_else(|| {
        vec![FieldError {
            field: "credentials".to_owned(),
            message: format!("{} is connected by signing in there, not by typing credentials", manifest.name),
        }]
    })
}

fn missing(manifest: &Manifest, flow: &Flow, field: &CredentialField) -> String {
    let mut message = format!("is missing ({})", field.label);
    let others: Vec<String> = flows(manifest)
        .filter(|other| !std::ptr::eq(*other, flow))
        .map(|other| {
            let required = other.fields.iter().filter(|(_, field)| !field.optional).map(|(name, _)| name.as_str());
            format!("{} ({})", other.label, required.collect::<Vec<_>>().join(", "))
        })
        .collect();
    if !others.is_empty() {
        message.push_str("; or connect by ");
        message.push_str(&others.join(" or "));
    }
    message
}

fn not_a_field(flow: &Flow) -> String {
    let known: Vec<&str> = flow.fields.keys().map(String::as_str).collect();
    match known.as_slice() {
        [] => "is not asked for: this service needs no credentials".to_owned(),
        _ => format!("is not asked for; the fields are {}", known.join(", ")),
    }
}

/// A field name from outside, fit to be shown.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// A pattern that does not compile matches nothing; `connectors lint` refuses it.
pub fn matches_whole(pattern: &str, value: &str) -> bool {
    Regex::new(&format!(r"\A(?:{pattern})\z")).is_ok_and(|pattern| pattern.is_match(value))
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
