use plugboard_core::identity::{AccountChange, AccountState, IdentityError, NewAccount, fold_label};
use plugboard_core::ids::{AccountId, OrganizationId, Subject};

use crate::support::{BITRIX, OZON, Ports, fields, new_account, on_both, text};

on_both!(
    an_account_from_its_making_to_its_end,
    labels_are_unique_in_a_service,
    default_labels_are_numbered,
    a_changed_host_clears_the_secrets,
    wrong_requests_name_the_field,
    accounts_of_others_do_not_exist,
    racing_for_a_label_has_one_winner,
);

fn change(organization: &OrganizationId, account: &AccountId) -> AccountChange {
    AccountChange {
        organization: organization.clone(),
        account: account.clone(),
        label: None,
        credentials: Default::default(),
    }
}

async fn an_account_from_its_making_to_its_end(ports: Ports) {
    let organization = ports.organization().await.id;
    let request = NewAccount {
        label: Some("  Top Zip ".into()),
        owner: Some(Subject("alice".into())),
        ..new_account(&organization, "ozon", &OZON)
    };
    let account = ports.directory.create_account(request).await.unwrap();
    assert_eq!(account.label, "Top Zip");
    assert_eq!(account.owner, Some(Subject("alice".into())));
    assert_eq!(account.state, AccountState::Connected);
    assert_eq!(account.public_fields.iter().collect::<Vec<_>>(), [(&"client_id".to_owned(), &"42".to_owned())]);
    assert!(!format!("{account:?}").contains("canary"));
    assert_eq!(ports.directory.accounts(&organization).await.unwrap(), std::slice::from_ref(&account));

    let renamed = AccountChange { label: Some("TOP zip".into()), ..change(&organization, &account.id) };
    let renamed = ports.directory.update_account(renamed).await.unwrap();
    assert_eq!(renamed.label, "TOP zip");
    let other = AccountChange {
        label: Some("Другой".into()),
        credentials: fields(&[("client_id", "43")]),
        ..change(&organization, &account.id)
    };
    let other = ports.directory.update_account(other).await.unwrap();
    assert_eq!((other.label.as_str(), other.public_fields["client_id"].as_str()), ("Другой", "43"));
    let resolved = ports.vault.resolve(&ports.world.grant(&organization, "ozon", &account.id)).await.unwrap();
    assert_eq!(resolved.get("api_key"), Some("canary-ozon"));
    assert_eq!(resolved.get("client_id"), Some("43"));

    // The old label is free again.
    let again = NewAccount { label: Some("Top Zip".into()), ..new_account(&organization, "ozon", &OZON) };
    ports.directory.create_account(again).await.unwrap();

    assert_eq!(ports.directory.delete_account(&organization, &account.id).await.unwrap().id, account.id);
    let gone = ports.directory.delete_account(&organization, &account.id).await;
    assert_eq!(text(gone), r#"NotFound { what: "the account" }"#);
    assert_eq!(ports.directory.accounts(&organization).await.unwrap().len(), 1);
    let free = NewAccount { label: Some("другой".into()), ..new_account(&organization, "ozon", &OZON) };
    ports.directory.create_account(free).await.unwrap();
}

async fn labels_are_unique_in_a_service(ports: Ports) {
    let organization = ports.organization().await.id;
    let labelled = |service: &str, label: &str| {
        let given = if service == "ozon" { &OZON } else { &BITRIX };
        NewAccount { label: Some(label.into()), ..new_account(&organization, service, given) }
    };
    let first = ports.directory.create_account(labelled("ozon", "Café")).await.unwrap();
    for same in ["Café", "cafE\u{301}", " CAFÉ "] {
        match ports.directory.create_account(labelled("ozon", same)).await {
            Err(IdentityError::Exists { what }) => assert!(what.contains("ozon"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
    // Another service, and another organization, have labels of their own.
    ports.directory.create_account(labelled("bitrix24", "Café")).await.unwrap();
    let elsewhere = ports.organization().await.id;
    ports.directory.create_account(NewAccount { organization: elsewhere, ..labelled("ozon", "Café") }).await.unwrap();

    let second = ports.directory.create_account(labelled("ozon", "Bar")).await.unwrap();
    let taken = AccountChange { label: Some("CAFÉ".into()), ..change(&organization, &second.id) };
    assert!(matches!(ports.directory.update_account(taken).await, Err(IdentityError::Exists { .. })));
    let accounts = ports.directory.accounts(&organization).await.unwrap();
    assert_eq!(accounts.iter().find(|account| account.id == second.id).unwrap().label, "Bar");
    assert_eq!(accounts.iter().filter(|account| fold_label(&account.label) == "café").count(), 2);
    assert_eq!(first.label, "Café");
}

async fn default_labels_are_numbered(ports: Ports) {
    let organization = ports.organization().await.id;
    let mut labels = Vec::new();
    for _ in 0..3 {
        labels.push(ports.account(&organization, "ozon", &OZON).await.label);
    }
    assert_eq!(labels, ["Ozon Seller", "Ozon Seller 2", "Ozon Seller 3"]);
    let accounts = ports.directory.accounts(&organization).await.unwrap();
    ports.directory.delete_account(&organization, &accounts[1].id).await.unwrap();
    assert_eq!(ports.account(&organization, "ozon", &OZON).await.label, "Ozon Seller 2");
}

async fn a_changed_host_clears_the_secrets(ports: Ports) {
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, "bitrix24", &BITRIX).await;
    assert_eq!(account.public_fields["portal_host"], "a.bitrix24.ru");
    let host = |host: &str| AccountChange {
        credentials: fields(&[("portal_host", host)]),
        ..change(&organization, &account.id)
    };
    let resolve = async || ports.vault.resolve(&ports.world.grant(&organization, "bitrix24", &account.id)).await;

    let same = ports.directory.update_account(host("https://A.bitrix24.ru")).await.unwrap();
    assert_eq!(same.state, AccountState::Connected);
    assert_eq!(resolve().await.unwrap().get("webhook"), Some("canary-hook"));

    let moved = ports.directory.update_account(host("evil.example")).await.unwrap();
    assert_eq!(moved.state, AccountState::NeedsReauth);
    assert_eq!(text(resolve().await), "NeedsReauth");
    // Going back does not bring the secret back.
    let back = ports.directory.update_account(host("a.bitrix24.ru")).await.unwrap();
    assert_eq!(back.state, AccountState::NeedsReauth);
    assert_eq!(text(resolve().await), "NeedsReauth");

    let secret = AccountChange { credentials: fields(&[("webhook", "new")]), ..change(&organization, &account.id) };
    assert_eq!(ports.directory.update_account(secret).await.unwrap().state, AccountState::Connected);
    assert_eq!(resolve().await.unwrap().get("webhook"), Some("new"));

    let both = AccountChange {
        credentials: fields(&[("portal_host", "b.bitrix24.ru"), ("webhook", "newer")]),
        ..change(&organization, &account.id)
    };
    assert_eq!(ports.directory.update_account(both).await.unwrap().state, AccountState::Connected);
    let resolved = resolve().await.unwrap();
    assert_eq!(resolved.get("portal_host"), Some("b.bitrix24.ru"));
    assert_eq!(resolved.get("webhook"), Some("newer"));
    assert_eq!(resolved.get("zone"), Some("eu"));
}

async fn wrong_requests_name_the_field(ports: Ports) {
    let organization = ports.organization().await.id;
    let plain = || new_account(&organization, "bitrix24", &BITRIX);
    let wrong = [
        ("service", new_account(&organization, "nothing", &OZON)),
        ("label", NewAccount { label: Some("a:b".into()), ..plain() }),
        ("label", NewAccount { label: Some("  ".into()), ..plain() }),
        ("owner", NewAccount { owner: Some(Subject(" ".into())), ..plain() }),
        ("credentials.webhook", new_account(&organization, "bitrix24", &BITRIX[..1])),
        (
            "credentials.extra",
            NewAccount { credentials: fields(&[&BITRIX[..], &[("extra", "x")]].concat()), ..plain() },
        ),
        (
            "credentials.portal_host",
            new_account(&organization, "bitrix24", &[("portal_host", "127.0.0.1"), ("webhook", "canary-hook")]),
        ),
        (
            "credentials.webhook",
            new_account(&organization, "bitrix24", &[("portal_host", "a.ru"), ("webhook", "canary\nhook")]),
        ),
    ];
    for (wanted, request) in wrong {
        match ports.directory.create_account(request).await {
            Err(IdentityError::Invalid { field, message }) => {
                assert_eq!(field, wanted);
                assert!(!message.contains("canary"), "{message}");
            }
            other => panic!("{wanted}: {other:?}"),
        }
    }
    assert!(ports.directory.accounts(&organization).await.unwrap().is_empty());
    let nobody = OrganizationId::generate();
    let answer = ports.directory.create_account(new_account(&nobody, "ozon", &OZON)).await;
    assert_eq!(text(answer), r#"NotFound { what: "the organization" }"#);
}

async fn accounts_of_others_do_not_exist(ports: Ports) {
    let (ours, theirs) = (ports.organization().await.id, ports.organization().await.id);
    let account = ports.account(&theirs, "ozon", &OZON).await;
    let missing = r#"NotFound { what: "the account" }"#;
    assert!(ports.directory.accounts(&ours).await.unwrap().is_empty());
    assert_eq!(text(ports.directory.delete_account(&ours, &account.id).await), missing);
    assert_eq!(text(ports.directory.update_account(change(&ours, &account.id)).await), missing);
    assert_eq!(text(ports.vault.resolve(&ports.world.grant(&ours, "ozon", &account.id)).await), missing);
    assert_eq!(text(ports.vault.resolve(&ports.world.grant(&theirs, "bitrix24", &account.id)).await), missing);
    // An id is a name in the store; one that is none leads nowhere.
    let path = AccountId::trusted(format!("../{theirs}/{}", account.id));
    assert_eq!(text(ports.directory.delete_account(&ours, &path).await), missing);
    assert!(ports.directory.accounts(&OrganizationId::trusted("")).await.unwrap().is_empty());
}

async fn racing_for_a_label_has_one_winner(ports: Ports) {
    let organization = ports.organization().await.id;
    let made = futures::future::join_all((0..8).map(|_| {
        let request = NewAccount { label: Some("Race".into()), ..new_account(&organization, "ozon", &OZON) };
        ports.directory.create_account(request)
    }))
    .await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    assert!(made.iter().all(|made| matches!(made, Ok(_) | Err(IdentityError::Exists { .. }))));
    let unnamed = futures::future::join_all(
        (0..4).map(|_| ports.directory.create_account(new_account(&organization, "ozon", &OZON))),
    )
    .await;
    let mut labels: Vec<String> = unnamed.into_iter().map(|made| made.unwrap().label).collect();
    labels.sort();
    assert_eq!(labels, ["Ozon Seller", "Ozon Seller 2", "Ozon Seller 3", "Ozon Seller 4"]);
}
