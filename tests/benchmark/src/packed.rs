//! What the naive pipeline could be at best: jobs and answers in packets over core NATS, and nothing durable. Whoever has a queue,
//! checks and accounts between gateway and vendor hardly gets past it, so it shows what there is to win.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use async_nats::Client;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::any;
use bytes::{Buf, BufMut, BytesMut};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::pipeline::{NatsServer, Pipeline};
use crate::plugboard::Sync;
use crate::yardsticks::{Answer, answer, serve, spawn};

const JOBS: &str = "packed.jobs";
const ANSWERS: &str = "packed.answers";

pub fn start(scratch: &Path, vendor: &str) -> anyhow::Result<Pipeline> {
    let server = NatsServer::start(scratch, "packed", Sync::Default)?;
    let worker = spawn(&["packed-worker", &server.url, vendor])?;
    let gateway = spawn(&["packed-gateway", &server.url])?;
    Ok(Pipeline::of(worker, gateway, server))
}

/// What gathers while a packet is on its way leaves with the next.
struct Packets {
    client: Client,
    subject: &'static str,
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    busy: bool,
    parts: BytesMut,
}

impl Packets {
    fn to(client: &Client, subject: &'static str) -> Arc<Self> {
        Arc::new(Self { client: client.clone(), subject, gathered: Mutex::default() })
    }

    fn send(self: &Arc<Self>, id: u64, body: &[u8]) -> anyhow::Result<()> {
        let mut gathered = self.gathered.lock();
        gathered.parts.put_u64(id);
        gathered.parts.put_u32(body.len().try_into()?);
        gathered.parts.put_slice(body);
        if !gathered.busy {
            gathered.busy = true;
            tokio::spawn(self.clone().drain());
        }
        Ok(())
    }

    async fn drain(self: Arc<Self>) {
        loop {
            let packet = {
                let mut gathered = self.gathered.lock();
                gathered.busy = !gathered.parts.is_empty();
                if !gathered.busy {
                    return;
                }
                gathered.parts.split().freeze()
            };
            if let Err(error) = self.client.publish(self.subject, packet).await {
                eprintln!("a packet is lost: {error}");
            }
            tokio::task::yield_now().await;
        }
    }
}

fn parts(mut packet: Bytes) -> impl Iterator<Item = (u64, Bytes)> {
    std::iter::from_fn(move || {
        let id = packet.try_get_u64().ok()?;
        let length = packet.try_get_u32().ok()? as usize;
        (length <= packet.len()).then(|| (id, packet.split_to(length)))
    })
}

#[derive(Clone)]
struct Gateway {
    jobs: Arc<Packets>,
    next: Arc<AtomicU64>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Bytes>>>>,
}

pub async fn gateway(nats: &str) -> anyhow::Result<()> {
    let client = async_nats::connect(nats).await?;
    let mut answers = client.subscribe(ANSWERS).await?;
    let gateway = Gateway { jobs: Packets::to(&client, JOBS), next: Arc::default(), waiting: Arc::default() };
    let waiting = gateway.waiting.clone();
    tokio::spawn(async move {
        while let Some(message) = answers.next().await {
            for (id, answer) in parts(message.payload) {
                if let Some(waits) = waiting.lock().remove(&id) {
                    let _ = waits.send(answer);
                }
            }
        }
    });
    serve(Router::new().fallback(any(call)).with_state(gateway)).await
}

async fn call(State(gateway): State<Gateway>, body: Bytes) -> Answer {
    let id = gateway.next.fetch_add(1, Ordering::Relaxed);
    let (sender, receiver) = oneshot::channel();
    gateway.waiting.lock().insert(id, sender);
    let answered = async { anyhow::Ok(gateway.jobs.send(id, &body).map(|()| receiver)?.await?) };
    answer(answered.await)
}

#[allow(clippy::disallowed_types, reason = "the yardstick is what others build with reqwest")]
pub async fn worker(nats: &str, vendor: &str) -> anyhow::Result<()> {
    let client = async_nats::connect(nats).await?;
    let mut jobs = client.queue_subscribe(JOBS, "workers".to_owned()).await?;
    client.flush().await.context("subscribing")?;
    println!("ready");
    let (vendor_client, url) = (reqwest::Client::new(), format!("{vendor}/api/ping?n=1"));
    let answers = Packets::to(&client, ANSWERS);
    while let Some(message) = jobs.next().await {
        for (id, _body) in parts(message.payload) {
            let (vendor_client, url, answers) = (vendor_client.clone(), url.clone(), answers.clone());
            tokio::spawn(async move {
                let answer = vendor_client.get(&url).send().await?.bytes().await?;
                answers.send(id, &answer)
            });
        }
    }
    Ok(())
}
