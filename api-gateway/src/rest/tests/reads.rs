use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plugboard_core::error::EffectOutcome;
use plugboard_core::job::{CallState, Envelope, Job};
use plugboard_core::manifest::Effect;
use plugboard_core::testing::JobBuilder;

use super::support::World;

/// A read that nobody began was not sent; one whose executor fell silent may have been.
#[tokio::test]
async fn a_read_that_may_have_begun_is_never_told_as_not_sent() {
    let world = World::new().await;
    let read = async || {
        let job = Arc::new(JobBuilder::new(Effect::Read).build());
        let refused = world.gateway.clone().read(job).await.unwrap_err();
        (refused.outcome, refused.safe_to_retry)
    };
    for refuses in [&world.vendor.full, &world.vendor.late] {
        refuses.store(true, Ordering::SeqCst);
        world.vendor.silent.store(false, Ordering::SeqCst);
        assert_eq!(read().await, (EffectOutcome::NotSent, true));
        world.vendor.silent.store(true, Ordering::SeqCst);
        assert_eq!(read().await, (EffectOutcome::Unknown, true));
        refuses.store(false, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn whoever_waits_when_a_gateway_ends_gets_a_handle() {
    let world = World::new().await;
    world.vendor.hangs.store(true, Ordering::SeqCst);
    world.gateway.parting.cancel();
    let mut told = Vec::new();
    for effect in [Effect::Read, Effect::Once] {
        let job = Arc::new(JobBuilder::new(effect).reply_to(&world.gateway.me).build());
        let answer = world.gateway.run_and_wait(job, Duration::from_secs(40)).await.unwrap();
        let envelope: Envelope = serde_json::from_slice(&answer.json).unwrap();
        assert_eq!(envelope.state, CallState::Running);
        told.push(envelope.execution_id.unwrap());
    }
    let jobs = world.vendor.jobs.lock();
    let [read, again, write] = jobs.as_slice() else { panic!("{jobs:?}") };
    // What nobody waits for here any more, executors keep; a queue takes an execution once.
    assert!(read.reply_to.is_some() && again.reply_to.is_none() && again.execution_id != read.execution_id);
    assert_eq!(again.request_hash, read.request_hash);
    let time = |job: &Job| job.accepted_at.until(job.deadline);
    assert_eq!(time(again), time(read), "it begins anew, and so does its time");
    assert_eq!(told, [again.execution_id.as_str(), write.execution_id.as_str()]);
}
