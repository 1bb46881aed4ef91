//! The cluster under test, with relays on its links, and its tenants.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use plugboard_tests::oauth_provider::Provider;
use plugboard_tests::relay::{Relay, Target};
use plugboard_tests::stack::Stack;
use plugboard_tests::tenant::Tenant;
use plugboard_tests::wait::eventually;
use serde_json::json;

use crate::disk::Disk;
use crate::driver::Caller;
use crate::manifest::{self, Places, ROTATING, SERVICE};
use crate::records::{Clock, Tagger};
use crate::vendor::{Canary, Vendor};

const TENANTS: usize = 10;
pub(crate) const GATEWAYS: usize = 2;
pub(crate) const EXECUTORS: usize = 3;
pub(crate) const AUTHS: usize = 2;
pub(crate) const NATS: usize = 3;

/// How long a killed process takes to be started again by its supervisor, on a slow machine.
const COMES_BACK: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Site {
    /// Of the last nats-server, in a long campaign where it can be had. Let go before the stack removes what is under it.
    pub(crate) disk: Option<Disk>,
    pub(crate) stack: Stack,
    pub(crate) canary: Canary,
    pub(crate) provider: Provider,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) callers: Vec<Caller>,
    /// In the order of the tenants.
    pub(crate) credentials: Vec<String>,
    pub(crate) vendor_link: Relay,
    /// To each nats-server, and to both redis-servers.
    pub(crate) inner_links: Vec<(String, Relay)>,
    pub(crate) failpoints: PathBuf,
    /// How far each process's clock is off, by its name.
    clocks: PathBuf,
    _manifests: tempfile::TempDir,
}

/// The servers' ports are chosen when the cluster starts, so the relays look them up in what it writes.
async fn links(data: &Path) -> Vec<(String, Relay)> {
    let mut links = Vec::new();
    for number in 1..=NATS {
        let conf = data.join(format!("data/nats/nats-{number}.conf"));
        links.push((format!("nats-{number}"), Relay::start(setting(conf, "listen: ")).await));
    }
    for name in ["redis", "limits"] {
        let conf = data.join("data").join(name).join("redis.conf");
        links.push((name.to_owned(), Relay::start(setting(conf, "port ")).await));
    }
    links
}

impl Site {
    pub(crate) async fn start(out: &Path, seed: u64, clock: Clock, tagger: &Tagger, small_disk: bool) -> Self {
        let canary = Canary::start().await;
        let vendor = Vendor::start(out, seed, clock, tagger.clone(), canary.address).await;
        let vendor_link = Relay::start(Arc::new(move || Some(vendor.address))).await;
        let closed = closed_port();
        let provider = Provider::start();
        let issuer = provider.url();
        provider.set(|behaviour| {
            behaviour.issuer = Some(issuer.clone());
            behaviour.delay = Duration::from_millis(200);
        });
        let manifests = tempfile::tempdir().unwrap();
        let places = Places { vendor: vendor_link.address(), closed, canary: canary.address };
        manifest::write(manifests.path(), places, &provider.manifest(ROTATING));
        let failpoints = manifests.path().join("failpoints");
        std::fs::create_dir(&failpoints).unwrap();

        let provider_address = issuer.trim_start_matches("http://");
        let allowed = [vendor_link.address().to_string(), closed.to_string(), provider_address.to_owned()];
        let clocks = manifests.path().join("clocks");
        std::fs::create_dir(&clocks).unwrap();
        let options = Stack::cluster()
            .gateways(GATEWAYS)
            .executors(EXECUTORS)
            .auths(AUTHS)
            .nats(NATS)
            .connectors(manifests.path())
            .environment("PLUGBOARD_FAILPOINTS", failpoints.to_str().unwrap())
            .environment("PLUGBOARD_CLOCK_OFFSETS", clocks.to_str().unwrap());
        let options = allowed.iter().fold(options, |options, address| options.egress_allow(address));
        let home = tempfile::Builder::new().prefix("plugboard-faults-").tempdir().unwrap().keep();
        let disk = small_disk.then(|| Disk::mount(&home.join(format!("data/nats/{NATS}")))).flatten();
        let inner_links = links(&home).await;
        let ports = inner_links.iter().map(|(_, relay)| relay.address().port()).collect();
        let starting = tokio::task::spawn_blocking(move || options.relays(ports).start_in(home));
        let stack = starting.await.unwrap_or_else(|error| panic!("the cluster does not start: {error}"));

        let mut site = Self {
            disk,
            stack,
            canary,
            provider,
            tenants: Vec::new(),
            callers: Vec::new(),
            credentials: Vec::new(),
            vendor_link,
            inner_links,
            failpoints,
            clocks,
            _manifests: manifests,
        };
        site.connect().await;
        site
    }

