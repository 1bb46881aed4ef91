//! The vendor: it writes every request into its ledger, on disk, before it does anything; then it answers, or not, as its
//! seed says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plugboard_tests::vendor::{Received, read};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::records::{Clock, Entry, LEDGER, Log, Request, Tagger, body_hash, roll};

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Ok,
    Slow(Duration),
    /// 429 with `Retry-After`.
    TooMany,
    /// 503.
    Down,
    /// Does it, and resets the connection.
    ResetAfter,
    /// Resets the connection, and does nothing.
    ResetBefore,
    /// Does it, and stops in the middle of the answer.
    Truncated,
    /// Sends the caller to an address that nobody may dial.
    Redirect,
}

impl Behaviour {
    /// Of a thousand. From the third request of one call on, the vendor is well.
    fn of(seed: u64, marker: &str, nth: u32) -> Self {
        if nth > 2 {
            return Self::Ok;
        }
        let number = nth.to_string();
        match roll(seed, &["vendor", marker, &number]) % 1000 {
            0..50 => Self::Slow(Duration::from_millis(200 + roll(seed, &["slow", marker, &number]) % 6_000)),
            50..90 => Self::TooMany,
            90..120 => Self::Down,
            120..150 => Self::ResetAfter,
            150..170 => Self::ResetBefore,
            170..180 => Self::Truncated,
            180..190 => Self::Redirect,
            _ => Self::Ok,
        }
    }

    fn does_it(self) -> bool {
        matches!(self, Self::Ok | Self::Slow(_) | Self::ResetAfter | Self::Truncated)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Slow(_) => "slow",
            Self::TooMany => "too_many",
            Self::Down => "down",
            Self::ResetAfter => "reset_after",
            Self::ResetBefore => "reset_before",
            Self::Truncated => "truncated",
            Self::Redirect => "redirect",
        }
    }
}

#[derive(Debug)]
struct State {
    ledger: Log,
    clock: Clock,
    tagger: Tagger,
    seed: u64,
    canary: SocketAddr,
    sequence: AtomicU64,
    requests: Mutex<HashMap<String, u32>>,
    /// What a repeat is recognised by → the effect it had.
    done: Mutex<HashMap<String, u64>>,
}

/// It serves for the rest of the runtime's life.
#[derive(Debug)]
pub(crate) struct Vendor {
    pub(crate) address: SocketAddr,
}

impl Vendor {
    pub(crate) async fn start(out: &Path, seed: u64, clock: Clock, tagger: Tagger, canary: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            ledger: Log::create(out, LEDGER),
            clock,
            tagger,
            seed,
            canary,
            sequence: AtomicU64::new(0),
            requests: Mutex::default(),
            done: Mutex::default(),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let _ = serve(stream, &state).await;
                });
            }
        });
        Self { address }
    }
}

async fn serve(mut stream: TcpStream, state: &Arc<State>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        match read(&mut stream, &mut buffer).await {
            Ok(Some(request)) => {
                if !answer(&mut stream, state, request).await? {
                    return Ok(());
                }
            }
            ended => {
                state.partial(&buffer);
                return ended.map(|_| ());
            }
        }
    }
}

