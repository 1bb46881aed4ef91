//! Where requests go. A template that lets a tenant's text choose the host, or leave the path, is a hole.

use plugboard_core::json_pointer::child;
use plugboard_core::manifest::{Flow, Style, Template, Variable};

use super::{Lint, matches_whole};

/// Values that would change more of a URL than their own place in it.
const ESCAPES: [&str; 8] = ["a#b", "a?b", "a\\b", "..", "a/../b", "a//b", "a b", "a%2e"];
/// The same, in a part of a host name.
const HOST_ESCAPES: [&str; 4] = ["a/b", "a@b", "a:1", "a.b"];

pub(super) fn check(lint: &mut Lint<'_>) {
    for (name, module) in &lint.manifest.modules {
        let pointer = child("/modules", name);
        let base = child(&pointer, "base_url");
        base_url(lint, &base, &module.base_url);
        lint.want(!module.base_url.ends_with('/'), &base, || "has no trailing slash".to_owned());
        match (module.style, &module.rpc) {
            (Style::Rpc, None) => lint.add(&pointer, "style rpc needs rpc.path"),
            (Style::Rest, Some(_)) => lint.add(&child(&pointer, "rpc"), "belongs to style rpc"),
            (Style::Rest, None) => {}
            (Style::Rpc, Some(rpc)) => {
                let place = format!("{pointer}/rpc/path");
                lint.want(rpc.path.starts_with('/'), &place, || "begins with `/`".to_owned());
                lint.want(rpc.path.contains("{method}"), &place, || "needs {method}".to_owned());
                let verb = matches!(rpc.verb.as_str(), "GET" | "POST");
                lint.want(verb, &format!("{pointer}/rpc/verb"), || "is GET or POST".to_owned());
            }
        }
    }
    if let Some(token) = &lint.manifest.transport.token {
        base_url(lint, "/transport/token/url", &token.url);
    }
}

fn base_url(lint: &mut Lint<'_>, pointer: &str, text: &str) {
    let Some(rest) = text.strip_prefix("https://") else {
        return lint.add(pointer, "must begin with https://");
    };
    // What is wrong with the template itself has been said.
    let Ok(template) = Template::parse(text) else { return };
    let host_end = rest.find('/').unwrap_or(rest.len());
    let host = &rest[..host_end];
    let filled = template.render(|_| Some("x"));
    let sound = filled.and_then(|url| url::Url::parse(&url).ok()).is_some_and(|url| {
        url.has_host() && url.query().is_none() && url.fragment().is_none() && url.username().is_empty()
    });
    lint.want(sound, pointer, || "is no base URL: host and path, without query".to_owned());
    for variable in template.variables() {
        let Variable::Account(name) = variable else { continue };
        let flows = lint.manifest.auth.flows.iter().enumerate();
        let fields: Vec<UrlField> = flows.filter_map(|(at, flow)| UrlField::of(at, flow, name)).collect();
        let missing = fields.len() < lint.manifest.auth.flows.len();
        lint.want(!missing, pointer, || format!("every flow needs the field {name}, since the URL does"));
        for field in fields {
            lint.want(field.always, &field.place, || "is part of a URL, so it is required or has a default".to_owned());
            if host == format!("{{account.{name}}}") {
                lint.want(field.host, &field.place, || "is the whole host of a URL: say host: true".to_owned());
            } else if let Some(why) = loose(&field, host.contains(&format!("{{account.{name}}}"))) {
                lint.add(&field.place, why);
            }
        }
    }
}

/// A field that a person types or a vendor tells, as a URL sees it.
struct UrlField {
    place: String,
    host: bool,
    pattern: Option<String>,
    /// It has a value in every account.
    always: bool,
}

impl UrlField {
    fn of(at: usize, flow: &Flow, name: &str) -> Option<Self> {
        let flow_at = format!("/auth/flows/{at}");
        if let Some(field) = flow.fields.get(name) {
            let always = !field.optional || field.default.is_some();
            let place = child(&child(&flow_at, "fields"), name);
            return Some(Self { place, host: field.host, pattern: field.pattern.clone(), always });
        }
        let kept = flow.oauth.as_ref()?.keep.get(name)?;
        let place = child(&format!("{flow_at}/oauth/keep"), name);
        Some(Self { place, host: kept.host, pattern: kept.pattern.clone(), always: !kept.optional })
    }
}

/// Why a field must not stand in a URL.
fn loose(field: &UrlField, in_host: bool) -> Option<String> {
    if field.host {
        return in_host.then(|| "is a part of a host name only: use a pattern instead of host: true".to_owned());
    }
    let Some(pattern) = &field.pattern else {
        return Some("is part of a URL, so it needs a pattern that allows no delimiters".to_owned());
    };
    let more = if in_host { HOST_ESCAPES.as_slice() } else { &[] };
    let harmful = ESCAPES.iter().chain(more).find(|text| matches_whole(pattern, text) == Some(true))?;
    Some(format!("is part of a URL, and its pattern allows {harmful:?}"))
}
