use auth_service::api_key::{self, Kind};
use plugboard_core::identity::{Directory, IdentityError, Scopes};
use plugboard_core::secret::Secret;

use crate::support::{text, world};

#[tokio::test]
async fn the_first_start_gives_two_keys() {
    let world = world().await;
    let service = world.service().await;
    let first = service.bootstrap(None, None).await.unwrap();
    let (operator, api) = (first.operator_key.unwrap(), first.api_key.unwrap());
    assert!(operator.expose().starts_with("sk-op-") && api.expose().starts_with("sk-org-"));
    let principal = service.verify_key(&operator).await.unwrap();
    assert!(principal.is_operator());
    let principal = service.verify_key(&api).await.unwrap();
    assert_eq!(principal.scopes, Scopes::all());
    let keys = service.keys(&principal.organization.unwrap()).await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].expires_at.0 - keys[0].created_at.0, 365 * 24 * 60 * 60 * 1000);

    // Later starts, of this and of other replicas.
    for service in [service, world.service().await] {
        let later = service.bootstrap(None, None).await.unwrap();
        assert!(later.operator_key.is_none() && later.api_key.is_none());
    }
}

#[tokio::test]
async fn racing_replicas_agree_on_one_first_start() {
    let world = world().await;
    let mut services = Vec::new();
    for _ in 0..6 {
        services.push(world.idle_service().await);
    }
    let tasks: Vec<_> = services
        .iter()
        .map(|service| {
            let service = service.clone();
            tokio::spawn(async move { service.bootstrap(None, None).await.unwrap() })
        })
        .collect();
    let mut given = Vec::new();
    for task in tasks {
        let bootstrap = task.await.unwrap();
        assert_eq!(bootstrap.operator_key.is_some(), bootstrap.api_key.is_some());
        given.extend(bootstrap.api_key);
    }
    assert_eq!(given.len(), 1);
    let principal = services[5].verify_key(&given[0]).await.unwrap();
    assert!(principal.organization.is_some());
    let organizations = world.store.dump().await.into_iter().filter(|(name, _)| name.starts_with("org/")).count();
    assert_eq!(organizations, 1);
}

#[tokio::test]
async fn seeds_preset_the_keys() {
    let world = world().await;
    let (operator, api) = (api_key::generate(Kind::Operator).unwrap(), api_key::generate(Kind::Organization).unwrap());
    let service = world.idle_service().await;
    let wrong = [
        ("seed_operator_key", Some(api.clone()), None),
        ("seed_api_key", None, Some(operator.clone())),
        ("seed_api_key", None, Some(Secret::new("sk-org-canary"))),
    ];
    for (wanted, seed_operator, seed_api) in wrong {
        match service.bootstrap(seed_operator, seed_api).await {
            Err(IdentityError::Invalid { field, message }) => {
                assert_eq!(field, wanted);
                assert!(!message.contains("canary"));
            }
            other => panic!("{other:?}"),
        }
    }
    let first = service.bootstrap(Some(operator.clone()), Some(api.clone())).await.unwrap();
    assert_eq!((first.operator_key.as_ref(), first.api_key.as_ref()), (Some(&operator), Some(&api)));
    assert!(service.verify_key(&operator).await.unwrap().is_operator());
    assert!(service.verify_key(&api).await.is_ok());
}

#[tokio::test]
async fn the_operator_can_have_another_key() {
    let world = world().await;
    let service = world.service().await;
    assert!(service.replace_operator_key().await.is_err());
    let old = service.bootstrap(None, None).await.unwrap().operator_key.unwrap();
    let new = service.replace_operator_key().await.unwrap();
    assert_eq!(text(service.verify_key(&old).await), "KeyRefused");
    assert!(service.verify_key(&new).await.unwrap().is_operator());
    assert!(service.bootstrap(None, None).await.unwrap().operator_key.is_none());
}

#[tokio::test]
async fn without_a_store_nothing_starts() {
    let world = world().await;
    let service = world.idle_service().await;
    world.store.set_down(true);
    assert!(matches!(service.open_key_ring().await, Err(IdentityError::Unavailable(_))));
    assert!(matches!(service.bootstrap(None, None).await, Err(IdentityError::Unavailable(_))));
}
