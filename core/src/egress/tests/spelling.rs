//! Hundreds of ways to write an address that is not public. None may reach the server; with the guard off,
//! the same texts must reach it, so that the test cannot pass by being wrong.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::net::{Canary, Names, Net};
use crate::egress::{BlockReason, EgressErrorKind, EgressPolicy};

/// Loopback, private, metadata, and one of every other kind.
const ADDRESSES: &[[u8; 4]] = &[
    [127, 0, 0, 1],
    [127, 255, 255, 254],
    [10, 0, 0, 1],
    [172, 16, 0, 1],
    [192, 168, 1, 1],
    [169, 254, 169, 254],
    [100, 64, 0, 1],
    [0, 0, 0, 0],
    [168, 63, 129, 16],
    [192, 0, 0, 192],
    [198, 18, 0, 1],
    [224, 0, 0, 1],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
];

fn wide(text: &str) -> String {
    let widen = |c: char| char::from_u32(c as u32 + 0xfee0).filter(|_| c.is_ascii_graphic());
    text.chars().map(|c| widen(c).unwrap_or(c)).collect()
}

fn circled(text: &str) -> String {
    let circle = |c: char| match c {
        '0' => '⓪',
        '1'..='9' => char::from_u32('①' as u32 + (c as u32 - '1' as u32)).unwrap_or(c),
        c => c,
    };
    text.chars().map(circle).collect()
}

