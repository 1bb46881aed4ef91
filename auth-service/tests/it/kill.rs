//! The kill switch.

use std::sync::Arc;
use std::time::Duration;

use auth_service::Told;
use plugboard_core::identity::{
    AccountChange, AccountState, CachedDirectory, CachedVault, Custody, IdentityError, RevocationReport, Revoke,
    Revoked, Vault, VendorRevocation,
};
use plugboard_core::ids::{AccountId, OrganizationId, ServiceKey};
use plugboard_core::store::Store;

use crate::support::{BITRIX, OZON, Ports, eventually, fields, new_account, on_both, text};

on_both!(
    an_account_is_unusable_at_once,
    a_service_is_unusable_at_once,
    an_organization_is_unusable_at_once,
    caches_know_within_a_second,
    a_vendor_that_does_not_answer_is_asked_again,
    a_revoked_account_can_be_connected_anew,
    mistakes_are_named,
);

fn revoke(organization: &OrganizationId, what: Revoked) -> Revoke {
    Revoke { organization: organization.clone(), what, reason: "laptop stolen".into() }
}

async fn settled(ports: &Ports, organization: &OrganizationId) -> RevocationReport {
    let mut report = RevocationReport::default();
    eventually("vendors have been told", async || {
        report = ports.custody.revocations(organization).await.unwrap();
        report.pending == 0
    })
    .await;
    report
}

async fn state(ports: &Ports, organization: &OrganizationId, account: &AccountId) -> AccountState {
    let accounts = ports.directory.accounts(organization).await.unwrap();
    accounts.iter().find(|one| one.id == *account).unwrap().state
}

async fn an_account_is_unusable_at_once(ports: Ports) {
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, "ozon", &OZON).await.id;
    let other = ports.account(&organization, "bitrix24", &BITRIX).await.id;
    let report = ports.custody.revoke(revoke(&organization, Revoked::Account(account.clone()))).await.unwrap();
    assert_eq!(report.accounts.len(), 1);
    assert_eq!(
        (report.accounts[0].reason.as_str(), report.accounts[0].label.as_str()),
        ("laptop stolen", "Ozon Seller")
    );
    assert_eq!(text(ports.vault.resolve(&ports.world.grant(&organization, "ozon", &account)).await), "Revoked");
    assert_eq!(state(&ports, &organization, &account).await, AccountState::Revoked);
    ports.vault.resolve(&ports.world.grant(&organization, "bitrix24", &other)).await.unwrap();

    let report = settled(&ports, &organization).await;
    assert_eq!((report.revoked, report.accounts[0].vendor), (1, VendorRevocation::Revoked));
    assert_eq!(ports.world.revoker.told.lock()[0]["api_key"], "canary-ozon");
    // Its credentials are nowhere any more, not even sealed.
    let record = ports.world.store.get(&format!("revocation/{organization}/{account}")).await.unwrap().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
    assert!(record["record"]["sealed"].is_null(), "{record}");
    let record = ports.world.store.get(&format!("account/{organization}/{account}")).await.unwrap().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
    assert_eq!(record["record"]["sealed"]["fields"], serde_json::json!({}));
    // Twice is once.
    ports.custody.revoke(revoke(&organization, Revoked::Account(account))).await.unwrap();
    assert_eq!(ports.world.revoker.told.lock().len(), 1);
}

