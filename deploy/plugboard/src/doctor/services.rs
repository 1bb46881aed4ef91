//! What the settings of a service lead to: NATS, Redis, keys, the catalog service, the way out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use auth_service::KeySource;
use plugboard_core::catalog::GrpcCatalog;
use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::doctor::catalog::{self, CatalogSeen};
use plugboard_core::doctor::nats::{judge_monitor, read_monitor};
use plugboard_core::doctor::{Check, Finding, Part, certificates, egress, keys, nats, redis, shown};
use plugboard_core::identity::{ServiceRole, service_token};
use plugboard_core::queue::nats::inspect::inspect;
use plugboard_core::store::StoreError;
use plugboard_core::store::redis::{RedisConfig, RedisStore};
use plugboard_core::tls::{Tls, TlsConfig, TlsError, check_addresses};

use super::{Hearing, NO_HOST, gateway, not_told};
use crate::call::http;
use crate::cli::{ClientArgs, DoctorArgs};
use crate::services;
use crate::settings::Settings;

const WITHIN: Duration = Duration::from_secs(5);

const NO_TLS: &str = "not asked, because the certificates of [tls] cannot be used";

/// The settings, and which of them somebody has given.
pub struct Told {
    pub settings: Settings,
    pub given: BTreeSet<String>,
    /// A whole file was given: then defaults are meant, too.
    pub whole: bool,
}

impl Told {
    fn gives(&self, start: &str) -> bool {
        self.given.iter().any(|key| key.starts_with(start))
    }

    /// A shell at home has at most a section for `up`.
    pub fn is_of_services(&self) -> bool {
        self.whole || ["nats.", "redis.", "peers.", "secrets."].iter().any(|section| self.gives(section))
    }

    /// Who has keys for it uses NATS, wherever that is.
    fn has_nats(&self) -> bool {
        self.gives("nats.urls") || self.whole && (self.gives("nats.") || self.gives("secrets.payload_key"))
    }

    fn has_redis(&self) -> bool {
        self.gives("redis.url") || self.whole && self.gives("secrets.master_key")
    }

    /// Who has no key of tickets and none of accounts, but one of payloads.
    fn is_of_executor(&self) -> bool {
        let others = ["secrets.ticket_key", "secrets.master_key"];
        self.gives("secrets.payload_key") && !others.into_iter().any(|key| self.gives(key))
    }

    fn has_catalog(&self) -> bool {
        self.gives("peers.catalog") || self.whole && self.gives("secrets.cluster_secret")
    }
}

/// The certificates, and what this process is by them; without any it may be anything.
fn open_tls(config: &TlsConfig) -> (Result<Tls, TlsError>, Option<ServiceRole>) {
    for role in ServiceRole::ALL {
        if let Ok(tls) = Tls::open(config, Some(role)) {
            return (Ok(tls), Some(role));
        }
    }
    (Tls::open(config, None), None)
}

pub fn certificates(told: &Told) -> Check {
    let opened = open_tls(&told.settings.tls).0;
    let encrypted = opened.as_ref().is_ok_and(|tls| tls.services.is_some());
    let mut findings = certificates::judge(&opened, SystemClock.now());
    if opened.is_ok() {
        findings.extend(certificates::judge_addresses(&check_addresses(addresses(told), encrypted)));
    }
    Check::new(&[Part::Tls], async move { findings })
}

/// Those that were given: a default is nobody's mistake.
fn addresses(told: &Told) -> Vec<(&'static str, &str)> {
    let Settings { peers, nats, redis, .. } = &told.settings;
    let auths = peers.auth.iter().map(|url| ("peers.auth", url.as_str()));
    let all = auths
        .chain([("peers.catalog", peers.catalog.as_str()), ("redis.url", redis.url.as_str())])
        .chain(nats.urls.iter().map(|url| ("nats.urls", url.as_str())));
    all.filter(|(setting, _)| told.given.contains(*setting)).collect()
}

pub fn checks(told: Told, args: &DoctorArgs, hearing: &Hearing) -> Vec<Check> {
    let (opened, role) = open_tls(&told.settings.tls);
    let tls = opened.ok();
    let mut checks = vec![certificates(&told)];
    if told.has_nats() {
        checks.push(nats(&told.settings, tls.as_ref(), &args.nats_monitor));
    } else {
        checks.extend([Part::Nats, Part::Queue].map(|part| not_told(part, "nats.urls", hearing)));
    }
    checks.extend(args.nats_monitor.iter().map(|url| monitor(url.clone(), told.settings.nats.replicas)));
    let store = told.has_redis().then(|| tls.as_ref().map(|tls| services::redis(&told.settings.redis, tls)));
    checks.push(match &store {
        Some(config) => redis(&told, config.clone()),
        None => not_told(Part::Redis, "redis.url", hearing),
    });
    checks.push(all_keys(&told, store.flatten()));
    checks.push(if told.has_catalog() {
        catalog(&told.settings, tls, role, hearing.clone())
    } else {
        not_told(Part::Catalog, "peers.catalog", hearing)
    });
    checks.push(way_out(&told.settings, args.egress.clone()));
    checks
}

fn nats(settings: &Settings, tls: Option<&Tls>, monitors: &[String]) -> Check {
    let config = tls.map(|tls| services::nats(&settings.nats, tls));
    let queue = services::queue(&settings.queue);
    let wanted = nats::Wanted { replicas: settings.nats.replicas, monitored: !monitors.is_empty() };
    Check::new(&[Part::Nats, Part::Queue, Part::Clock], async move {
        let Some(config) = config else { return vec![Part::Nats.skipped(NO_TLS)] };
        nats::judge(&inspect(&config, queue, &SystemClock).await, wanted)
    })
}

