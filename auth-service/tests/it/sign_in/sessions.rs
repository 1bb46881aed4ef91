use std::collections::BTreeMap;
use std::time::Duration;

use auth_service::AuthService;
use auth_service::oauth::Next;
use auth_service::sessions::{ConnectVisit, Done, Wish};
use plugboard_core::identity::{AccountState, Connect, DeviceStatus, Directory, IdentityError, NewConnectSession};
use plugboard_core::ids::{KeyId, Subject};
use plugboard_core::secret::Secret;

use super::{Place, service_key};
use crate::support::{fields, text};

fn wanted(place: &Place) -> NewConnectSession {
    NewConnectSession {
        organization: place.organization.clone(),
        key: KeyId::generate(),
        subject: Some(Subject("anna".into())),
        services: vec![service_key("mock")],
        return_url: Some("https://tenant.example/done".into()),
        by_call: false,
        mend_only: false,
    }
}

async fn open(place: &Place, service: &AuthService) -> (Secret, ConnectVisit) {
    let issued = service.create_session(wanted(place)).await.unwrap();
    assert_eq!(issued.url.expose(), format!("https://plugboard.example/connect/{}", issued.token.expose()));
    service.open_session(&issued.token).await.unwrap()
}

fn wish(key: &str, typed: &[(&str, &str)]) -> Wish {
    Wish { service: service_key(key), label: None, fields: fields(typed), account: None }
}

#[tokio::test]
async fn everything_of_a_session_is_claimed_at_once() {
    let (place, service) = Place::new().await;
    let (cookie, visit) = open(&place, &service).await;
    assert_eq!((visit.organization_name(), visit.subject().unwrap().0.as_str()), ("Acme", "anna"));
    let offered = service.connectable(&visit).await.unwrap();
    assert_eq!(offered.len(), 1);
    assert!(offered[0].can_sign_in && offered[0].accounts.is_empty());

    let typed = service.submit_form(&visit, wish("mock", &[("pasted", "canary-1"), ("region", "eu")])).await.unwrap();
    assert_eq!((typed.state, typed.owner.clone().unwrap().0.as_str()), (AccountState::PendingClaim, "anna"));
    let url = service.start_popup(&visit, wish("mock", &[])).await.unwrap();
    let answer = place.at_vendor(&url).await;
    let arrival = service.callback(&service_key("mock"), &answer, std::slice::from_ref(&cookie)).await.unwrap();
    assert!(matches!(arrival.next, Next::Session));
    let code = service.start_code(&visit, wish("mock", &[])).await.unwrap();
    place.provider.decide(&code.user_code, true);
    place.clock.advance(Duration::from_secs(5));
    let DeviceStatus::Connected(device) = service.poll_code(&visit, &code.id).await.unwrap() else {
        panic!("not connected")
    };
    assert_eq!(device.state, AccountState::PendingClaim);
    assert!(Connect::device(service.as_ref(), &place.organization, &code.id).await.is_err(), "the page's own");

    let renamed = service.relabel(&visit, &device.id, "Mine".into()).await.unwrap();
    assert_eq!((renamed.label.as_str(), renamed.state), ("Mine", AccountState::PendingClaim));
    assert_eq!(service.visit_accounts(&visit).await.unwrap().len(), 3);
    let visit = service.visit(&cookie).await.unwrap();
    let Done::Return(url) = service.finish(&visit).await.unwrap() else { panic!("it does not return") };
    let claim = Secret::new(url.expose().strip_prefix("https://tenant.example/done?claim=").unwrap());
    assert!(service.visit(&cookie).await.is_err(), "the session has ended");
    assert_eq!(text(place.resolve(&service, &typed.id).await), "NeedsReauth");
    let claimed = service.redeem_claim(&place.organization, &claim).await.unwrap();
    assert_eq!(claimed.len(), 3);
    assert!(claimed.iter().all(|account| account.state == AccountState::Connected));
}

#[tokio::test]
async fn a_link_opens_once_and_not_for_long() {
    let (place, service) = Place::new().await;
    let issued = service.create_session(wanted(&place)).await.unwrap();
    let both = futures::future::join(service.open_session(&issued.token), service.open_session(&issued.token)).await;
    assert_eq!([both.0.is_ok(), both.1.is_ok()].into_iter().filter(|ok| *ok).count(), 1);
    assert!(service.open_session(&issued.token).await.is_err());
    let late = service.create_session(wanted(&place)).await.unwrap();
    place.clock.advance(Duration::from_secs(15 * 60));
    assert!(service.open_session(&late.token).await.is_err());
    let (cookie, _) = open(&place, &service).await;
    place.clock.advance(Duration::from_secs(60 * 60));
    assert!(service.visit(&cookie).await.is_err());
    assert!(service.visit(&Secret::new("guessed")).await.is_err());
}

