//! The store on Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use plugboard_core::clock::{Clock, SystemClock};
use plugboard_core::limits::leased::LeasedLimiter;
use plugboard_core::limits::local::LocalLimiter;
use plugboard_core::limits::redis::RedisLimiter;
use plugboard_core::limits::{Bucket, Limiter, Soft, Turn};
use plugboard_core::secret::Secret;
use plugboard_core::store::redis::{RedisConfig, RedisStore};
use plugboard_core::store::{Expect, Store, StoreError, Write};
use plugboard_core::testing::{World, limits_contract, store_contract};
use plugboard_tests::cable::Cable;
use plugboard_tests::servers::{RedisServer, namespace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct StoreProcesses {
    namespace: String,
    cable: Cable,
}

async fn connect(url: String, namespace: &str, allow_volatile: bool) -> RedisStore {
    let config = RedisConfig {
        url: Secret::new(url),
        namespace: namespace.to_owned(),
        allow_volatile,
        ..RedisConfig::default()
    };
    RedisStore::connect(&config).await.unwrap()
}

#[async_trait]
impl World for StoreProcesses {
    type Port = dyn Store;

    async fn open(&mut self) -> Arc<Self::Port> {
        Arc::new(connect(format!("redis://{}/0", self.cable.address()), &self.namespace, false).await)
    }

    async fn crash(&mut self) -> bool {
        self.cable = Cable::to(RedisServer::shared().address()).await;
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_keeps_its_contract() {
    store_contract(async || StoreProcesses {
        namespace: namespace(),
        cable: Cable::to(RedisServer::shared().address()).await,
    })
    .await;
}

#[tokio::test]
async fn refuses_a_redis_that_forgets() {
    let lasting = connect(RedisServer::shared().url(), "a", false).await;
    assert_eq!(lasting.verify_durable().await.unwrap(), Vec::<String>::new());

    let volatile = RedisServer::volatile();
    let error = connect(volatile.url(), "a", false).await.verify_durable().await.unwrap_err();
    assert!(error.to_string().contains("appendonly"), "{error}");
    let warnings = connect(volatile.url(), "a", true).await.verify_durable().await.unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("appendonly")), "{warnings:?}");
}

#[tokio::test]
async fn with_require_durable_every_warning_is_a_refusal() {
    let strict = |url: String| async move {
        let config = RedisConfig {
            url: Secret::new(url),
            tls: None,
            namespace: "a".to_owned(),
            allow_volatile: true,
            require_durable: true,
        };
        RedisStore::connect(&config).await.unwrap().verify_durable().await
    };
    let server = RedisServer::start();
    assert_eq!(strict(server.url()).await.unwrap(), Vec::<String>::new());
    for (setting, lax, good) in [
        ("appendfsync", "everysec", "always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "yes"),
    ] {
        set(&server, setting, lax).await;
        let error = strict(server.url()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{setting} {good}")) && error.contains("require_durable"), "{error}");
        // Without it a lax fsync is warned about.
        if setting == "appendfsync" {
            let warnings = connect(server.url(), "a", false).await.verify_durable().await.unwrap();
            assert!(warnings.iter().any(|warning| warning.contains("appendfsync")), "{warnings:?}");
        }
        set(&server, setting, good).await;
    }
}

/// An inline command of Redis's protocol.
async fn set(server: &RedisServer, setting: &str, value: &str) {
    let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(format!("CONFIG SET {setting} {value}\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    assert_eq!(&answer[..read], b"+OK\r\n");
}

/// What was confirmed is there after `kill -9`; calls meanwhile fail in time, and later ones find the way back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_the_death_of_redis() {
    let mut server = RedisServer::start();
    let cable = Cable::to(server.address()).await;
    let store = connect(format!("redis://{}/0", cable.address()), "a", false).await;
    for round in 1..=20 {
        store.commit(vec![Write::put("k", "v", Expect::Version(round))], None).await.unwrap_err();
        store.commit(vec![Write::put(format!("k{round}"), "v", Expect::Absent)], Some("n".into())).await.unwrap();
    }
    server.kill();
    let at = std::time::Instant::now();
    assert!(matches!(store.get("k1").await, Err(StoreError::Unavailable(_))));
    assert!(at.elapsed() < std::time::Duration::from_secs(5), "{:?}", at.elapsed());
    server.restart();
    cable.point_to(server.address());
    let mut tries = 0;
    let listed = loop {
        match store.list("k").await {
            Ok(listed) => break listed,
            Err(error) => {
                tries += 1;
                assert!(tries < 100, "{error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    };
    assert_eq!(listed.len(), 20);
    assert_eq!(store.changes_after(0).await.unwrap().upto, 20);
}

fn limiter(url: String) -> RedisLimiter {
    RedisLimiter::new(&RedisConfig { url: Secret::new(url), namespace: namespace(), ..RedisConfig::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_keep_their_contract() {
    let url = || RedisServer::shared().url();
    limits_contract(Arc::new(limiter(url()))).await;
    limits_contract(Arc::new(LeasedLimiter::new(limiter(url())))).await;
}

/// Two processes take handfuls of a fast bucket: together they get no more than it gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handfuls_of_two_processes_stay_below_the_limit() {
    let config =
        RedisConfig { url: Secret::new(RedisServer::shared().url()), namespace: namespace(), ..RedisConfig::default() };
    let process = || Arc::new(LeasedLimiter::new(RedisLimiter::new(&config).unwrap()));
    let bucket = Bucket { key: "fast".to_owned(), interval: 1_000, burst: 100 };
    let began = std::time::Instant::now();
    let takers = [process(), process()].map(|limiter| {
        let bucket = bucket.clone();
        tokio::spawn(async move {
            let mut went = 0_u32;
            while began.elapsed() < Duration::from_millis(500) {
                let turn = limiter.take(&bucket, 1, Duration::ZERO).await.unwrap();
                went += u32::from(matches!(turn, Turn::Now { .. }));
            }
            went
        })
    });
    let mut went = 0;
    for taker in takers {
        went += taker.await.unwrap();
    }
    let allowed = 100 + began.elapsed().as_millis() as u32 + 1;
    assert!(went <= allowed && went >= allowed / 2, "{went} of {allowed}");
}

#[tokio::test]
async fn limits_go_on_while_redis_is_away() {
    let cable = Cable::to(RedisServer::shared().address()).await;
    let shared = limiter(format!("redis://{}/0", cable.address()));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let soft = Soft::new(Arc::new(shared), LocalLimiter::new(clock));
    let bucket = Bucket { key: "k".to_owned(), interval: 10_000_000, burst: 2 };
    let take = async || soft.take(&bucket, 1, Duration::ZERO).await.unwrap();
    assert_eq!(take().await, Turn::Now { remaining: 1 });
    cable.point_to("127.0.0.1:9".parse().unwrap());
    cable.cut();
    // Its own bucket, from the start.
    assert_eq!(take().await, Turn::Now { remaining: 1 });
    assert_eq!(take().await, Turn::Now { remaining: 0 });
    assert!(matches!(take().await, Turn::TooLate(_)));
}
