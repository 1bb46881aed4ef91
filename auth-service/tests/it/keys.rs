use std::sync::atomic::Ordering;
use std::time::Duration;

use plugboard_core::clock::{Clock, Millis};
use plugboard_core::identity::{IdentityError, NewKey, Scope, Scopes};
use plugboard_core::ids::{KeyId, OrganizationId, Subject};
use plugboard_core::secret::Secret;

use crate::support::{Ports, START, eventually, on_both, text};

on_both!(
    a_key_from_its_issue_to_its_end,
    a_key_expires,
    wrong_requests_name_the_field,
    a_garbled_key_costs_no_look_up,
    use_is_noted_once_a_minute,
);

fn request(organization: &OrganizationId) -> NewKey {
    NewKey {
        organization: organization.clone(),
        name: " agent ".into(),
        scopes: Scopes::default_for_keys(),
        expires_in_days: 90,
        subject: Some(Subject("alice".into())),
        agent: None,
    }
}

async fn a_key_from_its_issue_to_its_end(ports: Ports) {
    let (organization, first) = ports.directory.create_organization(" Acme ").await.unwrap();
    assert_eq!(organization.name, "Acme");
    let principal = ports.directory.verify_key(&first.secret).await.unwrap();
    assert_eq!(principal.organization.as_ref(), Some(&organization.id));
    assert_eq!(principal.scopes, Scopes::all());
    assert!(!principal.is_operator());

    let issued = ports.directory.issue_key(request(&organization.id)).await.unwrap();
    assert_eq!(issued.key.name, "agent");
    assert_eq!(issued.key.expires_at, Millis(START + 90 * 24 * 60 * 60 * 1000));
    assert_eq!(issued.key.prefix, issued.secret.expose()[..12]);
    let principal = ports.directory.verify_key(&issued.secret).await.unwrap();
    assert_eq!(principal.key_id, issued.key.id);
    assert_eq!(principal.subject, Some(Subject("alice".into())));
    assert!(principal.scopes.has(Scope::WriteTools) && !principal.scopes.has(Scope::Admin));

    let keys = ports.directory.keys(&organization.id).await.unwrap();
    assert_eq!(keys.iter().map(|key| &key.id).collect::<Vec<_>>(), [&first.key.id, &issued.key.id]);
    assert!(!format!("{keys:?}").contains(issued.secret.expose()));
    assert!(!format!("{issued:?}").contains(issued.secret.expose()));

    let other = ports.organization().await;
    let missing = ports.directory.revoke_key(&other.id, &issued.key.id).await;
    assert_eq!(text(missing), r#"NotFound { what: "the API key" }"#);
    let missing = ports.directory.revoke_key(&organization.id, &KeyId::generate()).await;
    assert_eq!(text(missing), r#"NotFound { what: "the API key" }"#);
    let revoked = ports.directory.revoke_key(&organization.id, &issued.key.id).await.unwrap();
    assert_eq!(revoked.revoked_at, Some(ports.world.clock.now()));
    assert_eq!(text(ports.directory.verify_key(&issued.secret).await), "KeyRefused");
    // Twice is no error and changes nothing.
    ports.world.clock.advance(Duration::from_secs(5));
    let again = ports.directory.revoke_key(&organization.id, &issued.key.id).await.unwrap();
    assert_eq!(again.revoked_at, revoked.revoked_at);
    assert!(ports.directory.verify_key(&first.secret).await.is_ok());
}

async fn a_key_expires(ports: Ports) {
    let organization = ports.organization().await;
    let issued = ports.directory.issue_key(NewKey { expires_in_days: 1, ..request(&organization.id) }).await.unwrap();
    ports.world.clock.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert!(ports.directory.verify_key(&issued.secret).await.is_ok());
    ports.world.clock.advance(Duration::from_secs(1));
    assert_eq!(text(ports.directory.verify_key(&issued.secret).await), "KeyRefused");
}

async fn wrong_requests_name_the_field(ports: Ports) {
    let organization = ports.organization().await.id;
    let wrong = [
        ("expires_in_days", NewKey { expires_in_days: 0, ..request(&organization) }),
        ("expires_in_days", NewKey { expires_in_days: 366, ..request(&organization) }),
        ("scopes", NewKey { scopes: Scopes::default(), ..request(&organization) }),
        ("name", NewKey { name: " ".into(), ..request(&organization) }),
        ("name", NewKey { name: "a\nb".into(), ..request(&organization) }),
        ("subject", NewKey { subject: Some(Subject(String::new())), ..request(&organization) }),
    ];
    for (wanted, request) in wrong {
        match ports.directory.issue_key(request).await {
            Err(IdentityError::Invalid { field, .. }) => assert_eq!(field, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
    for missing in [OrganizationId::generate(), OrganizationId::trusted("org_/../x")] {
        let answer = ports.directory.issue_key(request(&missing)).await;
        assert_eq!(text(answer), r#"NotFound { what: "the organization" }"#);
        assert!(ports.directory.keys(&missing).await.unwrap().is_empty());
    }
    let long = "x".repeat(101);
    for name in ["", "a\0", long.as_str()] {
        assert!(matches!(
            ports.directory.create_organization(name).await,
            Err(IdentityError::Invalid { field, .. }) if field == "name"
        ));
    }
}

async fn a_garbled_key_costs_no_look_up(ports: Ports) {
    let (_, issued) = ports.directory.create_organization("Acme").await.unwrap();
    let key = issued.secret.expose().to_owned();
    let looked_up = || ports.world.store.gets.load(Ordering::SeqCst);
    let before = looked_up();
    let last = if key.ends_with('0') { "1" } else { "0" };
    for garbled in ["", "sk-org-", &key[..key.len() - 1], &format!("{}{last}", &key[..key.len() - 1])] {
        assert_eq!(text(ports.directory.verify_key(&Secret::new(garbled)).await), "KeyRefused");
    }
    assert_eq!(looked_up(), before);
    // A well-formed key that nobody was given.
    let stranger = auth_service::api_key::generate(auth_service::api_key::Kind::Organization).unwrap();
    assert_eq!(text(ports.directory.verify_key(&stranger).await), "KeyRefused");
    assert_eq!(looked_up(), before + 1);
}

async fn use_is_noted_once_a_minute(ports: Ports) {
    let (organization, issued) = ports.directory.create_organization("Acme").await.unwrap();
    let used = async || ports.directory.keys(&organization.id).await.unwrap()[0].last_used_at;
    assert_eq!(used().await, None);
    ports.directory.verify_key(&issued.secret).await.unwrap();
    eventually("the use is noted", async || used().await == Some(Millis(START))).await;
    // Within the minute nothing is written; after it the next use is.
    ports.world.clock.advance(Duration::from_secs(59));
    ports.directory.verify_key(&issued.secret).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(used().await, Some(Millis(START)));
    ports.world.clock.advance(Duration::from_secs(1));
    ports.directory.verify_key(&issued.secret).await.unwrap();
    eventually("the use is noted again", async || used().await == Some(Millis(START + 60_000))).await;
}
