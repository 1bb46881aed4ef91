//! The catalog: search and categories. Works as a form; with the script it filters while somebody types.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use plugboard_core::ids::ServiceKey;
use plugboard_core::manifest::{Category, Manifest};

use super::errors;
use super::guest::Guest;
use super::language::Language;
use super::layout::{CHECK, Frame, SEARCH, Tab, icon, name_of, tagline, tile};
use super::texts;
use crate::sessions::Connectable;

/// Fewer are seen at a glance.
const WORTH_SEARCHING: usize = 6;

#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    q: String,
    category: String,
}

pub(super) async fn show(guest: Guest, Query(wanted): Query<Wanted>) -> Response {
    let services = match guest.service.connectable(&guest.visit).await {
        Ok(services) => services,
        Err(error) => return errors::trouble(guest.language, &error),
    };
    let ranks = (!wanted.q.trim().is_empty()).then(|| guest.service.search_services(&wanted.q));
    let t = guest.language;
    let title = t.catalog_title(guest.visit.organization_name());
    let content = html! {
        h1 { (title) }
        p.lead { (t.catalog_lead(guest.visit.organization_name())) }
        @if services.is_empty() {
            section.empty { h2 { (t.no_services()) } p { (t.no_services_advice()) } }
        } @else {
            (catalog(&guest, &services, &wanted, ranks.as_ref()))
        }
    };
    Frame::inside(&guest, Tab::Services, &title).show(&content)
}

fn catalog(
    guest: &Guest,
    services: &[Connectable],
    wanted: &Wanted,
    ranks: Option<&BTreeMap<ServiceKey, usize>>,
) -> Markup {
    let t = guest.language;
    let category = Category::ALL.into_iter().find(|one| one.as_str() == wanted.category);
    let inside = |service: &&Connectable| category.is_none_or(|one| service.connector.manifest().category == one);
    let mut shown: Vec<(&Connectable, Option<usize>)> = services
        .iter()
        .filter(inside)
        .map(|service| (service, ranks.map_or(Some(0), |ranks| ranks.get(service.connector.key()).copied())))
        .collect();
    // Best first, then by name; what does not fit stays in the page, hidden, for whoever goes on typing.
    shown.sort_by_cached_key(|(service, rank)| {
        (rank.unwrap_or(usize::MAX), name_of(service.connector.manifest(), t).to_lowercase())
    });
    let found = shown.iter().filter(|(_, rank)| rank.is_some()).count();
    html! {
        @if services.len() > WORTH_SEARCHING { (search(t, wanted)) }
        (chips(t, services, category, &wanted.q))
        p.count #found role="status" aria-live="polite" data-text=(t.found("#")) {
            @if ranks.is_some() { (t.found(found)) }
        }
        h2.unseen { (t.services()) }
        ul.cards #services {
            @for (service, rank) in &shown { (card(t, service, rank.is_none())) }
        }
        section.empty #nothing hidden[found > 0] { h2 { (t.nothing_found()) } p { (t.nothing_found_advice()) } p { a.button.quiet href="/connect" { (t.back_to_services()) } } }
    }
}

fn search(t: Language, wanted: &Wanted) -> Markup {
    html! {
        form.search role="search" action="/connect" method="get" {
            label.unseen for="q" { (t.search_label()) }
            @if !wanted.category.is_empty() { input type="hidden" name="category" value=(wanted.category); }
            (icon(SEARCH))
            input #q type="search" name="q" value=(wanted.q) placeholder=(t.search_hint()) maxlength="200"
                autocomplete="off" spellcheck="false" enterkeyhint="search";
            button.button.quiet.small type="submit" { (t.search()) }
        }
    }
}

fn chips(t: Language, services: &[Connectable], present: Option<Category>, query: &str) -> Markup {
    let has = |one: &Category| services.iter().any(|service| service.connector.manifest().category == *one);
    let categories: Vec<Category> = Category::ALL.into_iter().filter(has).collect();
    let href = |category: Option<Category>| {
        let mut query_pairs = url::form_urlencoded::Serializer::new(String::new());
        if let Some(category) = category {
            query_pairs.append_pair("category", category.as_str());
        }
        if !query.is_empty() {
            query_pairs.append_pair("q", query);
        }
        format!("/connect?{}", query_pairs.finish())
    };
    html! {
        @if categories.len() > 1 {
            nav.chips aria-label=(t.categories()) {
                ul {
                    li { a href=(href(None)) aria-current=[present.is_none().then_some("true")] { (t.all_categories()) } }
                    @for one in categories {
                        li { a href=(href(Some(one))) aria-current=[(present == Some(one)).then_some("true")] { (texts::category(t, one)) } }
                    }
                }
            }
        }
    }
}

fn card(t: Language, service: &Connectable, hidden: bool) -> Markup {
    let manifest = service.connector.manifest();
    let name = name_of(manifest, t);
    html! {
        li hidden[hidden] data-words=(words(manifest, t)) {
            a.card href=(format!("/connect/services/{}", service.connector.key())) {
                (tile(&manifest.key, name))
                span.what {
                    span.name { (name) }
                    (tagline(manifest, t).unwrap_or_default())
                    span.kind {
                        (texts::category(t, manifest.category))
                        @if service.living() > 0 {
                            span.on { (icon(CHECK)) (t.accounts_number(service.living())) }
                        }
                    }
                }
            }
        }
    }
}

/// What the script looks for words in.
fn words(manifest: &Manifest, t: Language) -> String {
    let names = [manifest.key.as_str(), &manifest.name, manifest.name_ru.as_deref().unwrap_or_default()];
    let more = [manifest.tagline.as_str(), texts::category(t, manifest.category)];
    let all: Vec<&str> = names.into_iter().chain(more).chain(manifest.keywords.iter().map(String::as_str)).collect();
    all.join(" ").to_lowercase()
}
