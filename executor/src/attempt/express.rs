//! Jobs that came past the queue: nothing to hand back, and nobody who would give them to another executor.

use plugboard_core::broken::broken;
use plugboard_core::error::CallError;
use plugboard_core::failpoint::failpoint;
use plugboard_core::job::{Job, Outcome};
use plugboard_core::manifest::Effect;
use plugboard_core::queue::{BEGUN_WITHIN, NotRun};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::call::{Called, call};
use super::prepare::{Haste, Stop, prepare};
use super::settle::Desk;
use super::{Verdict, claimed, failure};
use crate::Deps;

/// Runs such a job, for whoever waits for what this returns.
///
/// # Errors
/// [`NotRun::NotTaken`] when this start has sent nothing, [`NotRun::Lost`] when it may have. The queue has what it takes to
/// find out.
pub(crate) async fn express(deps: &Deps, job: &Job) -> Result<Outcome, NotRun> {
    let desk = Desk::new(deps, job, 1);
    let span = desk.trace.span();
    // Boxed: whatever is put around a future moves it, and these are large.
    let outcome = match job.effect {
        Effect::Read => Box::pin(express_read(&desk)).instrument(span).await,
        _ => Box::pin(express_effect(&desk)).instrument(span).await,
    };
    desk.over();
    outcome
}

/// Nothing to journal, nothing to hand back.
async fn express_read(desk: &Desk<'_>) -> Result<Outcome, NotRun> {
    let Desk { deps, job, .. } = *desk;
    let called = if deps.clock.now() >= job.deadline {
        Called::failed(failure::too_late())
    } else {
        match prepare(desk, Haste::None).await {
            Ok(ready) => call(desk, false, ready).await,
            Err(Stop::Later) => return Err(NotRun::NotTaken),
            Err(Stop::Failed(error)) => Called::failed(error),
        }
    };
    Ok(desk.answering(desk.outcome(called)).await)
}

/// The intent is written in time or never: the gateway gives the job to the queue when it sees none, and what is begun after
/// that would end there as "unknown". Where another start of the same job has left an entry, it stays as it is.
async fn express_effect(desk: &Desk<'_>) -> Result<Outcome, NotRun> {
    let Desk { deps, job, .. } = *desk;
    let began = Instant::now();
    if deps.clock.now() >= job.deadline {
        return close(desk, failure::too_late()).await;
    }
    let ready = match timeout(BEGUN_WITHIN, prepare(desk, Haste::Express)).await {
        Ok(Ok(ready)) => ready,
        Ok(Err(Stop::Failed(error))) => return close(desk, error).await,
        Ok(Err(Stop::Later)) | Err(_) => return Err(NotRun::NotTaken),
    };
    // The process may have slept.
    if began.elapsed() > BEGUN_WITHIN {
        return Err(NotRun::NotTaken);
    }
    if broken("no_intent") {
        let called = call(desk, false, ready).await;
        return told(desk.end_read(called).await, NotRun::Lost);
    }
    failpoint("delivered_before_intent", job.execution_id.as_str());
    match deps.journal.begin(job).await {
        Ok(Some(intent)) => told(claimed(desk, &intent, ready).await, NotRun::Lost),
        // Its caller has left, or it has come by the queue.
        Ok(None) => Err(NotRun::NotTaken),
        Err(error) => {
            tracing::warn!(%error, "the journal did not answer; nothing was sent");
            Err(NotRun::NotTaken)
        }
    }
}

/// Ends a job of which this start has sent nothing.
async fn close(desk: &Desk<'_>, error: CallError) -> Result<Outcome, NotRun> {
    desk.close(error).await.map_or(Err(NotRun::NotTaken), |verdict| told(verdict, NotRun::NotTaken))
}

