//! The connect screen in a real browser: headless Chromium, with everything that a person can do in it.

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use plugboard_tests::chromium::{Chromium, Person, Tab};
use plugboard_tests::oauth_provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use plugboard_tests::rest_client::Reply;
use plugboard_tests::stack::{Shape, repository};
use plugboard_tests::tenant::Tenant;
use plugboard_tests::wait::eventually_blocking;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::shared::{SignInSite, block_on};

/// The tenant's own site: where a browser comes back to.
async fn tenant_site() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    let page = Html("<!doctype html><html lang=\"en\"><title>Tenant</title><h1>Welcome back</h1></html>");
    let router = Router::new().route("/done", get(move || async move { page }));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

struct Desk {
    tenant: Tenant,
    provider: Provider,
    service: &'static str,
    back: String,
}

impl Desk {
    async fn new(site: &SignInSite, service: &'static str) -> Self {
        let tenant = Tenant::new(&site.stack).await;
        let body = json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET});
        let path = format!("/api/v1/oauth-clients/{service}");
        Reply::of(tenant.rest().request(Method::PUT, &path).json(&body)).await.expect(200);
        Self { tenant, provider: site.provider(service), service, back: tenant_site().await }
    }

    async fn link(&self, more: Value) -> String {
        let mut body = json!({"subject": "anna", "return_url": self.back});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.tenant.rest().post("/api/v1/connect-sessions", &body).await.expect(201);
        made["url"].as_str().unwrap().to_owned()
    }

    fn base(link: &str) -> String {
        Url::parse(link).unwrap().join("/").unwrap().as_str().trim_end_matches('/').to_owned()
    }
}

/// Popup, code and form, then everything that can be done with an account, and the claim at the end.
pub(crate) async fn a_person_connects_in_a_real_browser(site: &SignInSite) {
    let desk = Desk::new(site, "mock_screen").await;
    desk.provider.set(|behaviour| {
        behaviour.consent = true;
        behaviour.device_interval = 1;
    });
    let link = desk.link(json!({})).await;
    let chromium = Chromium::start();
    let person = chromium.person();
    let tab = person.tab();
    tab.look(1280, false);
    tab.open(&link);
    assert!(tab.url().ends_with("/connect"), "the token has left the address: {}", tab.url());
    let text = tab.text();
    assert!(text.contains("A tenant of a test") && text.contains("for anna"), "{text}");
    filter(&tab);
    popup(&desk, &person, &tab);
    code(&desk, &tab);
    form(&tab);
    manage(&tab);
    no_complaints(&tab);

    tab.click_text("Done");
    tab.wait_heading("Hand over to A tenant of a test?");
    tab.click("main form button");
    tab.wait("location.pathname === '/done' && document.readyState === 'complete'");
    assert!(tab.text().contains("Welcome back"));
    let claim = Url::parse(&tab.url()).unwrap().query_pairs().find(|(name, _)| name == "claim").unwrap().1.into_owned();
    let claimed =
        desk.tenant.rest().post("/api/v1/connect-sessions/claims", &json!({"claim": claim})).await.expect(200);
    let states: Vec<&Value> = claimed["connections"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, [&json!("connected"); 2], "{claimed}");
    tab.open(&format!("{}/connect", Desk::base(&link)));
    assert!(tab.text().contains("not open in this browser"), "the visit has ended: {}", tab.text());
    audited(&desk).await;
}

/// What was done on the pages is told of the person there, not of the key that made the link.
async fn audited(desk: &Desk) {
    let log = desk.tenant.rest().get("/api/v1/audit?limit=1000").await.expect(200);
    let entries: Vec<&Value> = log["entries"].as_array().unwrap().iter().map(|one| &one["entry"]).collect();
    let session = &entries.iter().find(|entry| entry["action"] == "session.create").unwrap()["target"]["id"];
    let theirs: Vec<&&Value> = entries.iter().filter(|entry| entry["actor"]["session"] == *session).collect();
    let done: Vec<&str> = theirs.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    let accounts = ["account.create"; 3].into_iter().chain(["account.relabel", "account.revoke", "account.delete"]);
    let expected: Vec<&str> = ["session.open"].into_iter().chain(accounts).chain(["session.finish"]).collect();
    assert_eq!(done, expected, "{log}");
    for entry in theirs {
        assert_eq!(entry["actor"], json!({"session": session, "subject": "anna", "source": "127.0.0.1"}));
    }
}

