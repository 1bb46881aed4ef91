//! A cluster in which every connection is mutual TLS: services, nats-server and redis.

use std::path::Path;
use std::time::Duration;

use plugboard_core::identity::{Directory, GrpcDirectory, GrpcVault, ServiceRole, Vault, service_token};
use plugboard_core::ids::OrganizationId;
use plugboard_core::queue::nats::{NatsConfig, NatsLink};
use plugboard_core::secret::{Secret, SecretKey};
use plugboard_core::store::redis::{RedisConfig, RedisStore};
use plugboard_core::testing::certificates::{Authority, now};
use plugboard_core::tls::{ServiceTls, channel};
use plugboard_proto::gateway::v1::ListServicesRequest;
use plugboard_proto::gateway::v1::execution_client::ExecutionClient;
use plugboard_tests::certified::{Certified, name};
use plugboard_tests::stack::{Stack, binary};
use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::Vendor;
use plugboard_tests::wait::eventually;
use serde_json::Value;
use tonic::transport::Endpoint;
use tonic::{Code, Request};

const SOON: Duration = Duration::from_secs(20);

fn start(certified: &Certified, vendor: &Vendor) -> Stack {
    let reload = ("PLUGBOARD_TLS__RELOAD_EVERY_S", "1");
    Stack::cluster().tls(certified.folder()).vendor(vendor).environment(reload.0, reload.1).start()
}

/// A setting of a process, as it was given.
fn setting(stack: &Stack, process: &str, name: &str) -> String {
    let environment = std::fs::read(format!("/proc/{}/environ", stack.pid(process))).unwrap();
    let pairs = environment.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
    let found = pairs.into_iter().find(|(found, _)| *found == name);
    found.unwrap_or_else(|| panic!("{process} has no {name}")).1.trim_matches('"').to_owned()
}

