//! For browsers: links that begin a sign-in, and the callback at the end of it. Handlers decode, call and show.
//!
//! | route | what it does |
//! | --- | --- |
//! | `GET /oauth/start/{link}` | says who asks for what; marks the browser |
//! | `GET /oauth/start/{link}/go` | uses the link up and leaves for the vendor |
//! | `GET /oauth/callback/{service}` | back from the vendor; one address for each connector |
//!
//! Connect pages belong here too: they show what [`AuthService`]'s methods about a [`ConnectVisit`] return.
//!
//! [`ConnectVisit`]: crate::sessions::ConnectVisit

pub mod cookies;
mod pages;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use plugboard_core::ids::ServiceKey;
use plugboard_core::secret::Secret;

use crate::oauth::callback::{Next, Refusal};
use crate::service::AuthService;

/// No script, nothing from elsewhere, in no frame. What a page needs more it says itself.
const CSP: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

/// For the gateway's listener in one process, and for the auth service's own between processes.
pub fn router(service: Arc<AuthService>) -> Router {
    Router::new()
        .route("/oauth/start/{link}", get(start))
        .route("/oauth/start/{link}/go", get(go))
        .route("/oauth/callback/{service}", get(callback))
        .with_state(service)
}

async fn start(State(service): State<Arc<AuthService>>, Path(link): Path<String>, headers: HeaderMap) -> Response {
    let departure = match service.departure(&Secret::new(link.as_str())).await {
        Ok(departure) => departure,
        Err(error) => return pages::stale_link(&error),
    };
    let page = pages::departure(&departure, &link);
    // A browser keeps its mark: two sign-ins at once are one browser's.
    if cookies::get(&headers, cookies::SIGN_IN).is_some() {
        return page;
    }
    match crate::oauth::records::random_token() {
        Ok(mark) => with_cookie(page, &service, cookies::SIGN_IN, &mark),
        Err(error) => pages::trouble(&error),
    }
}

async fn go(State(service): State<Arc<AuthService>>, Path(link): Path<String>, headers: HeaderMap) -> Response {
    let Some(mark) = cookies::get(&headers, cookies::SIGN_IN) else { return pages::no_cookies() };
    match service.follow(&Secret::new(link), &mark).await {
        Ok(url) => redirect(&url),
        Err(error) => pages::stale_link(&error),
    }
}

async fn callback(
    State(service): State<Arc<AuthService>>,
    Path(key): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let Some(key) = ServiceKey::parse(&key) else { return pages::refusal(&Refusal::Unknown) };
    let held: Vec<Secret> =
        [cookies::SIGN_IN, cookies::SESSION].into_iter().filter_map(|name| cookies::get(&headers, name)).collect();
    match service.callback(&key, &query, &held).await {
        Ok(arrival) => match &arrival.next {
            Next::Return(url) => redirect(url.expose()),
            Next::Show(claim) => pages::claim(&arrival, claim),
            Next::Session => pages::connected(&arrival),
        },
        Err(refusal) => {
            tracing::info!(service = %key, %refusal, "a sign-in was refused");
            pages::refusal(&refusal)
        }
    }
}

/// To a page of ours, of the tenant's, or of the vendor's, by GET.
fn redirect(url: &str) -> Response {
    let Ok(mut location) = HeaderValue::try_from(url) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    location.set_sensitive(true);
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn with_cookie(mut response: Response, service: &AuthService, name: &str, value: &Secret) -> Response {
    if let Some(cookie) = cookies::set(name, value, service.is_https()) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// Headers of every page.
fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
