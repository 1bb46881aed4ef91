//! The accounts that somebody has connected: how each is in plain words, and what can be done with it.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use plugboard_core::identity::{Account, AccountState, IdentityError};
use plugboard_core::ids::AccountId;

use super::guest::{Guest, Posted};
use super::language::Language;
use super::layout::{
    ALERT, CHECK, CLOCK, CROSS, DOTS, Frame, Tab, alert, day, form_token, icon, mark, name_of, notice, tile,
};
use super::{errors, redirect};
use crate::probe::Verdict;

/// What has just been done, said at the top of the list.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Just {
    connected: Option<String>,
    renamed: Option<String>,
    revoked: Option<String>,
    forgotten: Option<String>,
}

/// Something to say about one account.
struct Said<'a> {
    account: &'a str,
    text: String,
    good: bool,
}

pub(super) async fn show(guest: Guest, Query(just): Query<Just>) -> Response {
    let t = guest.language;
    let about = |text: &str, id: &Option<String>| {
        let account = id.as_deref().and_then(|id| guest.account(id));
        account.map(|account| format!("{}: {text}", t.quoted(&account.label)))
    };
    let text = about(t.connected_notice(), &just.connected)
        .or_else(|| about(t.renamed(), &just.renamed))
        .or_else(|| about(t.revoked_notice(), &just.revoked))
        .or_else(|| just.forgotten.as_ref().map(|_| t.forgotten().to_owned()));
    list(&guest, text.as_deref(), None)
}

fn list(guest: &Guest, just: Option<&str>, said: Option<&Said<'_>>) -> Response {
    let t = guest.language;
    let mut accounts: Vec<&Account> = guest.accounts.iter().collect();
    accounts.sort_by_key(|account| (urgency(account.state), &account.service, &account.label));
    let content = html! {
        h1 { (t.accounts_title()) }
        @if !accounts.is_empty() { p.lead { (t.accounts_lead()) } }
        @if let Some(just) = just { (notice(just)) }
        @if guest.accounts.is_empty() {
            section.empty {
                h2 { (t.accounts_none()) }
                p { (t.accounts_none_advice()) }
                p { a.button href="/connect" { (t.choose_service()) } }
            }
        } @else {
            ul.accounts {
                @for account in accounts {
                    (entry(guest, account, said.filter(|said| said.account == account.id.as_str())))
                }
            }
            p { a.button.quiet href="/connect" { (t.connect_another()) } }
        }
    };
    // A page that answers a form is not asked for again; the list is.
    Frame { again: Some("/connect/accounts"), ..Frame::inside(guest, Tab::Accounts, t.accounts_title()) }.show(&content)
}

fn entry(guest: &Guest, account: &Account, said: Option<&Said<'_>>) -> Markup {
    let t = guest.language;
    let connector = guest.service.connector_of(&account.service);
    let name = connector.as_ref().map_or(account.service.as_str(), |connector| name_of(connector.manifest(), t));
    let at = |action: &str| format!("/connect/accounts/{}/{action}", account.id);
    let named = |action: &str| t.named_action(action, &account.label);
    let heading = format!("account-{}", account.id);
    let lives = account.state != AccountState::Revoked;
    let has_test = connector.as_ref().is_some_and(|connector| connector.manifest().auth.test.is_some());
    let can_be_tested = has_test && lives && account.state != AccountState::NeedsReauth;
    html! {
        li.account aria-labelledby=(heading) {
            div.head {
                (tile(account.service.as_str(), name))
                div.what {
                    h2 id=(heading) { (account.label) }
                    p.quiet { (name) " · " (t.since()) " " (day(t, account.state_since)) }
                }
                (pill(t, account.state))
            }
            @if let Some(why) = why(guest, account) { p.state { (why) } }
            @if let Some(said) = said { @if said.good { (notice(&said.text)) } @else { (alert(&said.text)) } }
            div.actions {
                @if can_be_tested {
                    form method="post" action=(at("test")) {
                        (form_token(guest))
                        button.button.quiet.small type="submit" aria-label=(named(t.test())) { (t.test()) }
                    }
                }
                @if lives && connector.is_some() {
                    a.button.small.quiet[account.state != AccountState::NeedsReauth] aria-label=(named(t.reconnect()))
                        href=(format!("/connect/services/{}?account={}", account.service, account.id)) { (t.reconnect()) }
                }
                @if guest.visit.may_change() { (changes(guest, account)) }
            }
        }
    }
}

/// For whoever may change accounts that there are.
fn changes(guest: &Guest, account: &Account) -> Markup {
    let t = guest.language;
    let at = |action: &str| format!("/connect/accounts/{}/{action}", account.id);
    let named = |action: &str| t.named_action(action, &account.label);
    html! {
        @if account.state != AccountState::Revoked {
            details.rename {
                summary.button.quiet.small aria-label=(named(t.rename())) { (t.rename()) }
                form method="post" action=(at("label")) {
                    (form_token(guest))
                    label.unseen for=(format!("label-{}", account.id)) { (t.name_label()) }
                    input id=(format!("label-{}", account.id)) type="text" name="label" maxlength="64" required value=(account.label) autocomplete="off";
                    button.button.small type="submit" { (t.save()) }
                }
            }
            a.button.quiet.small.danger href=(at("revoke")) aria-label=(named(t.revoke())) { (t.revoke()) }
        } @else {
            form method="post" action=(at("forget")) {
                (form_token(guest))
                button.button.quiet.small type="submit" aria-label=(named(t.forget())) { (t.forget()) }
            }
        }
    }
}

