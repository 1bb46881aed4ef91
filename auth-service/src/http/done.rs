//! The end of a visit: the browser brings the claim back to the tenant's page, or the page shows it.

use axum::response::Response;
use maud::{Markup, html};
use plugboard_core::identity::{Account, AccountState};

use super::errors;
use super::guest::{Guest, Posted};
use super::layout::{CHECK, Frame, Tab, form_token, leave, mark, name_of, tile};
use crate::sessions::Done;

pub(super) async fn ask(guest: Guest) -> Response {
    let t = guest.language;
    let waits = |account: &&Account| account.state == AccountState::PendingClaim;
    let new: Vec<&Account> = guest.accounts.iter().filter(waits).collect();
    let organization = guest.visit.organization_name();
    let (title, lead) = match (guest.visit.brings_claim(), new.is_empty()) {
        (true, false) => (t.done_title(organization), t.done_lead(organization)),
        (true, true) => (t.done_ready_title().to_owned(), t.done_nothing().to_owned()),
        (false, _) => (t.done_ready_title().to_owned(), t.done_ready().to_owned()),
    };
    let button = site(guest.visit.return_url()).map_or_else(|| t.finish().to_owned(), |site| t.finish_return(site));
    let content = html! {
        section.message {
            h1 { (title) }
            p.lead { (lead) }
            @if !new.is_empty() { (listed(&guest, &new)) }
            form.row method="post" action="/connect/finish" {
                (form_token(&guest))
                button.button type="submit" { (button) }
                a.button.quiet href="/connect" { (t.not_yet()) }
            }
        }
    };
    Frame::inside(&guest, Tab::Done, &title).show(&content)
}

fn listed(guest: &Guest, accounts: &[&Account]) -> Markup {
    let t = guest.language;
    html! {
        ul.short {
            @for account in accounts {
                @let connector = guest.service.connector_of(&account.service);
                @let name = connector.as_ref().map_or(account.service.as_str(), |connector| name_of(connector.manifest(), t));
                li { (tile(account.service.as_str(), name)) span.what { span.name { (account.label) } span.quiet { (name) } } }
            }
        }
    }
}

pub(super) async fn finish(posted: Posted) -> Response {
    let guest = posted.guest;
    let t = guest.language;
    match guest.service.finish(&guest.visit).await {
        Ok(Done::Return(url)) => {
            let to = site(Some(url.expose())).unwrap_or_default();
            let title = t.returning(&to);
            leave(&Frame::new(t, &title), url.expose(), &to, t.returning_advice())
        }
        Ok(Done::Claim(claim)) => Frame::new(t, t.finished_title()).show(&html! {
            section.message {
                (mark("good", CHECK))
                h1 { (t.finished_title()) }
                p { (t.claim_advice()) }
                p.code.long { code #claim { (claim.expose()) } }
                button.button.quiet.small type="button" hidden data-copy="claim" data-copied=(t.code_copied()) { (t.code_copy()) }
            }
        }),
        Ok(Done::Nothing) => Frame::new(t, t.finished_title()).show(&html! {
            section.message { (mark("good", CHECK)) h1 { (t.finished_title()) } p.lead { (t.finished_close()) } }
        }),
        Err(error) => errors::refused(&guest, &error),
    }
}

/// The host of an address, for people.
fn site(url: Option<&str>) -> Option<String> {
    url::Url::parse(url?).ok()?.host_str().map(str::to_owned)
}
