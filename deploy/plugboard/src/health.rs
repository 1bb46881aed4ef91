//! A listener for whoever operates the service, and for nobody else: is it alive, is it ready, what has it counted.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::readiness::{Readiness, Report};
use plugboard_core::telemetry::metrics::{self, FOLD_EVERY, Scrape, Service};
use tokio::net::TcpListener;

/// As Prometheus wants it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bound, and counting; not yet serving.
pub struct Health(Option<(TcpListener, Scrape)>);

/// Binds the address and begins to count, before anything that counts is made. An empty address: neither.
///
/// # Errors
/// When the address is taken.
pub async fn open(address: &str, name: &'static str, services: &[Service]) -> anyhow::Result<Health> {
    if address.is_empty() {
        return Ok(Health(None));
    }
    let listener = TcpListener::bind(address).await.with_context(|| format!("mode.health_listen {address}"))?;
    Ok(Health(Some((listener, metrics::install(name, services)?))))
}

/// A service whose parts are known when it has started; until then it is alive and not ready.
#[derive(Debug, Clone, Default)]
pub struct Wired(Arc<OnceLock<Readiness>>);

impl Wired {
    pub fn tell(&self, readiness: Readiness) {
        // Nobody tells twice.
        let _ = self.0.set(readiness);
    }

    fn report(&self) -> Report {
        self.0.get().map_or_else(Report::starting, Readiness::report)
    }
}

impl Health {
    /// Serves until the process ends: while it drains, too, it is alive, not ready, and counts.
    #[must_use]
    pub fn serve(self, life: &Lifecycle) -> Wired {
        let wired = Wired::default();
        let Some((listener, scrape)) = self.0 else { return wired };
        let folded = scrape.clone();
        life.beside::<std::convert::Infallible>("metrics", async move {
            loop {
                tokio::time::sleep(FOLD_EVERY).await;
                folded.fold();
            }
        });
        life.beside(
            "health listener",
            std::future::IntoFuture::into_future(axum::serve(listener, router(wired.clone(), scrape))),
        );
        wired
    }
}

fn router(wired: Wired, scrape: Scrape) -> Router {
    let alive = get(|| async { "ok\n" });
    let asked = wired.clone();
    let ready = get(move || {
        let report = asked.report();
        let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        async move { (status, Json(report)) }
    });
    let counted = get(move || {
        if let Some(readiness) = wired.0.get() {
            readiness.measure();
        }
        let text = scrape.text();
        async move { ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response() }
    });
    Router::new()
        .route("/livez", alive.clone())
        .route("/healthz", alive)
        .route("/readyz", ready)
        .route("/metrics", counted)
}
