//! For browsers: links that begin a sign-in, the callback at the end of it, and the connect pages. Handlers decode, call
//! and show.
//!
//! | route | what it does |
//! | --- | --- |
//! | `GET /oauth/start/{link}` | says who asks for what; marks the browser |
//! | `GET /oauth/start/{link}/go` | uses the link up and leaves for the vendor |
//! | `GET /oauth/callback/{service}` | back from the vendor; one address for each connector |
//! | `GET /connect/{token}` | opens a connect session: the token becomes a cookie |
//! | `GET /connect` | the catalog |
//! | `GET`, `POST /connect/services/{service}` | one service: its flows and their forms |
//! | `GET /connect/codes/{id}`, `…/status` | a code for another device; where it stands, as JSON |
//! | `GET /connect/accounts` | what is connected; below it `POST …/{id}/test`, `label`, `revoke`, `forget` |
//! | `GET /connect/done`, `POST /connect/finish` | the end: the claim goes back to the tenant |
//! | `GET /connect/assets/{name}` | style, script and icon |
//!
//! A page shows what [`AuthService`]'s methods about a [`ConnectVisit`] return. Every page works without its script, and
//! in the language of its reader; `?lang=` changes that for the browser.
//!
//! [`ConnectVisit`]: crate::sessions::ConnectVisit

mod accounts;
mod assets;
mod catalog;
pub mod cookies;
mod device;
mod done;
mod errors;
mod form;
mod guest;
mod language;
mod layout;
mod pages;
mod service;
mod texts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::middleware::{Next as Rest, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use plugboard_core::identity::{IdentityError, asked_from};
use plugboard_core::ids::ServiceKey;
use plugboard_core::secret::Secret;

use self::language::Language;
use crate::oauth::callback::{Next, Refusal};
use crate::service::AuthService;

/// For the gateway's listener in one process, and for the auth service's own between processes.
pub fn router(service: Arc<AuthService>) -> Router {
    Router::new()
        .route("/oauth/start/{link}", get(start))
        .route("/oauth/start/{link}/go", get(go))
        .route("/oauth/callback/{service}", get(callback))
        .route("/connect", get(catalog::show))
        .route("/connect/{token}", get(open))
        .route("/connect/services/{service}", get(service::show).post(service::submit))
        .route("/connect/codes/{id}", get(device::show))
        .route("/connect/codes/{id}/status", get(device::status))
        .route("/connect/accounts", get(accounts::show))
        .route("/connect/accounts/{id}/test", post(accounts::test))
        .route("/connect/accounts/{id}/label", post(accounts::relabel))
        .route("/connect/accounts/{id}/revoke", get(accounts::confirm_revoke).post(accounts::revoke))
        .route("/connect/accounts/{id}/forget", post(accounts::forget))
        .route("/connect/done", get(done::ask))
        .route("/connect/finish", post(done::finish))
        .layer(DefaultBodyLimit::max(guest::LARGEST_FORM))
        // Of our routes only: it sends browsers to the path that they asked for, and `//elsewhere` is not one of ours.
        .route_layer(from_fn_with_state(service.clone(), choose_language))
        .layer(from_fn(remember_source))
        .route_layer(from_fn_with_state(service.clone(), wait_for_catalog))
        .route("/connect/assets/{name}", get(assets::serve))
        .with_state(service)
}

/// How long a page waits for the catalog of a process that has just started.
const CATALOG_WITHIN: Duration = Duration::from_secs(3);

/// A process that has just started has its catalog in a moment, and whoever comes before that rather waits than reads that
/// something does not answer.
async fn wait_for_catalog(State(service): State<Arc<AuthService>>, request: Request, rest: Rest) -> Response {
    if !service.oauth.catalog.is_ready() {
        // Without it, the page tells.
        let _ = tokio::time::timeout(CATALOG_WITHIN, service.oauth.catalog.ready()).await;
    }
    rest.run(request).await
}

/// Where a browser's request comes from, for the audit log; who it is, its session says.
async fn remember_source(request: Request, rest: Rest) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    asked_from(peer, rest.run(request)).await
}

