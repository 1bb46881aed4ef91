//! Whom we trust.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::policy::PolicyError;

/// TLS sessions remembered for resumption: about two for each of the hosts that one process talks to.
const SESSIONS: usize = 2048;

/// TLS 1.2 and 1.3, no early data, no client certificate. Roots are the machine's own (`SSL_CERT_FILE` and
/// `SSL_CERT_DIR` are honoured), or Mozilla's where the machine has none, plus the given ones.
pub(crate) fn client_config(extra_roots_pem: &[u8]) -> Result<ClientConfig, PolicyError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for cert in CertificateDer::pem_slice_iter(extra_roots_pem) {
        let cert = cert.map_err(|error| PolicyError::Roots(error.to_string()))?;
        roots.add(cert).map_err(|error| PolicyError::Roots(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(PolicyError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}
