//! The least MCP server on the Rust SDK: one tool, one reqwest call to the vendor whose URL is given. Stateless, answers in
//! JSON. Prints its own URL once it listens.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::schemars::JsonSchema;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// What is looked at in the arguments; a caller of the product sends more.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Call {
    query: Query,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Query {
    n: i64,
}

#[derive(Clone)]
#[allow(clippy::disallowed_types, reason = "the peer is what others build with reqwest")]
struct Bench {
    client: reqwest::Client,
    url: Arc<str>,
    /// Made once: by default the SDK's macro makes it anew for each call.
    tools: Arc<ToolRouter<Self>>,
}

#[tool_router]
impl Bench {
    #[tool(description = "Calls the vendor.")]
    async fn connector_execute(&self, Parameters(call): Parameters<Call>) -> Result<String, String> {
        let answer = async { self.client.get(&*self.url).query(&call.query).send().await?.text().await };
        answer.await.map_err(|error| error.to_string())
    }
}

#[tool_handler(router = self.tools)]
impl ServerHandler for Bench {}

#[tokio::main]
#[allow(clippy::disallowed_types, reason = "the peer is what others build with reqwest")]
async fn main() -> anyhow::Result<()> {
    let vendor = std::env::args().nth(1).context("the vendor's URL is missing")?;
    let bench = Bench {
        client: reqwest::Client::new(),
        url: format!("{vendor}/api/ping").into(),
        tools: Arc::new(Bench::tool_router()),
    };
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(bench.clone()), sessions, config);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    // As the yardsticks; without it small answers wait for acknowledgements.
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, Router::new().nest_service("/mcp", service)).await?)
}
