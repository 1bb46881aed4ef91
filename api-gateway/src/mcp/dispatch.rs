//! What each message of either era means. The order of the checks follows the revision of 2026-07-28: a client tells
//! from the first error what to change.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt as _;
use http::StatusCode;

use super::McpEndpoint;
use super::call::{self, Call, Incoming, Target};
use super::cancel::Hangup;
use super::challenge;
use super::context::CallContext;
use super::era::{self, VersionHeader};
use super::frame::{self, Message, Meta, Params};
use super::headers;
use super::json::Json;
use super::notify::Events;
use super::observe::Tally;
use super::protocol::{Era, ProtocolVersion, code};
use super::reply::{ArgumentProblem, MethodReply, RpcError, ToolReply};
use super::respond::{self, Id, Outcome};
use super::server::ToolServer;
use super::strict_json::{self, ScanError};

/// Methods of the past that modern requests must not find.
const REMOVED: [&str; 5] = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// What a message leads to.
pub(super) enum Step<P> {
    /// Answered without the server's help.
    Done(Outcome),
    /// The server has to run.
    Run(Call<P>),
}

/// A refusal and the status it carries.
struct Refusal(StatusCode, RpcError);

impl From<RpcError> for Refusal {
    fn from(error: RpcError) -> Self {
        Self(StatusCode::BAD_REQUEST, error)
    }
}

impl Refusal {
    /// Legacy clients and wrong calls of existing methods get JSON-RPC errors over HTTP 200.
    fn ok(error: RpcError) -> Self {
        Self(StatusCode::OK, error)
    }
}

/// One request after parsing.
struct Request<'a> {
    id: &'a str,
    method: Cow<'a, str>,
    params: Option<Json<'a>>,
    problem: Option<ArgumentProblem>,
}

impl<S: ToolServer> McpEndpoint<S> {
    /// Decides about one message.
    pub(super) fn route(&self, text: &str, incoming: &Incoming<'_, S::Principal>) -> Step<S::Principal> {
        let mut tally = Tally::new(&self.counters);
        let unknown = Id::Unknown(incoming.version.era());
        let problem = match strict_json::scan(text) {
            Ok(problem) => problem,
            Err(error) => {
                let code = match error {
                    ScanError::Syntax { .. } => code::PARSE,
                    ScanError::DuplicateKey { .. } | ScanError::TooDeep => code::INVALID_REQUEST,
                };
                let id = match frame::check(text).map(|()| frame::read(text)) {
                    Ok(Ok(Message::Request { id, .. })) => Id::Known(id),
                    _ => unknown,
                };
                let error = RpcError::new(code, error.to_string());
                return done(tally, Outcome::error(StatusCode::BAD_REQUEST, id, &error));
            }
        };
        if problem.is_some()
            && let Err(error) = frame::check(text)
        {
            let error = RpcError::new(code::PARSE, format!("the body is not valid JSON: {error}"));
            return done(tally, Outcome::error(StatusCode::BAD_REQUEST, unknown, &error));
        }
        match frame::read(text) {
            Err(bad) => {
                let id = bad.id.map_or(unknown, Id::Known);
                let error = RpcError::new(bad.code, bad.what);
                done(tally, Outcome::error(StatusCode::BAD_REQUEST, id, &error))
            }
            Ok(Message::Response) => {
                if incoming.version.era() == Era::Legacy {
                    return done(tally, Outcome::accepted());
                }
                let error =
                    RpcError::new(code::INVALID_REQUEST, "this server sends no requests, so it takes no responses");
                done(tally, Outcome::error(StatusCode::BAD_REQUEST, unknown, &error))
            }
            Ok(Message::Notification { method, params }) => {
                tally.method(&method);
                let outcome = match self.notification(&method, params, incoming, &mut tally) {
                    Ok(()) => Outcome::accepted(),
                    Err(Refusal(status, error)) => Outcome::error(status, unknown, &error),
                };
                done(tally, outcome)
            }
            Ok(Message::Request { id, method, params }) => {
                tally.method(&method);
                let request = Request { id, method, params, problem };
                self.request(&request, incoming, tally)
            }
        }
    }

