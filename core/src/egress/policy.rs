//! What may be reached. Pure: no socket, no look-up.

use std::net::{IpAddr, SocketAddr};

use http::uri::{Authority, Scheme};
use ipnet::IpNet;
use url::{Host, Position, Url};

use super::address::{AddressClass, classify};
use super::allowance::Allowance;
use super::error::BlockReason;
use super::target::{is_localhost, is_private_name};
use crate::broken::broken;

/// What outbound calls may reach. The default is: public addresses, https, ports 443 and 80.
///
/// | field | default | meaning |
/// | --- | --- | --- |
/// | `allow` | empty | addresses that are reachable although not public, over http too, on the named port or any |
/// | `own` | empty | public addresses that are ours and therefore forbidden; `allow` wins over it |
/// | `https_only` | true | plain http goes to addresses in `allow` only |
/// | `named_ports` | empty | `(host, port)` of connectors whose service listens elsewhere than on 443 and 80 |
/// | `upstream` | none | every call goes to this base instead, see [`EgressPolicy::upstream`] |
/// | `upstream_any` | false | `upstream` may be something else than loopback |
/// | `extra_roots_pem` | empty | certificates trusted besides the machine's own, as PEM |
#[derive(Clone, Debug)]
pub struct EgressPolicy {
    /// What the operator opened on purpose (`--egress-allow`, repeatable).
    pub allow: Vec<Allowance>,
    /// Our own public and service addresses.
    pub own: Vec<IpNet>,
    /// Whether plain http is for allow-listed addresses only.
    pub https_only: bool,
    /// Ports beside 443 and 80, each for one host. Can be replaced while running:
    /// [`super::Egress::set_named_ports`].
    pub named_ports: Vec<(String, u16)>,
    /// Diverts every call to this base. Path and query are kept (after the base's own path), the real host
    /// goes into `X-Forwarded-Host`, with its port if that is not the scheme's own. Host binding is not
    /// checked then, addresses are: the base must be public or in `allow`.
    pub upstream: Option<Url>,
    /// Permits an `upstream` that is not loopback.
    pub upstream_any: bool,
    /// Further trusted root certificates.
    pub extra_roots_pem: Vec<u8>,
}

impl Default for EgressPolicy {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            own: Vec::new(),
            https_only: true,
            named_ports: Vec::new(),
            upstream: None,
            upstream_any: false,
            extra_roots_pem: Vec::new(),
        }
    }
}

/// Why an [`super::Egress`] could not be built from a policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The divert would send everybody's calls to another machine.
    #[error(
        "--upstream {0} is not a loopback address: every call, with its credentials, would go there; \
         add --upstream-any if that is meant"
    )]
    UpstreamNotLoopback(String),
    /// The divert is not a base URL.
    #[error("--upstream must be http:// or https:// with a host, and without user, query and fragment")]
    UpstreamNotABase,
    /// The extra certificates cannot be read.
    #[error("the extra root certificates cannot be read: {0}")]
    Roots(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Where diverted calls go, taken apart once.
#[derive(Clone, Debug)]
pub(crate) struct Divert {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// The base's path without its last slash.
    pub(crate) prefix: String,
    /// `scheme://host[:port]`.
    pub(crate) origin: String,
}

impl EgressPolicy {
    /// Adds an allowance.
    #[must_use]
    pub fn with_allowance(mut self, allowance: Allowance) -> Self {
        self.allow.push(allowance);
        self
    }

    /// Diverts every call, see [`EgressPolicy::upstream`].
    #[must_use]
    pub fn with_upstream(mut self, base: Url) -> Self {
        self.upstream = Some(base);
        self
    }

    /// True when an allowance opens the address.
    pub fn allows(&self, addr: SocketAddr) -> bool {
        self.allow.iter().any(|allowance| allowance.covers(addr))
    }

    /// Why the address is forbidden whatever the port: not public, or ours. Allowances are not considered.
    pub(crate) fn class_of(&self, ip: IpAddr) -> Option<AddressClass> {
        if self.own.iter().any(|net| net.contains(&ip)) {
            return Some(AddressClass::Own);
        }
        classify(ip)
    }

    /// The check of one address that is about to be dialled.
    ///
    /// `name` is the host as written, if it was a name; `named` tells whether `(host, port)` is one of the
    /// named ports.
    pub(crate) fn check(
        &self,
        name: Option<&str>,
        addr: SocketAddr,
        plain: bool,
        named: bool,
    ) -> Result<(), BlockReason> {
        if self.allows(addr) || name.is_none() && broken("no_literal_check") {
            return Ok(());
        }
        if let Some(class) = self.class_of(addr.ip()) {
            return Err(BlockReason::Address(class));
        }
        if name.is_some_and(is_private_name) {
            return Err(BlockReason::PrivateName);
        }
        if plain && self.https_only {
            return Err(BlockReason::PlainHttp);
        }
        if !is_open_port(addr.port()) && !named {
            return Err(BlockReason::Port(addr.port()));
        }
        Ok(())
    }

    /// The part of [`EgressPolicy::check`] that can be told from a name alone: refuses what no address
    /// could make right, so that no look-up is made for it.
    pub(crate) fn check_name(&self, name: &str, port: u16, plain: bool, named: bool) -> Result<(), BlockReason> {
        if self.allow.iter().any(|allowance| allowance.covers_port(port)) {
            return Ok(());
        }
        if is_private_name(name) {
            return Err(BlockReason::PrivateName);
        }
        if plain && self.https_only {
            return Err(BlockReason::PlainHttp);
        }
        if !is_open_port(port) && !named {
            return Err(BlockReason::Port(port));
        }
        Ok(())
    }

    /// Checks and takes apart the divert.
    pub(crate) fn divert(&self) -> Result<Option<Divert>, PolicyError> {
        let Some(base) = &self.upstream else {
            return Ok(None);
        };
        let plain = match base.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err(PolicyError::UpstreamNotABase),
        };
        let extras = !base.username().is_empty()
            || base.password().is_some()
            || base.query().is_some()
            || base.fragment().is_some();
        if extras {
            return Err(PolicyError::UpstreamNotABase);
        }
        if !self.upstream_any && !is_loopback(base) {
            let shown = format!("{}://{}", base.scheme(), authority_text(base));
            return Err(PolicyError::UpstreamNotLoopback(shown));
        }
        let authority = Authority::try_from(authority_text(base)).map_err(|_| PolicyError::UpstreamNotABase)?;
        Ok(Some(Divert {
            scheme: if plain { Scheme::HTTP } else { Scheme::HTTPS },
            authority,
            prefix: base.path().trim_end_matches('/').to_owned(),
            origin: base[..Position::BeforePath].to_owned(),
        }))
    }
}

fn is_open_port(port: u16) -> bool {
    matches!(port, 443 | 80)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => is_localhost(name),
        None => false,
    }
}

/// `host[:port]`, the port only if it is not the scheme's own; without user info.
pub(crate) fn authority_text(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}
