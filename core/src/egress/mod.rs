//! The only way out of the building: every byte that Plugboard sends to a host that is not its own
//! (vendor APIs, token endpoints, attached MCP servers, forwarded events, fetched documents) goes
//! through one [`Egress`].
//!
//! # What it promises
//!
//! * The address that is checked is the address that is dialled. The connector resolves the name,
//!   refuses if *any* answer is forbidden (of `localhost`, it keeps the allowed ones), dials one of the
//!   checked addresses and compares the peer's address before the first byte. Literals take the same path.
//! * Whatever is not globally routable is forbidden unless an [`Allowance`] names it.
//! * A request that carries credentials goes only to the hosts in its [`HostBinding`].
//! * No redirect is followed, no proxy is read from the environment, no cookie or referrer is kept, and
//!   a request of which one byte may have left is never sent again.
//! * An error says whether anything was sent ([`EgressError::not_sent`]) and never shows more of the
//!   address than its host: paths and queries may hold secrets.
//!
//! # Settings and limits
//!
//! | what | value | where |
//! | --- | --- | --- |
//! | look-up of a name | 5 s, at most 16 addresses dialled | [`DNS_TIMEOUT`], [`MAX_ADDRESSES`] |
//! | connect, TLS handshake included | 5 s | [`CONNECT_TIMEOUT`] |
//! | the whole call | the request's deadline | [`EgressRequest::deadline`] |
//! | silence of the vendor | 30 s | [`Caps::idle`] |
//! | answer on the wire, and after decoding | 64 MiB each | [`Caps`] |
//! | decoded ÷ wire, past the first decoded MiB | 100 | [`Caps::ratio`] |
//! | answer's headers | 128, together 64 KiB | [`MAX_HEADERS`], [`MAX_HEADER_BYTES`] |
//! | idle connection, shared pool | 60 s | [`PoolClass::Shared`] |
//! | idle connection, pool for calls that must not be repeated | 1 s | [`PoolClass::Fresh`] |
//! | idle connections kept for one host, in each pool | 512 | |

mod address;
mod allowance;
mod binding;
mod body;
mod client;
mod codec;
mod connect;
mod error;
mod header;
mod policy;
mod pool;
mod reader;
mod request;
mod resolve;
mod response;
pub(crate) mod target;
mod tls;
mod upstream;

#[cfg(test)]
mod tests;

pub use address::{AddressClass, classify};
pub use allowance::{Allowance, AllowanceError};
pub use binding::{HostBinding, HostPattern, HostPatternError};
pub use body::SentFlag;
pub use client::Egress;
pub use connect::{CONNECT_TIMEOUT, DNS_TIMEOUT, MAX_ADDRESSES};
pub use error::{BlockReason, ConnectStage, EgressError, EgressErrorKind, SizeLimit, TimeoutPhase, UrlProblem};
pub use header::is_settable_header;
pub use policy::{EgressPolicy, PolicyError};
pub use request::{Caps, EgressRequest, PoolClass};
pub use resolve::{Resolve, SystemResolver};
pub use response::{AnswerHead, EgressResponse, EgressStream, MAX_HEADER_BYTES, MAX_HEADERS};
pub use target::parse_url;
pub use upstream::Upstream;
