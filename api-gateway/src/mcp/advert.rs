//! What the server says about itself, serialized once: discovery, `initialize` and the tool list are answered by
//! copying bytes.

use std::sync::Arc;

use hashbrown::HashMap;
use serde_json::{Value, json};

use super::param_headers::{ParamHeader, ParamHeaderError};
use super::protocol::ProtocolVersion;
use super::settings::McpSettings;

/// Longest tool name that every client and model takes.
const LONGEST_NAME: usize = 64;

/// Why an endpoint cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A name that some clients refuse.
    #[error("tool name {0:?}: 1 to 64 characters of A-Z a-z 0-9 _ . - are allowed")]
    ToolName(String),
    /// Two tools of one name.
    #[error("two tools are called {0:?}")]
    DuplicateTool(String),
    /// A schema whose root is not an object.
    #[error("tool {0:?}: the root of its schemas must have \"type\": \"object\"")]
    SchemaRoot(String),
    /// A bad `x-mcp-header`.
    #[error("tool {tool:?}: {source}")]
    ParamHeader {
        /// Of which tool.
        tool: String,
        /// What is wrong.
        source: ParamHeaderError,
    },
    /// `resource_metadata` cannot stand in a header.
    #[error("resource_metadata is not a plain URL")]
    ResourceMetadata,
}

/// A tool as the dispatcher sees it.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) headers: Vec<ParamHeader>,
}

/// Prepared bytes. Results are complete JSON objects.
#[derive(Debug)]
pub(super) struct Advert {
    pub(super) discover: Vec<u8>,
    pub(super) modern_tools: Vec<u8>,
    pub(super) legacy_tools: Vec<u8>,
    initialize: Vec<(ProtocolVersion, Vec<u8>)>,
    /// `,"_meta":{…}`: closes every modern result.
    pub(super) meta: Vec<u8>,
    /// `,"ttlMs":…,"cacheScope":…`.
    pub(super) cache: Vec<u8>,
    tools: HashMap<Arc<str>, Tool>,
    pub(super) legacy_logging: bool,
}

impl Advert {
    pub(super) fn new(settings: &McpSettings) -> Result<Self, SettingsError> {
        let mut tools = HashMap::new();
        for tool in &settings.tools {
            if !is_tool_name(&tool.name) {
                return Err(SettingsError::ToolName(tool.name.clone()));
            }
            let schemas = std::iter::once(&tool.input_schema).chain(&tool.output_schema);
            if schemas.into_iter().any(|schema| schema["type"] != "object") {
                return Err(SettingsError::SchemaRoot(tool.name.clone()));
            }
            let headers = ParamHeader::all(&tool.input_schema)
                .map_err(|source| SettingsError::ParamHeader { tool: tool.name.clone(), source })?;
            if tools.insert(Arc::from(tool.name.as_str()), Tool { headers }).is_some() {
                return Err(SettingsError::DuplicateTool(tool.name.clone()));
            }
        }

        let info = json!(settings.info);
        let meta = json!({"io.modelcontextprotocol/serverInfo": info});
        let ttl = u64::try_from(settings.cache_ttl.as_millis()).unwrap_or(u64::MAX);
        let scope = settings.cache_scope.as_str();
        let with_instructions = |mut result: Value| {
            if let Some(instructions) = &settings.instructions {
                result["instructions"] = json!(instructions);
            }
            result
        };
        let mut discover = with_instructions(json!({
            "resultType": "complete",
            "supportedVersions": ProtocolVersion::NEWEST_FIRST.map(ProtocolVersion::as_str),
            "capabilities": settings.capabilities,
            "ttlMs": ttl,
            "cacheScope": scope,
        }));
        discover["_meta"] = meta.clone();
        let legacy_capabilities = settings.legacy_capabilities.as_ref().unwrap_or(&settings.capabilities);
        let initialize = ProtocolVersion::NEWEST_FIRST
            .into_iter()
            .filter(|version| version.era() == super::protocol::Era::Legacy)
            .map(|version| {
                let result = with_instructions(json!({
                    "protocolVersion": version.as_str(),
                    "capabilities": legacy_capabilities,
                    "serverInfo": info,
                }));
                (version, result.to_string().into_bytes())
            })
            .collect();
        Ok(Self {
            discover: discover.to_string().into_bytes(),
            modern_tools: json!({
                "resultType": "complete",
                "tools": settings.tools,
                "ttlMs": ttl,
                "cacheScope": scope,
                "_meta": meta,
            })
            .to_string()
            .into_bytes(),
            legacy_tools: json!({"tools": settings.tools}).to_string().into_bytes(),
            initialize,
            meta: format!(",\"_meta\":{meta}").into_bytes(),
            cache: format!(",\"ttlMs\":{ttl},\"cacheScope\":\"{scope}\"").into_bytes(),
            tools,
            legacy_logging: legacy_capabilities.get("logging").is_some(),
        })
    }

    /// The result of `initialize` for a legacy revision.
    pub(super) fn initialize(&self, version: ProtocolVersion) -> &[u8] {
        self.initialize.iter().find(|(known, _)| *known == version).map_or(b"{}", |(_, result)| result)
    }

    pub(super) fn tool(&self, name: &str) -> Option<(&Arc<str>, &Tool)> {
        self.tools.get_key_value(name)
    }
}

fn is_tool_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}
