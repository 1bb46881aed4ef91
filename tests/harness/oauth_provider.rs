//! An authorization server on loopback, honest or hostile as the test says, with an API behind it that takes its tokens.
//!
//! It is strict where good vendors are: PKCE by S256 is required and checked, a code works once and for its redirect URI
//! only, a refresh token works once where they rotate, and one that is used again ends the whole family.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Form, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

type Pairs = HashMap<String, String>;

/// How it behaves; change it at any time.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Each use of a refresh token replaces it.
    pub rotates: bool,
    /// Life of an access token; `None`: not said, and without end.
    pub life_seconds: Option<u64>,
    /// Gives refresh tokens.
    pub refreshable: bool,
    /// Shows a page with a button instead of redirecting at once.
    pub consent: bool,
    /// The person says no.
    pub denies: bool,
    /// Sent as `iss` of the callback (RFC 9207).
    pub issuer: Option<String>,
    /// Hostile: the code goes to this address instead of the one that asked.
    pub forwards_to: Option<String>,
    /// Answers of the token endpoint come this late, when everything has been done.
    pub delay: Duration,
    /// They do not come at all until this is taken back.
    pub held: bool,
    /// The token endpoint fails with this status instead of doing anything.
    pub down: Option<u16>,
    /// How often a device poll is answered with `slow_down` first.
    pub slow_downs: u32,
    pub device_interval: u64,
    pub device_life: u64,
    /// As Yandex: the grant is `device_code`, the parameter `code`, the answer has `verification_url`.
    pub own_device_words: bool,
    /// Who signs in.
    pub login: String,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            rotates: true,
            life_seconds: Some(3600),
            refreshable: true,
            consent: false,
            denies: false,
            issuer: None,
            forwards_to: None,
            delay: Duration::ZERO,
            held: false,
            down: None,
            slow_downs: 0,
            device_interval: 5,
            device_life: 600,
            own_device_words: false,
            login: "octocat".to_owned(),
        }
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    pub authorized: u32,
    pub redeemed: u32,
    pub refreshed: u32,
    /// Token requests that were refused.
    pub refused: u32,
    /// Tokens whose families were ended by RFC 7009.
    pub revoked: u32,
    /// Refresh tokens that were used again: their families are dead.
    pub reused: u32,
    pub device_polls: u32,
    /// Device polls that came before their interval was over.
    pub early_polls: u32,
    pub api_calls: u32,
    /// API calls with a token that is not valid.
    pub api_refused: u32,
}

#[derive(Debug, Clone)]
struct Code {
    client: String,
    redirect_uri: String,
    challenge: String,
    login: String,
}

#[derive(Debug)]
struct Device {
    client: String,
    user_code: String,
    approved: Option<bool>,
    interval: u64,
    polled: Option<Instant>,
    ends: Instant,
}

#[derive(Debug, Clone)]
struct Access {
    family: u64,
    login: String,
    ends: Option<Instant>,
}

#[derive(Debug, Default)]
struct Ledger {
    behaviour: Behaviour,
    counters: Counters,
    codes: HashMap<String, Code>,
    devices: HashMap<String, Device>,
    access: HashMap<String, Access>,
    refresh: HashMap<String, (u64, String)>,
    used: HashMap<String, u64>,
    dead: HashSet<u64>,
    families: u64,
    issued: u64,
}

/// A running provider; it serves for the rest of the runtime's life.
#[derive(Debug, Clone)]
pub struct Provider {
    address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
}

/// The only client it knows.
pub const CLIENT_ID: &str = "client-1";
pub const CLIENT_SECRET: &str = "canary-client-secret";

impl Provider {
    /// Must be called on the runtime that is to serve it.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let provider = Self { address: listener.local_addr().unwrap(), ledger: Arc::default() };
        let router = Router::new()
            .route("/authorize", get(authorize))
            .route("/consent", get(consent))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .route("/device", post(device))
            .route("/me", get(me))
            .route("/api/{*path}", get(api).post(api))
            .with_state(provider.clone());
        tokio::spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        provider
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn counters(&self) -> Counters {
        self.ledger.lock().unwrap().counters.clone()
    }

