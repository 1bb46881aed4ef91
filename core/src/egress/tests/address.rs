//! The table of addresses against the registries, written out a second time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use crate::egress::address::{V4_TABLE, V6_TABLE};
use crate::egress::{AddressClass, classify};

/// IANA special-purpose registries, multicast, and the platform address; as text, apart from the table.
const FORBIDDEN: &[&str] = &[
    "0.0.0.0/8",
    "0.0.0.0/32",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.9/32",
    "192.0.0.10/32",
    "192.0.0.170/32",
    "192.0.0.171/32",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::1/128",
    "::/128",
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:2::/48",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3ffe::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    // Everything outside of 2000::/3.
    "::/3",
    "4000::/2",
    "8000::/1",
];

pub(super) fn nets() -> Vec<IpNet> {
    FORBIDDEN.iter().map(|text| text.parse().unwrap()).collect()
}

fn step(ip: IpAddr, up: bool) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let bits = u32::from(ip);
            let next = if up { bits.checked_add(1) } else { bits.checked_sub(1) };
            next.map(|bits| Ipv4Addr::from(bits).into())
        }
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            let next = if up { bits.checked_add(1) } else { bits.checked_sub(1) };
            next.map(|bits| Ipv6Addr::from(bits).into())
        }
    }
}

#[test]
fn every_boundary_of_the_registries_and_its_neighbours() {
    let nets = nets();
    let mut public = 0;
    for net in &nets {
        let (first, last) = match net {
            IpNet::V4(net) => (IpAddr::V4(net.network()), IpAddr::V4(net.broadcast())),
            IpNet::V6(net) => (IpAddr::V6(net.network()), IpAddr::V6(net.broadcast())),
        };
        assert!(classify(first).is_some(), "{first}, first of {net}");
        assert!(classify(last).is_some(), "{last}, last of {net}");
        for neighbour in [step(first, false), step(last, true)].into_iter().flatten() {
            let expected = nets.iter().any(|net| net.contains(&neighbour));
            assert_eq!(classify(neighbour).is_some(), expected, "{neighbour}, next to {net}");
            public += usize::from(!expected);
        }
    }
    assert!(public >= 40, "only {public} neighbours are public");
}

#[test]
fn table_entries_are_networks() {
    for (net, len, class) in V4_TABLE {
        assert_eq!(net.checked_shl(u32::from(*len)).unwrap_or(0), 0, "{class:?}");
    }
    for (net, len, class) in V6_TABLE {
        assert_eq!(net.checked_shl(u32::from(*len)).unwrap_or(0), 0, "{class:?}");
    }
}

#[test]
fn well_known_addresses() {
    let class = |ip: &str| classify(ip.parse().unwrap());
    for public in ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450::1"] {
        assert_eq!(class(public), None, "{public}");
    }
    assert_eq!(class("169.254.169.254"), Some(AddressClass::LinkLocal));
    assert_eq!(class("100.100.100.200"), Some(AddressClass::CarrierNat));
    assert_eq!(class("192.0.0.192"), Some(AddressClass::IetfProtocol));
    assert_eq!(class("168.63.129.16"), Some(AddressClass::CloudPlatform));
    assert_eq!(class("fd00:ec2::254"), Some(AddressClass::UniqueLocal));
    assert_eq!(class("::ffff:8.8.8.8"), Some(AddressClass::V4Mapped));
    assert_eq!(class("::ffff:0:8.8.8.8"), Some(AddressClass::Unassigned));
    assert_eq!(class("2001:0:4136:e378:8000:63bf:3fff:fdd2"), Some(AddressClass::Teredo));
    assert_eq!(class("2606:4700::5efe:10.0.0.1"), Some(AddressClass::Isatap));
    assert_eq!(class("2606:4700::200:5efe:10.0.0.1"), Some(AddressClass::Isatap));
    assert_eq!(class("2606:4700::5efe:8.8.8.8"), None);
    assert_eq!(class("255.255.255.255"), Some(AddressClass::Broadcast));
    assert_eq!(class("255.255.255.254"), Some(AddressClass::Reserved));
}

proptest! {
    #[test]
    fn v4_agrees_with_the_registries(bits: u32) {
        let ip = IpAddr::V4(bits.into());
        prop_assert_eq!(classify(ip).is_some(), nets().iter().any(|net| net.contains(&ip)));
    }

    #[test]
    fn v6_agrees_with_the_registries(bits: u128, global: bool) {
        let bits = if global { bits >> 3 | 1 << 125 } else { bits };
        let ip = IpAddr::V6(bits.into());
        prop_assume!(classify(ip) != Some(AddressClass::Isatap));
        prop_assert_eq!(classify(ip).is_some(), nets().iter().any(|net| net.contains(&ip)));
    }

    #[test]
    fn no_ipv4_address_gets_through_in_ipv6_clothes(bits: u32) {
        let v4 = u128::from(bits);
        let nat64 = 0x0064_ff9b_u128 << 96;
        let clothes = [
            v4,
            0xffff_0000_0000 | v4,
            0xffff_0000_0000_0000 | v4,
            nat64 | v4,
            nat64 | 1 << 80 | v4,
            0x2002_u128 << 112 | v4 << 80 | 1,
            0x2001_u128 << 112 | v4 << 64 | 1,
            0x2001_u128 << 112 | !v4 & 0xffff_ffff,
        ];
        for ip in clothes {
            prop_assert!(classify(IpAddr::V6(ip.into())).is_some(), "{}", Ipv6Addr::from(ip));
        }
    }
}
