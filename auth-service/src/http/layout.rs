//! What every page has: its frame, its headers, and the small parts that pages are made of.

use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, REFERRER_POLICY, REFRESH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use plugboard_core::clock::Millis;
use plugboard_core::manifest::Manifest;

use super::assets;
use super::guest::Guest;
use super::language::{Language, machine_moment};

/// Our own style and script only, nothing inline, nothing from elsewhere, in no frame.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                   form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Paths of icons.
pub(super) const CHECK: &str = "M5 12.5l4.5 4.5L19 7.5";
pub(super) const ALERT: &str = "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 8v4.5M12 16v.2";
pub(super) const CLOCK: &str = "M12 7v5.2l3.4 2M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z";
pub(super) const CROSS: &str = "M7 7l10 10M17 7L7 17";
pub(super) const DOTS: &str = "M5 12h1.5M11.2 12h1.6M17.5 12H19";
pub(super) const FORWARD: &str = "M5 12h14M13 6l6 6-6 6";
pub(super) const SEARCH: &str = "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.5 15.5L20 20";
pub(super) const WARNING: &str = "M12 4.5L21 20H3zM12 10v4.5M12 17v.2";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Services,
    Accounts,
    Done,
}

/// A page without its content.
pub(super) struct Frame<'a> {
    pub language: Language,
    pub title: &'a str,
    pub status: StatusCode,
    /// Inside a visit, and where in it.
    pub place: Option<(&'a Guest, Tab)>,
    /// The same page by GET, for the switch of languages; `None`: this page cannot be asked for again.
    pub again: Option<&'a str>,
    /// The end of a sign-in: tells the page that began it.
    pub signed_in: bool,
}

impl<'a> Frame<'a> {
    pub(super) fn new(language: Language, title: &'a str) -> Self {
        Self { language, title, status: StatusCode::OK, place: None, again: None, signed_in: false }
    }

