//! One job from start to end. Every path of a delivery ends with exactly one of ack and nack.
//!
//! The order is the promise: deadline → manifest, body, turn at the vendor's limit, fields, request → for everything but a `read` the intent, and
//! only then the first byte → journal → reply → ack. What fails before the intent ends the call as not sent, if the
//! journal agrees that nobody else may have sent it.

mod call;
mod course;
mod express;
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

use plugboard_core::broken::broken;
use plugboard_core::failpoint::failpoint;
use plugboard_core::job::Outcome;
use plugboard_core::journal::{Claim, Intent};
use plugboard_core::manifest::Effect;
use plugboard_core::queue::{Delivery, MAX_STARTS};
use tracing::Instrument;

use crate::Deps;
use call::call;
use prepare::{Haste, Ready, Stop, prepare};
use settle::Desk;

pub(crate) use express::express;

/// How a start of a job has ended.
#[derive(Debug)]
enum Verdict {
    /// The job is over, and this is what whoever waits is told.
    Tell(Outcome),
    /// The job is over, and nobody is told by this start.
    Nothing,
    /// It is not over: hand it back, to come again after a while.
    Later(Duration),
}

/// Runs one delivery to its end.
pub(crate) async fn run(deps: &Deps, delivery: Delivery) {
    let job = delivery.job.clone();
    let desk = Desk::new(deps, &job, delivery.starts);
    // Boxed: whatever is put around a future moves it, and this one is large.
    Box::pin(deliver(&desk, delivery)).instrument(desk.trace.span()).await;
    desk.over();
}

async fn deliver(desk: &Desk<'_>, delivery: Delivery) {
    if broken("ack_before_call") {
        let starts = delivery.starts;
        delivery.ack();
        if let Verdict::Tell(outcome) = one(desk, starts).await {
            desk.tell(outcome).await;
        }
        return;
    }
    match one(desk, delivery.starts).await {
        Verdict::Tell(outcome) => {
            desk.tell(outcome).await;
            if desk.job.effect != Effect::Read {
                desk.failpoint("result_before_ack");
            }
            delivery.ack();
        }
        Verdict::Nothing => delivery.ack(),
        Verdict::Later(delay) => delivery.nack(delay),
    }
}

async fn one(desk: &Desk<'_>, starts: u32) -> Verdict {
    let Desk { deps, job, .. } = *desk;
    if starts > MAX_STARTS {
        return desk.give_up().await;
    }
    if deps.clock.now() >= job.deadline {
        return desk.end_unsent(failure::too_late()).await;
    }
    let ready = match prepare(desk, Haste::None).await {
        Ok(ready) => ready,
        Err(Stop::Later) => return desk.later(),
        Err(Stop::Failed(error)) => return desk.end_unsent(error).await,
    };
    if job.effect == Effect::Read || broken("no_intent") {
        let called = call(desk, starts > 1, ready).await;
        return desk.answering(desk.end_read(called)).await;
    }
    failpoint("delivered_before_intent", job.execution_id.as_str());
    match deps.journal.claim(job).await {
        Ok(Claim::Granted(intent)) => claimed(desk, &intent, ready).await,
        Ok(Claim::Ended(outcome)) => desk.resend(*outcome),
        Ok(Claim::Unknown) if broken("call_again") => desk.end_read(call(desk, true, ready).await).await,
        Ok(Claim::Unknown) => desk.end_unknown().await,
        Err(error) => {
            tracing::warn!(%error, "the journal did not answer; nothing was sent");
            desk.later()
        }
    }
}

/// Makes a call whose intent is held here.
async fn claimed(desk: &Desk<'_>, intent: &Intent, ready: Ready) -> Verdict {
    desk.failpoint("intent_before_first_byte");
    let called = call(desk, intent.is_taken_over(), ready).await;
    desk.answering(desk.end_claimed(intent, called)).await
}
