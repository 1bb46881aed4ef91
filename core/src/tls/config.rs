//! Section `[tls]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::error::TlsError;
use crate::identity::ServiceRole;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file: this process's certificate, then what lies between it and the CA.
    pub certificate: PathBuf,
    /// PEM file: its private key.
    pub private_key: PathBuf,
    /// PEM file: the CAs that are believed.
    pub ca: PathBuf,
    /// PEM file: certificate of the public listeners.
    pub public_certificate: PathBuf,
    /// PEM file: its private key.
    pub public_private_key: PathBuf,
    /// How often the files are looked at.
    pub reload_every_s: u32,
    pub names: Names,
}

/// The DNS or URI names by which a certificate says what its holder is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    pub gateway: Vec<String>,
    pub executor: Vec<String>,
    pub auth: Vec<String>,
    /// Internal services that call gateways over gRPC; empty = every holder of a certificate.
    pub caller: Vec<String>,
}

/// Settings and the files that they name.
pub(super) type Set<'a, const N: usize> = [(&'static str, &'a PathBuf); N];

impl TlsConfig {
    pub fn reload_every(&self) -> Duration {
        Duration::from_secs(self.reload_every_s.max(1).into())
    }

    /// Of TLS between services; `None` when it is not wanted.
    pub(super) fn services(&self) -> Result<Option<Set<'_, 3>>, TlsError> {
        all_or_none([
            ("tls.certificate", &self.certificate),
            ("tls.private_key", &self.private_key),
            ("tls.ca", &self.ca),
        ])
    }

    /// Of the public listeners; `None` when they speak plain HTTP.
    pub(super) fn public(&self) -> Result<Option<Set<'_, 2>>, TlsError> {
        all_or_none([
            ("tls.public_certificate", &self.public_certificate),
            ("tls.public_private_key", &self.public_private_key),
        ])
    }
}

impl Names {
    pub fn of(&self, role: ServiceRole) -> &[String] {
        match role {
            ServiceRole::Gateway => &self.gateway,
            ServiceRole::Executor => &self.executor,
            ServiceRole::Auth => &self.auth,
        }
    }
}

fn all_or_none<const N: usize>(set: Set<'_, N>) -> Result<Option<Set<'_, N>>, TlsError> {
    let given = set.iter().find(|(_, path)| !path.as_os_str().is_empty());
    let missing = set.iter().find(|(_, path)| path.as_os_str().is_empty());
    match (given, missing) {
        (None, _) => Ok(None),
        (Some(_), None) => Ok(Some(set)),
        (Some((given, _)), Some((missing, _))) => Err(TlsError::Half { given, missing }),
    }
}