async fn a_service_is_unusable_at_once(ports: Ports) {
    let organization = ports.organization().await.id;
    let mut accounts = Vec::new();
    for label in ["North", "South", "West"] {
        let mut request = new_account(&organization, "ozon", &OZON);
        request.label = Some(label.into());
        accounts.push(ports.directory.create_account(request).await.unwrap().id);
    }
    let other = ports.account(&organization, "bitrix24", &BITRIX).await.id;
    *ports.world.revoker.answers.lock() =
        vec![Told::Revoked, Told::NotRevocable("no endpoint".into()), Told::Refused("HTTP 401".into())];
    let what = Revoked::Service(ServiceKey::trusted("ozon"));
    let report = ports.custody.revoke(revoke(&organization, what)).await.unwrap();
    assert_eq!(report.accounts.len(), 3);
    for account in &accounts {
        assert_eq!(text(ports.vault.resolve(&ports.world.grant(&organization, "ozon", account)).await), "Revoked");
    }
    ports.vault.resolve(&ports.world.grant(&organization, "bitrix24", &other)).await.unwrap();
    let report = settled(&ports, &organization).await;
    assert_eq!((report.revoked, report.not_revocable, report.failed), (1, 1, 1));
    // The service itself can be connected again.
    let mut request = new_account(&organization, "ozon", &OZON);
    request.label = Some("New".into());
    let fresh = ports.directory.create_account(request).await.unwrap();
    assert_eq!(fresh.state, AccountState::Connected);
    ports.vault.resolve(&ports.world.grant(&organization, "ozon", &fresh.id)).await.unwrap();
}

async fn an_organization_is_unusable_at_once(ports: Ports) {
    let (organization, issued) = ports.directory.create_organization("Acme").await.unwrap();
    let (untouched, theirs) = ports.directory.create_organization("Other").await.unwrap();
    let account = ports.account(&organization.id, "ozon", &OZON).await.id;
    ports.custody.revoke(revoke(&organization.id, Revoked::Organization)).await.unwrap();
    assert_eq!(text(ports.directory.verify_key(&issued.secret).await), "KeyRefused");
    assert_eq!(text(ports.vault.resolve(&ports.world.grant(&organization.id, "ozon", &account)).await), "Revoked");
    assert_eq!(settled(&ports, &organization.id).await.revoked, 1);
    assert_eq!(ports.directory.verify_key(&theirs.secret).await.unwrap().organization, Some(untouched.id));
    // What comes later is no better.
    let late = ports.account(&organization.id, "bitrix24", &BITRIX).await;
    assert_eq!(state(&ports, &organization.id, &late.id).await, AccountState::Revoked);
    assert_eq!(text(ports.vault.resolve(&ports.world.grant(&organization.id, "bitrix24", &late.id)).await), "Revoked");
}

async fn caches_know_within_a_second(ports: Ports) {
    let directory = CachedDirectory::new(ports.directory.clone(), Arc::new(ports.world.clock.clone()));
    tokio::spawn(directory.clone().follow(ports.world.stop_token()));
    let vault = CachedVault::new(ports.vault.clone());
    tokio::spawn(vault.clone().follow(ports.world.stop_token()));
    // Another replica does it: this side learns of it by the stream alone.
    let elsewhere = ports.world.service().await;
    for what in ["account", "service", "organization"] {
        let (organization, issued) = ports.directory.create_organization("Acme").await.unwrap();
        let account = ports.account(&organization.id, "ozon", &OZON).await.id;
        let grant = ports.world.grant(&organization.id, "ozon", &account);
        let held = async || {
            let first = vault.resolve(&grant).await.unwrap();
            vault.holds(&grant, &first)
        };
        eventually("fields and key come from memory", held).await;
        directory.verify_key(issued.secret.expose()).await.unwrap();
        let fields_held = vault.resolve(&grant).await.unwrap();
        let target = match what {
            "account" => Revoked::Account(account.clone()),
            "service" => Revoked::Service(ServiceKey::trusted("ozon")),
            _ => Revoked::Organization,
        };
        elsewhere.revoke(revoke(&organization.id, target)).await.unwrap();
        let took = eventually("the account is refused", async || vault.resolve(&grant).await.is_err()).await;
        assert!(took < Duration::from_secs(1), "{what}: {took:?}");
        assert!(!vault.holds(&grant, &fields_held), "what was held before is in doubt");
        if what == "organization" {
            let refused = async || directory.verify_key(issued.secret.expose()).await.is_err();
            assert!(eventually("the key is refused", refused).await < Duration::from_secs(1));
        }
    }
}

