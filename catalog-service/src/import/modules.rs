//! Tags and servers → modules.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::names::{free, phrase, snake};
use super::remarks::Remarks;
use super::servers::Servers;

pub(super) struct Modules {
    servers: Servers,
    /// By what the tag is called here (or there, where no Latin letter is in it) and where its calls go.
    known: IndexMap<(String, String), Module>,
}

struct Module {
    name: String,
    summary: String,
}

impl Modules {
    pub(super) fn new(servers: Servers) -> Self {
        Self { servers, known: IndexMap::new() }
    }

    /// The module of an operation: one for each tag, and for each server that it has.
    pub(super) fn of(&mut self, item: &Value, operation: &Value, remarks: &mut Remarks) -> String {
        let tag = operation.pointer("/tags/0").and_then(Value::as_str).filter(|tag| !tag.trim().is_empty());
        let tag = tag.unwrap_or("api");
        let plain = snake(tag);
        let base_url = self.servers.base_url(item, operation, remarks);
        let key = (plain.clone().unwrap_or_else(|| tag.to_owned()), base_url);
        if let Some(module) = self.known.get(&key) {
            return module.name.clone();
        }
        let wanted = plain.unwrap_or_else(|| format!("module_{}", self.known.len() + 1));
        let name = free(&wanted, |name| self.known.values().all(|module| module.name != name));
        self.known.insert(key, Module { name: name.clone(), summary: phrase(tag, 60) });
        name
    }

    pub(super) fn write(self) -> Map<String, Value> {
        let write = |((_, base_url), module): ((_, String), Module)| {
            (module.name, json!({ "summary": module.summary, "base_url": base_url }))
        };
        self.known.into_iter().map(write).collect()
    }
}