fn filter(tab: &Tab) {
    let shown = "[...document.querySelectorAll('#services > li:not([hidden])')].length";
    let all = tab.eval(shown).as_u64().unwrap();
    assert!(all > 10, "{all}");
    tab.fill("#q", "битрикс24");
    tab.wait(&format!("{shown} === 1"));
    tab.wait("document.querySelector('#found').textContent === 'Found: 1'");
    tab.fill("#q", "no such service");
    tab.wait("!document.querySelector('#nothing').hidden");
    // The same by the server, for whoever has no script.
    tab.fill("#q", "mock_screen");
    tab.press("Enter");
    tab.wait(&format!(
        "location.search.includes('q=mock_screen') && document.readyState === 'complete' && {shown} >= 1"
    ));
    tab.click("#services > li:not([hidden]) a");
    tab.wait_heading("Connect Mock mock_screen");
}

fn popup(desk: &Desk, person: &Person, tab: &Tab) {
    tab.click_text("Continue at Mock mock_screen");
    let window = person.popup(tab);
    window.wait_heading("Mock provider");
    tab.wait("document.querySelector('.waiting').textContent.includes('Finish in the window')");
    window.click("#allow");
    tab.wait_heading("Your accounts");
    tab.wait("document.body.innerText.includes('octocat')");
    assert!(tab.text().contains("Almost ready"), "{}", tab.text());
    eventually_blocking("the window closes", Duration::from_secs(20), || (person.windows() == 1).then_some(()));
    assert_eq!(desk.provider.counters().redeemed, 1);
}

fn code(desk: &Desk, tab: &Tab) {
    tab.open(&format!("{}/connect/services/{}?flow=1", Desk::base(&tab.url()), desk.service));
    tab.fill("#field-label", "From the sofa");
    tab.click_text("Get a code");
    tab.wait_heading("Sign in to Mock mock_screen with a code");
    assert!(tab.text().contains("If somebody sent you the code"), "{}", tab.text());
    let user_code = tab.eval("document.querySelector('#user-code').textContent").as_str().unwrap().to_owned();
    let link = tab.eval("document.querySelector('#verification').href").as_str().unwrap().to_owned();
    assert!(link.ends_with("/activate"), "{link}");
    desk.provider.decide(&user_code, true);
    // The page goes on by itself.
    tab.wait_heading("Your accounts");
    assert!(tab.text().contains("From the sofa"), "{}", tab.text());
}

fn form(tab: &Tab) {
    tab.open(&format!("{}/connect/services/mock_screen?flow=2", Desk::base(&tab.url())));
    tab.fill("#field-region", "eu-7");
    tab.click("main form.panel > button");
    tab.wait("document.querySelector('#field-pasted-error')?.textContent === 'Please fill this in.'");
    // What is wrong is read first.
    tab.wait("document.activeElement.id === 'summary'");
    assert_eq!(tab.eval("document.querySelector('#field-region').value"), "eu-7");
    tab.fill("#field-pasted", "canary-typed-in-a-browser");
    tab.fill("#field-label", "FROM THE SOFA");
    tab.click("main form.panel > button");
    tab.wait("document.querySelector('#field-label-error')?.textContent.includes('has this name')");
    assert_eq!(tab.eval("document.querySelector('#field-pasted').value"), "", "a secret does not come back");
    tab.fill("#field-pasted", "canary-typed-in-a-browser");
    tab.fill("#field-label", "By hand");
    tab.click("main form.panel > button");
    tab.wait_heading("Your accounts");
    assert!(tab.text().contains("By hand"), "{}", tab.text());
}

