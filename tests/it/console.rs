//! The operator console, and what it reads: by REST as programs do, and in a real browser as people do.

use std::path::PathBuf;
use std::time::Duration;

use plugboard_tests::chromium::{Chromium, Tab};
use plugboard_tests::leaks::found_in;
use plugboard_tests::stack::{Shape, Stack, repository};
use plugboard_tests::tenant::{Account, Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::Answer;
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::screen::{no_complaints, see};
use crate::shared::Site;

const SOON: Duration = Duration::from_secs(20);

fn list<'a>(found: &'a Value, name: &str) -> &'a [Value] {
    found[name].as_array().unwrap_or_else(|| panic!("{name}: {found}"))
}

/// A name that occurs nowhere else, and does not look like a key.
fn words() -> String {
    let number = unique();
    format!("Spring sale {}", &number[number.len() - 10..])
}

/// A tenant with a call that its vendor has refused, one that succeeded, one that was refused here.
struct Scene {
    tenant: Tenant,
    account: Account,
    name: String,
    failed: String,
}

impl Scene {
    async fn new(site: &Site) -> Self {
        let tenant = Tenant::new(&site.stack).await;
        let account = tenant.connect("hubspot", "Main shop", &site.vendor).await;
        let client = tenant.mcp();
        assert_eq!(client.execute(hubspot_read()).await["ok"], true);
        let wrong = json!({"service": "hubspot", "module": "crm", "method": "GET", "path": "/nothing/here"});
        assert_eq!(client.execute(wrong).await["ok"], false);
        let name = words();
        site.vendor.on(&name, Answer::json(400, &json!({"message": "no such stage"})).after(Duration::from_millis(30)));
        let mut call = hubspot_write(&name);
        call["body"]["properties"]["api_token"] = json!("canary-in-a-body");
        let refused = client.execute(call).await;
        assert_eq!(refused["error"]["code"], "UPSTREAM_REJECTED", "{refused}");
        let failed = refused["execution_id"].as_str().unwrap().to_owned();
        Self { tenant, account, name, failed }
    }
}

pub(crate) async fn calls_are_shown_to_whom_they_concern(site: &Site) {
    let scene = Scene::new(site).await;
    let (rest, operator) = (scene.tenant.rest(), site.stack.rest(site.stack.operator_key()));
    let found = eventually("the failed call is told of", SOON, || async {
        let found = rest.get("/api/v1/calls?state=failed&service=hubspot&text=main%20sh").await.expect(200);
        (list(&found, "calls").len() == 1).then_some(found)
    })
    .await;
    let call = &found["calls"][0];
    assert_eq!(call["execution_id"], json!(scene.failed));
    assert_eq!(
        (&call["code"], &call["origin"], &call["status"]),
        (&json!("UPSTREAM_REJECTED"), &json!("upstream"), &json!(400))
    );
    assert_eq!(
        (&call["operation"], &call["attempts"], &call["effect"]),
        (&json!("create_deal"), &json!(1), &json!("once"))
    );
    let us = |stage: &str| {
        list(call, "stages").iter().find(|one| one["stage"] == stage).map(|one| one["us"].as_u64().unwrap())
    };
    for stage in ["check", "credentials", "vendor"] {
        assert!(us(stage).is_some(), "{stage}: {call}");
    }
    // The queue's time is in whole milliseconds, and may be told as all that is left.
    assert!(us("answer").or(us("queue")).is_some(), "{call}");
    let sum: u64 = list(call, "stages").iter().map(|one| one["us"].as_u64().unwrap()).sum();
    let total = call["total_us"].as_u64().unwrap();
    assert!(us("vendor").unwrap() >= 30_000 && total >= 30_000 && sum <= total, "{call}");
    let all = rest.get("/api/v1/calls").await.expect(200);
    assert_eq!(list(&all, "calls").len(), 3, "{all}");
    let page = rest.get("/api/v1/calls?limit=2").await.expect(200);
    let next = page["next"].as_str().unwrap();
    let last = rest.get(&format!("/api/v1/calls?limit=2&after={next}")).await.expect(200);
    assert_eq!((list(&page, "calls").len(), list(&last, "calls").len(), &last["next"]), (2, 1, &Value::Null));

    // What was asked, for its own admins, with what may be secret masked.
    let path = format!("/api/v1/calls/{}", scene.failed);
    let detail = rest.get(&path).await.expect(200);
    assert_eq!(detail["request"]["shown"], true, "{detail}");
    let asked = &detail["request"]["masked"];
    assert_eq!((&asked["method"], &asked["path"]), (&json!("POST"), &json!("/crm/v3/objects/deals")), "{asked}");
    assert_eq!(asked["body"]["properties"], json!({"dealname": scene.name, "api_token": "***"}));
    let seen = [all.to_string(), detail.to_string()].concat();
    for secret in scene.account.secrets().iter().chain([&scene.tenant.key, &"canary-in-a-body".to_owned()]) {
        assert_eq!(found_in(secret, &[("REST".into(), seen.clone().into_bytes())]), Vec::<String>::new());
    }

    // Nothing of it for another organization; for the operator all but the content.
    let stranger = Tenant::new(&site.stack).await.rest();
    stranger.get(&path).await.expect_problem(404, "INVALID_ARGUMENT");
    assert_eq!(stranger.get("/api/v1/calls").await.expect(200)["calls"], json!([]));
    let organization = &scene.tenant.organization;
    let theirs = format!("/api/v1/calls?organization={organization}");
    stranger.get(&theirs).await.expect_problem(404, "INVALID_ARGUMENT");
    assert_eq!(list(&operator.get(&theirs).await.expect(200), "calls").len(), 3);
    let outside = operator.get(&path).await.expect(200);
    assert_eq!(outside["request"], json!({"shown": false, "reason": "operator", "masked": null}));
    assert_eq!((&outside["message"], outside.to_string().contains(&scene.name)), (&Value::Null, false));
    background(site, &scene).await;
    overview(site, &scene).await;
}

