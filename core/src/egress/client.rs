//! The door itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, RANGE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tokio::time::Instant;
use url::{Position, Url};

use super::body::{SendBody, SentFlag};
use super::codec;
use super::connect::{CONNECT_TIMEOUT, Connector, DialError, Guard};
use super::error::{BlockReason, ConnectStage, EgressError, EgressErrorKind, SizeLimit, TimeoutPhase, UrlProblem};
use super::header::is_transport_header;
use super::policy::{Divert, EgressPolicy, PolicyError, authority_text};
use super::pool::{Pool, PoolAnswer, PoolError};
use super::reader::{BodyReader, Clock};
use super::request::{EgressRequest, PoolClass};
use super::resolve::{Resolve, SystemResolver};
use super::response::{AnswerHead, EgressResponse, EgressStream, MAX_HEADER_BYTES, MAX_HEADERS};
use super::target::{Target, TargetHost};
use super::tls;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("plugboard/", env!("CARGO_PKG_VERSION")));
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
const CODINGS: HeaderValue = HeaderValue::from_static(codec::ACCEPT_ENCODING);
const NOTHING: HeaderValue = HeaderValue::from_static("0");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Longest rest of a connection before it may not be used again.
const SHARED_IDLE: Duration = Duration::from_secs(60);
/// The same for calls that must not be repeated.
const FRESH_IDLE: Duration = Duration::from_secs(1);

/// Makes outbound calls under one policy. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
}

struct Inner {
    guard: Arc<Guard>,
    divert: Option<Divert>,
    shared: Pool,
    fresh: Pool,
}

impl Egress {
    /// With the system's resolver. Reads the machine's root certificates.
    ///
    /// # Errors
    /// [`PolicyError`]: the divert or the extra certificates are not usable.
    pub fn new(policy: EgressPolicy) -> Result<Self, PolicyError> {
        Self::with_resolver(policy, Arc::new(SystemResolver))
    }

    /// With another resolver.
    ///
    /// # Errors
    /// As [`Egress::new`].
    pub fn with_resolver(policy: EgressPolicy, resolver: Arc<dyn Resolve>) -> Result<Self, PolicyError> {
        let named_ports = ArcSwap::from_pointee(policy.named_ports.clone());
        Self::with_guard(Guard {
            policy,
            resolver,
            named_ports,
            #[cfg(test)]
            redirect: None,
            #[cfg(test)]
            dialled: parking_lot::Mutex::default(),
        })
    }

    pub(crate) fn with_guard(guard: Guard) -> Result<Self, PolicyError> {
        let divert = guard.policy.divert()?;
        for allowance in &guard.policy.allow {
            tracing::info!(%allowance, "outbound calls may reach addresses beyond the public ones");
        }
        if let Some(divert) = &divert {
            tracing::warn!(upstream = %divert.authority, "every outbound call is diverted");
        }
        let tls = Arc::new(tls::client_config(&guard.policy.extra_roots_pem)?);
        let guard = Arc::new(guard);
        let connector = Connector::new(Arc::clone(&guard), tls, CONNECT_TIMEOUT);
        let shared = Pool::new(connector.clone(), SHARED_IDLE);
        let fresh = Pool::new(connector, FRESH_IDLE);
        Ok(Self { inner: Arc::new(Inner { guard, divert, shared, fresh }) })
    }

    /// The policy in force.
    pub fn policy(&self) -> &EgressPolicy {
        &self.inner.guard.policy
    }

    /// Every address that was dialled.
    #[cfg(test)]
    pub(crate) fn dialled(&self) -> Vec<std::net::SocketAddr> {
        self.inner.guard.dialled.lock().clone()
    }

    /// Replaces the ports beside 443 and 80 that are open, each for one host: call it when the set of
    /// reviewed connectors changes. Never fill it from what a tenant wrote.
    pub fn set_named_ports(&self, ports: Vec<(String, u16)>) {
        self.inner.guard.named_ports.store(Arc::new(ports));
    }

