//! A revocation that comes between the resolve and the first byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plugboard_core::job::Job;
use plugboard_core::journal::JournalState;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::testing::{Act, Bench, Fate, Vendor, bearer, closed_port, fields};

/// Somebody revokes the account after this time.
fn revoke_after(bench: &Bench, wait: Duration) {
    let world = Arc::clone(&bench.world);
    tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        world.revoked.store(true, Ordering::SeqCst);
    });
}

async fn assert_not_sent(bench: &Bench, job: &Job) {
    assert_eq!(bench.run(job, 1).await, Fate::Acked);
    let (envelope, _) = bench.reply();
    let error = &envelope["error"];
    assert_eq!((&error["code"], &error["outcome"]), (&json!("ACCOUNT_REVOKED"), &json!("not_sent")), "{envelope}");
    assert_eq!((&error["safe_to_retry"], &envelope["attempts"]), (&json!(true), &json!(0)));
    assert_eq!(error["fix"]["kind"], "reconnect");
    // The intent is given back: nothing of it is left open.
    let record = bench.deps.journal.look(&job.execution_id).await.unwrap().unwrap();
    assert_eq!(record.state, JournalState::Closed);
}

fn bench(vendor: SocketAddr) -> Bench {
    Bench::new(bearer(), fields(&[("api_key", "s3cret/key+1234567890")]), vendor)
}

#[tokio::test]
async fn a_revoked_account_makes_no_call() {
    let vendor = Vendor::start(vec![Act::json(200, json!({}))]).await;
    let bench = bench(vendor.addr);
    bench.world.revoked.store(true, Ordering::SeqCst);
    assert_not_sent(&bench, &bench.job("send", "/messages")).await;
    assert_eq!(vendor.calls(), 0);
}

/// Between two tries there is time enough.
#[tokio::test]
async fn a_revocation_between_two_tries_ends_the_call() {
    let bench = bench(closed_port().await);
    let world = Arc::clone(&bench.world);
    // The first try has failed when the account is asked for again.
    revoke_after(&bench, Duration::from_millis(5));
    assert_not_sent(&bench, &bench.job("send", "/messages")).await;
    assert!(world.revoked.load(Ordering::SeqCst));
}

/// A listener whose queue is full: connecting to it takes as long as one likes.
async fn never_accepts() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (address, listener, waiting)
}

#[tokio::test]
async fn a_revocation_while_the_connection_is_made_stops_the_call() {
    let (address, _listener, _waiting) = never_accepts().await;
    let bench = bench(address);
    revoke_after(&bench, Duration::from_millis(300));
    let began = tokio::time::Instant::now();
    assert_not_sent(&bench, &bench.job("send", "/messages")).await;
    assert!(began.elapsed() < Duration::from_millis(1_300), "{:?}", began.elapsed());
}
