//! Certificates and keys out of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::error::TlsError;
use super::names::names_in;
use super::provider;
use crate::clock::Millis;

/// A file as it is at this moment. It may hold a key: it is wiped, and has no Debug.
pub(super) struct PemFile {
    pub setting: &'static str,
    pub path: PathBuf,
    pub content: Zeroizing<Vec<u8>>,
}

/// A certificate with what is between it and the CA, and its key.
pub(super) struct Identity {
    pub key: Arc<CertifiedKey>,
    pub names: Vec<String>,
    /// From when until when, in Unix time.
    pub validity: (i64, i64),
}

/// The CAs that are believed.
pub(super) struct Authorities {
    pub roots: Arc<RootCertStore>,
    /// Of the one that ends last, in Unix time: a bundle may hold one that is being replaced.
    pub validity: (i64, i64),
}

impl PemFile {
    pub fn read(setting: &'static str, path: &Path) -> Result<Self, TlsError> {
        match std::fs::read(path) {
            Ok(content) => Ok(Self { setting, path: path.to_owned(), content: Zeroizing::new(content) }),
            Err(error) => Err(TlsError::Unreadable { setting, path: path.to_owned(), error }),
        }
    }

    pub fn digest(files: &[&Self]) -> [u8; 32] {
        let mut digest = Sha256::new();
        for file in files {
            digest.update(Sha256::digest(file.content.as_slice()));
        }
        digest.finalize().into()
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.content).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(TlsError::NoCertificate { setting: self.setting, path: self.path.clone() }),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.content).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey { setting: self.setting, path: self.path.clone() },
            error => self.malformed(&error),
        })
    }

    /// Of these errors none quotes the content but the line that a block begins with.
    fn malformed(&self, error: &pem::Error) -> TlsError {
        let reason = match error {
            pem::Error::MissingSectionEnd { .. } => "a block has no end; is the file cut off?".to_owned(),
            pem::Error::Base64Decode(_) => "a block is not base64".to_owned(),
            _ => "it cannot be parsed".to_owned(),
        };
        TlsError::Malformed { setting: self.setting, path: self.path.clone(), reason }
    }

    fn unusable(&self, reason: impl std::fmt::Display) -> TlsError {
        TlsError::Unusable { setting: self.setting, path: self.path.clone(), reason: reason.to_string() }
    }

    /// From when until when a certificate of this file is valid, in Unix time.
    fn validity(&self, certificate: &CertificateDer<'_>) -> Result<(i64, i64), TlsError> {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_| self.unusable("a certificate in it cannot be parsed"))?;
        let validity = parsed.validity();
        Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
    }
}

impl Identity {
    pub fn from_files(certificate: &PemFile, key: &PemFile, now: Millis) -> Result<Self, TlsError> {
        let chain = certificate.certificates()?;
        let own = chain.first().ok_or_else(|| certificate.unusable("it is empty"))?;
        let validity @ (begins, ends) = certificate.validity(own)?;
        let names = names_in(own);
        let (setting, path) = (certificate.setting, &certificate.path);
        if now.0 / 1000 >= ends {
            return Err(TlsError::Ended { setting, path: path.clone(), at: rfc3339(ends) });
        }
        if now.0 / 1000 < begins {
            return Err(TlsError::NotBegun { setting, path: path.clone(), at: rfc3339(begins) });
        }
        let certified =
            CertifiedKey::from_der(chain, key.private_key()?, &provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    TlsError::OtherKey { setting: key.setting, path: key.path.clone(), certificate: setting }
                }
                error => key.unusable(error),
            })?;
        Ok(Self { key: Arc::new(certified), names, validity })
    }
}

impl Authorities {
    pub fn from_file(file: &PemFile, now: Millis) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let mut last = (i64::MIN, i64::MIN);
        for certificate in file.certificates()? {
            let validity = file.validity(&certificate)?;
            if validity.1 > last.1 {
                last = validity;
            }
            roots.add(certificate).map_err(|error| file.unusable(error))?;
        }
        if now.0 / 1000 >= last.1 {
            return Err(TlsError::Ended { setting: file.setting, path: file.path.clone(), at: rfc3339(last.1) });
        }
        Ok(Self { roots: Arc::new(roots), validity: last })
    }
}

/// As people write a time.
pub(super) fn rfc3339(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}
