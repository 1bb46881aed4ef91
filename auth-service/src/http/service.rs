//! One service: the way to connect it is chosen, its form is filled in, and the sign-in begins.

use axum::extract::{Path, Query};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use plugboard_core::identity::{Account, IdentityError};
use plugboard_core::manifest::{Flow, FlowKind, Manifest};

use super::form::{self, Draft, LABEL};
use super::guest::{Guest, Posted};
use super::language::Language;
use super::layout::{CHECK, Frame, Tab, arrow_back, form_token, icon, lang, leave, name_of, tagline, tile};
use super::{errors, redirect, texts};
use crate::sessions::{Connectable, Wish};

#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Chosen {
    /// Which of the manifest's flows, by number.
    flow: Option<String>,
    /// An account to connect again.
    account: Option<String>,
}

/// What a page of one service is about.
struct Subject<'a> {
    guest: &'a Guest,
    service: Connectable,
    /// Of its flows; there is one.
    at: usize,
    account: Option<&'a Account>,
}

pub(super) async fn show(guest: Guest, Path(key): Path<String>, Query(chosen): Query<Chosen>) -> Response {
    let subject = match Subject::find(&guest, &key, &chosen).await {
        Ok(subject) => subject,
        Err(refusal) => return *refusal,
    };
    let mut draft = Draft::default();
    if let Some(account) = subject.account {
        draft.kept.extend(account.public_fields.clone());
    }
    subject.page(&draft)
}

pub(super) async fn submit(Path(key): Path<String>, posted: Posted) -> Response {
    let Posted { guest, fields } = posted;
    let sent = |name: &str| fields.get(name).map(|value| value.expose().trim()).filter(|value| !value.is_empty());
    let chosen = Chosen { flow: sent("flow").map(str::to_owned), account: sent("account").map(str::to_owned) };
    let subject = match Subject::find(&guest, &key, &chosen).await {
        Ok(subject) => subject,
        Err(refusal) => return *refusal,
    };
    let t = guest.language;
    let typed = form::typed(subject.flow(), &fields);
    let mut draft = Draft::check(t, subject.flow(), subject.name(), guest.service.allows_private_hosts(), &typed);
    let label = sent(LABEL).map(str::to_owned);
    draft.kept.insert(LABEL.to_owned(), label.clone().unwrap_or_default());
    if draft.is_wrong() {
        return subject.page(&draft);
    }
    let account = subject.account.map(|account| account.id.clone());
    let wish = Wish { service: subject.service.connector.key().clone(), label, fields: typed, account };
    match subject.begin(wish).await {
        Ok(response) => response,
        Err(error) => subject.refused(draft, &error),
    }
}

impl<'a> Subject<'a> {
    async fn find(guest: &'a Guest, key: &str, chosen: &Chosen) -> Result<Self, Box<Response>> {
        let services = guest.service.connectable(&guest.visit).await;
        let services = services.map_err(|error| Box::new(errors::trouble(guest.language, &error)))?;
        let found = services.into_iter().find(|service| service.connector.key().as_str() == key);
        let service = found.ok_or_else(|| Box::new(errors::other_service(guest)))?;
        let account = match &chosen.account {
            Some(id) => {
                let own = guest.account(id).filter(|account| account.service == *service.connector.key());
                Some(own.ok_or_else(|| Box::new(errors::no_account(guest)))?)
            }
            None => None,
        };
        let flows = &service.connector.manifest().auth.flows;
        // The manifest's order is its preference, but not for what cannot begin.
        let open = |flow: &Flow| flow.kind == FlowKind::Credentials || service.can_sign_in;
        let first = flows.iter().position(open).unwrap_or(0);
        let wanted = chosen.flow.as_deref().and_then(|number| number.parse().ok());
        let at = wanted.filter(|at| *at < flows.len()).unwrap_or(first);
        if flows.is_empty() {
            return Err(Box::new(errors::other_service(guest)));
        }
        Ok(Self { guest, service, at, account })
    }

