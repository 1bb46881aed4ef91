//! From host, verb and path to an operation, over all connectors of a snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use http::Method;
use plugboard_core::catalog::Snapshot;
use plugboard_core::manifest::{Connector, Style, Template, Variable};
use regex::Regex;

use super::credentials::{Grant, Wanted};

/// The routes of one snapshot.
pub(super) struct Routes {
    snapshot: Arc<Snapshot>,
    vendors: Vec<Vendor>,
    /// Modules and token endpoints on a fixed host.
    fixed: HashMap<String, Vec<Place>>,
    /// Those on a host that the tenant names. Asked last: any host fits some of them.
    open: Vec<(Regex, Place)>,
}

struct Vendor {
    connector: Arc<Connector>,
    wanted: Wanted,
    grant: Option<Grant>,
    /// By operation id.
    examples: HashMap<String, Bytes>,
}

struct Place {
    vendor: usize,
    /// Matches the path; its group `rest` is the part below the module's base.
    path: Regex,
    what: What,
}

enum What {
    Token,
    Rest { module: String },
    Rpc { module: String, verb: String, method: Regex },
}

pub(super) enum Destination<'r> {
    Token(&'r Grant),
    Operation(&'r Wanted, &'r Bytes),
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
            places.sort_by_key(|place| std::cmp::Reverse(place.path.as_str().len()));
        }
        routes.open.sort_by_key(|(host, place)| std::cmp::Reverse(host.as_str().len() + place.path.as_str().len()));
        routes
    }

    pub(super) fn are_of(&self, snapshot: &Arc<Snapshot>) -> bool {
        Arc::ptr_eq(&self.snapshot, snapshot)
    }

    pub(super) fn find(&self, host: &str, method: &Method, path: &str) -> Option<Destination<'_>> {
        let fixed = self.fixed.get(host).into_iter().flatten();
        let open = self.open.iter().filter(|(pattern, _)| pattern.is_match(host)).map(|(_, place)| place);
        fixed.chain(open).find_map(|place| self.at(place, method, path))
    }

    fn at(&self, place: &Place, method: &Method, path: &str) -> Option<Destination<'_>> {
        let rest = place.path.captures(path)?.name("rest")?.as_str();
        let vendor = self.vendors.get(place.vendor)?;
        let found = match &place.what {
            What::Token => {
                return (*method == Method::POST).then_some(Destination::Token(vendor.grant.as_ref()?));
            }
            What::Rest { module } => vendor.connector.find_rest(module, method.as_str(), rest)?,
            What::Rpc { module, verb, method: pattern } => {
                if verb != method.as_str() {
                    return None;
                }
                let name = pattern.captures(rest)?.name("method")?.as_str();
                let id = &vendor.connector.find_rpc(module, name)?.operation.id;
                return Some(Destination::Operation(&vendor.wanted, vendor.examples.get(id)?));
            }
        };
        Some(Destination::Operation(&vendor.wanted, vendor.examples.get(&found.operation.id)?))
    }

    fn add(&mut self, connector: &Arc<Connector>) {
        let manifest = connector.manifest();
        let example = |operation: &plugboard_core::manifest::Operation| {
            let json = serde_json::to_vec(&operation.response_example).unwrap_or_default();
            (operation.id.clone(), Bytes::from(json))
        };
        self.vendors.push(Vendor {
            connector: Arc::clone(connector),
            wanted: Wanted::of(connector),
            grant: Grant::of(connector),
            examples: manifest.operations.iter().map(example).collect(),
        });
        for name in manifest.modules.keys() {
            let Some((module, compiled)) = connector.module(name) else { continue };
            let what = match (module.style, &module.rpc, &compiled.rpc_path) {
                (Style::Rpc, Some(shape), Some(path)) => {
                    let Some(method) = pattern(path, "[^/]+", "") else { continue };
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
        let Some(path) = regex_of(path, &marks, "[^/]+", tail) else { return };
        let place = Place { vendor, path, what };
        if marks.iter().any(|(_, mark)| host.contains(mark.as_str())) {
            if let Some(host) = regex_of(host, &marks, "[^/:]+", "") {
                self.open.push((host, place));
            }
        } else {
            let host = super::without_port(host).to_ascii_lowercase();
            self.fixed.entry(host).or_default().push(place);
        }
    }
}

/// The whole text must fit the template; a variable is anything that fits `any`.
pub(super) fn pattern(template: &Template, any: &str, tail: &str) -> Option<Regex> {
    let (text, marks) = marked(template);
    regex_of(&text, &marks, any, tail)
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

fn regex_of(text: &str, marks: &Marks, any: &str, tail: &str) -> Option<Regex> {
    let mut pattern = regex::escape(text);
    for (variable, mark) in marks {
        let group = if *variable == Variable::Method { format!("(?P<method>{any})") } else { format!("(?:{any})") };
        pattern = pattern.replace(mark.as_str(), &group);
    }
    Regex::new(&format!("^{pattern}{tail}$"))
        .inspect_err(|error| tracing::error!(%error, "an address of a manifest cannot be served by the sandbox"))
        .ok()
}
