//! The document as it is, and what it says of servers and security.

use serde_json::{Map, Value, json};

use super::{ImportError, sentence};
use crate::yaml;

/// References that lead to references.
const HOPS: usize = 16;

pub(super) struct Document(Value);

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, ImportError> {
        let unreadable = |error: &dyn std::fmt::Display| ImportError::Unreadable(error.to_string());
        // JSON is YAML, but its own parser is faster and has no bounds meant for short files.
        let document: Value = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text).map_err(|error| unreadable(&error))?,
            false => yaml::parse(text).map_err(|error| unreadable(&error))?,
        };
        let this = Self(document);
        let is = |pointer: &str, version: &str| this.text(pointer).is_some_and(|text| text.starts_with(version));
        if is("/openapi", "3.") || is("/swagger", "2.") { Ok(this) } else { Err(ImportError::NotOpenApi) }
    }

    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str().filter(|text| !text.trim().is_empty())
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.get("paths").and_then(Value::as_object).into_iter().flatten()
    }

    /// What a reference inside the document stands for; `null` when it leads nowhere.
    pub(super) fn resolve<'a>(&'a self, mut value: &'a Value) -> &'a Value {
        for _ in 0..HOPS {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
            let found = reference.strip_prefix('#').and_then(|pointer| self.0.pointer(pointer));
            let Some(found) = found else { return &Value::Null };
            value = found;
        }
        &Value::Null
    }

    /// Of the first server, without a slash at the end.
    pub(super) fn base_url(&self) -> Option<String> {
        let url = match self.0.pointer("/servers/0") {
            Some(server) => {
                let mut url = server.get("url")?.as_str()?.to_owned();
                for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
                    let value = variable.get("default").and_then(Value::as_str).unwrap_or_default();
                    url = url.replace(&format!("{{{name}}}"), value);
                }
                url
            }
            None => format!("https://{}{}", self.text("/host")?, self.text("/basePath").unwrap_or_default()),
        };
        let url = url::Url::parse(&url).ok().filter(|url| url.has_host())?;
        Some(url.as_str().trim_end_matches('/').replacen("http://", "https://", 1))
    }

    /// Credential fields and where they travel, by the scheme that is easiest to connect.
    pub(super) fn security(&self, remarks: &mut Vec<String>) -> (Value, Value) {
        let schemes = self.0.pointer("/components/securitySchemes").or_else(|| self.0.get("securityDefinitions"));
        let schemes: Vec<&Value> =
            schemes.and_then(Value::as_object).into_iter().flatten().map(|(_, scheme)| self.resolve(scheme)).collect();
        let best = schemes.iter().min_by_key(|scheme| rank(scheme));
        let bearer = json!({ "headers": { "Authorization": "Bearer {account.token}" } });
        let field = |label: &str| json!({ "label": label });
        let Some(scheme) = best else {
            remarks.push("transport: the document names no security scheme; a bearer token is assumed".to_owned());
            return (json!({ "token": field("API token") }), bearer);
        };
        let said = |name: &str| scheme.get(name).and_then(Value::as_str).unwrap_or_default();
        match rank(scheme) {
            1 if said("in") == "query" => {
                (json!({ "api_key": field("API key") }), json!({ "query": single(said("name"), "{account.api_key}") }))
            }
            1 => (
                json!({ "api_key": field("API key") }),
                json!({ "headers": single(said("name"), "{account.api_key}") }),
            ),
            2 => (
                json!({ "username": { "label": "User name", "secret": false }, "password": field("Password") }),
                json!({ "basic": { "username": "{account.username}", "password": "{account.password}" } }),
            ),
            0 => (json!({ "token": field(&label(said("description"))) }), bearer),
            _ => {
                remarks.push(
                    "auth: the document wants a sign-in (OAuth); declare the flow, or keep the token field".to_owned(),
                );
                (json!({ "token": field("Access token") }), bearer)
            }
        }
    }
}

fn rank(scheme: &Value) -> u8 {
    let said = |name: &str| scheme.get(name).and_then(Value::as_str).unwrap_or_default();
    match (said("type"), said("scheme").to_ascii_lowercase().as_str()) {
        ("http", "bearer") => 0,
        ("apiKey", _) if said("in") != "cookie" => 1,
        ("http", "basic") | ("basic", _) => 2,
        _ => 3,
    }
}

fn label(description: &str) -> String {
    match description.trim() {
        "" => "API token".to_owned(),
        text => sentence(text, 60).trim_end_matches('.').to_owned(),
    }
}

fn single(name: &str, value: &str) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value.into())]))
}
