use std::sync::Arc;
use std::sync::atomic::Ordering;

use plugboard_core::error::EffectOutcome;
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
