//! Tokens that end while auth services die or stand still: one cluster, three executors, two auth services.
//!
//! The provider has done its work before it holds its answer back, so what an auth service is stopped or killed with is
//! exact: the old refresh token is used up, and the new one is on its way.

use std::time::Duration;

use plugboard_tests::stack::{Stack, signal};
use plugboard_tests::wait::eventually;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::oauth::Desk;
use crate::shared::{KEEPS, SignInSite};

const EXECUTORS: [&str; 3] = ["executor-1", "executor-2", "executor-3"];

/// A lease lives 20 s, and whoever follows has to notice.
const PAST_THE_LEASE: Duration = Duration::from_secs(60);

pub(crate) fn site() -> SignInSite {
    let options = Stack::cluster().executors(3).auths(2);
    SignInSite::start(options, &["mock_many", KEEPS, "mock_lost", "mock_durable", "mock_slept"])
        .expect("the cluster did not start")
}

pub(crate) async fn refreshes_survive_their_auth_service(site: SignInSite) {
    a_thousand_calls_refresh_once(&site).await;
    a_stopped_refresh_leaves_one_version(&site).await;
    an_answer_that_came_meanwhile_is_heard(&site).await;
    a_token_that_is_durable_is_not_lost(&site).await;
    a_token_that_dies_with_its_process_is_reported_lost(&site).await;
}

impl Desk {
    async fn try_read(&self) -> Option<Value> {
        let envelope = self.client.execute(self.read()).await;
        (envelope["ok"] == true).then_some(envelope)
    }

