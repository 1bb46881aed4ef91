//! Random spellings and resolvers against what is dialled.
//!
//! A seed makes an address, public or not, and writes it in one of many ways; or a name, and what its look-ups answer, which
//! may change from one to the next; and what the operator has opened. Every socket leads to a canary, and what it was meant
//! to lead to is noted. The two sides that must agree come from different places: the guard judges by its table, this test
//! by the registries as they are written out for the table's own test, and by the address that was spelt.
//!
//! I10: nothing is dialled that is neither public nor opened. And the guard may not be green by refusing everything: what
//! is public and plainly written arrives.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

use super::address::nets;
use super::net::{Canary, get};
use super::spelling::spellings_of;
use crate::broken::choose;
use crate::egress::connect::Guard;
use crate::egress::{Allowance, Egress, EgressPolicy, Resolve};
use crate::testing::{Random, search, seeds};

const SEEDS: u64 = 3_000;
/// Calls of one run, on one client, so that connections are used again.
const CALLS: usize = 6;
const NAME: &str = "vendor.example.com";

/// Addresses that are somebody's service.
const PUBLIC: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 0x1111)),
    IpAddr::V6(Ipv6Addr::new(0x2a00, 0x1450, 0x4001, 0, 0, 0, 0, 0x200e)),
];

/// A thread's own runtime and server.
struct Stage {
    runtime: Runtime,
    canary: SocketAddr,
    forbidden: Vec<IpNet>,
}

impl Stage {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let canary = runtime.block_on(Canary::echo()).addr;
        Self { runtime, canary, forbidden: nets() }
    }

    fn is_forbidden(&self, ip: IpAddr) -> bool {
        // Interface identifiers that tunnel are in no registry.
        let isatap = match ip {
            IpAddr::V6(ip) if matches!(ip.segments()[4..6], [0 | 0x200, 0x5efe]) => {
                self.is_forbidden(Ipv4Addr::from(u128::from(ip) as u32).into())
            }
            _ => false,
        };
        isatap || self.forbidden.iter().any(|net| net.contains(&ip))
    }
}

/// Answers that are drawn for each look-up.
struct Liar {
    random: Mutex<Random>,
    answers: Vec<IpAddr>,
    told: Mutex<Vec<Vec<IpAddr>>>,
}

impl Resolve for Liar {
    fn resolve<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        let mut random = self.random.lock();
        let many = 1 + random.below(4) as usize;
        let answer: Vec<IpAddr> = (0..many).map(|_| random.pick(&self.answers)).collect();
        self.told.lock().push(answer.clone());
        Box::pin(async move { Ok(answer) })
    }
}

fn any_v4(random: &mut Random, forbidden: &[IpNet]) -> Ipv4Addr {
    let bits = random.next() as u32;
    let nets: Vec<_> =
        forbidden.iter().filter_map(|net| if let IpNet::V4(net) = net { Some(*net) } else { None }).collect();
    let net = random.pick(&nets);
    match random.below(4) {
        0 => Ipv4Addr::from(bits),
        _ => Ipv4Addr::from(u32::from(net.network()) | bits & u32::from(net.hostmask())),
    }
}

fn any_v6(random: &mut Random, forbidden: &[IpNet]) -> Ipv6Addr {
    let bits = u128::from(random.next()) << 64 | u128::from(random.next());
    let nets: Vec<_> =
        forbidden.iter().filter_map(|net| if let IpNet::V6(net) = net { Some(*net) } else { None }).collect();
    let net = random.pick(&nets);
    match random.below(4) {
        0 => Ipv6Addr::from(bits >> 3 | 1 << 125),
        _ => Ipv6Addr::from(u128::from(net.network()) | bits & u128::from(net.hostmask())),
    }
}

/// A host, and whether it is written as everybody would write it.
fn host(random: &mut Random, forbidden: &[IpNet]) -> (String, bool) {
    match random.below(10) {
        0..=3 => {
            let all = spellings_of(any_v4(random, forbidden).octets());
            (all[random.below(all.len() as u64) as usize].clone(), false)
        }
        4..=5 => {
            let text = format!("[{}]", any_v6(random, forbidden));
            (if random.happens(5_000) { text.to_uppercase() } else { text }, false)
        }
        6 => match random.pick(&PUBLIC) {
            IpAddr::V4(ip) => (ip.to_string(), true),
            IpAddr::V6(ip) => (format!("[{ip}]"), true),
        },
        _ => (NAME.to_owned(), false),
    }
}