fn manage(tab: &Tab) {
    let of = |label: &str, action: &str| format!("[aria-label=\"{action}: {label}\"]");
    tab.click(&of("octocat", "Check"));
    tab.wait("document.body.innerText.includes('accepts this account')");
    tab.click(&of("By hand", "Check"));
    tab.wait("document.body.innerText.includes('refuses this account')");
    tab.click(&of("octocat", "Rename"));
    tab.fill(".rename[open] input[name=label]", "Cat");
    tab.click(".rename[open] form button");
    tab.wait("document.body.innerText.includes('Renamed.')");
    tab.click(&of("By hand", "Revoke"));
    tab.wait_heading("Revoke Mock mock_screen: By hand?");
    tab.click_text("Keep it");
    tab.wait_heading("Your accounts");
    tab.click(&of("By hand", "Revoke"));
    tab.wait_heading("Revoke Mock mock_screen: By hand?");
    tab.click("main form button");
    tab.wait("document.body.innerText.includes('cannot be used any more')");
    tab.click(&of("By hand", "Remove from the list"));
    tab.wait("document.body.innerText.includes('Removed from the list')");
    assert!(!tab.text().contains("By hand"), "{}", tab.text());
}

pub(crate) async fn a_link_is_for_one_browser_and_its_services(site: &SignInSite) {
    let desk = Desk::new(site, "mock_device").await;
    let link = desk.link(json!({"services": ["mock_device"]})).await;
    let chromium = Chromium::start();
    let (person, stranger) = (chromium.person(), chromium.person());
    let (tab, theirs) = (person.tab(), stranger.tab());
    tab.open(&link);
    // Where there is one service, it is the first page.
    tab.wait_heading("Connect Mock mock_device");
    theirs.open(&link);
    assert!(theirs.text().contains("This link has ended"), "{}", theirs.text());
    theirs.open(&tab.url());
    assert!(theirs.text().contains("not open in this browser"), "{}", theirs.text());
    tab.open(&link);
    assert!(tab.text().contains("go on where you were"), "{}", tab.text());
    tab.click_text("Go on");
    tab.wait_heading("Connect your services");
    tab.open(&format!("{}/connect/services/hubspot", Desk::base(&link)));
    assert!(tab.text().contains("This link is not for that service"), "{}", tab.text());

    // A popup's answer that another browser brings.
    tab.open(&format!("{}/connect/services/mock_device?flow=0", Desk::base(&link)));
    desk.provider.set(|behaviour| behaviour.consent = true);
    tab.click_text("Continue at Mock mock_device");
    let window = person.popup(&tab);
    window.wait_heading("Mock provider");
    let asked = window.url();
    theirs.open(&asked);
    theirs.click("#allow");
    theirs.wait_heading("Another browser began this");
    desk.provider.set(|behaviour| behaviour.consent = false);
    let listed = desk.tenant.rest().get("/api/v1/connections").await.expect(200);
    assert_eq!(listed["connections"], json!([]), "nothing was connected");
}

