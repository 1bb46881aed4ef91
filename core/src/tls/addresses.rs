//! Addresses that do not go with the setting: half of what a process says encrypted is worse than it looks.

use url::{Host, Url};

use super::error::TlsError;

/// What an address is of.
struct Kind {
    encrypted: &'static str,
    plain: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind { encrypted: "https", plain: "http" },
    Kind { encrypted: "tls", plain: "nats" },
    Kind { encrypted: "rediss", plain: "redis" },
];

/// Whether addresses go with TLS being set or not; returns those that what is said goes to in the clear and that deserve a
/// warning. An address of any other form is not looked at: whoever uses it says what is wrong with it. A plain one on
/// loopback is let through, for a proxy beside the process, but not of our own services, who all speak TLS when one does.
///
/// # Errors
/// For the first that does not.
pub fn check<'a>(
    addresses: impl IntoIterator<Item = (&'static str, &'a str)>,
    tls: bool,
) -> Result<Vec<String>, TlsError> {
    let mut clear = Vec::new();
    for (setting, address) in addresses {
        let Ok(url) = Url::parse(address) else { continue };
        let of = |pick: fn(&Kind) -> &'static str| KINDS.iter().find(|kind| pick(kind) == url.scheme());
        if let Some(kind) = of(|kind| kind.encrypted)
            && !tls
        {
            return Err(TlsError::NoTls { setting, address: shown(&url), scheme: kind.plain });
        }
        let Some(kind) = of(|kind| kind.plain) else { continue };
        let inside = is_loopback(&url);
        if tls && (!inside || kind.plain == "http") {
            return Err(TlsError::Plaintext { setting, address: shown(&url), scheme: kind.encrypted });
        }
        let address = shown(&url);
        // What stays on this machine needs no warning, unless it was let through against the setting.
        let tell = tls || !inside;
        if tell && !clear.contains(&address) {
            clear.push(address);
        }
    }
    Ok(clear)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => is_loopback_text(name),
        None => false,
    }
}

/// Of schemes that `url` does not know, hosts are texts.
fn is_loopback_text(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Without what may be secret in it.
fn shown(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}
