//! HTTPS at the listeners for browsers and agents. No certificate is asked of them: they have keys.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;

use super::config::TlsConfig;
use super::error::TlsError;
use super::pem::{Identity, PemFile};
use super::provider;
use super::reloaded::{self, Description, Loaded, Reloaded};
use crate::clock::Millis;

/// Certificate and key of the public listeners, as they are at this moment. Cheap to clone.
#[derive(Clone)]
pub struct PublicTls(Arc<Reloaded<Source>>);

impl std::fmt::Debug for PublicTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.describe()).finish()
    }
}

pub struct Source {
    certificate: PathBuf,
    private_key: PathBuf,
}

impl PublicTls {
    /// `None` when it is not set.
    ///
    /// # Errors
    /// As [`super::Tls::open`].
    pub fn open(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let Some([(_, certificate), (_, private_key)]) = config.public()? else { return Ok(None) };
        let source = Source { certificate: certificate.clone(), private_key: private_key.clone() };
        Ok(Some(Self(Reloaded::open(source)?)))
    }

    pub(super) fn files(&self) -> &Arc<Reloaded<Source>> {
        &self.0
    }

    /// For the next connection that is accepted.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.0.current().made.clone()
    }
}

impl reloaded::Source for Source {
    type Made = Arc<ServerConfig>;

    fn load(&self, now: Millis) -> Result<Loaded<Arc<ServerConfig>>, TlsError> {
        let certificate = PemFile::read("tls.public_certificate", &self.certificate)?;
        let private_key = PemFile::read("tls.public_private_key", &self.private_key)?;
        let identity = Identity::from_files(&certificate, &private_key, now)?;
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key)));
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded {
            made: Arc::new(server),
            digest: PemFile::digest(&[&certificate, &private_key]),
            certificates: vec![Description {
                setting: certificate.setting,
                path: certificate.path,
                names: identity.names,
                begins: identity.validity.0,
                ends: identity.validity.1,
                label: "public",
            }],
        })
    }
}
