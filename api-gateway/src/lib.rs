//! The gateway: MCP, REST and gRPC at one listener. It checks keys and calls, publishes jobs and waits for outcomes.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`mcp`] | Model Context Protocol over Streamable HTTP, over the trait [`mcp::ToolServer`] |
//! | [`rest`] | management under `/api/v1` |
//! | [`grpc`] | `plugboard.gateway.v1.Execution` |
//! | [`console`] | the operator console: a page over the REST API |
//! | [`calls`] | calls now and lately, for the console |
//! | [`connect_link`] | the way out of a call whose account is missing |
//! | [`submit`], [`browse`], [`results`] | the use cases behind all three |
//!
//! It never holds a vendor secret, never calls a vendor, and does not know how a job is run.

mod accounts;
mod answer;
mod arguments;
mod browse;
pub mod calls;
mod config;
mod connect_link;
pub mod console;
mod dead_letters;
mod departure;
mod earlier;
mod effects;
mod entrance;
mod farewell;
mod front;
pub mod grpc;
mod later;
pub mod mcp;
mod meters;
mod pages;
mod policy;
mod principal;
pub mod rest;
mod results;
mod retold;
mod seen;
mod state;
mod submit;
mod tool_specs;
mod tools;
mod waiters;
pub mod wiring;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::serve::{Listener, ListenerExt};
use axum::{Router, ServiceExt};
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::queue::{QueueError, Replies, survey};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;

pub use config::{GatewayConfig, MAX_DEADLINE_MS, MAX_WAIT_MS};
pub use entrance::{Dealt, Entrance};
pub use meters::Meters;
pub use state::Gateway;
pub use waiters::{Callers, Waiters};

use crate::farewell::Farewell;
use crate::front::Front;
use crate::mcp::{HostPolicy, McpEndpoint, SettingsError};
use crate::tools::Tools;

/// The end of a drain, which is for answers on their way.
const PARTING: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("the tools cannot be offered: {0}")]
    Tools(#[from] SettingsError),
    #[error("outcomes cannot be received: {0}")]
    Replies(#[from] QueueError),
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Starts serving. `beside`: what else is served there, in one process the auth service's pages. Returns when everything is
/// set up; the tasks run until `life` stops.
///
/// # Errors
/// When a setting cannot be served, or outcomes cannot be received.
pub async fn run<L>(
    gateway: Arc<Gateway>,
    replies: Arc<dyn Replies>,
    entrances: Vec<Entrance<L>>,
    beside: Router,
    life: &Lifecycle,
) -> Result<(), GatewayError>
where
    L: Listener<Addr = SocketAddr>,
{
    let waiters = gateway.waiters.clone();
    replies.subscribe(&gateway.me, Arc::new(move |outcome| waiters.deliver(outcome))).await?;
    life.supervise("directory changes", gateway.directory.clone().follow(life.stopping()));
    life.supervise("queue survey", survey::watch(gateway.queue.clone(), life.stopping()));
    let waits = gateway.config.drain().saturating_sub(PARTING);
    tokio::spawn(part(life.stopping(), waits, gateway.parting.clone()));
    let is_loopback =
        |entrance: &Entrance<L>| entrance.listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let loopback = entrances.iter().all(is_loopback);
    let front = front(gateway, loopback, beside).await?;
    let mut serving = JoinSet::new();
    for Entrance { listener, runtime } in entrances {
        let service = Farewell::new(front.clone(), life.leaving());
        let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(service);
        // axum tells the address of any listener only when something taps it.
        let server = axum::serve(listener.tap_io(|_| {}), service);
        serving.spawn_on(server.with_graceful_shutdown(life.stopping().cancelled_owned()).into_future(), &runtime);
    }
    life.supervise_result("listener", async move {
        while let Some(ended) = serving.join_next().await {
            ended.map_err(io::Error::from).flatten()?;
        }
        io::Result::Ok(())
    });
    Ok(())
}

/// Some time before a drain ends, those who still wait are sent away with a handle instead of being cut off.
async fn part(stopping: CancellationToken, waits: Duration, parting: CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(waits).await;
    parting.cancel();
}

/// gRPC, for a listener of its own or for the public one.
///
/// # Errors
/// When reflection cannot describe it.
pub async fn grpc_routes(gateway: Arc<Gateway>) -> Result<Routes, GatewayError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<plugboard_proto::gateway::v1::execution_server::ExecutionServer<grpc::GrpcExecution>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(plugboard_proto::FILE_DESCRIPTOR_SET)
            .with_service_name("plugboard.gateway.v1.Execution")
            .with_service_name("grpc.health.v1.Health")
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Routes::new(InterceptedService::new(grpc::service(gateway), grpc::admit))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

async fn front(gateway: Arc<Gateway>, loopback: bool, beside: Router) -> Result<Front<Tools>, GatewayError> {
    let mut settings = tool_specs::settings(gateway.config.service_header);
    settings.allowed_origins.clone_from(&gateway.config.allowed_origins);
    settings.allowed_hosts = match (gateway.config.allowed_hosts.as_slice(), loopback) {
        ([], true) => HostPolicy::Loopback,
        ([], false) => HostPolicy::Any,
        (names, _) => HostPolicy::Names(names.to_vec()),
    };
    let endpoint = McpEndpoint::new(Arc::new(Tools(gateway.clone())), settings)?;
    let mut ours = rest::router(gateway.clone())
        .merge(console::router(gateway.clone()))
        .merge(endpoint.router())
        .merge(mcp::no_oauth());
    if gateway.config.grpc_listen.is_empty() {
        ours = ours.merge(grpc_routes(gateway).await?.prepare().into_axum_router());
    }
    Ok(Front::new(endpoint, ours.merge(beside).fallback(rest::unknown)))
}
