//! What a doctor says of master keys, and of what they open.

use std::sync::Arc;

use auth_service::key_source::FixedKeys;
use auth_service::{MasterKey, doctor};
use plugboard_core::doctor::{Finding, State};
use plugboard_core::identity::Directory;

use crate::support::{OZON, World, master_key, new_account, world};

async fn judged(world: &World, keys: Vec<MasterKey>) -> Vec<Finding> {
    let (store, clock) = (Arc::new(world.store.clone()), Arc::new(world.clock.clone()));
    doctor::store(store, &FixedKeys::in_memory(keys), clock).await
}

fn worst(findings: &[Finding]) -> State {
    findings.iter().map(|finding| finding.state).max().unwrap()
}

#[tokio::test]
async fn a_key_that_opens_nothing_is_found_and_nothing_is_written() {
    let world = world().await;
    let fresh = judged(&world, vec![master_key("1", 5)]).await;
    assert!(worst(&fresh) == State::Ok && fresh[0].seen.contains("holds nothing yet"), "{fresh:?}");
    let service = world.service().await;
    let (organization, _) = service.create_organization("Shop").await.unwrap();
    service.create_account(new_account(&organization.id, "ozon", &OZON)).await.unwrap();
    let before = world.store.dump().await.len();

    let own = judged(&world, vec![master_key("1", 5)]).await;
    assert!(worst(&own) == State::Ok && own[0].seen.contains("open all"), "{own:?}");
    let more = judged(&world, vec![master_key("1", 5), master_key("2", 6)]).await;
    assert_eq!(worst(&more), State::Ok, "{more:?}");
    // Another key of the same id.
    let other = judged(&world, vec![master_key("1", 6)]).await;
    let accounts = other.iter().find(|finding| finding.seen.starts_with("1 accounts do not open")).unwrap();
    assert!(accounts.state == State::Fail && accounts.seen.contains("is another one"), "{other:?}");
    assert!(other.iter().any(|finding| finding.seen.contains("audit heads")), "{other:?}");
    // Under another id: what is there names a key that nobody holds.
    let renamed = judged(&world, vec![master_key("2", 5)]).await;
    assert!(renamed.iter().any(|finding| finding.seen.contains("API keys do not open")), "{renamed:?}");
    assert!(renamed.iter().all(|finding| finding.seen.contains("not configured here")), "{renamed:?}");
    assert!(!format!("{other:?}{renamed:?}").contains(organization.id.as_str()), "records are not named");
    assert_eq!(world.store.dump().await.len(), before);
    world.store.set_down(true);
    assert_eq!(worst(&judged(&world, vec![master_key("1", 5)]).await), State::Fail);
}

#[tokio::test]
async fn keys_that_are_no_keys_are_told_without_them() {
    let source = FixedKeys::in_memory(vec![master_key("1", 5)]);
    let (keys, findings) = doctor::keys(&source).await;
    assert_eq!((keys.len(), worst(&findings)), (1, State::Fail));
    assert!(findings[0].seen.contains("can be guessed"), "{findings:?}");
    let file = tempfile::tempdir().unwrap().keep().join("master.key");
    std::fs::write(&file, "1:canary\n").unwrap();
    let source = auth_service::key_source::FileKeys::new(&file, false);
    let (keys, findings) = doctor::keys(&source).await;
    assert!(keys.is_empty() && worst(&findings) == State::Fail);
    assert!(!format!("{findings:?}").contains("canary"), "{findings:?}");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(doctor::readable_by_all(&file).unwrap().remedy.unwrap().starts_with("chmod 600"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(doctor::readable_by_all(&file).is_none());
}