/// The monitoring port of one server.
fn monitor(url: String, replicas: usize) -> Check {
    Check::new(&[Part::Nats], async move {
        let answer = async {
            let client = http(&ClientArgs { url: url.clone(), key: None })?;
            let address = format!("{}/jsz?config=true", url.trim_end_matches('/'));
            Ok::<_, anyhow::Error>(client.get(address).timeout(WITHIN).send().await?.bytes().await?)
        };
        let answer = answer.await.map_err(|_| "no connection, or no answer".to_owned());
        judge_monitor(&shown(&url), &answer.and_then(|answer| read_monitor(&answer)), replicas)
    })
}

/// `None`: its certificates cannot be used.
fn redis(told: &Told, config: Option<RedisConfig>) -> Check {
    let settings = &told.settings;
    let address = shown(&settings.redis.url);
    let wanted = redis::Wanted {
        allow_volatile: settings.redis.allow_volatile,
        require_durable: settings.redis.require_durable,
        limits_alone: told.is_of_executor(),
    };
    Check::new(&[Part::Redis, Part::Clock], async move {
        let Some(config) = config else { return vec![Part::Redis.skipped(NO_TLS)] };
        let seen = async { RedisStore::connect(&config).await?.look(&SystemClock).await };
        match seen.await {
            Ok(seen) => redis::judge(&address, &seen, wanted),
            Err(StoreError::Unavailable(why)) => redis::judge_away(&address, &why),
            Err(error) => redis::judge_away(&address, &error.to_string()),
        }
    })
}

fn all_keys(told: &Told, store: Option<RedisConfig>) -> Check {
    let (named, findings) = keys::judge(&told.settings.secrets.configured());
    let masters = told.gives("secrets.master_key").then(|| told.settings.secrets.master_keys());
    let file = told.settings.secrets.master_key_file().map(std::path::Path::to_owned);
    Check::new(&[Part::Keys], async move {
        let (mut named, mut findings) = (named, findings);
        match masters {
            None => findings
                .push(Part::Keys.skipped("secrets.master_key is not in these settings; auth services alone have it")),
            Some(Err(error)) => {
                let remedy =
                    "put it right as deploy/config/default.toml has it; a new key opens nothing that is stored";
                findings.push(Part::Keys.fail(format!("{error:#}"), remedy));
            }
            Some(Ok(source)) => {
                let (keys, told) = auth_service::doctor::keys(source.as_ref()).await;
                named.extend(keys);
                findings.extend(told);
                findings.extend(file.and_then(|file| auth_service::doctor::readable_by_all(&file)));
                findings.extend(stored(store, source).await);
            }
        }
        findings.extend(keys::judge_shared(&named));
        findings
    })
}

/// Whether the master keys open what is in Redis.
async fn stored(config: Option<RedisConfig>, source: Arc<dyn KeySource>) -> Vec<Finding> {
    let skipped = |why: &str| vec![Part::Keys.skipped(format!("whether master keys open what is stored: {why}"))];
    let Some(config) = config else { return skipped("redis.url is not in these settings, or cannot be asked") };
    match RedisStore::connect(&config).await {
        Ok(store) => auth_service::doctor::store(Arc::new(store), source.as_ref(), Arc::new(SystemClock)).await,
        Err(_) => skipped("Redis does not answer"),
    }
}

fn catalog(settings: &Settings, tls: Option<Tls>, role: Option<ServiceRole>, hearing: Hearing) -> Check {
    let url = settings.peers.catalog.clone();
    let secret = settings.secrets.cluster_secret().ok();
    Check::new(&[Part::Catalog], async move {
        let address = shown(&url);
        let Some(tls) = tls else { return vec![Part::Catalog.skipped(NO_TLS)] };
        let Some(secret) = secret else {
            return vec![Part::Catalog.skipped("not asked, because secrets.cluster_secret is missing or malformed")];
        };
        let Some(role) = role else {
            return vec![Part::Catalog.skipped("not asked: the certificate has none of the names in tls.names")];
        };
        let look = async {
            let source = GrpcCatalog::connect_lazy(&url, tls.services.as_ref())?;
            source.with_token(&service_token(&secret, role))?.look().await
        };
        match look.await {
            Ok((digest, documents)) => {
                let gateway = gateway::heard(hearing).await.and_then(|asked| asked.connectors);
                catalog::judge(&address, &CatalogSeen::of(digest, documents), gateway.as_ref())
            }
            Err(error) => vec![catalog::judge_away(&address, &error.to_string())],
        }
    })
}

fn way_out(settings: &Settings, host: Option<String>) -> Check {
    let sandbox = settings.mode.sandbox;
    let policy = settings.egress.policy();
    Check::new(&[Part::Egress], async move {
        if sandbox {
            return vec![Part::Egress.skipped("sandbox: the built-in vendor answers, and nothing leaves")];
        }
        let mut findings: Vec<_> = egress::judge_proxies(|name| std::env::var_os(name).is_some()).into_iter().collect();
        match policy {
            Err(error) => findings.push(Part::Egress.fail(format!("{error:#}"), "mend [egress] of the settings")),
            Ok(policy) => {
                findings.extend(egress::judge_policy(&policy));
                findings.push(match host {
                    Some(host) => egress::reach(policy, &host).await,
                    None => Part::Egress.skipped(NO_HOST),
                });
            }
        }
        findings
    })
}
