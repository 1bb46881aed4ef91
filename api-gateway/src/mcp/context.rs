//! What a tool may know about the call it serves, apart from its arguments.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::notify::{LogSender, ProgressSender};
use super::protocol::{Era, ProtocolVersion};

/// One call's surroundings. Owned, so that a call may outlive the connection it came from.
#[derive(Debug)]
pub struct CallContext<P> {
    /// Who calls.
    pub principal: P,
    /// The revision the request is served under.
    pub version: ProtocolVersion,
    /// The JSON-RPC id exactly as it was written.
    pub request_id: Box<str>,
    /// What the client says it is. Untrusted, for logs only.
    pub client: ClientInfo,
    /// What the client declared for this request.
    pub capabilities: ClientCapabilities,
    /// W3C trace context: from `_meta`, else from the HTTP headers.
    pub trace: TraceContext,
    /// Present when the client asked for progress and can receive it.
    pub progress: Option<ProgressSender>,
    /// Present when the client asked for log messages and can receive them.
    pub log: Option<LogSender>,
    /// Fires when the client gives up; see [`super::ToolServer::call_tool`].
    pub cancel: CancellationToken,
    /// The answers to an earlier "input required", if this call is its repeat.
    pub input: InputRetry,
    /// The other end of the connection, when the listener records it.
    pub peer: Option<SocketAddr>,
}

impl<P> CallContext<P> {
    /// The era of [`Self::version`].
    #[must_use]
    pub fn era(&self) -> Era {
        self.version.era()
    }
}

/// The client's own name for itself; long values are cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// `clientInfo.name`.
    pub name: Option<Box<str>>,
    /// `clientInfo.version`.
    pub version: Option<Box<str>>,
}

/// The declared abilities a server may rely on during one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCapabilities {
    /// The client can show a form.
    pub elicitation_form: bool,
    /// The client can send its user to a link.
    pub elicitation_url: bool,
    /// The client can run a model.
    pub sampling: bool,
    /// The client can list its roots.
    pub roots: bool,
    /// The client understands handles for long work (extension `io.modelcontextprotocol/tasks`).
    pub tasks: bool,
}

/// W3C trace context as received; values are checked for length and alphabet only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`.
    pub traceparent: Option<Box<str>>,
    /// `tracestate`.
    pub tracestate: Option<Box<str>>,
}

/// What a client sends back after "input required" (2026-07-28 only). Both parts come from the client and are to be
/// treated as hostile: `request_state` must be sealed by whoever issued it.
#[derive(Debug, Default)]
pub struct InputRetry {
    /// `inputResponses`, the text of a JSON object.
    pub responses: Option<Box<str>>,
    /// `requestState`, decoded.
    pub state: Option<Box<str>>,
}