fn told(verdict: Verdict, otherwise: NotRun) -> Result<Outcome, NotRun> {
    match verdict {
        Verdict::Tell(outcome) => Ok(outcome),
        Verdict::Nothing | Verdict::Later(_) => Err(otherwise),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use plugboard_core::clock::FakeClock;
    use plugboard_core::journal::{Closed, JournalState};
    use plugboard_core::limits::Limits;
    use plugboard_core::queue::Shares;
    use plugboard_core::testing::outcome;
    use serde_json::{Value, json};

    use super::super::tests::state;
    use super::*;
    use crate::testing::{Act, Bench, Vendor, bearer, expired, fields};
    use crate::{Config, Executor};

    async fn bench(parts: Value) -> (Bench, Vendor) {
        let vendor = Vendor::start(vec![Act::json(200, json!({"ok": true}))]).await;
        (Bench::new(parts, fields(&[("api_key", "k-1234567890")]), vendor.addr), vendor)
    }

    fn envelope(outcome: &Outcome) -> Value {
        serde_json::from_slice(&outcome.envelope).unwrap()
    }

    #[tokio::test]
    async fn an_effect_is_written_down_before_it_is_told() {
        let (bench, vendor) = bench(bearer()).await;
        for (operation, path) in [("replace", "/orders/1"), ("pay", "/payments"), ("send", "/messages")] {
            let job = bench.job(operation, path);
            let outcome = express(&bench.deps, &job).await.unwrap();
            assert_eq!(envelope(&outcome)["ok"], true);
            assert_eq!(state(&bench, &job).await, Some(JournalState::Done));
        }
        assert_eq!(vendor.calls(), 3);
        assert!(!bench.has_reply(), "whoever waits has it already");
    }

    #[tokio::test]
    async fn what_has_an_entry_is_left_as_it_is() {
        let (bench, vendor) = bench(bearer()).await;
        let begun = bench.job("send", "/messages");
        assert!(bench.other_executor().journal.begin(&begun).await.unwrap().is_some());
        assert!(express(&bench.deps, &begun).await == Err(NotRun::NotTaken));
        assert_eq!(state(&bench, &begun).await, Some(JournalState::Intent), "its owner is not disturbed");
        let left = bench.job("send", "/messages");
        let unsent = outcome(&left.execution_id, b"{}");
        assert!(matches!(bench.deps.journal.close(&left, &unsent).await.unwrap(), Closed::Yes));
        assert!(express(&bench.deps, &left).await == Err(NotRun::NotTaken));
        let late = expired(begun);
        assert!(express(&bench.deps, &late).await == Err(NotRun::NotTaken));
        assert_eq!(state(&bench, &late).await, Some(JournalState::Intent));
        assert_eq!(vendor.calls(), 0);
    }

    #[tokio::test]
    async fn what_was_not_sent_is_closed() {
        let (bench, vendor) = bench(bearer()).await;
        let job = expired(bench.job("send", "/messages"));
        let outcome = express(&bench.deps, &job).await.unwrap();
        assert_eq!(envelope(&outcome)["error"]["code"], "DEADLINE_EXCEEDED");
        assert_eq!(state(&bench, &job).await, Some(JournalState::Closed));
        assert_eq!(vendor.calls(), 0);
    }

    #[tokio::test]
    async fn what_would_wait_for_its_turn_goes_to_the_queue() {
        let mut parts = bearer();
        parts["rate_limits"] = json!({ "default": { "scope": "account", "requests": 1, "per_seconds": 3 } });
        let (mut bench, vendor) = bench(parts).await;
        let clock = Arc::new(FakeClock::at(1_000));
        bench.deps.limits = Some(Limits::alone(clock.clone()));
        let first = bench.job("send", "/messages");
        assert!(express(&bench.deps, &first).await.is_ok());
        let began = Instant::now();
        for _ in 0..20 {
            let job = bench.job("send", "/messages");
            assert!(express(&bench.deps, &job).await == Err(NotRun::NotTaken));
            assert_eq!(state(&bench, &job).await, None);
        }
        assert!(began.elapsed() < BEGUN_WITHIN, "it says so at once");
        assert_eq!(vendor.calls(), 1);
        // They have taken nothing from the limit.
        clock.advance(Duration::from_secs(3));
        assert!(express(&bench.deps, &bench.job("send", "/messages")).await.is_ok());
    }

    #[tokio::test]
    async fn an_effect_ends_though_nobody_waits_any_more() {
        let (bench, vendor) = bench(bearer()).await;
        let executor = Executor::new(Config::default(), bench.deps.clone(), Shares::new(4));
        let job = bench.job("send", "/messages");
        drop(executor.express().run(Arc::new(job.clone())));
        for _ in 0..500 {
            if state(&bench, &job).await == Some(JournalState::Done) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((state(&bench, &job).await, vendor.calls()), (Some(JournalState::Done), 1));
    }
}