/// Returns whether the connection lives on.
async fn answer(stream: &mut TcpStream, state: &Arc<State>, request: Received) -> std::io::Result<bool> {
    // Not when its line is written: it may wait for those of others before that.
    let at = state.clock.now();
    let marker = marker_of(&request.path);
    let nth = {
        let mut requests = state.requests.lock().unwrap();
        let nth = requests.entry(marker.clone()).or_default();
        *nth += 1;
        *nth
    };
    let behaviour = Behaviour::of(state.seed, &marker, nth);
    // Writing to disk holds up a thread of the runtime for milliseconds.
    let (entry, effect) = {
        let (state, marker) = (state.clone(), marker.clone());
        tokio::task::spawn_blocking(move || state.enter(at, &request, &marker, behaviour)).await.unwrap()
    };
    let seq = entry.seq;
    let told = |status| state.ledger.append(&Entry::Answered { seq, at: state.clock.now(), status });
    match behaviour {
        Behaviour::ResetAfter | Behaviour::ResetBefore => {
            stream.set_zero_linger()?;
            return Ok(false);
        }
        Behaviour::Slow(time) => tokio::time::sleep(time).await,
        _ => {}
    }
    let (status, head) = match behaviour {
        Behaviour::TooMany => (429, "Retry-After: 1\r\n".to_owned()),
        Behaviour::Down => (503, String::new()),
        Behaviour::Redirect => (302, format!("Location: http://{}/stolen\r\n", state.canary)),
        _ => (200, String::new()),
    };
    let mut body = json!({"marker": marker});
    if let Some(effect) = effect {
        body["effect"] = json!(effect);
    }
    if behaviour == Behaviour::Truncated {
        body["text"] = json!("x".repeat(4000));
    }
    let body = body.to_string();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} Vendor\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{head}\r\n");
    stream.write_all(head.as_bytes()).await?;
    if behaviour == Behaviour::Truncated {
        stream.write_all(&body.as_bytes()[..length / 2]).await?;
        return Ok(false);
    }
    stream.write_all(body.as_bytes()).await?;
    told(status);
    Ok(true)
}

impl State {
    fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Writes the line; the effect is what its answer tells, that of an earlier request if this is a repeat of it.
    fn enter(&self, at: u64, request: &Received, marker: &str, behaviour: Behaviour) -> (Request, Option<u64>) {
        let seq = self.next();
        let key = Some(request.header("idempotency-key").to_owned()).filter(|key| !key.is_empty());
        let body = body_hash(&request.json());
        // What makes a repeat: the key it came with, or for a replacement that everything is as it was asked for.
        let repeat_of = match request.method.as_str() {
            "PUT" => Some(format!("put {marker} {body}")),
            "POST" => key.as_ref().map(|key| format!("key {key}")),
            _ => None,
        };
        let mut done = self.done.lock().unwrap();
        let earlier = repeat_of.as_ref().and_then(|of| done.get(of).copied());
        let changes = request.method != "GET" && behaviour.does_it();
        let effect = changes && earlier.is_none();
        let entry = Request {
            seq,
            at,
            marker: marker.to_owned(),
            method: request.method.clone(),
            path: request.path.clone(),
            key,
            body,
            credential: self.tagger.tag(request.header("authorization").trim_start_matches("Bearer ")),
            behaviour: behaviour.name().to_owned(),
            complete: true,
            effect,
        };
        self.ledger.append_durably(&Entry::Request(entry.clone()));
        if effect && let Some(of) = repeat_of {
            done.insert(of, seq);
        }
        (entry, earlier.filter(|_| changes).or(effect.then_some(seq)))
    }

    /// A connection that ended in the middle of a request.
    fn partial(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let mut words = text.split([' ', '\r', '\n']);
        let (Some(method), Some(path)) = (words.next().filter(|word| !word.is_empty()), words.next()) else { return };
        let credential = text.split_once("Bearer ").and_then(|(_, rest)| rest.split_once('\r')).map(|(token, _)| token);
        self.ledger.append_durably(&Entry::Request(Request {
            seq: self.next(),
            at: self.clock.now(),
            marker: marker_of(path),
            method: method.to_owned(),
            path: path.to_owned(),
            key: None,
            body: String::new(),
            credential: credential.map(|credential| self.tagger.tag(credential)).unwrap_or_default(),
            behaviour: "partial".to_owned(),
            complete: false,
            effect: false,
        }));
    }
}

/// The last segment of the path.
fn marker_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A server nobody may speak to: it counts who comes.
#[derive(Debug, Clone)]
pub(crate) struct Canary {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicU64>,
}

impl Canary {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU64::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let body = Value::from("a canary").to_string();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, connections }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}
