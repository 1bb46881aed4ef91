//! A job that kills whoever takes it, until it is put aside.

use std::time::Duration;

use crate::script::Stage;
use crate::site::EXECUTORS;

/// So often a job is started; the next delivery puts it aside.
const STARTS: usize = 5;
/// A dead executor's jobs are given out again after ten seconds; then somebody has to be there.
const NEXT_START: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(600);

pub(crate) const MARKER: &str = "t01-poison";

/// Returns its execution id.
pub(crate) async fn play(stage: &Stage) -> Option<String> {
    let began = stage.clock.now();
    let executors: Vec<String> = (1..=EXECUTORS).map(|at| format!("executor-{at}")).collect();
    // Nobody may take it before it is known by its name.
    stage.site.signal_all(&executors, "STOP");
    let execution = stage.driver.hand_over(MARKER, DEADLINE).await;
    let first = async {
        match &execution {
            Some(id) => stage.fire("delivered_before_intent", id, NEXT_START).await,
            None => false,
        }
    };
    let wake = async {
        // The file is there as soon as the other half has been polled.
        stage.site.signal_all(&executors, "CONT");
    };
    let (took, ()) = tokio::join!(first, wake);
    let id = execution?;
    note(stage, "delivered_before_intent", began, took).await;
    for _ in 1..STARTS {
        let at = stage.clock.now();
        let took = stage.fire("delivered_before_intent", &id, NEXT_START).await;
        note(stage, "delivered_before_intent", at, took).await;
        if !took {
            break;
        }
    }
    let at = stage.clock.now();
    let took = stage.fire("dead_letter_before_ack", &id, NEXT_START).await;
    note(stage, "dead_letter_before_ack", at, took).await;
    stage.driver.end_of(MARKER, &id).await;
    Some(id)
}

async fn note(stage: &Stage, name: &str, at: u64, took: bool) {
    stage.healed("failpoint", name, at, took).await;
}
