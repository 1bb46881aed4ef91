//! Certificates for tests, made by a CA of their own.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::{Duration, OffsetDateTime};

use crate::clock::{Clock, SystemClock};

/// A CA.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

/// A certificate and its key, as PEM.
pub struct Made {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made")
    }
}

/// The time that certificates are compared with.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(SystemClock.now().0 / 1000).unwrap()
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "A CA of tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) =
            (now() - Duration::hours(1), now() + Duration::days(365) + Duration::hours(12));
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }
}

impl Authority {
    /// For loopback, and these names: DNS, or URI where there is a scheme.
    pub fn issue(&self, names: &[&str], begins: OffsetDateTime, ends: OffsetDateTime) -> Made {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        // Another than the CA's: OpenSSL takes a certificate that its holder seems to have issued for self-signed.
        params.distinguished_name.push(DnType::CommonName, "A holder");
        for name in names {
            params.subject_alt_names.push(match name.contains("://") {
                true => SanType::URI((*name).try_into().unwrap()),
                false => SanType::DnsName((*name).try_into().unwrap()),
            });
        }
        // CAs have one name here, as one has that is replaced: by its key's identifier OpenSSL finds the right one.
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (begins, ends);
        let key = KeyPair::generate().unwrap();
        Made { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// Valid for a day, and half an hour more: a test that looks soon and one that looks a minute later see one day.
    pub fn day(&self, names: &[&str]) -> Made {
        self.issue(names, now() - Duration::hours(1), now() + Duration::days(1) + Duration::minutes(30))
    }
}

impl Made {
    /// As `NAME.pem` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.certificate).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }

    /// A line of the key, which must be nowhere else.
    pub fn secret(&self) -> &str {
        self.key.lines().nth(1).unwrap()
    }
}