#[tokio::test]
async fn a_session_is_for_its_services_and_its_user() {
    let (place, service) = Place::new().await;
    let shared = place.connected(&service).await;
    let (_, visit) = open(&place, &service).await;
    let said = r#"Invalid { field: "service", message: "is not one that this link is for" }"#;
    assert_eq!(text(service.submit_form(&visit, wish("other", &[("pasted", "x")])).await), said);
    assert_eq!(text(service.start_popup(&visit, wish("other", &[])).await), said);
    // The organization's own accounts are not the user's.
    assert!(service.visit_accounts(&visit).await.unwrap().is_empty());
    assert!(service.relabel(&visit, &shared.id, "Mine".into()).await.is_err());
    assert!(service.disconnect(&visit, &shared.id).await.is_err());
    let theirs = Wish { account: Some(shared.id.clone()), ..wish("mock", &[("pasted", "planted"), ("region", "x")]) };
    assert!(service.submit_form(&visit, theirs).await.is_err());
    let mut unknown = wanted(&place);
    unknown.services = vec![service_key("nothing")];
    assert!(service.create_session(unknown).await.is_err());
}

/// The claim is with whoever made the call; the page has none to show.
#[tokio::test]
async fn the_session_of_a_call_is_claimed_by_the_call() {
    let (place, service) = Place::new().await;
    let by_call = NewConnectSession { by_call: true, return_url: None, ..wanted(&place) };
    let issued = service.create_session(by_call).await.unwrap();
    let claim = issued.claim.unwrap();
    let (_, visit) = service.open_session(&issued.token).await.unwrap();
    assert!(!visit.brings_claim());
    // Nothing is connected yet: the claim waits, and so does whoever holds it.
    for _ in 0..2 {
        assert!(service.redeem_claim(&place.organization, &claim).await.unwrap().is_empty());
    }
    let account = service.submit_form(&visit, wish("mock", &[("pasted", "x"), ("region", "eu")])).await.unwrap();
    assert_eq!(account.state, AccountState::PendingClaim);
    assert!(matches!(service.finish(&visit).await.unwrap(), Done::Nothing));
    let claimed = service.redeem_claim(&place.organization, &claim).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].state), (1, AccountState::Connected));
    assert!(service.redeem_claim(&place.organization, &claim).await.is_err(), "once");
    assert!(service.create_session(wanted(&place)).await.unwrap().claim.is_none());
}

#[tokio::test]
async fn a_link_for_mending_leaves_what_works_alone() {
    let (place, service) = Place::new().await;
    let shared = place.connected(&service).await;
    let mending = NewConnectSession { subject: None, mend_only: true, ..wanted(&place) };
    let issued = service.create_session(mending).await.unwrap();
    let (_, visit) = service.open_session(&issued.token).await.unwrap();
    assert!(service.visit_accounts(&visit).await.unwrap().is_empty(), "it works, so there is nothing to mend");
    let own = service.submit_form(&visit, wish("mock", &[("pasted", "x"), ("region", "eu")])).await.unwrap();
    assert_eq!(service.visit_accounts(&visit).await.unwrap().len(), 1);
    for account in [&shared.id, &own.id] {
        assert!(matches!(service.relabel(&visit, account, "Mine".into()).await, Err(IdentityError::Conflict { .. })));
        assert!(matches!(service.disconnect(&visit, account).await, Err(IdentityError::Conflict { .. })));
    }
}

/// New credentials of an account that works are planted as easily as a new account.
#[tokio::test]
async fn a_changed_account_is_claimed_like_a_new_one() {
    let (place, service) = Place::new().await;
    let (_, visit) = open(&place, &service).await;
    let typed = [("pasted", "canary-1"), ("region", "eu")];
    let account = service.submit_form(&visit, wish("mock", &typed)).await.unwrap();
    let Done::Return(url) = service.finish(&visit).await.unwrap() else { panic!("it does not return") };
    let claim = Secret::new(url.expose().rsplit('=').next().unwrap());
    service.redeem_claim(&place.organization, &claim).await.unwrap();
    place.resolve(&service, &account.id).await.unwrap();

    let (_, visit) = open(&place, &service).await;
    let changed = Wish { account: Some(account.id.clone()), ..wish("mock", &[("pasted", "planted")]) };
    assert_eq!(service.submit_form(&visit, changed).await.unwrap().state, AccountState::PendingClaim);
    assert_eq!(text(place.resolve(&service, &account.id).await), "NeedsReauth");
    assert!(service.accounts(&place.organization).await.unwrap().len() == 1);
}

#[tokio::test]
async fn a_popup_of_one_session_is_not_finished_in_another() {
    let (place, service) = Place::new().await;
    let (_, ours) = open(&place, &service).await;
    let (stranger, _) = open(&place, &service).await;
    let request = Wish { fields: BTreeMap::new(), ..wish("mock", &[]) };
    let url = service.start_popup(&ours, request).await.unwrap();
    let answer = place.at_vendor(&url).await;
    assert!(service.callback(&service_key("mock"), &answer, &[stranger]).await.is_err());
    assert_eq!(place.provider.counters().redeemed, 0);
}
