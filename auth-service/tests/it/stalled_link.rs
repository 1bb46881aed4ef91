//! A link that stands still and then delivers what it held back, slowly: old beats first, the revocation behind them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use plugboard_core::identity::{CachedDirectory, Directory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{eventually, world};

/// Forwards both ways while `frozen` is false; what arrives meanwhile waits, and then goes out byte by byte.
async fn link(to: String, frozen: watch::Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(to.trim_start_matches("http://")).await else { continue };
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::spawn(pump(near_read, far_write, frozen.clone()));
            tokio::spawn(pump(far_read, near_write, frozen.clone()));
        }
    });
    url
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut frozen: watch::Receiver<bool>,
) {
    let mut piece = vec![0; 64 * 1024];
    let mut slow_until = Instant::now();
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if *frozen.borrow() {
            if frozen.wait_for(|frozen| !frozen).await.is_err() {
                return;
            }
            slow_until = Instant::now() + Duration::from_millis(500);
        }
        let step = if Instant::now() < slow_until { 1 } else { read };
        for bytes in piece[..read].chunks(step) {
            if to.write_all(bytes).await.is_err() {
                return;
            }
            if step < read {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn old_beats_do_not_open_a_cache_again() {
    let world = world().await;
    let (far, _) = world.serve(world.service().await, world.stop_token()).await;
    let (freeze, frozen) = watch::channel(false);
    let near = link(far, frozen).await;
    let cached = CachedDirectory::new(Arc::new(world.grpc_directory(&[near])), Arc::new(world.clock.clone()));
    tokio::spawn(cached.clone().follow(world.stop_token()));
    let other = world.service().await;

    for _ in 0..3 {
        let (organization, issued) = other.create_organization("Acme").await.unwrap();
        let key = issued.secret.expose().to_owned();
        eventually("the cache is fresh", async || cached.is_fresh()).await;
        assert!(cached.verify_key(&key).await.is_ok());

        freeze.send_replace(true);
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(!cached.is_fresh());
        other.revoke_key(&organization.id, &issued.key.id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;

        let caller = {
            let (cached, key) = (cached.clone(), key.clone());
            tokio::spawn(async move {
                let start = Instant::now();
                let mut accepted = 0;
                while start.elapsed() < Duration::from_millis(700) {
                    // What is ready at once comes from memory.
                    let from_memory =
                        cached.is_fresh() && cached.verify_key(&key).now_or_never().is_some_and(|a| a.is_ok());
                    accepted += usize::from(from_memory);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                accepted
            })
        };
        freeze.send_replace(false);
        assert_eq!(caller.await.unwrap(), 0);
        assert!(cached.verify_key(&key).await.is_err());
    }
}
