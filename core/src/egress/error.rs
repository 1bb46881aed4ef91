//! What can go wrong on the way out, and whether anything had been sent.

use std::fmt;

use http::{HeaderName, Method, StatusCode};

use super::address::AddressClass;
use super::response::AnswerHead;

/// Any error as a source.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A call that brought no complete answer.
///
/// `Display` and `Debug` show the host and nothing else of the address: paths and queries may hold
/// secrets. They show no header of the answer either.
pub struct EgressError {
    inner: Box<Inner>,
}

struct Inner {
    kind: EgressErrorKind,
    host: Box<str>,
    head: Option<AnswerHead>,
    source: Option<BoxError>,
}

/// What went wrong, for matching.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressErrorKind {
    /// Refused by policy. Nothing was sent.
    #[error("blocked: {reason}")]
    Blocked {
        /// Which rule refused.
        reason: BlockReason,
    },
    /// The address itself is no good. Nothing was sent.
    #[error("not a usable URL: {problem}")]
    BadUrl {
        /// What is wrong with it.
        problem: UrlProblem,
    },
    /// Failed before any byte of the request left: a repeat is safe for any call.
    #[error("could not connect: {stage}")]
    Connect {
        /// How far it came.
        stage: ConnectStage,
    },
    /// Time ran out.
    #[error("timed out: {phase}{}", if *.sent { "" } else { ", nothing was sent" })]
    Timeout {
        /// Whether any byte of the request may have left.
        sent: bool,
        /// Which clock ran out.
        phase: TimeoutPhase,
    },
    /// The connection broke after the request had begun to leave: whether the vendor acted is not known.
    #[error("the connection broke after the request had begun to leave")]
    Broken,
    /// The answer is larger than the request allows. The vendor has acted on the request.
    #[error("the answer is too large: {what} over {limit}")]
    TooLarge {
        /// What was measured.
        what: SizeLimit,
        /// The limit, in the unit that [`SizeLimit`] names.
        limit: u64,
    },
    /// The answer's body is not what its `Content-Encoding` says. The vendor has acted on the request.
    #[error("the answer is not valid {encoding}")]
    Decode {
        /// The coding that the answer claimed.
        encoding: &'static str,
    },
}

/// Why policy refused a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockReason {
    /// The host is, or resolves to, an address that is not reachable from here by policy.
    #[error("the address is {0}")]
    Address(AddressClass),
    /// Only 443, 80 and ports that the operator named are open.
    #[error("port {0} is not open for outbound calls")]
    Port(u16),
    /// Plain http is for allow-listed addresses only.
    #[error("plain http is not allowed to this address")]
    PlainHttp,
    /// A single label (`localhost`, `redis`) or a special-use name (`db.internal`) that does not lead to
    /// allow-listed addresses only.
    #[error("the name is private and its address is not on the allow list")]
    PrivateName,
    /// The request carries credentials that belong to other hosts.
    #[error("the credentials of this call are not for this host")]
    CredentialHostMismatch,
    /// The header is the transport's business ([`super::is_settable_header`]).
    #[error("the header {0} may not be set")]
    Header(HeaderName),
    /// CONNECT and TRACE are not calls.
    #[error("the method {0} is not allowed")]
    Method(Method),
    /// The socket's peer is not the address that was checked.
    #[error("the connection leads to another address than the one checked")]
    PeerMismatch,
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// It cannot be parsed at all.
    #[error("it cannot be parsed")]
    Unparsable,
    /// Neither `https` nor `http`.
    #[error("the scheme must be https (or http to an allowed address)")]
    Scheme,
    /// `user:password@`.
    #[error("user name and password may not be in a URL")]
    UserInfo,
    /// `#…`.
    #[error("a fragment is never sent")]
    Fragment,
    /// No host, or an empty one.
    #[error("the host is missing")]
    NoHost,
    /// `example.com.`
    #[error("the host ends with a dot")]
    TrailingDot,
    /// `a..b`, or a label over 63 or a name over 253 characters.
    #[error("the host has an empty or too long label")]
    Label,
    /// A character that no host name has, or a label that begins or ends with a hyphen.
    #[error("the host has a character that host names do not have")]
    Character,
    /// Port 0.
    #[error("port 0 cannot be called")]
    Port,
    /// Longer than the transport can carry (65,534 bytes).
    #[error("it is too long or holds characters that cannot be sent")]
    Unsendable,
}