async fn a_vendor_that_does_not_answer_is_asked_again(ports: Ports) {
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, "ozon", &OZON).await.id;
    *ports.world.revoker.answers.lock() =
        vec![Told::NoAnswer("HTTP 503".into()), Told::NoAnswer("HTTP 503".into()), Told::Revoked];
    ports.custody.revoke(revoke(&organization, Revoked::Account(account.clone()))).await.unwrap();
    for tries in 1..=2 {
        eventually("the vendor was asked", async || ports.world.revoker.told.lock().len() == tries).await;
        eventually("what it said is in the report", async || {
            let report = ports.custody.revocations(&organization).await.unwrap();
            report.pending == 1 && report.accounts[0].detail.as_deref() == Some("HTTP 503")
        })
        .await;
        ports.world.clock.advance(Duration::from_secs(60 * 60));
    }
    assert_eq!(settled(&ports, &organization).await.revoked, 1);
    assert_eq!(ports.world.revoker.told.lock().len(), 3);
}

async fn a_revoked_account_can_be_connected_anew(ports: Ports) {
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, "ozon", &OZON).await.id;
    ports.custody.revoke(revoke(&organization, Revoked::Account(account.clone()))).await.unwrap();
    let change = |credentials: &[(&str, &str)]| AccountChange {
        organization: organization.clone(),
        account: account.clone(),
        label: None,
        credentials: fields(credentials),
    };
    // A part of the credentials is not enough: nothing of the old ones is left.
    let half = ports.directory.update_account(change(&[("client_id", "43")])).await;
    assert!(!half.is_ok_and(|account| account.state == AccountState::Connected));
    ports.directory.update_account(change(&[("client_id", "43"), ("api_key", "canary-new")])).await.unwrap();
    let resolved = ports.vault.resolve(&ports.world.grant(&organization, "ozon", &account)).await.unwrap();
    assert_eq!(resolved.get("api_key"), Some("canary-new"));
    // And revoked again, with a report of its own.
    settled(&ports, &organization).await;
    ports.custody.revoke(revoke(&organization, Revoked::Account(account))).await.unwrap();
    eventually("told again", async || ports.world.revoker.told.lock().len() == 2).await;
    assert_eq!(ports.world.revoker.told.lock()[1]["api_key"], "canary-new");
}

async fn mistakes_are_named(ports: Ports) {
    let organization = ports.organization().await.id;
    let absent = ports.custody.revoke(revoke(&organization, Revoked::Account(AccountId::generate()))).await;
    assert_eq!(text(absent), r#"NotFound { what: "the account" }"#);
    let absent = ports.custody.revoke(revoke(&OrganizationId::generate(), Revoked::Organization)).await;
    assert_eq!(text(absent), r#"NotFound { what: "the organization" }"#);
    for reason in ["", " ", "a\nb", &"x".repeat(501)] {
        let request = Revoke { reason: reason.to_owned(), ..revoke(&organization, Revoked::Organization) };
        let error = ports.custody.revoke(request).await.unwrap_err();
        assert!(matches!(&error, IdentityError::Invalid { field, .. } if field == "reason"), "{error}");
    }
}

/// Rotation covers what is kept for vendors too.
#[tokio::test]
async fn what_a_vendor_is_still_to_be_told_with_moves_to_another_master_key() {
    let ports = Ports::in_process(Default::default()).await;
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, "ozon", &OZON).await.id;
    *ports.world.revoker.answers.lock() = vec![Told::NoAnswer("HTTP 503".into()), Told::Revoked];
    ports.custody.revoke(revoke(&organization, Revoked::Account(account))).await.unwrap();
    eventually("the vendor was asked", async || ports.world.revoker.told.lock().len() == 1).await;
    ports.custody.rotate_master_key(None).await.unwrap();
    eventually("the rotation has ended", async || {
        ports.custody.master_keys().await.unwrap().rotation.is_some_and(|rotation| rotation.done)
    })
    .await;
    ports.world.clock.advance(Duration::from_secs(60 * 60));
    assert_eq!(settled(&ports, &organization).await.revoked, 1);
    assert_eq!(ports.world.revoker.told.lock()[1]["api_key"], "canary-ozon");
}
