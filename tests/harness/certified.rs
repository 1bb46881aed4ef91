//! Certificates for a cluster whose parts speak mutual TLS.

use std::path::{Path, PathBuf};

use plugboard_core::identity::ServiceRole;
use plugboard_core::testing::certificates::{Authority, Made};
use plugboard_core::tls::{Names, ServiceTls, TlsConfig};
use tempfile::TempDir;

const HOLDERS: [&str; 7] = ["gateway", "executor", "auth", "catalog", "nats", "redis", "limits"];

/// A CA, and a folder with a certificate of each kind of process.
#[derive(Debug)]
pub struct Certified {
    folder: TempDir,
    pub authority: Authority,
    made: Vec<Made>,
}

impl Default for Certified {
    fn default() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::default());
        std::fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
        let made = issue(&authority, folder.path());
        Self { folder, authority, made }
    }
}

/// What a certificate says of its holder.
pub fn name(holder: &str) -> String {
    format!("{holder}.plugboard.internal")
}

fn issue(authority: &Authority, folder: &Path) -> Vec<Made> {
    let issued = HOLDERS.map(|holder| {
        let made = authority.day(&[&name(holder)]);
        made.write(folder, holder);
        made
    });
    issued.into()
}

impl Certified {
    /// New certificates for everybody, of this CA.
    pub fn renew(&self, authority: &Authority) {
        issue(authority, self.folder());
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A line of each private key.
    pub fn secrets(&self) -> Vec<&str> {
        self.made.iter().map(Made::secret).collect()
    }

    /// A client with this certificate, which believes this CA.
    pub fn client(&self, made: &Made) -> ServiceTls {
        let files = tempfile::tempdir().unwrap();
        made.write(files.path(), "client");
        let names = |role: ServiceRole| vec![name(role.as_str())];
        let config = TlsConfig {
            certificate: files.path().join("client.pem"),
            private_key: files.path().join("client.key"),
            ca: self.file("ca.pem"),
            names: Names {
                gateway: names(ServiceRole::Gateway),
                executor: names(ServiceRole::Executor),
                auth: names(ServiceRole::Auth),
                ..Names::default()
            },
            ..TlsConfig::default()
        };
        ServiceTls::open(&config, None).unwrap().unwrap()
    }
}
