//! Connections that rest, die, or break; and what is known then about the request.

use std::time::Duration;

use http::Method;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::net::{Canary, Names, Net, Reply, get};
use crate::egress::{
    Allowance, Caps, ConnectStage, EgressError, EgressErrorKind, EgressPolicy, EgressRequest, PoolClass, TimeoutPhase,
};

const POOLS: [PoolClass; 2] = [PoolClass::Shared, PoolClass::Fresh];

fn within(url: &str, pool: PoolClass, millis: u64) -> EgressRequest {
    let mut request = get(url).unwrap().with_pool(pool);
    request.deadline = tokio::time::Instant::now() + Duration::from_millis(millis);
    request
}

#[tokio::test]
async fn connections_are_used_again_while_they_are_young_enough() {
    for (pool, connections) in [(PoolClass::Shared, 1), (PoolClass::Fresh, 2)] {
        let canary = Canary::echo().await;
        let net = Net::only(canary.addr);
        let url = format!("http://{}/", canary.addr);
        for _ in 0..3 {
            net.egress.send(within(&url, pool, 5000)).await.unwrap();
        }
        assert_eq!(canary.connections(), 1, "{pool:?}");
        tokio::time::sleep(Duration::from_millis(1200)).await;
        net.egress.send(within(&url, pool, 5000)).await.unwrap();
        assert_eq!(canary.connections(), connections, "{pool:?}");
    }
}

