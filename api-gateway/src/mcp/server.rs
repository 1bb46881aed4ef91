//! The seam between the protocol and the product: what a server must answer, and nothing about HTTP or JSON-RPC.
//!
//! The order of calls is a promise: [`ToolServer::authenticate`] runs before the first byte of the body is read, so
//! an unknown caller cannot make the server buffer or parse anything.

use std::borrow::Cow;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderMap;

use super::context::CallContext;
use super::protocol::Era;
use super::reply::{ArgumentProblem, ContentReply, MethodReply, RpcError, ToolReply};

/// A set of tools, served to authenticated callers.
///
/// Implementations write the asynchronous methods as plain `async fn`.
pub trait ToolServer: Send + Sync + 'static {
    /// Who calls. Cloned once per message, so it should be cheap: an `Arc` is the usual choice.
    type Principal: Clone + Send + Sync + 'static;

    /// Decides who calls, from headers alone. `peer` is known when the listener records it.
    fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = Result<Self::Principal, AuthFailure>> + Send;

    /// A stable name of the credential behind `principal` (a key id, never the key).
    /// Legacy cancellation is correlated within it.
    fn caller<'a>(&self, principal: &'a Self::Principal) -> &'a str;

    /// The answer to a call, if it lies ready: nothing is waited for, and a client has nothing to cancel. What is not
    /// answered here goes to [`ToolServer::call_tool`].
    fn ready_answer(&self, _principal: &Self::Principal, _tool: &str, _arguments: &str) -> Option<ToolReply> {
        None
    }

    /// Runs one of the declared tools. `arguments` is the text of a JSON object without repeated keys.
    ///
    /// On 2026-07-28 a client that hangs up has cancelled: this future is dropped and `cx.cancel` fires. On older
    /// revisions hanging up is not a cancellation and the future runs to its end; `cx.cancel` fires when the client
    /// sends `notifications/cancelled`.
    fn call_tool(
        &self,
        cx: Box<CallContext<Self::Principal>>,
        tool: &str,
        arguments: Box<str>,
    ) -> impl Future<Output = ToolReply> + Send;

    /// The answer to arguments that are JSON but cannot be read one way only. A tool result rather than a protocol
    /// error, because a model sees the former and seldom the latter.
    fn refuse_arguments(
        &self,
        _cx: &CallContext<Self::Principal>,
        _tool: &str,
        problem: &ArgumentProblem,
    ) -> ToolReply {
        ToolReply::Content(ContentReply::error_text(&problem.to_string()))
    }

    /// Whether this server answers `method` beyond the tools (prompts, resources, completion and the like).
    fn serves(&self, _era: Era, _method: &str) -> bool {
        false
    }

    /// Answers a method for which [`ToolServer::serves`] said yes. `params` is the text of a JSON object.
    #[allow(clippy::boxed_local, reason = "implementations keep it")]
    fn call_method(
        &self,
        _cx: Box<CallContext<Self::Principal>>,
        _method: &str,
        _params: Box<str>,
    ) -> impl Future<Output = MethodReply> + Send {
        async { MethodReply::Error(RpcError::internal("the method has no implementation")) }
    }
}

/// Why a caller was turned away; each case is one HTTP status.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthFailure {
    /// 401: the request carries no credentials.
    #[error("no API key was sent: use the header Authorization: Bearer <key>")]
    Missing,
    /// 401 with `error="invalid_token"`: unknown, expired or revoked. The text is shown to the caller.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// 403 with `error="insufficient_scope"`; `scope` names every scope the call needs, space-separated.
    #[error("{message}")]
    InsufficientScope {
        /// All scopes that would make the call succeed.
        scope: Cow<'static, str>,
        /// Shown to the caller.
        message: Cow<'static, str>,
    },
    /// 403: known, and not allowed for a reason that no scope would change.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// 429: too many requests from this caller.
    #[error("too many requests")]
    RateLimited {
        /// When a repeat may succeed.
        retry_after: Duration,
    },
    /// 503: nobody can say right now whether the key is good.
    #[error("authentication is temporarily unavailable")]
    Unavailable {
        /// When a repeat may succeed.
        retry_after: Duration,
    },
}
