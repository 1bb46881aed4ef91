//! `/healthz` and `/readyz` of the services that have no public listener.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use plugboard_core::lifecycle::Lifecycle;
use tokio::net::TcpListener;

/// Says whether the service can do its work now.
pub type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

/// # Errors
/// When the address is taken.
pub async fn serve(address: &str, ready: Ready, life: &Lifecycle) -> anyhow::Result<()> {
    if address.is_empty() {
        return Ok(());
    }
    let listener = TcpListener::bind(address).await.with_context(|| format!("mode.health_listen {address}"))?;
    let router = Router::new().route("/healthz", get(|| async { "ok\n" })).route(
        "/readyz",
        get(move || {
            let status = if ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            async move { (status, if status.is_success() { "ready\n" } else { "not ready\n" }) }
        }),
    );
    let stopping = life.stopping();
    life.supervise_result("health listener", async move {
        axum::serve(listener, router).with_graceful_shutdown(stopping.cancelled_owned()).await
    });
    Ok(())
}
