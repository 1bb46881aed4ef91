//! Event streams: notifications of one request, then its response, then the end.
//!
//! A stream is opened only when there is something to send before the response, or when the call lasts so long that
//! proxies would close a silent connection. A call that ends before that is answered as plain JSON.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response};

use super::notify::Events;
use super::respond::Outcome;

const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

pub(super) enum Answer {
    /// Nothing was sent before the response.
    Plain(Outcome),
    Stream(Response<Body>),
}

/// Runs the call until it ends or has something to send.
pub(super) async fn answer(mut call: Running, mut events: Events, keep_alive: Duration) -> Answer {
    let (call, ready) = tokio::select! {
        biased;
        outcome = &mut call => match last_chunk(&mut events, Vec::new(), outcome) {
            Ok(plain) => return Answer::Plain(plain),
            Err(chunk) => (None, chunk),
        },
        Some(event) = events.recv() => (Some(call), event_chunk(&event)),
        () = tokio::time::sleep(keep_alive) => (Some(call), KEEP_ALIVE),
    };
    let open = Open { call, events, ready: Some(ready), keep_alive };
    let body = stream::unfold(open, |mut open| async move {
        let chunk = open.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), open))
    });
    Answer::Stream(response(Body::from_stream(body)))
}

struct Open {
    /// Dropped with the stream: how a client that hangs up reaches the call.
    call: Option<Running>,
    events: Events,
    ready: Option<Bytes>,
    keep_alive: Duration,
}

impl Open {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(chunk) = self.ready.take() {
            return Some(chunk);
        }
        let call = self.call.as_mut()?;
        tokio::select! {
            biased;
            Some(event) = self.events.recv() => Some(event_chunk(&event)),
            outcome = call => {
                self.call = None;
                let mut chunk = Vec::new();
                drain(&mut self.events, &mut chunk);
                push_event(&mut chunk, &outcome.body.unwrap_or_default());
                Some(chunk.into())
            }
            () = tokio::time::sleep(self.keep_alive) => Some(KEEP_ALIVE),
        }
    }
}

/// The response together with the events still queued, or the response alone if there are none.
fn last_chunk(events: &mut Events, mut chunk: Vec<u8>, outcome: Outcome) -> Result<Outcome, Bytes> {
    drain(events, &mut chunk);
    if chunk.is_empty() {
        return Ok(outcome);
    }
    push_event(&mut chunk, &outcome.body.unwrap_or_default());
    Err(chunk.into())
}

fn drain(events: &mut Events, chunk: &mut Vec<u8>) {
    while let Ok(event) = events.try_recv() {
        push_event(chunk, &event);
    }
}

/// The whole response as a stream of one event, for clients that read nothing else.
pub(super) fn single(body: &[u8]) -> Response<Body> {
    response(Body::from(event_chunk(body)))
}

fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn event_chunk(json: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 8);
    push_event(&mut out, json);
    out.into()
}

/// Line ends inside the JSON, which is white space there, become further `data` lines.
fn push_event(out: &mut Vec<u8>, json: &[u8]) {
    for line in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}
