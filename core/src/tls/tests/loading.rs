//! What cannot be used is named with its setting and a way out.

use time::Duration;

use super::files::Files;
use crate::identity::ServiceRole;
use crate::testing::certificates::{Authority, Made, now};
use crate::tls::{Tls, TlsConfig, TlsError, check_addresses};

fn problem(config: &TlsConfig, role: Option<ServiceRole>) -> String {
    Tls::open(config, role).unwrap_err().to_string()
}

#[test]
fn what_is_good_is_taken_and_shows_no_key() {
    let authority = Authority::default();
    let made = authority.day(&["executor.test"]);
    let files = Files::new(&authority.pem, &made);
    let tls = Tls::open(&files.config(), Some(ServiceRole::Executor)).unwrap();
    assert!(tls.services.is_some() && tls.public.is_none());
    let told: Vec<_> = tls.describe().into_iter().map(|each| (each.setting, each.names)).collect();
    assert_eq!(told, [("tls.certificate", vec!["executor.test".to_owned()]), ("tls.ca", vec![])]);
    let secret = made.secret();
    assert!(!format!("{tls:?} {:?}", files.config()).contains(secret));
}

#[test]
fn without_settings_there_is_none() {
    let tls = Tls::open(&TlsConfig::default(), Some(ServiceRole::Auth)).unwrap();
    assert!(tls.services.is_none() && tls.public.is_none());
}

#[test]
fn half_of_the_settings_is_refused() {
    let authority = Authority::default();
    let files = Files::new(&authority.pem, &authority.day(&[]));
    let text = problem(&TlsConfig { private_key: "".into(), ..files.config() }, None);
    assert!(text.contains("tls.certificate is set and tls.private_key is not"), "{text}");
    let config = TlsConfig { public_certificate: files.config().certificate, ..TlsConfig::default() };
    assert!(problem(&config, None).contains("tls.public_private_key"));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::default();
    let good = authority.day(&["executor.test"]);
    let (other, encrypted) = (authority.day(&[]), good.key.replace("PRIVATE", "ENCRYPTED PRIVATE"));
    let cut = good.certificate.lines().take(4).collect::<Vec<_>>().join("\n");
    let cases: [(&str, &str, &[&str]); 8] = [
        ("own.pem", "", &["tls.certificate", "BEGIN CERTIFICATE"]),
        ("own.pem", &cut, &["tls.certificate", "cut off"]),
        ("own.key", "", &["tls.private_key", "BEGIN PRIVATE KEY"]),
        ("own.key", &good.certificate, &["tls.private_key", "no private key"]),
        ("own.key", &encrypted, &["tls.private_key", "not encrypted"]),
        ("own.key", &other.key, &["tls.private_key", "does not belong to tls.certificate"]),
        ("ca.pem", "", &["tls.ca", "no certificate"]),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &["tls.ca", "cannot be parsed"]),
    ];
    for (file, content, expected) in cases {
        let files = Files::new(&authority.pem, &good);
        files.write(file, content);
        let text = problem(&files.config(), None);
        assert!(expected.iter().all(|part| text.contains(part)), "{file}: {text}");
        let secret = good.secret();
        assert!(!text.contains(secret), "{text}");
    }
    let files = Files::new(&authority.pem, &good);
    let text = problem(&TlsConfig { ca: "/nonexistent/ca.pem".into(), ..files.config() }, None);
    assert!(text.contains("tls.ca = \"/nonexistent/ca.pem\" cannot be read"), "{text}");
}

#[test]
fn a_certificate_is_used_in_its_time_only() {
    let authority = Authority::default();
    let issue = |begins, ends| {
        let made: Made = authority.issue(&[], now() + Duration::hours(begins), now() + Duration::hours(ends));
        problem(&Files::new(&authority.pem, &made).config(), None)
    };
    let ended = issue(-2, -1);
    assert!(ended.contains("tls.certificate") && ended.contains("ended at") && ended.contains("renew it"), "{ended}");
    let early = issue(1, 2);
    assert!(early.contains("begins at") && early.contains("clock"), "{early}");
}

#[test]
fn a_certificate_must_say_what_the_process_is() {
    let authority = Authority::default();
    for (names, fits) in [
        (&["executor.test"][..], true),
        (&["Executor.Test"], true),
        (&["other.test", "spiffe://test/executor"], true),
        (&["gateway.test"], false),
        (&["spiffe://test/Executor"], false),
        (&["*.test"], false),
        (&[], false),
    ] {
        let files = Files::new(&authority.pem, &authority.day(names));
        let opened = Tls::open(&files.config(), Some(ServiceRole::Executor));
        assert_eq!(opened.is_ok(), fits, "{names:?}");
        if let Err(error) = opened {
            assert!(error.to_string().contains("tls.names.executor"), "{error}");
        }
    }
    let files = Files::new(&authority.pem, &authority.day(&["executor.test"]));
    let mut config = files.config();
    config.names.gateway.clear();
    assert!(problem(&config, None).contains("tls.names.gateway is empty"));
}

#[test]
fn addresses_go_with_the_setting() {
    fn check(address: &str, tls: bool) -> Result<Vec<String>, TlsError> {
        check_addresses([("nats.urls", address)], tls)
    }
    for (plain, encrypted) in [("nats", "tls"), ("redis", "rediss"), ("http", "https")] {
        let (plain, encrypted) = (format!("{plain}://user:hush@host:1/0"), format!("{encrypted}://user:hush@host:1/0"));
        assert!(check(&encrypted, true).unwrap().is_empty());
        assert_eq!(check(&plain, false).unwrap().len(), 1, "{plain}");
        let refused = check(&plain, true).unwrap_err().to_string();
        assert!(refused.contains("not encrypted") && refused.contains("nats.urls"), "{refused}");
        let missing = check(&encrypted, false).unwrap_err().to_string();
        assert!(missing.contains("tls.certificate"), "{missing}");
        assert!(!format!("{refused} {missing}").contains("hush"));
    }
    for inside in ["redis://127.0.0.1:6379", "nats://[::1]:4222", "nats://localhost:4222"] {
        assert!(check(inside, false).unwrap().is_empty(), "{inside}");
        assert_eq!(check(inside, true).unwrap().len(), 1, "a proxy beside the process: {inside}");
    }
    assert!(check("http://127.0.0.1:8081", true).is_err(), "our own services speak TLS when one does");
    assert!(check("no address", true).unwrap().is_empty(), "whoever uses it says so");
}
