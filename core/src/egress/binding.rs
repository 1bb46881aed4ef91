//! Which hosts a request's credentials are for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};

/// The hosts to which a request may go.
///
/// Cheap to clone: build it once for a connection, not for every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostBinding {
    /// Any host: for requests without credentials.
    Any,
    /// Only hosts that match one of these. An empty list matches nothing.
    Hosts(Arc<[HostPattern]>),
}

/// `api.example.com`, `*.example.com`, `203.0.113.7` or `[2001:db8::7]`, each with an optional `:PORT`.
///
/// `*.` stands for one or more labels; `*.example.com` does not match `example.com`. Without a port, every
/// port that policy leaves open matches. Names are compared in the form that URLs have: lower case and
/// Punycode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    host: Box<str>,
    below: bool,
    port: Option<u16>,
}

/// Why a text is not a [`HostPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host pattern: {problem}")]
pub struct HostPatternError {
    text: String,
    problem: &'static str,
}

impl HostBinding {
    /// From texts, see [`HostPattern`].
    ///
    /// # Errors
    /// The first text that is not a pattern.
    pub fn hosts<I, S>(patterns: I) -> Result<Self, HostPatternError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let patterns: Result<Vec<_>, _> = patterns.into_iter().map(|text| text.as_ref().parse()).collect();
        Ok(Self::Hosts(patterns?.into()))
    }

    /// Exactly the host of a URL, and its port.
    pub fn of_url(url: &Url) -> Self {
        let pattern = url.host_str().map(|host| HostPattern {
            host: host.into(),
            below: false,
            port: url.port_or_known_default(),
        });
        Self::Hosts(pattern.into_iter().collect())
    }

    /// True when a request to this URL may carry the credentials.
    pub fn permits(&self, url: &Url) -> bool {
        match self {
            Self::Any => true,
            Self::Hosts(patterns) => {
                let host = url.host_str().unwrap_or_default();
                let port = url.port_or_known_default();
                patterns.iter().any(|pattern| pattern.matches(host, port))
            }
        }
    }
}

impl HostPattern {
    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        if !self.below {
            return *self.host == *host;
        }
        host.strip_suffix(&*self.host).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|problem| HostPatternError { text: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<HostPattern, &'static str> {
    let (below, rest) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let port_at = match rest.rfind(']') {
        Some(end) => rest[end..].find(':').map(|at| end + at),
        None => rest.find(':'),
    };
    let (host, port) = match port_at {
        None => (rest, None),
        Some(at) => match rest[at + 1..].parse::<u16>() {
            Ok(port) if port > 0 => (&rest[..at], Some(port)),
            _ => return Err("the port is not a number from 1 to 65535"),
        },
    };
    let parsed = Host::parse(host).map_err(|_| "it is neither a host name nor an address")?;
    match &parsed {
        Host::Domain(name) if name.ends_with('.') || name.contains("..") => {
            return Err("a label is empty");
        }
        Host::Domain(name) if name.contains('*') => {
            return Err("a star may only be the whole first label");
        }
        Host::Domain(name) if below && !name.contains('.') => {
            return Err("a star may not stand for a whole top-level domain");
        }
        Host::Domain(_) => {}
        Host::Ipv4(_) | Host::Ipv6(_) if below => return Err("an address has no subdomains"),
        Host::Ipv4(_) | Host::Ipv6(_) => {}
    }
    Ok(HostPattern { host: parsed.to_string().into(), below, port })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.below {
            f.write_str("*.")?;
        }
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
