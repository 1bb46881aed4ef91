//! What can be wrong with certificates and their settings. Each says where, and what to do.

use std::path::PathBuf;

use crate::identity::ServiceRole;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{given} is set and {missing} is not: set both, or leave all of them empty")]
    Half { given: &'static str, missing: &'static str },
    #[error("{setting} = {path:?} cannot be read: {error}")]
    Unreadable { setting: &'static str, path: PathBuf, error: std::io::Error },
    #[error("{setting} = {path:?} is not PEM: {reason}")]
    Malformed { setting: &'static str, path: PathBuf, reason: String },
    #[error("{setting} = {path:?} holds no certificate: it needs a block `-----BEGIN CERTIFICATE-----`")]
    NoCertificate { setting: &'static str, path: PathBuf },
    #[error("{setting} = {path:?} holds no private key: it needs a block `-----BEGIN PRIVATE KEY-----`, not encrypted")]
    NoKey { setting: &'static str, path: PathBuf },
    #[error("{setting} = {path:?} does not belong to {certificate}: give the key for which the certificate was made")]
    OtherKey { setting: &'static str, path: PathBuf, certificate: &'static str },
    #[error("{setting} = {path:?} cannot be used: {reason}")]
    Unusable { setting: &'static str, path: PathBuf, reason: String },
    #[error("{setting} = {path:?} ended at {at}: renew it")]
    Ended { setting: &'static str, path: PathBuf, at: String },
    #[error("{setting} = {path:?} begins at {at}: is the clock of this machine right?")]
    NotBegun { setting: &'static str, path: PathBuf, at: String },
    #[error("tls.names.{0} is empty: no {0} would be let in. Name what its certificate says (DNS or URI)")]
    NoNames(ServiceRole),
    #[error(
        "tls.certificate = {path:?} is made out to {has}, and to none of tls.names.{role}: no service would let this {role} \
         in. Ask for a certificate with one of these names, or add its name there, in all services"
    )]
    OtherRole { path: PathBuf, role: ServiceRole, has: String },
    #[error("{setting} = {address:?} is not encrypted, but tls.certificate is set: write {scheme}://")]
    Plaintext { setting: &'static str, address: String, scheme: &'static str },
    #[error("{setting} = {address:?} wants TLS: set tls.certificate, tls.private_key and tls.ca, or write {scheme}://")]
    NoTls { setting: &'static str, address: String, scheme: &'static str },
    #[error("tls: {0}")]
    Backend(#[from] rustls::Error),
}
