//! Threads that share no work, each with a runtime of its own, as in nginx and Envoy.
//!
//! What belongs to a connection is made, waits and ends on one of them. So nothing of a call moves to another processor's
//! cache, no thread looks for work in another's queue, and none wakes another. That pays where a call is made by whoever
//! received it. Where its answer comes from another process, it would have to be handed from the thread of that connection to
//! the caller's, which costs more than is gained: there one runtime with many threads is better.
//!
//! What takes long on the processor does not belong here: it holds up all connections of its thread.

use std::cell::Cell;
use std::io;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// No process has more of them.
pub const MOST: usize = 64;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The number of the event loop that this thread is, from 1 to [`MOST`]; 0 for every other thread.
pub fn current() -> usize {
    NUMBER.get()
}

/// They end when this is dropped.
#[derive(Debug)]
pub struct EventLoops {
    handles: Vec<Handle>,
    _running: DropGuard,
}

impl EventLoops {
    /// Two for each processor: with one, a processor has nothing to do as often as its thread waits for the kernel.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn for_this_machine() -> io::Result<Self> {
        Self::start(std::thread::available_parallelism().map_or(1, usize::from) * 2)
    }

    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(count: usize) -> io::Result<Self> {
        let running = CancellationToken::new();
        let mut handles = Vec::new();
        for number in 1..=count.clamp(1, MOST) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let ended = running.clone();
            std::thread::Builder::new().name(format!("event-loop-{number}")).spawn(move || {
                NUMBER.set(number);
                runtime.block_on(ended.cancelled());
                runtime.shutdown_background();
            })?;
        }
        Ok(Self { handles, _running: running.drop_guard() })
    }

    /// To spawn on them.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_is_a_thread_with_a_number() {
        let loops = EventLoops::start(3).unwrap();
        assert_eq!(current(), 0);
        for (at, handle) in loops.handles().iter().enumerate() {
            let first = handle.spawn(async { (current(), std::thread::current().id()) }).await.unwrap();
            let spawned_there =
                async { tokio::spawn(async { (current(), std::thread::current().id()) }).await.unwrap() };
            assert_eq!(handle.spawn(spawned_there).await.unwrap(), first);
            assert_eq!(first.0, at + 1);
        }
    }

    #[tokio::test]
    async fn what_runs_on_them_ends_with_them() {
        let loops = EventLoops::start(1).unwrap();
        let task = loops.handles()[0].spawn(std::future::pending::<()>());
        drop(loops);
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
