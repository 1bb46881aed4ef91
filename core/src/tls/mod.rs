//! TLS between our own services and to their servers, both sides by certificate, and plain HTTPS for the public listeners.
//! What goes out to vendors is [`crate::egress`]'s.
//!
//! | file | what it does |
//! | --- | --- |
//! | `config`, `error` | section `[tls]`, and what can be wrong with it |
//! | `pem` | certificates and keys out of files, checked |
//! | `names` | what a certificate says of its holder's role |
//! | `reloaded` | files that are renewed while the process runs |
//! | `services`, `public` | what is made of the files: mutual TLS, HTTPS |
//! | `current` | the certificates of this moment, for a rustls client that lives longer than they do |
//! | `connector` | connections of gRPC clients |
//! | `listening` | a listener, with TLS or without, and who is at its other end |
//! | `addresses` | addresses that do not go with the setting |
//!
//! Sessions are not resumed between services: a resumed one would not look at the certificate again. Their connections live
//! long, so it costs nothing.

mod addresses;
mod config;
mod connector;
mod current;
mod error;
mod listening;
mod names;
mod pem;
mod public;
mod reloaded;
mod services;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use addresses::check as check_addresses;
pub use config::{Names, TlsConfig};
pub use connector::channel;
pub use error::TlsError;
pub use listening::{Incoming, Io, Listening, Peer};
pub use names::Roles;
pub use public::PublicTls;
pub use reloaded::Description;
pub use services::ServiceTls;

pub(crate) use connector::{reason, scheme};

use crate::identity::ServiceRole;
use crate::lifecycle::Lifecycle;
use crate::readiness::{Health, Readiness};

/// What a process has of TLS; by default nothing. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// With other services, NATS and Redis.
    pub services: Option<ServiceTls>,
    /// With browsers and agents.
    pub public: Option<PublicTls>,
}

impl Tls {
    /// Reads all files. `role`: what this process is to the services that it calls.
    ///
    /// # Errors
    /// When a setting lacks its counterpart or a file cannot be used; the message names the setting and the way out.
    pub fn open(config: &TlsConfig, role: Option<ServiceRole>) -> Result<Self, TlsError> {
        Ok(Self { services: ServiceTls::open(config, role)?, public: PublicTls::open(config)? })
    }

    /// Looks at the files again and again while the process lives.
    pub fn follow(&self, every: Duration, life: &Lifecycle) {
        if let Some(services) = &self.services {
            life.supervise("certificates", services.files().clone().follow(every, life.stopping()));
        }
        if let Some(public) = &self.public {
            life.supervise("public certificates", public.files().clone().follow(every, life.stopping()));
        }
    }

    /// Adds the part `certificates`, where there are any.
    #[must_use]
    pub fn watched_by(&self, readiness: Readiness) -> Readiness {
        if self.services.is_none() && self.public.is_none() {
            return readiness;
        }
        let this = self.clone();
        readiness.with("certificates", move || this.health())
    }

    fn health(&self) -> Health {
        let services = self.services.iter().map(|tls| tls.files().health());
        let public = self.public.iter().map(|tls| tls.files().health());
        services.chain(public).find(|health| *health != Health::Up).unwrap_or(Health::Up)
    }

    /// What there is, for whoever asks what ends when.
    pub fn describe(&self) -> Vec<Description> {
        let services = self.services.iter().flat_map(|tls| tls.files().describe());
        services.chain(self.public.iter().flat_map(|tls| tls.files().describe())).collect()
    }
}

/// The one TLS backend of all there is.
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
