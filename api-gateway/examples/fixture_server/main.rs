//! The fixtures of the official MCP conformance suite, on the protocol code of the gateway.
//!
//! The product has three tools and needs a small part of the protocol; this server has one of everything, so that the
//! suite can reach the rest. No authentication, loopback only.
//!
//! ```text
//! cargo run --release -p api-gateway --example fixture_server -- --listen 127.0.0.1:3911
//! ```
//! Prints one line, `{"event":"ready","url":"http://…/mcp"}`, and runs until it is stopped. Port 0 picks a free port.

mod input;
mod prompts;
mod resources;
mod specs;
mod tools;

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use api_gateway::mcp::{
    AuthFailure, CallContext, Era, HostPolicy, McpEndpoint, McpSettings, MethodReply, MethodResult, ToolReply,
    ToolServer, no_oauth,
};
use http::HeaderMap;
use serde_json::{Value, json};

/// Everything the suite asks for.
struct Fixtures {
    sealer: input::Sealer,
}

type Cx = CallContext<()>;

impl ToolServer for Fixtures {
    type Principal = ();

    async fn authenticate(&self, _headers: &HeaderMap, _peer: Option<SocketAddr>) -> Result<(), AuthFailure> {
        Ok(())
    }

    fn caller<'a>(&self, _principal: &'a ()) -> &'a str {
        "anyone"
    }

    async fn call_tool(&self, cx: Box<Cx>, tool: &str, arguments: Box<str>) -> ToolReply {
        tools::call(&self.sealer, &cx, tool, &parsed(&arguments)).await
    }

    fn serves(&self, era: Era, method: &str) -> bool {
        let legacy_only = matches!(method, "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe");
        let always = matches!(
            method,
            "prompts/list"
                | "prompts/get"
                | "resources/list"
                | "resources/read"
                | "resources/templates/list"
                | "completion/complete"
        );
        always || (legacy_only && era == Era::Legacy)
    }

    async fn call_method(&self, cx: Box<Cx>, method: &str, params: Box<str>) -> MethodReply {
        let params = parsed(&params);
        match method {
            "prompts/list" => result(&prompts::list(), true),
            "prompts/get" => prompts::get(&cx, &params),
            "resources/list" => result(&resources::list(), true),
            "resources/templates/list" => result(&resources::templates(), true),
            "resources/read" => resources::read(&params),
            "completion/complete" => result(
                &json!({"completion": {"values": ["paris", "park", "party"], "total": 3, "hasMore": false}}),
                false,
            ),
            // Accepted and forgotten: without sessions there is nothing to remember them for.
            _ => result(&json!({}), false),
        }
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn result(value: &Value, cacheable: bool) -> MethodReply {
    MethodReply::Result(MethodResult { json: value.to_string().into(), cacheable })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => "127.0.0.1:3911".to_owned(),
        (Some("--listen"), Some(address)) => address,
        _ => return Err("usage: fixture_server [--listen ADDRESS:PORT]".into()),
    };
    let mut settings = McpSettings::new("plugboard-fixtures", env!("CARGO_PKG_VERSION"), specs::tools());
    settings.allowed_hosts = HostPolicy::Loopback;
    settings.instructions = Some("Fixtures of the conformance suite.".to_owned());
    settings.capabilities = json!({"tools": {}, "prompts": {}, "resources": {}, "completions": {}, "logging": {}});
    settings.legacy_capabilities =
        Some(json!({"tools": {}, "prompts": {}, "resources": {"subscribe": true}, "completions": {}, "logging": {}}));

    let endpoint = McpEndpoint::new(Arc::new(Fixtures { sealer: input::Sealer::default() }), settings)?;
    let listener = tokio::net::TcpListener::bind(&listen).await?;
    writeln!(
        std::io::stdout(),
        "{}",
        json!({"event": "ready", "url": format!("http://{}/mcp", listener.local_addr()?)})
    )?;
    let service = endpoint.router().merge(no_oauth()).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await?;
    Ok(())
}