    fn notification(
        &self,
        method: &str,
        params: Option<Json<'_>>,
        incoming: &Incoming<'_, S::Principal>,
        tally: &mut Tally,
    ) -> Result<(), Refusal> {
        match incoming.version {
            VersionHeader::Unknown(text) => return Err(era::unsupported(text).into()),
            VersionHeader::Served(version) if version.era() == Era::Modern => {
                tally.version(version);
                headers::check_method(incoming.headers, method, false)?;
            }
            header => {
                if let Some(version) = header.legacy() {
                    tally.version(version);
                }
                let params: Params<'_> = frame::object(params).unwrap_or_default();
                if method == "notifications/cancelled"
                    && let Some(id) = params.request_id.filter(|id| frame::is_id(id.get()))
                {
                    self.in_flight.cancel(self.server.caller(incoming.principal), incoming.headers, id.get());
                }
            }
        }
        Ok(())
    }

    fn request(
        &self,
        request: &Request<'_>,
        incoming: &Incoming<'_, S::Principal>,
        mut tally: Tally,
    ) -> Step<S::Principal> {
        let mut prepare = || {
            let params: Params<'_> =
                frame::object(request.params).ok_or_else(|| RpcError::invalid_params("params cannot be read"))?;
            let meta: Meta<'_> =
                frame::object(params.meta).ok_or_else(|| RpcError::invalid_params("params._meta must be an object"))?;
            let tolerate = self.settings.tolerate_version_mismatch;
            let version = era::classify(incoming.version, &meta, &request.method, tolerate)?;
            tally.version(version);
            match version.era() {
                Era::Modern => self.modern(request, incoming, version, &params, &meta),
                Era::Legacy => self.legacy(request, incoming, version, &params, &meta, &mut tally),
            }
        };
        match prepare() {
            Ok(Next::Answer(outcome)) => done(tally, outcome),
            Ok(Next::Call(prepared)) => {
                let (cx, events, target) = prepared;
                let in_flight = (cx.era() == Era::Legacy).then(|| {
                    let caller = self.server.caller(&cx.principal);
                    self.in_flight.enter(caller, incoming.headers, request.id, &cx.cancel)
                });
                Step::Run(Call { cx, target, tally, in_flight, events })
            }
            Err(Refusal(status, error)) => done(tally, Outcome::error(status, Id::Known(request.id), &error)),
        }
    }

    fn modern(
        &self,
        request: &Request<'_>,
        incoming: &Incoming<'_, S::Principal>,
        version: ProtocolVersion,
        params: &Params<'_>,
        meta: &Meta<'_>,
    ) -> Result<Next<S::Principal>, Refusal> {
        let method = request.method.as_ref();
        headers::check_method(incoming.headers, method, true)?;
        match method {
            "server/discover" => Ok(prepared(request, &self.advert.discover)),
            "tools/list" => {
                no_cursor(params)?;
                Ok(prepared(request, &self.advert.modern_tools))
            }
            "tools/call" => self.tool(request, incoming, version, params, meta),
            _ if REMOVED.contains(&method) || !self.server.serves(Era::Modern, method) => {
                Err(Refusal(StatusCode::NOT_FOUND, no_method(method)))
            }
            _ => {
                if let Some(named) = mirrored(method, params) {
                    let name = named.and_then(Json::string);
                    let name =
                        name.ok_or_else(|| RpcError::invalid_params("the parameter that names the target is missing"))?;
                    headers::check_name(incoming.headers, &name)?;
                }
                self.extra(request, incoming, version, params, meta)
            }
        }
    }

