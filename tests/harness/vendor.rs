//! A vendor on loopback that remembers everything it was sent and answers as the test says.
//!
//! HTTP/1.1 by hand: a library would not cut a connection in the middle of an answer, or answer nothing at all. Many
//! tests share one vendor, so a rule and a look into the ledger name the requests they mean by a *mark*, a text that
//! occurs nowhere else: the secret of the test's own account, or a number in its body.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Instant,
    pub method: String,
    /// Still percent-encoded.
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Everything, head and body, as text to search in.
    pub raw: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(one, _)| one == name).map(|(_, value)| value.as_str());
        let first = found.next().unwrap_or_default();
        assert!(found.next().is_none(), "{name} came twice: {}", self.raw);
        first
    }

    /// The vendor's host, as the caller meant it.
    pub fn host(&self) -> &str {
        self.header("x-forwarded-host")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A form body, decoded.
    pub fn form(&self) -> Vec<(String, String)> {
        pairs(&String::from_utf8_lossy(&self.body))
    }
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    cut: Option<Cut>,
    echo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The connection is closed when the request is read, without a byte of an answer.
    Unanswered,
    /// The head and half of the body, then nothing more.
    Halfway,
}

impl Answer {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, "application/json", body.to_string())
    }

    pub fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into(), delay: Duration::ZERO, cut: None, echo: false }
    }

    /// Hangs up after the request.
    pub fn cut() -> Self {
        Self { cut: Some(Cut::Unanswered), ..Self::json(200, &Value::Null) }
    }

    /// Hangs up in the middle of the answer.
    pub fn halfway() -> Self {
        let body = json!({"text": "x".repeat(4000)});
        Self { cut: Some(Cut::Halfway), ..Self::json(200, &body) }
    }

    /// Repeats the request's head and body, as careless vendors do.
    pub fn echo(status: u16) -> Self {
        Self { echo: true, ..Self::json(status, &Value::Null) }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

#[derive(Debug)]
struct Rule {
    mark: String,
    /// The last one stays.
    answers: Vec<Answer>,
    taken: usize,
}

#[derive(Debug, Default)]
struct Ledger {
    received: Vec<Received>,
    rules: Vec<Rule>,
}

/// A running vendor. It serves for the rest of the test binary's life.
#[derive(Debug, Clone)]
pub struct Vendor {
    address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
}

impl Vendor {
    /// Must be called on the runtime that is to serve it.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let serving = ledger.clone();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let ledger = serving.clone();
                tokio::spawn(async move {
                    let _ = serve(stream, &ledger).await;
                });
            }
        });
        Self { address, ledger }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests with this mark get this answer from now on.
    pub fn on(&self, mark: &str, answer: Answer) {
        self.in_turn(mark, vec![answer]);
    }

    /// Requests with this mark get these answers one after the other; the last one stays.
    pub fn in_turn(&self, mark: &str, answers: Vec<Answer>) {
        assert!(!mark.is_empty() && !answers.is_empty());
        let mut ledger = self.ledger.lock().unwrap();
        // The newest rule comes first.
        ledger.rules.insert(0, Rule { mark: mark.to_owned(), answers, taken: 0 });
    }

    /// The requests with this mark, oldest first.
    pub fn received(&self, mark: &str) -> Vec<Received> {
        let ledger = self.ledger.lock().unwrap();
        ledger.received.iter().filter(|request| request.raw.contains(mark)).cloned().collect()
    }

    pub fn count(&self, mark: &str) -> usize {
        self.ledger.lock().unwrap().received.iter().filter(|request| request.raw.contains(mark)).count()
    }

    /// How often each body text that a function takes out of a request came.
    pub fn tally(&self, of: impl Fn(&Received) -> Option<String>) -> HashMap<String, usize> {
        let mut tally = HashMap::new();
        for key in self.ledger.lock().unwrap().received.iter().filter_map(of) {
            *tally.entry(key).or_default() += 1;
        }
        tally
    }

    /// The only request with this mark.
    pub fn only(&self, mark: &str) -> Received {
        let mut received = self.received(mark);
        assert_eq!(received.len(), 1, "requests with {mark}: {received:#?}");
        received.remove(0)
    }
}

impl Ledger {
    fn take(&mut self, request: &Received) -> Answer {
        match self.rules.iter_mut().find(|rule| request.raw.contains(&rule.mark)) {
            Some(rule) => {
                let at = rule.taken.min(rule.answers.len() - 1);
                rule.taken += 1;
                rule.answers[at].clone()
            }
            // A success at every one of the shipped connectors.
            None => Answer::json(200, &json!({"ok": true, "result": {"vendor": "default"}})),
        }
    }
}

async fn serve(mut stream: TcpStream, ledger: &Mutex<Ledger>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        let answer = {
            let mut ledger = ledger.lock().unwrap();
            let answer = ledger.take(&request);
            ledger.received.push(request.clone());
            answer
        };
        // Nothing but a pause of the vendor itself.
        tokio::time::sleep(answer.delay).await;
        if answer.cut == Some(Cut::Unanswered) {
            return Ok(());
        }
        let echoed = answer.echo.then(|| echo(&request).to_string().into_bytes());
        let body = echoed.as_ref().unwrap_or(&answer.body);
        let mut head = format!("HTTP/1.1 {} Vendor\r\nContent-Length: {}\r\n", answer.status, body.len());
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        if answer.cut == Some(Cut::Halfway) {
            stream.write_all(&body[..body.len() / 2]).await?;
            stream.flush().await?;
            return Ok(());
        }
        stream.write_all(body).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// In every form in which a secret could come back.
fn echo(request: &Received) -> Value {
    use base64::Engine;
    let head: serde_json::Map<String, Value> =
        request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "your_request": format!("{} {}", request.method, request.path),
        "headers": head,
        "raw": request.raw,
        "base64": base64::engine::general_purpose::STANDARD.encode(&request.raw),
        "hex": hex::encode(&request.raw),
        "next": format!("https://vendor.example/?page=2&from={}", percent_encoding::utf8_percent_encode(&request.raw, percent_encoding::NON_ALPHANUMERIC)),
        "message": format!("bad request: {}", request.raw),
    })
}

/// The next request of a connection; `None` when it ended before one was complete. What has come of that is in `buffer`.
///
/// # Errors
/// Those of the connection.
pub async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Received>> {
    let head_end = loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), pairs(query));
    let find = |name: &str| headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
    assert!(find("transfer-encoding").is_none(), "the product knows the length of what it sends: {head}");
    let length: usize = find("content-length").map_or(0, |value| value.parse().unwrap());
    while buffer.len() < head_end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer[head_end..head_end + length].to_vec();
    buffer.drain(..head_end + length);
    let raw = format!("{head}{}", String::from_utf8_lossy(&body));
    Ok(Some(Received { at: Instant::now(), method, path, query, headers, body, raw }))
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}
