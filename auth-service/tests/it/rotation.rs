//! Another master key, while calls go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use plugboard_core::identity::{AccountChange, Custody, Directory, IdentityError, MasterKeysStatus, Vault};
use plugboard_core::store::Store;
use tokio_util::sync::CancellationToken;

use crate::support::{OZON, Ports, eventually, fields, master_key, new_account, on_both, text, world};

on_both!(everything_moves_while_calls_go_on, a_key_in_use_is_not_retired, mistakes_are_named);

/// Records under a key, without those that move in their own time.
fn sealed_under(status: &MasterKeysStatus, id: &str) -> u64 {
    let key = status.keys.iter().find(|key| key.id == id);
    key.map_or(0, |key| key.records.iter().filter(|(kind, _)| *kind != "API keys").map(|(_, count)| count).sum())
}

async fn finished(custody: &dyn Custody) -> MasterKeysStatus {
    let mut last = MasterKeysStatus::default();
    eventually("the rotation has ended", async || {
        last = custody.master_keys().await.unwrap();
        last.rotation.as_ref().is_some_and(|rotation| rotation.done)
    })
    .await;
    last
}

async fn everything_moves_while_calls_go_on(ports: Ports) {
    let organization = ports.organization().await.id;
    let mut accounts = Vec::new();
    // More than two pages of the walk.
    for at in 0..230 {
        let label = Some(format!("Shop {at}"));
        let mut request = new_account(&organization, "ozon", &OZON);
        request.label = label;
        accounts.push(ports.directory.create_account(request).await.unwrap().id);
    }
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = Vec::new();
    for caller in 0..4 {
        let (vault, directory) = (ports.vault.clone(), ports.directory.clone());
        let (stop, calls, organization) = (stop.clone(), calls.clone(), organization.clone());
        let grants: Vec<_> = accounts.iter().map(|account| ports.world.grant(&organization, "ozon", account)).collect();
        callers.push(tokio::spawn(async move {
            let mut at = caller;
            while !stop.load(Ordering::SeqCst) {
                let grant = &grants[at % grants.len()];
                let fields_now = vault.resolve(grant).await.expect("no call fails");
                assert!(fields_now.get("api_key").unwrap().starts_with("canary-"));
                // One of them also changes accounts all the time.
                if caller == 0 {
                    let change = AccountChange {
                        organization: organization.clone(),
                        account: grant.account.clone(),
                        label: None,
                        credentials: fields(&[("api_key", format!("canary-{at}").as_str())]),
                    };
                    directory.update_account(change).await.expect("no change fails");
                }
                calls.fetch_add(1, Ordering::SeqCst);
                at += 7;
            }
        }));
    }
    let begun = ports.custody.rotate_master_key(None).await.unwrap();
    assert_eq!(begun.present, "2");
    let status = finished(ports.custody.as_ref()).await;
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(calls.load(Ordering::SeqCst) > 0);
    let status_now = ports.custody.master_keys().await.unwrap();
    assert_eq!(sealed_under(&status_now, "1"), 0, "{status_now:?}");
    assert!(sealed_under(&status_now, "2") >= 230, "{status_now:?}");
    assert_eq!(status.rotation.unwrap().unreadable, 0);
    for account in &accounts {
        ports.vault.resolve(&ports.world.grant(&organization, "ozon", account)).await.unwrap();
    }
}

async fn a_key_in_use_is_not_retired(ports: Ports) {
    let (organization, issued) = ports.directory.create_organization("Acme").await.unwrap();
    let account = ports.account(&organization.id, "ozon", &OZON).await.id;
    let present = ports.custody.retire_master_key("1").await;
    assert!(text(present).contains("is the present master key"));
    ports.custody.rotate_master_key(None).await.unwrap();
    finished(ports.custody.as_ref()).await;
    // The organization's API key was hashed under it.
    let refused = text(ports.custody.retire_master_key("1").await);
    assert!(refused.contains("1 API keys"), "{refused}");
    // Its use moves it.
    let principal = ports.directory.verify_key(&issued.secret).await.unwrap();
    eventually("the key has moved", async || ports.custody.retire_master_key("1").await.is_ok()).await;
    let status = ports.custody.master_keys().await.unwrap();
    let first = status.keys.iter().find(|key| key.id == "1").unwrap();
    assert!(first.retired && !first.held && first.in_use() == 0, "{first:?}");
    // All works without it.
    assert_eq!(ports.directory.verify_key(&issued.secret).await.unwrap(), principal);
    ports.vault.resolve(&ports.world.grant(&organization.id, "ozon", &account)).await.unwrap();
    ports.directory.revoke_key(&organization.id, &issued.key.id).await.unwrap();
    assert_eq!(text(ports.directory.verify_key(&issued.secret).await), "KeyRefused");
    // The same id does not come back.
    assert_eq!(ports.custody.rotate_master_key(None).await.unwrap().present, "3");
    assert!(text(ports.custody.rotate_master_key(Some("1".into())).await).contains("given up"));
}

