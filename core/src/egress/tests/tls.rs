//! Over TLS: both protocols, and certificates that are not for us.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::net::{Names, Net, get};
use crate::egress::{ConnectStage, EgressErrorKind, EgressPolicy, PoolClass, TimeoutPhase};

const HOST: &str = "api.example.com";

/// Echoes the body; sleeps for `/slow`. Returns its address and certificate.
async fn server(alpn: &[&str]) -> (SocketAddr, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let serving = auto::Builder::new(TokioExecutor::new());
                let _ = serving.serve_connection(TokioIo::new(stream), service_fn(echo)).await;
            });
        }
    });
    (addr, cert.pem().into_bytes())
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.uri().path() == "/slow" {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let many = if request.uri().path() == "/many" { 200 } else { 0 };
    let body = request.into_body().collect().await?.to_bytes();
    let mut response = Response::new(Full::new(body));
    for n in 0..many {
        let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
        response.headers_mut().insert(name, http::HeaderValue::from_static("v"));
    }
    Ok(response)
}

fn net(server: SocketAddr, roots: Vec<u8>) -> Net {
    let policy = EgressPolicy { extra_roots_pem: roots, ..EgressPolicy::default() };
    let names = Names::default().with(HOST, &[&["93.184.216.34"]]).with("other.example.com", &[&["93.184.216.34"]]);
    Net::new(policy, names, Some(server))
}

#[tokio::test]
async fn speaks_http2_and_http1() {
    for (alpn, version) in
        [(&["h2", "http/1.1"][..], Version::HTTP_2), (&["http/1.1"], Version::HTTP_11), (&[], Version::HTTP_11)]
    {
        let (addr, cert) = server(alpn).await;
        let net = net(addr, cert);
        for pool in [PoolClass::Shared, PoolClass::Fresh] {
            let mut request = get(&format!("https://{HOST}/v1")).unwrap().with_body("hello").with_pool(pool);
            request.method = Method::POST;
            let answer = net.egress.send(request).await.unwrap();
            assert_eq!(answer.body, "hello");
            assert_eq!(answer.version, version);
            assert_eq!(answer.remote, Some(addr));
        }
    }
}

#[tokio::test]
async fn http2_says_whether_the_request_left() {
    let (addr, cert) = server(&["h2"]).await;
    let net = net(addr, cert);
    for body in [None, Some(Bytes::from_static(b"x"))] {
        let mut request = get(&format!("https://{HOST}/slow")).unwrap();
        request.body = body;
        request.deadline = tokio::time::Instant::now() + Duration::from_millis(500);
        let error = net.egress.send(request).await.unwrap_err();
        assert_eq!(error.kind(), &EgressErrorKind::Timeout { sent: true, phase: TimeoutPhase::Deadline });
    }
    let error = net.get(&format!("https://{HOST}/many")).await.unwrap_err();
    assert!(matches!(error.kind(), EgressErrorKind::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_not_for_the_host_stops_the_call() {
    let (addr, cert) = server(&["h2", "http/1.1"]).await;
    let stranger = net(addr, Vec::new());
    let friend = net(addr, cert);
    for (net, host) in [(&stranger, HOST), (&friend, "other.example.com")] {
        let request = get(&format!("https://{host}/s3cret")).unwrap();
        let sent = request.sent.clone();
        let error = net.egress.send(request).await.unwrap_err();
        assert_eq!(error.kind(), &EgressErrorKind::Connect { stage: ConnectStage::Handshake });
        assert!(error.not_sent());
        assert!(!sent.get());
        assert!(!format!("{error:?}").contains("s3cret"));
    }
}
