//! One job from start to end. Every path ends with exactly one of ack and nack.
//!
//! The order is the promise: deadline → manifest, body, turn at the vendor's limit, fields, request → for everything but a `read` the intent, and
//! only then the first byte → journal → reply → ack. What fails before the intent ends the call as not sent, if the
//! journal agrees that nobody else may have sent it.

mod call;
mod course;
mod failure;
mod limits;
mod prepare;
#[cfg(test)]
mod revocation_tests;
mod settle;
#[cfg(test)]
mod tests;
mod trace;

use std::time::Duration;

use plugboard_core::failpoint::failpoint;
use plugboard_core::job::{Job, Outcome};
use plugboard_core::journal::Claim;
use plugboard_core::manifest::Effect;
use plugboard_core::queue::{Delivery, MAX_STARTS};

use crate::Deps;
use call::{Called, call};
use plugboard_core::broken::broken;
use prepare::{Stop, prepare};
use settle::Desk;

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Ack,
    /// Hand it back, to come again after a while.
    Later(Duration),
}

/// Runs one delivery to its end.
pub(crate) async fn run(deps: &Deps, delivery: Delivery) {
    if broken("ack_before_call") {
        let (job, starts) = (delivery.job.clone(), delivery.starts);
        delivery.ack();
        one(deps, &job, starts).await;
        return;
    }
    match one(deps, &delivery.job, delivery.starts).await {
        End::Ack => delivery.ack(),
        End::Later(delay) => delivery.nack(delay),
    }
}

/// Runs a read whose caller waits for what this returns: nothing to journal, nothing to hand back. `None`: a part of
/// ours is away, and nothing was sent.
pub(crate) async fn express(deps: &Deps, job: &Job) -> Option<Outcome> {
    let desk = Desk::new(deps, job, 1);
    let called = if deps.clock.now() >= job.deadline {
        Called::failed(failure::too_late())
    } else {
        match prepare(deps, job, &desk.watch).await {
            Ok(ready) => call(deps, job, false, ready, &desk.watch).await,
            Err(Stop::Later) => return None,
            Err(Stop::Failed(error)) => Called::failed(*error),
        }
    };
    Some(desk.answering(desk.outcome(called)).await)
}

async fn one(deps: &Deps, job: &Job, starts: u32) -> End {
    let desk = Desk::new(deps, job, starts);
    if starts > MAX_STARTS {
        return desk.give_up().await;
    }
    if deps.clock.now() >= job.deadline {
        return desk.end_unsent(failure::too_late()).await;
    }
    let ready = match prepare(deps, job, &desk.watch).await {
        Ok(ready) => ready,
        Err(Stop::Later) => return desk.later(),
        Err(Stop::Failed(error)) => return desk.end_unsent(*error).await,
    };
    if job.effect == Effect::Read || broken("no_intent") {
        let called = call(deps, job, starts > 1, ready, &desk.watch).await;
        return desk.answering(desk.end_read(called)).await;
    }
    failpoint("delivered_before_intent", job.execution_id.as_str());
    match deps.journal.claim(job).await {
        Ok(Claim::Granted(intent)) => {
            failpoint("intent_before_first_byte", job.execution_id.as_str());
            let called = call(deps, job, intent.is_taken_over(), ready, &desk.watch).await;
            desk.answering(desk.end_claimed(&intent, called)).await
        }
        Ok(Claim::Ended(outcome)) => desk.resend(*outcome).await,
        Ok(Claim::Unknown) if broken("call_again") => {
            desk.end_read(call(deps, job, true, ready, &desk.watch).await).await
        }
        Ok(Claim::Unknown) => desk.end_unknown().await,
        Err(error) => {
            tracing::warn!(%error, "the journal did not answer; nothing was sent");
            desk.later()
        }
    }
}
