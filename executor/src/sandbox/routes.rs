//! From host, verb and path to an operation, over all connectors of a snapshot. What belongs to one connector is made
//! when a request may be for it: all of it at once takes 40 MB.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use plugboard_core::catalog::Snapshot;
use plugboard_core::ids::{AccountId, ServiceKey};
use plugboard_core::manifest::{Connector, Operation, Style, Template, Variable};
use regex::Regex;
use serde_json::json;

use super::choose::{self, Shape};
use super::credentials::{self, Grant, Request, Wanted};

/// The routes of one snapshot.
pub(super) struct Routes {
    snapshot: Arc<Snapshot>,
    vendors: Vec<Vendor>,
    /// Modules and token endpoints on a fixed host.
    fixed: HashMap<String, Vec<Place>>,
    /// Those on a host that the tenant names. Asked last: any host fits some of them.
    open: Vec<(Pattern, Place)>,
}

struct Vendor {
    key: ServiceKey,
    /// Of its sandbox account.
    token: String,
    desk: OnceLock<Option<Desk>>,
}

/// What answers in a vendor's place.
struct Desk {
    connector: Arc<Connector>,
    wanted: Wanted,
    grant: Option<Grant>,
    /// By operation id.
    answers: HashMap<String, Answer>,
}

struct Answer {
    example: Bytes,
    /// Needed only where the address does not tell.
    shape: OnceLock<Shape>,
}

struct Place {
    vendor: usize,
    /// Matches the path; its group `rest` is the part below the module's base.
    path: Pattern,
    what: What,
}

enum What {
    Token,
    Rest { module: String },
    Rpc { module: String, verb: String, method: Pattern },
}

/// A regular expression, compiled when it is first needed.
struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

/// Where a request arrives.
pub(super) struct Destination {
    pub(super) answer: Bytes,
    /// The first credential that is not where the manifest puts it.
    pub(super) missing: Option<String>,
}

/// What an address may mean.
struct Hit<'r> {
    vendor: &'r Vendor,
    desk: &'r Desk,
    place: &'r Place,
    /// `None`: the token endpoint.
    operation: Option<(&'r Operation, usize)>,
}

impl Routes {
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        let mut routes =
            Self { vendors: Vec::with_capacity(snapshot.len()), fixed: HashMap::new(), open: Vec::new(), snapshot };
        for connector in Arc::clone(&routes.snapshot).look() {
            routes.add(&connector);
        }
        // Longer patterns first: of two modules on one host, the one with the longer prefix is meant.
        for places in routes.fixed.values_mut() {
            places.sort_by_key(|place| std::cmp::Reverse(place.path.text.len()));
        }
        routes.open.sort_by_key(|(host, place)| std::cmp::Reverse(host.text.len() + place.path.text.len()));
        routes
    }

    pub(super) fn are_of(&self, snapshot: &Arc<Snapshot>) -> bool {
        Arc::ptr_eq(&self.snapshot, snapshot)
    }

    pub(super) fn find(&self, host: &str, path: &str, request: &Request<'_>) -> Option<Destination> {
        let fixed = self.fixed.get(host).into_iter().flatten();
        let open = self.open.iter().filter(|(pattern, _)| pattern.is_match(host)).map(|(_, place)| place);
        let hits: Vec<Hit<'_>> =
            fixed.chain(open).filter_map(|place| self.at(place, request.method.as_str(), path)).collect();
        // Several services may be at one address, and on hosts that tenants name any may be: the one that the token
        // names is meant, else the one whose credentials are there.
        let complete = |hit: &&Hit<'_>| hit.missing(request).is_none();
        let named = hits.iter().find(|hit| hit.vendor.is_named(request) && complete(hit));
        let Some(hit) = named.or_else(|| hits.iter().find(complete)) else {
            let missing = hits.first()?.missing(request);
            return Some(Destination { answer: Bytes::new(), missing });
        };
        if hit.operation.is_none() {
            let mut token = json!({"access_token": hit.vendor.token, "token_type": "bearer", "expires_in": 3600});
            if let Some(name) = hit.desk.grant.as_ref().and_then(Grant::own_name) {
                token[name] = json!(hit.vendor.token);
            }
            return Some(Destination { answer: Bytes::from(token.to_string()), missing: None });
        }
        // Modules that share an address share its operations: the path with most of its own words is meant.
        let there: Vec<_> =
            hits.iter().filter(|other| other.is_where(hit)).filter_map(|other| other.operation).collect();
        let heaviest = there.iter().map(|(_, weight)| *weight).max();
        let alike = there.into_iter().filter(|(_, weight)| Some(*weight) == heaviest);
        let answers: Vec<(&Operation, &Answer)> =
            alike.filter_map(|(one, _)| Some((one, hit.desk.answers.get(&one.id)?))).collect();
        let chosen = match answers.as_slice() {
            [(_, only)] => only,
            several => {
                let shapes: Vec<&Shape> =
                    several.iter().map(|(one, answer)| answer.shape.get_or_init(|| Shape::of(one))).collect();
                several.get(choose::best(&shapes, &choose::written(&hit.desk.connector, request.body)))?.1
            }
        };
        Some(Destination { answer: chosen.example.clone(), missing: None })
    }

    fn at<'r>(&'r self, place: &'r Place, verb: &str, path: &str) -> Option<Hit<'r>> {
        let rest = place.path.get()?.captures(path)?.name("rest")?.as_str();
        let vendor = self.vendors.get(place.vendor)?;
        let desk = vendor.desk(&self.snapshot)?;
        let operation = match &place.what {
            What::Token if verb == "POST" && desk.grant.is_some() => None,
            What::Token => return None,
            What::Rest { module } => {
                let found = desk.connector.find_rest(module, verb, rest)?;
                Some((found.operation, found.compiled.path.as_ref()?.weight()))
            }
            What::Rpc { module, verb: own, method } => {
                let name = method.get()?.captures(rest).filter(|_| own == verb)?.name("method")?.as_str();
                Some((desk.connector.find_rpc(module, name)?.operation, usize::MAX))
            }
        };
        Some(Hit { vendor, desk, place, operation })
    }

    fn add(&mut self, connector: &Arc<Connector>) {
        self.vendors.push(Vendor {
            key: connector.key().clone(),
            token: AccountId::sandbox_token(connector.key().as_str()),
            desk: OnceLock::new(),
        });
        for name in connector.manifest().modules.keys() {
            let Some((module, compiled)) = connector.module(name) else { continue };
            let what = match (module.style, &module.rpc, &compiled.rpc_path) {
                (Style::Rpc, Some(shape), Some(path)) => {
                    let (text, marks) = marked(path);
                    let method = Pattern::new(&text, &marks, "[^/]+", "");
                    What::Rpc { module: name.clone(), verb: shape.verb.clone(), method }
                }
                _ => What::Rest { module: name.clone() },
            };
            self.place(&compiled.base_url, what, "(?P<rest>/.*)?");
        }
        if let Some(url) = &connector.transport().token_url {
            self.place(url, What::Token, "(?P<rest>)");
        }
    }

    /// Puts an address template in the table.
    fn place(&mut self, url: &Template, what: What, tail: &str) {
        let vendor = self.vendors.len() - 1;
        let (text, marks) = marked(url);
        let Some((_, rest)) = text.split_once("://") else { return };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let place = Place { vendor, path: Pattern::new(path, &marks, "[^/]+", tail), what };
        if marks.iter().any(|(_, mark)| host.contains(mark.as_str())) {
            self.open.push((Pattern::new(host, &marks, "[^/:]+", ""), place));
        } else {
            let host = super::without_port(host).to_ascii_lowercase();
            self.fixed.entry(host).or_default().push(place);
        }
    }
}