/// Code forwarding, mix-up, a wrong `iss` and a replayed state, each by a hostile provider in a real browser.
pub(crate) async fn attacks_end_on_a_clear_page(site: &SignInSite) {
    let desk = Desk::new(site, "mock_attacks").await;
    let chromium = Chromium::start();
    let person = chromium.person();
    let tab = person.tab();
    let leave = || {
        let body = json!({"service": desk.service});
        let started = block_on_other(desk.tenant.clone(), body);
        tab.open(&started);
        tab.wait_heading("Connect Mock mock_attacks");
        tab.click("#continue");
    };
    let refused = |heading: &str| {
        tab.wait_heading(heading);
        assert_eq!(tab.eval("document.querySelectorAll('main [role=alert]').length"), 1, "{}", tab.text());
        assert_eq!(tab.axe(), Vec::<String>::new(), "{heading}");
    };
    let own = desk.provider.url();
    desk.provider.set(|behaviour| behaviour.issuer = Some("https://evil.example".to_owned()));
    leave();
    refused("This answer is not the one we asked for");
    desk.provider.set(|behaviour| behaviour.issuer = None);
    leave();
    refused("This answer is not the one we asked for");
    desk.provider.set(|behaviour| behaviour.issuer = Some(own));

    let forward = Url::parse(&tab.url()).unwrap().join("/oauth/callback/mock_honest").unwrap();
    desk.provider.set(|behaviour| behaviour.forwards_to = Some(forward.into()));
    leave();
    refused("This answer is not the one we asked for");
    desk.provider.set(|behaviour| behaviour.forwards_to = None);

    desk.provider.set(|behaviour| behaviour.denies = true);
    leave();
    refused("Not connected");
    desk.provider.set(|behaviour| behaviour.denies = false);

    leave();
    tab.wait_heading("Mock mock_attacks is signed in");
    let used = tab.url();
    tab.open(&used);
    refused("This sign-in has ended");
    assert_eq!(desk.provider.counters().redeemed, 1, "no code but the honest one was redeemed");
}

/// From inside a body, which blocks its own thread on the browser.
fn block_on_other(tenant: Tenant, body: Value) -> String {
    std::thread::spawn(move || {
        block_on(async move {
            let started = tenant.rest().post("/api/v1/connections/oauth/start", &body).await.expect(201);
            started["url"].as_str().unwrap().to_owned()
        })
    })
    .join()
    .unwrap()
}

/// Every page, looked at by axe-core and as pictures: two widths, light and dark; and by keyboard.
pub(crate) async fn every_page_can_be_used_by_everybody(site: &SignInSite) {
    let desk = Desk::new(site, "mock_gallery").await;
    desk.provider.set(|behaviour| behaviour.device_interval = 1);
    let link = desk.link(json!({})).await;
    let chromium = Chromium::start();
    let pictures = (site.stack.shape() == Shape::Embedded).then(|| repository().join("target/screenshots"));
    let gallery = Gallery { base: Desk::base(&link), tab: chromium.person().tab(), pictures };
    gallery.tab.open(&link);
    keyboard(&gallery.tab);
    gallery.catalog();
    gallery.service();
    gallery.code(&desk);
    neglect(&desk).await;
    gallery.accounts();
    gallery.refusals(&link);
    gallery.russian();
    gallery.end();

    let narrow = desk.link(json!({"services": ["mock_gallery"], "return_url": null})).await;
    let other = Gallery { tab: chromium.person().tab(), ..gallery.clone() };
    other.tab.open(&narrow);
    other.narrow();
    let started = block_on_other(desk.tenant.clone(), json!({"service": desk.service}));
    let signer = Gallery { tab: chromium.person().tab(), ..gallery.clone() };
    signer.tab.open(&started);
    signer.sign_in();
    let stranger = Gallery { tab: chromium.person().tab(), ..gallery.clone() };
    stranger.tab.language("ru-RU,ru;q=0.9");
    stranger.at("/connect", "В этом браузере страница не открыта", "not-open-ru");
    for tab in [&gallery.tab, &other.tab, &signer.tab] {
        no_complaints(tab);
    }
}

/// An account whose address was changed, so that its secrets are gone.
async fn neglect(desk: &Desk) {
    let rest = desk.tenant.rest();
    let typed = json!({"portal_host": "company.bitrix24.ru", "webhook_user_id": "17", "webhook_code": "canary0code"});
    let account = json!({"service": "bitrix24", "label": "Portal", "owner": "anna", "credentials": typed});
    let made = rest.post("/api/v1/connections", &account).await.expect(201);
    let path = format!("/api/v1/connections/{}", made["id"].as_str().unwrap());
    let moved = rest.patch(&path, &json!({"credentials": {"portal_host": "moved.bitrix24.ru"}})).await.expect(200);
    assert_eq!(moved["state"], "needs_reauth", "{moved}");
}