/// A call that nobody waits for ends after its gateway has answered; the journal tells how.
async fn background(site: &Site, scene: &Scene) {
    let name = words();
    site.vendor.on(&name, Answer::json(201, &json!({"id": "1"})).after(Duration::from_millis(20)));
    let mut call = hubspot_write(&name);
    call["wait_ms"] = json!(0);
    let handle = scene.tenant.mcp().execute(call).await;
    let path = format!("/api/v1/calls/{}", handle["execution_id"].as_str().unwrap());
    let ended = eventually("its end is told", SOON, || async {
        let detail = scene.tenant.rest().get(&path).await.expect(200);
        (detail["code"] == "OK").then_some(detail)
    })
    .await;
    assert_eq!((&ended["background"], &ended["status"]), (&json!(true), &json!(201)), "{ended}");
    // Told so in the list, too, and not as one that runs.
    let text = ended["execution_id"].as_str().unwrap();
    let listed = scene.tenant.rest().get(&format!("/api/v1/calls?text={text}")).await.expect(200);
    assert_eq!((list(&listed, "calls").len(), &listed["calls"][0]["code"]), (1, &json!("OK")), "{listed}");
    let running = scene.tenant.rest().get(&format!("/api/v1/calls?state=running&text={text}")).await.expect(200);
    assert_eq!(running["calls"], json!([]));
    let vendor = list(&ended, "stages").iter().find(|one| one["stage"] == "vendor").unwrap();
    assert!(vendor["us"].as_u64().unwrap() >= 20_000, "{ended}");
    assert_eq!(ended["request"]["masked"]["body"]["properties"]["dealname"], json!(name));
}

