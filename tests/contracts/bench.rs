use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt;
use plugboard_core::clock::SystemClock;
use plugboard_core::ids::{ExecutionId, InstanceId, OrganizationId};
use plugboard_core::manifest::Effect;
use plugboard_core::queue::nats::*;
use plugboard_core::queue::{JobQueue, Replies};
use plugboard_core::testing::{JobBuilder, outcome};
use plugboard_tests::servers::{NatsServer, namespace};
use tokio::sync::oneshot;

type Waiters = Arc<Mutex<HashMap<ExecutionId, oneshot::Sender<()>>>>;

async fn link(ns: &str) -> NatsLink {
    let config = NatsConfig { urls: vec![NatsServer::shared().url()], namespace: ns.to_owned(), ..Default::default() };
    NatsLink::connect(&config).await.unwrap()
}

async fn ours(callers: usize, orgs: usize, time: Duration) -> (f64, Vec<Duration>) {
    let ns = namespace();
    let (gl, el) = (link(&ns).await, link(&ns).await);
    let gateway = Arc::new(NatsQueue::open(&gl, NatsQueueConfig::default(), Arc::new(SystemClock)).await.unwrap());
    let executor = Arc::new(NatsQueue::open(&el, NatsQueueConfig::default(), Arc::new(SystemClock)).await.unwrap());
    let me = InstanceId::generate();
    let mut inbox = NatsReplies::new(&gl).subscribe(&me).await.unwrap();
    let waiters: Waiters = Waiters::default();
    let w = waiters.clone();
    tokio::spawn(async move {
        while let Some(o) = inbox.recv().await {
            if let Some(s) = w.lock().unwrap().remove(&o.execution_id) {
                let _ = s.send(());
            }
        }
    });
    let replies = NatsReplies::new(&el);
    let worker = tokio::spawn(async move {
        while let Ok(d) = executor.receive().await {
            let replies = replies.clone();
            tokio::spawn(async move {
                let o = outcome(&d.job.execution_id, b"{\"ok\":1}");
                replies.send(d.job.reply_to.as_ref().unwrap(), o).await.unwrap();
                d.ack();
            });
        }
    });
    let until = Instant::now() + time;
    let organizations: Vec<_> = (0..orgs).map(|_| OrganizationId::generate()).collect();
    let tasks: Vec<_> = (0..callers)
        .map(|n| {
            let (gateway, waiters, me, org) =
                (gateway.clone(), waiters.clone(), me.clone(), organizations[n % orgs].clone());
            tokio::spawn(async move {
                let mut lat = Vec::new();
                while Instant::now() < until {
                    let job = JobBuilder::new(Effect::Once).organization(&org).reply_to(&me).build();
                    let (tx, rx) = oneshot::channel();
                    let at = Instant::now();
                    waiters.lock().unwrap().insert(job.execution_id.clone(), tx);
                    gateway.publish(job).await.unwrap();
                    rx.await.unwrap();
                    lat.push(at.elapsed());
                }
                lat
            })
        })
        .collect();
    let start = Instant::now();
    let mut all = Vec::new();
    for t in tasks {
        all.extend(t.await.unwrap());
    }
    let rate = all.len() as f64 / start.elapsed().as_secs_f64();
    worker.abort();
    all.sort();
    (rate, all)
}

/// The least possible: a publish a call, a pull stream, an ack, a core reply.
async fn naive(callers: usize, time: Duration) -> (f64, Vec<Duration>) {
    let ns = namespace();
    let url = NatsServer::shared().url();
    let (gc, ec) = (async_nats::connect(&url).await.unwrap(), async_nats::connect(&url).await.unwrap());
    let js = async_nats::jetstream::new(gc.clone());
    let stream = js
        .create_stream(async_nats::jetstream::stream::Config {
            name: format!("{ns}_N"),
            subjects: vec![format!("{ns}.j.>")],
            retention: async_nats::jetstream::stream::RetentionPolicy::WorkQueue,
            ..Default::default()
        })
        .await
        .unwrap();
    drop(stream);
    let ejs = async_nats::jetstream::new(ec.clone());
    let consumer = ejs
        .get_stream(format!("{ns}_N"))
        .await
        .unwrap()
        .create_consumer(async_nats::jetstream::consumer::pull::Config {
            durable_name: Some("e".into()),
            max_ack_pending: 4096,
            ..Default::default()
        })
        .await
        .unwrap();
    let worker = tokio::spawn(async move {
        let mut messages = consumer.stream().max_messages_per_batch(256).messages().await.unwrap();
        while let Some(Ok(m)) = messages.next().await {
            let ec = ec.clone();
            tokio::spawn(async move {
                let to = m.headers.as_ref().unwrap().get("R").unwrap().to_string();
                ec.publish(to, m.payload.clone()).await.unwrap();
                m.ack().await.unwrap();
            });
        }
    });
    let mut replies = gc.subscribe(format!("{ns}.r")).await.unwrap();
    let waiters: Arc<Mutex<HashMap<String, oneshot::Sender<()>>>> = Arc::default();
    let w = waiters.clone();
    tokio::spawn(async move {
        while let Some(m) = replies.next().await {
            let id = String::from_utf8_lossy(&m.payload[..35]).to_string();
            if let Some(s) = w.lock().unwrap().remove(&id) {
                let _ = s.send(());
            }
        }
    });
    let until = Instant::now() + time;
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (js, waiters, ns) = (js.clone(), waiters.clone(), ns.clone());
            tokio::spawn(async move {
                let mut lat = Vec::new();
                while Instant::now() < until {
                    let id = ExecutionId::generate().as_str().to_owned();
                    let (tx, rx) = oneshot::channel();
                    let at = Instant::now();
                    waiters.lock().unwrap().insert(id.clone(), tx);
                    let mut headers = async_nats::HeaderMap::new();
                    headers.insert("R", format!("{ns}.r"));
                    headers.insert("Nats-Msg-Id", id.as_str());
                    let mut body = id.into_bytes();
                    body.extend_from_slice(&[b'x'; 500]);
                    js.publish_with_headers(format!("{ns}.j.a"), headers, body.into()).await.unwrap().await.unwrap();
                    rx.await.unwrap();
                    lat.push(at.elapsed());
                }
                lat
            })
        })
        .collect();
    let start = Instant::now();
    let mut all = Vec::new();
    for t in tasks {
        all.extend(t.await.unwrap());
    }
    let rate = all.len() as f64 / start.elapsed().as_secs_f64();
    worker.abort();
    all.sort();
    (rate, all)
}

fn show(name: &str, (rate, lat): (f64, Vec<Duration>)) {
    println!("{name:28} {rate:8.0}/s p50 {:?} p99 {:?}", lat[lat.len() / 2], lat[lat.len() * 99 / 100]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore]
async fn bench() {
    let t = Duration::from_secs(2);
    for _ in 0..3 {
        show("naive 1", naive(1, t).await);
        show("ours 1", ours(1, 1, t).await);
        show("naive 64", naive(64, t).await);
        show("ours 64, 1 org", ours(64, 1, t).await);
        show("ours 64, 64 orgs", ours(64, 64, t).await);
        show("naive 256", naive(256, t).await);
        show("ours 256, 1 org", ours(256, 1, t).await);
        show("ours 256, 64 orgs", ours(256, 64, t).await);
    }
}
