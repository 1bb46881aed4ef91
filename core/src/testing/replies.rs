//! What every [`Replies`] promises: an outcome reaches the gateway it is addressed to, at most once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{World, outcome};
use crate::blobs::BlobId;
use crate::ids::{ExecutionId, InstanceId};
use crate::job::{Outcome, Payload};
use crate::queue::Replies;

const SOON: Duration = Duration::from_secs(5);

/// Runs all checks.
pub async fn replies_contract<W: World<Port = dyn Replies>>(make: impl AsyncFn() -> W) {
    reaches_its_gateway_and_no_other(make().await).await;
    keeps_every_form_of_payload(make().await).await;
    carries_many(make().await).await;
    nobody_there_is_no_error(make().await).await;
    the_last_subscription_counts(make().await).await;
}

async fn subscribe(replies: &Arc<dyn Replies>, me: &InstanceId) -> mpsc::UnboundedReceiver<Outcome> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let inbox = move |outcome| {
        let _ = sender.send(outcome);
    };
    replies.subscribe(me, Arc::new(inbox)).await.unwrap();
    receiver
}

async fn reaches_its_gateway_and_no_other<W: World<Port = dyn Replies>>(mut world: W) {
    let (gateway, executor) = (world.open().await, world.open().await);
    let (one, two) = (InstanceId::generate(), InstanceId::generate());
    let mut to_one = subscribe(&gateway, &one).await;
    let mut to_two = subscribe(&gateway, &two).await;
    let (first, second) = (outcome(&ExecutionId::generate(), b"1"), outcome(&ExecutionId::generate(), b"2"));
    executor.send(&one, first.clone()).await.unwrap();
    executor.send(&two, second.clone()).await.unwrap();
    assert_eq!(timeout(SOON, to_one.recv()).await.unwrap().unwrap(), first);
    assert_eq!(timeout(SOON, to_two.recv()).await.unwrap().unwrap(), second);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(to_one.try_recv().is_err() && to_two.try_recv().is_err(), "once, to one");
}

async fn keeps_every_form_of_payload<W: World<Port = dyn Replies>>(mut world: W) {
    let replies = world.open().await;
    let me = InstanceId::generate();
    let mut inbox = subscribe(&replies, &me).await;
    let long = vec![b'x'; crate::blobs::INLINE_LIMIT];
    for data in [
        None,
        Some(Payload::Inline(bytes::Bytes::new())),
        Some(Payload::Inline(long.into())),
        Some(Payload::Blob { id: BlobId::generate(), bytes: 64 << 20 }),
    ] {
        let mut sent = outcome(&ExecutionId::generate(), b"");
        sent.data = data;
        replies.send(&me, sent.clone()).await.unwrap();
        assert_eq!(timeout(SOON, inbox.recv()).await.unwrap().unwrap(), sent);
    }
}

async fn carries_many<W: World<Port = dyn Replies>>(mut world: W) {
    let (gateway, executor) = (world.open().await, world.open().await);
    let me = InstanceId::generate();
    let mut inbox = subscribe(&gateway, &me).await;
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (executor, me) = (executor.clone(), me.clone());
            tokio::spawn(async move {
                for _ in 0..64 {
                    executor.send(&me, outcome(&ExecutionId::generate(), b"{}")).await.unwrap();
                }
            })
        })
        .collect();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..8 * 64 {
        let outcome = timeout(SOON, inbox.recv()).await.unwrap().unwrap();
        assert!(seen.insert(outcome.execution_id.clone()), "{} came twice", outcome.execution_id);
    }
    for sender in senders {
        sender.await.unwrap();
    }
}

async fn nobody_there_is_no_error<W: World<Port = dyn Replies>>(mut world: W) {
    let replies = world.open().await;
    replies.send(&InstanceId::generate(), outcome(&ExecutionId::generate(), b"1")).await.unwrap();
}

async fn the_last_subscription_counts<W: World<Port = dyn Replies>>(mut world: W) {
    let replies = world.open().await;
    let me = InstanceId::generate();
    let mut earlier = subscribe(&replies, &me).await;
    let mut inbox = subscribe(&replies, &me).await;
    let sent = outcome(&ExecutionId::generate(), b"kept");
    replies.send(&me, sent.clone()).await.unwrap();
    assert_eq!(timeout(SOON, inbox.recv()).await.unwrap().unwrap(), sent);
    assert!(earlier.try_recv().is_err(), "the last subscription counts");
}
