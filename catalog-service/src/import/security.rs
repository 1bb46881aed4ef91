//! How an account proves itself: of the ways that the operations allow, the one that is easiest to connect.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::document::Document;
use super::names::{phrase, snake};
use super::remarks::Remarks;

/// Credential fields, and where they travel.
#[derive(Default)]
pub(super) struct Access {
    pub(super) fields: Map<String, Value>,
    pub(super) headers: Map<String, Value>,
    pub(super) query: Map<String, Value>,
    pub(super) basic: Option<Value>,
}

/// Schemes that are wanted together, by name.
type Way = BTreeSet<String>;

/// Of operations by their ids, and what each says of security (or the document for all).
pub(super) fn of(document: &Document, asked: &[(String, Option<&Value>)], remarks: &mut Remarks) -> Access {
    let declared = document.at("/components/securitySchemes").or_else(|| document.at("/securityDefinitions"));
    let declared: IndexMap<&str, &Value> = declared
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, scheme)| (name.as_str(), document.resolve(scheme)))
        .collect();
    let mut allowed: IndexMap<Way, usize> = IndexMap::new();
    for way in asked.iter().flat_map(|(_, security)| ways(*security)) {
        *allowed.entry(way).or_default() += 1;
    }
    if allowed.is_empty() {
        allowed = declared.keys().map(|name| (Way::from([(*name).to_owned()]), 1)).collect();
        if !allowed.is_empty() {
            remarks.document("auth: no operation says which security scheme it wants; all declared ones are assumed");
        }
    }
    let most = allowed.values().copied().max().unwrap_or_default();
    let rank_of = |name: &String| declared.get(name.as_str()).map_or(UNKNOWN, |scheme| rank(scheme));
    let hardest = |way: &Way| way.iter().map(rank_of).max().unwrap_or_default();
    let best = allowed
        .iter()
        // What few operations allow is no way in.
        .filter(|(_, count)| **count * 5 >= most * 4)
        .min_by_key(|(way, count)| (hardest(way), way.len(), Reverse(**count)))
        .map(|(way, _)| way.clone());
    let Some(best) = best else {
        remarks.document("transport: the document names no security scheme; a bearer token is assumed");
        return Access::bearer("API token");
    };
    tell_others(&best, &allowed, asked, remarks);
    let several = best.iter().filter(|name| matches!(rank_of(name), KEY | COOKIE)).count() > 1;
    let mut access = Access::default();
    for name in &best {
        match declared.get(name.as_str()) {
            Some(scheme) => access.add(scheme, several, remarks),
            None => remarks.document(format!("auth: the document does not declare the security scheme {name}")),
        }
    }
    if access.fields.is_empty() { Access::bearer("API token") } else { access }
}

/// The alternatives of a `security` member; one that is empty wants nothing.
fn ways(security: Option<&Value>) -> Vec<Way> {
    let alternatives = security.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    alternatives.map(|schemes| schemes.keys().cloned().collect()).filter(|way: &Way| !way.is_empty()).collect()
}

fn tell_others(best: &Way, allowed: &IndexMap<Way, usize>, asked: &[(String, Option<&Value>)], remarks: &mut Remarks) {
    let say = |way: &Way| way.iter().map(String::as_str).collect::<Vec<_>>().join(" with ");
    let others: Vec<String> = allowed.keys().filter(|way| *way != best).map(say).collect();
    if !others.is_empty() {
        remarks.document(format!("auth: {} is taken; the document also has {}", say(best), others.join(", ")));
    }
    for (id, security) in asked {
        let ways = ways(*security);
        if !ways.is_empty() && !ways.iter().any(|way| way.is_subset(best)) {
            let wanted: Vec<String> = ways.iter().map(say).collect();
            remarks.operation(id, format!("wants {}, not {}", wanted.join(" or "), say(best)));
        }
    }
}

const BEARER: u8 = 0;
const KEY: u8 = 1;
const BASIC: u8 = 2;
const COOKIE: u8 = 3;
/// A sign-in, or what manifests have no word for.
const OTHER: u8 = 4;
const UNKNOWN: u8 = 5;

fn said<'a>(scheme: &'a Value, name: &str) -> &'a str {
    scheme.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// How hard it is to connect an account by it.
fn rank(scheme: &Value) -> u8 {
    match (said(scheme, "type"), said(scheme, "scheme").to_ascii_lowercase().as_str()) {
        ("http", "bearer") => BEARER,
        ("apiKey", _) if said(scheme, "name").is_empty() => UNKNOWN,
        ("apiKey", _) if said(scheme, "in") == "cookie" => COOKIE,
        ("apiKey", _) => KEY,
        ("http", "basic") | ("basic", _) => BASIC,
        _ => OTHER,
    }
}

impl Access {
    fn bearer(label: &str) -> Self {
        let mut access = Self::default();
        access.add_bearer(label);
        access
    }

    fn add_bearer(&mut self, label: &str) {
        self.fields.insert("token".to_owned(), json!({ "label": label }));
        self.headers.insert("Authorization".to_owned(), "Bearer {account.token}".into());
    }

    fn add(&mut self, scheme: &Value, one_of_several: bool, remarks: &mut Remarks) {
        match rank(scheme) {
            BEARER => self.add_bearer(&label(said(scheme, "description"))),
            KEY | COOKIE => self.add_key(scheme, one_of_several, remarks),
            BASIC => {
                self.fields.insert("username".to_owned(), json!({ "label": "User name", "secret": false }));
                self.fields.insert("password".to_owned(), json!({ "label": "Password" }));
                self.basic = Some(json!({ "username": "{account.username}", "password": "{account.password}" }));
            }
            _ => {
                let kind = [said(scheme, "type"), said(scheme, "scheme")].join(" ");
                remarks.document(match said(scheme, "type") {
                    "oauth2" | "openIdConnect" => {
                        "auth: the document wants a sign-in (OAuth); declare the flow, or keep the token field"
                            .to_owned()
                    }
                    _ => format!("auth: a scheme of type {} is not taken over; a bearer token is assumed", kind.trim()),
                });
                self.add_bearer("Access token");
            }
        }
    }

    fn add_key(&mut self, scheme: &Value, one_of_several: bool, remarks: &mut Remarks) {
        let name = said(scheme, "name");
        let field = match snake(name).filter(|_| one_of_several) {
            Some(field) => field,
            None => "api_key".to_owned(),
        };
        let label = if one_of_several { name } else { "API key" };
        self.fields.insert(field.clone(), json!({ "label": label }));
        let value = format!("{{account.{field}}}");
        match said(scheme, "in") {
            "query" => drop(self.query.insert(name.to_owned(), value.into())),
            "cookie" => drop(self.headers.insert("Cookie".to_owned(), format!("{name}={value}").into())),
            _ => {
                // Swagger 2.0 has no other way to say it.
                let bearer = name.eq_ignore_ascii_case("authorization")
                    && said(scheme, "description").to_ascii_lowercase().contains("bearer");
                if bearer {
                    remarks.document("transport: the description of the key says that it is a bearer token");
                }
                let value = if bearer { format!("Bearer {value}") } else { value };
                self.headers.insert(name.to_owned(), value.into());
            }
        }
    }

    /// Whether a header carries a credential.
    pub(super) fn takes_header(&self, name: &str) -> bool {
        let basic = self.basic.is_some() && name.eq_ignore_ascii_case("authorization");
        basic || self.headers.keys().any(|taken| taken.eq_ignore_ascii_case(name))
    }
}

fn label(description: &str) -> String {
    match description.trim() {
        "" => "API token".to_owned(),
        text => phrase(text, 60),
    }
}