fn run(stage: &Stage, seed: u64) -> Vec<String> {
    stage.runtime.block_on(play(stage, seed))
}

async fn play(stage: &Stage, seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut policy = EgressPolicy { https_only: false, ..EgressPolicy::default() };
    if random.happens(3_000) {
        let opened = IpAddr::V4(any_v4(&mut random, &stage.forbidden));
        let port = random.pick(&[80, 8080]);
        policy = policy.with_allowance(Allowance::exactly((opened, port).into()));
    }
    let opened = policy.allow.clone();
    let mut answers = PUBLIC.to_vec();
    for _ in 0..random.below(4) {
        answers.push(any_v4(&mut random, &stage.forbidden).into());
        answers.push(any_v6(&mut random, &stage.forbidden).into());
    }
    let liar = Arc::new(Liar { random: Mutex::new(Random::new(!seed)), answers, told: Mutex::default() });
    let egress = Egress::with_guard(Guard {
        resolver: liar.clone(),
        named_ports: ArcSwap::from_pointee(Vec::new()),
        redirect: Some(stage.canary),
        dialled: Mutex::default(),
        policy,
    });
    let egress = egress.unwrap();
    let mut found = Vec::new();
    for _ in 0..CALLS {
        let (host, plainly_public) = host(&mut random, &stage.forbidden);
        let port = random.pick(&["", "", ":80", ":8080", ":00080"]);
        let url = format!("http://{host}{port}/{}", random.below(100));
        let before = egress.dialled().len();
        let answer = match get(&url) {
            Ok(request) => egress.send(request).await,
            Err(error) => Err(error),
        };
        let dialled = egress.dialled().split_off(before);
        for addr in &dialled {
            let open = opened.iter().any(|allowance| allowance.covers(*addr));
            if stage.is_forbidden(addr.ip()) && !open {
                found.push(format!("I10, {url} led to {addr}"));
            }
            if let Some(spelt) = literal(&host) {
                if spelt != addr.ip() {
                    found.push(format!("I10, {url} is {spelt}, and led to {addr}"));
                }
            } else if host == NAME && !liar.told.lock().last().is_some_and(|told| told.contains(&addr.ip())) {
                found.push(format!("I10, {url} led to {addr}, which is not what the look-up said"));
            }
        }
        let reachable = plainly_public && matches!(port, "" | ":80" | ":00080");
        if reachable && answer.is_err() {
            found.push(format!("{url} is public and was refused: {answer:?}"));
        }
        if !dialled.is_empty() && answer.is_err() {
            found.push(format!("{url} was dialled and refused: {answer:?}"));
        }
    }
    found
}

/// The address of a host that is one by the simplest of rules.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

fn first_failure(end: u64, variant: Option<&'static str>) -> Option<(u64, Vec<String>)> {
    let begin = || {
        choose(variant);
        Stage::new()
    };
    search(end, begin, run)
}

#[test]
fn what_is_dialled_is_public_or_opened() {
    if let Some((seed, violations)) = first_failure(seeds(SEEDS), None) {
        panic!("seed {seed} fails:\n{}", violations.join("\n"));
    }
}

#[test]
fn without_the_check_of_literals_it_is_red() {
    let (seed, violations) = first_failure(300, Some("no_literal_check")).expect("no seed notices");
    assert!(violations.iter().all(|violation| violation.starts_with("I10")), "seed {seed}: {violations:?}");
}

/// Otherwise the runs would show little.
#[test]
fn both_sides_are_reached() {
    let stage = Stage::new();
    let mut kinds = BTreeSet::new();
    let mut random = Random::new(1);
    for _ in 0..2_000 {
        let (host, _) = host(&mut random, &stage.forbidden);
        let kind = match literal(&host) {
            Some(ip) => {
                if stage.is_forbidden(ip) {
                    "forbidden"
                } else {
                    "public"
                }
            }
            None if host == NAME => "a name",
            None => "another spelling",
        };
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}
