//! The connect pages through their router: each page, and each refusal.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth_service::AuthService;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use plugboard_core::identity::{AccountState, AuditEntry, AuditQuery, Connect, Custody, Directory, NewConnectSession};
use plugboard_core::ids::{KeyId, Subject};
use plugboard_core::secret::Secret;
use tower::ServiceExt;

use super::{Place, service_key};

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Page {
    #[track_caller]
    fn says(&self, status: u16, words: &[&str]) {
        assert_eq!(self.status, status, "{}", self.text);
        for words in words {
            assert!(self.text.contains(words), "{words:?} is not in {}", self.text);
        }
    }

    #[track_caller]
    fn goes(&self) -> String {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers[LOCATION].to_str().unwrap().to_owned()
    }

    /// Where a page that goes on by itself goes.
    #[track_caller]
    fn leaves(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        self.headers["refresh"].to_str().unwrap().strip_prefix("0; url=").unwrap().to_owned()
    }
}

/// Somebody's browser.
struct Person {
    router: Router,
    cookies: BTreeMap<String, String>,
    headers: Vec<(&'static str, String)>,
}

impl Person {
    fn new(service: &Arc<AuthService>) -> Self {
        Self { router: auth_service::http::router(service.clone()), cookies: BTreeMap::new(), headers: Vec::new() }
    }

    async fn send(&mut self, method: Method, path: &str, body: String) -> Page {
        let mut request = Request::builder().method(method).uri(path);
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request = request.extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 50_000))));
        let answer = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        for cookie in parts.headers.get_all(SET_COOKIE) {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Page { status: parts.status, headers: parts.headers, text }
    }

    async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, String::new()).await
    }

    /// With the mark of this visit.
    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.get("/connect/done").await.text;
        let token = page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let all = fields.iter().copied().chain([("form_token", token.as_str())]);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        self.send(Method::POST, path, body).await
    }
}

async fn link(place: &Place, service: &AuthService, subject: &str, services: &[&str], back: bool) -> String {
    let wanted = NewConnectSession {
        organization: place.organization.clone(),
        key: KeyId::generate(),
        subject: Some(Subject(subject.into())),
        services: services.iter().map(|key| service_key(key)).collect(),
        return_url: back.then(|| "https://tenant.example/done?a=1".to_owned()),
        by_call: false,
        mend_only: false,
    };
    let issued = service.create_session(wanted).await.unwrap();
    format!("/connect/{}", issued.token.expose())
}

async fn visitor(place: &Place, service: &Arc<AuthService>) -> Person {
    let mut person = Person::new(service);
    let link = link(place, service, "anna", &["mock"], true).await;
    assert_eq!(person.get(&link).await.goes(), "/connect/services/mock");
    person
}

const TYPED: [(&str, &str); 4] =
    [("flow", "2"), ("field.pasted", "canary-1"), ("field.region", "eu"), ("label", "Mine")];