async fn mistakes_are_named(ports: Ports) {
    for (to, says) in [("9", "not configured here"), ("a b", "no id")] {
        let error = ports.custody.rotate_master_key(Some(to.into())).await.unwrap_err();
        assert!(matches!(&error, IdentityError::Invalid { field, message } if field == "to" && message.contains(says)));
    }
    assert_eq!(text(ports.custody.retire_master_key("9").await), r#"NotFound { what: "the master key" }"#);
}

/// A walk that was cut short is taken up where it was, by whoever runs next.
#[tokio::test]
async fn a_rotation_is_taken_up_by_the_next_process() {
    let world = world().await;
    let first_life = CancellationToken::new();
    let first = world.service_until(first_life.clone()).await;
    let (organization, _) = first.create_organization("Acme").await.unwrap();
    for at in 0..350 {
        let mut request = new_account(&organization.id, "ozon", &OZON);
        request.label = Some(format!("Shop {at}"));
        first.create_account(request).await.unwrap();
    }
    first.rotate_master_key(None).await.unwrap();
    let rotation = async || first.master_keys().await.unwrap().rotation.unwrap();
    eventually("the walk has begun", async || rotation().await.resealed >= 100).await;
    first_life.cancel();
    eventually("it has stopped", async || {
        let before = rotation().await.resealed;
        tokio::time::sleep(Duration::from_millis(30)).await;
        rotation().await.resealed == before
    })
    .await;
    let done_before = rotation().await.resealed;
    // The lease of the process that is gone runs out.
    world.clock.advance(Duration::from_secs(11));
    let second = world.service().await;
    let status = finished(second.as_ref()).await;
    assert_eq!(sealed_under(&status, "1"), 0);
    // 350 accounts and two or three heads of audit logs, each once.
    let resealed = status.rotation.unwrap().resealed;
    assert!((350..356).contains(&resealed) && done_before <= resealed, "{done_before} then {resealed}");
}

/// A key that one replica does not hold is not made the present one: that replica could open nothing any more.
#[tokio::test]
async fn every_replica_must_hold_the_key() {
    let world = world().await;
    let informed = world.service().await;
    let mut other = crate::support::world().await;
    other.store = world.store.clone();
    other.clock = world.clock.clone();
    // A source of its own.
    let uninformed = other.service().await;
    world.keys.set(vec![master_key("1", 5), master_key("2", 6)]);
    let refused = text(informed.rotate_master_key(Some("2".into())).await);
    assert!(refused.contains("1 of the running auth services"), "{refused}");
    other.keys.set(vec![master_key("1", 5), master_key("2", 6)]);
    assert_eq!(informed.rotate_master_key(Some("2".into())).await.unwrap().present, "2");
    let (organization, _) = informed.create_organization("Acme").await.unwrap();
    let account = informed.create_account(new_account(&organization.id, "ozon", &OZON)).await.unwrap();
    uninformed.resolve(&world.grant(&organization.id, "ozon", &account.id)).await.unwrap();
}

/// What somebody changed in the store is reported, and stays as it is.
#[tokio::test]
async fn what_does_not_open_is_counted() {
    let ports = Ports::in_process(Default::default()).await;
    let organization = ports.organization().await.id;
    let good = ports.account(&organization, "ozon", &OZON).await;
    let mut request = new_account(&organization, "ozon", &OZON);
    request.label = Some("Bad".into());
    let bad = ports.directory.create_account(request).await.unwrap();
    let name = format!("account/{organization}/{}", bad.id);
    let record = ports.world.store.get(&name).await.unwrap().unwrap();
    let moved = String::from_utf8(record.value.to_vec()).unwrap().replace(bad.id.as_str(), good.id.as_str());
    let write = plugboard_core::store::Write::put(name, moved, plugboard_core::store::Expect::Anything);
    ports.world.store.commit(vec![write], None).await.unwrap();
    ports.custody.rotate_master_key(None).await.unwrap();
    let status = finished(ports.custody.as_ref()).await;
    assert_eq!(status.rotation.unwrap().unreadable, 1);
    assert_eq!(sealed_under(&ports.custody.master_keys().await.unwrap(), "1"), 1);
    assert!(text(ports.custody.retire_master_key("1").await).contains("1 accounts"));
}
