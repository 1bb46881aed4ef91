//! The OpenAPI 3.1 document, made from the handlers themselves.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::response::Response as HttpResponse;
use http::HeaderMap;
use plugboard_core::error::ErrorCode;
use plugboard_core::identity::{AccountState, Scope};
use plugboard_core::telemetry::metrics::Stage;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, PartialSchema, ToSchema};

use super::error::{self, Problem};
use super::{
    account_test, agents, audit, calls, connect_sessions, connections, connectors, dead_letters, health, keys,
    master_keys, oauth_clients, organizations, overview, reply, revocations, sign_in,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Plugboard management API",
        description = "Connections, API keys and the catalog. Services are not called here but over MCP (`/mcp`) or gRPC."
    ),
    paths(
        health::alive,
        health::healthy,
        health::ready,
        connectors::list,
        serve,
        connectors::mcp_info,
        connectors::all_metadata,
        connectors::metadata,
        connections::list,
        connections::create,
        connections::show,
        connections::change,
        connections::remove,
        account_test::run,
        revocations::connection,
        revocations::connector,
        revocations::organization,
        revocations::list,
        agents::list,
        agents::create,
        agents::update,
        agents::remove,
        audit::read,
        calls::list,
        calls::show,
        overview::show,
        dead_letters::list,
        dead_letters::show,
        dead_letters::replay,
        dead_letters::remove,
        master_keys::show,
        master_keys::rotate,
        master_keys::retire,
        sign_in::start,
        sign_in::start_device,
        sign_in::device,
        sign_in::reconnect,
        connect_sessions::create,
        connect_sessions::redeem,
        oauth_clients::list,
        oauth_clients::set,
        oauth_clients::remove,
        organizations::create,
        keys::list,
        keys::issue,
        keys::revoke,
        keys::rotate,
    ),
    components(schemas(error::Document)),
    security(("api_key" = [])),
    modifiers(&ApiKeyScheme),
    tags(
        (name = "connectors", description = "What can be connected."),
        (name = "connections", description = "Accounts of the organization."),
        (name = "organizations", description = "Tenants and their keys."),
        (name = "revocations", description = "The kill switch."),
        (name = "agents", description = "What programs that act on their own may use."),
        (name = "calls", description = "Calls now and lately, and what they are made with; the operator sees no content."),
        (name = "dead letters", description = "Calls that were given up."),
        (name = "audit", description = "Who did what."),
        (name = "master keys", description = "What accounts are sealed under; for the platform operator."),
        (name = "health", description = "For whoever runs it."),
        (name = "documents", description = "This document.")
    )
)]
struct Api;

/// Bearer keys, for every route that does not say otherwise.
struct ApiKeyScheme;

impl Modify for ApiKeyScheme {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("sk-org-…")
            .description(Some("An API key of the organization; for creating organizations the operator's."))
            .build();
        if let Some(components) = document.components.as_mut() {
            components.add_security_scheme("api_key", SecurityScheme::Http(scheme));
        }
    }
}

/// The same for every request, and costly to build.
static DOCUMENT: LazyLock<Document> = LazyLock::new(Api::openapi);

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "documents", operation_id = "openapi", security(()),
    responses(
        (status = 200, description = "OpenAPI 3.1.", body = Object),
        (status = 304, description = "Unchanged since the ETag in If-None-Match.")))]
pub(super) async fn serve(headers: HeaderMap) -> Result<HttpResponse, Problem> {
    reply::public(&headers, &*DOCUMENT)
}

fn problem(description: &str) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build().into()
}

/// A group of refusals that routes share.
macro_rules! refusals {
    ($(#[$doc:meta])* $name:ident { $($status:literal => $description:literal),+ $(,)? }) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                BTreeMap::from([$(($status.to_owned(), problem($description))),+])
            }
        }
    };
}

