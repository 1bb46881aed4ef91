//! Whether a request carries what the manifest says it must.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method};
use plugboard_core::manifest::{
    ClientAuth, Connector, Template, TokenGrant, TokenGrantKind, TokenRequestStyle, Variable,
};
use regex::Regex;
use serde_json::Value;
use url::form_urlencoded;

use super::routes::pattern;

/// A request as it arrived.
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// Names with the pattern that the value must fit.
type Fields = Vec<(String, Regex)>;

/// Where a connector's credentials must be. Those in the path are checked by the route itself.
pub(super) struct Wanted {
    headers: Fields,
    query: Fields,
    body: Fields,
    basic: Option<(Regex, Regex)>,
}

/// What a token endpoint wants.
pub(super) struct Grant {
    grant: TokenGrant,
}

impl Wanted {
    pub(super) fn of(connector: &Connector) -> Self {
        let transport = connector.transport();
        // What names an optional field may be absent with it.
        let must = |template: &Template| !template.variables().any(|variable| is_optional(connector, variable));
        let fields = |list: &[(String, Template)]| -> Fields {
            list.iter()
                // A fixed value is no credential, and an operation may replace it (another `Accept`).
                .filter(|(_, template)| template.literal().is_none() && must(template))
                .filter_map(|(name, template)| Some((name.clone(), pattern(template, ".+", "")?)))
                .collect()
        };
        let half = |template: &Template| pattern(template, if must(template) { ".+" } else { ".*" }, "");
        Self {
            headers: fields(&transport.headers),
            query: fields(&transport.query),
            body: fields(&transport.body),
            basic: transport.basic.as_ref().and_then(|(user, password)| Some((half(user)?, half(password)?))),
        }
    }

    /// The first thing that is not there.
    pub(super) fn missing(&self, request: &Request<'_>) -> Option<String> {
        for (name, pattern) in &self.headers {
            let fits = request
                .headers
                .get(name.as_str())
                .is_some_and(|value| pattern.is_match(&String::from_utf8_lossy(value.as_bytes())));
            if !fits {
                return Some(format!("header {name}"));
            }
        }
        for (name, pattern) in &self.query {
            if !pairs(request.query.as_bytes()).any(|(key, value)| key == *name && pattern.is_match(&value)) {
                return Some(format!("parameter {name}"));
            }
        }
        if let Some((user, password)) = &self.basic {
            let fits = basic(request.headers).is_some_and(|(u, p)| user.is_match(&u) && password.is_match(&p));
            if !fits {
                return Some("HTTP Basic".to_owned());
            }
        }
        // Without a body there is no place for them.
        if matches!(*request.method, Method::GET | Method::HEAD) {
            return None;
        }
        self.body
            .iter()
            .find(|(name, pattern)| !in_body(request, name, pattern))
            .map(|(name, _)| format!("field {name}"))
    }
}

/// The first thing of a signature that is not there. What it says is not looked into: it is made of fields of which this
/// knows only the pattern.
pub(super) fn unsigned(connector: &Connector, module: &str, request: &Request<'_>) -> Option<String> {
    let signature = connector.transport().signature_of(module)?;
    let mut headers = signature.header_names();
    if let Some(name) = headers.find(|name| request.headers.get(*name).is_none_or(|value| value.is_empty())) {
        return Some(format!("header {name}"));
    }
    let there = |name: &str| pairs(request.query.as_bytes()).any(|(key, value)| key == name && !value.is_empty());
    if let Some(name) = signature.query_names().find(|name| !there(name)) {
        return Some(format!("parameter {name}"));
    }
    if signature.replaces_body() {
        return request.body.is_empty().then(|| "a signed body".to_owned());
    }
    let any = Regex::new(".").ok()?;
    let mut fields = signature.body_names();
    fields.find(|name| !in_body(request, name, &any)).map(|name| format!("field {name}"))
}

impl Grant {
    pub(super) fn of(connector: &Connector) -> Option<Self> {
        connector.manifest().transport.token.clone().map(|grant| Self { grant })
    }

    /// Where the vendor puts the token, at the top of its answer.
    pub(super) fn own_name(&self) -> Option<&str> {
        self.grant.access_token.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'))
    }

    /// The first thing that is not there: of client credentials what RFC 6749, section 4.4.2, asks for in the vendor's
    /// words; of a login its body; of a service account its assertion.
    pub(super) fn missing(&self, request: &Request<'_>) -> Option<String> {
        let grant = &self.grant;
        let named = |name: &str| grant.names.get(name).cloned().unwrap_or_else(|| name.to_owned());
        let absent = |name: &str| {
            let name = named(name);
            (!name.is_empty() && self.parameter(request, &name).is_none()).then_some(name)
        };
        match grant.kind {
            TokenGrantKind::Login => request.body.is_empty().then(|| "a body".to_owned()),
            TokenGrantKind::JwtBearer => absent("assertion"),
            TokenGrantKind::ClientCredentials => absent("grant_type").or_else(|| match grant.client_auth {
                ClientAuth::Body => absent("client_id").or_else(|| absent("client_secret")),
                ClientAuth::None => absent("client_id"),
                ClientAuth::Basic => {
                    let fits =
                        basic(request.headers).is_some_and(|(user, password)| !user.is_empty() && !password.is_empty());
                    (!fits).then(|| "HTTP Basic".to_owned())
                }
            }),
        }
    }

    /// A parameter that is not empty, however the vendor wants them.
    fn parameter(&self, request: &Request<'_>, name: &str) -> Option<String> {
        let found = match self.grant.request {
            TokenRequestStyle::Form => {
                pairs(request.body).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
            }
            TokenRequestStyle::Query => {
                pairs(request.query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
            }
            TokenRequestStyle::Json => {
                let body: Option<Value> = serde_json::from_slice(request.body).ok();
                body.and_then(|body| body.get(name)?.as_str().map(str::to_owned))
            }
        };
        found.filter(|value| !value.is_empty())
    }
}

fn is_optional(connector: &Connector, variable: &Variable) -> bool {
    let Variable::Account(name) = variable else { return false };
    connector.manifest().auth.flows.iter().filter_map(|flow| flow.fields.get(name)).any(|field| field.optional)
}

fn pairs(encoded: &[u8]) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(encoded)
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    pair.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

fn in_body(request: &Request<'_>, name: &str, pattern: &Regex) -> bool {
    let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        return pairs(request.body).any(|(key, value)| key == name && pattern.is_match(&value));
    }
    let body: Option<Value> = serde_json::from_slice(request.body).ok();
    body.as_ref().and_then(|body| body.get(name)?.as_str()).is_some_and(|value| pattern.is_match(value))
}
