//! The configuration of a single service: one file, all sections, documented in `deploy/config/default.toml`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api_gateway::GatewayConfig;
use auth_service::KeySource;
use auth_service::key_source::{FileKeys, FixedKeys};
use plugboard_core::config;
use plugboard_core::doctor::keys::Configured;
use plugboard_core::egress::{Allowance, EgressPolicy};
use plugboard_core::secret::{Secret, SecretKey};
use plugboard_core::telemetry::TelemetryConfig;
use plugboard_core::telemetry::metrics::Service;
use plugboard_core::tls::{self, TlsConfig, TlsError};
use serde::Deserialize;

/// The compiled-in defaults, which are the manual as well.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub gateway: GatewayConfig,
    pub executor: ExecutorSettings,
    pub auth: AuthSettings,
    pub catalog: CatalogSettings,
    pub peers: Peers,
    pub queue: QueueSettings,
    pub nats: NatsSettings,
    pub redis: RedisSettings,
    pub tls: TlsConfig,
    pub secrets: Secrets,
    pub egress: EgressSettings,
    pub mode: Mode,
    pub telemetry: TelemetryConfig,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutorSettings {
    pub slots: usize,
    pub vendor_limits: bool,
    pub drain_ms: u32,
}

/// What a stop takes besides calls: handing back, last answers, closing.
const LEAST_DRAIN: Duration = Duration::from_secs(5);

/// How long whoever has no such setting may take to end.
const USUAL_DRAIN: Duration = Duration::from_secs(12);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    pub listen: String,
    pub http_listen: String,
    pub public_url: String,
    pub allow_private_hosts: bool,
    pub stop_grace_ms: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogSettings {
    pub listen: String,
    pub connectors: Vec<std::path::PathBuf>,
    pub stop_grace_ms: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    pub auth: Vec<String>,
    pub catalog: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSettings {
    pub backlog_per_organization: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    pub urls: Vec<String>,
    pub user: String,
    pub password: String,
    pub replicas: usize,
    pub namespace: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    pub url: String,
    pub namespace: String,
    pub allow_volatile: bool,
    pub require_durable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    cluster_secret: String,
    ticket_key: String,
    payload_key: String,
    master_key: String,
    master_key_file: String,
    master_key_file_shared: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressSettings {
    pub allow: Vec<String>,
    pub upstream: String,
    pub upstream_any: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    pub sandbox: bool,
    pub health_listen: String,
}

/// Sections that may hold a password print nothing.
macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("***")
            }
        }
    )*};
}
opaque!(NatsSettings, RedisSettings, Secrets);

impl Settings {
    /// # Errors
    /// When the file is missing or a value is wrong; the message names the key and its source.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        Ok(config::load(DEFAULTS, file, std::env::vars())?)
    }

    /// The settings that the file or the environment gives, as `section.key`.
    ///
    /// # Errors
    /// When the file is missing or is no TOML.
    pub fn given(file: Option<&Path>) -> anyhow::Result<BTreeSet<String>> {
        Ok(config::given(file, std::env::vars())?)
    }

    /// How long this service may take to end what it has begun.
    ///
    /// # Errors
    /// When that is too short for a clean end.
    pub fn drain(&self, service: Service) -> anyhow::Result<Duration> {
        let (setting, drain) = match service {
            Service::Gateway => ("gateway.drain_ms", self.gateway.drain()),
            Service::Executor => ("executor.drain_ms", Duration::from_millis(self.executor.drain_ms.into())),
            // They begin nothing that takes long.
            Service::Auth | Service::Catalog => return Ok(USUAL_DRAIN),
        };
        if drain < LEAST_DRAIN {
            bail!("{setting} = {}: a clean end takes {} ms at least", drain.as_millis(), LEAST_DRAIN.as_millis());
        }
        Ok(drain)
    }

    /// Those of the addresses this service uses that what is said goes to in the clear and that deserve a warning.
    ///
    /// # Errors
    /// When one does not go with `[tls]`.
    pub fn clear_addresses(&self, service: Service, encrypted: bool) -> Result<Vec<String>, TlsError> {
        let peers = self.peers.auth.iter().map(|url| ("peers.auth", url.as_str()));
        let catalog = [("peers.catalog", self.peers.catalog.as_str())];
        let nats = self.nats.urls.iter().map(|url| ("nats.urls", url.as_str()));
        let redis = [("redis.url", self.redis.url.as_str())];
        let used: Vec<_> = match service {
            Service::Gateway => peers.chain(catalog).chain(nats).collect(),
            Service::Executor => peers.chain(catalog).chain(nats).chain(redis).collect(),
            Service::Auth => catalog.into_iter().chain(redis).collect(),
            Service::Catalog => Vec::new(),
        };
        tls::check_addresses(used, encrypted)
    }
}