    /// A desk with an account whose token has ended. Pages are served by `auth-1`, which an earlier fault may have killed.
    async fn expired(site: &SignInSite, service: &'static str) -> (Self, String) {
        let desk = Self::new(site, service).await;
        let link = Url::parse(&desk.start(json!({})).await).unwrap();
        let address = (link.host_str().unwrap(), link.port().unwrap());
        eventually("pages are served", Duration::from_secs(20), || async {
            TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
        let id = desk.connect_expired().await;
        (desk, id)
    }

    /// A call that makes `auth-1` refresh; returns when the provider has used the refresh token up and holds the answer.
    async fn refresh_by_auth_1(&self, site: &SignInSite) -> tokio::task::JoinHandle<Value> {
        self.provider.set(|behaviour| behaviour.held = true);
        let before = self.provider.counters().refreshed;
        site.stack.signal("auth-2", "STOP");
        let (client, read) = (self.client.clone(), self.read());
        let call = tokio::spawn(async move { client.execute(read).await });
        eventually("auth-1 refreshes", Duration::from_secs(30), || async {
            (self.provider.counters().refreshed == before + 1).then_some(())
        })
        .await;
        site.stack.signal("auth-2", "CONT");
        call
    }
}

async fn a_thousand_calls_refresh_once(site: &SignInSite) {
    let (desk, _) = Desk::expired(site, "mock_many").await;
    desk.many_calls_refresh_once(1_000).await;
}

/// The lease ends while its holder stands still; the other one refreshes; the first one comes back with its answer.
async fn a_stopped_refresh_leaves_one_version(site: &SignInSite) {
    let (desk, _) = Desk::expired(site, KEEPS).await;
    let call = desk.refresh_by_auth_1(site).await;
    site.stack.signal("auth-1", "STOP");
    desk.provider.set(|behaviour| behaviour.held = false);
    eventually("auth-2 refreshes when the lease is over", PAST_THE_LEASE, || desk.try_read()).await;
    assert_eq!(desk.provider.counters().refreshed, 2);
    let refused = desk.provider.counters().api_refused;
    site.stack.signal("auth-1", "CONT");
    let _ = call.await.unwrap();
    for _ in 0..50 {
        let envelope = desk.client.execute(desk.read()).await;
        assert_eq!(envelope["ok"], true, "{envelope}");
    }
    let counters = desk.provider.counters();
    assert_eq!((counters.refreshed, counters.api_refused), (2, refused), "one version is left, and it works");
}

/// The process stands still for longer than it waits for the provider, which has answered long since. When it goes on, its
/// time is over and the answer is there: the answer counts.
async fn an_answer_that_came_meanwhile_is_heard(site: &SignInSite) {
    const PAST_THE_REQUEST: Duration = Duration::from_secs(9);
    let (desk, _) = Desk::expired(site, "mock_slept").await;
    let call = desk.refresh_by_auth_1(site).await;
    site.stack.signal("auth-1", "STOP");
    desk.provider.set(|behaviour| behaviour.held = false);
    tokio::time::sleep(PAST_THE_REQUEST).await;
    site.stack.signal("auth-1", "CONT");
    let _ = call.await.unwrap();
    eventually("calls go on", Duration::from_secs(20), || desk.try_read()).await;
    let counters = desk.provider.counters();
    assert_eq!((counters.refreshed, counters.reused), (1, 0), "a used token is not sent again");
}

/// Killed when the new tokens are stored and nobody has been told: nothing is lost, and nothing is asked again.
async fn a_token_that_is_durable_is_not_lost(site: &SignInSite) {
    let (desk, id) = Desk::expired(site, "mock_durable").await;
    let path = format!("/api/v1/connections/{id}");
    let updated = async || desk.tenant.rest().get(&path).await.expect(200)["updated_at"].clone();
    let before = updated().await;
    let call = desk.refresh_by_auth_1(site).await;
    let executors = EXECUTORS.map(|name| site.stack.pid(name));
    executors.iter().for_each(|pid| signal(*pid, "STOP"));
    desk.provider.set(|behaviour| behaviour.held = false);
    eventually("the tokens are stored", Duration::from_secs(10), || async {
        (updated().await != before).then_some(())
    })
    .await;
    site.stack.signal("auth-1", "KILL");
    executors.iter().for_each(|pid| signal(*pid, "CONT"));
    let envelope = call.await.unwrap();
    assert_eq!(envelope["ok"], true, "{envelope}");
    eventually("calls go on", Duration::from_secs(20), || desk.try_read()).await;
    let counters = desk.provider.counters();
    assert_eq!((counters.refreshed, counters.reused), (1, 0));
}

/// The one window that a vendor with single-use tokens leaves: the old token is used up, and the new one was nowhere but
/// in the process that was killed.
async fn a_token_that_dies_with_its_process_is_reported_lost(site: &SignInSite) {
    let (desk, id) = Desk::expired(site, "mock_lost").await;
    let call = desk.refresh_by_auth_1(site).await;
    site.stack.signal("auth-1", "KILL");
    desk.provider.set(|behaviour| behaviour.held = false);
    let path = format!("/api/v1/connections/{id}");
    let listed = eventually("the account is known to be lost", PAST_THE_LEASE, || async {
        let _ = desk.try_read().await;
        let listed = desk.tenant.rest().get(&path).await.expect(200);
        (listed["state"] == "needs_reauth").then_some(listed)
    })
    .await;
    assert_eq!(listed["state_reason"], "refresh_lost", "{listed}");
    let _ = call.await.unwrap();
    for _ in 0..5 {
        let envelope = desk.client.execute(desk.read()).await;
        assert_eq!(envelope["error"]["code"], "ACCOUNT_EXPIRED", "{envelope}");
        let link = envelope["error"]["fix"]["url"].as_str().unwrap_or_else(|| panic!("no link: {envelope}"));
        assert!(link.contains("/connect/"), "{link}");
    }
    let counters = desk.provider.counters();
    assert_eq!((counters.refreshed, counters.reused), (1, 0), "a used token is not sent again");
    let log = desk.tenant.rest().get("/api/v1/audit?action=account.expire&limit=10").await.expect(200);
    let entries = log["entries"].as_array().unwrap_or_else(|| panic!("{log}"));
    assert_eq!(entries.len(), 1, "the loss is in the audit log, once: {log}");
    assert!(log.to_string().contains("refresh_lost") && log.to_string().contains(&id), "{log}");
}
