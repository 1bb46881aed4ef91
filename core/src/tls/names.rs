//! What a certificate says of its holder's role.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::config::Names;
use crate::identity::ServiceRole;

/// The roles of a certificate's holder: usually one, none for a stranger whom the CA knows as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    services: [bool; ServiceRole::ALL.len()],
    caller: bool,
}

impl Roles {
    /// Names are compared as they are written, but for the case of DNS names: a wildcard names nobody.
    pub(super) fn of(names: &Names, certificate: &CertificateDer<'_>) -> Self {
        let held = names_in(certificate);
        let holds = |wanted: &[String]| {
            wanted.iter().any(|name| {
                let uri = name.contains("://");
                held.iter().any(|held| if uri { held == name } else { held.eq_ignore_ascii_case(name) })
            })
        };
        Self {
            services: ServiceRole::ALL.map(|role| holds(names.of(role))),
            caller: names.caller.is_empty() || holds(&names.caller),
        }
    }

    pub fn contains(self, role: ServiceRole) -> bool {
        ServiceRole::ALL.iter().zip(self.services).any(|(each, held)| *each == role && held)
    }

    /// Whether the holder may call a gateway's gRPC.
    pub fn is_caller(self) -> bool {
        self.caller
    }
}

/// DNS and URI names of a certificate; of one that cannot be read, none.
pub(super) fn names_in(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let texts = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) => Some((*text).to_owned()),
        _ => None,
    });
    texts.collect()
}
