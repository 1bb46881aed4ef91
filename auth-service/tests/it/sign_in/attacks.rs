use std::time::Duration;

use auth_service::oauth::Refusal;
use plugboard_core::identity::{Connect, Directory, SignIn};
use plugboard_core::secret::Secret;

use super::{Answer, Place, service_key};

fn with(answer: &Answer, name: &str, value: Option<&str>) -> Answer {
    let mut answer: Answer = answer.iter().filter(|(one, _)| one != name).cloned().collect();
    answer.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    answer
}

async fn accounts(place: &Place, service: &auth_service::AuthService) -> usize {
    service.accounts(&place.organization).await.unwrap().len()
}

#[tokio::test]
async fn another_browser_cannot_finish() {
    let (place, service) = Place::new().await;
    let (ours, theirs) = (Secret::new("ours"), Secret::new("theirs"));
    let (_, answer) = place.signed_in(&service, place.sign_in("mock"), &ours).await;
    for cookies in [vec![], vec![theirs]] {
        let refused = service.callback(&service_key("mock"), &answer, &cookies).await;
        assert!(matches!(refused, Err(Refusal::OtherBrowser | Refusal::Unknown)), "{refused:?}");
    }
    // Nor can the right one afterwards: the state has been seen by others.
    let refused = service.callback(&service_key("mock"), &answer, &[ours]).await;
    assert!(matches!(refused, Err(Refusal::Unknown)));
    assert_eq!((place.provider.counters().redeemed, accounts(&place, &service).await), (0, 0));
}

#[tokio::test]
async fn a_state_works_once_and_not_for_long() {
    let (place, service) = Place::new().await;
    let browser = Secret::new("ours");
    let cookies = [browser.clone()];
    let (_, answer) = place.signed_in(&service, place.sign_in("mock"), &browser).await;
    let both = futures::future::join_all(
        (0..4).map(|_| async { service.callback(&service_key("mock"), &answer, &cookies).await.is_ok() }),
    );
    assert_eq!(both.await.into_iter().filter(|ok| *ok).count(), 1);
    assert_eq!((place.provider.counters().redeemed, accounts(&place, &service).await), (1, 1));

    let (_, answer) = place.signed_in(&service, place.sign_in("mock"), &browser).await;
    place.clock.advance(Duration::from_secs(601));
    assert!(matches!(service.callback(&service_key("mock"), &answer, &cookies).await, Err(Refusal::Unknown)));
    for state in [None, Some(""), Some("guessed")] {
        let made_up = with(&answer, "state", state);
        assert!(matches!(service.callback(&service_key("mock"), &made_up, &cookies).await, Err(Refusal::Unknown)));
    }
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_not_redeemed() {
    let (place, service) = Place::new().await;
    let browser = Secret::new("ours");
    let cookies = [browser.clone()];
    for issuer in [None, Some("https://evil.example")] {
        let (_, answer) = place.signed_in(&service, place.sign_in("mock"), &browser).await;
        let refused = service.callback(&service_key("mock"), &with(&answer, "iss", issuer), &cookies).await;
        assert!(matches!(refused, Err(Refusal::OtherIssuer)), "{refused:?}");
    }
    // Two of them are one too many.
    let (_, mut answer) = place.signed_in(&service, place.sign_in("mock"), &browser).await;
    answer.push(("iss".into(), "https://evil.example".into()));
    assert!(service.callback(&service_key("mock"), &answer, &cookies).await.is_err());
    assert_eq!(place.provider.counters().redeemed, 0);
}

/// Mix-up and code forwarding: an answer for one connector brought to another's callback.
#[tokio::test]
async fn an_answer_for_another_service_is_not_redeemed() {
    let (place, service) = Place::new().await;
    let browser = Secret::new("ours");
    let (_, answer) = place.signed_in(&service, place.sign_in("mock"), &browser).await;
    let refused = service.callback(&service_key("other"), &answer, std::slice::from_ref(&browser)).await;
    assert!(matches!(refused, Err(Refusal::OtherService)), "{refused:?}");
    // A code of somebody else's sign-in does not fit this one's verifier.
    let (_, stolen) = place.signed_in(&service, place.sign_in("mock"), &Secret::new("victim")).await;
    let (_, own) = place.signed_in(&service, place.sign_in("mock"), &browser).await;
    let code = stolen.iter().find(|(name, _)| name == "code").map(|(_, value)| value.as_str());
    let refused = service.callback(&service_key("mock"), &with(&own, "code", code), &[browser]).await;
    assert!(matches!(refused, Err(Refusal::NotConnected { .. })), "{refused:?}");
    assert_eq!(accounts(&place, &service).await, 0);
}

#[tokio::test]
async fn a_link_is_followed_once() {
    let (place, service) = Place::new().await;
    let started = service.start_sign_in(place.sign_in("mock")).await.unwrap();
    let link = Secret::new(started.url.rsplit('/').next().unwrap());
    // Looking, as a preview does, is no following.
    assert_eq!(service.departure(&link).await.unwrap().organization, "Acme");
    let browser = Secret::new("b");
    let both = futures::future::join(service.follow(&link, &browser), service.follow(&link, &browser)).await;
    assert_eq!([both.0.is_ok(), both.1.is_ok()].into_iter().filter(|ok| *ok).count(), 1);
    assert!(service.departure(&link).await.is_err());
    assert!(service.follow(&Secret::new("guessed"), &browser).await.is_err());
}

#[tokio::test]
async fn a_no_is_a_no() {
    let (place, service) = Place::new().await;
    place.provider.set(|behaviour| behaviour.denies = true);
    let browser = Secret::new("ours");
    let request = SignIn { return_url: Some("https://tenant.example/".into()), ..place.sign_in("mock") };
    let (_, answer) = place.signed_in(&service, request, &browser).await;
    let refused = service.callback(&service_key("mock"), &answer, &[browser]).await;
    let Err(Refusal::Denied { return_url, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(return_url.as_deref(), Some("https://tenant.example/?error=access_denied"));
}

#[tokio::test]
async fn a_browser_is_sent_to_nobody_but_the_tenant() {
    let (place, service) = Place::new().await;
    for url in [
        "javascript:alert(1)",
        "http://tenant.example/",
        "//tenant.example",
        "https://u:p@a.example",
        "https://a.example/#x",
    ] {
        let request = SignIn { return_url: Some(url.into()), ..place.sign_in("mock") };
        assert!(service.start_sign_in(request).await.is_err(), "{url}");
    }
}
