use plugboard_core::identity::{AccountChange, Directory, NewAccount, Vault};
use plugboard_core::store::{Expect, Store, Write};

use crate::support::{BITRIX, OZON, Ports, fields, new_account, text, world};

/// What a thief of the store gets.
#[tokio::test]
async fn the_store_holds_no_secret() {
    let ports = Ports::in_process(Default::default()).await;
    let (organization, issued) = ports.directory.create_organization("Acme").await.unwrap();
    let account = ports.account(&organization.id, "ozon", &OZON).await;
    ports.account(&organization.id, "bitrix24", &BITRIX).await;
    let change = AccountChange {
        organization: organization.id.clone(),
        account: account.id,
        label: None,
        credentials: fields(&[("api_key", "canary-second")]),
    };
    ports.directory.update_account(change).await.unwrap();
    let log = ports.world.store.changes_after(0).await.unwrap().notices;
    assert!(log.len() >= 3);
    let records = ports.world.store.dump().await;
    let stored = records.iter().map(|(name, record)| (name.as_bytes(), record.value.as_ref()));
    for (name, bytes) in stored.chain(log.iter().map(|notice| ("notice".as_bytes(), notice.as_ref()))) {
        for canary in ["canary", issued.secret.expose(), &issued.secret.expose()[12..]] {
            let found = bytes.windows(canary.len()).chain(name.windows(canary.len())).any(|w| w == canary.as_bytes());
            assert!(!found, "{}", String::from_utf8_lossy(name));
        }
    }
}

/// What a thief with write access cannot do: use one tenant's credentials as another's, or send them elsewhere.
#[tokio::test]
async fn a_record_works_only_in_its_place() {
    let ports = Ports::in_process(Default::default()).await;
    let (ours, theirs) = (ports.organization().await.id, ports.organization().await.id);
    let victim = ports.account(&theirs, "bitrix24", &BITRIX).await;
    let own = ports.account(&ours, "bitrix24", &[("portal_host", "evil.example"), ("webhook", "mine")]).await;
    let store = &ports.world.store;
    let name = |organization, account| format!("account/{organization}/{account}");
    let stolen = store.get(&name(&theirs, &victim.id)).await.unwrap().unwrap();
    let original = store.get(&name(&ours, &own.id)).await.unwrap().unwrap();
    let write = async |value: bytes::Bytes| {
        let write = Write::put(name(&ours, &own.id), value, Expect::Anything);
        store.commit(vec![write], None).await.unwrap();
        text(ports.vault.resolve(&ports.world.grant(&ours, "bitrix24", &own.id)).await)
    };
    // Moved as it is, it says whose it is.
    assert_eq!(write(stolen.value.clone()).await, r#"NotFound { what: "the account" }"#);
    // Relabelled, its envelope does not open.
    let text_of = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let relabelled =
        text_of(&stolen.value).replace(theirs.as_str(), ours.as_str()).replace(victim.id.as_str(), own.id.as_str());
    assert!(write(relabelled.into()).await.starts_with("Unavailable"));

    // A host changed in the store changes what lists show, never where credentials go.
    let name = name(&theirs, &victim.id);
    let redirected = text_of(&stolen.value).replace("a.bitrix24.ru", "evil.example");
    store.commit(vec![Write::put(name, redirected, Expect::Anything)], None).await.unwrap();
    let resolved = ports.vault.resolve(&ports.world.grant(&theirs, "bitrix24", &victim.id)).await.unwrap();
    assert_eq!(resolved.get("portal_host"), Some("a.bitrix24.ru"));
    drop(original);
}

#[tokio::test]
async fn an_envelope_of_an_earlier_version_does_not_open() {
    let ports = Ports::in_process(Default::default()).await;
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, "ozon", &OZON).await;
    let name = format!("account/{organization}/{}", account.id);
    let store = &ports.world.store;
    let old: serde_json::Value = serde_json::from_slice(&store.get(&name).await.unwrap().unwrap().value).unwrap();
    let change = AccountChange {
        organization: organization.clone(),
        account: account.id.clone(),
        label: None,
        credentials: fields(&[("api_key", "rotated")]),
    };
    ports.directory.update_account(change).await.unwrap();
    let mut new: serde_json::Value = serde_json::from_slice(&store.get(&name).await.unwrap().unwrap().value).unwrap();
    new["record"]["sealed"] = old["record"]["sealed"].clone();
    let write = Write::put(name, serde_json::to_vec(&new).unwrap(), Expect::Anything);
    store.commit(vec![write], None).await.unwrap();
    let answer = ports.vault.resolve(&ports.world.grant(&organization, "ozon", &account.id)).await;
    assert!(text(answer).starts_with("Unavailable"));
}

#[tokio::test]
async fn a_record_from_a_newer_version_is_not_guessed_at() {
    let world = world().await;
    let service = world.service().await;
    let (organization, _) = service.create_organization("Acme").await.unwrap();
    let account = service.create_account(new_account(&organization.id, "ozon", &OZON)).await.unwrap();
    let name = format!("account/{}/{}", organization.id, account.id);
    let record = world.store.get(&name).await.unwrap().unwrap();
    let newer = String::from_utf8(record.value.to_vec()).unwrap().replacen(r#""v":1"#, r#""v":2"#, 1);
    world.store.commit(vec![Write::put(name, newer, Expect::Anything)], None).await.unwrap();
    let answer = text(service.resolve(&world.grant(&organization.id, "ozon", &account.id)).await);
    assert!(answer.starts_with("Unavailable") && answer.contains("version 2"), "{answer}");
}

#[tokio::test]
async fn an_intranet_host_is_the_operators_choice() {
    let host = [("portal_host", "http://crm:8080"), ("webhook", "w")];
    let closed = Ports::in_process(Default::default()).await;
    let organization = closed.organization().await.id;
    assert!(closed.directory.create_account(new_account(&organization, "bitrix24", &host)).await.is_err());
    let open = Ports::in_process(auth_service::Config { allow_private_hosts: true, ..Default::default() }).await;
    let organization = open.organization().await.id;
    let request = NewAccount { label: None, ..new_account(&organization, "bitrix24", &host) };
    assert_eq!(open.directory.create_account(request).await.unwrap().public_fields["portal_host"], "crm:8080");
}