async fn overview(site: &Site, scene: &Scene) {
    let operator = site.stack.rest(site.stack.operator_key());
    let all = eventually("everybody answers", SOON, || async {
        let all = operator.get("/api/v1/overview").await.expect(200);
        let executors = list(&all, "processes").iter().filter(|one| one["service"] == "executor").count();
        let wanted = if site.stack.shape() == Shape::Embedded { 1 } else { 2 };
        (executors == wanted).then_some(all)
    })
    .await;
    let processes = list(&all, "processes");
    assert!(processes.iter().all(|one| one["ready"] == true), "{all}");
    let executor = processes.iter().find(|one| one["service"] == "executor").unwrap();
    assert_eq!(executor["slots"], 256);
    assert!(processes.iter().any(|one| one["service"] == "gateway" && one["parts"]["auth"] == "ok"), "{all}");
    assert!(!list(&all["queue"], "lines").is_empty(), "{all}");
    assert!(list(&all, "organizations").iter().any(|one| one["organization"] == json!(scene.tenant.organization)));
    let own = scene.tenant.rest().get("/api/v1/overview").await.expect(200);
    let counted = |name: &str| list(&own, "minutes").iter().map(|one| one[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((counted("calls"), counted("failed")), (4, 2), "{own}");
    assert_eq!((&own["processes"], &own["queue"]), (&Value::Null, &Value::Null));
}

/// Signs in on the page.
pub(crate) fn sign_in(tab: &Tab, stack: &Stack, key: &str) {
    tab.open(&format!("{}/console", stack.url()));
    tab.wait_heading("Sign in to the console");
    tab.fill("#key", key);
    tab.press("Enter");
    tab.wait("document.querySelector('main').dataset.ready === 'overview'");
}

pub(crate) fn go(tab: &Tab, section: &str) {
    tab.click(&format!("#to-{section}"));
    tab.wait(&format!("document.querySelector('main').dataset.ready === '{section}'"));
}

/// Everything a person sees there, by an admin and by the operator: two widths, light and dark.
pub(crate) async fn the_console_in_a_real_browser(site: &Site) {
    let scene = Scene::new(site).await;
    worn(&scene).await;
    for _ in 0..5 {
        assert_eq!(scene.tenant.mcp().execute(hubspot_read()).await["ok"], true);
    }
    let pictures = (site.stack.shape() == Shape::Embedded).then(|| repository().join("target/screenshots/console"));
    let chromium = Chromium::start();
    let tab = chromium.person().tab();
    tab.look(1280, false);
    tab.open(&format!("{}/console", site.stack.url()));
    tab.wait_heading("Sign in to the console");
    see(&tab, "sign-in", pictures.as_ref());
    tab.fill("#key", "sk-org-nobody");
    tab.press("Enter");
    tab.wait("document.querySelector('[role=alert]')?.textContent.includes('not valid')");
    see(&tab, "sign-in-refused", pictures.as_ref());

    sign_in(&tab, &site.stack, &scene.tenant.key);
    keeps_no_key(&tab, &scene.tenant.key);
    tab.wait("document.querySelectorAll('.chart').length === 3");
    see(&tab, "overview", pictures.as_ref());
    admin(&tab, &scene, pictures.as_ref());
    let read = format!("{}{}", tab.eval("document.documentElement.outerHTML"), tab.text());
    for secret in scene.account.secrets() {
        assert_eq!(found_in(&secret, &[("page".into(), read.clone().into_bytes())]), Vec::<String>::new());
    }
    keyboard(&tab);
    tab.click("#sign-out");
    tab.wait_heading("Sign in to the console");
    tab.open(&format!("{}/console", site.stack.url()));
    tab.wait_heading("Sign in to the console");
    no_complaints(&tab);

    let outside = chromium.person().tab();
    outside.look(1280, false);
    sign_in(&outside, &site.stack, site.stack.operator_key());
    operator(&outside, &scene, pictures.as_ref());
    no_complaints(&outside);
}

/// An account that must be connected again.
async fn worn(scene: &Scene) {
    let rest = scene.tenant.rest();
    let typed = json!({"portal_host": "company.bitrix24.ru", "webhook_user_id": "17", "webhook_code": "canary0code"});
    let id = rest.connect("bitrix24", "Portal", &typed).await;
    let moved = json!({"credentials": {"portal_host": "moved.bitrix24.ru"}});
    rest.patch(&format!("/api/v1/connections/{id}"), &moved).await.expect(200);
}

fn keeps_no_key(tab: &Tab, key: &str) {
    let kept = "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}, location.href])";
    assert!(!tab.eval(kept).as_str().unwrap().contains(key));
    assert_eq!(tab.eval("document.cookie"), "", "no script reads the session");
}

fn admin(tab: &Tab, scene: &Scene, pictures: Option<&PathBuf>) {
    go(tab, "calls");
    let rows = "document.querySelectorAll('main tbody tr').length";
    tab.wait(&format!("{rows} === 8"));
    see(tab, "calls", pictures);
    tab.fill("#by-text", "upstream_rej");
    tab.wait(&format!("{rows} === 1 && location.hash.includes('text=upstream_rej')"));
    tab.fill("#by-text", "no such call");
    tab.wait("document.querySelector('.empty h2')?.textContent === 'Nothing fits'");
    see(tab, "calls-nothing", pictures);
    tab.fill("#by-text", &scene.failed);
    tab.wait(&format!("{rows} === 1"));
    tab.click(&format!("#call-{}", scene.failed));
    tab.wait("document.querySelectorAll('.stages li').length >= 4");
    let text = tab.text();
    assert!(text.contains(&scene.name) && text.contains("***") && !text.contains("canary-in-a-body"), "{text}");
    assert!(text.contains("UPSTREAM_REJECTED") && text.contains("Main shop"), "{text}");
    see(tab, "call", pictures);
    go(tab, "dead-letters");
    tab.wait("document.querySelector('.empty h2')?.textContent === 'Nothing was given up'");
    see(tab, "dead-letters-none", pictures);
    go(tab, "limits");
    see(tab, "limits-none", pictures);
    go(tab, "accounts");
    tab.wait("document.body.innerText.includes('Portal')");
    assert!(!tab.text().contains("Main shop"), "it is well: {}", tab.text());
    see(tab, "accounts", pictures);
}

fn operator(tab: &Tab, scene: &Scene, pictures: Option<&PathBuf>) {
    tab.wait("document.body.innerText.includes('Gateways and executors')");
    see(tab, "operator-overview", pictures);
    go(tab, "calls");
    tab.fill("#by-organization", &scene.tenant.organization);
    tab.wait("document.querySelectorAll('main tbody tr').length === 8");
    see(tab, "operator-calls", pictures);
    tab.click(&format!("#call-{}", scene.failed));
    tab.wait("document.body.innerText.includes(\"for the organization's own admins\")");
    assert!(!tab.text().contains(&scene.name), "{}", tab.text());
    see(tab, "operator-call", pictures);
    go(tab, "accounts");
    tab.wait("document.querySelector('.empty h2')?.textContent === 'Whose accounts?'");
    tab.fill("#by-organization", &scene.tenant.organization);
    tab.wait("document.body.innerText.includes('Portal')");
    see(tab, "operator-accounts", pictures);
}

/// The first key leads over the navigation.
fn keyboard(tab: &Tab) {
    // The page before must not be taken for the one that is loaded.
    tab.eval("document.documentElement.dataset.before = 'yes'; location.reload()");
    tab.wait(
        "!document.documentElement.dataset.before && document.querySelector('main')?.dataset.ready === 'accounts'",
    );
    tab.press("Tab");
    assert_eq!(tab.eval("document.activeElement.className"), "skip");
    tab.press("Enter");
    tab.wait("document.activeElement.id === 'main'");
}

/// A call that may have been done, made again from the page by whoever accepts that.
pub(crate) fn made_again_from_the_page(stack: &Stack, tenant: &Tenant, id: &str) {
    let chromium = Chromium::start();
    let tab = chromium.person().tab();
    tab.look(1280, false);
    sign_in(&tab, stack, &tenant.key);
    go(&tab, "dead-letters");
    let pictures = repository().join("target/screenshots/console");
    tab.wait(&format!("!!document.querySelector('#again-{id}')"));
    see(&tab, "dead-letters", Some(&pictures));
    tab.click(&format!("#again-{id}"));
    tab.wait("document.querySelector('dialog[open] h2')?.textContent === 'Make this call again?'");
    tab.click("dialog .button:not(.quiet)");
    tab.wait("document.querySelector('dialog[open] h2')?.textContent === 'It may be done twice'");
    see(&tab, "dead-letters-twice", Some(&pictures));
    // Not without a word.
    tab.click("dialog .danger");
    tab.wait("document.querySelector('[role=alert]')?.textContent.includes('Nothing was made')");
    assert_eq!(tab.eval(&format!("!!document.querySelector('#again-{id}')")), true);
    tab.click(&format!("#again-{id}"));
    tab.wait("document.querySelector('dialog[open] h2')?.textContent === 'Make this call again?'");
    tab.click("dialog .button:not(.quiet)");
    tab.wait("!!document.querySelector('dialog[open] #accept')");
    tab.click("#accept");
    tab.click("dialog .danger");
    tab.wait("document.querySelector('.notice.good')?.textContent.includes('made again as ex_')");
    tab.wait(&format!("!document.querySelector('#again-{id}')"));
    no_complaints(&tab);
}

/// A call that nobody wants any more.
pub(crate) fn dropped_from_the_page(stack: &Stack, tenant: &Tenant, id: &str) {
    let chromium = Chromium::start();
    let tab = chromium.person().tab();
    sign_in(&tab, stack, &tenant.key);
    go(&tab, "dead-letters");
    tab.wait(&format!("!!document.querySelector('#drop-{id}')"));
    tab.click(&format!("#drop-{id}"));
    tab.wait("document.querySelector('dialog[open] h2')?.textContent === 'Drop this call?'");
    tab.click("dialog .danger");
    tab.wait(&format!("document.body.innerText.includes('It is dropped') && !document.querySelector('#drop-{id}')"));
}