/// How far a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectStage {
    /// The name could not be resolved.
    #[error("the name could not be resolved")]
    Dns,
    /// No address answered, or the connection was refused.
    #[error("no address accepted the connection")]
    Tcp,
    /// The TLS or HTTP/2 handshake failed: certificate, protocol, or a peer that does not speak it.
    #[error("the TLS handshake failed")]
    Handshake,
    /// Name, connection and handshake together took longer than [`super::CONNECT_TIMEOUT`].
    #[error("it took too long")]
    TimedOut,
    /// A pooled connection closed before the request was written, and no other could be had.
    #[error("the connection closed before the request was written")]
    Closed,
}

/// Which clock ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeoutPhase {
    /// The request's deadline.
    #[error("the deadline of the call passed")]
    Deadline,
    /// The vendor was silent for longer than [`super::Caps::idle`].
    #[error("the other side was silent for too long")]
    Idle,
}

/// What of the answer was too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeLimit {
    /// The body as it came, in bytes.
    #[error("bytes on the wire")]
    Wire,
    /// The body after decoding, in bytes.
    #[error("bytes after decoding")]
    Decoded,
    /// Decoded bytes for each byte on the wire.
    #[error("decompression ratio")]
    Ratio,
    /// Status line and headers: [`super::MAX_HEADERS`] or [`super::MAX_HEADER_BYTES`].
    #[error("headers")]
    Headers,
}

impl EgressError {
    /// For whoever makes calls, which may be something else than [`super::Egress`] in a test.
    pub fn new(kind: EgressErrorKind, host: &str) -> Self {
        let host = host.into();
        Self { inner: Box::new(Inner { kind, host, head: None, source: None }) }
    }

    pub(crate) fn bad_url(problem: UrlProblem, host: &str) -> Self {
        Self::new(EgressErrorKind::BadUrl { problem }, host)
    }

    /// With what had arrived of the answer before the failure.
    #[must_use]
    pub fn with_head(mut self, head: Option<AnswerHead>) -> Self {
        self.inner.head = head;
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &EgressErrorKind {
        &self.inner.kind
    }

    /// The host that was meant, without port; empty when the URL had none.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// True when it is certain that no byte of the request left: a repeat cannot double an effect.
    pub fn not_sent(&self) -> bool {
        match &self.inner.kind {
            EgressErrorKind::Blocked { .. } | EgressErrorKind::BadUrl { .. } | EgressErrorKind::Connect { .. } => true,
            EgressErrorKind::Timeout { sent, .. } => !sent,
            EgressErrorKind::Broken | EgressErrorKind::TooLarge { .. } | EgressErrorKind::Decode { .. } => false,
        }
    }

    /// The answer's status, if its head had arrived before the failure.
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.head.as_ref().map(|head| head.status)
    }

    /// The answer's status and headers, if they had arrived before the failure.
    pub fn head(&self) -> Option<&AnswerHead> {
        self.inner.head.as_ref()
    }
}

impl fmt::Display for EgressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.inner.host.is_empty() {
            write!(f, "{}: ", self.inner.host)?;
        }
        fmt::Display::fmt(&self.inner.kind, f)
    }
}

impl fmt::Debug for EgressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressError")
            .field("kind", &self.inner.kind)
            .field("host", &self.inner.host)
            .field("status", &self.status())
            .field("source", &self.inner.source)
            .finish()
    }
}

impl std::error::Error for EgressError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.inner.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
