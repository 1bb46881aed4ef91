//! From the parts of a request to the context of a call.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use super::cancel::InFlightGuard;
use super::context::{CallContext, ClientCapabilities, ClientInfo, InputRetry, TraceContext};
use super::era::VersionHeader;
use super::frame::{self, Meta, Params};
use super::headers::Accept;
use super::json::Json;
use super::notify::{self, Events, LogLevel, LogSender, ProgressSender};
use super::observe::Tally;
use super::protocol::{Era, ProtocolVersion};
use super::reply::RpcError;

/// Characters kept of a client's name and version.
const LONGEST_CLIENT_NAME: usize = 128;
/// W3C: 2-32-16-2 hexadecimal digits with dashes.
const TRACEPARENT_LENGTH: usize = 55;
/// W3C asks to carry at least this much.
const LONGEST_TRACESTATE: usize = 512;

/// What the HTTP request says beyond its body.
pub(super) struct Incoming<'a, P> {
    pub(super) headers: &'a HeaderMap,
    pub(super) version: VersionHeader<'a>,
    pub(super) accept: Accept,
    pub(super) principal: &'a P,
    pub(super) peer: Option<SocketAddr>,
    /// Part of a batch, whose answers come together.
    pub(super) batched: bool,
}

/// A request that passed all checks of the protocol.
pub(super) struct Call<P> {
    /// Boxed once: it is large, and goes through many hands.
    pub(super) cx: Box<CallContext<P>>,
    pub(super) target: Target,
    pub(super) tally: Tally,
    /// Held while the call runs.
    pub(super) in_flight: Option<InFlightGuard>,
    /// Present when the call may send notifications.
    pub(super) events: Option<Events>,
}

/// What to run.
pub(super) enum Target {
    Tool { name: Arc<str>, arguments: Box<str> },
    Method { name: Box<str>, params: Box<str> },
}

/// The call wants nothing but its answer: no progress, no log, and it answers no earlier question. Then [`context`]
/// would find no fault in it.
pub(super) fn is_plain(params: &Params<'_>, meta: &Meta<'_>) -> bool {
    let asks = meta.progress_token.is_some() || meta.log_level.is_some();
    let answers = params.input_responses.is_some() || params.request_state.is_some();
    !asks && !answers
}

/// Builds the context and, if the client can receive notifications, their channel.
pub(super) fn context<P: Clone>(
    incoming: &Incoming<'_, P>,
    version: ProtocolVersion,
    id: &str,
    params: &Params<'_>,
    meta: &Meta<'_>,
    legacy_logging: bool,
) -> Result<(Box<CallContext<P>>, Option<Events>), RpcError> {
    let modern = version.era() == Era::Modern;
    let token = match meta.progress_token.map(Json::get) {
        Some(token) if !frame::is_id(token) => {
            return Err(RpcError::invalid_params("_meta: progressToken must be a string or an integer"));
        }
        token => token,
    };
    let log_level = match meta.log_level.filter(|_| modern) {
        None => (legacy_logging && !modern).then_some(LogLevel::Info),
        Some(raw) => Some(
            raw.string()
                .and_then(|name| LogLevel::parse(&name))
                .ok_or_else(|| RpcError::invalid_params("_meta: logLevel is not a level"))?,
        ),
    };
    let wanted = (token.is_some() || log_level.is_some()) && incoming.accept.events && !incoming.batched;
    let (sender, events) = if wanted { Some(notify::channel()) } else { None }.unzip();
    let retry = if modern { params } else { &Params::default() };
    let cx = Box::new(CallContext {
        principal: incoming.principal.clone(),
        version,
        request_id: id.into(),
        client: meta.client.or(params.client_info).map_or_else(ClientInfo::default, client_info),
        capabilities: meta.capabilities.map_or_else(ClientCapabilities::default, capabilities),
        trace: trace(incoming.headers, meta),
        progress: token.zip(sender.clone()).map(|(token, sender)| ProgressSender::new(token, sender)),
        log: log_level.zip(sender).map(|(least, sender)| LogSender::new(least, sender)),
        cancel: CancellationToken::new(),
        input: input(retry)?,
        peer: incoming.peer,
    });
    Ok((cx, events))
}

fn input(params: &Params<'_>) -> Result<InputRetry, RpcError> {
    let responses = match params.input_responses {
        Some(json) if !json.is_object() => {
            return Err(RpcError::invalid_params("inputResponses must be an object"));
        }
        responses => responses.map(|json| json.get().into()),
    };
    let state = match params.request_state {
        None => None,
        Some(raw) => {
            let state = raw.string();
            Some(state.ok_or_else(|| RpcError::invalid_params("requestState must be a string"))?.into())
        }
    };
    Ok(InputRetry { responses, state })
}

frame::wanted! {
    struct Info { name = "name", version = "version" }
}

fn client_info(info: Json<'_>) -> ClientInfo {
    let cut = |value: Option<Json<'_>>| {
        let text = value?.string()?;
        Some(match text.char_indices().nth(LONGEST_CLIENT_NAME) {
            None => text.into(),
            Some((end, _)) => Box::from(&text[..end]),
        })
    };
    let info: Info<'_> = frame::object(Some(info)).unwrap_or_default();
    ClientInfo { name: cut(info.name), version: cut(info.version) }
}

frame::wanted! {
    struct Declared { elicitation = "elicitation", sampling = "sampling", roots = "roots", extensions = "extensions" }
}
frame::wanted! {
    struct Elicitation { form = "form", url = "url" }
}
frame::wanted! {
    struct Extensions { tasks = "io.modelcontextprotocol/tasks" }
}

fn capabilities(declared: Json<'_>) -> ClientCapabilities {
    if declared.get() == "{}" {
        return ClientCapabilities::default();
    }
    let declared: Declared<'_> = frame::object(Some(declared)).unwrap_or_default();
    let elicitation: Option<Elicitation<'_>> = declared.elicitation.and_then(|modes| frame::object(Some(modes)));
    let extensions: Extensions<'_> = frame::object(declared.extensions).unwrap_or_default();
    let url = elicitation.as_ref().is_some_and(|modes| modes.url.is_some());
    ClientCapabilities {
        // An empty object means forms, as it did before there was a choice.
        elicitation_form: elicitation.is_some_and(|modes| modes.form.is_some() || !url),
        elicitation_url: url,
        sampling: declared.sampling.is_some(),
        roots: declared.roots.is_some(),
        tasks: extensions.tasks.is_some(),
    }
}

fn trace(headers: &HeaderMap, meta: &Meta<'_>) -> TraceContext {
    let find = |json: Option<Json<'_>>, name: &str, fits: fn(&str) -> bool| -> Option<Box<str>> {
        let given = json.and_then(Json::string).filter(|text| fits(text));
        let header = || headers.get(name)?.to_str().ok().filter(|text| fits(text)).map(Cow::Borrowed);
        given.or_else(header).map(Into::into)
    };
    let traceparent = find(meta.traceparent, "traceparent", is_traceparent);
    // A state without its parent belongs to no trace.
    let tracestate = traceparent.as_ref().and_then(|_| find(meta.tracestate, "tracestate", is_tracestate));
    TraceContext { traceparent, tracestate }
}

fn is_traceparent(text: &str) -> bool {
    text.len() == TRACEPARENT_LENGTH
        && text.bytes().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_tracestate(text: &str) -> bool {
    text.len() <= LONGEST_TRACESTATE && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}
