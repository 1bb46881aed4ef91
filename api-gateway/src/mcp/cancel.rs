//! What a vanished client means, which differs by era.
//!
//! Since 2026-07-28 hanging up is the cancellation. Before, it is not: a client may lose its connection and the call
//! still counts, and `notifications/cancelled` names the request instead. Without sessions that notification can only be
//! matched to a call in this process, by caller and request id; it is advice, so a miss is allowed.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Key = (u64, Box<str>);

/// Legacy calls that run in this process.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    calls: Mutex<HashMap<Key, Running>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Running {
    token: CancellationToken,
    /// Several clients may share a key and count their ids from one. Who is meant is then unknown, so nobody is.
    others: usize,
}

impl InFlight {
    /// Makes a call known until the returned guard is dropped.
    pub(super) fn enter(
        self: &Arc<Self>,
        caller: &str,
        headers: &HeaderMap,
        id: &str,
        token: &CancellationToken,
    ) -> InFlightGuard {
        let key = (self.scope(caller, headers), Box::from(id));
        match self.calls.lock().entry(key.clone()) {
            Entry::Occupied(mut running) => running.get_mut().others += 1,
            Entry::Vacant(slot) => {
                slot.insert(Running { token: token.clone(), others: 0 });
            }
        }
        InFlightGuard { calls: Arc::clone(self), key }
    }

    /// Cancels the call, if exactly one fits.
    pub(super) fn cancel(&self, caller: &str, headers: &HeaderMap, id: &str) {
        let key = (self.scope(caller, headers), Box::from(id));
        if let Some(running) = self.calls.lock().get(&key)
            && running.others == 0
        {
            running.token.cancel();
        }
    }

    /// The user agent narrows the scope where programs of different make share a key.
    fn scope(&self, caller: &str, headers: &HeaderMap) -> u64 {
        let agent = headers.get(http::header::USER_AGENT).map(http::HeaderValue::as_bytes);
        self.hasher.hash_one(Scope { caller, agent })
    }
}

#[derive(Hash)]
struct Scope<'a> {
    caller: &'a str,
    agent: Option<&'a [u8]>,
}

/// See [`InFlight::enter`].
#[derive(Debug)]
pub(super) struct InFlightGuard {
    calls: Arc<InFlight>,
    key: Key,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut calls = self.calls.calls.lock();
        if let Some(running) = calls.get_mut(&self.key) {
            if running.others == 0 {
                calls.remove(&self.key);
            } else {
                running.others -= 1;
            }
        }
    }
}

/// A call that runs on when the connection it came from is gone: dropped early, it continues as a task.
/// Until then it costs no task.
pub(super) struct Detachable<F: Future<Output: Send> + Send + 'static> {
    call: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
}

impl<F: Future<Output: Send> + Send + 'static> Detachable<F> {
    pub(super) fn new(call: F, tasks: &TaskTracker) -> Self {
        Self { call: Some(Box::pin(call)), tasks: tasks.clone() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Detachable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(call) = &mut self.call else { return Poll::Pending };
        let output = std::task::ready!(call.as_mut().poll(cx));
        self.call = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Detachable<F> {
    fn drop(&mut self) {
        // A runtime that is going away takes its calls with it.
        if let Some(call) = self.call.take()
            && let Ok(runtime) = Handle::try_current()
        {
            self.tasks.spawn_on(
                async move {
                    call.await;
                },
                &runtime,
            );
        }
    }
}

/// Fires the token when the call is dropped before its end.
pub(super) struct Hangup(Option<CancellationToken>);

impl Hangup {
    pub(super) fn new(token: CancellationToken) -> Self {
        Self(Some(token))
    }

    /// The call has ended by itself.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        if let Some(token) = &self.0 {
            token.cancel();
        }
    }
}
