//! Whose a connection is, where threads have a runtime of their own.

use std::time::Duration;

use super::net::{Canary, Net, Reply, get};
use crate::event_loops::EventLoops;

async fn ask(loops: &EventLoops, which: usize, net: &Net, canary: &Canary) {
    let (egress, request) = (net.egress.clone(), get(&format!("http://{}/", canary.addr)).unwrap());
    loops.handles()[which].spawn(async move { egress.send(request).await }).await.unwrap().unwrap();
}

#[tokio::test]
async fn each_loop_keeps_its_own() {
    let canary = Canary::start(|seen| {
        let mut reply = Reply::text("ok");
        // Until both have asked.
        reply.pieces[0].0 = Duration::from_millis(if seen.nth == 0 { 500 } else { 0 });
        reply
    })
    .await;
    let (net, loops) = (Net::only(canary.addr), EventLoops::start(2).unwrap());
    tokio::join!(ask(&loops, 0, &net, &canary), ask(&loops, 1, &net, &canary));
    assert_eq!(canary.connections(), 2);
    for which in [0, 0, 1, 1, 0, 1] {
        ask(&loops, which, &net, &canary).await;
    }
    assert_eq!(canary.connections(), 2);
    let most = canary.seen().iter().map(|seen| seen.nth).max();
    assert_eq!(most, Some(3), "each has carried four");
}

#[tokio::test]
async fn what_has_rested_is_lent_to_who_has_none() {
    let canary = Canary::echo().await;
    let (net, loops) = (Net::only(canary.addr), EventLoops::start(2).unwrap());
    for which in [0, 1, 0, 1] {
        ask(&loops, which, &net, &canary).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(canary.connections(), 1);
}
