//! Which addresses are somebody's public service, and which are not.
//!
//! The tables follow the IANA special-purpose address registries (RFC 6890 and its updates; IPv4 and
//! IPv6 as of 2025) and are wider on purpose: an entry counts whatever its "globally reachable" column
//! says, because no vendor lives there, and because an anycast service of the registries (AS112, AMT) is
//! answered by whoever is nearest, which may be our own network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not a public service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// `0.0.0.0`, `::`.
    Unspecified,
    /// `0.0.0.0/8` (RFC 791).
    ThisNetwork,
    /// `127.0.0.0/8`, `::1` (RFC 1122, RFC 4291).
    Loopback,
    /// `10/8`, `172.16/12`, `192.168/16` (RFC 1918).
    Private,
    /// `100.64.0.0/10`, shared by carriers (RFC 6598).
    CarrierNat,
    /// `169.254.0.0/16`, `fe80::/10`; cloud metadata lives here (RFC 3927, RFC 4291).
    LinkLocal,
    /// `192.0.0.0/24`, `2001::/23` (RFC 6890, RFC 2928).
    IetfProtocol,
    /// `192.0.2.0/24`, `198.51.100.0/24`, `203.0.113.0/24`, `2001:db8::/32`, `3fff::/20` (RFC 5737, 3849, 9637).
    Documentation,
    /// AS112, AMT and 6to4 relays: answered by whoever is nearest (RFC 7534, 7535, 7450, 7526).
    Anycast,
    /// `198.18.0.0/15` (RFC 2544).
    Benchmarking,
    /// `224.0.0.0/4`, `ff00::/8` (RFC 5771, RFC 4291).
    Multicast,
    /// `240.0.0.0/4` (RFC 1112).
    Reserved,
    /// `255.255.255.255` (RFC 919).
    Broadcast,
    /// `168.63.129.16`, the platform address of a large cloud, public by number only.
    CloudPlatform,
    /// `::ffff:0:0/96` (RFC 4291).
    V4Mapped,
    /// `::/96` (RFC 4291).
    V4Compatible,
    /// `64:ff9b::/96`, `64:ff9b:1::/48` (RFC 6052, RFC 8215).
    Nat64,
    /// `2002::/16` (RFC 3056).
    SixToFour,
    /// `2001::/32` (RFC 4380).
    Teredo,
    /// An interface identifier that tunnels to a forbidden IPv4 address (RFC 5214).
    Isatap,
    /// `fc00::/7` (RFC 4193).
    UniqueLocal,
    /// `fec0::/10` (RFC 3879).
    SiteLocal,
    /// `100::/64`, `100:0:0:1::/64` (RFC 6666, RFC 9780).
    Discard,
    /// `5f00::/16` (RFC 9602).
    SegmentRouting,
    /// Outside `2000::/3`, or returned to the registry.
    Unassigned,
    /// One of our own addresses, by configuration.
    Own,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::ThisNetwork => "of \"this network\"",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "behind a carrier's NAT",
            Self::LinkLocal => "link-local",
            Self::IetfProtocol => "reserved for protocols",
            Self::Documentation => "for documentation only",
            Self::Anycast => "an infrastructure anycast",
            Self::Benchmarking => "for benchmarks only",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
            Self::Broadcast => "broadcast",
            Self::CloudPlatform => "a cloud platform's own",
            Self::V4Mapped => "IPv4 mapped into IPv6",
            Self::V4Compatible => "IPv4 written as IPv6",
            Self::Nat64 => "IPv4 behind NAT64",
            Self::SixToFour => "IPv4 behind 6to4",
            Self::Teredo => "IPv4 behind Teredo",
            Self::Isatap => "IPv4 behind ISATAP",
            Self::UniqueLocal => "unique local",
            Self::SiteLocal => "site-local",
            Self::Discard => "for discarding",
            Self::SegmentRouting => "for segment routing",
            Self::Unassigned => "not assigned",
            Self::Own => "one of ours",
        })
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

