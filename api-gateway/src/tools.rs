//! The three tools over MCP: decode, call the use case, encode.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use http::HeaderMap;
use plugboard_core::error::{CallError, ErrorCode};
use plugboard_core::event_loops;
use plugboard_core::identity::Principal;
use plugboard_core::job::TraceContext;
use plugboard_core::telemetry::{CallTrace, SPANS, SpanKind};
use tracing::Instrument;
use tracing::field::Empty;

use crate::answer::Answer;
use crate::arguments::Request;
use crate::connect_link::{Ask, Resumed};
use crate::mcp::{
    ArgumentProblem, AuthFailure, CallContext, Envelope, Era, InputRequired, RpcError, ToolReply, ToolServer, Written,
};
use crate::principal::KeyProblem;
use crate::seen;
use crate::state::Gateway;
use crate::tool_specs::{CONNECTOR_EXECUTE, DESCRIBE_SERVICE, LIST_SERVICES};

/// The production tools.
#[derive(Debug, Clone)]
pub struct Tools(pub Arc<Gateway>);

impl ToolServer for Tools {
    type Principal = Arc<Principal>;

    async fn authenticate(
        &self,
        headers: &HeaderMap,
        _peer: Option<SocketAddr>,
    ) -> Result<Self::Principal, AuthFailure> {
        self.0.principal(headers).await.map_err(|problem| match problem {
            KeyProblem::Missing => AuthFailure::Missing,
            KeyProblem::Refused => AuthFailure::Invalid(problem.to_string().into()),
            KeyProblem::Unavailable => AuthFailure::Unavailable { retry_after: Duration::from_secs(1) },
        })
    }

    fn caller<'a>(&self, principal: &'a Self::Principal) -> &'a str {
        principal.key_id.as_str()
    }

    fn ready_answer(&self, principal: &Self::Principal, tool: &str, arguments: &str) -> Option<ToolReply> {
        let page = match tool {
            LIST_SERVICES => self.0.kept_list(principal, arguments),
            DESCRIBE_SERVICE => self.0.kept_passport(principal, arguments),
            _ => None,
        };
        page.map(ToolReply::Written)
    }

    async fn call_tool(&self, cx: Box<CallContext<Self::Principal>>, tool: &str, arguments: Box<str>) -> ToolReply {
        match tool {
            LIST_SERVICES => {
                // A search looks at the whole catalog.
                let (gateway, principal) = (self.0.clone(), cx.principal.clone());
                let list = async move { gateway.list_page(&principal, &arguments).await };
                page(event_loops::aside(list.boxed()).await)
            }
            DESCRIBE_SERVICE => page(self.0.passport_page(&cx.principal, &arguments)),
            CONNECTOR_EXECUTE => self.execute(&cx, &arguments).await,
            // The protocol layer has checked the name against the declared tools.
            _ => ToolReply::Error(RpcError::invalid_params(format!("there is no tool {tool:?}"))),
        }
    }

    fn refuse_arguments(
        &self,
        _cx: &CallContext<Self::Principal>,
        _tool: &str,
        problem: &ArgumentProblem,
    ) -> ToolReply {
        reply(Answer::failed(CallError::argument("arguments", format!("{problem}."))))
    }
}

impl Tools {
    /// A client that can send its person to a link is asked to, when an account is missing; others find a link in the
    /// answer.
    async fn execute(&self, cx: &CallContext<Arc<Principal>>, arguments: &str) -> ToolReply {
        let mut may_ask = cx.era() == Era::Modern && cx.capabilities.elicitation_url;
        if let Some(state) = &cx.input.state {
            match Box::pin(self.0.resume(&cx.principal, arguments, state, cx.input.responses.as_deref())).await {
                Resumed::Call => {}
                Resumed::Declined => may_ask = false,
                Resumed::Ask(ask) => return asking(ask),
                Resumed::Failed(answer) => return reply(answer),
                Resumed::Refused => {
                    let message = "requestState is not one that this server issued for this call, or is too old";
                    return ToolReply::Error(RpcError::invalid_params(message));
                }
            }
        }
        let answer = match self.call(cx, arguments).await {
            Ok(answer) => answer,
            Err(error) => return refused(error),
        };
        if may_ask && let Some(ask) = Box::pin(self.0.ask_to_connect(&cx.principal, arguments, &answer)).await {
            return asking(ask);
        }
        reply(self.0.with_link(&cx.principal, answer).await)
    }

    async fn call(&self, cx: &CallContext<Arc<Principal>>, arguments: &str) -> Result<Answer, CallError> {
        let received = TraceContext {
            traceparent: cx.trace.traceparent.as_deref().unwrap_or_default().to_owned(),
            tracestate: cx.trace.tracestate.as_deref().unwrap_or_default().to_owned(),
        };
        let trace = CallTrace::begin("mcp request", SpanKind::Server, received, || {
            tracing::info_span!(
                target: SPANS,
                "mcp request",
                otel.kind = "server",
                otel.status_code = Empty,
                mcp.method.name = "tools/call",
                gen_ai.tool.name = CONNECTOR_EXECUTE,
            )
        });
        let executed = async {
            match Request::parse(arguments) {
                Ok(request) => self.0.execute(&cx.principal, request, &trace).await,
                Err(error) => Ok(Answer::failed(error)),
            }
        };
        let answer = executed.instrument(trace.span()).await;
        seen::ended(&trace, &answer);
        answer
    }
}

fn asking(ask: Ask) -> ToolReply {
    ToolReply::InputRequired(InputRequired { requests: Some(ask.requests), state: Some(ask.state) })
}

fn page(page: Result<Written, CallError>) -> ToolReply {
    page.map_or_else(refused, ToolReply::Written)
}

fn reply(answer: Answer) -> ToolReply {
    ToolReply::Envelope(if answer.ok { Envelope::ok(answer.json) } else { Envelope::error(answer.json) })
}

/// A missing scope is the transport's business (403 with a challenge); everything else is an answer.
fn refused(error: CallError) -> ToolReply {
    if error.code != ErrorCode::AuthPermissionDenied {
        return reply(Answer::failed(error));
    }
    let scope = error
        .fix
        .as_ref()
        .and_then(|fix| fix.options.first())
        .and_then(|scope| scope.as_str())
        .unwrap_or_default()
        .to_owned();
    ToolReply::Denied(AuthFailure::InsufficientScope {
        scope: scope.into(),
        message: format!("{}: {}", error.code, error.message).into(),
    })
}
