//! The form of one flow: its fields, what is wrong with them in plain words, and what is kept of them. A secret is never
//! put back into a page.

use std::collections::BTreeMap;

use maud::{Markup, html};
use plugboard_core::manifest::credentials::{MAX_FIELD, matches_whole};
use plugboard_core::manifest::host::normalize_host;
use plugboard_core::manifest::{CredentialField, Flow};
use plugboard_core::secret::Secret;

use super::language::Language;
use super::layout::{ALERT, icon, lang};

pub(super) const LABEL: &str = "label";
const PREFIX: &str = "field.";

/// What somebody has typed so far.
#[derive(Default)]
pub(super) struct Draft {
    /// Values that may be shown again.
    pub kept: BTreeMap<String, String>,
    /// By field; [`LABEL`] too.
    pub errors: BTreeMap<String, String>,
    /// What is wrong with no field in particular.
    pub alert: Option<String>,
}

/// The typed fields of a flow, under the names of its manifest.
pub(super) fn typed(flow: &Flow, sent: &BTreeMap<String, Secret>) -> BTreeMap<String, Secret> {
    let value = |name: &String| sent.get(&format!("{PREFIX}{name}")).map(|value| value.expose().trim());
    let given = flow.fields.keys().filter_map(|name| Some((name.clone(), Secret::new(value(name)?))));
    given.filter(|(_, value)| !value.expose().is_empty()).collect()
}

impl Draft {
    /// Checks as the service will, but in this person's language and beside each field.
    pub(super) fn check(
        t: Language,
        flow: &Flow,
        service: &str,
        private_hosts: bool,
        typed: &BTreeMap<String, Secret>,
    ) -> Self {
        let mut draft = Self::default();
        for (name, field) in &flow.fields {
            let value = typed.get(name).map(Secret::expose).unwrap_or_default();
            if !field.secret {
                draft.kept.insert(name.clone(), value.to_owned());
            }
            if let Some(problem) = problem(t, field, service, private_hosts, value) {
                draft.errors.insert(name.clone(), problem);
            }
        }
        draft
    }

    pub(super) fn is_wrong(&self) -> bool {
        self.alert.is_some() || !self.errors.is_empty()
    }
}

fn problem(t: Language, field: &CredentialField, service: &str, private_hosts: bool, value: &str) -> Option<String> {
    if value.is_empty() {
        return (!field.optional).then(|| t.field_required().to_owned());
    }
    if value.len() > MAX_FIELD {
        return Some(t.field_too_long().to_owned());
    }
    let broken = |c: char| c.is_control() && !(field.multiline && matches!(c, '\n' | '\r' | '\t'));
    if value.chars().any(broken) {
        return Some(t.field_line_breaks().to_owned());
    }
    if field.host && normalize_host(value, private_hosts).is_err() {
        return Some(t.field_host().to_owned());
    }
    match &field.pattern {
        Some(pattern) if !field.host && !matches_whole(pattern, value) => {
            Some(field.hint.as_deref().map_or_else(|| t.field_pattern_plain(service), |hint| t.field_pattern(hint)))
        }
        _ => None,
    }
}

/// All that is wrong, with a way to each field.
pub(super) fn summary(t: Language, flow: &Flow, draft: &Draft) -> Markup {
    let labelled = flow.fields.iter().map(|(name, field)| (name.as_str(), field.label.as_str()));
    let wrong = labelled.chain([(LABEL, t.field_label())]).filter(|(name, _)| draft.errors.contains_key(*name));
    let lost = flow.fields.values().any(|field| field.secret);
    html! {
        @if draft.is_wrong() {
            div.notice.bad role="alert" tabindex="-1" #summary {
                (icon(ALERT))
                div {
                    p { strong { (t.fields_wrong()) } }
                    @if let Some(alert) = &draft.alert { p { (alert) } }
                    @if !draft.errors.is_empty() {
                        p { (t.fields_wrong_advice()) }
                        ul { @for (name, label) in wrong { li { a href=(format!("#{}", id_of(name))) { (label) } } } }
                    }
                    @if lost { p { (t.secrets_again()) } }
                }
            }
        }
    }
}

pub(super) fn fields(t: Language, flow: &Flow, draft: &Draft) -> Markup {
    html! { @for (name, field) in &flow.fields { (self::field(t, name, field, draft)) } }
}

fn field(t: Language, name: &str, field: &CredentialField, draft: &Draft) -> Markup {
    let (id, error) = (id_of(name), draft.errors.get(name));
    let kept = draft.kept.get(name).map(String::as_str).unwrap_or_default();
    let about = About { page: t, id: &id, hint: field.hint.as_deref(), error: error.map(String::as_str) };
    html! {
        div.field {
            label for=(id) {
                span lang=[lang(&field.label, t)] { (field.label) }
                @if field.optional { " " span.optional { "(" (t.optional()) ")" } }
            }
            (about.hint())
            @if field.multiline {
                textarea id=(id) name=(format!("{PREFIX}{name}")) rows="5" autocomplete="off" spellcheck="false"
                    autocapitalize="none" required[!field.optional] aria-invalid=[error.map(|_| "true")]
                    aria-describedby=[about.described()] { @if !field.secret { (kept) } }
            } @else {
                div.input {
                    input id=(id) name=(format!("{PREFIX}{name}")) type=(if field.secret { "password" } else { "text" })
                        value=[(!field.secret && !kept.is_empty()).then_some(kept)] inputmode=[field.host.then_some("url")]
                        placeholder=[field.default.as_deref()] autocomplete="off" spellcheck="false" autocapitalize="none"
                        required[!field.optional] aria-invalid=[error.map(|_| "true")] aria-describedby=[about.described()];
                    @if field.secret {
                        button.reveal type="button" hidden aria-controls=(id) {
                            span data-hide=(t.hide_secret()) { (t.show_secret()) } span.unseen { ": " (field.label) }
                        }
                    }
                }
            }
            (about.error())
        }
    }
}

/// The name that the person gives to the account.
pub(super) fn label(t: Language, draft: &Draft) -> Markup {
    let id = id_of(LABEL);
    let error = draft.errors.get(LABEL).map(String::as_str);
    let about = About { page: t, id: &id, hint: Some(t.name_hint()), error };
    html! {
        div.field {
            label for=(id) { (t.name_label()) " " span.optional { "(" (t.optional()) ")" } }
            (about.hint())
            div.input {
                input id=(id) name=(LABEL) type="text" maxlength="64" autocomplete="off"
                    value=[draft.kept.get(LABEL).filter(|kept| !kept.is_empty())]
                    aria-invalid=[error.map(|_| "true")] aria-describedby=[about.described()];
            }
            (about.error())
        }
    }
}

/// Hint and error of an input, which screen readers read with it.
struct About<'a> {
    page: Language,
    id: &'a str,
    hint: Option<&'a str>,
    error: Option<&'a str>,
}

impl About<'_> {
    fn described(&self) -> Option<String> {
        let id = self.id;
        let parts = [self.error.map(|_| format!("{id}-error")), self.hint.map(|_| format!("{id}-hint"))];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }

    fn hint(&self) -> Markup {
        html! { @if let Some(hint) = self.hint { p.hint lang=[lang(hint, self.page)] id=(format!("{}-hint", self.id)) { (hint) } } }
    }

    fn error(&self) -> Markup {
        html! { @if let Some(error) = self.error { p.error id=(format!("{}-error", self.id)) { (error) } } }
    }
}

fn id_of(name: &str) -> String {
    format!("field-{name}")
}