#[tokio::test]
async fn the_two_pools_share_no_connection() {
    let canary = Canary::echo().await;
    let net = Net::only(canary.addr);
    let url = format!("http://{}/", canary.addr);
    for pool in POOLS {
        net.egress.send(within(&url, pool, 5000)).await.unwrap();
    }
    assert_eq!(canary.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_rested_is_not_used() {
    for pool in POOLS {
        let canary = Canary::start(|_| Reply::text("ok").then_close()).await;
        let net = Net::only(canary.addr);
        for _ in 0..5 {
            net.egress.send(within(&format!("http://{}/", canary.addr), pool, 5000)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert_eq!((canary.hits(), canary.connections()), (5, 5));
    }
}

#[tokio::test]
async fn a_request_that_left_is_never_sent_again() {
    for pool in POOLS {
        for method in [Method::GET, Method::POST, Method::PUT] {
            // The second request of a connection is read and then dropped.
            let canary = Canary::start(|seen| if seen.nth == 0 { Reply::text("ok") } else { Reply::hang_up() }).await;
            let net = Net::only(canary.addr);
            let url = format!("http://{}/", canary.addr);
            net.egress.send(within(&url, pool, 5000)).await.unwrap();
            let mut request = within(&url, pool, 5000);
            request.method = method;
            let error = net.egress.send(request).await.unwrap_err();
            assert_eq!(error.kind(), &EgressErrorKind::Broken);
            assert!(!error.not_sent());
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!((canary.hits(), canary.connections()), (2, 1));
        }
    }
}

#[tokio::test]
async fn a_race_with_the_closing_server_is_never_counted_twice() {
    // The server closes a moment after its answer, so that many requests meet a dying connection.
    let canary = Canary::start(|_| {
        let mut reply = Reply::text("ok").then_close();
        reply.pieces.push((Duration::from_micros(100), Vec::new()));
        reply
    })
    .await;
    let net = Net::only(canary.addr);
    let url = format!("http://{}/", canary.addr);
    let (mut answered, mut unsent) = (0, 0);
    for _ in 0..300 {
        match net.egress.send(within(&url, PoolClass::Fresh, 5000)).await {
            Ok(_) => answered += 1,
            Err(error) if error.not_sent() => unsent += 1,
            Err(error) => assert_eq!(error.kind(), &EgressErrorKind::Broken),
        }
    }
    assert!(canary.hits() >= answered);
    assert!(canary.hits() <= 300 - unsent, "{} hits, {unsent} said to be unsent", canary.hits());
}

#[tokio::test]
async fn a_deadline_after_sending_says_so() {
    let canary = Canary::start(|_| Reply::silence()).await;
    let net = Net::only(canary.addr);
    let url = format!("http://{}/", canary.addr);
    let request = within(&url, PoolClass::Shared, 200);
    let sent = request.sent.clone();
    let error = net.egress.send(request).await.unwrap_err();
    assert_eq!(error.kind(), &EgressErrorKind::Timeout { sent: true, phase: TimeoutPhase::Deadline });
    assert!(!error.not_sent());
    assert!(sent.get());

    let mut request = within(&url, PoolClass::Shared, 5000).with_body("x");
    request.caps = Caps { idle: Duration::from_millis(100), ..Caps::default() };
    let error = net.egress.send(request).await.unwrap_err();
    assert_eq!(error.kind(), &EgressErrorKind::Timeout { sent: true, phase: TimeoutPhase::Idle });
}

#[tokio::test]
async fn silence_in_the_middle_of_an_answer_is_a_timeout_with_a_status() {
    let canary = Canary::start(|_| {
        let mut reply = Reply::raw("HTTP/1.1 201 Created\r\ncontent-length: 10\r\n\r\nabc");
        reply.pieces.push((Duration::from_secs(60), Vec::new()));
        reply
    })
    .await;
    let net = Net::only(canary.addr);
    let mut request = within(&format!("http://{}/", canary.addr), PoolClass::Shared, 5000);
    request.caps.idle = Duration::from_millis(100);
    let error = net.egress.send(request).await.unwrap_err();
    assert_eq!(error.kind(), &EgressErrorKind::Timeout { sent: true, phase: TimeoutPhase::Idle });
    assert_eq!(error.status().map(|status| status.as_u16()), Some(201));
}

#[tokio::test]
async fn a_slow_answer_that_keeps_moving_is_not_silent() {
    let canary = Canary::start(|_| {
        let mut reply = Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        reply.pieces.extend((0..5).map(|_| (Duration::from_millis(60), b"x".to_vec())));
        reply
    })
    .await;
    let net = Net::only(canary.addr);
    let mut request = within(&format!("http://{}/", canary.addr), PoolClass::Shared, 5000);
    request.caps.idle = Duration::from_millis(200);
    assert_eq!(net.egress.send(request).await.unwrap().body, "xxxxx");
    // But the deadline holds for all of it.
    let request = within(&format!("http://{}/", canary.addr), PoolClass::Shared, 150);
    let error = net.egress.send(request).await.unwrap_err();
    assert_eq!(error.kind(), &EgressErrorKind::Timeout { sent: true, phase: TimeoutPhase::Deadline });
}

#[tokio::test]
async fn a_deadline_before_sending_says_so() {
    let canary = Canary::echo().await;
    let net = Net::only(canary.addr);
    let request = within(&format!("http://{}/", canary.addr), PoolClass::Shared, 0);
    let error = net.egress.send(request).await.unwrap_err();
    assert!(error.not_sent());
    assert_eq!(canary.connections(), 0);

    // A handshake that does not end: the socket is open, the request has not left.
    let mute = mute_server().await;
    let net = Net::only(mute);
    for pool in POOLS {
        let request = within(&format!("https://{mute}/"), pool, 200).with_body("x");
        let sent = request.sent.clone();
        let error = net.egress.send(request).await.unwrap_err();
        assert_eq!(error.kind(), &EgressErrorKind::Timeout { sent: false, phase: TimeoutPhase::Deadline });
        assert!(error.not_sent());
        assert!(!sent.get());
    }
}

#[tokio::test]
async fn connecting_has_a_limit_of_its_own() {
    let mute = mute_server().await;
    let net = Net::only(mute);
    let error = net.egress.send(within(&format!("https://{mute}/"), PoolClass::Shared, 20_000)).await.unwrap_err();
    assert_eq!(error.kind(), &EgressErrorKind::Connect { stage: ConnectStage::TimedOut });
    assert!(error.not_sent());
}

#[tokio::test]
async fn a_cancelled_call_tells_whether_it_had_begun() {
    let canary = Canary::start(|_| Reply::silence()).await;
    let net = Net::only(canary.addr);
    let request = within(&format!("http://{}/", canary.addr), PoolClass::Fresh, 5000);
    let sent = request.sent.clone();
    let cancelled = tokio::time::timeout(Duration::from_millis(100), net.egress.send(request)).await;
    assert!(cancelled.is_err());
    assert!(sent.get());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_broken_and_has_a_status() {
    for (headers, body) in [("content-length: 100", "abc"), ("transfer-encoding: chunked", "3\r\nabc\r\n")] {
        let canary =
            Canary::start(move |_| Reply::raw(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{body}")).then_close())
                .await;
        let net = Net::only(canary.addr);
        let error = net.get(&format!("http://{}/", canary.addr)).await.unwrap_err();
        assert_eq!(error.kind(), &EgressErrorKind::Broken);
        assert_eq!(error.status().map(|status| status.as_u16()), Some(200));
    }
}

#[tokio::test]
async fn no_error_shows_path_query_or_headers() {
    let canary = Canary::start(|seen| {
        if seen.line.contains("silent") {
            Reply::silence()
        } else if seen.line.contains("rubbish") {
            Reply::raw("\0\0s3cret\r\n\r\n")
        } else {
            Reply::hang_up()
        }
    })
    .await;
    let mute = mute_server().await;
    let policy = EgressPolicy::default()
        .with_allowance(Allowance::exactly(canary.addr))
        .with_allowance(Allowance::exactly(mute));
    let net = Net::new(policy, Names::default(), None);
    let mut errors: Vec<EgressError> = Vec::new();
    for base in [
        format!("http://{}/s3cret", canary.addr),
        format!("http://{}/silent/s3cret", canary.addr),
        format!("http://{}/rubbish/s3cret", canary.addr),
        format!("https://{}/s3cret", canary.addr),
        format!("https://{mute}/s3cret"),
        "https://nowhere.example/s3cret".to_owned(),
        "https://10.0.0.1/s3cret".to_owned(),
        "https://user:s3cret@api.example.com/".to_owned(),
        "https://api.example.com/#s3cret".to_owned(),
        "s3cret".to_owned(),
        format!("https://api.example.com/{}", "s3cret".repeat(20_000)),
    ] {
        let request = match get(&format!("{base}?key=s3cret")) {
            Ok(request) => request,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let value = http::HeaderValue::from_static("s3cret");
        let mut request = request.with_header(http::header::AUTHORIZATION, value);
        request.deadline = tokio::time::Instant::now() + Duration::from_millis(300);
        assert!(!format!("{request:?}").contains("s3cret"));
        errors.push(net.egress.send(request).await.unwrap_err());
    }
    assert_eq!(errors.len(), 11);
    for error in &errors {
        let mut told = format!("{error} {error:?} {error:#?}");
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(current) = cause {
            told.push_str(&format!("{current} {current:?}"));
            cause = current.source();
        }
        assert!(!told.contains("s3cret"), "{told}");
    }
}

/// Accepts connections, reads, and never says a word.
async fn mute_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { while stream.read_buf(&mut Vec::new()).await.is_ok_and(|n| n > 0) {} });
        }
    });
    addr
}
