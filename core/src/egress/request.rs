//! One outbound call, as its maker describes it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::time::Instant;
use url::Url;

use super::binding::HostBinding;
use super::body::SentFlag;
use super::error::EgressError;
use super::target::parse_url;

/// Which connections a call may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolClass {
    /// Connections that were idle for up to 60 s. For calls that may be repeated.
    #[default]
    Shared,
    /// New connections, or ones used within the last second. For calls that must not be repeated: a
    /// socket that the other side has silently closed would leave their outcome unknown.
    Fresh,
}

/// Limits on one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Most bytes of body as they come. Default 64 MiB.
    pub wire_bytes: u64,
    /// Most bytes of body after decoding. Default 64 MiB.
    pub decoded_bytes: u64,
    /// Most decoded bytes for each byte on the wire. Default 100.
    pub ratio: u64,
    /// Decoded bytes before [`Caps::ratio`] is looked at: small answers compress very well. Default 1 MiB.
    pub ratio_free_bytes: u64,
    /// Longest silence: before the first byte of the answer, and between two pieces of it. Default 30 s;
    /// raise it for services that think before they answer.
    pub idle: Duration,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            wire_bytes: 64 << 20,
            decoded_bytes: 64 << 20,
            ratio: 100,
            ratio_free_bytes: 1 << 20,
            idle: Duration::from_secs(30),
        }
    }
}

/// One outbound call.
///
/// Header values cannot hold CR, LF or NUL: [`HeaderValue`] refuses them. `Host`, the framing headers and
/// everything else that [`super::is_settable_header`] refuses are set by the transport; of these only
/// `Cookie` may stand here, for services whose session is one.
///
/// `User-Agent`, `Accept` and `Accept-Encoding` are added where absent. With an `Accept-Encoding` of the
/// maker's own, gzip, deflate and brotli are still decoded.
///
/// A clone is another request: it has a [`EgressRequest::sent`] of its own.
pub struct EgressRequest {
    /// The verb; CONNECT and TRACE are refused.
    pub method: Method,
    /// The real address, also when calls are diverted.
    pub url: Url,
    /// Headers to send.
    pub headers: HeaderMap,
    /// Body, sent with `Content-Length`.
    pub body: Option<Bytes>,
    /// When the answer must have arrived completely.
    pub deadline: Instant,
    /// Which connections may be used.
    pub pool: PoolClass,
    /// Limits on the answer.
    pub caps: Caps,
    /// Hosts to which the credentials in this request may go.
    pub binding: HostBinding,
    /// Set as soon as a byte may have left; keep a clone to know it when the call is cancelled.
    pub sent: SentFlag,
}

impl EgressRequest {
    /// A call without headers and body: shared pool, default limits.
    pub fn new(method: Method, url: Url, binding: HostBinding, deadline: Instant) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            deadline,
            pool: PoolClass::Shared,
            caps: Caps::default(),
            binding,
            sent: SentFlag::default(),
        }
    }

    /// As [`EgressRequest::new`], from text and with time left instead of a deadline.
    ///
    /// # Errors
    /// [`super::EgressErrorKind::BadUrl`], see [`parse_url`].
    pub fn parse(method: Method, url: &str, binding: HostBinding, timeout: Duration) -> Result<Self, EgressError> {
        Ok(Self::new(method, parse_url(url)?, binding, Instant::now() + timeout))
    }

    /// Sets one header, replacing what was there.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets all headers.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the pool.
    #[must_use]
    pub fn with_pool(mut self, pool: PoolClass) -> Self {
        self.pool = pool;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_caps(mut self, caps: Caps) -> Self {
        self.caps = caps;
        self
    }
}

impl Clone for EgressRequest {
    fn clone(&self) -> Self {
        Self {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            deadline: self.deadline,
            pool: self.pool,
            caps: self.caps,
            binding: self.binding.clone(),
            sent: SentFlag::default(),
        }
    }
}

impl std::fmt::Debug for EgressRequest {
    /// Host, verb and sizes only: address, headers and body may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EgressRequest")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("headers", &self.headers.len())
            .field("body", &self.body.as_ref().map(Bytes::len))
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
