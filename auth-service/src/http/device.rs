//! A code for another device: the page that shows it, and what the page's script asks while the person is away.

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use maud::{Markup, html};
use plugboard_core::identity::{DeviceStatus, IdentityError};
use serde_json::{Value, json};

use super::errors::{self, Problem};
use super::guest::Guest;
use super::layout::{Frame, Tab, WARNING, arrow_back, clock, icon, name_of};
use super::redirect;
use crate::sessions::ShownCode;

pub(super) async fn show(guest: Guest, Path(id): Path<String>) -> Response {
    let (shown, status) = match look(&guest, &id).await {
        Ok(found) => found,
        Err(IdentityError::NotFound { .. }) => return errors::no_visit(guest.language),
        Err(error) => return errors::trouble(guest.language, &error),
    };
    let t = guest.language;
    let name = name_of(shown.connector.manifest(), t);
    let again = format!("/connect/services/{}", shown.connector.key());
    let (title, why) = match &status {
        DeviceStatus::Pending { interval_seconds } => return waiting(&guest, &shown, name, *interval_seconds),
        DeviceStatus::Connected(account) => return redirect(&connected(account.id.as_str())),
        DeviceStatus::Denied => (t.code_denied(), t.denied_at(name)),
        DeviceStatus::Expired => (t.code_expired(), t.code_expired_why().to_owned()),
        DeviceStatus::Failed(why) => (t.code_failed(), t.code_failed_why(why)),
    };
    let problem =
        Problem { title, why: &why, advice: t.nothing_changed(), way_out: Some((again.as_str(), t.code_again())) };
    problem.show(Frame::inside(&guest, Tab::Services, title).status(StatusCode::OK))
}

async fn look(guest: &Guest, id: &str) -> Result<(ShownCode, DeviceStatus), IdentityError> {
    let shown = guest.service.shown_code(&guest.visit, id).await?;
    let status = guest.service.poll_code(&guest.visit, id).await?;
    Ok((shown, status))
}

/// Where it stands, for the page's script. The vendor is asked no more often than it wants, however often we are.
pub(super) async fn status(guest: Guest, Path(id): Path<String>) -> Response {
    let status = match guest.service.poll_code(&guest.visit, &id).await {
        Ok(status) => status,
        Err(IdentityError::NotFound { .. }) => return told(StatusCode::NOT_FOUND, json!({"state": "gone"})),
        Err(error) => {
            tracing::warn!(%error, "a device code cannot be looked at");
            return told(StatusCode::SERVICE_UNAVAILABLE, json!({"state": "pending", "interval": 5}));
        }
    };
    told(
        StatusCode::OK,
        match status {
            DeviceStatus::Pending { interval_seconds } => json!({"state": "pending", "interval": interval_seconds}),
            DeviceStatus::Connected(account) => json!({"state": "connected", "next": connected(account.id.as_str())}),
            DeviceStatus::Denied | DeviceStatus::Expired | DeviceStatus::Failed(_) => json!({"state": "ended"}),
        },
    )
}

fn told(status: StatusCode, body: Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn connected(account: &str) -> String {
    format!("/connect/accounts?connected={account}")
}

fn waiting(guest: &Guest, shown: &ShownCode, name: &str, interval: u32) -> Response {
    let t = guest.language;
    let title = t.code_title(name);
    let content = html! {
        p.back { a href=(format!("/connect/services/{}", shown.connector.key())) { (arrow_back()) (t.service_title(name)) } }
        div.narrow {
            h1 { (title) }
            div.notice.careful {
                (icon(WARNING))
                div { p { strong { (t.code_warning_title()) } } p { (t.code_warning()) } }
            }
            (steps(guest, shown, interval))
        }
    };
    Frame::inside(guest, Tab::Services, &title).show(&content)
}

fn steps(guest: &Guest, shown: &ShownCode, interval: u32) -> Markup {
    let t = guest.language;
    let started = &shown.started;
    let web = |text: &str| url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
    let complete = started.verification_uri_complete.as_deref().and_then(web);
    let link = complete.or_else(|| web(&started.verification_uri));
    let site = link.as_ref().and_then(url::Url::host_str).unwrap_or(&started.verification_uri).to_owned();
    html! {
        ol.steps {
            li {
                h2 { (t.code_step_open()) }
                @match &link {
                    Some(link) => p { a.button #verification href=(link) target="_blank" rel="noreferrer noopener" {
                        (t.code_open(&site)) span.unseen { " (" (t.opens_new()) ")" }
                    } },
                    // Not an address of the web: nothing to be opened by a click.
                    None => p { code { (site) } },
                }
            }
            li {
                h2 { (t.code_step_type()) }
                p.code { code #user-code { (started.user_code) } }
                button.button.quiet.small type="button" hidden data-copy="user-code" data-copied=(t.code_copied()) { (t.code_copy()) }
            }
            li {
                h2 { (t.code_step_wait()) }
                div.panel data-poll=(format!("/connect/codes/{}/status", started.id)) data-interval=(interval) {
                    p.waiting role="status" aria-live="polite" { span.pulse aria-hidden="true" {} span { (t.code_waiting()) } }
                    p.quiet { (t.code_until()) " " (clock(t, started.expires_at)) }
                    p { a.button.quiet.small href=(guest.path) { (t.code_check()) } }
                }
            }
        }
    }
}
