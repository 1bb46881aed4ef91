//! `ADDR[/LEN][:PORT]`: what an operator opens on purpose.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

/// Addresses that outbound calls may reach although they are not public, or on a port or over plain http
/// that they otherwise could not.
///
/// Written `ADDR[/LEN][:PORT]`. `ADDR` is IPv4, IPv6, or IPv6 in brackets; without `/LEN` it is that one
/// address; without `:PORT` it is every port.
///
/// | text | opens |
/// | --- | --- |
/// | `127.0.0.1:8080` | one address, one port |
/// | `10.0.0.0/8` | a network, every port |
/// | `[::1]:9000`, `[fd00::]/8:443`, `[fd00::/8]:443` | IPv6 with a port |
/// | `::1`, `fd00::/8`, `fd00::/8:443` | IPv6 without brackets; a port needs a `/LEN` before it |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Allowance {
    net: IpNet,
    port: Option<u16>,
}

/// Why a text is not an [`Allowance`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not ADDR[/LEN][:PORT]: {problem}")]
pub struct AllowanceError {
    text: String,
    problem: String,
}

impl Allowance {
    /// One address and one port.
    pub fn exactly(addr: SocketAddr) -> Self {
        Self { net: IpNet::from(addr.ip()), port: Some(addr.port()) }
    }

    /// The addresses.
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// The only port, if there is one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// True when it opens `addr`. An IPv4 allowance does not open IPv4 addresses that are written as IPv6.
    pub fn covers(&self, addr: SocketAddr) -> bool {
        self.covers_port(addr.port()) && self.net.contains(&addr.ip())
    }

    pub(crate) fn covers_port(&self, port: u16) -> bool {
        self.port.is_none_or(|only| only == port)
    }
}

impl FromStr for Allowance {
    type Err = AllowanceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).map_err(|problem| AllowanceError { text: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<Allowance, String> {
    let (addr, len, port) = split(text)?;
    let ip: IpAddr = addr.parse().map_err(|_| match addr {
        "" => "the address is missing".to_owned(),
        _ if addr.chars().any(|c| c.is_ascii_alphabetic() && !c.is_ascii_hexdigit()) => {
            format!("{addr:?} is a name; name the address that it leads to")
        }
        _ => format!("{addr:?} is neither an IPv4 nor an IPv6 address"),
    })?;
    let max = if ip.is_ipv4() { 32 } else { 128 };
    let len = match len {
        None => max,
        Some(len) => match len.parse::<u8>() {
            Ok(number) if number <= max && len.bytes().all(|b| b.is_ascii_digit()) => number,
            _ => return Err(format!("/{len} is not a prefix length from 0 to {max}")),
        },
    };
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Some(number),
            _ => return Err(format!(":{port} is not a port from 1 to 65535")),
        },
    };
    let net = IpNet::new(ip, len).map_err(|error| error.to_string())?;
    if net.trunc() != net {
        return Err(format!(
            "{ip} has bits outside of /{len}; write {} for the network or {ip} for the address",
            net.trunc()
        ));
    }
    Ok(Allowance { net, port })
}

/// Address, prefix length, port.
type Parts<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

fn split(text: &str) -> Result<Parts<'_>, String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or_else(|| "the closing bracket is missing".to_owned())?;
        let (addr, inner_len) = cut(inside, '/');
        if addr.parse::<Ipv6Addr>().is_err() {
            return Err(format!("{addr:?} in brackets is not an IPv6 address"));
        }
        let (outer_len, port) = cut(after, ':');
        let outer_len = match outer_len {
            "" => None,
            text => Some(
                text.strip_prefix('/')
                    .ok_or_else(|| format!("{text:?} after the bracket is neither /LEN nor :PORT"))?,
            ),
        };
        if inner_len.is_some() && outer_len.is_some() {
            return Err("the prefix length stands there twice".to_owned());
        }
        return Ok((addr, inner_len.or(outer_len), port));
    }
    if let Some((addr, tail)) = text.split_once('/') {
        let (len, port) = cut(tail, ':');
        return Ok((addr, Some(len), port));
    }
    // More than one colon without a slash: all of it is an IPv6 address.
    if text.bytes().filter(|b| *b == b':').count() > 1 {
        return Ok((text, None, None));
    }
    let (addr, port) = cut(text, ':');
    Ok((addr, None, port))
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((head, tail)) => (head, Some(tail)),
        None => (text, None),
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.net.prefix_len() == self.net.max_prefix_len();
        match (self.net, self.port) {
            (IpNet::V6(net), Some(port)) if whole => write!(f, "[{}]:{port}", net.addr()),
            (IpNet::V6(net), Some(port)) => {
                write!(f, "[{}]/{}:{port}", net.addr(), net.prefix_len())
            }
            (net, None) if whole => write!(f, "{}", net.addr()),
            (net, None) => write!(f, "{net}"),
            (net, Some(port)) if whole => write!(f, "{}:{port}", net.addr()),
            (net, Some(port)) => write!(f, "{net}:{port}"),
        }
    }
}
