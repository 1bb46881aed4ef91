//! What only gRPC has: several replicas, callers that are refused, servers that stop.

use std::time::{Duration, Instant};

use plugboard_core::identity::{
    CachedDirectory, Directory, GrpcDirectory, GrpcVault, ServiceRole, Vault, service_token,
};
use plugboard_core::secret::{Secret, SecretKey};
use plugboard_proto::auth::v1::directory_client::DirectoryClient;
use plugboard_proto::auth::v1::vault_client::VaultClient;
use plugboard_proto::auth::v1::{ListAccountsRequest, ResolveRequest};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use crate::support::{OZON, eventually, new_account, text, world};

#[tokio::test]
async fn each_service_answers_its_role_only() {
    let world = world().await;
    let (url, _) = world.serve(world.service().await, world.stop_token()).await;
    let as_role = |token: Option<Secret>| {
        let mut request = Request::new(ListAccountsRequest::default());
        if let Some(token) = token {
            let value = format!("Bearer {}", token.expose()).parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    };
    let mut directory = DirectoryClient::connect(url.clone()).await.unwrap();
    let stranger = SecretKey::new([1; 32]);
    for (token, code) in [
        (Some(service_token(&world.cluster, ServiceRole::Gateway)), None),
        (Some(service_token(&world.cluster, ServiceRole::Executor)), Some(Code::PermissionDenied)),
        (Some(service_token(&world.cluster, ServiceRole::Auth)), Some(Code::PermissionDenied)),
        (Some(service_token(&stranger, ServiceRole::Gateway)), Some(Code::Unauthenticated)),
        (None, Some(Code::Unauthenticated)),
    ] {
        let answer = directory.list_accounts(as_role(token)).await;
        assert_eq!(answer.err().map(|status| status.code()), code);
    }
    let mut vault = VaultClient::connect(url.clone()).await.unwrap();
    let mut request = Request::new(ResolveRequest::default());
    let gateway = service_token(&world.cluster, ServiceRole::Gateway);
    request.metadata_mut().insert("authorization", format!("Bearer {}", gateway.expose()).parse().unwrap());
    assert_eq!(vault.resolve(request).await.unwrap_err().code(), Code::PermissionDenied);

    // The adapters say that the service cannot be asked, never that a key or ticket is bad.
    let urls = [url];
    let wrong = GrpcDirectory::new(&urls, &service_token(&world.cluster, ServiceRole::Executor), None).unwrap();
    let key = auth_service::api_key::generate(auth_service::api_key::Kind::Organization).unwrap();
    assert!(text(wrong.verify_key(&key).await).starts_with("Unavailable"));
    let wrong = GrpcVault::new(&urls, &service_token(&world.cluster, ServiceRole::Gateway), None).unwrap();
    let (organization, account) =
        (plugboard_core::ids::OrganizationId::generate(), plugboard_core::ids::AccountId::generate());
    let grant = world.grant(&organization, "ozon", &account);
    assert!(text(wrong.resolve(&grant).await).starts_with("Unavailable"));
    assert!(text(Vault::changes(&wrong).await.map(|_| ())).starts_with("Unavailable"));
}

#[tokio::test]
async fn calls_go_on_while_a_replica_is_left() {
    let world = world().await;
    let stops = [CancellationToken::new(), CancellationToken::new()];
    let mut urls = Vec::new();
    let mut servers = Vec::new();
    for stop in &stops {
        let service = world.service_until(stop.clone()).await;
        let (url, server) = world.serve(service, stop.clone()).await;
        urls.push(url);
        servers.push(server);
    }
    // One address where nobody listens, and one that accepts and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    urls.insert(0, "http://127.0.0.1:1".to_owned());
    urls.push(format!("http://{}", silent.local_addr().unwrap()));

    let directory = Arc::new(world.grpc_directory(&urls));
    let vault = world.grpc_vault(&urls);
    let (organization, issued) = directory.create_organization("Acme").await.unwrap();
    let account = world.service().await.create_account(new_account(&organization.id, "ozon", &OZON)).await.unwrap();
    let cached = CachedDirectory::new(directory.clone(), Arc::new(world.clock.clone()));
    tokio::spawn(cached.clone().follow(world.stop_token()));
    eventually("the cache is fresh", async || cached.is_fresh()).await;

    let ask = async || {
        for _ in 0..12 {
            directory.verify_key(&issued.secret).await.unwrap();
        }
        vault.resolve(&world.grant(&organization.id, "ozon", &account.id)).await.unwrap();
    };
    ask().await;
    let stopping = Instant::now();
    stops[0].cancel();
    // A server with open change streams still stops at once.
    tokio::time::timeout(Duration::from_secs(5), servers.remove(0)).await.unwrap().unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(5));
    ask().await;
    eventually("the cache found another stream", async || cached.is_fresh()).await;

    stops[1].cancel();
    tokio::time::timeout(Duration::from_secs(5), servers.remove(0)).await.unwrap().unwrap();
    eventually("the cache closes", async || !cached.is_fresh()).await;
    assert!(text(cached.verify_key(issued.secret.expose()).await).starts_with("Unavailable"));
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up_in_time() {
    let world = world().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = world.grpc_directory(&[format!("http://{}", silent.local_addr().unwrap())]);
    let start = Instant::now();
    let key = auth_service::api_key::generate(auth_service::api_key::Kind::Organization).unwrap();
    assert!(text(directory.verify_key(&key).await).starts_with("Unavailable"));
    assert!(start.elapsed() < Duration::from_millis(2900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_organization_with_many_accounts_fits() {
    let world = world().await;
    let service = world.service().await;
    let (url, _) = world.serve(service.clone(), world.stop_token()).await;
    let (organization, _) = service.create_organization("Acme").await.unwrap();
    // Over the 4 MiB that gRPC permits unless told otherwise.
    let long = "я".repeat(8000);
    for _ in 0..300 {
        let fields = [("client_id", long.as_str()), ("api_key", "k")];
        service.create_account(new_account(&organization.id, "ozon", &fields)).await.unwrap();
    }
    let directory = world.grpc_directory(&[url]);
    assert_eq!(directory.accounts(&organization.id).await.unwrap().len(), 300);
}
