//! A vendor on loopback that does as told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the loopback vendor does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Reads the request and closes without an answer.
    Hang,
    /// Reads the request and never answers.
    Sleep,
    /// Answers 200 with the request's head and body as a JSON string, and its bearer token in base64.
    Echo,
}

impl Act {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self::Answer(status, vec![("content-type", "application/json".to_owned())], body.to_string().into_bytes())
    }
}

/// A vendor on loopback that follows a script; the last act repeats.
pub(crate) struct Vendor {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Vendor {
    pub(crate) async fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let script = Arc::new(Mutex::new(script));
        let log = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { addr, requests }
    }

    pub(crate) fn calls(&self) -> usize {
        self.requests.lock().len()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Vec<Act>>>, log: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read_request(&mut stream).await {
        log.lock().push(request.clone());
        let act = {
            let mut script = script.lock();
            if script.len() > 1 { script.remove(0) } else { script[0].clone() }
        };
        let (status, headers, body) = match act {
            Act::Answer(status, headers, body) => (status, headers, body),
            Act::Hang => return,
            Act::Sleep => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                return;
            }
            Act::Echo => {
                let body = json!({ "echo": request, "ok": true }).to_string().into_bytes();
                (200, vec![("content-type", "application/json".to_owned())], body)
            }
        };
        let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(&body).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut buffer = Vec::new();
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length: usize =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                return Some(String::from_utf8_lossy(&buffer).into_owned());
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}