    /// Makes the call and reads the whole answer.
    ///
    /// Every status is an answer: 3xx (not followed), 4xx and 5xx are `Ok`.
    ///
    /// # Errors
    /// [`EgressError`]; [`EgressError::not_sent`] tells whether a repeat is safe for any call. Dropping the
    /// future cancels the call; [`EgressRequest::sent`] tells then whether it may have begun.
    pub async fn send(&self, request: impl Into<Box<EgressRequest>>) -> Result<EgressResponse, EgressError> {
        self.open(request).await?.collect().await
    }

    /// Makes the call and returns as soon as the answer's headers are there.
    ///
    /// # Errors
    /// As [`Egress::send`].
    pub async fn open(&self, request: impl Into<Box<EgressRequest>>) -> Result<EgressStream, EgressError> {
        let request = request.into();
        let uri = self.admit(&request)?;
        let EgressRequest { method, url, mut headers, body, deadline, pool, caps, sent, .. } = *request;
        if deadline <= Instant::now() {
            let kind = EgressErrorKind::Timeout { sent: false, phase: TimeoutPhase::Deadline };
            return Err(error(kind, &url));
        }
        complete(&mut headers, &method, body.as_ref().is_none_or(|body| body.is_empty()));
        if self.inner.divert.is_some() {
            let host =
                HeaderValue::from_str(authority_text(&url)).map_err(|_| bad_url(UrlProblem::Unsendable, &url))?;
            headers.insert(FORWARDED_HOST, host);
        }
        let mut outgoing = Request::new(SendBody::new(body, sent.clone()));
        *outgoing.method_mut() = method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = headers;

        let pool = match pool {
            PoolClass::Shared => &self.inner.shared,
            PoolClass::Fresh => &self.inner.fresh,
        };
        let origin = match &self.inner.divert {
            Some(divert) => &divert.origin,
            None => &url[..Position::BeforePath],
        };
        let mut clock = Clock::new(deadline, caps.idle);
        let answer = tokio::select! {
            biased;
            answer = pool.send(origin, outgoing) => answer,
            phase = clock.expired() => {
                return Err(error(EgressErrorKind::Timeout { sent: sent.get(), phase }, &url));
            }
        };
        let answer = answer.map_err(|failure| classify(failure, &url, &sent))?;
        receive(answer, caps, clock, url)
    }

    /// All checks that need no socket. Returns where the request really goes.
    fn admit(&self, request: &EgressRequest) -> Result<Uri, EgressError> {
        let url = &request.url;
        let target = Target::of(url)?;
        if request.method == Method::CONNECT || request.method == Method::TRACE {
            return Err(blocked(BlockReason::Method(request.method.clone()), url));
        }
        if let Some(name) = request.headers.keys().find(|name| is_transport_header(name)) {
            return Err(blocked(BlockReason::Header(name.clone()), url));
        }
        match &self.inner.divert {
            None => {
                if !request.binding.permits(url) {
                    return Err(blocked(BlockReason::CredentialHostMismatch, url));
                }
                self.check(&target).map_err(|reason| blocked(reason, url))?;
                Uri::try_from(url.as_str()).map_err(|_| bad_url(UrlProblem::Unsendable, url))
            }
            Some(divert) => {
                // The real host is not dialled, but what production would refuse by its address is
                // refused here too.
                if let TargetHost::Literal(ip) = target.host {
                    let policy = &self.inner.guard.policy;
                    if let (Some(class), false) = (policy.class_of(ip), policy.allows((ip, target.port).into())) {
                        return Err(blocked(BlockReason::Address(class), url));
                    }
                }
                diverted(divert, url).ok_or_else(|| bad_url(UrlProblem::Unsendable, url))
            }
        }
    }

    fn check(&self, target: &Target<'_>) -> Result<(), BlockReason> {
        let Inner { guard, .. } = &*self.inner;
        match target.host {
            TargetHost::Literal(ip) => guard.policy.check(None, (ip, target.port).into(), target.plain, false),
            TargetHost::Name(name) => {
                let named = guard.is_named(name, target.port);
                guard.policy.check_name(name, target.port, target.plain, named)
            }
        }
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("diverted", &self.inner.divert.is_some()).finish_non_exhaustive()
    }
}

