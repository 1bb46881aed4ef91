//! The least possible gateway → JetStream (file) → worker → vendor pipeline: no batching, no checks, no features.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use async_nats::jetstream;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::any;
use futures::StreamExt;
use tokio::sync::{Mutex, oneshot};

use crate::pipeline::{NatsServer, Pipeline};
use crate::plugboard::Sync;
use crate::yardsticks::{Answer, answer, serve, spawn};

pub fn start(scratch: &Path, vendor: &str, sync: Sync) -> anyhow::Result<Pipeline> {
    let nats = NatsServer::start(scratch, "naive", sync)?;
    let worker = spawn(&["naive-worker", &nats.url, vendor])?;
    let gateway = spawn(&["naive-gateway", &nats.url])?;
    Ok(Pipeline::of(worker, gateway, nats))
}

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Bytes>>>>;

#[derive(Clone)]
struct Gateway {
    jetstream: jetstream::Context,
    waiting: Waiting,
}

pub async fn gateway(nats: &str) -> anyhow::Result<()> {
    let client = async_nats::connect(nats).await?;
    let waiting = Waiting::default();
    let mut replies = client.subscribe("naive.reply.*").await?;
    let dispatch = waiting.clone();
    tokio::spawn(async move {
        while let Some(message) = replies.next().await {
            let id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
            if let Some(sender) = dispatch.lock().await.remove(&id) {
                let _ = sender.send(message.payload);
            }
        }
    });
    let gateway = Gateway { jetstream: jetstream::new(client), waiting };
    serve(Router::new().fallback(any(call)).with_state(gateway)).await
}

async fn call(State(gateway): State<Gateway>, body: Bytes) -> Answer {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let (sender, receiver) = oneshot::channel();
    gateway.waiting.lock().await.insert(id.clone(), sender);
    let published = async {
        gateway.jetstream.publish(format!("naive.job.{id}"), body).await?.await?;
        anyhow::Ok(receiver.await?)
    };
    answer(published.await)
}

#[allow(clippy::disallowed_types, reason = "the yardstick is what others build with reqwest")]
pub async fn worker(nats: &str, vendor: &str) -> anyhow::Result<()> {
    let client = async_nats::connect(nats).await?;
    let jetstream = jetstream::new(client.clone());
    let stream = jetstream
        .create_stream(jetstream::stream::Config {
            name: "NAIVE".to_owned(),
            subjects: vec!["naive.job.*".to_owned()],
            retention: jetstream::stream::RetentionPolicy::WorkQueue,
            storage: jetstream::stream::StorageType::File,
            ..Default::default()
        })
        .await?;
    let consumer = stream
        .create_consumer(jetstream::consumer::pull::Config {
            durable_name: Some("worker".to_owned()),
            max_ack_pending: 10_000,
            ..Default::default()
        })
        .await?;
    println!("ready");
    let vendor_client = reqwest::Client::new();
    let url = format!("{vendor}/api/ping?n=1");
    let mut messages = consumer.stream().max_messages_per_batch(512).messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        let (client, vendor_client, url) = (client.clone(), vendor_client.clone(), url.clone());
        tokio::spawn(async move {
            let id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
            let answer = vendor_client.get(&url).send().await?.bytes().await?;
            client.publish(format!("naive.reply.{id}"), answer).await?;
            message.ack().await.ok().context("ack")?;
            anyhow::Ok(())
        });
    }
    Ok(())
}
