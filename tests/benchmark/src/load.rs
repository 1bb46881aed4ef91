//! The load generators.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::sync::{Mutex, Semaphore};

use crate::http::{Connection, address};

/// What is called. Requests are prepared once; callers take them in turn.
#[derive(Clone)]
pub struct Target {
    pub name: String,
    address: String,
    requests: Arc<Vec<Vec<u8>>>,
    /// Must stand in every answer.
    proof: &'static str,
}

impl Target {
    pub fn new(name: String, url: &str, requests: Vec<Vec<u8>>, proof: &'static str) -> Self {
        Self { name, address: address(url).to_owned(), requests: Arc::new(requests), proof }
    }

    /// A yardstick: the same body, no keys.
    pub fn plain(name: &str, url: &str) -> Self {
        let request = crate::http::post(address(url), "/api/ping", &[], crate::calls::READ);
        Self::new(name.to_owned(), url, vec![request], "\"ok\":true")
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub per_second: f64,
    pub p50: Duration,
    pub p95: Duration,
    pub p99: Duration,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7.0} calls/s  p50 {:>7.3} ms  p99 {:>7.3} ms",
            self.per_second,
            self.p50.as_secs_f64() * 1e3,
            self.p99.as_secs_f64() * 1e3
        )
    }
}

fn measured(mut latencies: Vec<Duration>, took: Duration) -> anyhow::Result<Measured> {
    if latencies.is_empty() {
        bail!("no call was answered");
    }
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Ok(Measured { per_second: latencies.len() as f64 / took.as_secs_f64(), p50: at(0.5), p95: at(0.95), p99: at(0.99) })
}

async fn call(connection: &mut Connection, target: &Target, turn: usize) -> anyhow::Result<()> {
    let request = &target.requests[turn % target.requests.len()];
    let (status, body) = connection.exchange(request).await?;
    let text = std::str::from_utf8(body).unwrap_or_default();
    if status != 200 || !text.contains(target.proof) {
        bail!("{} answered {status}: {}", target.name, &text[..text.len().min(600)]);
    }
    Ok(())
}

/// When callers stop.
#[derive(Clone, Copy)]
pub enum Until {
    /// So many calls were begun.
    Calls(usize),
    Elapsed(Duration),
}

/// A call that was answered.
pub struct Answered {
    /// Since the first caller began.
    pub at: Duration,
    pub latency: Duration,
}

/// Every caller calls again as soon as it is answered. `answered` tells meanwhile how many calls were.
pub async fn repeat(
    target: &Target,
    callers: usize,
    until: Until,
    answered: &Arc<AtomicUsize>,
) -> anyhow::Result<Vec<Answered>> {
    let turns = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (target, turns, answered) = (target.clone(), turns.clone(), answered.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(&target.address).await?;
                let mut all = Vec::new();
                loop {
                    let turn = turns.fetch_add(1, Ordering::Relaxed);
                    let ended = match until {
                        Until::Calls(calls) => turn >= calls,
                        Until::Elapsed(time) => start.elapsed() >= time,
                    };
                    if ended {
                        return anyhow::Ok(all);
                    }
                    let begun = Instant::now();
                    call(&mut connection, &target, turn).await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                    all.push(Answered { at: start.elapsed(), latency: begun.elapsed() });
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await?.with_context(|| format!("{} with {callers} callers", target.name))?);
    }
    Ok(all)
}

/// What so many callers reach, after they have warmed up.
pub async fn closed(target: &Target, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let warm_up = time / 5;
    let start = Instant::now();
    let all = repeat(target, callers, Until::Elapsed(warm_up + time), &Arc::default()).await?;
    let warm = all.into_iter().filter(|answered| answered.at > warm_up).map(|answered| answered.latency);
    measured(warm.collect(), start.elapsed() - warm_up)
}

/// Calls start at a fixed rate whether or not earlier ones were answered; a late start counts as latency. Those that warm
/// up do not count.
pub async fn open(target: &Target, rate: f64, time: Duration) -> anyhow::Result<Measured> {
    const CONNECTIONS: usize = 256;
    let mut pool = Vec::new();
    for _ in 0..CONNECTIONS {
        pool.push(Connection::open(&target.address).await?);
    }
    let pool = Arc::new(Mutex::new(pool));
    // Who finds every connection busy waits for one; its wait counts, since it began when it was due.
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let start = Instant::now();
    let warm_up = (rate * (time / 5).as_secs_f64()) as usize;
    let count = warm_up + (rate * time.as_secs_f64()) as usize;
    let mut tasks = Vec::with_capacity(count);
    for turn in 0..count {
        let due = start + Duration::from_secs_f64(turn as f64 / rate);
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let (target, pool, free) = (target.clone(), pool.clone(), free.clone());
        tasks.push(tokio::spawn(async move {
            let _busy = free.acquire().await?;
            let taken = pool.lock().await.pop();
            let mut connection = match taken {
                Some(connection) => connection,
                None => Connection::open(&target.address).await?,
            };
            call(&mut connection, &target, turn).await?;
            pool.lock().await.push(connection);
            anyhow::Ok(due.elapsed())
        }));
    }
    let mut latencies = Vec::with_capacity(count);
    for task in tasks {
        latencies.push(task.await??);
    }
    latencies.drain(..warm_up);
    measured(latencies, start.elapsed() - time / 5)
}
