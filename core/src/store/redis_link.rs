//! A connection to Redis that outlives its certificates: the client keeps those it was made with, so it is made anew when
//! they were renewed.

use std::sync::Arc;

use arc_swap::ArcSwap;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ClientTlsConfig, RedisResult, TlsCertificates};

use super::redis::RedisConfig;
use crate::tls::ServiceTls;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct RedisLink(Arc<Link>);

struct Link {
    config: RedisConfig,
    settings: ConnectionManagerConfig,
    current: ArcSwap<Made>,
}

/// Of certificates of this generation; without any, always of the first.
struct Made {
    generation: u64,
    connection: ConnectionManager,
}

/// Why there is none. The error of a bad address may quote it, and with it the password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the address of Redis is not valid")]
    Address,
    #[error(transparent)]
    Away(#[from] redis::RedisError),
}

impl RedisLink {
    /// Connects now.
    pub async fn connect(config: &RedisConfig, settings: ConnectionManagerConfig) -> Result<Self, LinkError> {
        let (generation, client) = client(config).map_err(|_| LinkError::Address)?;
        let connection = ConnectionManager::new_with_config(client, settings.clone()).await?;
        Ok(Self::over(Made { generation, connection }, config, settings))
    }

    /// Connects when it is first needed.
    pub fn lazy(config: &RedisConfig, settings: ConnectionManagerConfig) -> Result<Self, LinkError> {
        let (generation, client) = client(config).map_err(|_| LinkError::Address)?;
        let connection = ConnectionManager::new_lazy_with_config(client, settings.clone())?;
        Ok(Self::over(Made { generation, connection }, config, settings))
    }

    fn over(made: Made, config: &RedisConfig, settings: ConnectionManagerConfig) -> Self {
        Self(Arc::new(Link { config: config.clone(), settings, current: ArcSwap::from_pointee(made) }))
    }

    /// What commands are sent on. With the first one after a renewal a new connection is made; what waits for an answer on
    /// the old one still gets it.
    pub fn connection(&self) -> ConnectionManager {
        let made = self.0.current.load();
        if self.0.config.tls.as_ref().is_none_or(|tls| tls.generation() == made.generation) {
            return made.connection.clone();
        }
        // Two at once make two, and one of them is kept.
        match self.renewed() {
            Ok(renewed) => {
                let connection = renewed.connection.clone();
                self.0.current.store(Arc::new(renewed));
                connection
            }
            Err(error) => {
                tracing::warn!(%error, "the connection to Redis goes on with the earlier certificates");
                made.connection.clone()
            }
        }
    }

    fn renewed(&self) -> RedisResult<Made> {
        let (generation, client) = client(&self.0.config)?;
        let connection = ConnectionManager::new_lazy_with_config(client, self.0.settings.clone())?;
        Ok(Made { generation, connection })
    }
}

fn client(config: &RedisConfig) -> RedisResult<(u64, Client)> {
    let url = config.url.expose();
    match &config.tls {
        Some(tls) if url.starts_with("rediss://") => {
            let (generation, certificates) = certificates(tls);
            Ok((generation, Client::build_with_tls(url, certificates)?))
        }
        // In the clear by a proxy beside the process; see `tls::check_addresses`.
        tls => Ok((tls.as_ref().map_or(0, ServiceTls::generation), Client::open(url)?)),
    }
}

fn certificates(tls: &ServiceTls) -> (u64, TlsCertificates) {
    let (generation, pem) = tls.pem();
    let own = ClientTlsConfig { client_cert: pem.certificate.to_vec(), client_key: pem.private_key.to_vec() };
    (generation, TlsCertificates { client_tls: Some(own), root_cert: Some(pem.ca.to_vec()) })
}
