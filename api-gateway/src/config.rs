//! Section `[gateway]`.

use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Address of the public listener: MCP, REST and gRPC share it.
    pub listen: String,
    /// Address of a listener for gRPC alone, of internal services; empty = gRPC is at `listen`.
    pub grpc_listen: String,
    /// The URL people and agents reach it at; empty = `http://<listen>`.
    pub public_url: String,
    /// `Origin` values allowed besides loopback ones.
    pub allowed_origins: Vec<String>,
    /// `Host` names served besides loopback ones; empty = every name (a proxy in front checks).
    pub allowed_hosts: Vec<String>,
    /// Annotate `connector_execute.service` with `x-mcp-header`, so that an edge can route by it. Some clients cannot
    /// send the header.
    pub service_header: bool,
    /// How long a call waits for its answer before it becomes a handle, in ms.
    pub default_wait_ms: u32,
    /// Deadline of a call that names none, in ms.
    pub default_deadline_ms: u32,
    /// After a stop was asked for: how long calls are still taken, while the gateway says that it is not ready, in ms.
    pub stop_grace_ms: u32,
    /// After that: how long what was begun may take to end, in ms.
    pub drain_ms: u32,
    /// Show admins of an organization what its latest calls asked for, with what may be secret masked.
    pub console_requests: bool,
}

impl GatewayConfig {
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms.into())
    }
}

/// No call may take longer.
pub const MAX_DEADLINE_MS: u32 = 900_000;

/// Longest wait for an answer: clients and proxies give up after a minute.
pub const MAX_WAIT_MS: u32 = 55_000;

/// Answers over this many bytes are kept and given out by handle.
pub const WHOLE_ANSWER_LIMIT: u64 = 4 * 1024 * 1024;
