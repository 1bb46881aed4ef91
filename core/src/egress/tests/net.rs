//! A server that counts, a resolver that lies, and a client whose sockets all lead to that server.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use http::Method;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::egress::connect::Guard;
use crate::egress::{Egress, EgressError, EgressPolicy, EgressRequest, EgressResponse, HostBinding, Resolve};

/// What the server does after its answer.
#[derive(Clone, Copy)]
pub(super) enum Then {
    Keep,
    Close,
}

/// An answer: pieces of bytes, with pauses before them.
pub(super) struct Reply {
    pub(super) pieces: Vec<(Duration, Vec<u8>)>,
    pub(super) then: Then,
}

impl Reply {
    pub(super) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { pieces: vec![(Duration::ZERO, bytes.into())], then: Then::Keep }
    }

    pub(super) fn with(headers: &str, body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Self::raw(bytes)
    }

    pub(super) fn text(body: &str) -> Self {
        Self::with("content-type: text/plain\r\n", body.as_bytes())
    }

    /// Nothing, for ever.
    pub(super) fn silence() -> Self {
        Self { pieces: vec![(Duration::from_secs(3600), Vec::new())], then: Then::Close }
    }

    /// Nothing, and the connection ends.
    pub(super) fn hang_up() -> Self {
        Self { pieces: Vec::new(), then: Then::Close }
    }

    pub(super) fn then_close(mut self) -> Self {
        self.then = Then::Close;
        self
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Which request on its connection, from 0.
    pub(super) nth: usize,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A server on loopback that remembers what reached it.
#[derive(Clone)]
pub(super) struct Canary {
    pub(super) addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Canary {
    pub(super) async fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let canary = Self { addr: listener.local_addr().unwrap(), connections: Arc::default(), seen: Arc::default() };
        let (server, reply) = (canary.clone(), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.connections.fetch_add(1, Ordering::SeqCst);
                let (server, reply) = (server.clone(), Arc::clone(&reply));
                tokio::spawn(async move { server.serve(stream, &*reply).await });
            }
        });
        canary
    }

    pub(super) async fn echo() -> Self {
        Self::start(|_| Reply::text("ok")).await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(super) fn hits(&self) -> usize {
        self.seen.lock().len()
    }

    async fn serve(&self, mut stream: TcpStream, reply: &(dyn Fn(&Seen) -> Reply + Send + Sync)) {
        let mut buffer = Vec::new();
        for nth in 0.. {
            let Some(seen) = read_request(&mut stream, &mut buffer, nth).await else {
                return;
            };
            self.seen.lock().push(seen.clone());
            let reply = reply(&seen);
            for (pause, piece) in reply.pieces {
                tokio::time::sleep(pause).await;
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
            }
            if let Then::Close = reply.then {
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>, nth: usize) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut seen = Seen { line, headers, body: Vec::new(), nth };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = buffer.drain(..length).collect();
    Some(seen)
}

/// Names with one list of addresses for each look-up; the last list stays.
#[derive(Default)]
pub(super) struct Names {
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    asked: Mutex<HashMap<String, usize>>,
}

impl Names {
    pub(super) fn with(mut self, name: &str, answers: &[&[&str]]) -> Self {
        let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        self.answers.insert(name.to_owned(), answers.iter().map(parse).collect());
        self
    }

    pub(super) fn asked(&self, name: &str) -> usize {
        self.asked.lock().get(name).copied().unwrap_or(0)
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let mut asked = self.asked.lock();
            let count = asked.entry(name.to_owned()).or_insert(0);
            let answers = self.answers.get(name).ok_or(io::ErrorKind::NotFound)?;
            let answer = answers[(*count).min(answers.len() - 1)].clone();
            *count += 1;
            Ok(answer)
        })
    }
}

/// A client in a made-up network: every socket that it opens leads to `server`, wherever it was meant to go.
pub(super) struct Net {
    pub(super) egress: Egress,
    pub(super) names: Arc<Names>,
}

impl Net {
    pub(super) fn new(policy: EgressPolicy, names: Names, server: Option<SocketAddr>) -> Self {
        let names = Arc::new(names);
        let named_ports = ArcSwap::from_pointee(policy.named_ports.clone());
        let resolver = names.clone();
        let guard = Guard { policy, resolver, named_ports, redirect: server, dialled: Mutex::default() };
        Self { egress: Egress::with_guard(guard).unwrap(), names }
    }

    /// Real sockets, and only this one address open.
    pub(super) fn only(server: SocketAddr) -> Self {
        let policy = EgressPolicy::default().with_allowance(crate::egress::Allowance::exactly(server));
        Self::new(policy, Names::default(), None)
    }

    pub(super) async fn get(&self, url: &str) -> Result<EgressResponse, EgressError> {
        self.egress.send(get(url)?).await
    }
}

/// A call to any host, with ten seconds to go.
pub(super) fn get(url: &str) -> Result<EgressRequest, EgressError> {
    EgressRequest::parse(Method::GET, url, HostBinding::Any, Duration::from_secs(10))
}
