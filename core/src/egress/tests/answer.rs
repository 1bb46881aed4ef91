//! What comes back: redirects, codings, caps, headers.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::{HeaderValue, Method, header};
use proptest::prelude::*;

use super::net::{Canary, Net, Reply, get};
use crate::egress::codec::Codec;
use crate::egress::{Caps, EgressError, EgressErrorKind, EgressRequest, EgressResponse, MAX_HEADERS, SizeLimit};

/// `hello world` in brotli.
const BROTLI: &[u8] = b"\x0b\x05\x80hello world\x03";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

async fn answer_to(
    change: impl FnOnce(&mut EgressRequest),
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) -> Result<EgressResponse, EgressError> {
    let canary = Canary::start(move |_| reply()).await;
    let mut request = get(&format!("http://{}/", canary.addr)).unwrap();
    change(&mut request);
    Net::only(canary.addr).egress.send(request).await
}

async fn answer(headers: &str, body: &[u8]) -> Result<EgressResponse, EgressError> {
    let (headers, body) = (headers.to_owned(), body.to_vec());
    answer_to(|_| {}, move || Reply::with(&headers, &body)).await
}

fn too_large(error: &EgressError) -> (SizeLimit, u64) {
    match error.kind() {
        EgressErrorKind::TooLarge { what, limit } => (*what, *limit),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let other = Canary::echo().await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/stolen", other.addr);
        let answer = answer_to(
            |request| {
                request.headers.insert("x-api-key", HeaderValue::from_static("k"));
            },
            move || {
                Reply::raw(format!(
                    "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
                ))
            },
        )
        .await
        .unwrap();
        assert_eq!(answer.status.as_u16(), status);
        assert!(answer.headers.contains_key(header::LOCATION));
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn requests_carry_our_headers_and_nothing_from_earlier_calls() {
    let canary = Canary::start(|_| Reply::with("set-cookie: session=1; Path=/\r\n", b"ok")).await;
    let net = Net::only(canary.addr);
    let url = format!("http://{}/", canary.addr);
    net.get(&url).await.unwrap();
    let mut post = get(&url).unwrap();
    post.method = Method::POST;
    net.egress.send(post.clone()).await.unwrap();
    net.egress.send(post.with_body(r#"{"a":1}"#)).await.unwrap();
    let mut own = get(&url).unwrap().with_header(header::USER_AGENT, HeaderValue::from_static("mine/1"));
    own.headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    net.egress.send(own).await.unwrap();

    let seen = canary.seen();
    let agent = format!("plugboard/{}", env!("CARGO_PKG_VERSION"));
    for request in &seen {
        for absent in ["cookie", "referer", "x-forwarded-host", "transfer-encoding", "proxy-connection"] {
            assert_eq!(request.header(absent), None, "{absent}");
        }
    }
    assert_eq!(seen[0].header("user-agent"), Some(agent.as_str()));
    assert_eq!(seen[0].header("accept"), Some("*/*"));
    assert_eq!(seen[0].header("accept-encoding"), Some("gzip, br, deflate"));
    assert_eq!(seen[0].header("content-length"), None);
    assert_eq!(seen[1].header("content-length"), Some("0"));
    assert_eq!(seen[2].header("content-length"), Some("7"));
    assert_eq!(seen[2].body, br#"{"a":1}"#);
    assert_eq!(seen[3].header("user-agent"), Some("mine/1"));
    assert_eq!(seen[3].header("accept-encoding"), None);
}

#[tokio::test]
async fn codings_are_decoded_and_their_headers_removed() {
    let text = "hello world ".repeat(20_000);
    for (coding, body) in [
        ("gzip", gzip(text.as_bytes())),
        ("X-GZip", gzip(text.as_bytes())),
        ("deflate", zlib(text.as_bytes())),
        ("deflate", deflate(text.as_bytes())),
    ] {
        let answer = answer(&format!("content-encoding: {coding}\r\n"), &body).await.unwrap();
        assert_eq!(answer.body, text.as_bytes(), "{coding}");
        assert_eq!((answer.wire_bytes, answer.decoded_bytes), (body.len() as u64, text.len() as u64));
        assert!(!answer.headers.contains_key(header::CONTENT_ENCODING));
        assert!(!answer.headers.contains_key(header::CONTENT_LENGTH));
    }
    let answer = answer("content-encoding: br\r\n", BROTLI).await.unwrap();
    assert_eq!(answer.body, "hello world");
}

#[tokio::test]
async fn several_members_are_one_body() {
    let body = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(answer("content-encoding: gzip\r\n", &body).await.unwrap().body, "one two");
}

#[tokio::test]
async fn other_codings_stay_as_they_came() {
    for coding in ["zstd", "gzip, br", "identity"] {
        let answer = answer(&format!("content-encoding: {coding}\r\n"), b"\x01\x02").await.unwrap();
        assert_eq!(&answer.body[..], b"\x01\x02");
        assert_eq!(answer.headers[header::CONTENT_ENCODING], coding);
    }
}

#[tokio::test]
async fn no_body_is_no_body_in_any_coding() {
    for coding in ["gzip", "deflate", "br"] {
        let answer = answer(&format!("content-encoding: {coding}\r\n"), b"").await.unwrap();
        assert!(answer.body.is_empty(), "{coding}");
    }
    let head = answer_to(
        |request| request.method = Method::HEAD,
        || Reply::raw("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 99999999999\r\n\r\n"),
    )
    .await
    .unwrap();
    assert!(head.body.is_empty());
    assert_eq!(head.headers[header::CONTENT_LENGTH], "99999999999");
}

#[tokio::test]
async fn a_body_that_belies_its_coding_is_an_error_with_a_status() {
    let whole = gzip(b"hello world");
    let cut = &whole[..whole.len() - 6];
    let mut flipped = whole.clone();
    let middle = flipped.len() - 5;
    flipped[middle] ^= 0xff;
    let long = [&whole[..], b"garbage"].concat();
    for (coding, body) in [
        ("gzip", &b"not gzip at all"[..]),
        ("gzip", cut),
        ("gzip", &flipped),
        ("gzip", &long),
        ("deflate", b"\x78\x9c\xff\xff\xff"),
        ("deflate", &zlib(b"hello world")[..8]),
        ("deflate", b"\xff\xff\xff"),
        ("br", b"\xff\xff\xff\xff"),
        ("br", &BROTLI[..6]),
    ] {
        let error = answer(&format!("content-encoding: {coding}\r\n"), body).await.unwrap_err();
        assert!(matches!(error.kind(), EgressErrorKind::Decode { .. }), "{coding}: {error:?}");
        assert_eq!(error.status().map(|status| status.as_u16()), Some(200));
        assert!(!error.not_sent());
    }
}

#[tokio::test]
async fn a_bomb_is_stopped_by_its_ratio() {
    let bomb = gzip(&vec![0; 100 << 20]);
    assert!(bomb.len() < 120_000);
    let error = answer("content-encoding: gzip\r\n", &bomb).await.unwrap_err();
    assert_eq!(too_large(&error), (SizeLimit::Ratio, 100));
    assert_eq!(error.status().map(|status| status.as_u16()), Some(200));
    // Small answers may be as dense as they like.
    let dense = gzip(&vec![0; 1 << 20]);
    assert_eq!(answer("content-encoding: gzip\r\n", &dense).await.unwrap().decoded_bytes, 1 << 20);
}

#[tokio::test]
async fn a_bomb_is_stopped_by_its_size() {
    let bomb = gzip(&vec![0; 8 << 20]);
    let error = answer_to(
        |request| {
            request.caps = Caps { decoded_bytes: 4 << 20, ratio: u64::MAX, ..Caps::default() };
        },
        move || Reply::with("content-encoding: gzip\r\n", &bomb),
    )
    .await
    .unwrap_err();
    assert_eq!(too_large(&error), (SizeLimit::Decoded, 4 << 20));
}

#[tokio::test]
async fn an_answer_over_its_cap_is_refused_announced_or_not() {
    let cap = |bytes| move |request: &mut EgressRequest| request.caps.wire_bytes = bytes;
    let exact = answer_to(cap(1000), || Reply::with("", &[7; 1000])).await.unwrap();
    assert_eq!(exact.body.len(), 1000);
    let announced = answer_to(cap(1000), || Reply::raw("HTTP/1.1 200 OK\r\nx-seen: 1\r\ncontent-length: 1001\r\n\r\n"))
        .await
        .unwrap_err();
    assert_eq!(too_large(&announced), (SizeLimit::Wire, 1000));
    assert_eq!(announced.head().unwrap().headers["x-seen"], "1");
    let chunked = answer_to(cap(1000), || {
        let mut raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..100 {
            raw.extend_from_slice(b"64\r\n");
            raw.extend_from_slice(&[7; 100]);
            raw.extend_from_slice(b"\r\n");
        }
        Reply::raw(raw)
    })
    .await
    .unwrap_err();
    assert_eq!(too_large(&chunked), (SizeLimit::Wire, 1000));
    let decoded = answer_to(|request| request.caps.decoded_bytes = 10, || Reply::with("", &[7; 11])).await.unwrap_err();
    assert_eq!(too_large(&decoded), (SizeLimit::Decoded, 10));
}

#[tokio::test]
async fn headers_have_caps() {
    let with = |count: usize, size: usize| {
        move || {
            let fields: String = (0..count).map(|n| format!("x-{n}: {}\r\n", "v".repeat(size))).collect();
            Reply::raw(format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok"))
        }
    };
    assert_eq!(answer_to(|_| {}, with(MAX_HEADERS - 1, 10)).await.unwrap().headers.len(), MAX_HEADERS);
    let (what, _) = too_large(&answer_to(|_| {}, with(MAX_HEADERS, 10)).await.unwrap_err());
    assert_eq!(what, SizeLimit::Headers);
    assert!(answer_to(|_| {}, with(50, 1000)).await.is_ok());
    for (count, size) in [(64, 1024), (80, 1000), (1, 70_000), (120, 10_000)] {
        let (what, _) = too_large(&answer_to(|_| {}, with(count, size)).await.unwrap_err());
        assert_eq!(what, SizeLimit::Headers);
    }
}

#[tokio::test]
async fn chunks_are_put_together_and_trailers_dropped() {
    let answer = answer_to(|_| {}, || {
        Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n1\r\nf\r\n0\r\nx-t: 1\r\n\r\n")
    })
    .await
    .unwrap();
    assert_eq!(answer.body, "abcdef");
    assert_eq!(answer.wire_bytes, 6);
}

#[tokio::test]
async fn a_stream_is_read_as_it_comes() {
    let (first, second) = (gzip(b"data: 1\n\n"), gzip(b"data: 2\n\n"));
    for coded in [false, true] {
        let (first, second) = (first.clone(), second.clone());
        let canary = Canary::start(move |_| {
            let head = if coded { "content-encoding: gzip\r\n" } else { "" };
            let mut reply = Reply::raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n"));
            let pieces = if coded {
                [first.clone(), second.clone()]
            } else {
                [b"data: 1\n\n".to_vec(), b"data: 2\n\n".to_vec()]
            };
            reply.pieces.extend(pieces.map(|piece| (Duration::from_millis(150), piece)));
            reply.then_close()
        })
        .await;
        let net = Net::only(canary.addr);
        let started = std::time::Instant::now();
        let mut stream = net.egress.open(get(&format!("http://{}/", canary.addr)).unwrap()).await.unwrap();
        assert_eq!(stream.status().as_u16(), 200);
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 1\n\n");
        assert!(started.elapsed() < Duration::from_millis(290), "{coded}");
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 2\n\n");
        assert_eq!(stream.chunk().await.unwrap(), None);
        assert_eq!(stream.chunk().await.unwrap(), None);
    }
}

#[tokio::test]
async fn proxies_in_the_environment_are_ignored() {
    if let Ok(url) = std::env::var("PLUGBOARD_TEST_DIRECT") {
        let addr = url.parse().unwrap();
        Net::only(addr).get(&format!("http://{addr}/direct")).await.unwrap();
        return;
    }
    let (canary, proxy) = (Canary::echo().await, Canary::echo().await);
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "egress::tests::answer::proxies_in_the_environment_are_ignored"]);
    child.env("PLUGBOARD_TEST_DIRECT", canary.addr.to_string()).env_remove("NO_PROXY").env_remove("no_proxy");
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, format!("http://{}", proxy.addr));
    }
    assert!(child.output().await.unwrap().status.success());
    assert_eq!((canary.hits(), proxy.connections()), (1, 0));
}

proptest! {
    #[test]
    fn decoding_does_not_depend_on_the_pieces(
        data in proptest::collection::vec(0_u8..8, 0..5000),
        cuts in proptest::collection::vec(1_usize..400, 1..20),
        coding in 0_usize..3,
    ) {
        let (name, coded) = match coding {
            0 => ("gzip", gzip(&data)),
            1 => ("deflate", zlib(&data)),
            _ => ("deflate", deflate(&data)),
        };
        let mut headers = http::HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        let mut codec = Codec::of(&headers, &Caps::default());
        let (mut rest, mut out, mut wire) = (&coded[..], Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            let (piece, left) = rest.split_at((*cut).min(rest.len()));
            wire += piece.len() as u64;
            codec.write(piece, wire).unwrap();
            codec.flush().unwrap();
            out.extend_from_slice(&codec.take());
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        codec.finish().unwrap();
        out.extend_from_slice(&codec.take());
        prop_assert_eq!(out, data);
    }

    #[test]
    fn rubbish_never_panics(data in proptest::collection::vec(any::<u8>(), 0..300), coding in 0_usize..3) {
        let mut headers = http::HeaderMap::new();
        let name = ["gzip", "deflate", "br"][coding];
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        let mut codec = Codec::of(&headers, &Caps::default());
        let written = codec.write(&data, data.len() as u64);
        if written.is_ok() {
            let _ = codec.finish();
        }
    }
}
