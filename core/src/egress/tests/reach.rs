//! Where calls go: names, rebinding, allowances, ports, bindings, the divert.

use std::time::Duration;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderName, HeaderValue, Method};
use url::Url;

use super::net::{Canary, Names, Net, Reply, get};
use crate::egress::{
    AddressClass, Allowance, BlockReason, ConnectStage, EgressError, EgressErrorKind, EgressPolicy, HostBinding,
    PoolClass,
};

const PUBLIC: &str = "93.184.216.34";

fn reason(error: &EgressError) -> &BlockReason {
    match error.kind() {
        EgressErrorKind::Blocked { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn plain_web() -> EgressPolicy {
    EgressPolicy { https_only: false, ..EgressPolicy::default() }
}

#[tokio::test]
async fn a_public_name_is_reached_at_the_address_that_was_checked() {
    let canary = Canary::echo().await;
    let names = Names::default().with("api.example.com", &[&[PUBLIC]]);
    let net = Net::new(plain_web(), names, Some(canary.addr));
    let answer = net.get("http://api.example.com/a/b?c=d").await.unwrap();
    assert_eq!(answer.body, "ok");
    assert_eq!((answer.wire_bytes, answer.decoded_bytes), (2, 2));
    assert_eq!(answer.remote, Some(canary.addr));
    let seen = canary.seen();
    assert_eq!(seen[0].line, "GET /a/b?c=d HTTP/1.1");
    assert_eq!(seen[0].header("host"), Some("api.example.com"));
}

#[tokio::test]
async fn a_name_that_rebinds_is_refused_at_its_next_connection() {
    let canary = Canary::start(|_| Reply::text("ok").then_close()).await;
    let names = Names::default().with("rebind.example", &[&[PUBLIC], &["127.0.0.1"], &[PUBLIC, "10.0.0.1"]]);
    let net = Net::new(plain_web(), names, Some(canary.addr));
    net.get("http://rebind.example/").await.unwrap();
    // One look-up for one connection: nothing is asked again between check and dial.
    assert_eq!(net.names.asked("rebind.example"), 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    for class in [AddressClass::Loopback, AddressClass::Private] {
        let error = net.get("http://rebind.example/").await.unwrap_err();
        assert_eq!(reason(&error), &BlockReason::Address(class));
        assert!(error.not_sent());
    }
    assert_eq!(canary.hits(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_failure_to_connect() {
    let names = Names::default().with("empty.example", &[&[]]);
    let net = Net::new(plain_web(), names, None);
    for url in ["http://nowhere.example/", "http://empty.example/"] {
        let error = net.get(url).await.unwrap_err();
        assert_eq!(error.kind(), &EgressErrorKind::Connect { stage: ConnectStage::Dns });
        assert!(error.not_sent());
    }
}

#[tokio::test]
async fn the_first_address_that_answers_is_used() {
    let canary = Canary::echo().await;
    let port = canary.addr.port();
    let policy = EgressPolicy::default().with_allowance("127.0.0.0/8".parse().unwrap());
    // Nobody listens on 127.0.0.2.
    let names = Names::default().with("two.example", &[&["127.0.0.2", "127.0.0.1"]]);
    let net = Net::new(policy, names, None);
    let answer = net.get(&format!("http://two.example:{port}/")).await.unwrap();
    assert_eq!(answer.remote, Some(canary.addr));
}

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let canary = Canary::echo().await;
    let policy = EgressPolicy::default().with_allowance("127.0.0.0/8".parse().unwrap());
    let names = Names::default().with("closed.example", &[&["127.0.0.2", "127.0.0.3"]]);
    let net = Net::new(policy, names, None);
    let error = net.get(&format!("http://closed.example:{}/", canary.addr.port())).await.unwrap_err();
    assert_eq!(error.kind(), &EgressErrorKind::Connect { stage: ConnectStage::Tcp });
    assert!(error.not_sent());
}

#[tokio::test]
async fn an_allowance_can_be_as_narrow_as_one_address_and_port() {
    let (canary, other) = (Canary::echo().await, Canary::echo().await);
    let net = Net::only(canary.addr);
    net.get(&format!("http://{}/", canary.addr)).await.unwrap();
    let port = canary.addr.port();
    for host in [format!("127.0.0.1:{}", other.addr.port()), format!("127.0.0.2:{port}"), format!("[::1]:{port}")] {
        let error = net.get(&format!("http://{host}/")).await.unwrap_err();
        assert_eq!(reason(&error), &BlockReason::Address(AddressClass::Loopback), "{host}");
    }
    let error = net.get(&format!("http://[::ffff:127.0.0.1]:{port}/")).await.unwrap_err();
    assert_eq!(reason(&error), &BlockReason::Address(AddressClass::V4Mapped));
    assert_eq!((canary.hits(), other.hits()), (1, 0));
}

#[tokio::test]
async fn private_names_need_addresses_that_are_allowed() {
    let canary = Canary::echo().await;
    let names = || {
        Names::default()
            .with("localhost", &[&["127.0.0.1"]])
            .with("erp.internal", &[&["10.1.2.3"]])
            .with("odd", &[&[PUBLIC]])
            .with("half.internal", &[&["10.1.2.3", PUBLIC]])
    };
    let policy =
        plain_web().with_allowance("127.0.0.0/8".parse().unwrap()).with_allowance("10.0.0.0/8".parse().unwrap());
    let net = Net::new(policy, names(), Some(canary.addr));
    net.get("http://localhost:3000/").await.unwrap();
    net.get("http://erp.internal/").await.unwrap();
    for url in ["http://odd/", "http://half.internal/"] {
        assert_eq!(reason(&net.get(url).await.unwrap_err()), &BlockReason::PrivateName, "{url}");
    }
    let strict = Net::new(plain_web(), names(), Some(canary.addr));
    assert_eq!(reason(&strict.get("http://localhost/").await.unwrap_err()), &BlockReason::PrivateName);
    // Refused by its name alone: nobody was asked.
    assert_eq!(strict.names.asked("localhost"), 0);
}

#[tokio::test]
async fn localhost_is_reached_in_the_family_that_is_allowed() {
    let canary = Canary::echo().await;
    let names =
        || Names::default().with("localhost", &[&["::1", "127.0.0.1"]]).with("both.example", &[&["::1", "127.0.0.1"]]);
    let policy = EgressPolicy::default().with_allowance("127.0.0.0/8".parse().unwrap());
    let net = Net::new(policy, names(), None);
    let answer = net.get(&format!("http://localhost:{}/", canary.addr.port())).await.unwrap();
    assert_eq!(answer.remote, Some(canary.addr));
    // Any other name is refused as a whole.
    let error = net.get(&format!("http://both.example:{}/", canary.addr.port())).await.unwrap_err();
    assert_eq!(reason(&error), &BlockReason::Address(AddressClass::Loopback));
    // And where neither is allowed, none is dialled.
    let policy = EgressPolicy::default().with_allowance("10.0.0.0/8".parse().unwrap());
    let net = Net::new(policy, names(), Some(canary.addr));
    let error = net.get("http://localhost/").await.unwrap_err();
    assert_eq!(reason(&error), &BlockReason::Address(AddressClass::Loopback));
    assert_eq!(canary.hits(), 1);
}

#[tokio::test]
async fn many_addresses_are_all_checked_and_few_dialled() {
    let canary = Canary::echo().await;
    let public: Vec<String> = (0..40).map(|n| format!("93.184.216.{n}")).collect();
    let mut list: Vec<&str> = public.iter().map(String::as_str).collect();
    let good = list.clone();
    list.push("10.0.0.1");
    let names = Names::default().with("many.example", &[&good]).with("last.example", &[&list]);
    let net = Net::new(plain_web(), names, Some(canary.addr));
    net.get("http://many.example/").await.unwrap();
    let error = net.get("http://last.example/").await.unwrap_err();
    assert_eq!(reason(&error), &BlockReason::Address(AddressClass::Private));
    assert_eq!(canary.hits(), 1);
}

#[tokio::test]
async fn plain_http_and_other_ports_are_for_allowed_addresses() {
    let canary = Canary::echo().await;
    let names = || Names::default().with("api.example.com", &[&[PUBLIC]]);
    let net = Net::new(EgressPolicy::default(), names(), Some(canary.addr));
    assert_eq!(reason(&net.get("http://api.example.com/").await.unwrap_err()), &BlockReason::PlainHttp);
    assert_eq!(reason(&net.get("http://93.184.216.34/").await.unwrap_err()), &BlockReason::PlainHttp);
    assert_eq!(reason(&net.get("https://api.example.com:22/").await.unwrap_err()), &BlockReason::Port(22));
    assert_eq!(net.names.asked("api.example.com"), 0);

    // An allowance for one network opens nothing elsewhere.
    let policy = EgressPolicy::default().with_allowance("10.0.0.0/8".parse().unwrap());
    let net = Net::new(policy, names(), Some(canary.addr));
    assert_eq!(reason(&net.get("http://api.example.com/").await.unwrap_err()), &BlockReason::PlainHttp);
    assert_eq!(reason(&net.get("https://api.example.com:22/").await.unwrap_err()), &BlockReason::Port(22));
    assert_eq!(canary.connections(), 0);

    let policy = EgressPolicy::default().with_allowance("93.184.216.34:8080".parse().unwrap());
    let net = Net::new(policy, names(), Some(canary.addr));
    net.get("http://api.example.com:8080/").await.unwrap();
}

#[tokio::test]
async fn a_named_port_is_open_for_its_host_only() {
    let canary = Canary::echo().await;
    let names = Names::default().with("bank.example", &[&[PUBLIC]]).with("other.example", &[&[PUBLIC]]);
    let policy = EgressPolicy { named_ports: vec![("bank.example".into(), 9443)], ..plain_web() };
    let net = Net::new(policy, names, Some(canary.addr));
    net.get("http://bank.example:9443/").await.unwrap();
    for url in ["http://other.example:9443/", "http://bank.example:9444/", "http://93.184.216.34:9443/"] {
        assert!(matches!(reason(&net.get(url).await.unwrap_err()), BlockReason::Port(_)), "{url}");
    }
    net.egress.set_named_ports(Vec::new());
    assert_eq!(reason(&net.get("http://bank.example:9443/").await.unwrap_err()), &BlockReason::Port(9443));
}

#[tokio::test]
async fn our_own_addresses_are_forbidden_unless_allowed() {
    let canary = Canary::echo().await;
    let policy = EgressPolicy { own: vec!["93.184.216.0/24".parse().unwrap()], ..plain_web() };
    let net = Net::new(policy.clone(), Names::default(), Some(canary.addr));
    let error = net.get("http://93.184.216.34/").await.unwrap_err();
    assert_eq!(reason(&error), &BlockReason::Address(AddressClass::Own));
    let policy = policy.with_allowance("93.184.216.34".parse().unwrap());
    let net = Net::new(policy, Names::default(), Some(canary.addr));
    net.get("http://93.184.216.34/").await.unwrap();
}

#[tokio::test]
async fn credentials_go_to_their_hosts_only() {
    let canary = Canary::echo().await;
    let names = Names::default().with("api.example.com", &[&[PUBLIC]]).with("evil.example", &[&[PUBLIC]]);
    let net = Net::new(plain_web(), names, Some(canary.addr));
    let binding = HostBinding::hosts(["api.example.com"]).unwrap();
    let to = |url: &str| {
        let mut request = get(url).unwrap().with_header(AUTHORIZATION, HeaderValue::from_static("Bearer s3cret"));
        request.binding = binding.clone();
        request
    };
    net.egress.send(to("http://api.example.com/")).await.unwrap();
    let error = net.egress.send(to("http://evil.example/")).await.unwrap_err();
    assert_eq!(reason(&error), &BlockReason::CredentialHostMismatch);
    assert!(error.not_sent());
    assert_eq!(canary.hits(), 1);
}

#[tokio::test]
async fn headers_and_methods_of_the_transport_are_refused() {
    let canary = Canary::echo().await;
    let net = Net::only(canary.addr);
    let url = format!("http://{}/", canary.addr);
    for name in ["host", "content-length", "transfer-encoding", "connection", "x-forwarded-host", "proxy-authorization"]
    {
        let name = HeaderName::from_static(name);
        let request = get(&url).unwrap().with_header(name.clone(), HeaderValue::from_static("1"));
        assert_eq!(reason(&net.egress.send(request).await.unwrap_err()), &BlockReason::Header(name));
    }
    for method in [Method::CONNECT, Method::TRACE] {
        let mut request = get(&url).unwrap();
        request.method = method.clone();
        assert_eq!(reason(&net.egress.send(request).await.unwrap_err()), &BlockReason::Method(method));
    }
    assert_eq!(canary.connections(), 0);
}

fn diverted(base: &str, allow: Option<Allowance>) -> Net {
    let mut policy = EgressPolicy::default().with_upstream(Url::parse(base).unwrap());
    policy.allow.extend(allow);
    Net::new(policy, Names::default(), None)
}

#[tokio::test]
async fn a_divert_keeps_path_and_query_and_names_the_real_host() {
    let canary = Canary::echo().await;
    let net = diverted(&format!("http://{}", canary.addr), Some(Allowance::exactly(canary.addr)));
    for (url, line, host) in [
        ("https://api.example.com/v1/x%2Fy?a=b&c", "/v1/x%2Fy?a=b&c", "api.example.com"),
        ("https://api.example.com:9443/", "/", "api.example.com:9443"),
        ("http://api.example.com:443/?q", "/?q", "api.example.com:443"),
        ("https://93.184.216.34/p", "/p", "93.184.216.34"),
        ("https://[2606:4700::1]:8443/p", "/p", "[2606:4700::1]:8443"),
    ] {
        // A binding to another host: not checked here, the credentials stay on this machine.
        let mut request = get(url).unwrap();
        request.binding = HostBinding::hosts(["elsewhere.example"]).unwrap();
        net.egress.send(request).await.unwrap();
        let seen = canary.seen().pop().unwrap();
        assert_eq!(seen.line, format!("GET {line} HTTP/1.1"));
        assert_eq!(seen.header("x-forwarded-host"), Some(host));
        assert_eq!(seen.header(HOST.as_str()), Some(canary.addr.to_string().as_str()));
    }
    // All of it on one connection: the pool knows one host only.
    assert_eq!(canary.connections(), 1);
}

#[tokio::test]
async fn a_divert_may_have_a_path() {
    let canary = Canary::echo().await;
    let net = diverted(&format!("http://{}/mock/", canary.addr), Some(Allowance::exactly(canary.addr)));
    net.get("https://api.example.com/v1?a").await.unwrap();
    assert_eq!(canary.seen()[0].line, "GET /mock/v1?a HTTP/1.1");
}

#[tokio::test]
async fn a_divert_is_still_checked_by_address() {
    let canary = Canary::echo().await;
    let net = diverted(&format!("http://{}", canary.addr), None);
    for pool in [PoolClass::Shared, PoolClass::Fresh] {
        let request = get("https://api.example.com/").unwrap().with_pool(pool);
        let error = net.egress.send(request).await.unwrap_err();
        assert_eq!(reason(&error), &BlockReason::Address(AddressClass::Loopback));
        assert_eq!(error.host(), "api.example.com");
    }
    // What production refuses by address is refused here too.
    let net = diverted(&format!("http://{}", canary.addr), Some(Allowance::exactly(canary.addr)));
    let error = net.get("http://169.254.169.254/latest/meta-data").await.unwrap_err();
    assert_eq!(reason(&error), &BlockReason::Address(AddressClass::LinkLocal));
    assert!(net.get("https://user@api.example.com/").await.is_err());
    assert_eq!(canary.connections(), 0);
}
