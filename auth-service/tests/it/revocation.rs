//! Caches under revocation and outage, with the change stream in process and over gRPC.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use plugboard_core::clock::Clock;
use plugboard_core::identity::{CachedDirectory, CachedVault, Change, Directory, Vault};
use std::sync::Arc;

use crate::support::{OZON, Ports, eventually, on_both, text};

on_both!(
    a_revoked_key_is_refused_within_a_second,
    a_deleted_account_is_refused_within_a_second,
    without_beats_nothing_cached_is_used,
    changes_of_other_replicas_are_told,
    the_stream_ends_with_the_service,
);

fn cached_directory(ports: &Ports) -> Arc<CachedDirectory> {
    let cached = CachedDirectory::new(ports.directory.clone(), Arc::new(ports.world.clock.clone()));
    tokio::spawn(cached.clone().follow(ports.world.stop_token()));
    cached
}

fn cached_vault(ports: &Ports) -> Arc<CachedVault> {
    let cached = CachedVault::new(ports.vault.clone());
    tokio::spawn(cached.clone().follow(ports.world.stop_token()));
    cached
}

async fn a_revoked_key_is_refused_within_a_second(ports: Ports) {
    let cached = cached_directory(&ports);
    // Another gateway's: it learns of the revocation by the stream alone.
    let other = ports.world.service().await;
    for _ in 0..5 {
        let (organization, issued) = ports.directory.create_organization("Acme").await.unwrap();
        let key = issued.secret.expose();
        eventually("the key comes from memory", async || {
            cached.verify_key(key).await.unwrap();
            let before = ports.world.store.gets.load(Ordering::SeqCst);
            cached.verify_key(key).await.unwrap();
            ports.world.store.gets.load(Ordering::SeqCst) == before
        })
        .await;
        other.revoke_key(&organization.id, &issued.key.id).await.unwrap();
        let took = eventually("the key is refused", async || cached.verify_key(key).await.is_err()).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    // The gateway that revokes knows at once.
    let (organization, issued) = ports.directory.create_organization("Acme").await.unwrap();
    cached.verify_key(issued.secret.expose()).await.unwrap();
    cached.revoke_key(&organization.id, &issued.key.id).await.unwrap();
    assert_eq!(text(cached.verify_key(issued.secret.expose()).await), "KeyRefused");
}

async fn a_deleted_account_is_refused_within_a_second(ports: Ports) {
    let (directory, vault) = (cached_directory(&ports), cached_vault(&ports));
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, "ozon", &OZON).await.id;
    let grant = ports.world.grant(&organization, "ozon", &account);
    eventually("fields come from memory", async || {
        let first = vault.resolve(&grant).await.unwrap();
        Arc::ptr_eq(&first, &vault.resolve(&grant).await.unwrap())
    })
    .await;
    // Of another service there is nothing in memory.
    let other = ports.world.grant(&organization, "bitrix24", &account);
    assert!(vault.resolve(&other).await.is_err());
    assert_eq!(directory.accounts(&organization).await.unwrap().len(), 1);
    directory.delete_account(&organization, &account).await.unwrap();
    assert!(directory.accounts(&organization).await.unwrap().is_empty());
    let took = eventually("the account is gone", async || vault.resolve(&grant).await.is_err()).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

async fn without_beats_nothing_cached_is_used(ports: Ports) {
    let (directory, vault) = (cached_directory(&ports), cached_vault(&ports));
    let (organization, issued) = ports.directory.create_organization("Acme").await.unwrap();
    let key = issued.secret.expose();
    let account = ports.account(&organization.id, "ozon", &OZON).await.id;
    let grant = ports.world.grant(&organization.id, "ozon", &account);
    for round in 0..2 {
        eventually("both caches are fresh", async || directory.is_fresh() && vault.is_fresh()).await;
        eventually("both answer", async || {
            directory.verify_key(key).await.is_ok() && vault.resolve(&grant).await.is_ok()
        })
        .await;
        // The store goes away: the service still runs and its streams stay open, but it cannot know what it misses.
        ports.world.store.set_down(true);
        let took = eventually("the caches close", async || !directory.is_fresh() && !vault.is_fresh()).await;
        assert!(took < Duration::from_millis(900), "round {round}: {took:?}");
        assert!(text(directory.verify_key(key).await).starts_with("Unavailable"));
        assert!(text(directory.accounts(&organization.id).await).starts_with("Unavailable"));
        assert!(text(vault.resolve(&grant).await).starts_with("Unavailable"));
        ports.world.store.set_down(false);
    }
    eventually("the caches open again", async || directory.is_fresh() && vault.is_fresh()).await;
    assert!(directory.verify_key(key).await.is_ok());
}

async fn changes_of_other_replicas_are_told(ports: Ports) {
    let mut changes = ports.directory.changes().await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(5), changes.next()).await.unwrap();
    assert_eq!(first, Some(Change::Beat));
    let other = ports.world.service().await;
    let (organization, issued) = other.create_organization("Acme").await.unwrap();
    other.revoke_key(&organization.id, &issued.key.id).await.unwrap();
    other.create_account(crate::support::new_account(&organization.id, "ozon", &OZON)).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        let change = tokio::time::timeout(Duration::from_secs(5), changes.next()).await.unwrap().unwrap();
        if change != Change::Beat {
            told.push(change);
        }
    }
    assert_eq!(told, [Change::KeyRevoked(issued.key.id), Change::AccountsChanged(organization.id)]);
    assert!(ports.world.clock.now().0 > 0);
}

async fn the_stream_ends_with_the_service(ports: Ports) {
    let mut of_directory = ports.directory.changes().await.unwrap();
    let mut of_vault = ports.vault.changes().await.unwrap();
    ports.world.stop_token().cancel();
    let ended = async {
        while of_directory.next().await.is_some() {}
        while of_vault.next().await.is_some() {}
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
    assert!(text(ports.directory.changes().await.map(|_| ())).starts_with("Unavailable"));
}