/// The headers that every request has.
fn complete(headers: &mut HeaderMap, method: &Method, no_body: bool) {
    headers.entry(USER_AGENT).or_insert(AGENT);
    headers.entry(ACCEPT).or_insert(ANYTHING);
    if !headers.contains_key(RANGE) {
        headers.entry(ACCEPT_ENCODING).or_insert(CODINGS);
    }
    // RFC 9110, section 8.6: a method that expects content says so even when there is none.
    if no_body && matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, NOTHING);
    }
}

/// The same path and query below the base.
fn diverted(divert: &Divert, url: &Url) -> Option<Uri> {
    let rest = &url[Position::BeforePath..Position::AfterQuery];
    let path = if divert.prefix.is_empty() {
        PathAndQuery::try_from(rest)
    } else {
        PathAndQuery::try_from([&divert.prefix, rest].concat())
    };
    Uri::builder()
        .scheme(divert.scheme.clone())
        .authority(divert.authority.clone())
        .path_and_query(path.ok()?)
        .build()
        .ok()
}

/// From the pool's answer to ours.
fn receive(
    answer: PoolAnswer,
    caps: super::request::Caps,
    clock: Clock,
    url: Url,
) -> Result<EgressStream, EgressError> {
    let PoolAnswer { head: parts, remote, body } = answer;
    let mut head = AnswerHead { status: parts.status, headers: parts.headers };
    if let Some(limit) = headers_over(&head.headers) {
        let kind = EgressErrorKind::TooLarge { what: SizeLimit::Headers, limit: limit as u64 };
        return Err(error(kind, &url).with_head(Some(head)));
    }
    match BodyReader::new(body, &mut head.headers, caps, clock, url) {
        Ok(reader) => Ok(EgressStream { head, version: parts.version, remote, reader }),
        Err(failure) => Err(failure.with_head(Some(head))),
    }
}

/// The cap that the headers exceed. hyper has caps of its own, so that memory is safe before this; for
/// bytes they are not exact.
fn headers_over(headers: &HeaderMap) -> Option<usize> {
    if headers.len() > MAX_HEADERS {
        return Some(MAX_HEADERS);
    }
    // Each field is a name, a colon, a space, a value and a line end.
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    (bytes > MAX_HEADER_BYTES).then_some(MAX_HEADER_BYTES)
}

/// From the pool's error to ours.
fn classify(failure: PoolError, url: &Url, sent: &SentFlag) -> EgressError {
    let kind = match find::<DialError>(&failure) {
        Some(DialError::Blocked(reason)) => return blocked(reason.clone(), url),
        Some(DialError::Dns(_)) => EgressErrorKind::Connect { stage: ConnectStage::Dns },
        Some(DialError::Tcp(_)) => EgressErrorKind::Connect { stage: ConnectStage::Tcp },
        Some(DialError::TimedOut) => EgressErrorKind::Connect { stage: ConnectStage::TimedOut },
        None if failure.is_connect() => EgressErrorKind::Connect { stage: ConnectStage::Handshake },
        None if !sent.get() => EgressErrorKind::Connect { stage: ConnectStage::Closed },
        None if find::<hyper::Error>(&failure).is_some_and(hyper::Error::is_parse_too_large) => {
            let limit = MAX_HEADER_BYTES as u64;
            EgressErrorKind::TooLarge { what: SizeLimit::Headers, limit }
        }
        None => EgressErrorKind::Broken,
    };
    error(kind, url).with_source(failure)
}

/// The first cause of a type.
fn find<'a, E: std::error::Error + 'static>(failure: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut cause = Some(failure);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        cause = current.source();
    }
    None
}

fn error(kind: EgressErrorKind, url: &Url) -> EgressError {
    EgressError::new(kind, url.host_str().unwrap_or_default())
}

fn blocked(reason: BlockReason, url: &Url) -> EgressError {
    error(EgressErrorKind::Blocked { reason }, url)
}

fn bad_url(problem: UrlProblem, url: &Url) -> EgressError {
    error(EgressErrorKind::BadUrl { problem }, url)
}