/// First match wins, so narrow entries stand before the wide ones around them.
pub(crate) const V4_TABLE: &[(u32, u8, AddressClass)] = &[
    (v4(0, 0, 0, 0), 32, AddressClass::Unspecified),
    (v4(0, 0, 0, 0), 8, AddressClass::ThisNetwork),
    (v4(10, 0, 0, 0), 8, AddressClass::Private),
    (v4(100, 64, 0, 0), 10, AddressClass::CarrierNat),
    (v4(127, 0, 0, 0), 8, AddressClass::Loopback),
    (v4(168, 63, 129, 16), 32, AddressClass::CloudPlatform),
    (v4(169, 254, 0, 0), 16, AddressClass::LinkLocal),
    (v4(172, 16, 0, 0), 12, AddressClass::Private),
    (v4(192, 0, 0, 0), 24, AddressClass::IetfProtocol),
    (v4(192, 0, 2, 0), 24, AddressClass::Documentation),
    (v4(192, 31, 196, 0), 24, AddressClass::Anycast),
    (v4(192, 52, 193, 0), 24, AddressClass::Anycast),
    (v4(192, 88, 99, 0), 24, AddressClass::Anycast),
    (v4(192, 168, 0, 0), 16, AddressClass::Private),
    (v4(192, 175, 48, 0), 24, AddressClass::Anycast),
    (v4(198, 18, 0, 0), 15, AddressClass::Benchmarking),
    (v4(198, 51, 100, 0), 24, AddressClass::Documentation),
    (v4(203, 0, 113, 0), 24, AddressClass::Documentation),
    (v4(224, 0, 0, 0), 4, AddressClass::Multicast),
    (v4(255, 255, 255, 255), 32, AddressClass::Broadcast),
    (v4(240, 0, 0, 0), 4, AddressClass::Reserved),
];

const fn v6(a: u16, b: u16, c: u16, d: u16) -> u128 {
    ((a as u128) << 112) | ((b as u128) << 96) | ((c as u128) << 80) | ((d as u128) << 64)
}

/// First match wins.
pub(crate) const V6_TABLE: &[(u128, u8, AddressClass)] = &[
    (0, 128, AddressClass::Unspecified),
    (1, 128, AddressClass::Loopback),
    (0xffff_0000_0000, 96, AddressClass::V4Mapped),
    (0, 96, AddressClass::V4Compatible),
    (v6(0x64, 0xff9b, 0, 0), 96, AddressClass::Nat64),
    (v6(0x64, 0xff9b, 1, 0), 48, AddressClass::Nat64),
    (v6(0x100, 0, 0, 0), 64, AddressClass::Discard),
    (v6(0x100, 0, 0, 1), 64, AddressClass::Discard),
    (v6(0x2001, 0, 0, 0), 32, AddressClass::Teredo),
    (v6(0x2001, 0, 0, 0), 23, AddressClass::IetfProtocol),
    (v6(0x2001, 0xdb8, 0, 0), 32, AddressClass::Documentation),
    (v6(0x2002, 0, 0, 0), 16, AddressClass::SixToFour),
    (v6(0x2620, 0x4f, 0x8000, 0), 48, AddressClass::Anycast),
    (v6(0x3ffe, 0, 0, 0), 16, AddressClass::Unassigned),
    (v6(0x3fff, 0, 0, 0), 20, AddressClass::Documentation),
    (v6(0x5f00, 0, 0, 0), 16, AddressClass::SegmentRouting),
    (v6(0xfc00, 0, 0, 0), 7, AddressClass::UniqueLocal),
    (v6(0xfe80, 0, 0, 0), 10, AddressClass::LinkLocal),
    (v6(0xfec0, 0, 0, 0), 10, AddressClass::SiteLocal),
    (v6(0xff00, 0, 0, 0), 8, AddressClass::Multicast),
];

/// `None` for an address that is globally routable unicast, else why it is not.
pub fn classify(ip: IpAddr) -> Option<AddressClass> {
    match ip {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => classify_v6(ip),
    }
}

fn classify_v4(ip: Ipv4Addr) -> Option<AddressClass> {
    let ip = u32::from(ip);
    V4_TABLE.iter().find(|(net, len, _)| (ip ^ net).leading_zeros() >= u32::from(*len)).map(|(_, _, class)| *class)
}

fn classify_v6(ip: Ipv6Addr) -> Option<AddressClass> {
    let bits = u128::from(ip);
    if let Some((_, _, class)) = V6_TABLE.iter().find(|(net, len, _)| (bits ^ net).leading_zeros() >= u32::from(*len)) {
        return Some(*class);
    }
    // Global unicast is 2000::/3 (RFC 4291, section 2.4, and the IANA address space).
    if bits >> 125 != 1 {
        return Some(AddressClass::Unassigned);
    }
    // ISATAP: ::0:5efe:a.b.c.d or ::200:5efe:a.b.c.d below any prefix (RFC 5214, section 6.1).
    let [.., hi, lo, a, b] = ip.segments();
    if lo == 0x5efe && hi & !0x0200 == 0 {
        let inner = Ipv4Addr::from((u32::from(a) << 16) | u32::from(b));
        return classify_v4(inner).map(|_| AddressClass::Isatap);
    }
    None
}
