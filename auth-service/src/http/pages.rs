//! What a person reads around a sign-in: short, plain, and without a dead end.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use plugboard_core::identity::IdentityError;
use plugboard_core::secret::Secret;

use super::guarded;
use crate::oauth::authorize::Departure;
use crate::oauth::callback::{Arrival, Refusal};

fn page(status: StatusCode, title: &str, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Plugboard" }
            }
            body { main { h1 { (title) } (body) } }
        }
    };
    guarded((status, page).into_response())
}

pub(super) fn departure(departure: &Departure, link: &str) -> Response {
    let title = format!("Connect {}", departure.service);
    let body = html! {
        p { strong { (departure.organization) } " asks for access to your " strong { (departure.service) } " account." }
        @if let Some(owner) = &departure.owner { p { "It will belong to " strong { (owner) } "." } }
        @if !departure.scopes.is_empty() {
            p { "You will be asked to permit:" }
            ul { @for scope in &departure.scopes { li { code { (scope) } } } }
        }
        p { a id="continue" rel="nofollow" href=(format!("/oauth/start/{link}/go")) { "Continue at " (departure.service) } }
        p { "If you did not expect this, or somebody sent you this link, close the page: nothing has happened yet." }
    };
    page(StatusCode::OK, &title, &body)
}

pub(super) fn claim(arrival: &Arrival, claim: &Secret) -> Response {
    let body = html! {
        (who(arrival))
        p { "One step is left. Give this code to whoever asked you to connect; it works once, within the hour:" }
        p { code id="claim" { (claim.expose()) } }
    };
    page(StatusCode::OK, &format!("{} is signed in", arrival.service), &body)
}

pub(super) fn connected(arrival: &Arrival) -> Response {
    let body = html! {
        (who(arrival))
        p { "You can close this window." }
    };
    page(StatusCode::OK, &format!("{} is connected", arrival.service), &body)
}

fn who(arrival: &Arrival) -> Markup {
    html! {
        @match &arrival.account_name {
            Some(name) => p { "You have signed in as " strong { (name) } "." },
            None => p { "You have signed in." },
        }
    }
}

pub(super) fn refusal(refusal: &Refusal) -> Response {
    let (status, title, advice, back) = match refusal {
        Refusal::Denied { return_url, .. } => (
            StatusCode::OK,
            "Not connected",
            "Nothing was changed. You can begin again whenever you like.",
            return_url.as_deref(),
        ),
        Refusal::VendorSaid { return_url, .. } => (
            StatusCode::BAD_GATEWAY,
            "The service refused",
            "If it stays so, the application registered at the service needs a look: its redirect address and its permissions.",
            return_url.as_deref(),
        ),
        Refusal::NotConnected { .. } => {
            (StatusCode::BAD_GATEWAY, "Not connected", "Nothing was kept. Begin again from where you started.", None)
        }
        Refusal::Unknown => {
            (StatusCode::GONE, "This sign-in has ended", "Begin again from where you started; it takes a moment.", None)
        }
        Refusal::OtherBrowser => (
            StatusCode::FORBIDDEN,
            "Another browser began this",
            "Nothing was connected. If you did not begin it yourself, somebody may be trying to use your account: close this page, and tell the service that you signed in by mistake.",
            None,
        ),
        Refusal::OtherService | Refusal::OtherIssuer => (
            StatusCode::FORBIDDEN,
            "This answer is not the one we asked for",
            "Nothing was connected, and nothing was sent to anybody. Begin again from where you started.",
            None,
        ),
        Refusal::Platform(error) => return trouble(error),
    };
    let body = html! {
        p role="alert" { (refusal.to_string()) }
        p { (advice) }
        @if let Some(back) = back { p { a href=(back) { "Go back" } } }
    };
    page(status, title, &body)
}

pub(super) fn stale_link(error: &IdentityError) -> Response {
    if !matches!(error, IdentityError::NotFound { .. }) {
        return trouble(error);
    }
    let body = html! {
        p role="alert" { "A link works once, for 10 minutes, and this one has been used or has expired." }
        p { "Ask for a new one where you got it." }
    };
    page(StatusCode::GONE, "This link has ended", &body)
}

pub(super) fn no_cookies() -> Response {
    let body = html! {
        p role="alert" { "This browser did not keep our cookie, by which we know at the end that it is still you." }
        p { "Allow cookies for this site and open the link again." }
    };
    page(StatusCode::BAD_REQUEST, "Cookies are needed", &body)
}

pub(super) fn trouble(error: &IdentityError) -> Response {
    tracing::warn!(%error, "a page could not be shown");
    let body = html! {
        p role="alert" { "Something on our side does not answer. Nothing was lost." }
        p { "Try again in a minute." }
    };
    page(StatusCode::SERVICE_UNAVAILABLE, "Not right now", &body)
}