impl Secrets {
    /// # Errors
    /// When the secret is not configured: a service never makes one up.
    pub fn cluster_secret(&self) -> anyhow::Result<SecretKey> {
        key("cluster_secret", &self.cluster_secret)
    }

    /// # Errors
    /// As [`Secrets::cluster_secret`].
    pub fn ticket_key(&self) -> anyhow::Result<SecretKey> {
        key("ticket_key", &self.ticket_key)
    }

    /// # Errors
    /// As [`Secrets::cluster_secret`].
    pub fn payload_key(&self) -> anyhow::Result<SecretKey> {
        key("payload_key", &self.payload_key)
    }

    /// As they are, for whoever judges them.
    pub fn configured(&self) -> [Configured; 3] {
        let of = |name, text: &str, everybody, whose| Configured { name, text: Secret::new(text), everybody, whose };
        [
            of("secrets.cluster_secret", &self.cluster_secret, true, "all services"),
            of("secrets.ticket_key", &self.ticket_key, false, "gateways and auth services"),
            of("secrets.payload_key", &self.payload_key, false, "gateways and executors"),
        ]
    }

    pub fn master_key_file(&self) -> Option<&Path> {
        (!self.master_key_file.is_empty()).then(|| Path::new(&self.master_key_file))
    }

    /// The key ring: a file, or the setting itself.
    ///
    /// # Errors
    /// As [`Secrets::cluster_secret`], and when both are set or a key is malformed.
    pub fn master_keys(&self) -> anyhow::Result<Arc<dyn KeySource>> {
        match (self.master_key.as_str(), self.master_key_file.as_str()) {
            ("", "") => Err(missing("master_key")),
            ("", file) => Ok(Arc::new(FileKeys::new(file, self.master_key_file_shared))),
            (keys, "") => Ok(Arc::new(FixedKeys::parse("secrets.master_key", keys, ADD_A_KEY)?)),
            _ => bail!("secrets.master_key and secrets.master_key_file are both set: keep one of them"),
        }
    }
}

/// How a key is added to a setting.
const ADD_A_KEY: &str = "append `,ID:<64 hex digits>` to PLUGBOARD_SECRETS__MASTER_KEY of every auth service \
                         (`plugboard keys generate` prints a key; one without an id is `1`), restart them one by one, \
                         then `plugboard rotate --to ID`";

fn missing(name: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "secrets.{name} is not configured. Set PLUGBOARD_SECRETS__{} (`plugboard keys generate` prints a set).",
        name.to_ascii_uppercase()
    )
}

fn key(name: &str, text: &str) -> anyhow::Result<SecretKey> {
    if text.is_empty() {
        return Err(missing(name));
    }
    SecretKey::from_hex(text).with_context(|| format!("secrets.{name}"))
}

impl EgressSettings {
    /// # Errors
    /// When an allowance or the upstream is malformed.
    pub fn policy(&self) -> anyhow::Result<EgressPolicy> {
        let upstream = (!self.upstream.is_empty()).then_some(self.upstream.as_str());
        egress_policy(&self.allow, upstream, self.upstream_any)
    }
}

/// # Errors
/// When an allowance or the upstream is malformed.
pub fn egress_policy(allow: &[String], upstream: Option<&str>, upstream_any: bool) -> anyhow::Result<EgressPolicy> {
    let mut policy = EgressPolicy { upstream_any, ..EgressPolicy::default() };
    for text in allow {
        let allowance: Allowance = text.parse().with_context(|| format!("--egress-allow {text}"))?;
        policy = policy.with_allowance(allowance);
    }
    if let Some(upstream) = upstream {
        policy = policy.with_upstream(upstream.parse().with_context(|| format!("--upstream {upstream}"))?);
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete() {
        let settings: Settings = config::load(DEFAULTS, None, Vec::new()).unwrap();
        assert_eq!(settings.gateway.default_wait_ms, 45_000);
        for service in [Service::Gateway, Service::Executor, Service::Auth, Service::Catalog] {
            assert_eq!(settings.drain(service).unwrap(), USUAL_DRAIN, "supervisors know this one");
        }
        let error = settings.secrets.master_keys().err().unwrap().to_string();
        assert!(error.contains("PLUGBOARD_SECRETS__MASTER_KEY"), "{error}");
    }

    #[test]
    fn a_drain_has_time_for_an_end() {
        let given = |ms: &str| vec![("PLUGBOARD_EXECUTOR__DRAIN_MS".to_owned(), ms.to_owned())];
        let drain = |ms| config::load::<Settings>(DEFAULTS, None, given(ms)).unwrap().drain(Service::Executor);
        assert_eq!(drain("60000").unwrap(), Duration::from_secs(60));
        let error = drain("4999").unwrap_err().to_string();
        assert!(error.contains("executor.drain_ms = 4999") && error.contains("5000 ms"), "{error}");
    }
}
