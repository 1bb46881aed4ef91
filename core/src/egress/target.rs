//! What a URL may look like, before anybody asks where it leads.

use std::net::IpAddr;

use url::{Host, Url};

use super::error::{EgressError, UrlProblem};

/// Suffixes that name nothing on the public internet: RFC 6761 (localhost, invalid), RFC 6762 (local),
/// RFC 7686 (onion), RFC 8375 (home.arpa), RFC 9476 (alt), and `internal`, reserved by ICANN in 2024.
const PRIVATE_SUFFIXES: &[&str] = &["localhost", "local", "internal", "home.arpa", "onion", "alt", "invalid"];

/// The part of a URL that decides where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) host: TargetHost<'a>,
    pub(crate) port: u16,
    pub(crate) plain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetHost<'a> {
    Literal(IpAddr),
    Name(&'a str),
}

/// Parses a URL and checks its shape: http or https, no user info, no fragment, and a host that is an
/// address or a host name without tricks. The parsed form is the one that is used from here on.
///
/// # Errors
/// [`super::EgressErrorKind::BadUrl`], which does not repeat the text.
pub fn parse_url(text: &str) -> Result<Url, EgressError> {
    let url = Url::parse(text).map_err(|error| {
        let problem = match error {
            url::ParseError::EmptyHost => UrlProblem::NoHost,
            _ => UrlProblem::Unparsable,
        };
        EgressError::bad_url(problem, "")
    })?;
    Target::of(&url)?;
    Ok(url)
}

impl<'a> Target<'a> {
    /// Checks the shape of a URL.
    pub(crate) fn of(url: &'a Url) -> Result<Self, EgressError> {
        Self::examine(url).map_err(|problem| EgressError::bad_url(problem, url.host_str().unwrap_or_default()))
    }

    fn examine(url: &'a Url) -> Result<Self, UrlProblem> {
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err(UrlProblem::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlProblem::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(UrlProblem::Fragment);
        }
        let port = url.port().unwrap_or(if plain { 80 } else { 443 });
        if port == 0 {
            return Err(UrlProblem::Port);
        }
        let host = match url.host() {
            None => return Err(UrlProblem::NoHost),
            Some(Host::Ipv4(ip)) => TargetHost::Literal(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => TargetHost::Literal(IpAddr::V6(ip)),
            Some(Host::Domain(name)) => {
                check_name(name)?;
                TargetHost::Name(name)
            }
        };
        Ok(Self { host, port, plain })
    }
}

/// Host names as `url` leaves them: lower case, percent-decoded, in ASCII.
fn check_name(name: &str) -> Result<(), UrlProblem> {
    if name.is_empty() {
        return Err(UrlProblem::NoHost);
    }
    if name.ends_with('.') {
        return Err(UrlProblem::TrailingDot);
    }
    if name.len() > 253 {
        return Err(UrlProblem::Label);
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err(UrlProblem::Label);
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !label.bytes().all(legal) || label.starts_with('-') || label.ends_with('-') {
            return Err(UrlProblem::Character);
        }
    }
    Ok(())
}

/// True for names that the public DNS does not serve: one label, or below a special-use suffix. They are
/// followed only if every address they lead to is on the allow list.
pub(crate) fn is_private_name(name: &str) -> bool {
    !name.contains('.')
        || PRIVATE_SUFFIXES
            .iter()
            .any(|suffix| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// `localhost` and the names below it (RFC 6761, section 6.3).
pub(crate) fn is_localhost(name: &str) -> bool {
    name.strip_suffix("localhost").is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
