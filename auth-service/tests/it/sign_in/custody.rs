//! What custody does with accounts that a person has signed in to.

use std::time::Duration;

use plugboard_core::identity::{Connect, Custody, Revoke, Revoked, VendorRevocation};

use super::{Place, service_key};
use crate::support::{eventually, text};

fn revoke(place: &Place, what: Revoked) -> Revoke {
    Revoke { organization: place.organization.clone(), what, reason: "drill".into() }
}

#[tokio::test]
async fn a_revoked_sign_in_is_ended_at_the_vendor() {
    let (place, service) = Place::new().await;
    tokio::spawn(service.clone().run_changes(place.stop.clone()));
    let account = place.connected(&service).await.id;
    place.token(&service, &account).await;
    assert_eq!(place.provider.live_tokens(), 1);
    // Down at first: it is told later.
    place.provider.set(|behaviour| behaviour.down = Some(503));
    service.revoke(revoke(&place, Revoked::Account(account.clone()))).await.unwrap();
    assert_eq!(text(place.resolve(&service, &account).await), "Revoked");
    assert_eq!(place.state(&service, &account).await, ("revoked", "kill_switch".to_owned()));
    let report = async || service.revocations(&place.organization).await.unwrap().accounts[0].clone();
    eventually("the vendor was asked", async || report().await.detail.is_some()).await;
    assert_eq!((report().await.vendor, place.provider.live_tokens()), (VendorRevocation::Pending, 1));
    place.provider.set(|behaviour| behaviour.down = None);
    place.clock.advance(Duration::from_secs(60));
    eventually("the vendor has been told", async || report().await.vendor == VendorRevocation::Revoked).await;
    assert_eq!((place.provider.live_tokens(), place.provider.counters().revoked), (0, 1));
}

/// A revocation that comes while the vendor is asked for new tokens: those are ended as well.
#[tokio::test]
async fn a_revocation_overtakes_a_refresh() {
    let (place, service) = Place::new().await;
    tokio::spawn(service.clone().run_changes(place.stop.clone()));
    let account = place.connected(&service).await.id;
    place.provider.expire_tokens();
    place.provider.set(|behaviour| behaviour.delay = Duration::from_millis(500));
    place.clock.advance(Duration::from_secs(60 * 60));
    let (resolved, ()) = tokio::join!(place.resolve(&service, &account), async {
        // The provider has made its new tokens; its answer is on the way.
        eventually("the refresh is under way", async || place.provider.counters().refreshed == 1).await;
        service.revoke(revoke(&place, Revoked::Account(account.clone()))).await.unwrap();
    });
    assert_eq!(text(resolved), "Revoked");
    eventually("no token is left alive", async || place.provider.live_tokens() == 0).await;
    assert_eq!(text(place.resolve(&service, &account).await), "Revoked");
}

/// Clients, sign-ins under way and tokens: all of it moves to another master key, and goes on.
#[tokio::test]
async fn a_sign_in_under_way_outlives_a_rotation() {
    let (place, service) = Place::new().await;
    tokio::spawn(service.clone().run_changes(place.stop.clone()));
    let account = place.connected(&service).await.id;
    let browser = plugboard_core::secret::Secret::new("ours");
    let (_, answer) = place.signed_in(&service, place.sign_in("mock"), &browser).await;
    let waiting = service.start_sign_in(place.sign_in("other")).await.unwrap();
    service.rotate_master_key(None).await.unwrap();
    eventually("everything has moved", async || {
        let status = service.master_keys().await.unwrap();
        let left = status.keys.iter().find(|key| key.id == "1").unwrap();
        let left: u64 = left.records.iter().filter(|(kind, _)| *kind != "API keys").map(|(_, count)| count).sum();
        left == 0 && status.rotation.is_some_and(|rotation| rotation.done && rotation.unreadable == 0)
    })
    .await;
    service.callback(&service_key("mock"), &answer, &[browser]).await.unwrap();
    let link = waiting.url.rsplit('/').next().unwrap().to_owned();
    service
        .follow(&plugboard_core::secret::Secret::new(link), &plugboard_core::secret::Secret::new("b"))
        .await
        .unwrap();
    place.token(&service, &account).await;
    place.clock.advance(Duration::from_secs(60 * 60));
    place.token(&service, &account).await;
    assert_eq!(place.provider.counters().refreshed, 1, "refreshed with a token and a client that were sealed anew");
}
