//! The catalog service, beside what the gateway has of it.

use std::collections::BTreeMap;

use super::{Finding, Part};
use crate::catalog::{Listed, ManifestDocument};

/// Characters of a digest that are told.
const SHORT: usize = 12;

/// What the catalog service has.
#[derive(Debug, Clone, Default)]
pub struct CatalogSeen {
    /// Of all manifests together.
    pub digest: String,
    /// Name and description by key, as gateways list them; without those of single organizations.
    pub listed: BTreeMap<String, String>,
    /// Manifests that this version cannot read, and why.
    pub unreadable: Vec<(String, String)>,
}

impl CatalogSeen {
    /// Reads each manifest, as a gateway would.
    pub fn of(digest: String, documents: Vec<ManifestDocument>) -> Self {
        let mut seen = Self { digest, ..Self::default() };
        for document in documents {
            let key = document.key.as_str().to_owned();
            match Listed::new(document) {
                // A dot marks a connector that belongs to one organization.
                Ok(_) if key.contains('.') => {}
                Ok(listed) => {
                    seen.listed.insert(key, row(&listed.brief().name, &listed.brief().description));
                }
                Err(error) => seen.unreadable.push((key, error.to_string())),
            }
        }
        seen
    }
}

/// A connector as far as lists tell it.
pub fn row(name: &str, description: &str) -> String {
    format!("{name}: {description}")
}

/// `gateway`: the same of its list; `None`: no gateway answers.
pub fn judge(address: &str, seen: &CatalogSeen, gateway: Option<&BTreeMap<String, String>>) -> Vec<Finding> {
    let revision: String = seen.digest.chars().take(SHORT).collect();
    let number = seen.listed.len();
    let mut findings = Vec::new();
    for (key, why) in &seen.unreadable {
        findings.push(Part::Catalog.fail(
            format!("the manifest {key} cannot be read by this version: {why}"),
            "gateways and executors leave it out: bring all services to one version, or `plugboard connectors lint`",
        ));
    }
    let said = format!("the catalog service at {address} has {number} connectors, revision {revision}");
    findings.push(match number {
        0 => Part::Catalog.fail(said, "see catalog.connectors, and the catalog service's log"),
        _ => Part::Catalog.ok(said),
    });
    match gateway {
        None => findings.push(Part::Catalog.skipped("no gateway answers whose catalog could be compared")),
        Some(rows) => findings.push(compared(&seen.listed, rows)),
    }
    findings
}

fn compared(ours: &BTreeMap<String, String>, gateways: &BTreeMap<String, String>) -> Finding {
    let mut differ: Vec<&str> =
        ours.iter().filter(|(key, row)| gateways.get(*key) != Some(*row)).map(|(key, _)| key.as_str()).collect();
    differ.extend(gateways.keys().filter(|key| !ours.contains_key(*key)).map(String::as_str));
    if differ.is_empty() {
        return Part::Catalog.ok("the gateway lists the same connectors (it tells no revision)");
    }
    Part::Catalog.warn(
        format!("the gateway's list differs from the catalog service's in {}", differ.join(", ")),
        "does peers.catalog of the gateway lead to this catalog service? Has the gateway lost its connection (/readyz)?",
    )
}

/// One that does not answer.
pub fn judge_away(address: &str, why: &str) -> Finding {
    let remedy = "see that the catalog service runs there and may be reached, and that secrets.cluster_secret is its own; \
                  gateways and executors that have its manifests go on without it, new ones do not start";
    Part::Catalog.fail(format!("the catalog service at {address} does not answer: {why}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn rows(keys: &[&str]) -> BTreeMap<String, String> {
        keys.iter().map(|key| ((*key).to_owned(), row(key, "does things"))).collect()
    }

    fn states(seen: &CatalogSeen, gateway: Option<&BTreeMap<String, String>>) -> Vec<State> {
        judge("http://c:8082", seen, gateway).iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn the_same_connectors_here_and_there() {
        let seen = CatalogSeen { digest: "0123456789abcdef".to_owned(), listed: rows(&["a", "b"]), unreadable: vec![] };
        assert_eq!(states(&seen, Some(&rows(&["a", "b"]))), [State::Ok, State::Ok]);
        assert_eq!(states(&seen, None), [State::Ok, State::Skipped]);
        let said = &judge("http://c:8082", &seen, None)[0].seen;
        assert_eq!(said, "the catalog service at http://c:8082 has 2 connectors, revision 0123456789ab");
        let found = judge("http://c:8082", &seen, Some(&rows(&["b", "c"])));
        assert!(found[1].state == State::Warn && found[1].seen.ends_with("in a, c"), "{found:?}");
        let mut older = rows(&["a", "b"]);
        older.insert("b".to_owned(), row("b", "did things"));
        assert_eq!(states(&seen, Some(&older)), [State::Ok, State::Warn]);
    }

    #[test]
    fn nothing_and_what_cannot_be_read_fail() {
        assert_eq!(states(&CatalogSeen::default(), None)[0], State::Fail);
        let unreadable = vec![("ozon".to_owned(), "unknown field".to_owned())];
        let seen = CatalogSeen { listed: rows(&["a"]), unreadable, ..CatalogSeen::default() };
        let found = judge("http://c:8082", &seen, None);
        assert!(found[0].state == State::Fail && found[0].seen.contains("ozon"), "{found:?}");
    }
}