impl Vendor {
    fn desk(&self, snapshot: &Snapshot) -> Option<&Desk> {
        self.desk.get_or_init(|| snapshot.get(&self.key).map(Desk::of)).as_ref()
    }

    fn is_named(&self, request: &Request<'_>) -> bool {
        request.headers.values().any(|value| value.as_bytes().ends_with(self.token.as_bytes()))
    }
}

impl Desk {
    fn of(connector: Arc<Connector>) -> Self {
        let answer = |operation: &Operation| {
            let json = serde_json::to_vec(&operation.response_example).unwrap_or_default();
            (operation.id.clone(), Answer { example: Bytes::from(json), shape: OnceLock::new() })
        };
        let answers = connector.manifest().operations.iter().map(answer).collect();
        Self { wanted: Wanted::of(&connector), grant: Grant::of(&connector), answers, connector }
    }
}

impl Hit<'_> {
    fn missing(&self, request: &Request<'_>) -> Option<String> {
        match (&self.operation, &self.desk.grant) {
            (None, Some(grant)) => grant.missing(request),
            _ => self.desk.wanted.missing(request).or_else(|| {
                let (operation, _) = self.operation?;
                credentials::unsigned(&self.desk.connector, &operation.module, request)
            }),
        }
    }

    fn is_where(&self, other: &Self) -> bool {
        self.place.vendor == other.place.vendor && self.place.path.text == other.place.path.text
    }
}

impl Pattern {
    /// A variable is anything that fits `any`.
    fn new(text: &str, marks: &Marks, any: &str, tail: &str) -> Self {
        let mut pattern = regex::escape(text);
        for (variable, mark) in marks {
            let group = if *variable == Variable::Method { format!("(?P<method>{any})") } else { format!("(?:{any})") };
            pattern = pattern.replace(mark.as_str(), &group);
        }
        Self { text: format!("^{pattern}{tail}$"), compiled: OnceLock::new() }
    }

    fn get(&self) -> Option<&Regex> {
        let compile = || {
            Regex::new(&self.text)
                .inspect_err(
                    |error| tracing::error!(%error, "an address of a manifest cannot be served by the sandbox"),
                )
                .ok()
        };
        self.compiled.get_or_init(compile).as_ref()
    }

    fn is_match(&self, text: &str) -> bool {
        self.get().is_some_and(|pattern| pattern.is_match(text))
    }
}

/// The whole text must fit the template; a variable is anything that fits `any`.
pub(super) fn pattern(template: &Template, any: &str, tail: &str) -> Option<Regex> {
    let (text, marks) = marked(template);
    Pattern::new(&text, &marks, any, tail).get().cloned()
}

type Marks = Vec<(Variable, String)>;

/// The template's text with a mark for each variable. The marks are letters and digits that no manifest holds, so they
/// survive the escaping of the text around them.
fn marked(template: &Template) -> (String, Marks) {
    let marks: Marks = template
        .variables()
        .enumerate()
        .map(|(at, variable)| (variable.clone(), format!("q9variable{at}q9")))
        .collect();
    let lookup = |wanted: &Variable| marks.iter().find(|(known, _)| known == wanted).map(|(_, mark)| mark.as_str());
    (template.render(lookup).unwrap_or_default(), marks)
}
