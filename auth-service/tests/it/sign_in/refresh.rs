use std::sync::Arc;
use std::time::Duration;

use auth_service::AuthService;
use plugboard_core::identity::{ClientOwner, Connect, IdentityError, Vault};
use plugboard_core::store::{Expect, Store, Write};
use serde_json::json;

use super::{Place, service_key};
use crate::support::text;

const HOUR: Duration = Duration::from_secs(3601);

fn lease_of(place: &Place, account: &plugboard_core::ids::AccountId) -> String {
    format!("refresh/{}/{account}", place.organization)
}

/// A lease as a process leaves it that died in the middle.
async fn leave_lease(place: &Place, account: &plugboard_core::ids::AccountId, sent: bool) {
    use plugboard_core::clock::Clock;
    let until = place.clock.now().0 - 1;
    let record = json!({"v": 1, "record": {"owner": "dead", "generation": 1, "until": until, "sent": sent}});
    let write = Write::put(lease_of(place, account), record.to_string(), Expect::Absent);
    place.store.inner.commit(vec![write], None).await.unwrap();
}

#[tokio::test]
async fn one_refresh_serves_everybody_everywhere() {
    let (place, first) = Place::new().await;
    let second = place.replica().await;
    let account = place.connected(&first).await.id;
    let old = place.token(&first, &account).await;
    place.provider.expire_tokens();
    place.provider.set(|behaviour| behaviour.delay = Duration::from_millis(100));
    place.clock.advance(HOUR);
    let services: [&Arc<AuthService>; 2] = [&first, &second];
    let calls = (0..200).map(|at| place.token(services[at % 2], &account));
    let tokens = futures::future::join_all(calls).await;
    assert!(tokens.iter().all(|token| *token == tokens[0] && *token != old));
    let counters = place.provider.counters();
    assert_eq!((counters.refreshed, counters.reused, counters.refused), (1, 0, 0));
    assert_eq!(place.state(&first, &account).await, ("connected", String::new()));
    assert!(place.store.inner.get(&lease_of(&place, &account)).await.unwrap().is_none(), "the lease is given back");
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_and_nobody_waits() {
    let (place, service) = Place::new().await;
    let account = place.connected(&service).await.id;
    let old = place.token(&service, &account).await;
    place.clock.advance(Duration::from_secs(2500));
    assert_eq!(place.token(&service, &account).await, old);
    assert_eq!(place.provider.counters().refreshed, 0);
    place.clock.advance(Duration::from_secs(750));
    place.provider.set(|behaviour| behaviour.delay = Duration::from_millis(200));
    assert_eq!(place.token(&service, &account).await, old, "the old one still works");
    crate::support::eventually("the token is renewed", async || place.token(&service, &account).await != old).await;
    assert_eq!(place.provider.counters().refreshed, 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let (place, service) = Place::new().await;
    let account = place.connected(&service).await.id;
    let old = place.token(&service, &account).await;
    let refused = place.grant(&account, true);
    // Just obtained: whoever complains has an older one in mind.
    let fields = service.resolve(&refused).await.unwrap();
    assert_eq!(fields.token.as_ref().unwrap().expose(), old);
    place.clock.advance(Duration::from_secs(10));
    let grants: Vec<_> = (0..50).map(|_| place.grant(&account, true)).collect();
    let all = futures::future::join_all(grants.iter().map(|grant| service.resolve(grant))).await;
    assert!(all.iter().all(|fields| fields.as_ref().unwrap().token.as_ref().unwrap().expose() != old));
    assert_eq!(place.provider.counters().refreshed, 1);
}

#[tokio::test]
async fn whoever_died_before_it_asked_is_followed() {
    let (place, service) = Place::new().await;
    let account = place.connected(&service).await.id;
    leave_lease(&place, &account, false).await;
    place.clock.advance(HOUR);
    place.token(&service, &account).await;
    let counters = place.provider.counters();
    assert_eq!((counters.refreshed, counters.reused), (1, 0));
}

#[tokio::test]
async fn whoever_died_with_the_answer_takes_the_account_with_it() {
    let (place, service) = Place::new().await;
    let account = place.connected(&service).await.id;
    leave_lease(&place, &account, true).await;
    place.clock.advance(HOUR);
    assert_eq!(text(place.resolve(&service, &account).await), "NeedsReauth");
    assert_eq!(place.state(&service, &account).await, ("needs_reauth", "refresh_lost".to_owned()));
    let counters = place.provider.counters();
    assert_eq!((counters.refreshed, counters.refused, counters.reused), (0, 0, 0), "the vendor was not asked");
    // A person mends it.
    assert_eq!(place.connected(&service).await.state.as_str(), "connected");
}

/// Stopped in the middle for longer than its lease lives, then continued.
#[tokio::test]
async fn an_answer_that_comes_late_still_wins() {
    let (place, first) = Place::new().await;
    let second = place.replica().await;
    let account = place.connected(&first).await.id;
    place.clock.advance(HOUR);
    place.provider.set(|behaviour| behaviour.delay = Duration::from_millis(700));
    let slow = {
        let (first, grant) = (first.clone(), place.grant(&account, false));
        tokio::spawn(async move { first.resolve(&grant).await })
    };
    crate::support::eventually("the vendor is asked", async || place.provider.counters().refreshed == 1).await;
    place.clock.advance(Duration::from_secs(25));
    assert_eq!(text(place.resolve(&second, &account).await), "NeedsReauth");
    assert_eq!(place.state(&second, &account).await.1, "refresh_lost");
    let token = slow.await.unwrap().unwrap().token.clone().unwrap();
    assert_eq!(place.state(&second, &account).await, ("connected", String::new()));
    assert_eq!(place.token(&second, &account).await, token.expose());
    let counters = place.provider.counters();
    assert_eq!((counters.refreshed, counters.reused), (1, 0));
}

#[tokio::test]
async fn a_vendors_no_ends_the_account_and_an_outage_does_not() {
    let (place, service) = Place::new().await;
    let account = place.connected(&service).await.id;
    place.clock.advance(HOUR);
    place.provider.set(|behaviour| behaviour.down = Some(503));
    assert_eq!(text(place.resolve(&service, &account).await), r#"VendorDown { message: "HTTP 503" }"#);
    assert_eq!(place.state(&service, &account).await, ("vendor_down", "HTTP 503".to_owned()));
    // Left alone for a while, then tried again.
    place.provider.set(|behaviour| behaviour.down = None);
    assert!(matches!(place.resolve(&service, &account).await, Err(IdentityError::VendorDown { .. })));
    place.clock.advance(Duration::from_secs(6));
    place.token(&service, &account).await;
    assert_eq!(place.state(&service, &account).await, ("connected", String::new()));

    let owner = ClientOwner::Organization(place.organization.clone());
    let mut client = place.client("mock");
    client.client_id = "another".into();
    service.set_client(client).await.unwrap();
    place.clock.advance(HOUR);
    assert_eq!(text(place.resolve(&service, &account).await), "NeedsReauth");
    assert_eq!(place.state(&service, &account).await, ("needs_reauth", "client_changed".to_owned()));
    service.remove_client(&owner, &service_key("mock")).await.unwrap();
}

#[tokio::test]
async fn a_revoked_grant_asks_for_a_person() {
    let (place, service) = Place::new().await;
    let account = place.connected(&service).await.id;
    place.provider.set(|behaviour| behaviour.rotates = false);
    place.provider.forget_refresh_tokens();
    place.clock.advance(HOUR);
    assert_eq!(text(place.resolve(&service, &account).await), "NeedsReauth");
    assert_eq!(place.state(&service, &account).await, ("needs_reauth", "invalid_grant".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_renewed_nears_its_end_in_the_open() {
    let (place, service) = Place::new().await;
    place.provider.set(|behaviour| behaviour.refreshable = false);
    let account = place.connected(&service).await.id;
    place.clock.advance(Duration::from_secs(3250));
    assert_eq!(place.state(&service, &account).await, ("expiring", String::new()));
    place.token(&service, &account).await;
    place.clock.advance(Duration::from_secs(400));
    assert_eq!(place.state(&service, &account).await, ("needs_reauth", "token_expired".to_owned()));
    assert_eq!(text(place.resolve(&service, &account).await), "NeedsReauth");
}

#[tokio::test]
async fn new_tokens_outlive_a_store_that_is_away() {
    let (place, service) = Place::new().await;
    let account = place.connected(&service).await.id;
    place.clock.advance(HOUR);
    place.provider.set(|behaviour| behaviour.delay = Duration::from_millis(300));
    let waiting = {
        let (service, grant) = (service.clone(), place.grant(&account, false));
        tokio::spawn(async move { service.resolve(&grant).await })
    };
    crate::support::eventually("the vendor is asked", async || place.provider.counters().refreshed == 1).await;
    place.store.set_down(true);
    tokio::time::sleep(Duration::from_millis(800)).await;
    place.store.set_down(false);
    waiting.await.unwrap().unwrap();
    assert_eq!((place.provider.counters().refreshed, place.provider.counters().reused), (1, 0));
}