#[tokio::test]
async fn the_token_leaves_the_address_and_the_page_says_for_whom() {
    let (place, service) = Place::new().await;
    let mut person = Person::new(&service);
    let link = link(&place, &service, "anna", &[], true).await;
    // A mail program's look uses nothing up.
    assert_eq!(person.send(Method::HEAD, &link, String::new()).await.status, 204);
    person.headers = vec![("sec-purpose", "prefetch;prerender".to_owned())];
    assert_eq!(person.get(&link).await.status, 204);
    person.headers.clear();

    let entered = person.get(&link).await;
    assert_eq!(entered.goes(), "/connect");
    assert_eq!(entered.headers[REFERRER_POLICY], "no-referrer");
    let cookie = entered.headers[SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-plugboard_connect=") && cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains(link.rsplit('/').next().unwrap()), "the cookie is not the token");

    let page = person.get("/connect").await;
    page.says(200, &["Connect your services to Acme", "for anna", "Mock mock", "Mock other", "lang=\"en\""]);
    let policy = page.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
    for rule in
        ["default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers[REFERRER_POLICY], "no-referrer");
    assert_eq!(page.headers[CACHE_CONTROL], "no-store");
    assert!(!page.text.contains("style=\"") && !page.text.contains("<style") && !page.text.contains(" onclick"));
    for asset in page.text.split('"').filter(|part| part.starts_with("/connect/assets/")) {
        let found = person.get(asset).await;
        assert_eq!(found.status, 200, "{asset}");
        assert!(found.headers[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }
    assert_eq!(person.get("/connect/assets/other.js").await.status, 404);
}

#[tokio::test]
async fn a_link_opens_once_in_one_browser_and_not_for_long() {
    let (place, service) = Place::new().await;
    let used = link(&place, &service, "anna", &["mock"], true).await;
    let (mut person, mut stranger) = (Person::new(&service), Person::new(&service));
    person.get(&used).await.goes();
    stranger.get(&used).await.says(410, &["This link has ended", "role=\"alert\"", "Ask for a new one"]);
    person.get(&used).await.says(410, &["go on where you were", "href=\"/connect\""]);
    let late = link(&place, &service, "anna", &["mock"], true).await;
    place.clock.advance(Duration::from_secs(15 * 60));
    stranger.get(&late).await.says(410, &["This link has ended"]);

    for path in ["/connect", "/connect/accounts", "/connect/services/mock", "/connect/done", "/connect/codes/dev_1"] {
        stranger.get(path).await.says(403, &["not open in this browser", "Ask for a new link"]);
    }
    // A cookie that another host of the site could have set.
    let cookie = person.cookies["__Host-plugboard_connect"].clone();
    stranger.cookies.insert("plugboard_connect".to_owned(), cookie);
    stranger.get("/connect").await.says(403, &["not open in this browser"]);
    person.get("/connect").await.says(200, &["Acme"]);
    place.clock.advance(Duration::from_secs(60 * 60));
    person.get("/connect").await.says(403, &["Your hour here is over"]);
}

#[tokio::test]
async fn a_link_is_for_its_services() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    for key in ["other", "nothing", "%2e%2e"] {
        let path = format!("/connect/services/{key}");
        person.get(&path).await.says(403, &["This link is not for that service", "All services"]);
        person.post(&path, &TYPED).await.says(403, &["This link is not for that service"]);
    }
    person.get("/connect/services/mock?account=acc_other").await.says(404, &["This account is not here"]);
    assert!(service.accounts(&place.organization).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_form_says_what_is_wrong_and_keeps_all_but_secrets() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    let page = person.get("/connect/services/mock?flow=2").await;
    page.says(200, &["<label for=\"field-pasted\">", "type=\"password\"", "How to connect", "Sign in with a code"]);
    let wrong = person
        .post("/connect/services/mock", &[("flow", "2"), ("field.pasted", "canary-kept"), ("label", "Mine")])
        .await;
    wrong.says(
        422,
        &[
            "<title>Error: Connect Mock mock",
            "id=\"field-region-error\"",
            "Please fill this in.",
            "aria-invalid=\"true\"",
            "aria-describedby=\"field-region-error\"",
            "value=\"Mine\"",
            "href=\"#field-region\"",
            "Secret values were not kept",
        ],
    );
    assert!(!wrong.text.contains("canary-kept"), "a secret comes back");
    let listed = person.post("/connect/services/mock", &TYPED).await.goes();
    let account = listed.strip_prefix("/connect/accounts?connected=").unwrap();
    person.get(&listed).await.says(200, &["Mine", "Almost ready", "Press “Done”, and Acme", account]);
    let taken = person.post("/connect/services/mock", &TYPED).await;
    taken.says(422, &["id=\"field-label-error\"", "Another account of this service has this name"]);
    person
        .post("/connect/services/mock", &[TYPED[0], TYPED[1], TYPED[2], ("label", "a:b")])
        .await
        .says(422, &["no colon"]);
    let long = "x".repeat(17 * 1024);
    person
        .post("/connect/services/mock", &[TYPED[0], ("field.pasted", &long), TYPED[2]])
        .await
        .says(422, &["too long"]);
    let longer = "x".repeat(300 * 1024);
    person.post("/connect/services/mock", &[("field.pasted", &longer)]).await.says(413, &["too much for one form"]);
    person
        .post("/connect/services/mock", &[TYPED[0], ("field.pasted", "two\nlines"), TYPED[2]])
        .await
        .says(422, &["one line"]);
    assert_eq!(service.accounts(&place.organization).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_form_counts_only_from_its_own_visit() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    let body = "flow=2&field.pasted=planted&field.region=eu".to_owned();
    for body in [body.clone(), format!("{body}&form_token=guessed")] {
        person
            .send(Method::POST, "/connect/services/mock", body)
            .await
            .says(403, &["This form is not from this visit"]);
    }
    for site in ["cross-site", "same-site"] {
        person.headers = vec![("sec-fetch-site", site.to_owned())];
        person.post("/connect/services/mock", &TYPED).await.says(403, &["This form is not from this visit"]);
    }
    person.headers = vec![("sec-fetch-site", "same-origin".to_owned())];
    // The mark of another visit.
    let mut other = visitor(&place, &service).await;
    let page = other.get("/connect/done").await.text;
    let token = page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let foreign = person.send(Method::POST, "/connect/services/mock", format!("{body}&form_token={token}")).await;
    foreign.says(403, &["This form is not from this visit"]);
    assert!(service.accounts(&place.organization).await.unwrap().is_empty());
    person.post("/connect/services/mock", &TYPED).await.goes();
}

#[tokio::test]
async fn a_popup_leaves_for_the_vendor_and_comes_back_to_the_list() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    person.get("/connect/services/mock").await.says(200, &["data-popup", "Continue at Mock mock", "<code>read</code>"]);
    let leaving = person.post("/connect/services/mock", &[("flow", "0")]).await;
    let url = leaving.leaves();
    assert!(url.starts_with(&place.provider.url()) && leaving.text.contains("id=\"leave\""), "{url}");
    let answer = place.at_vendor(&url).await;
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&answer).finish();
    let callback = format!("/oauth/callback/mock?{query}");
    let mut stranger = Person::new(&service);
    stranger.get(&callback).await.says(403, &["Another browser began this", "role=\"alert\""]);
    // By looking the stranger has used it up: nobody is connected.
    person.get(&callback).await.says(410, &["This sign-in has ended", "href=\"/connect\""]);
    let url = person.post("/connect/services/mock", &[("flow", "0")]).await.leaves();
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(place.at_vendor(&url).await).finish();
    let arrived = person.get(&format!("/oauth/callback/mock?{query}")).await;
    arrived.says(200, &["Mock mock is connected", "octocat", "data-signed-in", "id=\"accounts\""]);
    person.get("/connect/accounts").await.says(200, &["octocat"]);
}

#[tokio::test]
async fn a_code_is_shown_with_a_warning_until_it_ends() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    let path = person.post("/connect/services/mock", &[("flow", "1")]).await.goes();
    let page = person.get(&path).await;
    page.says(200, &["If somebody sent you the code", "/activate", "id=\"user-code\"", "aria-live=\"polite\""]);
    let code = page.text.split("id=\"user-code\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(person.get(&path).await.text.contains(&code), "the page can be loaded anew");
    let status = format!("{path}/status");
    assert_eq!(person.get(&status).await.text, r#"{"state":"pending","interval":5}"#);
    let mut other = visitor(&place, &service).await;
    other.get(&path).await.says(403, &["not open in this browser"]);
    assert_eq!(other.get(&status).await.status, 404);
    place.provider.decide(&code, true);
    place.clock.advance(Duration::from_secs(5));
    let told = person.get(&status).await.text;
    assert!(told.contains(r#""state":"connected","next":"/connect/accounts?connected="#), "{told}");
    assert!(person.get(&path).await.goes().starts_with("/connect/accounts?connected="));

    let path = person.post("/connect/services/mock", &[("flow", "1")]).await.goes();
    place.clock.advance(Duration::from_secs(3600 - 10));
    person.get(&path).await.says(200, &["The code has expired", "Get a new code"]);
    assert_eq!(person.get(&format!("{path}/status")).await.text, r#"{"state":"ended"}"#);
}

#[tokio::test]
async fn an_account_is_renamed_tested_connected_again_and_revoked() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    let id = person.post("/connect/services/mock", &TYPED).await.goes().rsplit('=').next().unwrap().to_owned();
    let at = |action: &str| format!("/connect/accounts/{id}/{action}");
    person.post(&at("label"), &[("label", "a:b")]).await.says(200, &["no colon"]);
    let renamed = person.post(&at("label"), &[("label", "Yours")]).await.goes();
    person.get(&renamed).await.says(200, &["Renamed.", "Yours"]);
    person.post(&at("test"), &[]).await.says(200, &["refuses this account (HTTP 401)"]);

    let again = format!("/connect/services/mock?account={id}");
    person.get(&format!("{again}&flow=2")).await.says(200, &["Connect Mock mock again: Yours", "value=\"eu\""]);
    let token = place.token_of_somebody(&service).await;
    let fields = [("flow", "2"), ("account", &id), ("field.pasted", &token), ("field.region", "eu")];
    person.post("/connect/services/mock", &fields).await.goes();
    person.post(&at("test"), &[]).await.says(200, &["accepts this account"]);
    place.provider.set(|behaviour| behaviour.down = Some(503));

    person.get(&at("revoke")).await.says(200, &["Revoke Mock mock: Yours?", "cannot be undone"]);
    let revoked = person.post(&at("revoke"), &[]).await.goes();
    person
        .get(&revoked)
        .await
        .says(200, &["It cannot be used any more", "Access was taken back", "Remove from the list"]);
    assert_eq!(
        place.account(&service, &plugboard_core::ids::AccountId::trusted(id.as_str())).await.state,
        AccountState::Revoked
    );
    person.post(&at("forget"), &[]).await.goes();
    person.get("/connect/accounts").await.says(200, &["Nothing is connected yet"]);
    for action in ["test", "label", "revoke", "forget"] {
        person.post(&at(action), &[("label", "x")]).await.says(404, &["This account is not here"]);
    }
}

#[tokio::test]
async fn the_end_brings_the_claim_back() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    person.post("/connect/services/mock", &TYPED).await.goes();
    person.get("/connect/done").await.says(200, &["Hand over to Acme?", "Finish and go to tenant.example", "Mine"]);
    let url = person.post("/connect/finish", &[]).await.leaves();
    let claim = url.strip_prefix("https://tenant.example/done?a=1&claim=").unwrap();
    let claimed = service.redeem_claim(&place.organization, &Secret::new(claim)).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].state), (1, AccountState::Connected));
    person.get("/connect").await.says(403, &["you have finished"]);

    let shown = link(&place, &service, "anna", &["mock"], false).await;
    person.get(&shown).await.goes();
    person.get("/connect/accounts").await.says(200, &["Mine", "pill good"]);
    let last = person.post("/connect/finish", &[]).await;
    last.says(200, &["One step is left", "id=\"claim\""]);
}

#[tokio::test]
async fn the_catalog_is_searched_without_a_script_and_in_both_languages() {
    let (place, service) = Place::new().await;
    let mut person = Person::new(&service);
    person.get(&link(&place, &service, "anna", &[], true).await).await.goes();
    let shown = |page: &Page| page.text.matches("<li data-words=").count();
    assert_eq!(shown(&person.get("/connect").await), 2);
    let found = person.get("/connect?q=other").await;
    assert_eq!(shown(&found), 1, "{}", found.text);
    person.get("/connect?q=nothingatall").await.says(200, &["Nothing found", "Found: 0"]);
    assert_eq!(shown(&person.get("/connect?category=data").await), 2);
    person.get("/connect?q=%22%3E%3Cscript%3E").await.says(200, &[]);

    person.headers = vec![("accept-language", "ru-RU,ru;q=0.9,en;q=0.1".to_owned())];
    person.get("/connect").await.says(200, &["lang=\"ru\"", "Подключите сервисы к Acme", "пользователь anna"]);
    let switched = person.get("/connect?category=data&lang=en").await;
    assert_eq!(switched.goes(), "/connect?category=data");
    for elsewhere in ["//elsewhere.example?lang=en", "//elsewhere.example/connect?lang=en"] {
        assert_eq!(person.get(elsewhere).await.status, 404, "{elsewhere} leads away");
    }
    person.get("/connect").await.says(200, &["lang=\"en\"", "Connect your services"]);
    person.get("/connect/accounts?lang=ru").await.goes();
    person.get("/connect/accounts").await.says(200, &["Ваши аккаунты", "Пока ничего не подключено"]);
}

#[tokio::test]
async fn when_the_store_is_away_the_page_says_so() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    place.store.set_down(true);
    for path in ["/connect", "/connect/accounts", "/connect/services/mock"] {
        person.get(path).await.says(503, &["Not right now", "Nothing was lost"]);
    }
    place.store.set_down(false);
    person.get("/connect").await.says(200, &["Acme"]);
}

#[tokio::test]
async fn the_audit_log_says_who_was_on_the_page() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    let id = person.post("/connect/services/mock", &TYPED).await.goes().rsplit('=').next().unwrap().to_owned();
    person.post(&format!("/connect/accounts/{id}/label"), &[("label", "Yours")]).await.goes();
    let url = person.post("/connect/services/mock", &[("flow", "0")]).await.leaves();
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(place.at_vendor(&url).await).finish();
    person.get(&format!("/oauth/callback/mock?{query}")).await.says(200, &["octocat"]);
    person.post(&format!("/connect/accounts/{id}/revoke"), &[]).await.goes();
    person.post(&format!("/connect/accounts/{id}/forget"), &[]).await.goes();
    person.post("/connect/finish", &[]).await.leaves();

    let all = AuditQuery { organization: Some(place.organization.clone()), limit: 1000, ..AuditQuery::default() };
    let links = service.audit(&all).await.unwrap().links;
    let entries: Vec<AuditEntry> = links.iter().map(|link| serde_json::from_str(&link.entry).unwrap()).collect();
    let made = entries.iter().find(|entry| entry.action == "session.create").unwrap();
    let session = made.target.as_ref().map(|target| target.id.clone());
    let done: Vec<&AuditEntry> = entries.iter().filter(|entry| entry.actor.session == session).collect();
    let actions: Vec<&str> = done.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "session.open",
            "account.create",
            "account.relabel",
            "account.create",
            "account.revoke",
            "account.delete",
            "session.finish"
        ]
    );
    for entry in done {
        let actor = &entry.actor;
        assert_eq!((actor.subject.as_deref(), actor.source.as_deref()), (Some("anna"), Some("192.0.2.7")), "{entry:?}");
        assert!(actor.key.is_none() && actor.agent.is_none() && !actor.operator, "{entry:?}");
    }
}

#[tokio::test]
async fn a_visit_is_finished_once() {
    let (place, service) = Place::new().await;
    let mut person = visitor(&place, &service).await;
    person.post("/connect/services/mock", &TYPED).await.goes();
    let cookie = Secret::new(person.cookies["__Host-plugboard_connect"].as_str());
    // Two windows, both of which were inside before either has finished.
    let (one, other) = (service.visit(&cookie).await.unwrap(), service.visit(&cookie).await.unwrap());
    assert!(service.finish(&one).await.is_ok());
    assert!(service.finish(&other).await.is_err(), "there is one claim");
}
