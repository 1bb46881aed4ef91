//! Construction: what a divert may be.

use url::Url;

use crate::egress::{Egress, EgressPolicy, PolicyError};

fn diverted_to(base: &str, any: bool) -> Result<Egress, PolicyError> {
    let mut policy = EgressPolicy::default().with_upstream(Url::parse(base).unwrap());
    policy.upstream_any = any;
    Egress::new(policy)
}

#[test]
fn a_divert_stays_on_this_machine_unless_told_otherwise() {
    for base in ["http://127.0.0.1:9000", "http://127.9.9.9/", "http://[::1]:9000/base", "http://localhost:9000"] {
        assert!(diverted_to(base, false).is_ok(), "{base}");
    }
    for base in ["http://10.0.0.1:9000", "https://mock.example.com", "http://localhost.example.com", "http://0.0.0.0"] {
        let error = diverted_to(base, false).unwrap_err();
        assert!(matches!(error, PolicyError::UpstreamNotLoopback(_)), "{base}: {error}");
        assert!(error.to_string().contains("--upstream-any"), "{error}");
        assert!(diverted_to(base, true).is_ok(), "{base}");
    }
}

#[test]
fn a_divert_is_a_base_url() {
    for base in [
        "ftp://127.0.0.1/",
        "http://user@127.0.0.1/",
        "http://127.0.0.1/?x=1",
        "http://127.0.0.1/#x",
        "unix:/run/x.sock",
    ] {
        let error = diverted_to(base, true).unwrap_err();
        assert!(matches!(error, PolicyError::UpstreamNotABase), "{base}: {error}");
    }
}

#[test]
fn extra_roots_must_be_certificates() {
    let policy = EgressPolicy {
        extra_roots_pem: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
        ..EgressPolicy::default()
    };
    assert!(matches!(Egress::new(policy), Err(PolicyError::Roots(_))));
}
