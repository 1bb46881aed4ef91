//! Accounts whose tokens end again and again, at a provider whose refresh tokens work once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plugboard_tests::browser::Browser;
use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::oauth_provider::{CLIENT_ID, CLIENT_SECRET};
use plugboard_tests::rest_client::Reply;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::manifest::ROTATING;
use crate::records::{Clock, OAuthFacts};
use crate::script::Stage;
use crate::site::Site;

/// Between two rounds: the auth service replaces no token that is younger than five seconds.
const PAUSE: Duration = Duration::from_millis(5_500);
/// Calls that need the new token at the same time, through both gateways and so by several executors and auth services.
const CALLS: usize = 6;
/// Each is a chance for two auth services to refresh at the same moment, which is short.
const ACCOUNTS: usize = 8;
const TRIES: usize = 30;

/// A round in which an auth service is made to die takes as long as its lease, and somebody's patience.
const MET_WITHIN: Duration = Duration::from_secs(45);

#[derive(Debug)]
pub(crate) struct Refresher {
    site: Arc<Site>,
    clock: Clock,
    stop: AtomicBool,
}

impl Refresher {
    pub(crate) fn new(site: Arc<Site>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { site, clock, stop: AtomicBool::new(false) })
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Lets the token end and has it renewed, until told to stop.
    pub(crate) async fn run(self: Arc<Self>) -> OAuthFacts {
        let mut facts = OAuthFacts::default();
        let mut accounts = Vec::new();
        for _ in 0..ACCOUNTS {
            accounts.push(self.connect().await);
        }
        while !self.stop.load(Ordering::Relaxed) {
            self.site.provider.expire_tokens();
            futures::future::join_all(accounts.iter().map(|account| self.read(account))).await;
            facts.rounds += 1;
            for account in &mut accounts {
                if self.needs_its_person(account).await {
                    facts.lost.push(self.clock.now());
                    *account = self.connect().await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        let counters = self.site.provider.counters();
        (facts.refreshed, facts.reused) = (counters.refreshed.into(), counters.reused.into());
        facts
    }

    /// An auth service dies at this place, with this account of its own.
    pub(crate) async fn die_at(&self, stage: &Stage, name: &'static str) {
        let account = self.connect().await;
        tokio::time::sleep(PAUSE).await;
        let at = self.clock.now();
        let (took, _) = tokio::join!(stage.fire(name, &account, MET_WITHIN), async {
            self.site.provider.expire_tokens();
            self.read(&account).await
        });
        stage.healed("failpoint", name, at, took).await;
    }

    /// Many calls at once; the answers.
    async fn read(&self, account: &str) -> Vec<Option<Value>> {
        let gateways = self.site.gateways();
        let calls = (0..CALLS).map(|at| {
            let client = McpClient::modern(&gateways[at % gateways.len()], &self.site.tenants[0].key);
            let arguments = json!({
                "service": ROTATING, "instance_id": account, "module": "api", "method": "GET", "path": "/read",
            });
            async move {
                let params = json!({"name": "connector_execute", "arguments": arguments});
                let body = client.message("tools/call", params).to_string();
                let reply = client.try_post(&body, "tools/call", Some("connector_execute")).await.ok()?;
                Some(reply.json["result"]["structuredContent"].clone())
            }
        });
        futures::future::join_all(calls).await
    }

    async fn needs_its_person(&self, account: &str) -> bool {
        let rest = self.site.tenants[0].rest();
        let request = rest.request(Method::GET, &format!("/api/v1/connections/{account}"));
        matches!(Reply::try_of(request).await, Ok(reply) if reply.json["state"] == "needs_reauth")
    }

    /// A new account; tried again while parts of the cluster are down.
    async fn connect(&self) -> String {
        for _ in 0..TRIES {
            if let Some(id) = self.try_connect().await {
                return id;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("no account could be connected");
    }

    async fn try_connect(&self) -> Option<String> {
        let rest = self.site.tenants[0].rest();
        let ask = |method, path: &str, body: Value| Reply::try_of(rest.request(method, path).json(&body));
        let client = json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET});
        ask(Method::PUT, &format!("/api/v1/oauth-clients/{ROTATING}"), client).await.ok()?;
        let label = uuid::Uuid::new_v4().simple().to_string();
        let body = json!({"service": ROTATING, "label": label});
        let started = ask(Method::POST, "/api/v1/connections/oauth/start", body).await.ok()?;
        let mut browser = Browser::new();
        let page = browser.try_step(&Url::parse(started.json["url"].as_str()?).ok()?).await.ok()?.ok()?;
        let leave = Url::parse(&page.link("continue")?).ok()?;
        let vendor = browser.try_step(&leave).await.ok()?.err()?;
        let mut next = browser.try_step(&vendor).await.ok()?.err()?;
        // The callback redirects to the page that shows the claim.
        let page = loop {
            match browser.try_step(&next).await.ok()? {
                Ok(page) => break page,
                Err(url) => next = url,
            }
        };
        let claim = json!({"claim": page.element("claim")?});
        let claimed = ask(Method::POST, "/api/v1/connect-sessions/claims", claim).await.ok()?;
        Some(claimed.json["connections"][0]["id"].as_str()?.to_owned())
    }
}
