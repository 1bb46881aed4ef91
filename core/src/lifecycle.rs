//! Start, run, leave, drain: three tokens, tracked tasks, a limit on the drain.

use std::future::Future;
use std::time::Duration;

use parking_lot::Mutex;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A drain that takes longer says what it waits for.
const UNUSUAL: Duration = Duration::from_secs(3);

/// Takes a task's name off the list when it is dropped, however the task ended.
struct Ended {
    running: Arc<Mutex<Vec<&'static str>>>,
    name: &'static str,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut running = self.running.lock();
        if let Some(at) = running.iter().position(|name| *name == self.name) {
            running.swap_remove(at);
        }
    }
}

/// Handed to everything that runs.
#[derive(Clone)]
pub struct Lifecycle {
    /// A stop was asked for; everything is still served.
    leaving: CancellationToken,
    /// Finish what was begun, take nothing new.
    soft: CancellationToken,
    /// Drop everything.
    hard: CancellationToken,
    tracker: TaskTracker,
    /// Names of the tasks that run; one stands for each task.
    running: Arc<Mutex<Vec<&'static str>>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lifecycle").field("tasks", &self.tracker.len()).finish_non_exhaustive()
    }
}

impl Lifecycle {
    pub fn new() -> Self {
        Self {
            leaving: CancellationToken::new(),
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            tracker: TaskTracker::new(),
            running: Arc::default(),
            failure: Arc::default(),
        }
    }

    /// Fires when a stop was asked for. What is served is served on for a while, so that a balancer that looks at the
    /// readiness stops sending before the listener closes.
    pub fn leaving(&self) -> CancellationToken {
        self.leaving.clone()
    }

    /// Fires when nothing new may be taken.
    pub fn stopping(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Fires when the drain has taken too long.
    pub fn dropping(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Asks everything to finish.
    pub fn stop(&self) {
        self.leaving.cancel();
        self.soft.cancel();
    }

    /// Runs a task that nobody waits for: it serves for as long as the process lives, also while that drains. One that
    /// fails takes the process down.
    pub fn beside<E: std::fmt::Display + Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = task.await {
                tracing::error!(task = name, %error, "it failed; shutting down");
                this.failure.lock().get_or_insert(format!("{name}: {error}"));
                this.stop();
            }
        });
    }

    /// Runs a task for as long as the process lives. One that ends before it was asked to takes the process down: a
    /// service without one of its parts is worse than a restart.
    pub fn supervise(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let this = self.clone();
        self.running.lock().push(name);
        self.tracker.spawn(async move {
            let _ended = Ended { running: this.running.clone(), name };
            let outcome = tokio::spawn(task);
            let abort = outcome.abort_handle();
            let ended = tokio::select! {
                ended = outcome => ended,
                () = this.hard.cancelled() => {
                    abort.abort();
                    return;
                }
            };
            if this.soft.is_cancelled() {
                return;
            }
            let why = match ended {
                Ok(()) => format!("{name} ended unexpectedly"),
                Err(error) if error.is_panic() => format!("{name} panicked"),
                Err(_) => format!("{name} was aborted"),
            };
            tracing::error!(task = name, "{why}; shutting down");
            this.failure.lock().get_or_insert(why);
            this.stop();
        });
    }

    /// Runs a fallible task; its error takes the process down.
    pub fn supervise_result<E: std::fmt::Display + Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let failure = self.failure.clone();
        self.supervise(name, async move {
            if let Err(error) = task.await {
                failure.lock().get_or_insert(format!("{name}: {error}"));
            }
        });
    }

    /// Waits for the stop, then for the tasks; after `limit` drops them.
    ///
    /// # Errors
    /// What took the process down, if it was not asked to stop.
    pub async fn run_until_stopped(&self, limit: Duration) -> Result<(), String> {
        self.soft.cancelled().await;
        self.tracker.close();
        let told = async {
            tokio::time::sleep(UNUSUAL).await;
            tracing::info!(waits_for = ?self.running.lock(), "still finishing what was begun");
            std::future::pending().await
        };
        let drained = tokio::time::timeout(limit, async {
            tokio::select! {
                () = self.tracker.wait() => {}
                () = told => {}
            }
        });
        if drained.await.is_err() {
            tracing::warn!(left = ?self.running.lock(), "the drain took too long; dropping what is left");
            self.hard.cancel();
            // Aborted tasks end at their next await; a second is plenty.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.tracker.wait()).await;
        }
        self.failure.lock().take().map_or(Ok(()), Err)
    }

    /// Leaves on SIGTERM or SIGINT, and stops after `grace`. Another signal ends the grace, one during the drain drops
    /// everything.
    ///
    /// # Errors
    /// When the process cannot listen for signals.
    pub fn stop_on_signals(&self, grace: Duration) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let this = self.clone();
        tokio::spawn(async move {
            let mut signalled = async || {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            signalled().await;
            this.leaving.cancel();
            if !grace.is_zero() {
                tracing::info!(
                    grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
                    "leaving: not ready any more"
                );
                let _ = tokio::time::timeout(grace, signalled()).await;
            }
            tracing::info!("stopping: finishing what was begun");
            this.soft.cancel();
            signalled().await;
            this.hard.cancel();
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drains_and_then_drops() {
        let life = Lifecycle::new();
        life.supervise("stuck", std::future::pending());
        life.stop();
        assert_eq!(life.run_until_stopped(Duration::from_secs(5)).await, Ok(()));
        assert!(life.dropping().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_takes_the_process_down() {
        let life = Lifecycle::new();
        life.supervise("short", async {});
        let error = life.run_until_stopped(Duration::from_secs(5)).await.unwrap_err();
        assert!(error.contains("short"), "{error}");
    }
}
