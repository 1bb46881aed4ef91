//! What a service says and hears while it waits for the servers that it needs: alive, not ready, and SIGTERM.

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::readiness::Report;
use plugboard_core::tls::Listening;
use tokio_util::sync::CancellationToken;

use crate::public::PublicListener;

/// `None`: the service was asked to stop first.
pub async fn unless_stopped<T>(life: &Lifecycle, starting: impl Future<Output = T>) -> Option<T> {
    let stopping = life.stopping();
    tokio::select! {
        biased;
        started = starting => Some(started),
        () = stopping.cancelled() => None,
    }
}

/// As [`unless_stopped`]. Meanwhile whoever comes to the service's own listener is told that it is not ready; nothing is
/// taken from those who come later.
///
/// # Errors
/// When the listener cannot be shared.
pub async fn answer_meanwhile<T>(
    listener: &Listening,
    life: &Lifecycle,
    starting: impl Future<Output = T>,
) -> std::io::Result<Option<T>> {
    let listener = PublicListener::new(listener.share()?)?;
    let alive = get(|| async { "ok\n" });
    let not_ready = || async { (StatusCode::SERVICE_UNAVAILABLE, Json(Report::starting())) };
    let router = Router::new().route("/livez", alive.clone()).route("/healthz", alive).fallback(not_ready);
    let started = CancellationToken::new();
    let serving = axum::serve(listener, router).with_graceful_shutdown(started.clone().cancelled_owned());
    let serving = tokio::spawn(serving.into_future());
    let result = unless_stopped(life, starting).await;
    started.cancel();
    // Whoever keeps a connection open would find nobody behind it.
    serving.abort();
    Ok(result)
}
