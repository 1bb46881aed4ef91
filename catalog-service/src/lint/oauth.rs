//! Flows in which a person signs in at the vendor.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use plugboard_core::json_pointer::child;
use plugboard_core::manifest::{Flow, FlowKind, KeptField, OAuthFlow, Source, Template, Variable};

use super::Lint;
use super::general::is_snake;

const AUTHORIZE: [&str; 7] =
    ["response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];
const CALLBACK: [&str; 5] = ["code", "state", "iss", "error", "error_description"];
const TOKEN: [&str; 9] = [
    "grant_type",
    "code",
    "redirect_uri",
    "client_id",
    "client_secret",
    "code_verifier",
    "refresh_token",
    "device_code",
    "scope",
];
const DEVICE: [&str; 3] = ["client_id", "client_secret", "scope"];
const DEVICE_ANSWER: [&str; 6] =
    ["device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval"];
const GRANTS: [&str; 3] = ["authorization_code", "refresh_token", "device_code"];

/// Names of account fields that the templates use are added to `used`.
pub(super) fn check(lint: &mut Lint<'_>, used: &mut BTreeSet<String>) {
    let manifest = lint.manifest;
    for (at, flow) in manifest.auth.flows.iter().enumerate() {
        let pointer = format!("/auth/flows/{at}");
        match (flow.kind, &flow.oauth) {
            (FlowKind::Credentials, Some(_)) => {
                lint.add(&child(&pointer, "oauth"), "belongs to popup_oauth and device_code");
            }
            (FlowKind::Credentials, None) => {}
            (_, None) => lint.add(&pointer, "needs `oauth`: the vendor's authorization server"),
            (_, Some(oauth)) => server(lint, &child(&pointer, "oauth"), flow, oauth, used),
        }
    }
}

fn server(lint: &mut Lint<'_>, pointer: &str, flow: &Flow, oauth: &OAuthFlow, used: &mut BTreeSet<String>) {
    match flow.kind {
        FlowKind::PopupOauth => {
            lint.want(oauth.authorize_url.is_some(), pointer, || "needs authorize_url".to_owned());
        }
        FlowKind::DeviceCode => lint.want(oauth.device_url.is_some(), pointer, || "needs device_url".to_owned()),
        FlowKind::Credentials => {}
    }
    let typed: BTreeSet<&str> = flow.fields.keys().map(String::as_str).collect();
    let from = |wanted: fn(&Source) -> bool| {
        oauth.keep.iter().filter(move |(_, kept)| wanted(&kept.source())).map(|(name, _)| name.as_str())
    };
    let mut early = typed.clone();
    early.extend(from(|source| source.callback.is_some()));
    let mut late = early.clone();
    late.extend(from(|source| source.token.is_some()));

    let mut texts: Vec<(String, &str, &BTreeSet<&str>, bool)> = Vec::new();
    let before = [("authorize_url", &oauth.authorize_url), ("device_url", &oauth.device_url)];
    texts.extend(
        before.into_iter().filter_map(|(name, url)| Some((child(pointer, name), url.as_deref()?, &typed, false))),
    );
    texts.push((child(pointer, "token_url"), &oauth.token_url, &early, false));
    let after = [
        ("revoke_url", oauth.revoke_url.as_deref()),
        ("refresh/url", oauth.refresh.url.as_deref()),
        ("dialect/device_token_url", oauth.dialect.device_token_url.as_deref()),
        ("discovery/url", oauth.discovery.as_ref().map(|discovery| discovery.url.as_str())),
    ];
    texts.extend(
        after
            .into_iter()
            .filter_map(|(name, url)| Some((format!("{pointer}/{name}"), url?, &late, name == "discovery/url"))),
    );
    for (place, url, _, _) in &texts {
        lint.want(url.starts_with("https://"), place, || "must begin with https://".to_owned());
    }
    parameters(&mut texts, &child(pointer, "authorize_params"), &oauth.authorize_params, &typed, false);
    parameters(&mut texts, &child(pointer, "token_params"), &oauth.token_params, &early, false);
    if let Some(discovery) = &oauth.discovery {
        parameters(&mut texts, &format!("{pointer}/discovery/headers"), &discovery.headers, &late, true);
    }
    for (place, text, known, token) in texts {
        template(lint, &place, text, known, token, used);
    }
    answers(lint, pointer, oauth);
    dialect(lint, &child(pointer, "dialect"), oauth);
    if let Some(name) = &oauth.token_field {
        let mut typed = lint.manifest.auth.flows.iter().filter(|flow| flow.kind == FlowKind::Credentials);
        let known = typed.any(|flow| flow.fields.get(name).is_some_and(|field| field.secret));
        lint.want(known, &child(pointer, "token_field"), || format!("no credentials flow has a secret field {name}"));
    }
}

type Texts<'a, 'k> = Vec<(String, &'a str, &'k BTreeSet<&'a str>, bool)>;

fn parameters<'a, 'k>(
    texts: &mut Texts<'a, 'k>,
    pointer: &str,
    map: &'a IndexMap<String, String>,
    known: &'k BTreeSet<&'a str>,
    token: bool,
) {
    texts.extend(map.iter().map(|(name, text)| (child(pointer, name), text.as_str(), known, token)));
}

/// A template may name what is known by then.
fn template(
    lint: &mut Lint<'_>,
    pointer: &str,
    text: &str,
    known: &BTreeSet<&str>,
    token: bool,
    used: &mut BTreeSet<String>,
) {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => return lint.add(pointer, error.to_string()),
    };
    for variable in template.variables() {
        match variable {
            Variable::Account(field) => {
                lint.want(known.contains(field.as_str()), pointer, || {
                    format!("the field {field} is not known by then")
                });
                used.insert(field.clone());
            }
            Variable::Token => lint.want(token, pointer, || "there is no {token} yet".to_owned()),
            Variable::Method => lint.add(pointer, "{method} belongs to rpc.path"),
        }
    }
}

fn answers(lint: &mut Lint<'_>, pointer: &str, oauth: &OAuthFlow) {
    let answer = &oauth.answer;
    let pointers = [
        ("access_token", &answer.access_token),
        ("refresh_token", &answer.refresh_token),
        ("expires_in", &answer.expires_in),
    ];
    for (name, text) in pointers {
        lint.want_pointer(text, &format!("{pointer}/answer/{name}"));
    }
    for (name, kept) in &oauth.keep {
        let place = child(&child(pointer, "keep"), name);
        kept_field(lint, &place, name, kept);
        source(lint, &place, &kept.source(), oauth);
    }
    if let Some(name) = &oauth.account_name {
        source(lint, &child(pointer, "account_name"), name, oauth);
    }
}

fn kept_field(lint: &mut Lint<'_>, pointer: &str, name: &str, kept: &KeptField) {
    lint.want(is_snake(name), pointer, || "the name of a field is snake_case".to_owned());
    lint.want(!(kept.host && kept.secret), pointer, || "a host is not secret".to_owned());
    let compiles = kept.pattern.as_ref().is_none_or(|pattern| super::matches_whole(pattern, "").is_some());
    lint.want(compiles, &child(pointer, "pattern"), || "does not compile".to_owned());
}

fn source(lint: &mut Lint<'_>, pointer: &str, source: &Source, oauth: &OAuthFlow) {
    let given = [&source.callback, &source.token, &source.discovery].into_iter().flatten().count();
    lint.want(given == 1, pointer, || "needs exactly one of callback, token, discovery".to_owned());
    for (name, text) in [("token", &source.token), ("discovery", &source.discovery)] {
        if let Some(text) = text {
            lint.want_pointer(text, &child(pointer, name));
        }
    }
    let called = source.discovery.is_none() || oauth.discovery.is_some();
    lint.want(called, &child(pointer, "discovery"), || "there is no discovery call".to_owned());
}

fn dialect(lint: &mut Lint<'_>, pointer: &str, oauth: &OAuthFlow) {
    let dialect = &oauth.dialect;
    let maps: [(&str, &IndexMap<String, String>, &[&str]); 6] = [
        ("authorize", &dialect.authorize, &AUTHORIZE),
        ("callback", &dialect.callback, &CALLBACK),
        ("token", &dialect.token, &TOKEN),
        ("device", &dialect.device, &DEVICE),
        ("device_answer", &dialect.device_answer, &DEVICE_ANSWER),
        ("grants", &dialect.grants, &GRANTS),
    ];
    for (what, map, known) in maps {
        for name in map.keys() {
            let place = child(&child(pointer, what), name);
            lint.want(known.contains(&&**name), &place, || format!("there are {}", known.join(", ")));
        }
    }
    for kept in ["state", "code_challenge", "code_challenge_method"] {
        let dropped = dialect.authorize.get(kept).is_some_and(String::is_empty);
        lint.want(!dropped, &format!("{pointer}/authorize/{kept}"), || "must not be left out".to_owned());
    }
}
