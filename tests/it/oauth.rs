//! Accounts connected by signing in: an honest person, hostile answers, codes, and tokens that end.

use std::time::{Duration, Instant};

use plugboard_tests::browser::{Browser, Page};
use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::oauth_provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use plugboard_tests::tenant::Tenant;
use plugboard_tests::wait::eventually;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::shared::SignInSite;

/// When every process must know of a change.
const SOON: Duration = Duration::from_secs(3);

/// A tenant with an OAuth client at its own provider.
pub(crate) struct Desk {
    pub(crate) tenant: Tenant,
    pub(crate) client: McpClient,
    pub(crate) provider: Provider,
    service: &'static str,
}

impl Desk {
    pub(crate) async fn new(site: &SignInSite, service: &'static str) -> Self {
        let tenant = Tenant::new(&site.stack).await;
        let body = json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET});
        let path = format!("/api/v1/oauth-clients/{service}");
        let set = plugboard_tests::rest_client::Reply::of(tenant.rest().request(Method::PUT, &path).json(&body)).await;
        let set = set.expect(200);
        assert!(set["redirect_uri"].as_str().unwrap().ends_with(&format!("/oauth/callback/{service}")), "{set}");
        Self { client: tenant.mcp(), tenant, provider: site.provider(service), service }
    }

    pub(crate) async fn start(&self, more: Value) -> String {
        let mut body = json!({"service": self.service});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let started = self.tenant.rest().post("/api/v1/connections/oauth/start", &body).await.expect(201);
        started["url"].as_str().unwrap().to_owned()
    }

    /// To our page and on to the vendor: the vendor's answer, not followed.
    async fn leave(&self, browser: &mut Browser, link: &str) -> Url {
        let page = browser.open(link).await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert!(page.text.contains("A tenant of a test"), "the page says who asks: {}", page.text);
        let go = Url::parse(&page.link("continue").unwrap()).unwrap();
        let vendor = browser.step(&go).await.expect_err("it leaves for the vendor");
        browser.step(&vendor).await.expect_err("the vendor sends it back")
    }

    pub(crate) async fn connect(&self) -> String {
        let mut browser = Browser::new();
        let link = self.start(json!({})).await;
        let back = self.leave(&mut browser, &link).await;
        let page = browser.open(back.as_str()).await;
        let claim = page.element("claim").unwrap_or_else(|| panic!("no claim: {}", page.text)).to_owned();
        let claimed = self.claim(&claim).await;
        claimed["connections"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn claim(&self, claim: &str) -> Value {
        self.tenant.rest().post("/api/v1/connect-sessions/claims", &json!({"claim": claim})).await.expect(200)
    }

    /// An account whose token has ended and can be refreshed.
    pub(crate) async fn connect_expired(&self) -> String {
        const LIFE: Duration = Duration::from_secs(2);
        self.provider.set(|behaviour| behaviour.life_seconds = Some(LIFE.as_secs()));
        let id = self.connect().await;
        // The provider counts from when it gave the token, we from when it came.
        let came = Instant::now();
        self.provider.set(|behaviour| behaviour.life_seconds = Some(3600));
        eventually("the token has ended", Duration::from_secs(10), || async {
            (self.provider.live_tokens() == 0 && came.elapsed() >= LIFE).then_some(())
        })
        .await;
        id
    }

    pub(crate) async fn many_calls_refresh_once(&self, calls: usize) {
        self.provider.set(|behaviour| behaviour.delay = Duration::from_millis(200));
        let envelopes = futures::future::join_all((0..calls).map(|_| self.client.execute(self.read()))).await;
        let failed: Vec<&Value> = envelopes.iter().filter(|envelope| envelope["ok"] != true).collect();
        assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
        let counters = self.provider.counters();
        assert_eq!((counters.refreshed, counters.reused), (1, 0));
        self.provider.set(|behaviour| behaviour.delay = Duration::ZERO);
    }

    pub(crate) fn read(&self) -> Value {
        json!({"service": self.service, "module": "api", "method": "GET", "path": "/read"})
    }

    async fn connections(&self) -> Vec<Value> {
        let list = self.tenant.rest().get("/api/v1/connections").await.expect(200);
        list["connections"].as_array().unwrap().clone()
    }
}

pub(crate) async fn a_person_signs_in_and_the_account_is_claimed(site: &SignInSite) {
    let desk = Desk::new(site, "mock_honest").await;
    let link = desk.start(json!({"return_url": "https://tenant.example/done?a=1"})).await;
    let mut browser = Browser::new();
    let back = desk.leave(&mut browser, &link).await;
    let page = browser.open(back.as_str()).await;
    assert_eq!((page.url.host_str(), page.query("a").as_deref()), (Some("tenant.example"), Some("1")));
    let claim = page.query("claim").unwrap();

    let listed = desk.connections().await;
    assert_eq!(
        (listed.len(), &listed[0]["state"], &listed[0]["label"]),
        (1, &json!("pending_claim"), &json!("octocat"))
    );
    let envelope = desk.client.execute(desk.read()).await;
    assert_eq!(envelope["error"]["code"], "ACCOUNT_EXPIRED", "{envelope}");
    assert_eq!(desk.provider.counters().api_calls, 0, "nothing is called before the claim");

    let stranger = Tenant::new(&site.stack).await;
    let claims = "/api/v1/connect-sessions/claims";
    stranger.rest().post(claims, &json!({"claim": claim})).await.expect_problem(404, "INVALID_ARGUMENT");
    let claimed = desk.claim(&claim).await;
    assert_eq!(claimed["connections"][0]["state"], "connected");
    desk.tenant.rest().post(claims, &json!({"claim": claim})).await.expect_problem(404, "INVALID_ARGUMENT");
    let envelope = eventually("the account is usable", SOON, || async {
        let envelope = desk.client.execute(desk.read()).await;
        (envelope["ok"] == true).then_some(envelope)
    })
    .await;
    assert_eq!(envelope["data"], json!({"login": "octocat"}));

    // A link works once.
    let again = browser.open(&link).await;
    assert_eq!(again.status, 410, "{}", again.text);
}

pub(crate) async fn hostile_answers_connect_nothing(site: &SignInSite) {
    let desk = Desk::new(site, "mock_hostile").await;
    let refused = |page: &Page, status: u16, words: &str| {
        assert_eq!(page.status, status, "{}", page.text);
        assert!(page.text.contains(words), "{}", page.text);
        assert!(page.text.contains("role=\"alert\""), "{}", page.text);
    };
    // Somebody else's browser brings the answer: a link that was sent.
    let (mut ours, mut theirs) = (Browser::new(), Browser::new());
    let back = desk.leave(&mut ours, &desk.start(json!({})).await).await;
    refused(&theirs.open(back.as_str()).await, 403, "Another browser began this");
    refused(&ours.open(back.as_str()).await, 410, "This sign-in has ended");

    // A state that was used.
    let back = desk.leave(&mut ours, &desk.start(json!({})).await).await;
    assert_eq!(ours.open(back.as_str()).await.status, 200);
    refused(&ours.open(back.as_str()).await, 410, "This sign-in has ended");
    assert_eq!(desk.provider.counters().redeemed, 1);

    // Another issuer, and none.
    for issuer in [Some("https://evil.example".to_owned()), None] {
        desk.provider.set(|behaviour| behaviour.issuer = issuer);
        let back = desk.leave(&mut ours, &desk.start(json!({})).await).await;
        refused(&ours.open(back.as_str()).await, 403, "not the one we asked for");
    }
    desk.provider.set(|behaviour| behaviour.issuer = Some(site.provider("mock_hostile").url()));

    // A code that is forwarded to another connector's callback.
    let link = desk.start(json!({})).await;
    let page = ours.open(&link).await;
    let own = Url::parse(&page.link("continue").unwrap()).unwrap();
    let forward = own.join("/oauth/callback/mock_honest").unwrap();
    desk.provider.set(|behaviour| behaviour.forwards_to = Some(forward.into()));
    let page = ours.open(own.as_str()).await;
    refused(&page, 403, "not the one we asked for");
    desk.provider.set(|behaviour| behaviour.forwards_to = None);

    // The person says no.
    desk.provider.set(|behaviour| behaviour.denies = true);
    let back = desk.leave(&mut ours, &desk.start(json!({})).await).await;
    refused(&ours.open(back.as_str()).await, 200, "You did not give your permission");
    desk.provider.set(|behaviour| behaviour.denies = false);

    // No cookies.
    let page = theirs.open(&desk.start(json!({})).await).await;
    let go = page.link("continue").unwrap();
    refused(&Browser::new().open(&go).await, 400, "Allow cookies");
    assert_eq!(desk.provider.counters().redeemed, 1, "no code but the honest one was redeemed");
    assert_eq!(desk.connections().await.len(), 1);
}

pub(crate) async fn a_code_on_another_device_connects(site: &SignInSite) {
    let desk = Desk::new(site, "mock_device").await;
    desk.provider.set(|behaviour| behaviour.device_interval = 1);
    let body = json!({"service": desk.service, "label": "From the sofa"});
    let started = desk.tenant.rest().post("/api/v1/connections/device/start", &body).await.expect(201);
    let path = format!("/api/v1/connections/device/{}", started["id"].as_str().unwrap());
    let look = || async { desk.tenant.rest().get(&path).await.expect(200) };
    assert_eq!(look().await, json!({"status": "pending", "interval": 1}));
    let stranger = Tenant::new(&site.stack).await;
    stranger.rest().get(&path).await.expect_problem(404, "INVALID_ARGUMENT");
    desk.provider.decide(started["user_code"].as_str().unwrap(), true);
    let connected = eventually("the code is approved", Duration::from_secs(15), || async {
        let status = look().await;
        (status["status"] == "connected").then_some(status)
    })
    .await;
    assert_eq!(connected["connection"]["label"], "From the sofa");
    assert_eq!(desk.provider.counters().early_polls, 0);
    let envelope = desk.client.execute(desk.read()).await;
    assert_eq!(envelope["ok"], true, "{envelope}");
}

pub(crate) async fn many_calls_on_an_expired_token_refresh_once(site: &SignInSite) {
    let desk = Desk::new(site, "mock_expiry").await;
    let id = desk.connect_expired().await;
    desk.many_calls_refresh_once(200).await;

    // The vendor forgets a token before its time: one refresh, and the caller does not notice. A token that has only
    // just come is not replaced, so this takes a few seconds.
    desk.provider.expire_tokens();
    eventually("a refused token is replaced", Duration::from_secs(15), || async {
        (desk.client.execute(desk.read()).await["ok"] == true).then_some(())
    })
    .await;
    assert_eq!(desk.provider.counters().refreshed, 2);

    // The person withdraws everything: the account says so, and how it is mended.
    desk.provider.forget_refresh_tokens();
    desk.provider.expire_tokens();
    let envelope = eventually("the account must be connected again", Duration::from_secs(15), || async {
        let envelope = desk.client.execute(desk.read()).await;
        let listed = desk.tenant.rest().get(&format!("/api/v1/connections/{id}")).await.expect(200);
        (listed["state"] == "needs_reauth").then_some((envelope, listed))
    })
    .await;
    assert_eq!(envelope.1["state_reason"], "invalid_grant");
    assert_eq!(envelope.0["error"]["code"], "ACCOUNT_EXPIRED", "{}", envelope.0);

    let again = format!("/api/v1/connections/{id}/reconnect");
    let started = desk.tenant.rest().post(&again, &json!({})).await.expect(201);
    let mut browser = Browser::new();
    let back = desk.leave(&mut browser, started["url"].as_str().unwrap()).await;
    let page = browser.open(back.as_str()).await;
    let claimed = desk.claim(page.element("claim").unwrap()).await;
    assert_eq!(
        (&claimed["connections"][0]["id"], &claimed["connections"][0]["state"]),
        (&json!(id), &json!("connected"))
    );
    eventually("it works again", SOON, || async {
        (desk.client.execute(desk.read()).await["ok"] == true).then_some(())
    })
    .await;
}

pub(crate) async fn a_connect_link_is_for_one_user_and_some_services(site: &SignInSite) {
    let desk = Desk::new(site, "mock_device").await;
    let path = "/api/v1/connect-sessions";
    let body = json!({"subject": "anna", "services": [desk.service], "return_url": "https://tenant.example/"});
    let made = desk.tenant.rest().post(path, &body).await.expect(201);
    let (url, token) = (made["url"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(url.ends_with(&format!("/connect/{token}")) && token.len() == 43, "{made}");
    for (body, field) in [
        (json!({"services": ["nothing"]}), "service"),
        (json!({"return_url": "javascript:alert(1)"}), "return_url"),
        (json!({"subject": ""}), "subject"),
    ] {
        let reply = desk.tenant.rest().post(path, &body).await;
        assert!((400..=404).contains(&reply.status), "{field}: {}", reply.text);
        assert_eq!(reply.header("content-type"), "application/problem+json", "{field}");
    }
    let logs = site.stack.logs();
    assert!(!logs.contains(token) && !logs.contains("canary-"), "nothing secret is logged");
}
