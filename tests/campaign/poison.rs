//! A job that kills whoever takes it, until it is put aside.

use std::time::Duration;

use crate::script::Stage;
use crate::site::{EXECUTORS, numbered};

/// Where it kills, and where the one who puts it aside dies.
const STARTED: &str = "delivered_before_intent";
const PUT_ASIDE: &str = "dead_letter_before_ack";
/// So often a job is started; the next delivery puts it aside.
const STARTS: usize = 5;
/// A dead executor's jobs are given out again after ten seconds; then somebody has to be there.
const LAST_START: Duration = Duration::from_secs(60);
const ALL_STARTS: Duration = Duration::from_secs(5 * 60);
const DEADLINE: Duration = Duration::from_secs(600);

pub(crate) const MARKER: &str = "t01-poison";

/// Returns its execution id.
pub(crate) async fn play(stage: &Stage) -> Option<String> {
    let began = stage.clock.now();
    let executors = numbered("executor", EXECUTORS);
    // Nobody may take it before it is known by its name.
    stage.site.signal_all(&executors, "STOP");
    let Some(id) = stage.driver.hand_over(MARKER, DEADLINE).await else {
        stage.site.signal_all(&executors, "CONT");
        return None;
    };
    // All of it is armed beforehand: a start that finds nothing to die of would make the call.
    stage.arm(STARTED, &id, STARTS);
    stage.arm(PUT_ASIDE, &id, 1);
    stage.site.signal_all(&executors, "CONT");
    // Another fault may end a start before it comes so far, and it is counted all the same: then one death fewer remains.
    let aside = stage.met(PUT_ASIDE, ALL_STARTS + LAST_START).await;
    let died = STARTS - stage.disarm(STARTED);
    for (name, took) in [(STARTED, died > 0), (PUT_ASIDE, aside)] {
        stage.healed("failpoint", name, began, took).await;
    }
    stage.driver.end_of(MARKER, &id).await;
    Some(id)
}