/// Pages as they are seen.
#[derive(Clone)]
struct Gallery {
    base: String,
    tab: Tab,
    pictures: Option<PathBuf>,
}

impl Gallery {
    fn see(&self, name: &str) {
        see(&self.tab, name, self.pictures.as_ref());
    }

    fn at(&self, path: &str, heading: &str, name: &str) {
        self.tab.open(&format!("{}{path}", self.base));
        self.tab.wait_heading(heading);
        self.see(name);
    }

    fn catalog(&self) {
        self.at("/connect", "Connect your services", "catalog");
        self.at("/connect?category=crm", "Connect your services", "catalog-category");
        self.at("/connect?q=zzzzzz", "Connect your services", "catalog-nothing");
        self.at("/connect/accounts", "Your accounts", "accounts-none");
        self.at("/connect/done", "Finish here?", "done-nothing");
    }

    fn service(&self) {
        self.at("/connect/services/bitrix24", "Connect Bitrix24", "service-form");
        self.tab.fill("#field-portal_host", "https://company.bitrix24.ru/rest/17");
        self.tab.fill("#field-webhook_user_id", "seventeen");
        self.tab.click("main form.panel > button");
        self.tab.wait("!!document.querySelector('#summary')");
        self.see("service-form-errors");
        self.at("/connect/services/mock_gallery?flow=0", "Connect Mock", "service-popup");
        self.at("/connect/services/mock_gallery?flow=1", "Connect Mock", "service-code");
        self.at("/connect/services/mock_honest?flow=0", "Connect Mock", "service-not-set-up");
    }

    fn code(&self, desk: &Desk) {
        self.tab.open(&format!("{}/connect/services/mock_gallery?flow=1", self.base));
        self.tab.click_text("Get a code");
        self.tab.wait_heading("with a code");
        self.see("code");
        let code = self.tab.eval("document.querySelector('#user-code').textContent");
        desk.provider.decide(code.as_str().unwrap(), false);
        self.tab.wait_heading("You said no at the service");
        self.see("code-denied");
    }

    /// In several states, and with a name as long as names get.
    fn accounts(&self) {
        for (label, token) in [("Main shop", "canary-1"), ("Branch in Kazan", "canary-2"), (LONGEST, "canary-3")] {
            self.tab.open(&format!("{}/connect/services/mock_gallery?flow=2", self.base));
            self.tab.fill("#field-pasted", token);
            self.tab.fill("#field-region", "eu");
            self.tab.fill("#field-label", label);
            self.tab.click("main form.panel > button");
            self.tab.wait_heading("Your accounts");
        }
        self.tab.click("[aria-label=\"Revoke: Branch in Kazan\"]");
        self.tab.wait_heading("Revoke");
        self.see("revoke");
        self.tab.click("main form button");
        self.tab.wait_heading("Your accounts");
        self.tab.wait("document.body.innerText.includes('Needs attention')");
        self.see("accounts");
        self.tab.click("[aria-label=\"Rename: Main shop\"]");
        self.see("accounts-rename");
        self.tab.click("[aria-label=\"Check: Main shop\"]");
        self.tab.wait("document.body.innerText.includes('refuses this account')");
        self.see("accounts-refused");
        let again = self.tab.eval("document.querySelector('[aria-label=\"Connect again: Portal\"]').href");
        self.tab.open(again.as_str().unwrap());
        self.tab.wait_heading("again: Portal");
        self.see("service-again");
        self.at("/connect/services/mock_gallery", "Connect Mock", "service-connected");
        // As without a script: in the page's own window.
        self.tab.eval("document.querySelector('form.panel').submit()");
        self.tab.wait_heading("is connected");
        self.see("signed-in");
        self.at("/connect/done", "Hand over to", "done");
    }