    fn behaviour(&self) -> Behaviour {
        self.ledger.lock().unwrap().behaviour.clone()
    }

    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.ledger.lock().unwrap().behaviour);
    }

    /// Every access token ends now; refresh tokens live on.
    pub fn expire_tokens(&self) {
        self.ledger.lock().unwrap().access.clear();
    }

    /// The person has withdrawn every permission.
    pub fn forget_refresh_tokens(&self) {
        self.ledger.lock().unwrap().refresh.clear();
    }

    /// The person with this code says yes, or no.
    pub fn decide(&self, user_code: &str, yes: bool) {
        let mut ledger = self.ledger.lock().unwrap();
        let device = ledger.devices.values_mut().find(|device| device.user_code == user_code);
        device.expect("nobody was given this code").approved = Some(yes);
    }

    /// Access tokens that work now.
    pub fn live_tokens(&self) -> usize {
        let ledger = self.ledger.lock().unwrap();
        ledger.access.values().filter(|access| ledger.is_alive(access)).count()
    }

    /// A connector for this provider: every flow, and one operation of its API. Set before whether tokens rotate.
    pub fn manifest(&self, key: &str) -> String {
        let (url, rotates) = (self.url(), self.behaviour().rotates);
        format!(
            r#"key: {key}
name: Mock {key}
tagline: For tests
description: For tests.
category: data
docs: https://mock.example/docs
version: "1"
auth:
  flows:
    - kind: popup_oauth
      label: Sign in
      oauth: &server
        authorize_url: {url}/authorize
        token_url: {url}/token
        revoke_url: {url}/revoke
        issuer: {url}
        scopes: [read, write]
        token_field: pasted
        discovery: {{url: "{url}/me"}}
        account_name: {{discovery: /login}}
        keep:
          region: {{token: /region}}
        refresh: {{rotates: {rotates}}}
    - kind: device_code
      label: Sign in with a code
      oauth:
        device_url: {url}/device
        token_url: {url}/token
        scopes: [read]
        token_field: pasted
        discovery: {{url: "{url}/me"}}
        account_name: {{discovery: /login}}
        keep:
          region: {{token: /region}}
    - kind: credentials
      label: Token
      fields:
        pasted: {{label: Token}}
        region: {{label: Region, secret: false}}
  test: read
transport:
  headers: {{Authorization: "Bearer {{account.pasted}}", X-Region: "{{account.region}}"}}
modules:
  api: {{summary: API, base_url: "{url}/api"}}
operations:
  - id: read
    module: api
    method: GET
    path: /read
    summary: Reads.
    effect: read
    response_example: {{login: octocat}}
verified: {{how: documentation, on: "2026-11-22"}}
"#
        )
        .replace(" &server", "")
    }
}

impl Ledger {
    fn next(&mut self, what: &str) -> String {
        self.issued += 1;
        // Long and odd enough to be searched for in logs and stores.
        format!("canary-{what}-{}-{}", self.issued, hex_of(&Sha256::digest(self.issued.to_be_bytes())[..8]))
    }

    fn tokens(&mut self, family: u64, login: &str) -> Value {
        let access = self.next("access");
        let life = self.behaviour.life_seconds;
        let ends = life.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self.access.insert(access.clone(), Access { family, login: login.to_owned(), ends });
        let mut reply = json!({"access_token": access, "token_type": "bearer", "region": "eu-1"});
        if let Some(seconds) = life {
            reply["expires_in"] = json!(seconds);
        }
        if self.behaviour.refreshable {
            let refresh = self.next("refresh");
            self.refresh.insert(refresh.clone(), (family, login.to_owned()));
            reply["refresh_token"] = json!(refresh);
        }
        reply
    }

    fn new_family(&mut self, login: &str) -> Value {
        self.families += 1;
        self.tokens(self.families, login)
    }