    pub(super) fn inside(guest: &'a Guest, tab: Tab, title: &'a str) -> Self {
        Self { place: Some((guest, tab)), again: Some(&guest.path), ..Self::new(guest.language, title) }
    }

    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn show(&self, content: &Markup) -> Response {
        let t = self.language;
        let whole = html! {
            (DOCTYPE)
            html lang=(t.code()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    title { (self.title) " · Plugboard" }
                    link rel="icon" href=(assets::icon()) type="image/svg+xml";
                    link rel="stylesheet" href=(assets::style());
                    script src=(assets::script()) defer {}
                }
                body data-signed-in[self.signed_in] {
                    a.skip href="#main" { (t.skip()) }
                    (self.header())
                    @if let Some((_, tab)) = self.place { (tabs(t, tab)) }
                    main.wrap #main tabindex="-1" { (content) }
                    footer.bottom { div.wrap { p { (lock()) (t.footer()) } } }
                }
            }
        };
        let mut response = guarded((self.status, whole).into_response());
        response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(t.code()));
        response
    }

    fn header(&self) -> Markup {
        let t = self.language;
        html! {
            header.top {
                div.wrap {
                    span.brand { img src=(assets::icon()) alt="" width="28" height="28"; "Plugboard" }
                    @if let Some((guest, _)) = self.place {
                        p.context {
                            span { (t.connecting_for(guest.visit.organization_name())) }
                            span.owner {
                                @match guest.visit.subject() {
                                    Some(subject) => (t.on_behalf(&subject.0)),
                                    None => (t.for_everyone()),
                                }
                            }
                        }
                    }
                    @if let Some(again) = self.again {
                        nav.languages aria-label=(t.language()) {
                            @for other in Language::ALL {
                                a href=(with_language(again, other)) lang=(other.code()) hreflang=(other.code())
                                    aria-current=[(other == t).then_some("true")] { (other.own_name()) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn tabs(t: Language, present: Tab) -> Markup {
    let tab = |tab: Tab, href: &str, text: &str| {
        html! { li { a href=(href) aria-current=[(tab == present).then_some("page")] { (text) } } }
    };
    html! {
        nav.tabs aria-label=(t.sections()) {
            ul.wrap {
                (tab(Tab::Services, "/connect", t.services()))
                (tab(Tab::Accounts, "/connect/accounts", t.accounts()))
                li.end { a.button.small href="/connect/done" aria-current=[(present == Tab::Done).then_some("page")] { (t.done()) } }
            }
        }
    }
}

fn with_language(path: &str, language: Language) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}lang={}", language.code())
}

/// A page that goes on by itself to somewhere else, and has a link for when it does not. A redirect after a form would
/// have to be permitted by the policy, which names nobody but us.
pub(super) fn leave(frame: &Frame<'_>, url: &str, link: &str, advice: &str) -> Response {
    let content = html! {
        section.message {
            (mark("new", FORWARD))
            h1 { (frame.title) }
            p { (advice) }
            p { a.button #leave href=(url) rel="noreferrer nofollow" { (link) } }
        }
    };
    let mut response = frame.show(&content);
    if let Ok(mut to) = HeaderValue::try_from(format!("0; url={url}")) {
        to.set_sensitive(true);
        response.headers_mut().insert(REFRESH, to);
    }
    response
}

/// Headers of every page.
pub(super) fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(VARY, HeaderValue::from_static("cookie, accept-language"));
    response
}

/// The service's name as people of this language know it.
pub(super) fn name_of(manifest: &Manifest, language: Language) -> &str {
    match language {
        Language::Ru => manifest.name_ru.as_deref().unwrap_or(&manifest.name),
        Language::En => &manifest.name,
    }
}

/// What a service is for, where its manifest says so in letters that a reader of this language reads; with the language
/// it is in, for whoever has it read aloud.
pub(super) fn tagline(manifest: &Manifest, reader: Language) -> Option<Markup> {
    let lang = lang(&manifest.tagline, reader);
    (lang != Some(Language::Ru.code())).then(|| html! { span.tagline lang=[lang] { (manifest.tagline) } })
}

/// The language of words out of a manifest, if it is not the page's.
pub(super) fn lang(text: &str, page: Language) -> Option<&'static str> {
    let cyrillic = text.chars().any(|c| matches!(c, 'А'..='я' | 'ё' | 'Ё'));
    let language = if cyrillic { Language::Ru } else { Language::En };
    (language != page).then_some(language.code())
}

/// Stands for a logo: letters of the name, on a colour that is always the same for a service.
pub(super) fn tile(key: &str, name: &str) -> Markup {
    let mut words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or(key);
    let second = words.next().and_then(|word| word.chars().next()).filter(|c| c.is_alphabetic());
    let second = second.or_else(|| first.chars().nth(1));
    let letters: String = first.chars().take(1).flat_map(char::to_uppercase).chain(second).collect();
    let tone = key.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 8;
    html! { span class=(format!("tile tone{tone}")) aria-hidden="true" { (letters) } }
}

/// The script turns it into a day in the browser's own zone.
pub(super) fn day(language: Language, at: Millis) -> Markup {
    html! { time datetime=(machine_moment(at)) { (language.moment(at)) } }
}

/// The script turns it into an hour and minute in the browser's own zone.
pub(super) fn clock(language: Language, at: Millis) -> Markup {
    html! { time.clock datetime=(machine_moment(at)) { (language.moment(at)) } }
}

/// Something that has gone well, said once.
pub(super) fn notice(text: &str) -> Markup {
    html! { p.notice.good role="status" { (icon(CHECK)) span { (text) } } }
}

/// Something that has not.
pub(super) fn alert(text: &str) -> Markup {
    html! { div.notice.bad role="alert" tabindex="-1" { (icon(ALERT)) p { (text) } } }
}

/// Heads a page that says one thing. `tone`: `good`, `careful`, `bad` or `new`.
pub(super) fn mark(tone: &str, path: &str) -> Markup {
    html! { span class=(format!("mark {tone}")) aria-hidden="true" { (icon(path)) } }
}

/// The visit's mark in every form.
pub(super) fn form_token(guest: &Guest) -> Markup {
    html! { input type="hidden" name=(super::guest::FORM_TOKEN) value=(guest.form_token); }
}

pub(super) fn icon(path: &str) -> Markup {
    html! {
        svg.icon viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" focusable="false" {
            (PreEscaped(format!(r#"<path d="{path}"/>"#)))
        }
    }
}

fn lock() -> Markup {
    icon("M7 11V8.5a5 5 0 0 1 10 0V11M6 11h12v8.5H6z")
}

pub(super) fn arrow_back() -> Markup {
    icon("M14.5 6l-6 6 6 6")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_one_or_two_letters() {
        let letters = |name: &str| {
            let tile = tile("key", name).into_string();
            tile.split('>').nth(1).and_then(|rest| rest.split('<').next()).unwrap().to_owned()
        };
        for (name, expected) in [
            ("Ozon Seller", "OS"),
            ("Bitrix24", "Bi"),
            ("1С:Предприятие", "1П"),
            ("MAX", "MA"),
            ("Яндекс.Метрика", "ЯМ"),
        ] {
            assert_eq!(letters(name), expected);
        }
        assert_eq!(letters("—"), "Ke");
    }
}
