//! Answers of `list_services` and `describe_service`, kept as the bytes in which they leave.
//!
//! They depend on three things: the catalog, the arguments, and which services the caller has accounts of. Callers ask
//! the same again and again, and to make such an answer costs twenty times what it costs to send it.

use std::hash::Hash;

use hashbrown::{DefaultHashBuilder, Equivalent};
use moka::sync::Cache;
use plugboard_core::ids::ServiceKey;

use crate::mcp::Written;

/// Of all pages together.
const MOST_BYTES: u64 = 16 << 20;

/// Longer arguments are not worth remembering: nobody asks the same again.
const LONGEST_ARGUMENTS: usize = 512;

/// The services of which a caller has usable accounts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Connected {
    All,
    /// Sorted, each once.
    Some(Box<[ServiceKey]>),
}

impl Connected {
    pub fn of(services: impl Iterator<Item = ServiceKey>) -> Self {
        let mut services: Vec<_> = services.collect();
        services.sort_unstable();
        services.dedup();
        Self::Some(services.into())
    }

    pub fn contains(&self, service: &ServiceKey) -> bool {
        match self {
            Self::All => true,
            Self::Some(services) => services.binary_search(service).is_ok(),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    tool: &'static str,
    snapshot: u64,
    connected: Connected,
    arguments: Box<str>,
}

/// What a page depends on.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Wanted<'a> {
    pub tool: &'static str,
    pub snapshot: u64,
    pub connected: &'a Connected,
    /// As they came.
    pub arguments: &'a str,
}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.tool == key.tool
            && self.snapshot == key.snapshot
            && *self.connected == key.connected
            && *self.arguments == *key.arguments
    }
}

#[derive(Debug)]
pub struct Pages(Cache<Key, Written, DefaultHashBuilder>);

impl Default for Pages {
    fn default() -> Self {
        let weight = |key: &Key, page: &Written| {
            u32::try_from(page.bytes().len() + key.arguments.len() + 256).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(MOST_BYTES).weigher(weight);
        Self(cache.build_with_hasher(DefaultHashBuilder::default()))
    }
}

impl Pages {
    pub fn get(&self, wanted: Wanted<'_>) -> Option<Written> {
        self.0.get(&wanted)
    }

    pub fn keep(&self, wanted: Wanted<'_>, page: Written) {
        let Wanted { tool, snapshot, connected, arguments } = wanted;
        if arguments.len() <= LONGEST_ARGUMENTS {
            let key = Key { tool, snapshot, connected: connected.clone(), arguments: arguments.into() };
            self.0.insert(key, page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::Envelope;

    #[test]
    fn a_page_is_found_by_all_it_depends_on() {
        let pages = Pages::default();
        let services = |keys: &[&str]| Connected::of(keys.iter().map(|key| ServiceKey::trusted(*key)));
        let mine = services(&["stripe", "github", "stripe"]);
        let wanted = Wanted { tool: "list_services", snapshot: 1, connected: &mine, arguments: "{}" };
        let page = Written::new(&Envelope::ok("{}"));
        pages.keep(wanted, page.clone());
        let found = pages.get(Wanted { connected: &services(&["github", "stripe"]), ..wanted });
        assert_eq!(found.unwrap().bytes(), page.bytes());
        assert!(pages.get(Wanted { snapshot: 2, ..wanted }).is_none());
        assert!(pages.get(Wanted { arguments: "{ }", ..wanted }).is_none());
        assert!(pages.get(Wanted { tool: "describe_service", ..wanted }).is_none());
        for other in [services(&["github"]), services(&[]), Connected::All] {
            assert!(pages.get(Wanted { connected: &other, ..wanted }).is_none());
        }
        let long = format!("{{\"query\":\"{}\"}}", "x".repeat(LONGEST_ARGUMENTS));
        let wanted = Wanted { arguments: &long, ..wanted };
        pages.keep(wanted, page);
        assert!(pages.get(wanted).is_none());
        assert!(mine.contains(&ServiceKey::trusted("github")) && !mine.contains(&ServiceKey::trusted("hubspot")));
    }
}