    fn manifest(&self) -> &Manifest {
        self.service.connector.manifest()
    }

    fn flow(&self) -> &Flow {
        &self.manifest().auth.flows[self.at]
    }

    fn name(&self) -> &str {
        name_of(self.manifest(), self.guest.language)
    }

    async fn begin(&self, wish: Wish) -> Result<Response, IdentityError> {
        let Guest { service, visit, language: t, .. } = self.guest;
        match self.flow().kind {
            FlowKind::Credentials => {
                let account = service.submit_form(visit, wish).await?;
                Ok(redirect(&format!("/connect/accounts?connected={}", account.id)))
            }
            FlowKind::PopupOauth => {
                let url = service.start_popup(visit, wish).await?;
                let (title, link) = (t.leaving_to(self.name()), t.continue_at(self.name()));
                Ok(leave(&Frame::new(*t, &title), &url, &link, t.returning_advice()))
            }
            FlowKind::DeviceCode => {
                let started = service.start_code(visit, wish).await?;
                Ok(redirect(&format!("/connect/codes/{}", started.id)))
            }
        }
    }

    /// What the service did not take, beside the field that it names.
    fn refused(&self, mut draft: Draft, error: &IdentityError) -> Response {
        let t = self.guest.language;
        match error {
            IdentityError::Exists { .. } => {
                draft.errors.insert(LABEL.to_owned(), t.label_taken().to_owned());
            }
            IdentityError::Invalid { field, message } => {
                let field = field.strip_prefix("credentials.").unwrap_or(field);
                if field == LABEL {
                    draft.errors.insert(LABEL.to_owned(), t.label_wrong().to_owned());
                } else if self.flow().fields.contains_key(field) {
                    draft.errors.insert(field.to_owned(), t.field_refused(message));
                } else {
                    draft.alert = Some(t.field_refused(message));
                }
            }
            IdentityError::VendorRefused { .. } => draft.alert = Some(t.vendor_said_no(self.name())),
            IdentityError::VendorDown { .. } => draft.alert = Some(t.vendor_silent(self.name())),
            other => return errors::refused(self.guest, other),
        }
        tracing::info!(service = %self.service.connector.key(), %error, "a connect form was refused");
        self.page(&draft)
    }

    fn page(&self, draft: &Draft) -> Response {
        let t = self.guest.language;
        let heading = match self.account {
            Some(account) => t.reconnect_title(self.name(), &account.label),
            None => t.service_title(self.name()),
        };
        let title = if draft.is_wrong() { format!("{}: {heading}", t.error_prefix()) } else { heading.clone() };
        let content = html! {
            p.back { a href="/connect" { (arrow_back()) (t.back_to_services()) } }
            header.about {
                (tile(&self.manifest().key, self.name()))
                div {
                    h1 { (heading) }
                    p.lead {
                        @match tagline(self.manifest(), t) {
                            Some(tagline) => (tagline),
                            None => (texts::category(t, self.manifest().category)),
                        }
                    }
                }
            }
            div.split {
                @if self.account.is_none() && self.service.living() > 0 {
                    p.notice { (icon(CHECK)) span { (t.has_accounts(t.accounts_number(self.service.living()))) " " a href="/connect/accounts" { (t.accounts()) } } }
                }
                (form::summary(t, self.flow(), draft))
                (self.ways())
                (self.help())
                @if self.is_open() { (self.form(draft)) } @else { (self.not_set()) }
            }
        };
        let path = self.path(self.at);
        let status = if draft.is_wrong() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let frame = Frame::inside(self.guest, Tab::Services, &title).status(status);
        Frame { again: Some(&path), ..frame }.show(&content)
    }

    fn is_open(&self) -> bool {
        self.flow().kind == FlowKind::Credentials || self.service.can_sign_in
    }