    fn redeem(&mut self, form: &Pairs) -> Result<Value, &'static str> {
        let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let code = self.codes.remove(given("code")).ok_or("invalid_grant")?;
        let verified = URL_SAFE_NO_PAD.encode(Sha256::digest(given("code_verifier"))) == code.challenge;
        if code.client != given("client_id") || code.redirect_uri != given("redirect_uri") || !verified {
            return Err("invalid_grant");
        }
        self.counters.redeemed += 1;
        Ok(self.new_family(&code.login))
    }

    fn renew(&mut self, form: &Pairs) -> Result<Value, &'static str> {
        let given = form.get("refresh_token").cloned().unwrap_or_default();
        if let Some(family) = self.used.get(&given).copied() {
            self.dead.insert(family);
            self.counters.reused += 1;
            return Err("invalid_grant");
        }
        let (family, login) = self.refresh.get(&given).cloned().ok_or("invalid_grant")?;
        if self.dead.contains(&family) {
            return Err("invalid_grant");
        }
        self.counters.refreshed += 1;
        if !self.behaviour.rotates {
            let mut reply = self.tokens(family, &login);
            reply.as_object_mut().unwrap().remove("refresh_token");
            return Ok(reply);
        }
        self.refresh.remove(&given);
        self.used.insert(given, family);
        Ok(self.tokens(family, &login))
    }

    fn poll(&mut self, form: &Pairs) -> Result<Value, &'static str> {
        let name = if self.behaviour.own_device_words { "code" } else { "device_code" };
        self.counters.device_polls += 1;
        let login = self.behaviour.login.clone();
        let device = self.devices.get_mut(form.get(name).map(String::as_str).unwrap_or_default());
        let device = device.ok_or("invalid_grant")?;
        if device.client != form.get("client_id").map(String::as_str).unwrap_or_default() {
            return Err("invalid_client");
        }
        let early = device.polled.is_some_and(|at| at.elapsed() < Duration::from_secs(device.interval));
        device.polled = Some(Instant::now());
        if early {
            self.counters.early_polls += 1;
        }
        if Instant::now() > device.ends {
            return Err("expired_token");
        }
        if self.behaviour.slow_downs > 0 {
            self.behaviour.slow_downs -= 1;
            device.interval += 5;
            return Err("slow_down");
        }
        match device.approved {
            None => Err("authorization_pending"),
            Some(false) => Err("access_denied"),
            Some(true) => {
                device.approved = None;
                self.counters.redeemed += 1;
                Ok(self.new_family(&login))
            }
        }
    }

    fn login_of(&self, headers: &HeaderMap) -> Option<String> {
        let token = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
        let access = self.access.get(token)?;
        self.is_alive(access).then(|| access.login.clone())
    }

    fn is_alive(&self, access: &Access) -> bool {
        !self.dead.contains(&access.family) && access.ends.is_none_or(|ends| ends > Instant::now())
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn authorize(State(provider): State<Provider>, Query(query): Query<Pairs>) -> Response {
    let given = |name: &str| query.get(name).cloned().unwrap_or_default();
    let right = given("response_type") == "code"
        && given("client_id") == CLIENT_ID
        && given("code_challenge_method") == "S256"
        && given("code_challenge").len() == 43
        && given("state").len() >= 43;
    if !right {
        return (StatusCode::BAD_REQUEST, "a bad authorization request").into_response();
    }
    let consent = provider.ledger.lock().unwrap().behaviour.consent;
    if consent {
        let hidden: String = query
            .iter()
            .map(|(name, value)| {
                format!(r#"<input type="hidden" name="{name}" value="{}">"#, value.replace('"', "&quot;"))
            })
            .collect();
        return Html(format!(
            r#"<!doctype html><html lang="en"><title>Consent</title><h1>Mock provider</h1><form action="/consent">{hidden}<button id="allow">Allow</button></form></html>"#
        ))
        .into_response();
    }
    back(&provider, &query)
}

async fn consent(State(provider): State<Provider>, Query(query): Query<Pairs>) -> Response {
    back(&provider, &query)
}

/// To the callback, with a code or a no.
fn back(provider: &Provider, query: &Pairs) -> Response {
    let given = |name: &str| query.get(name).cloned().unwrap_or_default();
    let mut ledger = provider.ledger.lock().unwrap();
    ledger.counters.authorized += 1;
    let behaviour = ledger.behaviour.clone();
    let to = behaviour.forwards_to.unwrap_or_else(|| given("redirect_uri"));
    let mut url = url::Url::parse(&to).unwrap();
    url.query_pairs_mut().append_pair("state", &given("state"));
    if let Some(issuer) = &behaviour.issuer {
        url.query_pairs_mut().append_pair("iss", issuer);
    }
    if behaviour.denies {
        url.query_pairs_mut().append_pair("error", "access_denied");
        return Redirect::to(url.as_str()).into_response();
    }
    let code = ledger.next("code");
    let record = Code {
        client: given("client_id"),
        redirect_uri: given("redirect_uri"),
        challenge: given("code_challenge"),
        login: behaviour.login,
    };
    ledger.codes.insert(code.clone(), record);
    url.query_pairs_mut().append_pair("code", &code);
    Redirect::to(url.as_str()).into_response()
}

/// RFC 7009: ends a token and all of its family. One that is not known is no error.
async fn revoke(State(provider): State<Provider>, Form(form): Form<Pairs>) -> Response {
    let mut ledger = provider.ledger.lock().unwrap();
    if let Some(status) = ledger.behaviour.down {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if given("client_id") != CLIENT_ID || given("client_secret") != CLIENT_SECRET {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"}))).into_response();
    }
    let token = given("token");
    let refreshing = ledger.refresh.get(token).map(|(family, _)| *family);
    let family = refreshing.or_else(|| ledger.access.get(token).map(|access| access.family));
    if let Some(family) = family {
        ledger.dead.insert(family);
        ledger.counters.revoked += 1;
    }
    StatusCode::OK.into_response()
}

async fn token(State(provider): State<Provider>, Form(form): Form<Pairs>) -> Response {
    let (answer, delay) = {
        let mut ledger = provider.ledger.lock().unwrap();
        if let Some(status) = ledger.behaviour.down {
            return StatusCode::from_u16(status).unwrap().into_response();
        }
        let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let known = given("client_id") == CLIENT_ID && given("client_secret") == CLIENT_SECRET;
        let device_grant = match ledger.behaviour.own_device_words {
            true => "device_code",
            false => "urn:ietf:params:oauth:grant-type:device_code",
        };
        let answer = match given("grant_type") {
            _ if !known => Err("invalid_client"),
            "authorization_code" => ledger.redeem(&form),
            "refresh_token" => ledger.renew(&form),
            grant if grant == device_grant => ledger.poll(&form),
            _ => Err("unsupported_grant_type"),
        };
        if answer.is_err() {
            ledger.counters.refused += 1;
        }
        (answer, ledger.behaviour.delay)
    };
    tokio::time::sleep(delay).await;
    while provider.behaviour().held {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    match answer {
        Ok(reply) => Json(reply).into_response(),
        Err(code) => (StatusCode::BAD_REQUEST, Json(json!({"error": code}))).into_response(),
    }
}

async fn device(State(provider): State<Provider>, Form(form): Form<Pairs>) -> Response {
    let mut ledger = provider.ledger.lock().unwrap();
    let device_code = ledger.next("device");
    let user_code = format!("WDJB-{:04}", ledger.issued);
    let Behaviour { device_interval, device_life, own_device_words, .. } = ledger.behaviour;
    let record = Device {
        client: form.get("client_id").cloned().unwrap_or_default(),
        user_code: user_code.clone(),
        approved: None,
        interval: device_interval,
        polled: None,
        ends: Instant::now() + Duration::from_secs(device_life),
    };
    ledger.devices.insert(device_code.clone(), record);
    let verification = if own_device_words { "verification_url" } else { "verification_uri" };
    Json(json!({
        "device_code": device_code, "user_code": user_code, verification: format!("{}/activate", provider.url()),
        "interval": device_interval, "expires_in": device_life,
    }))
    .into_response()
}

async fn me(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    match provider.ledger.lock().unwrap().login_of(&headers) {
        Some(login) => Json(json!({"login": login})).into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn api(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    let mut ledger = provider.ledger.lock().unwrap();
    ledger.counters.api_calls += 1;
    match ledger.login_of(&headers) {
        Some(login) => Json(json!({"login": login})).into_response(),
        None => {
            ledger.counters.api_refused += 1;
            (StatusCode::UNAUTHORIZED, Json(json!({"message": "token expired"}))).into_response()
        }
    }
}
