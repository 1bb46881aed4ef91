//! What a person reads around a sign-in: short, plain, and without a dead end.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use plugboard_core::identity::IdentityError;
use plugboard_core::secret::Secret;

use super::errors::{Problem, trouble};
use super::language::Language;
use super::layout::{CHECK, Frame, mark, tile};
use crate::oauth::authorize::Departure;
use crate::oauth::callback::{Arrival, Refusal};

pub(super) fn departure(t: Language, departure: &Departure, link: &str) -> Response {
    let title = t.service_title(&departure.service);
    let again = format!("/oauth/start/{link}");
    let content = html! {
        section.message {
            (tile(&departure.service, &departure.service))
            h1 { (title) }
            p.lead { (t.asks_access(&departure.organization, &departure.service)) }
            @if let Some(owner) = &departure.owner { p { (t.will_belong(owner)) } }
            @if !departure.scopes.is_empty() {
                p { (t.will_permit()) }
                ul.scopes { @for scope in &departure.scopes { li { code { (scope) } } } }
            }
            p { a.button #continue rel="nofollow" href=(format!("/oauth/start/{link}/go")) { (t.continue_at(&departure.service)) } }
            p.quiet { (t.unexpected_link()) }
        }
    };
    Frame { again: Some(&again), ..Frame::new(t, &title) }.show(&content)
}

pub(super) fn claim(t: Language, arrival: &Arrival, claim: &Secret) -> Response {
    let title = t.is_signed_in(&arrival.service);
    let content = html! {
        section.message {
            (mark("good", CHECK))
            h1 { (title) }
            (who(t, arrival))
            p { (t.claim_advice()) }
            p.code.long { code #claim { (claim.expose()) } }
            button.button.quiet.small type="button" hidden data-copy="claim" data-copied=(t.code_copied()) { (t.code_copy()) }
        }
    };
    Frame::new(t, &title).show(&content)
}

/// In the popup, or in the page's own window where there was none.
pub(super) fn connected(t: Language, arrival: &Arrival) -> Response {
    let title = t.is_connected(&arrival.service);
    let content = html! {
        section.message {
            (mark("good", CHECK))
            h1 { (title) }
            (who(t, arrival))
            p { (t.window_close()) }
            p { a.button.quiet #accounts href=(format!("/connect/accounts?connected={}", arrival.account.id)) { (t.to_your_accounts()) } }
        }
    };
    Frame { signed_in: true, ..Frame::new(t, &title) }.show(&content)
}

fn who(t: Language, arrival: &Arrival) -> Markup {
    html! {
        @match &arrival.account_name {
            Some(name) => p.lead { (t.signed_in_as(name)) },
            None => p.lead { (t.signed_in()) },
        }
    }
}

/// `within`: the browser is inside a connect session, where it can begin again.
pub(super) fn refusal(t: Language, refusal: &Refusal, within: bool) -> Response {
    let (status, title, why, advice) = match refusal {
        Refusal::Denied { service, .. } => {
            (StatusCode::OK, t.not_connected(), t.denied_at(service), t.nothing_changed())
        }
        Refusal::VendorSaid { service, code, .. } => {
            (StatusCode::BAD_GATEWAY, t.service_refused(), t.vendor_said(service, code), t.service_refused_advice())
        }
        Refusal::NotConnected { service, why } => {
            (StatusCode::BAD_GATEWAY, t.not_connected(), t.signed_in_not_connected(service, why), t.nothing_kept())
        }
        Refusal::Unknown => (StatusCode::GONE, t.sign_in_ended(), t.sign_in_ended_why().to_owned(), t.takes_a_moment()),
        Refusal::OtherBrowser => {
            (StatusCode::FORBIDDEN, t.other_browser(), t.other_browser_why().to_owned(), t.other_browser_advice())
        }
        Refusal::OtherService => {
            (StatusCode::FORBIDDEN, t.wrong_answer(), t.wrong_answer_service().to_owned(), t.wrong_answer_advice())
        }
        Refusal::OtherIssuer => {
            (StatusCode::FORBIDDEN, t.wrong_answer(), t.wrong_answer_issuer().to_owned(), t.wrong_answer_advice())
        }
        Refusal::Platform(error) => return trouble(t, error),
    };
    let back = match refusal {
        Refusal::Denied { return_url, .. } | Refusal::VendorSaid { return_url, .. } => return_url.as_deref(),
        _ => None,
    };
    let way_out = back.map(|url| (url, t.go_back())).or_else(|| within.then(|| ("/connect", t.begin_again())));
    Problem { title, why: &why, advice, way_out }.show(Frame::new(t, title).status(status))
}

pub(super) fn stale_link(t: Language, error: &IdentityError) -> Response {
    if !matches!(error, IdentityError::NotFound { .. }) {
        return trouble(t, error);
    }
    let problem = Problem { title: t.link_ended(), why: t.link_ended_why(), advice: t.ask_new_link(), way_out: None };
    problem.show(Frame::new(t, t.link_ended()).status(StatusCode::GONE))
}
