//! The catalog as people and connect screens see it, and how to connect an MCP client.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::HOST;
use http::{HeaderMap, StatusCode};
use plugboard_core::event_loops;
use plugboard_core::identity::Scope;
use plugboard_core::manifest::{Brief, Connector, CredentialField, Flow};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::caller::{Reader, ServiceName};
use super::error::Problem;
use super::openapi::{Absent, Closed};
use super::reply;
use crate::mcp::ProtocolVersion;
use crate::state::Gateway;

/// The name that MCP clients are told.
pub(super) const SERVER_NAME: &str = "plugboard";

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectorSummary {
    key: String,
    name: String,
    description: String,
    category: &'static str,
}

/// Every connector of the platform, in key order; an organization's own are not among them.
#[utoipa::path(get, path = "/connectors.json", tag = "connectors", operation_id = "listConnectors", security(()),
    responses(
        (status = 200, description = "All connectors.", body = Vec<ConnectorSummary>),
        (status = 304, description = "Unchanged since the ETag in If-None-Match.")))]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Response, Problem> {
    let snapshot = gateway.catalog.snapshot();
    // A dot marks a connector that belongs to one organization.
    let fixed = snapshot.iter().filter(|connector| !connector.key().as_str().contains('.'));
    let rows: Vec<_> = fixed.map(|connector| ConnectorSummary::of(connector.brief())).collect();
    reply::public(&headers, &rows)
}

impl ConnectorSummary {
    fn of(brief: &Brief) -> Self {
        Self {
            key: brief.key.clone(),
            name: brief.name.clone(),
            description: brief.description.clone(),
            category: brief.category.as_str(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct McpInfo {
    /// The MCP endpoint.
    url: String,
    server_name: &'static str,
    /// Newest first.
    protocol_versions: Vec<&'static str>,
    supported_scopes: Vec<&'static str>,
    /// To be pasted into an MCP client's configuration, with a key of yours.
    #[schema(value_type = Object)]
    example_config: Value,
}

/// How to connect an MCP client.
#[utoipa::path(get, path = "/api/v1/mcp/info", tag = "connectors", operation_id = "mcpInfo", security(()),
    responses((status = 200, description = "The endpoint and a ready configuration.", body = McpInfo)))]
pub(super) async fn mcp_info(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Response, Problem> {
    let url = format!("{}/mcp", base_url(&gateway, &headers));
    let server = json!({"type": "http", "url": url, "headers": {"Authorization": "Bearer sk-org-YOUR_KEY"}});
    let info = McpInfo {
        url,
        server_name: SERVER_NAME,
        protocol_versions: ProtocolVersion::NEWEST_FIRST.into_iter().map(ProtocolVersion::as_str).collect(),
        supported_scopes: Scope::ALL.into_iter().map(Scope::as_str).collect(),
        example_config: json!({"mcpServers": {SERVER_NAME: server}}),
    };
    reply::json(StatusCode::OK, &info)
}

/// The configured URL; else the name this request came by, because the port may have been chosen at the start.
fn base_url(gateway: &Gateway, headers: &HeaderMap) -> String {
    let configured = gateway.config.public_url.trim_end_matches('/');
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    let named = named.filter(|host| !host.contains('@') && host.parse::<http::uri::Authority>().is_ok());
    format!("http://{}", named.unwrap_or(&gateway.config.listen))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AllMetadata {
    connectors: Vec<ConnectorMetadata>,
}

/// What a person needs to connect an account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectorMetadata {
    key: String,
    name: String,
    category: &'static str,
    /// Only keys with the scope `admin` may call it.
    admin_only: bool,
    /// Ways to connect, the preferred one first.
    flows: Vec<FlowMetadata>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FlowMetadata {
    /// `credentials`, `popup_oauth` or `device_code`.
    kind: &'static str,
    /// What the person is asked for.
    label: String,
    /// Where the person finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// In the order of the form; where a person signs in, what is asked before.
    fields: Vec<FieldMetadata>,
    /// What is asked of the vendor when a person signs in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FieldMetadata {
    /// The name under `credentials`.
    name: String,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Never shown again once it is stored.
    secret: bool,
    optional: bool,
    /// A host name: changing it clears the secret fields.
    host: bool,
    /// May have line breaks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    multiline: bool,
    /// Regular expression that the whole value must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
}

/// What every connector asks for when an account is connected.
#[utoipa::path(get, path = "/api/v1/connectors/metadata", tag = "connectors", operation_id = "listConnectorMetadata",
    responses((status = 200, description = "All connectors.", body = AllMetadata), Closed))]
pub(super) async fn all_metadata(State(gateway): State<Arc<Gateway>>, _: Reader) -> Result<Response, Problem> {
    let snapshot = gateway.catalog.snapshot();
    // Each is compiled for it.
    let look = move || snapshot.look().map(|connector| ConnectorMetadata::of(&connector)).collect();
    let connectors = event_loops::aside_blocking(look).await;
    reply::json(StatusCode::OK, &AllMetadata { connectors })
}

/// What one connector asks for when an account is connected.
#[utoipa::path(get, path = "/api/v1/connectors/{service}/metadata", tag = "connectors",
    operation_id = "connectorMetadata", params(("service" = String, Path, description = "Key of a connector.")),
    responses((status = 200, description = "The connector.", body = ConnectorMetadata), Absent, Closed))]
pub(super) async fn metadata(
    State(gateway): State<Arc<Gateway>>,
    _: Reader,
    ServiceName(service): ServiceName,
) -> Result<Response, Problem> {
    let (connector, _) = gateway.service(&service)?;
    reply::json(StatusCode::OK, &ConnectorMetadata::of(&connector))
}

impl ConnectorMetadata {
    fn of(connector: &Connector) -> Self {
        let manifest = connector.manifest();
        Self {
            key: manifest.key.clone(),
            name: manifest.name.clone(),
            category: manifest.category.as_str(),
            admin_only: manifest.admin_only,
            flows: manifest.auth.flows.iter().map(FlowMetadata::of).collect(),
        }
    }
}

impl FlowMetadata {
    fn of(flow: &Flow) -> Self {
        let fields = flow.fields.iter().map(|(name, field)| FieldMetadata::of(name, field)).collect();
        let scopes = flow.oauth.as_ref().map(|oauth| oauth.scopes.clone()).unwrap_or_default();
        Self { kind: flow.kind.as_str(), label: flow.label.clone(), help: flow.help.clone(), fields, scopes }
    }
}

impl FieldMetadata {
    fn of(name: &str, field: &CredentialField) -> Self {
        Self {
            name: name.to_owned(),
            label: field.label.clone(),
            hint: field.hint.clone(),
            secret: field.secret,
            optional: field.optional,
            host: field.host,
            multiline: field.multiline,
            pattern: field.pattern.clone(),
        }
    }
}