    fn legacy(
        &self,
        request: &Request<'_>,
        incoming: &Incoming<'_, S::Principal>,
        version: ProtocolVersion,
        params: &Params<'_>,
        meta: &Meta<'_>,
        tally: &mut Tally,
    ) -> Result<Next<S::Principal>, Refusal> {
        match request.method.as_ref() {
            "initialize" if incoming.batched => {
                Err(RpcError::new(code::INVALID_REQUEST, "initialize must not be part of a batch").into())
            }
            "initialize" => {
                let negotiated = negotiate(params)?;
                tally.version(negotiated);
                Ok(prepared(request, self.advert.initialize(negotiated)))
            }
            "ping" => Ok(prepared(request, b"{}")),
            "tools/list" => {
                no_cursor(params)?;
                Ok(prepared(request, &self.advert.legacy_tools))
            }
            "tools/call" => self.tool(request, incoming, version, params, meta),
            method if self.server.serves(Era::Legacy, method) => self.extra(request, incoming, version, params, meta),
            method => Err(Refusal::ok(no_method(method))),
        }
    }

    fn tool(
        &self,
        request: &Request<'_>,
        incoming: &Incoming<'_, S::Principal>,
        version: ProtocolVersion,
        params: &Params<'_>,
        meta: &Meta<'_>,
    ) -> Result<Next<S::Principal>, Refusal> {
        let name = params.name.and_then(Json::string);
        let name = name.ok_or_else(|| Refusal::ok(RpcError::invalid_params("params.name must be a string")))?;
        let modern = version.era() == Era::Modern;
        if modern {
            headers::check_name(incoming.headers, &name)?;
        }
        let Some((name, tool)) = self.advert.tool(&name) else {
            let known = self.settings.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>().join(", ");
            let message = format!("there is no tool {:?}; there are: {known}", headers::shown(&name));
            return Err(Refusal::ok(RpcError::invalid_params(message)));
        };
        let arguments = match params.arguments {
            None => Json::scanned("{}"),
            Some(json) if json.is_object() => json,
            Some(_) => return Err(Refusal::ok(RpcError::invalid_params("params.arguments must be an object"))),
        };
        if modern {
            for header in &tool.headers {
                header.check(incoming.headers, arguments)?;
            }
        }
        if request.problem.is_none()
            && call::is_plain(params, meta)
            && let Some(reply) = self.server.ready_answer(incoming.principal, name, arguments.get())
        {
            return Ok(Next::Answer(self.tool_outcome(request.id, version, reply)));
        }
        let (cx, events) = call::context(incoming, version, request.id, params, meta, self.advert.legacy_logging)?;
        if let Some(problem) = &request.problem {
            let reply = self.server.refuse_arguments(&cx, name, problem);
            return Ok(Next::Answer(self.tool_outcome(request.id, version, reply)));
        }
        let target = Target::Tool { name: Arc::clone(name), arguments: arguments.get().into() };
        Ok(Next::Call((cx, events, target)))
    }

    /// A method that the server answers beyond the tools.
    fn extra(
        &self,
        request: &Request<'_>,
        incoming: &Incoming<'_, S::Principal>,
        version: ProtocolVersion,
        params: &Params<'_>,
        meta: &Meta<'_>,
    ) -> Result<Next<S::Principal>, Refusal> {
        if let Some(problem) = &request.problem {
            return Err(RpcError::invalid_params(problem.to_string()).into());
        }
        let (cx, events) = call::context(incoming, version, request.id, params, meta, self.advert.legacy_logging)?;
        let params = request.params.map_or("{}", Json::get).into();
        let target = Target::Method { name: request.method.as_ref().into(), params };
        Ok(Next::Call((cx, events, target)))
    }

    /// Runs a call to its end. Dropped before, it counts as cancelled.
    pub(super) async fn run(self: Arc<Self>, call: Call<S::Principal>) -> Outcome {
        let Call { cx, target, tally, in_flight, events: _ } = call;
        let (id, version, cancel) = (cx.request_id.clone(), cx.version, cx.cancel.clone());
        let work = async {
            match target {
                Target::Tool { name, arguments } => {
                    let reply = self.server.call_tool(cx, &name, arguments).await;
                    self.tool_outcome(&id, version, reply)
                }
                Target::Method { name, params } => {
                    let reply = self.server.call_method(cx, &name, params).await;
                    self.method_outcome(&id, version, reply)
                }
            }
        };
        // One faulty call must not take down the connection, which other calls may share.
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        // Declared last, so dropped first: the call's own clean-up sees that it was cancelled.
        let hangup = Hangup::new(cancel);
        let outcome = work.as_mut().await.unwrap_or_else(|_| {
            tracing::error!("a call ended in a panic");
            Outcome::error(StatusCode::OK, Id::Known(&id), &RpcError::internal("internal error"))
        });
        hangup.disarm();
        drop(in_flight);
        tally.finish(outcome.label);
        outcome
    }

