//! Reading one answer's body against the clock and the caps.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use url::Url;

use super::codec::Codec;
use super::error::{EgressError, EgressErrorKind, SizeLimit, TimeoutPhase};
use super::pool::AnswerBody;
use super::request::Caps;

/// Bytes handed to a decoder between two looks at the task's budget.
const SLICE: usize = 16 * 1024;
/// Largest buffer reserved on the word of a `Content-Length`.
const TRUSTED_LENGTH: u64 = 1 << 20;

/// A timer that rings so much later than it was set to belongs to a process that stood still: stopped, swapped out, or
/// without a processor.
const OVERSLEPT: Duration = Duration::from_millis(250);
/// What came meanwhile lies in the socket, and is read within this time. An interrupted wait for sockets and timers tells of
/// the timers alone.
const CATCHES_UP_WITHIN: Duration = Duration::from_millis(250);

/// The two clocks of a call, on one timer.
pub(crate) struct Clock {
    alarm: Pin<Box<Sleep>>,
    deadline: Instant,
    idle: Duration,
}

impl Clock {
    pub(crate) fn new(deadline: Instant, idle: Duration) -> Self {
        let alarm = Box::pin(sleep_until(earlier(deadline, idle)));
        Self { alarm, deadline, idle }
    }

    /// Something was heard.
    fn heard(&mut self) {
        self.alarm.as_mut().reset(earlier(self.deadline, self.idle));
    }

    /// Whoever waits for it listens for the answer first.
    pub(crate) async fn expired(&mut self) -> TimeoutPhase {
        let at = self.alarm.deadline();
        self.alarm.as_mut().await;
        if at.elapsed() > OVERSLEPT {
            sleep(CATCHES_UP_WITHIN).await;
        }
        if at >= self.deadline { TimeoutPhase::Deadline } else { TimeoutPhase::Idle }
    }
}

fn earlier(deadline: Instant, idle: Duration) -> Instant {
    Instant::now().checked_add(idle).map_or(deadline, |silence| deadline.min(silence))
}

/// The body of one answer.
pub(crate) struct BodyReader {
    body: AnswerBody,
    codec: Codec,
    caps: Caps,
    wire: u64,
    clock: Clock,
    /// For the host in errors.
    url: Url,
    ended: bool,
}

impl BodyReader {
    /// Looks at the announced length, and takes the content coding out of the headers if it is one of ours.
    pub(crate) fn new(
        body: AnswerBody,
        headers: &mut HeaderMap,
        caps: Caps,
        clock: Clock,
        url: Url,
    ) -> Result<Self, EgressError> {
        let announced = body.size_hint().lower();
        let codec = if body.is_end_stream() { Codec::Identity } else { Codec::of(headers, &caps) };
        let mut reader = Self { body, codec, caps, wire: 0, clock, url, ended: false };
        reader.count(announced)?;
        reader.wire = 0;
        if !reader.codec.is_identity() {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
        }
        Ok(reader)
    }

    pub(crate) fn wire_bytes(&self) -> u64 {
        self.wire
    }

    pub(crate) fn decoded_bytes(&self) -> u64 {
        self.codec.total().unwrap_or(self.wire)
    }

    /// The next piece, decoded; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        while !self.ended {
            let data = self.data().await?;
            let piece = match data {
                Some(data) if self.codec.is_identity() => data,
                Some(data) => {
                    self.decode(&data).await?;
                    self.codec.flush().map_err(|_| self.coding_error())?;
                    self.codec.take()
                }
                None => {
                    self.finish()?;
                    self.codec.take()
                }
            };
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The rest at once. A body that came in one piece is not copied.
    pub(crate) async fn rest(&mut self) -> Result<Bytes, EgressError> {
        if !self.codec.is_identity() {
            while let Some(data) = self.data().await? {
                self.decode(&data).await?;
            }
            self.finish()?;
            return Ok(self.codec.take());
        }
        let Some(first) = self.data().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.data().await? else {
            return Ok(first);
        };
        let left = self.body.size_hint().lower().min(TRUSTED_LENGTH);
        let left = usize::try_from(left).unwrap_or_default();
        let mut whole = BytesMut::with_capacity(first.len() + second.len() + left);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(data) = self.data().await? {
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }

    /// The next piece as it came. Trailers are dropped.
    async fn data(&mut self) -> Result<Option<Bytes>, EgressError> {
        while !self.ended {
            // Most pieces are there already; the timer is touched only when one is not.
            let frame = match self.body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    self.clock.heard();
                    tokio::select! {
                        biased;
                        frame = self.body.frame() => frame,
                        phase = self.clock.expired() => {
                            return Err(self.error(EgressErrorKind::Timeout { sent: true, phase }));
                        }
                    }
                }
            };
            match frame {
                None => self.ended = true,
                Some(Err(error)) => {
                    return Err(self.error(EgressErrorKind::Broken).with_source(error));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.count(data.len() as u64)?;
                        tokio::task::consume_budget().await;
                        return Ok(Some(data));
                    }
                }
            }
        }
        Ok(None)
    }

    fn count(&mut self, bytes: u64) -> Result<(), EgressError> {
        self.wire = self.wire.saturating_add(bytes);
        if self.wire > self.caps.wire_bytes {
            return Err(self.too_large(SizeLimit::Wire, self.caps.wire_bytes));
        }
        if self.codec.is_identity() && self.wire > self.caps.decoded_bytes {
            return Err(self.too_large(SizeLimit::Decoded, self.caps.decoded_bytes));
        }
        Ok(())
    }

    async fn decode(&mut self, data: &[u8]) -> Result<(), EgressError> {
        for slice in data.chunks(SLICE) {
            self.codec.write(slice, self.wire).map_err(|_| self.coding_error())?;
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EgressError> {
        // Some servers name a coding for no body at all.
        if self.wire == 0 {
            return Ok(());
        }
        self.codec.finish().map_err(|_| self.coding_error())
    }

    fn coding_error(&self) -> EgressError {
        match self.codec.over() {
            Some((what, limit)) => self.too_large(what, limit),
            None => self.error(EgressErrorKind::Decode { encoding: self.codec.name() }),
        }
    }

    fn too_large(&self, what: SizeLimit, limit: u64) -> EgressError {
        self.error(EgressErrorKind::TooLarge { what, limit })
    }

    fn error(&self, kind: EgressErrorKind) -> EgressError {
        EgressError::new(kind, self.url.host_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_slept_looks_what_came_meanwhile() {
        const WAIT: Duration = Duration::from_secs(8);
        let awake = async |sleeps: Duration| {
            let mut clock = Clock::new(Instant::now() + WAIT, WAIT * 2);
            tokio::time::advance(sleeps).await;
            let began = Instant::now();
            clock.expired().await;
            began.elapsed()
        };
        assert!(awake(WAIT).await < CATCHES_UP_WITHIN);
        assert!(awake(WAIT * 2).await >= CATCHES_UP_WITHIN);
    }
}
