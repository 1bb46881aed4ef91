//! The certificates of this moment, for a rustls client that lives longer than they do: some clients take their
//! configuration once and connect with it for as long as they live.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::provider;
use super::reloaded::Reloaded;
use super::services::{Made, Source};

pub(super) struct Current(pub Arc<Reloaded<Source>>);

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Current")
    }
}

/// Of a client that asks [`Current`] at every handshake.
pub(super) fn client_config(files: &Arc<Reloaded<Source>>) -> Result<ClientConfig, Error> {
    let current = Arc::new(Current(files.clone()));
    // "Dangerous" is what a verifier of one's own could be; this one asks rustls' own.
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(current.clone())
        .with_client_cert_resolver(current);
    config.resumption = Resumption::disabled();
    Ok(config)
}

impl Current {
    fn with<T>(&self, ask: impl FnOnce(&Made) -> T) -> T {
        ask(&self.0.current().made)
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.with(|made| made.identity.clone()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for Current {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.with(|made| made.servers.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.with(|made| made.servers.verify_tls12_signature(message, cert, dss))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.with(|made| made.servers.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.with(|made| made.servers.supported_verify_schemes())
    }
}