fn pill(t: Language, state: AccountState) -> Markup {
    let (tone, path, text) = match state {
        AccountState::Connected => ("good", CHECK, t.state_connected()),
        AccountState::PendingClaim => ("new", CLOCK, t.state_pending()),
        AccountState::Expiring => ("careful", CLOCK, t.state_expiring()),
        AccountState::NeedsReauth => ("bad", ALERT, t.state_needs_reauth()),
        AccountState::Revoked => ("off", CROSS, t.state_revoked()),
        AccountState::VendorDown => ("careful", DOTS, t.state_vendor_down()),
    };
    html! { span class=(format!("pill {tone}")) { (icon(path)) (text) } }
}

/// More than the state's name; `None`: all is well.
fn why(guest: &Guest, account: &Account) -> Option<String> {
    let t = guest.language;
    let reason = account.state_reason.as_str();
    Some(match account.state {
        AccountState::Connected => return None,
        AccountState::PendingClaim => t.state_pending_why(guest.visit.organization_name()),
        AccountState::Expiring => t.state_expiring_why().to_owned(),
        AccountState::Revoked => t.state_revoked_why().to_owned(),
        AccountState::VendorDown if reason.is_empty() => t.state_vendor_down_why().to_owned(),
        AccountState::VendorDown => format!("{} {}", t.state_vendor_down_why(), t.service_answered(reason)),
        AccountState::NeedsReauth => match reason {
            "invalid_grant" => t.reason_invalid_grant().to_owned(),
            "refresh_lost" => t.reason_refresh_lost().to_owned(),
            "token_expired" => t.reason_token_expired().to_owned(),
            "incomplete" => t.reason_incomplete().to_owned(),
            "" => t.reason_other().to_owned(),
            other => format!("{} {}", t.reason_other(), t.service_answered(other)),
        },
    })
}

/// What asks for something comes first, what has ended last.
fn urgency(state: AccountState) -> u8 {
    match state {
        AccountState::NeedsReauth => 0,
        AccountState::Expiring | AccountState::VendorDown => 1,
        AccountState::PendingClaim => 2,
        AccountState::Connected => 3,
        AccountState::Revoked => 4,
    }
}

pub(super) async fn test(Path(id): Path<String>, posted: Posted) -> Response {
    let guest = posted.guest;
    let Some(account) = guest.account(&id) else { return errors::no_account(&guest) };
    let t = guest.language;
    let (text, good) = match guest.service.test_account(&guest.visit, &account.id).await {
        Ok(Verdict::Works) => (t.test_works().to_owned(), true),
        Ok(Verdict::Refused(code)) => (t.test_refused(code), false),
        Ok(Verdict::Down(code)) => (t.test_down(code), false),
        Ok(Verdict::NoTest) => (t.test_none().to_owned(), true),
        Err(IdentityError::NeedsReauth | IdentityError::VendorRefused { .. }) => (t.reason_other().to_owned(), false),
        Err(IdentityError::VendorDown { message }) => (t.test_down(message), false),
        Err(error) => return errors::refused(&guest, &error),
    };
    list(&guest, None, Some(&Said { account: &id, text, good }))
}

pub(super) async fn relabel(Path(id): Path<String>, posted: Posted) -> Response {
    let (guest, fields) = (posted.guest, posted.fields);
    let t = guest.language;
    let label = fields.get("label").map(|label| label.expose().to_owned()).unwrap_or_default();
    let text = match guest.service.relabel(&guest.visit, &AccountId::trusted(id.as_str()), label).await {
        Ok(_) => return redirect(&format!("/connect/accounts?renamed={}", id_in_query(&id))),
        Err(IdentityError::Exists { .. }) => t.label_taken().to_owned(),
        Err(IdentityError::Invalid { .. }) => t.label_wrong().to_owned(),
        Err(error) => return errors::refused(&guest, &error),
    };
    list(&guest, None, Some(&Said { account: &id, text, good: false }))
}

pub(super) async fn confirm_revoke(guest: Guest, Path(id): Path<String>) -> Response {
    let Some(account) = guest.account(&id) else { return errors::no_account(&guest) };
    let t = guest.language;
    let connector = guest.service.connector_of(&account.service);
    let name = connector.as_ref().map_or(account.service.as_str(), |connector| name_of(connector.manifest(), t));
    let title = t.revoke_title(name, &account.label);
    let content = html! {
        section.message {
            (mark("bad", CROSS))
            h1 { (title) }
            p { (t.revoke_advice()) }
            form.row method="post" action=(format!("/connect/accounts/{id}/revoke")) {
                (form_token(&guest))
                button.button.danger type="submit" { (t.revoke_yes()) }
                a.button.quiet href="/connect/accounts" { (t.revoke_no()) }
            }
        }
    };
    Frame::inside(&guest, Tab::Accounts, &title).show(&content)
}

pub(super) async fn revoke(Path(id): Path<String>, posted: Posted) -> Response {
    let guest = posted.guest;
    match guest.service.revoke_own(&guest.visit, &AccountId::trusted(id.as_str())).await {
        Ok(()) => redirect(&format!("/connect/accounts?revoked={}", id_in_query(&id))),
        Err(error) => errors::refused(&guest, &error),
    }
}

pub(super) async fn forget(Path(id): Path<String>, posted: Posted) -> Response {
    let guest = posted.guest;
    match guest.service.disconnect(&guest.visit, &AccountId::trusted(id.as_str())).await {
        Ok(_) => redirect("/connect/accounts?forgotten=1"),
        Err(error) => errors::refused(&guest, &error),
    }
}

/// Only what an id is made of.
fn id_in_query(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}
