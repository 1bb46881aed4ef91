//! What the endpoint says about itself and how strict it is. Read once, when the router is built.

use std::time::Duration;

use serde_json::Value;

/// Settings of one endpoint.
#[derive(Debug, Clone)]
pub struct McpSettings {
    /// Sent with `initialize` and in `_meta` of every modern result.
    pub info: ServerInfo,
    /// The contract in words; clients cut it at 2048 characters.
    pub instructions: Option<String>,
    /// The tools, in the order they are listed.
    pub tools: Vec<ToolSpec>,
    /// The `capabilities` object for modern clients.
    pub capabilities: Value,
    /// The `capabilities` object for legacy clients; `None` repeats [`Self::capabilities`].
    pub legacy_capabilities: Option<Value>,
    /// How long clients may keep discovery and lists.
    pub cache_ttl: Duration,
    /// Whether caches may share them between callers.
    pub cache_scope: CacheScope,
    /// Larger bodies are refused with 413.
    pub max_body_bytes: usize,
    /// A body that has not arrived by then is refused with 408.
    pub body_timeout: Duration,
    /// `Origin` values allowed besides loopback ones; `"*"` allows all.
    pub allowed_origins: Vec<String>,
    /// `Host` names allowed besides loopback ones.
    pub allowed_hosts: HostPolicy,
    /// URL of the protected-resource document; named in challenges only when set.
    pub resource_metadata: Option<String>,
    /// Serve requests whose version header is legacy while `_meta` is modern, as `_meta` says. A deviation from the
    /// revision, kept for clients with that defect; off by default.
    pub tolerate_version_mismatch: bool,
    /// Interval of comment lines on an open event stream.
    pub keep_alive: Duration,
}

impl McpSettings {
    /// Defaults for a server called `name` with the given tools.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>, tools: Vec<ToolSpec>) -> Self {
        Self {
            info: ServerInfo { name: name.into(), version: version.into(), ..ServerInfo::default() },
            instructions: None,
            tools,
            capabilities: serde_json::json!({"tools": {}}),
            legacy_capabilities: None,
            cache_ttl: Duration::from_secs(3600),
            cache_scope: CacheScope::Public,
            max_body_bytes: 4 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            allowed_origins: Vec::new(),
            allowed_hosts: HostPolicy::Any,
            resource_metadata: None,
            tolerate_version_mismatch: false,
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// `serverInfo` as clients see it.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// Programmatic name.
    pub name: String,
    /// Version of the software.
    pub version: String,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// One sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Home page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_url: Option<String>,
}

/// One tool as clients see it.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec {
    /// 1 to 64 of `[A-Za-z0-9_.-]`.
    pub name: String,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does; clients cut it at 2048 characters.
    pub description: String,
    /// JSON Schema; the root must be an object schema.
    pub input_schema: Value,
    /// JSON Schema of `structuredContent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Hints such as `readOnlyHint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Value>,
    /// `_meta`.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// Who may share a cached list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// The list is the same for every caller.
    Public,
    /// The list depends on the caller.
    Private,
}

impl CacheScope {
    /// The value on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// Which `Host` values are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPolicy {
    /// Every name: for servers behind a proxy that checks names, or reached by address.
    Any,
    /// Loopback names only: for a server bound to loopback, where a foreign name means DNS rebinding.
    Loopback,
    /// Loopback names and these (`name` or `name:port`).
    Names(Vec<String>),
}