fn percent(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

pub(super) fn spellings_of([a, b, c, d]: [u8; 4]) -> Vec<String> {
    let whole = u32::from(Ipv4Addr::new(a, b, c, d));
    let dotted = format!("{a}.{b}.{c}.{d}");
    let (hi, lo) = (whole >> 16, whole & 0xffff);
    let tail3 = whole & 0xff_ffff;
    vec![
        dotted.clone(),
        format!("{dotted}."),
        format!("{whole}"),
        format!("{whole:#x}"),
        format!("0X{whole:X}"),
        format!("0x00000000{whole:x}"),
        format!("0{whole:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("0000{a:o}.{b:#x}.{c}.0{d:o}"),
        format!("{a}.{tail3}"),
        format!("{a:#x}.{tail3:#x}"),
        format!("{a}.{b}.{lo}"),
        format!("0{a:o}.{b}.{lo:#x}"),
        percent(&dotted),
        format!("{a}%2E{b}%2e{c}.{d}"),
        wide(&dotted),
        wide(&format!("{whole:#x}")),
        circled(&dotted),
        dotted.replace('.', "。"),
        dotted.replace('.', "．"),
        dotted.replace('.', "｡"),
        format!("\u{200b}{dotted}").replace('\u{200b}', "\u{ad}"),
        dotted.replacen('.', "\t.", 1),
        format!("[::ffff:{dotted}]"),
        format!("[::FFFF:{hi:X}:{lo:x}]"),
        format!("[0:0:0:0:0:ffff:{dotted}]"),
        format!("[::{hi:x}:{lo:x}]"),
        format!("[::{dotted}]"),
        format!("[::ffff:0:{dotted}]"),
        format!("[64:ff9b::{dotted}]"),
        format!("[64:ff9b:1::{dotted}]"),
        format!("[2002:{hi:x}:{lo:x}::1]"),
        format!("[2001:0:{hi:x}:{lo:x}::1]"),
        format!("[2606:4700::5efe:{dotted}]"),
        format!("[2606:4700::200:5efe:{dotted}]"),
    ]
}

/// IPv6 in its own right, zone ids, and names.
const OTHERS: &[&str] = &[
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::0001]",
    "[%3a%3a1]",
    "[::1%25lo]",
    "[::1%lo]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[febf:ffff::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fdff:ffff::1]",
    "[ff02::1]",
    "[ff0e::1]",
    "[100::1]",
    "[2001:db8::1]",
    "[2001:10::1]",
    "[2001:2::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[4000::1]",
    "[2620:4f:8000::1]",
    "::1",
    "[::1",
    "[::1].example.com",
    "[[::1]]",
    "[127.0.0.1]",
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost.",
    "%6cocalhost",
    "ｌｏｃａｌｈｏｓｔ",
    "ⓛocalhost",
    "loc\tal\nhost",
    "app.localhost",
    "redis",
    "metadata.google.internal",
    "kubernetes.default.svc.cluster.local",
    "printer.local",
    "127.0.0.1.nip.example",
    "10.0.0.1.nip.example",
    "mixed.example",
    "mapped.example",
    "nat64.example",
    "ula.example",
    "user@127.0.0.1",
    "api.example.com@127.0.0.1",
    "127.0.0.1:80@localhost",
    "127.0.0.1#@api.example.com",
    "127.0.0.1\\@api.example.com",
    "127.0.0.1?@api.example.com",
    "/127.0.0.1",
    "\\127.0.0.1",
    "127.0.0.1%00.example.com",
    "127。0。0。1",
    "127.0.0.1:443",
    "127.0.0.1:00080",
];

fn world() -> Names {
    Names::default()
        .with("localhost", &[&["127.0.0.1", "::1"]])
        .with("app.localhost", &[&["127.0.0.1"]])
        .with("redis", &[&["93.184.216.34"]])
        .with("metadata.google.internal", &[&["169.254.169.254"]])
        .with("kubernetes.default.svc.cluster.local", &[&["10.96.0.1"]])
        .with("printer.local", &[&["93.184.216.34"]])
        .with("127.0.0.1.nip.example", &[&["127.0.0.1"]])
        .with("10.0.0.1.nip.example", &[&["10.0.0.1"]])
        .with("mixed.example", &[&["93.184.216.34", "2606:4700::1", "192.168.0.1"]])
        .with("mapped.example", &[&["::ffff:127.0.0.1"]])
        .with("nat64.example", &[&["64:ff9b::7f00:1"]])
        .with("ula.example", &[&["fd00::1"]])
}

fn spellings() -> BTreeSet<String> {
    let numbers = ADDRESSES.iter().flat_map(|address| spellings_of(*address));
    let others = OTHERS.iter().map(|text| (*text).to_owned());
    numbers.chain(others).flat_map(|host| [format!("http://{host}/secret-path?key=secret-value")]).collect()
}

/// Plain http to port 80 is open, so that nothing but the address can be the reason.
fn open_but_for_addresses() -> EgressPolicy {
    EgressPolicy { https_only: false, ..EgressPolicy::default() }
}

#[tokio::test]
async fn no_spelling_of_a_forbidden_address_gets_out() {
    let canary = Canary::echo().await;
    let net = Net::new(open_but_for_addresses(), world(), Some(canary.addr));
    let spellings = spellings();
    assert!(spellings.len() >= 500, "{}", spellings.len());
    for url in &spellings {
        let error = net.get(url).await.expect_err(url);
        assert!(error.not_sent(), "{url}: {error:?}");
        let refused = match error.kind() {
            EgressErrorKind::BadUrl { .. } => true,
            EgressErrorKind::Blocked { reason } => {
                matches!(reason, BlockReason::Address(_) | BlockReason::PrivateName | BlockReason::Port(_))
            }
            _ => false,
        };
        assert!(refused, "{url}: {error:?}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains("secret"), "{told}");
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn control_without_the_guard_the_same_spellings_arrive() {
    let canary = Canary::echo().await;
    let policy =
        open_but_for_addresses().with_allowance("0.0.0.0/0".parse().unwrap()).with_allowance("::/0".parse().unwrap());
    let net = Net::new(policy, world(), Some(canary.addr));
    let mut arrived = 0;
    for url in &spellings() {
        let before = canary.hits();
        match net.get(url).await {
            Ok(_) => {
                arrived += 1;
                assert_eq!(canary.hits(), before + 1, "{url}");
            }
            Err(error) => {
                assert!(matches!(error.kind(), EgressErrorKind::BadUrl { .. }), "{url}: {error:?}");
            }
        }
    }
    assert!(arrived >= 450, "only {arrived} of the spellings mean anything");
}
