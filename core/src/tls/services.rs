//! Mutual TLS: with other services of ours, NATS and Redis.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use zeroize::Zeroizing;

use super::config::{Names, TlsConfig};
use super::connector::Connector;
use super::current;
use super::error::TlsError;
use super::names::Roles;
use super::pem::{Authorities, Identity, PemFile};
use super::provider;
use super::reloaded::{self, Description, Loaded, Reloaded};
use crate::clock::Millis;
use crate::identity::ServiceRole;

/// gRPC is HTTP/2.
const H2: &[u8] = b"h2";

/// Certificate, key and CA of this process, as they are at this moment. Cheap to clone.
#[derive(Clone)]
pub struct ServiceTls {
    files: Arc<Reloaded<Source>>,
    client: ClientConfig,
    grpc: Arc<ClientConfig>,
}

impl std::fmt::Debug for ServiceTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.files.describe()).finish()
    }
}

pub struct Source {
    certificate: PathBuf,
    private_key: PathBuf,
    ca: PathBuf,
    names: Names,
    role: Option<ServiceRole>,
}

pub struct Made {
    pub(super) identity: Arc<CertifiedKey>,
    pub(super) servers: Arc<WebPkiServerVerifier>,
    server: Arc<ServerConfig>,
    pem: Arc<Pem>,
}

/// For a client that reads them by itself.
pub(crate) struct Pem {
    pub certificate: Zeroizing<Vec<u8>>,
    pub private_key: Zeroizing<Vec<u8>>,
    pub ca: Zeroizing<Vec<u8>>,
}

impl ServiceTls {
    /// `None` when it is not set.
    ///
    /// # Errors
    /// As [`super::Tls::open`].
    pub fn open(config: &TlsConfig, role: Option<ServiceRole>) -> Result<Option<Self>, TlsError> {
        let Some([(_, certificate), (_, private_key), (_, ca)]) = config.services()? else { return Ok(None) };
        if let Some(role) = ServiceRole::ALL.into_iter().find(|role| config.names.of(*role).is_empty()) {
            return Err(TlsError::NoNames(role));
        }
        let source = Source {
            certificate: certificate.clone(),
            private_key: private_key.clone(),
            ca: ca.clone(),
            names: config.names.clone(),
            role,
        };
        let files = Reloaded::open(source)?;
        let client = current::client_config(&files)?;
        let mut grpc = client.clone();
        grpc.alpn_protocols = vec![H2.to_vec()];
        Ok(Some(Self { files, client, grpc: Arc::new(grpc) }))
    }

    pub(super) fn files(&self) -> &Arc<Reloaded<Source>> {
        &self.files
    }

    /// For a client that is no gRPC client. It asks for the certificates of the moment by itself.
    pub(crate) fn client(&self) -> ClientConfig {
        self.client.clone()
    }

    /// For gRPC clients.
    pub(crate) fn connector(&self, within: Duration) -> Connector {
        Connector::new(self.grpc.clone(), within)
    }

    /// For the next connection that is accepted.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.files.current().made.server.clone()
    }

    /// The files as they are now, and their generation: one that differs from an earlier one's means others.
    pub(crate) fn pem(&self) -> (u64, Arc<Pem>) {
        // In this order, so that what is taken is never older than its number says.
        let generation = self.files.generation();
        (generation, self.files.current().made.pem.clone())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.files.generation()
    }

    /// What the holder of this certificate is.
    pub(super) fn roles_of(&self, certificate: &CertificateDer<'_>) -> Roles {
        Roles::of(&self.files.source().names, certificate)
    }
}

impl reloaded::Source for Source {
    type Made = Made;

    fn load(&self, now: Millis) -> Result<Loaded<Made>, TlsError> {
        let certificate = PemFile::read("tls.certificate", &self.certificate)?;
        let private_key = PemFile::read("tls.private_key", &self.private_key)?;
        let ca = PemFile::read("tls.ca", &self.ca)?;
        let identity = Identity::from_files(&certificate, &private_key, now)?;
        let authorities = Authorities::from_file(&ca, now)?;
        self.check_role(&identity)?;
        let unusable = |error: rustls::server::VerifierBuilderError| TlsError::Unusable {
            setting: "tls.ca",
            path: self.ca.clone(),
            reason: error.to_string(),
        };
        let clients = WebPkiClientVerifier::builder_with_provider(authorities.roots.clone(), provider());
        let servers = WebPkiServerVerifier::builder_with_provider(authorities.roots.clone(), provider());
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients.build().map_err(unusable)?)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key.clone())));
        server.alpn_protocols = vec![H2.to_vec()];
        server.send_tls13_tickets = 0;
        let description = |file: &PemFile, names: &[String], (begins, ends), label| Description {
            setting: file.setting,
            path: file.path.clone(),
            names: names.to_vec(),
            begins,
            ends,
            label,
        };
        Ok(Loaded {
            digest: PemFile::digest(&[&certificate, &private_key, &ca]),
            certificates: vec![
                description(&certificate, &identity.names, identity.validity, "service"),
                description(&ca, &[], authorities.validity, "ca"),
            ],
            made: Made {
                identity: identity.key,
                servers: servers.build().map_err(unusable)?,
                server: Arc::new(server),
                pem: Arc::new(Pem {
                    certificate: certificate.content,
                    private_key: private_key.content,
                    ca: ca.content,
                }),
            },
        })
    }
}

impl Source {
    /// A certificate that does not say what this process is would be refused by all others, so it is no better than none.
    fn check_role(&self, identity: &Identity) -> Result<(), TlsError> {
        let Some((role, certificate)) = self.role.zip(identity.key.cert.first()) else { return Ok(()) };
        if Roles::of(&self.names, certificate).contains(role) {
            return Ok(());
        }
        let has = if identity.names.is_empty() { "nobody".to_owned() } else { identity.names.join(", ") };
        Err(TlsError::OtherRole { path: self.certificate.clone(), role, has })
    }
}