refusals!(
    /// Of every route that wants a key.
    Closed {
        "401" => "No API key, or one that is not valid.",
        "403" => "The key lacks a scope, which `fix.options` names.",
        "503" => "The key or the accounts cannot be looked up right now; see Retry-After.",
        "default" => "Any other failure.",
    }
);
refusals!(
    /// Of every route that takes a body.
    BadBody {
        "400" => "A field is missing, unknown or wrong; `field` names it.",
        "408" => "The body did not arrive in time.",
        "413" => "The body is larger than 256 KiB.",
        "415" => "The body is not `application/json`.",
    }
);
refusals!(
    BadQuery { "400" => "An unknown query parameter; `field` names it." }
);
refusals!(
    Absent { "404" => "There is no such thing in this organization." }
);
refusals!(
    LabelTaken { "409" => "The service has another connection with this label." }
);
refusals!(
    Unfitting { "409" => "It does not fit the present state of things; `detail` says why." }
);
refusals!(
    Untestable { "409" => "The connector has no test." }
);

/// A closed list of words.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident as $name:literal = $values:expr) => {
        $(#[$doc])*
        pub(super) struct $type;

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let values: Vec<String> = $values;
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).build().into()
            }
        }

        impl ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    };
}

words!(ErrorCodeSchema as "ErrorCode" = ErrorCode::ALL.iter().map(ToString::to_string).collect());
words!(ScopeSchema as "Scope" = Scope::ALL.iter().map(ToString::to_string).collect());
words!(ConnectionStateSchema as "ConnectionState" =
    AccountState::ALL.map(|state| state.as_str().to_owned()).to_vec());
words!(DeviceStatusSchema as "DeviceStatus" =
    ["pending", "connected", "denied", "expired", "failed"].map(str::to_owned).to_vec());
words!(FixKindSchema as "FixKind" =
    ["reconnect", "add_scope", "change_argument", "choose_account", "wait", "approve", "contact"].map(str::to_owned).to_vec());
words!(VendorRevocationSchema as "VendorRevocation" =
    ["pending", "revoked", "not_revocable", "failed"].map(str::to_owned).to_vec());
words!(EffectSchema as "Effect" = ["read", "idempotent", "keyed", "once"].map(str::to_owned).to_vec());
words!(CallStateSchema as "CallState" = ["succeeded", "failed", "running", "unknown"].map(str::to_owned).to_vec());
words!(StageSchema as "Stage" = Stage::ALL.map(|stage| stage.as_str().to_owned()).to_vec());
words!(OriginSchema as "Origin" =
    ["caller", "policy", "platform", "credential", "network", "upstream"].map(str::to_owned).to_vec());
words!(EffectOutcomeSchema as "EffectOutcome" =
    ["not_sent", "rejected", "applied", "unknown"].map(str::to_owned).to_vec());

/// What the caller can do about it.
#[derive(ToSchema)]
#[schema(as = Fix)]
#[allow(dead_code, reason = "describes plugboard_core::error::Fix")]
pub(super) struct FixSchema {
    kind: FixKindSchema,
    /// Field to change.
    field: Option<String>,
    hint: Option<String>,
    /// Allowed values, or the nearest right ones.
    options: Option<Vec<serde_json::Value>>,
    url: Option<String>,
}

/// Why a call failed; the same object as in the envelope of a call.
#[derive(ToSchema)]
#[schema(as = CallError)]
#[allow(dead_code, reason = "describes plugboard_core::error::CallError")]
pub(super) struct CallErrorSchema {
    code: ErrorCodeSchema,
    origin: OriginSchema,
    message: String,
    detail: Option<serde_json::Value>,
    /// A repeat may help.
    retryable: bool,
    /// A repeat cannot double a side effect.
    safe_to_retry: bool,
    retry_after_ms: Option<u64>,
    outcome: EffectOutcomeSchema,
    fix: Option<FixSchema>,
    field: Option<String>,
    /// What the vendor said.
    upstream: Option<UpstreamSchema>,
}

#[derive(ToSchema)]
#[schema(as = UpstreamError)]
#[allow(dead_code, reason = "describes plugboard_core::error::UpstreamError")]
pub(super) struct UpstreamSchema {
    status: u16,
    code: Option<String>,
    body: Option<serde_json::Value>,
}
