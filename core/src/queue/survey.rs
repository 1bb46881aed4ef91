//! A look at everything that lies in the queue: for whoever watches, and for the admission of calls.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{JobQueue, QueueDepth};

/// How often a gateway looks.
const EVERY: Duration = Duration::from_secs(1);

/// Names of classes that every queue has.
pub const INTERACTIVE: &str = "interactive";
pub const BACKGROUND: &str = "background";

/// What lies in the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    pub lines: Vec<Line>,
    /// Jobs that are stored and that nobody hands out. There must be none: whoever waits for one waits in vain.
    pub unaccounted: u64,
}

/// Jobs of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub class: &'static str,
    pub waiting: u64,
    /// In the hands of executors.
    pub held: u64,
    /// How long the first of those that wait has waited.
    pub oldest: Duration,
}

impl Survey {
    pub fn depth(&self) -> QueueDepth {
        let sum = |number: fn(&Line) -> u64| self.lines.iter().map(number).sum();
        QueueDepth { waiting: sum(|line| line.waiting), held: sum(|line| line.held) }
    }
}

/// Looks every second, for [`JobQueue::wait_ahead`], and tells as metrics what it has seen.
pub async fn watch(queue: Arc<dyn JobQueue>, stopping: CancellationToken) {
    let mut alarmed = false;
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stopping.run_until_cancelled(looks.tick()).await.is_some() {
        // What is not known is left as it was; that the queue is away is told by whoever needs it.
        let Ok(survey) = queue.survey().await else { continue };
        for line in &survey.lines {
            metrics::gauge!("plugboard_queue_waiting", "class" => line.class).set(line.waiting as f64);
            metrics::gauge!("plugboard_queue_held", "class" => line.class).set(line.held as f64);
            metrics::gauge!("plugboard_queue_oldest_seconds", "class" => line.class).set(line.oldest.as_secs_f64());
        }
        metrics::gauge!("plugboard_queue_unaccounted").set(survey.unaccounted as f64);
        if survey.unaccounted > 0 && !alarmed {
            tracing::error!(jobs = survey.unaccounted, "ALARM: jobs lie in the queue that nobody hands out");
        }
        alarmed = survey.unaccounted > 0;
    }
}