    fn refusals(&self, link: &str) {
        self.tab.open(link);
        self.tab.wait_heading("This link has ended");
        self.see("link-ended");
        self.at("/connect/accounts/acc_nobody/revoke", "This account is not here", "no-account");
        self.at("/oauth/callback/mock_gallery?state=unknown&code=x", "This sign-in has ended", "sign-in-refused");
    }

    fn russian(&self) {
        self.at("/connect?lang=ru", "Подключите сервисы", "catalog-ru");
        assert_eq!(self.tab.eval("document.documentElement.lang"), "ru");
        self.at("/connect/services/bitrix24", "Подключить Битрикс24", "service-form-ru");
        self.at("/connect/accounts", "Ваши аккаунты", "accounts-ru");
        self.at("/connect/done", "Передать доступ", "done-ru");
    }

    fn end(&self) {
        self.tab.click("main form button");
        self.tab.wait("location.pathname === '/done' && document.readyState === 'complete'");
    }

    /// Inside a link for one service, and without a page to go back to.
    fn narrow(&self) {
        self.at("/connect/services/bitrix24", "This link is not for that service", "other-service");
        self.at("/connect", "Connect your services", "catalog-one");
        self.tab.open(&format!("{}/connect/done", self.base));
        self.tab.click("main form button");
        self.tab.wait_heading("That's all");
        self.see("finished");
    }

    /// A sign-in that the tenant's own page has begun.
    fn sign_in(&self) {
        self.tab.wait_heading("Connect Mock mock_gallery");
        self.see("sign-in");
        self.tab.click("#continue");
        self.tab.wait_heading("is signed in");
        self.see("sign-in-claim");
    }
}

/// 64 characters.
const LONGEST: &str = "Основной магазин на маркетплейсах, склад в Екатеринбурге, второй";

/// The first key leads over the navigation; every stop can be seen.
fn keyboard(tab: &Tab) {
    tab.look(1280, false);
    tab.press("Tab");
    assert_eq!(tab.eval("document.activeElement.className"), "skip");
    tab.press("Enter");
    tab.wait("document.activeElement.id === 'main'");
    tab.press("Tab");
    assert_eq!(tab.eval("document.activeElement.id"), "q", "after the skip link comes the content");
    tab.press("Tab");
    let outline = "(() => { const style = getComputedStyle(document.activeElement); return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; })()";
    assert_eq!(tab.eval(outline), true, "where the focus is can be seen");
    let order = "(() => { const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1])); return levels[0] === 1 && levels.filter((one) => one === 1).length === 1 && levels.every((one, at) => at === 0 || one - levels[at - 1] <= 1); })()";
    assert_eq!(tab.eval(order), true, "headings are in order");
}

pub(crate) fn see(tab: &Tab, name: &str, pictures: Option<&PathBuf>) {
    // WCAG 1.4.10: nothing is to be scrolled to the side at 320, which is also a desktop at 400 %.
    fits(tab, name, 320, false);
    for (width, dark) in [(390, false), (390, true), (1280, false), (1280, true)] {
        fits(tab, name, width, dark);
        let found = tab.axe();
        assert!(found.is_empty(), "{name} at {width}, dark {dark}: {found:#?}");
        if let Some(folder) = pictures {
            let scheme = if dark { "dark" } else { "light" };
            tab.screenshot(&folder.join(format!("{name}-{width}-{scheme}.png")));
        }
    }
}

fn fits(tab: &Tab, name: &str, width: u32, dark: bool) {
    tab.look(width, dark);
    let wide = tab.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(wide, 0, "{name} is wider than {width}");
}

/// A page that refuses has a status that the browser notes; nothing else may be noted.
pub(crate) fn no_complaints(tab: &Tab) {
    let complaints = tab.complaints();
    let other: Vec<_> =
        complaints.iter().filter(|one| !one.contains("the server responded with a status of")).collect();
    assert!(other.is_empty(), "{other:#?}");
}
