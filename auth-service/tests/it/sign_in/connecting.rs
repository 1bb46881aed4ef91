use std::time::Duration;

use auth_service::oauth::Next;
use plugboard_core::identity::{
    AccountChange, AccountState, ClientOwner, Connect, DeviceStatus, Directory, IdentityError, SignIn,
};
use plugboard_core::secret::Secret;

use super::{Place, service_key};
use crate::support::{fields, text};

#[tokio::test]
async fn an_account_is_usable_once_it_is_claimed() {
    let (place, service) = Place::new().await;
    let browser = Secret::new("browser-1");
    let request = SignIn { return_url: Some("https://tenant.example/done?x=1".into()), ..place.sign_in("mock") };
    let (url, answer) = place.signed_in(&service, request, &browser).await;
    assert!(url.contains("code_challenge_method=S256") && url.contains("scope=read+write"), "{url}");
    assert!(url.contains("redirect_uri=https%3A%2F%2Fplugboard.example%2Foauth%2Fcallback%2Fmock"), "{url}");
    let arrival = service.callback(&service_key("mock"), &answer, &[browser]).await.unwrap();
    assert_eq!(arrival.account_name.as_deref(), Some("octocat"));
    assert_eq!((arrival.account.label.as_str(), arrival.account.state), ("octocat", AccountState::PendingClaim));
    assert_eq!(arrival.account.public_fields["region"], "eu-1");
    let id = arrival.account.id;
    assert_eq!(text(place.resolve(&service, &id).await), "NeedsReauth");

    let Next::Return(url) = arrival.next else { panic!("it does not return") };
    let claim = url.expose().strip_prefix("https://tenant.example/done?x=1&claim=").unwrap().to_owned();
    let claim = Secret::new(claim);
    // Another organization can do nothing with it, and does not use it up.
    let stranger = service.create_organization("Stranger").await.unwrap().0.id;
    let refused = service.redeem_claim(&stranger, &claim).await;
    assert!(matches!(refused, Err(IdentityError::NotFound { what: "the claim" })));
    let claimed = service.redeem_claim(&place.organization, &claim).await.unwrap();
    assert_eq!((claimed.len(), &claimed[0].id, claimed[0].state), (1, &id, AccountState::Connected));
    assert!(service.redeem_claim(&place.organization, &claim).await.is_err(), "a claim works once");

    let fields = place.resolve(&service, &id).await.unwrap();
    assert!(fields.token.as_ref().unwrap().expose().starts_with("canary-access-"));
    assert_eq!(fields.get("region"), Some("eu-1"));
    let names: Vec<&String> = fields.secret.keys().collect();
    assert_eq!(names, ["pasted"], "the refresh token stays at home");
}

