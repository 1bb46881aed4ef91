//! What is open besides public addresses, and whether a vendor is reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;
use url::Url;

use super::{Finding, Part, shown};
use crate::egress::{
    BlockReason, ConnectStage, Egress, EgressErrorKind, EgressPolicy, EgressRequest, HostBinding, PolicyError,
};

/// Where clouds hand out the credentials of the machine.
const METADATA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);

const WITHIN: Duration = Duration::from_secs(10);

/// Variables by which other programs are told of a proxy.
const PROXIES: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];

/// What the settings open.
pub fn judge_policy(policy: &EgressPolicy) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(upstream) = &policy.upstream {
        let base = shown(upstream.as_str());
        findings.push(match Egress::new(policy.clone()) {
            Err(error) => Part::Egress.fail(error.to_string(), "take egress.upstream out, or mend it"),
            Ok(_) => Part::Egress.warn(
                format!("every outbound call goes to {base}, with its credentials (egress.upstream)"),
                "take it out of the settings of executors and auth services, unless this is a test",
            ),
        });
    }
    for allowance in &policy.allow {
        let said = format!("egress.allow opens {allowance}");
        if allowance.net().prefix_len() == 0 {
            findings.push(Part::Egress.fail(
                format!("{said}: every address, and so everything inside"),
                "name the addresses that are needed",
            ));
        } else if allowance.covers(METADATA) {
            findings.push(Part::Egress.fail(
                format!(
                    "{said}: a tenant's connector reaches {METADATA}, where clouds hand out this machine's credentials"
                ),
                "name the addresses that are needed, without 169.254.0.0/16",
            ));
        } else {
            findings.push(Part::Egress.warn(
                format!("{said}, besides public addresses: every tenant's connector reaches it"),
                "see that nothing trusts callers there by their address; take it out when it is not needed",
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Part::Egress.ok("public addresses alone are open, and nothing is diverted"));
    }
    findings
}

/// `set`: whether the environment has a variable of this name. The way out uses no proxy.
pub fn judge_proxies(set: impl Fn(&str) -> bool) -> Option<Finding> {
    let lower = |name: &str| name.to_ascii_lowercase();
    let found: Vec<&str> = PROXIES.into_iter().filter(|name| set(name) || set(&lower(name))).collect();
    (!found.is_empty()).then(|| {
        Part::Egress.warn(
            format!("{} is set, and outbound calls use no proxy", found.join(", ")),
            "if vendors are reached by a proxy alone, open the way for executors and auth services by routing",
        )
    })
}

/// One request without credentials (`HEAD /`) by the way that calls take: name, address check, connection, TLS.
pub async fn reach(policy: EgressPolicy, host: &str) -> Finding {
    let wrong = || Part::Egress.fail(format!("{host:?} is no host"), "write --egress api.example.com");
    let Ok(url) = Url::parse(&format!("https://{host}/")) else { return wrong() };
    if url.path() != "/" || url.query().is_some() {
        return wrong();
    }
    let diverted = policy.upstream.is_some();
    let egress = match Egress::new(policy) {
        Ok(egress) => egress,
        Err(error) => return unusable(&error),
    };
    let began = Instant::now();
    let request = EgressRequest::new(Method::HEAD, url, HostBinding::Any, began + WITHIN);
    match egress.open(request).await {
        Ok(_) if diverted => Part::Egress.ok(format!("the upstream answers in place of {host}")),
        Ok(_) => {
            let took = began.elapsed().as_millis();
            Part::Egress.ok(format!("{host} is found and answers over TLS, in {took} ms, from this machine"))
        }
        Err(error) => judge_failure(host, error.kind()),
    }
}

fn unusable(error: &PolicyError) -> Finding {
    Part::Egress.fail(error.to_string(), "mend [egress] of the settings")
}

fn judge_failure(host: &str, kind: &EgressErrorKind) -> Finding {
    let said = format!("{host} is not reached from this machine: {kind}");
    let remedy = match kind {
        EgressErrorKind::Connect { stage: ConnectStage::Dns } => {
            "mend the name service (resolv.conf, the policy `dns`)"
        }
        EgressErrorKind::Connect { stage: ConnectStage::Handshake } => {
            "does something between here and there break TLS open? Its CA is not believed; SSL_CERT_FILE names others"
        }
        EgressErrorKind::Connect { .. } | EgressErrorKind::Timeout { .. } => {
            "let executors and auth services out to ports 443 and 80 (firewall, network policy)"
        }
        EgressErrorKind::Blocked { reason: BlockReason::Address(_) } => {
            "the name leads to an address inside: whose name service answers here?"
        }
        _ => "try another host",
    };
    Part::Egress.fail(said, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn states(policy: &EgressPolicy) -> Vec<State> {
        judge_policy(policy).iter().map(|finding| finding.state).collect()
    }

    fn allow(text: &str) -> EgressPolicy {
        EgressPolicy::default().with_allowance(text.parse().unwrap())
    }

    #[test]
    fn what_weakens_the_guard_is_said() {
        assert_eq!(states(&EgressPolicy::default()), [State::Ok]);
        let found = judge_policy(&allow("10.1.0.0/16:443"));
        assert!(found[0].state == State::Warn && found[0].seen.contains("10.1.0.0/16:443"), "{found:?}");
        assert_eq!(states(&allow("0.0.0.0/0")), [State::Fail]);
        assert_eq!(states(&allow("169.254.0.0/16")), [State::Fail]);
        assert_eq!(states(&allow("169.254.0.0/16:8080")), [State::Warn]);
        let upstream = EgressPolicy::default().with_upstream("http://127.0.0.1:9/base".parse().unwrap());
        let found = judge_policy(&upstream);
        assert!(found[0].state == State::Warn && found[0].seen.contains("http://127.0.0.1:9"), "{found:?}");
        let outside = EgressPolicy::default().with_upstream("http://203.0.113.9/".parse().unwrap());
        assert_eq!(states(&outside), [State::Fail]);
    }

    #[test]
    fn proxies_are_said_not_to_be_used() {
        assert!(judge_proxies(|_| false).is_none());
        let found = judge_proxies(|name| name == "https_proxy").unwrap();
        assert!(found.state == State::Warn && found.seen.starts_with("HTTPS_PROXY is set"), "{found:?}");
    }

    #[test]
    fn failures_say_how_far_it_came() {
        let dns = judge_failure("api.example.com", &EgressErrorKind::Connect { stage: ConnectStage::Dns });
        assert!(dns.state == State::Fail && dns.remedy.unwrap().contains("name service"));
    }

    #[tokio::test]
    async fn a_host_is_a_name_and_addresses_inside_stay_closed() {
        for wrong in ["a b", "api.example.com/path", "api.example.com/?q=1"] {
            let found = reach(EgressPolicy::default(), wrong).await;
            assert!(found.seen.contains("is no host"), "{found:?}");
        }
        let found = reach(EgressPolicy::default(), "127.0.0.1").await;
        assert!(found.state == State::Fail && found.seen.contains("blocked"), "{found:?}");
    }
}
