//! HTTP around the dispatcher: who may speak, how much, and in which form the answer goes back.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use futures::future::join_all;
use futures::poll;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::value::RawValue;

use super::call::Incoming;
use super::cancel::Detachable;
use super::dispatch::Step;
use super::era::VersionHeader;
use super::headers::Accept;
use super::observe::Tally;
use super::origin::{self, Browser};
use super::protocol::{Era, ProtocolVersion, code};
use super::reply::RpcError;
use super::respond::{Id, Outcome};
use super::server::ToolServer;
use super::sse::{self, Answer};
use super::{McpEndpoint, challenge};

/// Entries of a batch. Batches are a burden of one old revision; nobody sends large ones.
const LONGEST_BATCH: usize = 64;

/// How much of a body that is too large is read before the refusal, and for how long.
const LARGEST_DISCARDED: usize = 16 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

impl<S: ToolServer> McpEndpoint<S> {
    /// Answers one HTTP request, whatever its path.
    pub async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let browser = match origin::check(&self.settings, &parts.uri, &parts.headers) {
            Ok(browser) => browser,
            Err(foreign) => {
                let error = RpcError::new(code::FORBIDDEN, foreign.to_string());
                return self.refuse(&parts, StatusCode::FORBIDDEN, &error);
            }
        };
        let mut response = if parts.method == Method::OPTIONS {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            if matches!(browser, Browser::Allowed(_)) {
                origin::preflight(&parts.headers, response.headers_mut());
            }
            response
        } else {
            self.authenticated(parts, body).await
        };
        origin::decorate(&browser, response.headers_mut());
        response
    }

    async fn authenticated(self: Arc<Self>, parts: Parts, body: Body) -> Response<Body> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let principal = match self.server.authenticate(&parts.headers, peer).await {
            Ok(principal) => principal,
            Err(failure) => {
                let id = Id::Unknown(VersionHeader::read(&parts.headers).era());
                let outcome = challenge::outcome(&failure, id, self.settings.resource_metadata.as_deref());
                Tally::new(&self.counters).finish(outcome.label);
                return json(outcome);
            }
        };
        if parts.method != Method::POST {
            // Clients probe with GET for a stream that this server does not offer; 405 is how they learn it.
            let error = RpcError::new(code::INVALID_REQUEST, "only POST is served here");
            let mut response = self.refuse(&parts, StatusCode::METHOD_NOT_ALLOWED, &error);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        if !is_json(&parts.headers) {
            let error = RpcError::new(code::INVALID_REQUEST, "Content-Type must be application/json");
            return self.refuse(&parts, StatusCode::UNSUPPORTED_MEDIA_TYPE, &error);
        }
        let body = match self.read(&parts.headers, body).await {
            Ok(body) => body,
            Err((status, error)) => return self.refuse(&parts, status, &error),
        };
        let Ok(text) = std::str::from_utf8(&body) else {
            let error = RpcError::new(code::PARSE, "the body is not valid JSON: it is not UTF-8");
            return self.refuse(&parts, StatusCode::BAD_REQUEST, &error);
        };
        let incoming = Incoming {
            headers: &parts.headers,
            version: VersionHeader::read(&parts.headers),
            accept: Accept::read(&parts.headers),
            principal: &principal,
            peer,
            batched: false,
        };
        if text.trim_ascii_start().starts_with('[') {
            return match self.batch(text, Incoming { batched: true, ..incoming }) {
                Ok(steps) => {
                    let accept = Accept::read(&parts.headers);
                    drop(body);
                    self.run_batch(steps, accept).await
                }
                Err(error) => self.refuse(&parts, StatusCode::BAD_REQUEST, &error),
            };
        }
        let accept = incoming.accept;
        match self.route(text, &incoming) {
            Step::Done(outcome) => finish(outcome, accept),
            Step::Run(mut call) => {
                // The call owns what it needs; what it came in must not wait with it, a large body least of all.
                drop((body, parts));
                let era = call.cx.era();
                let events = call.events.take();
                let tasks = self.tasks.clone();
                let keep_alive = self.settings.keep_alive;
                // Boxed, so that it is not moved on its way to whoever drives it.
                let run = Box::pin(self.run(call));
                let Some(events) = events else {
                    let outcome = match era {
                        Era::Modern => run.await,
                        Era::Legacy => Detachable::new(run, &tasks).await,
                    };
                    return finish(outcome, accept);
                };
                let running: sse::Running = match era {
                    Era::Modern => run,
                    Era::Legacy => Box::pin(Detachable::new(run, &tasks)),
                };
                match sse::answer(running, events, keep_alive).await {
                    Answer::Plain(outcome) => finish(outcome, accept),
                    Answer::Stream(response) => response,
                }
            }
        }
    }

    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, (StatusCode, RpcError)> {
        let limit = self.settings.max_body_bytes;
        let too_large = || {
            let error = RpcError::new(code::TOO_LARGE, format!("the body exceeds {limit} bytes"));
            (StatusCode::PAYLOAD_TOO_LARGE, error)
        };
        let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|length| length > limit) {
            discard(body).await;
            return Err(too_large());
        }
        let mut collecting = pin!(Limited::new(body, limit).collect());
        // Most bodies came with their headers, and need no timer.
        let collected = match poll!(collecting.as_mut()) {
            Poll::Ready(collected) => Ok(collected),
            Poll::Pending => tokio::time::timeout(self.settings.body_timeout, collecting).await,
        };
        match collected {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, RpcError::new(code::PARSE, "the body broke off"))),
            Err(_) => {
                let error = RpcError::new(code::TIMEOUT, "the body did not arrive in time");
                Err((StatusCode::REQUEST_TIMEOUT, error))
            }
        }
    }

    fn batch(&self, text: &str, incoming: Incoming<'_, S::Principal>) -> Result<Vec<Step<S::Principal>>, RpcError> {
        if incoming.version.legacy() != Some(ProtocolVersion::V2025_03_26) {
            let message = "batches exist in protocol version 2025-03-26 only; send one message per request";
            return Err(RpcError::new(code::INVALID_REQUEST, message));
        }
        let entries: Vec<&RawValue> = serde_json::from_str(text)
            .map_err(|error| RpcError::new(code::PARSE, format!("the body is not valid JSON: {error}")))?;
        if !(1..=LONGEST_BATCH).contains(&entries.len()) {
            let message = Cow::Owned(format!("a batch has 1 to {LONGEST_BATCH} messages"));
            return Err(RpcError::new(code::INVALID_REQUEST, message));
        }
        Ok(entries.into_iter().map(|entry| self.route(entry.get(), &incoming)).collect())
    }

    async fn run_batch(self: Arc<Self>, steps: Vec<Step<S::Principal>>, accept: Accept) -> Response<Body> {
        let tasks = self.tasks.clone();
        let all = join_all(steps.into_iter().map(move |step| {
            let endpoint = Arc::clone(&self);
            async move {
                match step {
                    Step::Done(outcome) => outcome,
                    Step::Run(call) => endpoint.run(call).await,
                }
            }
        }));
        let outcomes = Detachable::new(all, &tasks).await;
        let bodies: Vec<_> = outcomes.into_iter().filter_map(|outcome| outcome.body).collect();
        if bodies.is_empty() {
            return json(Outcome::accepted());
        }
        let mut joined = vec![b'['];
        joined.extend(bodies.join(&b','));
        joined.push(b']');
        finish(Outcome::ok(joined, "ok"), accept)
    }

    /// Refuses a request whose message was not read.
    fn refuse(&self, parts: &Parts, status: StatusCode, error: &RpcError) -> Response<Body> {
        let id = Id::Unknown(VersionHeader::read(&parts.headers).era());
        let outcome = Outcome::error(status, id, error);
        Tally::new(&self.counters).finish(outcome.label);
        json(outcome)
    }
}

/// A client that is still sending when the connection closes never sees why it was refused, so a body that is too large
/// is read to its end, within reason.
async fn discard(body: Body) {
    let all = async {
        let mut body = Limited::new(body, LARGEST_DISCARDED);
        while let Some(Ok(_)) = body.frame().await {}
    };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, all).await;
}

/// A missing `Content-Type` is forgiven, another one is not: browsers may send those without asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Answers in a form the client listed.
fn finish(outcome: Outcome, accept: Accept) -> Response<Body> {
    match &outcome.body {
        Some(body) if !accept.json && outcome.status == StatusCode::OK => sse::single(body),
        _ => json(outcome),
    }
}

fn json(outcome: Outcome) -> Response<Body> {
    let mut response = match outcome.body {
        None => Response::new(Body::empty()),
        Some(body) => {
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
    };
    *response.status_mut() = outcome.status;
    if let Some(challenge) = outcome.challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = outcome.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