/// `?lang=ru` on any page: remembered by the browser, and gone from the address before anything else happens.
async fn choose_language(State(service): State<Arc<AuthService>>, request: Request, rest: Rest) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let pairs = || url::form_urlencoded::parse(query.as_bytes());
    let asked = pairs().find(|(name, _)| name == "lang").and_then(|(_, code)| Language::parse(&code));
    let Some(language) = asked.filter(|_| request.method() == Method::GET) else { return rest.run(request).await };
    let others = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs().filter(|(name, _)| name != "lang"))
        .finish();
    let joint = if others.is_empty() { "" } else { "?" };
    let mut response = redirect(&format!("{}{joint}{others}", request.uri().path()));
    let secure = if service.is_https() { "; Secure" } else { "" };
    let (name, code) = (cookies::LANGUAGE, language.code());
    let cookie = format!("{name}={code}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000{secure}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

async fn start(
    State(service): State<Arc<AuthService>>,
    language: Language,
    Path(link): Path<String>,
    headers: HeaderMap,
) -> Response {
    let departure = match service.departure(&Secret::new(link.as_str())).await {
        Ok(departure) => departure,
        Err(error) => return pages::stale_link(language, &error),
    };
    let page = pages::departure(language, &departure, &link);
    // A browser keeps its mark: two sign-ins at once are one browser's.
    if cookies::get(&headers, cookies::SIGN_IN, service.is_https()).is_some() {
        return page;
    }
    match crate::oauth::records::random_token() {
        Ok(mark) => with_cookie(page, &service, cookies::SIGN_IN, &mark),
        Err(error) => errors::trouble(language, &error),
    }
}

async fn go(
    State(service): State<Arc<AuthService>>,
    language: Language,
    Path(link): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(mark) = cookies::get(&headers, cookies::SIGN_IN, service.is_https()) else {
        return errors::no_cookies(language);
    };
    match service.follow(&Secret::new(link), &mark).await {
        Ok(url) => redirect(&url),
        Err(error) => pages::stale_link(language, &error),
    }
}

async fn callback(
    State(service): State<Arc<AuthService>>,
    language: Language,
    Path(key): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let held = |name: &str| cookies::get(&headers, name, service.is_https());
    let session = held(cookies::SESSION);
    let within = session.is_some();
    let Some(key) = ServiceKey::parse(&key) else { return pages::refusal(language, &Refusal::Unknown, within) };
    let marks: Vec<Secret> = [held(cookies::SIGN_IN), session].into_iter().flatten().collect();
    match service.callback(&key, &query, &marks).await {
        Ok(arrival) => match &arrival.next {
            Next::Return(url) => redirect(url.expose()),
            Next::Show(claim) => pages::claim(language, &arrival, claim),
            Next::Session => pages::connected(language, &arrival),
        },
        Err(refusal) => {
            tracing::info!(service = %key, %refusal, "a sign-in was refused");
            pages::refusal(language, &refusal, within)
        }
    }
}

/// Opens a connect link, once. The token leaves the address at once: from now on the cookie is what counts.
async fn open(
    State(service): State<Arc<AuthService>>,
    language: Language,
    method: Method,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    // Mail programs and messengers look at links before people do; a look does not use one up.
    let mut purpose = ["sec-purpose", "purpose"].into_iter().filter_map(|name| headers.get(name)?.to_str().ok());
    if method == Method::HEAD || purpose.any(|purpose| purpose.contains("prefetch")) {
        return layout::guarded(StatusCode::NO_CONTENT.into_response());
    }
    let (cookie, visit) = match service.open_session(&Secret::new(token)).await {
        Ok(opened) => opened,
        Err(IdentityError::NotFound { .. }) => {
            let held = cookies::get(&headers, cookies::SESSION, service.is_https());
            let within = match held {
                Some(held) => service.visit(&held).await.is_ok(),
                None => false,
            };
            return errors::link_ended(language, within);
        }
        Err(error) => return errors::trouble(language, &error),
    };
    // Where there is nothing to choose, the one service is the first page.
    let to = match visit.only_service() {
        Some(only) => format!("/connect/services/{only}"),
        None => "/connect".to_owned(),
    };
    with_cookie(redirect(&to), &service, cookies::SESSION, &cookie)
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
