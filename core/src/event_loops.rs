//! Threads that share no work, each with a runtime of its own, as in nginx and Envoy.
//!
//! What belongs to a connection is made, waits and ends on one of them. So nothing of a call moves to another processor's
//! cache, no thread looks for work in another's queue, and a call that meets nobody else wakes no other thread. That pays
//! where a call is made by whoever received it. Where its answer comes from another process, it would have to be handed from
//! the thread of that connection to the caller's, which costs more than is gained: there one runtime with many threads is
//! better.
//!
//! What takes long on the processor would hold up all connections of its thread: it is done [`aside`].

use std::cell::{Cell, OnceCell};
use std::io;

use futures::future::BoxFuture;
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

/// No process has more of them.
pub const MOST: usize = 256;
/// Blocking threads of all of them together, as many as a runtime has by itself, and of each at least.
const BLOCKING: usize = 512;
const BLOCKING_EACH: usize = 8;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
    static USUAL: OnceCell<Handle> = const { OnceCell::new() };
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
    /// As [`Self::start`].
    pub fn for_this_machine() -> io::Result<Self> {
        Self::start(std::thread::available_parallelism().map_or(1, usize::from) * 2)
    }

    /// Beside the runtime that this is called on.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(count: usize) -> io::Result<Self> {
        let count = count.clamp(1, MOST);
        let (usual, running) = (Handle::current(), CancellationToken::new());
        let mut loops = Self { handles: Vec::with_capacity(count), _running: running.clone().drop_guard() };
        for number in 1..=count {
            let blocking = (BLOCKING / count).max(BLOCKING_EACH);
            let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(blocking).build()?;
            loops.handles.push(runtime.handle().clone());
            let (usual, ended) = (usual.clone(), running.clone());
            std::thread::Builder::new().name(format!("event-loop-{number}")).spawn(move || {
                NUMBER.set(number);
                let _ = USUAL.with(|kept| kept.set(usual));
                runtime.block_on(ended.cancelled());
                runtime.shutdown_background();
            })?;
        }
        Ok(loops)
    }

    /// To spawn on them.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

/// On an event loop: does it on the runtime that the loops were started from, whose threads help each other. Anywhere else
/// it is done right here. Dropped, it is given up.
pub async fn aside<T: Send + 'static>(work: BoxFuture<'static, T>) -> T {
    match USUAL.with(|usual| usual.get().cloned()) {
        Some(usual) => ended(AbortOnDropHandle::new(usual.spawn(work)).await).await,
        None => work.await,
    }
}

/// Does it on a thread that may be held up, wherever this is called.
pub async fn aside_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    ended(spawn_blocking(work).await).await
}

/// A panic goes on where it was waited for.
async fn ended<T>(task: Result<T, JoinError>) -> T {
    match task.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and whoever waits with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    async fn here() -> (usize, std::thread::ThreadId) {
        (current(), std::thread::current().id())
    }

    #[tokio::test]
    async fn each_is_a_thread_with_a_number() {
        let loops = EventLoops::start(3).unwrap();
        assert_eq!(current(), 0);
        for (at, handle) in loops.handles().iter().enumerate() {
            let first = handle.spawn(here()).await.unwrap();
            assert_eq!(handle.spawn(async { tokio::spawn(here()).await.unwrap() }).await.unwrap(), first);
            assert_eq!(first.0, at + 1);
        }
    }

    #[tokio::test]
    async fn what_is_done_aside_is_done_on_no_event_loop() {
        let loops = EventLoops::start(1).unwrap();
        let usual = here().await;
        assert_eq!(loops.handles()[0].spawn(aside(here().boxed())).await.unwrap(), usual);
        assert_eq!(aside(here().boxed()).await, usual);
        let blocking = || aside_blocking(|| (current(), std::thread::current().id()));
        for other in [loops.handles()[0].spawn(blocking()).await.unwrap(), blocking().await] {
            assert!(other.0 == 0 && other.1 != usual.1);
        }
    }

    #[tokio::test]
    async fn a_panic_aside_is_one_of_whoever_waits() {
        let loops = EventLoops::start(1).unwrap();
        let waits = loops.handles()[0].spawn(aside::<()>(async { panic!("by intent") }.boxed()));
        assert!(waits.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn what_runs_on_them_ends_with_them() {
        let loops = EventLoops::start(1).unwrap();
        let task = loops.handles()[0].spawn(std::future::pending::<()>());
        drop(loops);
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