    async fn connect(&mut self) {
        let mut accounts = Vec::new();
        for number in 0..TENANTS {
            let tenant = Tenant::new(&self.stack).await;
            let credential = format!("credential-{number}-{}", uuid::Uuid::new_v4().simple());
            accounts.push(tenant.rest().connect(SERVICE, "Main", &json!({"token": credential})).await);
            self.tenants.push(tenant);
            self.credentials.push(credential);
        }
        for (number, tenant) in self.tenants.iter().enumerate() {
            self.callers.push(Caller {
                name: format!("t{number:02}"),
                key: tenant.key.clone(),
                account: accounts[number].clone(),
                foreign_account: accounts[(number + 1) % TENANTS].clone(),
            });
        }
    }

    pub(crate) fn gateways(&self) -> Vec<String> {
        let urls = self.stack.ready()["urls"].as_array().unwrap();
        urls.iter().map(|url| url.as_str().unwrap().to_owned()).collect()
    }

    /// The process of this name, if it runs now.
    pub(crate) fn pid(&self, name: &str) -> Option<u32> {
        self.stack.pid_now(name)
    }

    /// Sends a signal; false when there was nobody to hear it.
    pub(crate) fn signal(&self, name: &str, signal: &str) -> bool {
        let Some(pid) = self.pid(name) else { return false };
        Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().unwrap().success()
    }

    /// Whether all of them have heard it.
    pub(crate) fn signal_all(&self, names: &[String], signal: &str) -> bool {
        let heard: Vec<bool> = names.iter().map(|name| self.signal(name, signal)).collect();
        heard.into_iter().all(|heard| heard)
    }

    /// Until another process of this name runs than this one.
    pub(crate) async fn replaced(&self, name: &str, before: Option<u32>) {
        eventually(&format!("{name} is started again"), COMES_BACK, || async {
            self.pid(name).filter(|pid| Some(*pid) != before)
        })
        .await;
    }

    pub(crate) fn all_services() -> Vec<String> {
        [numbered("executor", EXECUTORS), numbered("gateway", GATEWAYS), numbered("auth", AUTHS)].concat()
    }

    /// Puts the clock of this process so far off, or right.
    pub(crate) fn step_clock(&self, name: &str, seconds: i64) {
        let (file, new) = (self.clocks.join(name), self.clocks.join(format!(".{name}")));
        std::fs::write(&new, (seconds * 1000).to_string()).unwrap();
        std::fs::rename(&new, file).unwrap();
    }

    /// Keeps so many executors, and waits until it is so.
    pub(crate) async fn scale(&self, wanted: usize) {
        self.stack.scale_executors(wanted);
        eventually(&format!("there are {wanted} executors"), COMES_BACK, || async {
            let running = numbered("executor", EXECUTORS).iter().filter(|name| self.pid(name).is_some()).count();
            (running == wanted).then_some(())
        })
        .await;
    }
}

pub(crate) fn numbered(name: &str, many: usize) -> Vec<String> {
    (1..=many).map(|at| format!("{name}-{at}")).collect()
}

/// Nobody listens there, and nobody will.
fn closed_port() -> SocketAddr {
    // Below the range from which the system gives ports to those who do not ask for one.
    let free = (10_000..20_000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    ([127, 0, 0, 1], free).into()
}

/// An address that a server's configuration names; looked up for each connection.
fn setting(conf: PathBuf, name: &'static str) -> Target {
    Arc::new(move || {
        let text = std::fs::read_to_string(&conf).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        let port = value.rsplit(':').next()?.trim().parse().ok()?;
        Some(([127, 0, 0, 1], port).into())
    })
}