    fn path(&self, flow: usize) -> String {
        let account = self.account.map(|account| format!("&account={}", account.id)).unwrap_or_default();
        format!("/connect/services/{}?flow={flow}{account}", self.service.connector.key())
    }

    fn ways(&self) -> Markup {
        let t = self.guest.language;
        let flows = &self.manifest().auth.flows;
        html! {
            @if flows.len() > 1 {
                nav.ways aria-label=(t.ways()) {
                    ul {
                        @for (at, flow) in flows.iter().enumerate() {
                            li {
                                a href=(self.path(at)) aria-current=[(at == self.at).then_some("true")] {
                                    span.name { (self.label(t, flow)) }
                                    span.kind { (self.way(t, flow)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// What the manifest calls it; a sign-in has a name of ours where that is in another language.
    fn label(&self, t: Language, flow: &Flow) -> Markup {
        let foreign = lang(&flow.label, t);
        html! {
            @match flow.kind {
                FlowKind::PopupOauth if foreign.is_some() => (t.sign_in_at(self.name())),
                FlowKind::DeviceCode if foreign.is_some() => (t.sign_in_by_code()),
                _ => span lang=[foreign] { (flow.label) },
            }
        }
    }

    fn way(&self, t: Language, flow: &Flow) -> &'static str {
        match flow.kind {
            FlowKind::Credentials => t.way_form(),
            _ if !self.service.can_sign_in => t.way_not_set(),
            FlowKind::PopupOauth => t.way_popup(),
            FlowKind::DeviceCode => t.way_code(),
        }
    }

    fn not_set(&self) -> Markup {
        let t = self.guest.language;
        let advice = t.not_set_advice(self.guest.visit.organization_name(), self.name());
        html! { section.empty { h2 { (t.not_set_title()) } p { (advice) } } }
    }

    fn form(&self, draft: &Draft) -> Markup {
        let t = self.guest.language;
        let (lead, button) = match self.flow().kind {
            FlowKind::Credentials => (None, t.connect().to_owned()),
            FlowKind::PopupOauth => (Some(t.popup_lead(self.name())), t.continue_at(self.name())),
            FlowKind::DeviceCode => (Some(t.code_lead(self.name())), t.get_code().to_owned()),
        };
        let popup = self.flow().kind == FlowKind::PopupOauth;
        let scopes = self.flow().oauth.as_ref().map(|oauth| oauth.scopes.as_slice()).unwrap_or_default();
        html! {
            form.panel method="post" action=(format!("/connect/services/{}", self.service.connector.key())) novalidate data-popup[popup] {
                h2 { (self.label(t, self.flow())) }
                @if let Some(lead) = lead { p { (lead) } }
                @if !scopes.is_empty() {
                    p.quiet { (t.will_permit()) }
                    ul.scopes { @for scope in scopes { li { code { (scope) } } } }
                }
                (form_token(self.guest))
                input type="hidden" name="flow" value=(self.at);
                @if let Some(account) = self.account {
                    input type="hidden" name="account" value=(account.id);
                    @if self.flow().fields.values().any(|field| field.secret) { p.quiet { (t.keep_blank()) } }
                }
                (form::fields(t, self.flow(), draft))
                @if self.account.is_none() { (form::label(t, draft)) }
                button.button type="submit" { (button) }
                @if popup { p.waiting role="status" aria-live="polite" data-text=(t.popup_waiting()) {} }
            }
        }
    }

    fn help(&self) -> Markup {
        let t = self.guest.language;
        let Some(help) = &self.flow().help else { return html! {} };
        html! {
            aside.help aria-label=(t.where_to_find()) {
                p.name { (t.where_to_find()) }
                p lang=[lang(help, t)] { (help) }
                p { a href=(self.manifest().docs) target="_blank" rel="noreferrer noopener" { (t.vendor_docs()) span.unseen { " (" (t.opens_new()) ")" } } }
            }
        }
    }
}
