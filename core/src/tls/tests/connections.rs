//! Who is let in, who is believed, and what a renewal changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::server::Connected;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::files::Files;
use crate::identity::{ServiceAuth, ServiceRole, service_token};
use crate::secret::SecretKey;
use crate::testing::certificates::Authority;
use crate::tls::{Listening, Peer, PublicTls, ServiceTls, TlsConfig, channel};

const SECRET: [u8; 32] = [5; 32];

fn open(files: &Files) -> ServiceTls {
    ServiceTls::open(&files.config(), None).unwrap().unwrap()
}

fn holder(authority: &Authority, names: &[&str]) -> ServiceTls {
    open(&Files::new(&authority.pem, &authority.day(names)))
}

/// Whether the service never heard of it. Whoever is refused during the handshake reads of it sooner or later, with
/// whatever code.
fn did_not_come_to_speak(refused: &Status) -> bool {
    !matches!(refused.code(), Code::PermissionDenied | Code::Unauthenticated)
}

/// A service that answers whoever has the token and the certificate of one role.
async fn serve(tls: Option<&ServiceTls>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let callers = ServiceAuth::new(&SecretKey::new(SECRET));
    let gate = move |request| callers.caller(&request).map(|_| request);
    let health = tonic_health::server::health_reporter().1;
    let service = tonic::service::interceptor::InterceptedService::new(health, gate);
    let incoming = Listening::to_services(listener, tls).accept().unwrap();
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    address
}

async fn ask(url: &str, tls: Option<&ServiceTls>, role: ServiceRole) -> Result<(), Status> {
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    let token = service_token(&SecretKey::new(SECRET), role);
    request.metadata_mut().insert("authorization", format!("Bearer {}", token.expose()).parse().unwrap());
    HealthClient::new(channel(endpoint, Duration::from_secs(5), tls)).check(request).await.map(drop)
}

#[tokio::test]
async fn a_certificate_of_the_role_is_let_in() {
    let authority = Authority::default();
    let address = serve(Some(&holder(&authority, &["auth.test"]))).await;
    let url = format!("https://{address}");
    let executor = holder(&authority, &["spiffe://test/executor"]);
    ask(&url, Some(&executor), ServiceRole::Executor).await.unwrap();
    // A token of another role does not fit the certificate, and a certificate without a role fits none.
    for (names, role) in [
        (&["executor.test"][..], ServiceRole::Gateway),
        (&["gateway.test"], ServiceRole::Executor),
        (&["somebody.test"], ServiceRole::Executor),
    ] {
        let refused = ask(&url, Some(&holder(&authority, names)), role).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{names:?}: {refused}");
    }
}

#[tokio::test]
async fn strangers_do_not_come_to_speak() {
    let authority = Authority::default();
    let address = serve(Some(&holder(&authority, &["auth.test"]))).await;
    let (url, role) = (format!("https://{address}"), ServiceRole::Executor);
    // In the clear.
    let refused = ask(&format!("http://{address}"), None, role).await.unwrap_err();
    assert!(did_not_come_to_speak(&refused), "{refused}");
    // With a certificate of another CA, whether or not it believes this one.
    let stranger = Authority::default();
    let made = stranger.day(&["executor.test"]);
    for ca in [&stranger.pem, &authority.pem] {
        let refused = ask(&url, Some(&open(&Files::new(ca, &made))), role).await.unwrap_err();
        assert!(did_not_come_to_speak(&refused), "{refused}");
    }
    // With none: in TLS 1.3 a client has finished before the server has looked, and reads of the refusal afterwards.
    let greeted = match connect(&authority, address).await {
        Ok(mut stream) => stream.read_u8().await.is_ok(),
        Err(_) => false,
    };
    assert!(!greeted);
}

/// As somebody without a certificate, who believes this CA.
async fn connect(authority: &Authority, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
}

#[tokio::test]
async fn in_public_nobody_is_asked_for_a_certificate() {
    let authority = Authority::default();
    let files = Files::new(&authority.pem, &authority.day(&[]));
    let own = files.config();
    let config =
        TlsConfig { public_certificate: own.certificate, public_private_key: own.private_key, ..TlsConfig::default() };
    let tls = PublicTls::open(&config).unwrap().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = Listening::to_public(listener, Some(&tls)).accept().unwrap();
    let served = tokio::spawn(async move {
        let (mut io, _) = incoming.next().await;
        io.write_all(b"hello").await.unwrap();
        io.shutdown().await.unwrap();
        io.connect_info()
    });
    // Whoever comes first and says nothing holds up nobody.
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut said = String::new();
    connect(&authority, address).await.unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!((said.as_str(), served.await.unwrap()), ("hello", Peer::Unproven));
}

#[tokio::test]
async fn a_server_is_who_its_certificate_says() {
    let authority = Authority::default();
    let server = holder(&authority, &["auth.test"]);
    let address = serve(Some(&server)).await;
    let executor = holder(&authority, &["executor.test"]);
    // Its certificate is for 127.0.0.1, and not for this name of the same address.
    let refused = ask(&format!("https://localhost:{}", address.port()), Some(&executor), ServiceRole::Executor)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    // Nothing was sent, and whoever asks another replica instead can tell.
    let mut causes = std::iter::successors(std::error::Error::source(&refused), |error| error.source());
    assert!(causes.any(|error| error.is::<tonic::ConnectError>()), "{refused:?}");
    assert!(crate::tls::reason(&refused).contains("certificate"), "{refused:?}");
}

#[tokio::test]
async fn without_the_setting_the_token_is_enough() {
    let address = serve(None).await;
    ask(&format!("http://{address}"), None, ServiceRole::Gateway).await.unwrap();
}

#[tokio::test]
async fn a_new_authority_is_taken_while_both_sides_run() {
    let (old, new) = (Authority::default(), Authority::default());
    let server_files = Files::new(&old.pem, &old.day(&["auth.test"]));
    let client_files = Files::new(&old.pem, &old.day(&["executor.test"]));
    let (server, client) = (open(&server_files), open(&client_files));
    let url = format!("https://{}", serve(Some(&server)).await);
    ask(&url, Some(&client), ServiceRole::Executor).await.unwrap();

    server_files.put(&new.day(&["auth.test"]));
    server.files().reload().unwrap();
    assert!(ask(&url, Some(&client), ServiceRole::Executor).await.is_err(), "the client does not know the new CA yet");
    client_files.write("ca.pem", &format!("{}{}", old.pem, new.pem));
    client.files().reload().unwrap();
    ask(&url, Some(&client), ServiceRole::Executor).await.unwrap();
    client_files.put(&new.day(&["executor.test"]));
    client.files().reload().unwrap();
    assert!(ask(&url, Some(&client), ServiceRole::Executor).await.is_err(), "the server does not");
    server_files.write("ca.pem", &new.pem);
    server.files().reload().unwrap();
    ask(&url, Some(&client), ServiceRole::Executor).await.unwrap();
}
