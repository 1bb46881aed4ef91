//! The mock vendor and the bare proxy, and how a part is started as a process.

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http::{Connection, address, post};

/// A started part; killed when dropped.
pub struct Part {
    pub url: String,
    child: Child,
}

impl Part {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts this program as `words`.
pub fn spawn(words: &[&str]) -> anyhow::Result<Part> {
    start(Command::new(std::env::current_exe()?).args(words)).with_context(|| words.join(" "))
}

/// Starts a program that prints its URL first.
pub fn start(command: &mut Command) -> anyhow::Result<Part> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    let mut part = Part { url: String::new(), child };
    BufReader::new(stdout).read_line(&mut part.url)?;
    part.url.truncate(part.url.trim_end().len());
    if part.url.is_empty() {
        bail!("it ended before it listened");
    }
    Ok(part)
}

pub async fn serve(router: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    // As in the product; without it small answers wait for acknowledgements.
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

pub const VENDOR_ANSWER: &str =
    r#"{"ok":true,"orders":[{"id":1,"price":"100.50","status":"new"},{"id":2,"price":"7.00","status":"sent"}]}"#;

/// Answers everything, at once or after so many milliseconds.
pub async fn vendor(after: Option<&str>) -> anyhow::Result<()> {
    let after = after.map(str::parse).transpose()?.map(Duration::from_millis);
    let answer = move || async move {
        if let Some(after) = after {
            tokio::time::sleep(after).await;
        }
        ([(CONTENT_TYPE, "application/json")], VENDOR_ANSWER)
    };
    serve(Router::new().fallback(any(answer))).await
}

/// Holds every answer back until `/open` is asked for. `/came`: how many requests have come.
pub async fn gated_vendor() -> anyhow::Result<()> {
    #[derive(Clone)]
    struct Gate {
        open: watch::Sender<bool>,
        came: Arc<AtomicUsize>,
    }
    async fn answer(State(gate): State<Gate>) -> impl IntoResponse {
        gate.came.fetch_add(1, Ordering::Relaxed);
        let _ = gate.open.subscribe().wait_for(|open| *open).await;
        ([(CONTENT_TYPE, "application/json")], VENDOR_ANSWER)
    }
    async fn open(State(gate): State<Gate>) -> String {
        gate.open.send_replace(true);
        came(State(gate)).await
    }
    async fn came(State(gate): State<Gate>) -> String {
        gate.came.load(Ordering::Relaxed).to_string()
    }
    let gate = Gate { open: watch::Sender::new(false), came: Arc::default() };
    let router = Router::new().route("/open", any(open)).route("/came", any(came)).fallback(any(answer));
    serve(router.with_state(gate)).await
}

/// A number that [`gated_vendor`] tells.
pub async fn ask(vendor: &str, path: &str) -> anyhow::Result<usize> {
    let mut connection = Connection::open(address(vendor)).await?;
    let (_, body) = connection.exchange(&post(address(vendor), path, &[], "")).await?;
    std::str::from_utf8(body)?.parse().context("no number")
}

/// Waits until so many requests have come to a [`gated_vendor`]; how many there are then.
///
/// # Errors
/// When they do not come in time.
pub async fn until_came(vendor: &str, wanted: usize, patience: Duration) -> anyhow::Result<usize> {
    let begun = Instant::now();
    loop {
        let came = ask(vendor, "/came").await?;
        if came >= wanted {
            return Ok(came);
        }
        if begun.elapsed() > patience {
            bail!("only {came} of {wanted} calls came to the vendor within {patience:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub type Answer = ([(HeaderName, &'static str); 1], Bytes);

/// What a yardstick says to its caller.
pub fn answer<E: Display>(result: Result<Bytes, E>) -> Answer {
    match result {
        Ok(bytes) => ([(CONTENT_TYPE, "application/json")], bytes),
        Err(error) => ([(CONTENT_TYPE, "text/plain")], Bytes::from(error.to_string())),
    }
}

/// The least a gateway can do: one axum handler, one reqwest call.
#[allow(clippy::disallowed_types, reason = "the yardstick is what others build with reqwest")]
pub async fn proxy(vendor: &str) -> anyhow::Result<()> {
    #[derive(Clone)]
    struct Proxy {
        client: reqwest::Client,
        url: String,
    }
    async fn forward(State(proxy): State<Proxy>, _body: Bytes) -> Answer {
        let forwarded = async { proxy.client.get(&proxy.url).send().await?.bytes().await };
        answer(forwarded.await)
    }
    let proxy = Proxy { client: reqwest::Client::new(), url: format!("{vendor}/api/ping?n=1") };
    serve(Router::new().fallback(any(forward)).with_state(proxy)).await
}
