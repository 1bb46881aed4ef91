use std::time::Duration;

use plugboard_core::identity::{AccountChange, Grant, IdentityError};
use plugboard_core::ids::{AccountId, OrganizationId};

use crate::support::{CDEK, Ports, fields, on_both, text};

on_both!(
    one_token_serves_all_calls,
    a_token_ends_at_four_fifths_of_its_life,
    a_refused_token_is_replaced_once_for_all,
    changed_credentials_need_a_new_token,
    a_refusal_is_the_vendors,
    an_outage_is_told_apart_and_passes,
    the_client_may_show_itself_in_a_header,
    a_slow_vendor_does_not_outlive_the_call,
);

async fn token(ports: &Ports, grant: &Grant) -> Result<String, IdentityError> {
    ports.vault.resolve(grant).await.map(|fields| fields.token.as_ref().unwrap().expose().to_owned())
}

async fn connected(ports: &Ports, service: &str) -> (OrganizationId, AccountId) {
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, service, &CDEK).await.id;
    (organization, account)
}

async fn one_token_serves_all_calls(ports: Ports) {
    let (organization, account) = connected(&ports, "cdek").await;
    ports.world.vendor.script.lock().delay = Duration::from_millis(50);
    let grants: Vec<Grant> = (0..20).map(|_| ports.world.grant(&organization, "cdek", &account)).collect();
    let tokens = futures::future::join_all(grants.iter().map(|grant| token(&ports, grant))).await;
    assert!(tokens.iter().all(|token| token.as_deref().is_ok_and(|token| token == "token-1")));
    assert_eq!(ports.world.vendor.calls(), 1);
    let request = ports.world.vendor.requests.lock()[0].to_lowercase();
    assert!(request.starts_with("post /oauth/token http/1.1"));
    assert!(request.contains("x-forwarded-host: auth.vendor.example"));
    assert!(request.ends_with("grant_type=client_credentials&client_id=me&client_secret=canary-cdek"));
}

async fn a_token_ends_at_four_fifths_of_its_life(ports: Ports) {
    let (organization, account) = connected(&ports, "cdek").await;
    let now = async || token(&ports, &ports.world.grant(&organization, "cdek", &account)).await.unwrap();
    assert_eq!(now().await, "token-1");
    ports.world.clock.advance(Duration::from_secs(799));
    assert_eq!(now().await, "token-1");
    ports.world.clock.advance(Duration::from_secs(1));
    assert_eq!(now().await, "token-2");
}

async fn a_refused_token_is_replaced_once_for_all(ports: Ports) {
    let (organization, account) = connected(&ports, "cdek").await;
    let grant = ports.world.grant(&organization, "cdek", &account);
    let refresh = Grant { refresh: true, ..grant.clone() };
    assert_eq!(token(&ports, &grant).await.unwrap(), "token-1");
    // Fifty jobs learn at once that the token is no good.
    let tokens = futures::future::join_all((0..50).map(|_| token(&ports, &refresh))).await;
    assert!(tokens.iter().all(|token| token.as_deref().is_ok_and(|token| token == "token-2")));
    assert_eq!(ports.world.vendor.calls(), 2);
    ports.world.clock.advance(Duration::from_secs(5));
    assert_eq!(token(&ports, &refresh).await.unwrap(), "token-3");
    assert_eq!(token(&ports, &grant).await.unwrap(), "token-3");
}

async fn changed_credentials_need_a_new_token(ports: Ports) {
    let (organization, account) = connected(&ports, "cdek").await;
    ports.world.vendor.answer(401, r#"{"error":"invalid_client"}"#);
    let grant = ports.world.grant(&organization, "cdek", &account);
    assert!(matches!(token(&ports, &grant).await, Err(IdentityError::VendorRefused { .. })));
    ports.world.vendor.answer(200, r#"{"access_token":"token-{n}"}"#);
    // The vendor is left alone for a while, unless there is something new to show.
    assert!(matches!(token(&ports, &grant).await, Err(IdentityError::VendorRefused { .. })));
    assert_eq!(ports.world.vendor.calls(), 1);
    let change = AccountChange {
        organization: organization.clone(),
        account: account.clone(),
        label: None,
        credentials: fields(&[("client_secret", "right")]),
    };
    ports.directory.update_account(change).await.unwrap();
    assert_eq!(token(&ports, &grant).await.unwrap(), "token-2");
    assert!(ports.world.vendor.requests.lock()[1].ends_with("client_secret=right"));
}

async fn a_refusal_is_the_vendors(ports: Ports) {
    let (organization, account) = connected(&ports, "cdek").await;
    ports.world.vendor.answer(400, r#"{"error":"invalid_client","error_description":"canary-cdek is wrong"}"#);
    let answer = text(token(&ports, &ports.world.grant(&organization, "cdek", &account)).await);
    assert_eq!(answer, r#"VendorRefused { message: "HTTP 400, invalid_client" }"#);
    ports.world.clock.advance(Duration::from_secs(5));
    ports.world.vendor.answer(200, r#"{"access_token":"token-{n}"}"#);
    assert_eq!(token(&ports, &ports.world.grant(&organization, "cdek", &account)).await.unwrap(), "token-2");
}

async fn an_outage_is_told_apart_and_passes(ports: Ports) {
    let (organization, account) = connected(&ports, "cdek").await;
    ports.world.vendor.answer(503, "canary-cdek");
    let grant = ports.world.grant(&organization, "cdek", &account);
    assert_eq!(text(token(&ports, &grant).await), r#"VendorDown { message: "HTTP 503" }"#);
    ports.world.vendor.answer(200, r#"{"access_token":"token-{n}"}"#);
    assert!(token(&ports, &grant).await.is_err());
    ports.world.clock.advance(Duration::from_secs(1));
    assert_eq!(token(&ports, &grant).await.unwrap(), "token-2");
}

async fn the_client_may_show_itself_in_a_header(ports: Ports) {
    let (organization, account) = connected(&ports, "basic").await;
    assert!(token(&ports, &ports.world.grant(&organization, "basic", &account)).await.is_ok());
    let request = ports.world.vendor.requests.lock()[0].clone();
    // me:canary-cdek
    assert!(request.to_lowercase().contains(&"authorization: Basic bWU6Y2FuYXJ5LWNkZWs=".to_lowercase()));
    assert!(request.ends_with("\r\n\r\ngrant_type=client_credentials"));
}

async fn a_slow_vendor_does_not_outlive_the_call(ports: Ports) {
    use plugboard_core::clock::Clock;
    let (organization, account) = connected(&ports, "cdek").await;
    ports.world.vendor.script.lock().delay = Duration::from_secs(5);
    let deadline = ports.world.clock.now().plus(Duration::from_millis(200));
    let grant = ports.world.grant_until(&organization, "cdek", &account, deadline);
    assert!(matches!(token(&ports, &grant).await, Err(IdentityError::VendorDown { .. })));
    // Giving up early says nothing about the vendor: the next call asks again.
    ports.world.vendor.script.lock().delay = Duration::ZERO;
    assert_eq!(token(&ports, &ports.world.grant(&organization, "cdek", &account)).await.unwrap(), "token-2");
}