    fn tool_outcome(&self, id: &str, version: ProtocolVersion, reply: ToolReply) -> Outcome {
        let label = |is_error| if is_error { "tool_error" } else { "ok" };
        match reply {
            ToolReply::Envelope(reply) => {
                Outcome::ok(respond::envelope(id, version, &self.advert, &reply), label(reply.is_error))
            }
            ToolReply::Written(reply) => Outcome::ok(respond::written(id, version, &self.advert, reply.bytes()), "ok"),
            ToolReply::Content(reply) => {
                Outcome::ok(respond::content(id, version, &self.advert, &reply), label(reply.is_error))
            }
            ToolReply::InputRequired(ask) => self.method_outcome(id, version, MethodReply::InputRequired(ask)),
            ToolReply::Error(error) => self.method_outcome(id, version, MethodReply::Error(error)),
            ToolReply::Denied(failure) => self.method_outcome(id, version, MethodReply::Denied(failure)),
        }
    }

    fn method_outcome(&self, id: &str, version: ProtocolVersion, reply: MethodReply) -> Outcome {
        match reply {
            MethodReply::Result(reply) => Outcome::ok(respond::method(id, version, &self.advert, &reply), "ok"),
            MethodReply::InputRequired(ask) if version.era() == Era::Modern => {
                Outcome::ok(respond::input_required(id, version, &self.advert, &ask), "input_required")
            }
            MethodReply::InputRequired(_) => {
                let error = RpcError::internal("the call needs input that this protocol version cannot ask for");
                Outcome::error(StatusCode::OK, Id::Known(id), &error)
            }
            MethodReply::Error(error) => Outcome::error(respond::error_status(&error, version), Id::Known(id), &error),
            MethodReply::Denied(failure) => {
                challenge::outcome(&failure, Id::Known(id), self.settings.resource_metadata.as_deref())
            }
        }
    }
}

enum Next<P> {
    Answer(Outcome),
    Call((Box<CallContext<P>>, Option<Events>, Target)),
}

fn done<P>(tally: Tally, outcome: Outcome) -> Step<P> {
    tally.finish(outcome.label);
    Step::Done(outcome)
}

fn prepared<P>(request: &Request<'_>, result: &[u8]) -> Next<P> {
    Next::Answer(Outcome::ok(respond::prepared(request.id, result), "ok"))
}

/// The tool list has one page, so no cursor was ever given out.
fn no_cursor(params: &Params<'_>) -> Result<(), Refusal> {
    match params.cursor {
        None => Ok(()),
        Some(_) => Err(Refusal::ok(RpcError::invalid_params("unknown cursor"))),
    }
}

fn negotiate(params: &Params<'_>) -> Result<ProtocolVersion, Refusal> {
    let Some(raw) = params.protocol_version else { return Ok(ProtocolVersion::NEWEST_LEGACY) };
    let asked =
        raw.string().ok_or_else(|| Refusal::ok(RpcError::invalid_params("protocolVersion must be a string")))?;
    let served = ProtocolVersion::parse(&asked).filter(|version| version.era() == Era::Legacy);
    Ok(served.unwrap_or(ProtocolVersion::NEWEST_LEGACY))
}

/// The parameter that `Mcp-Name` repeats, for methods that have one.
fn mirrored<'a>(method: &str, params: &Params<'a>) -> Option<Option<Json<'a>>> {
    match method {
        "prompts/get" => Some(params.name),
        "resources/read" => Some(params.uri),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some(params.task_id),
        _ => None,
    }
}

fn no_method(method: &str) -> RpcError {
    RpcError::new(code::METHOD_NOT_FOUND, format!("there is no method {:?}", headers::shown(method)))
}
