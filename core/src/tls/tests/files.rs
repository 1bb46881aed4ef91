//! The files of one process.

use std::path::PathBuf;

use crate::testing::certificates::Made;
use crate::tls::{Names, TlsConfig};

pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub fn new(ca: &str, made: &Made) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("ca.pem", ca);
        files.put(made);
        files
    }

    pub fn put(&self, made: &Made) {
        made.write(self.0.path(), "own");
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn config(&self) -> TlsConfig {
        TlsConfig {
            certificate: self.path("own.pem"),
            private_key: self.path("own.key"),
            ca: self.path("ca.pem"),
            names: Names {
                gateway: vec!["gateway.test".to_owned()],
                executor: vec!["executor.test".to_owned(), "spiffe://test/executor".to_owned()],
                auth: vec!["auth.test".to_owned()],
                ..Names::default()
            },
            ..TlsConfig::default()
        }
    }
}
