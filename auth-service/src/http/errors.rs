//! What a person reads when something cannot be done: what it is, why, and what to do now. Never a dead end.

use axum::response::Response;
use http::StatusCode;
use maud::html;
use plugboard_core::identity::IdentityError;

use super::guest::Guest;
use super::language::Language;
use super::layout::{ALERT, Frame, Tab, mark};

/// The parts of an error page.
pub(super) struct Problem<'a> {
    pub title: &'a str,
    pub why: &'a str,
    pub advice: &'a str,
    /// Where to go on: address and words.
    pub way_out: Option<(&'a str, &'a str)>,
}

impl Problem<'_> {
    pub(super) fn show(&self, frame: Frame<'_>) -> Response {
        let content = html! {
            section.message {
                (mark("careful", ALERT))
                h1 { (self.title) }
                p.lead role="alert" { (self.why) }
                p { (self.advice) }
                @if let Some((href, text)) = self.way_out { p { a.button.quiet href=(href) { (text) } } }
            }
        };
        frame.show(&content)
    }

    fn alone(&self, language: Language, status: StatusCode) -> Response {
        self.show(Frame::new(language, self.title).status(status))
    }

    fn inside(&self, guest: &Guest, tab: Tab, status: StatusCode) -> Response {
        let frame = Frame { again: None, ..Frame::inside(guest, tab, self.title) };
        self.show(frame.status(status))
    }
}

/// A connect link that does not open. `within`: this browser is inside a session, perhaps the link's.
pub(super) fn link_ended(t: Language, within: bool) -> Response {
    let (advice, way_out) =
        if within { (t.opened_here(), Some(("/connect", t.go_on()))) } else { (t.ask_new_link(), None) };
    let problem = Problem { title: t.link_ended(), why: t.connect_link_ended_why(), advice, way_out };
    problem.alone(t, StatusCode::GONE)
}

pub(super) fn no_visit(t: Language) -> Response {
    let problem = Problem { title: t.no_visit(), why: t.no_visit_why(), advice: t.no_visit_advice(), way_out: None };
    problem.alone(t, StatusCode::FORBIDDEN)
}

pub(super) fn other_service(guest: &Guest) -> Response {
    let t = guest.language;
    let problem = Problem {
        title: t.other_service(),
        why: t.other_service_why(),
        advice: t.other_service_advice(),
        way_out: Some(("/connect", t.back_to_services())),
    };
    problem.inside(guest, Tab::Services, StatusCode::FORBIDDEN)
}

pub(super) fn no_account(guest: &Guest) -> Response {
    let t = guest.language;
    let problem = Problem {
        title: t.no_account(),
        why: t.no_account_why(),
        advice: t.no_account_advice(),
        way_out: Some(("/connect/accounts", t.back_to_accounts())),
    };
    problem.inside(guest, Tab::Accounts, StatusCode::NOT_FOUND)
}

pub(super) fn stale_form(t: Language) -> Response {
    let problem = Problem {
        title: t.stale_form(),
        why: t.stale_form_why(),
        advice: t.stale_form_advice(),
        way_out: Some(("/connect", t.begin_again())),
    };
    problem.alone(t, StatusCode::FORBIDDEN)
}

pub(super) fn too_much(t: Language) -> Response {
    let problem = Problem { title: t.too_much(), why: t.too_much_why(), advice: t.too_much_advice(), way_out: None };
    problem.alone(t, StatusCode::PAYLOAD_TOO_LARGE)
}

pub(super) fn no_cookies(t: Language) -> Response {
    let problem = Problem {
        title: t.cookies_needed(),
        why: t.cookies_needed_why(),
        advice: t.cookies_needed_advice(),
        way_out: None,
    };
    problem.alone(t, StatusCode::BAD_REQUEST)
}

pub(super) fn trouble(t: Language, error: &IdentityError) -> Response {
    tracing::warn!(%error, "a page could not be shown");
    let problem = Problem { title: t.trouble(), why: t.trouble_why(), advice: t.trouble_advice(), way_out: None };
    problem.alone(t, StatusCode::SERVICE_UNAVAILABLE)
}

/// An action on an account that was refused.
pub(super) fn refused(guest: &Guest, error: &IdentityError) -> Response {
    let t = guest.language;
    match error {
        IdentityError::NotFound { .. } => no_account(guest),
        IdentityError::Unavailable(_) => trouble(t, error),
        other => {
            let why = other.to_string();
            let problem = Problem {
                title: t.refused_here(),
                why: &why,
                advice: t.refused_here_advice(),
                way_out: Some(("/connect/accounts", t.back_to_accounts())),
            };
            problem.inside(guest, Tab::Accounts, StatusCode::BAD_REQUEST)
        }
    }
}