#[tokio::test]
async fn nothing_secret_is_stored_in_the_clear() {
    let (place, service) = Place::new().await;
    place.connected(&service).await;
    let request = SignIn { return_url: None, ..place.sign_in("mock") };
    service.start_sign_in(request.clone()).await.unwrap();
    service.start_device(request).await.unwrap();
    for (name, found) in place.store.dump().await {
        let text = String::from_utf8_lossy(&found.value).into_owned();
        assert!(!name.contains("canary") && !text.contains("canary"), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_second_account_gets_a_label_of_its_own() {
    let (place, service) = Place::new().await;
    assert_eq!(place.connected(&service).await.label, "octocat");
    assert_eq!(place.connected(&service).await.label, "octocat 2");
}

#[tokio::test]
async fn a_device_is_polled_no_faster_than_it_may_be() {
    let (place, service) = Place::new().await;
    let other = place.replica().await;
    place.provider.set(|behaviour| behaviour.slow_downs = 1);
    let started = service.start_device(place.sign_in("mock")).await.unwrap();
    assert_eq!((started.interval_seconds, started.user_code.starts_with("WDJB-")), (5, true));
    assert!(started.verification_uri.ends_with("/activate"));
    let polls = || place.provider.counters().device_polls;
    let look =
        async |by: &auth_service::AuthService| Connect::device(by, &place.organization, &started.id).await.unwrap();
    // Nobody asks the vendor before its interval is over, however often we are asked.
    for _ in 0..5 {
        assert_eq!(look(&service).await, DeviceStatus::Pending { interval_seconds: 5 });
    }
    assert_eq!(polls(), 0);
    place.clock.advance(Duration::from_secs(5));
    let both = futures::future::join(look(&service), look(&other)).await;
    assert_eq!(polls(), 1, "two processes ask once");
    assert!(matches!(both, (DeviceStatus::Pending { .. }, DeviceStatus::Pending { .. })));
    assert_eq!(look(&other).await, DeviceStatus::Pending { interval_seconds: 10 }, "slow_down is for good");
    place.clock.advance(Duration::from_secs(9));
    look(&service).await;
    assert_eq!(polls(), 1);
    place.provider.decide(&started.user_code, true);
    place.clock.advance(Duration::from_secs(1));
    let DeviceStatus::Connected(account) = look(&service).await else { panic!("it is not connected") };
    assert_eq!((account.label.as_str(), account.state), ("octocat", AccountState::Connected));
    assert_eq!(look(&other).await, DeviceStatus::Connected(account), "and stays so, without another poll");
    assert_eq!(polls(), 2);
    let stranger = service.create_organization("Stranger").await.unwrap().0.id;
    assert!(Connect::device(service.as_ref(), &stranger, &started.id).await.is_err());
}

#[tokio::test]
async fn a_device_sign_in_ends_by_a_no_or_by_time() {
    let (place, service) = Place::new().await;
    let start = async || service.start_device(place.sign_in("mock")).await.unwrap();
    let look = async |id: &str| Connect::device(service.as_ref(), &place.organization, id).await.unwrap();
    let refused = start().await;
    place.provider.decide(&refused.user_code, false);
    place.clock.advance(Duration::from_secs(5));
    assert_eq!(look(&refused.id).await, DeviceStatus::Denied);
    let late = start().await;
    place.clock.advance(Duration::from_secs(601));
    assert_eq!(look(&late.id).await, DeviceStatus::Expired);
    let down = start().await;
    place.provider.set(|behaviour| behaviour.down = Some(503));
    place.clock.advance(Duration::from_secs(5));
    assert_eq!(look(&down.id).await, DeviceStatus::Pending { interval_seconds: 10 }, "an outage is waited out");
}

#[tokio::test]
async fn an_account_is_connected_again_by_its_own_user_only() {
    let (place, service) = Place::new().await;
    let account = place.connected(&service).await;
    let browser = Secret::new("browser-2");
    let again = || SignIn { account: Some(account.id.clone()), ..place.sign_in("mock") };
    place.provider.set(|behaviour| behaviour.login = "stranger".into());
    let (_, answer) = place.signed_in(&service, again(), &browser).await;
    let refusal = service.callback(&service_key("mock"), &answer, std::slice::from_ref(&browser)).await.unwrap_err();
    assert!(refusal.to_string().contains("\"stranger\""), "{refusal}");
    assert_eq!(place.state(&service, &account.id).await.0, "connected");

    place.provider.set(|behaviour| behaviour.login = "octocat".into());
    let (_, answer) = place.signed_in(&service, again(), &browser).await;
    let arrival = service.callback(&service_key("mock"), &answer, &[browser]).await.unwrap();
    assert_eq!((&arrival.account.id, &arrival.account.label), (&account.id, &account.label));
    let other = SignIn { service: service_key("other"), ..again() };
    assert_eq!(
        text(service.start_sign_in(other).await),
        r#"Invalid { field: "service", message: "the account is one of mock" }"#
    );
}

#[tokio::test]
async fn without_a_client_it_is_said_what_to_do() {
    let (place, service) = Place::new().await;
    let owner = ClientOwner::Organization(place.organization.clone());
    service.remove_client(&owner, &service_key("mock")).await.unwrap();
    let said = text(service.start_sign_in(place.sign_in("mock")).await);
    assert!(said.contains("https://plugboard.example/oauth/callback/mock"), "{said}");
    // The platform's serves whoever has none.
    let mut client = place.client("mock");
    client.owner = ClientOwner::Platform;
    let set = service.set_client(client).await.unwrap();
    assert_eq!((set.has_secret, set.redirect_uri.as_str()), (true, "https://plugboard.example/oauth/callback/mock"));
    place.connected(&service).await;
    assert_eq!(service.clients(&owner).await.unwrap().len(), 1, "the other service's is still there");
}

#[tokio::test]
async fn typed_credentials_replace_a_sign_in_whole() {
    let (place, service) = Place::new().await;
    let account = place.connected(&service).await;
    let change = AccountChange {
        organization: place.organization.clone(),
        account: account.id.clone(),
        label: Some("Renamed".into()),
        credentials: fields(&[]),
    };
    let renamed = service.update_account(change.clone()).await.unwrap();
    assert_eq!(renamed.label, "Renamed");
    place.token(&service, &account.id).await;
    let typed = AccountChange { credentials: fields(&[("pasted", "canary-typed"), ("region", "us")]), ..change };
    service.update_account(typed).await.unwrap();
    let fields = place.resolve(&service, &account.id).await.unwrap();
    assert!(fields.token.is_none());
    assert_eq!((fields.get("pasted"), fields.get("region")), (Some("canary-typed"), Some("us")));
}