async fn text(url: &str) -> String {
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

pub(crate) async fn every_connection_is_mutual_tls() {
    let (certified, vendor) = (Certified::default(), Vendor::start());
    let stack = start(&certified, &vendor);
    let tenant = Tenant::new(&stack).await;
    let account = tenant.connect("hubspot", "Shop", &vendor).await;
    for call in [hubspot_read(), hubspot_write(&unique())] {
        let envelope = tenant.mcp().execute(call).await;
        assert_eq!(envelope["ok"], true, "{envelope}");
    }
    assert_eq!(vendor.count(&account.mark), 2);
    internal_services_call_over_grpc(&certified, &stack, &tenant).await;
    the_doctor_says_when_certificates_end(&certified, &stack).await;
    strangers_reach_no_service(&certified, &stack).await;
    strangers_reach_no_server(&certified, &stack).await;
    let logs = stack.logs();
    assert!(logs.contains("its TLS handshake failed") && logs.contains("not its certificate"), "refusals are told");
    for (file, bytes) in stack.written() {
        let found = certified.secrets().iter().any(|secret| memchr::memmem::find(&bytes, secret.as_bytes()).is_some());
        assert!(!found, "a private key is in {}", file.display());
    }
}

async fn internal_services_call_over_grpc(certified: &Certified, stack: &Stack, tenant: &Tenant) {
    let url = stack.ready()["grpc_url"].as_str().unwrap();
    let list = async |tls: Option<&ServiceTls>, url: &str| {
        let mut request = Request::new(ListServicesRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {}", tenant.key).parse().unwrap());
        let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
        ExecutionClient::new(channel(endpoint, SOON, tls)).list_services(request).await
    };
    let caller = certified.client(&certified.authority.day(&["billing.example"]));
    assert!(!list(Some(&caller), url).await.unwrap().into_inner().services.is_empty());
    let other = certified.client(&Authority::default().day(&["billing.example"]));
    let clear = url.replace("https", "http");
    // And the public listener has no gRPC.
    for (tls, url) in [(Some(&other), url), (None, &clear), (None, stack.url())] {
        let refused = list(tls, url).await.unwrap_err();
        assert!(!matches!(refused.code(), Code::Unauthenticated | Code::PermissionDenied), "{url}: {refused}");
    }
}

async fn the_doctor_says_when_certificates_end(certified: &Certified, stack: &Stack) {
    let mut command = tokio::process::Command::new(binary());
    command.arg("doctor").env("PLUGBOARD_URL", stack.url()).env("PLUGBOARD_API_KEY", stack.api_key());
    for (name, file) in [("CERTIFICATE", "auth.pem"), ("PRIVATE_KEY", "auth.key"), ("CA", "ca.pem")] {
        command.env(format!("PLUGBOARD_TLS__{name}"), certified.file(file));
    }
    let said = String::from_utf8(command.output().await.unwrap().stdout).unwrap();
    assert!(
        said.contains("tls.certificate") && said.contains("for auth.plugboard.internal ends in 24 hours"),
        "{said}"
    );
    assert!(said.contains("tls.ca") && said.contains("ends in 365 days"), "{said}");
    command.env("PLUGBOARD_TLS__PRIVATE_KEY", certified.file("redis.key"));
    let said = String::from_utf8(command.output().await.unwrap().stdout).unwrap();
    assert!(said.contains("FAIL     tls      tls.private_key") && said.contains("does not belong"), "{said}");
}

/// What only executors may ask the auth service for: the fields of an account.
async fn ask_as_executor(urls: &[String], secret: &SecretKey, tls: Option<&ServiceTls>) -> Result<(), String> {
    let vault = GrpcVault::new(urls, &service_token(secret, ServiceRole::Executor), tls).unwrap();
    vault.changes().await.map(drop).map_err(|error| error.to_string())
}

async fn strangers_reach_no_service(certified: &Certified, stack: &Stack) {
    let auth: Vec<String> = serde_json::from_str(&setting(stack, "gateway-1", "PLUGBOARD_PEERS__AUTH")).unwrap();
    let secret = SecretKey::from_hex(&setting(stack, "gateway-1", "PLUGBOARD_SECRETS__CLUSTER_SECRET")).unwrap();
    let issued = |role: &str| certified.client(&certified.authority.day(&[&name(role)]));
    ask_as_executor(&auth, &secret, Some(&issued("executor"))).await.unwrap();
    // Everybody here has the cluster's secret, and so every token; none has an executor's certificate.
    for role in ["gateway", "auth", "catalog", "somebody"] {
        let refused = ask_as_executor(&auth, &secret, Some(&issued(role))).await.unwrap_err();
        assert!(refused.contains("tls.names.executor"), "{role}: {refused}");
    }
    let gateway = GrpcDirectory::new(&auth, &service_token(&secret, ServiceRole::Gateway), Some(&issued("executor")));
    assert!(gateway.unwrap().accounts(&OrganizationId::trusted("org".to_owned())).await.is_err());
    let other = certified.client(&Authority::default().day(&[&name("executor")]));
    ask_as_executor(&auth, &secret, Some(&other)).await.unwrap_err();
    let clear: Vec<String> = auth.iter().map(|url| url.replace("https", "http")).collect();
    ask_as_executor(&clear, &secret, None).await.unwrap_err();
}

async fn strangers_reach_no_server(certified: &Certified, stack: &Stack) {
    let own = certified.client(&certified.authority.day(&[&name("gateway")]));
    let other = certified.client(&Authority::default().day(&[&name("gateway")]));
    let urls: Vec<String> = serde_json::from_str(&setting(stack, "gateway-1", "PLUGBOARD_NATS__URLS")).unwrap();
    assert!(urls.iter().all(|url| url.starts_with("tls://")), "{urls:?}");
    let nats = |tls: Option<ServiceTls>| NatsConfig {
        urls: urls.iter().map(|url| if tls.is_some() { url.clone() } else { url.replace("tls", "nats") }).collect(),
        user: Some("gateway".to_owned()),
        password: Some(Secret::new(setting(stack, "gateway-1", "PLUGBOARD_NATS__PASSWORD"))),
        start_within: Duration::from_secs(2),
        tls,
        ..NatsConfig::default()
    };
    NatsLink::connect(&nats(Some(own.clone()))).await.unwrap();
    NatsLink::connect(&nats(Some(other.clone()))).await.unwrap_err();
    NatsLink::connect(&nats(None)).await.unwrap_err();

    let url = setting(stack, "auth-1", "PLUGBOARD_REDIS__URL");
    assert!(url.starts_with("rediss://"));
    let redis = |tls: Option<ServiceTls>| RedisConfig {
        url: Secret::new(if tls.is_some() { url.clone() } else { url.replace("rediss", "redis") }),
        tls,
        ..RedisConfig::default()
    };
    RedisStore::connect(&redis(Some(own))).await.unwrap();
    RedisStore::connect(&redis(Some(other))).await.unwrap_err();
    RedisStore::connect(&redis(None)).await.unwrap_err();
}

/// When the certificate of a service ends, as it says itself.
async fn ends(health: &str) -> i64 {
    let metrics = text(&format!("{health}/metrics")).await;
    let line = metrics.lines().find(|line| {
        line.starts_with("plugboard_certificate_expiration_timestamp_seconds") && line.contains("\"service\"")
    });
    line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default() as i64
}

pub(crate) async fn certificates_are_renewed_while_services_run() {
    let (certified, vendor) = (Certified::default(), Vendor::start());
    let stack = start(&certified, &vendor);
    let tenant = Tenant::new(&stack).await;
    tenant.connect("hubspot", "Shop", &vendor).await;
    let health = stack.health_urls("executor").remove(0);
    let before = ends(&health).await;
    assert!(before > now().unix_timestamp());

    let renew = |holder: &str| {
        let (begins, ends) = (now() - Duration::from_secs(3600), now() + Duration::from_secs(9 * 24 * 3600));
        certified.authority.issue(&[&name(holder)], begins, ends).write(certified.folder(), holder);
    };
    for holder in ["executor", "gateway", "auth"] {
        renew(holder);
    }
    eventually("the executor has its new certificate", SOON, || async { (ends(&health).await > before).then_some(()) })
        .await;
    breaks_nothing(&certified, &stack, &health).await;
    let envelope = tenant.mcp().execute(hubspot_read()).await;
    assert_eq!(envelope["ok"], true, "{envelope}");
}

pub(crate) async fn a_ca_is_replaced_while_services_run() {
    let (certified, vendor) = (Certified::default(), Vendor::start());
    let stack = start(&certified, &vendor);
    let tenant = Tenant::new(&stack).await;
    tenant.connect("hubspot", "Shop", &vendor).await;
    let services = ["gateway-1", "executor-1", "executor-2", "auth-1", "catalog"];
    let before = services.map(|process| stack.pid(process));
    let (old, new) = (&certified.authority, Authority::default());
    let believe = |pems: &str| std::fs::write(certified.file("ca.pem"), pems).unwrap();

    believe(&format!("{}{}", old.pem, new.pem));
    all_renewed(&stack, &services, 1).await;
    restart_servers(&stack, &tenant).await;
    certified.renew(&new);
    all_renewed(&stack, &services, 2).await;
    restart_servers(&stack, &tenant).await;
    // From here on servers refuse what the old CA has issued, and with it every connection of before.
    believe(&new.pem);
    all_renewed(&stack, &services, 3).await;
    restart_servers(&stack, &tenant).await;
    assert_eq!(services.map(|process| stack.pid(process)), before, "no service was started anew");
}

async fn all_renewed(stack: &Stack, services: &[&str], times: usize) {
    eventually("every service has the new files", SOON, || async {
        let renewed = |process: &&str| log_of(&stack.data(), process).matches("certificates were renewed").count();
        services.iter().all(|process| renewed(process) >= times).then_some(())
    })
    .await;
}

/// Servers read their certificates when they start, and services must connect anew.
async fn restart_servers(stack: &Stack, tenant: &Tenant) {
    for server in ["nats-1", "redis", "limits"] {
        stack.signal(server, "KILL");
    }
    // Keys are in the store: until it is there again, calls are refused at the door. This asks it.
    eventually("the store is there again", Duration::from_secs(60), || async {
        (tenant.rest().get("/api/v1/organizations/me/api-keys").await.status == 200).then_some(())
    })
    .await;
    eventually("a call goes through again", Duration::from_secs(60), || async {
        (tenant.mcp().execute(hubspot_write(&unique())).await["ok"] == true).then_some(())
    })
    .await;
}

async fn breaks_nothing(certified: &Certified, stack: &Stack, health: &str) {
    std::fs::write(certified.file("executor.pem"), "not a certificate").unwrap();
    let report = eventually("the executor says that a file is broken", SOON, || async {
        let report: Value = serde_json::from_str(&text(&format!("{health}/readyz")).await).unwrap();
        (report["parts"]["certificates"] != "ok").then_some(report)
    })
    .await;
    assert_eq!(report["ready"], true, "{report}");
    assert!(report["parts"]["certificates"].as_str().unwrap().contains("the old one stays"), "{report}");
    let log = log_of(&stack.data(), "executor-1");
    assert!(log.contains("a new certificate cannot be used") && log.contains("tls.certificate"), "{log}");
    assert_eq!(log.matches("a new certificate cannot be used").count(), 1, "told once");
}

fn log_of(data: &Path, process: &str) -> String {
    std::fs::read_to_string(data.join("log").join(format!("{process}.log"))).unwrap()
}
