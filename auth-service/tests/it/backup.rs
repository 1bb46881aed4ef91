//! Out of one store and into another.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use auth_service::backup::{self, Backup, BackupError, Replace, Restored};
use auth_service::key_source::FixedKeys;
use auth_service::{AuthService, Config, KeySource};
use plugboard_core::clock::SystemClock;
use plugboard_core::embedded::Embedded;
use plugboard_core::identity::{
    AccountState, AuditQuery, Connect, Custody, Directory, IdentityError, NewConnectSession, Revoke, Revoked, Vault,
};
use plugboard_core::ids::{AccountId, OrganizationId};
use plugboard_core::secret::Secret;
use plugboard_core::store::embedded::EmbeddedStore;
use plugboard_core::store::memory::MemoryStore;
use plugboard_core::store::{Expect, Store, Write};
use tokio::sync::mpsc;

use crate::audit;
use crate::support::{OZON, TestStore, World, eventually, master_key, new_account, world, world_with};

const REPLACE: Replace = Replace { all: true, alone: true };
const FILL: Replace = Replace { all: false, alone: true };

async fn taken(world: &World, store: &dyn Store) -> Vec<u8> {
    let (bytes, mut arriving) = mpsc::channel::<bytes::Bytes>(1);
    let collect = async {
        let mut all = Vec::new();
        while let Some(piece) = arriving.recv().await {
            all.extend_from_slice(&piece);
        }
        all
    };
    let clock = Arc::new(world.clock.clone());
    let (summary, all) = tokio::join!(backup::take(store, world.keys.as_ref(), clock, bytes), collect);
    summary.unwrap();
    all
}

async fn restored(
    world: &World,
    bytes: &[u8],
    keys: &dyn KeySource,
    store: Arc<dyn Store>,
    replace: Replace,
) -> Result<Restored, BackupError> {
    let backup = Backup::open(Cursor::new(bytes), keys).await?;
    backup.restore(store, keys, Arc::new(world.clock.clone()), replace).await
}

/// An organization with a key and an account.
struct Tenant {
    organization: OrganizationId,
    key: Secret,
    account: AccountId,
}

async fn tenant(service: &AuthService, name: &str) -> Tenant {
    let (organization, key) = service.create_organization(name).await.unwrap();
    let account = service.create_account(new_account(&organization.id, "ozon", &OZON)).await.unwrap();
    Tenant { organization: organization.id, key: key.secret, account: account.id }
}

impl Tenant {
    async fn works(&self, world: &World, service: &AuthService) -> Result<(), IdentityError> {
        service.verify_key(&self.key).await?;
        let grant = world.grant(&self.organization, "ozon", &self.account);
        service.resolve(&grant).await.map(drop)
    }

    async fn log_holds(&self, service: &AuthService) {
        audit::verify(service, &audit::query(&self.organization)).await.unwrap();
    }
}

async fn another_world(world: &World, store: MemoryStore) -> World {
    let mut other = crate::support::world().await;
    other.store = TestStore { inner: store, ..TestStore::default() };
    other.clock = world.clock.clone();
    other.keys = world.keys.clone();
    other
}

#[tokio::test]
async fn keys_accounts_and_logs_come_back_in_any_store() {
    let world = world().await;
    let service = world.idle_service().await;
    let one = tenant(&service, "One").await;
    let two = tenant(&service, "Two").await;
    let bytes = taken(&world, &world.store).await;
    assert!(!String::from_utf8_lossy(&bytes).contains("canary-ozon"), "what was sealed stays sealed");

    // Into an embedded store, and from there into one in memory.
    let folder = tempfile::tempdir().unwrap();
    let file = Embedded::open(folder.path(), Arc::new(SystemClock)).unwrap();
    let embedded: Arc<dyn Store> = Arc::new(EmbeddedStore::new(file));
    let done = restored(&world, &bytes, world.keys.as_ref(), embedded.clone(), FILL).await.unwrap();
    assert!(done.records > 10 && done.revocations_kept == 0, "{done:?}");
    let again = taken(&world, embedded.as_ref()).await;
    let memory = MemoryStore::default();
    restored(&world, &again, world.keys.as_ref(), Arc::new(memory.clone()), FILL).await.unwrap();

    let other = another_world(&world, memory).await;
    let service = other.idle_service().await;
    for tenant in [&one, &two] {
        tenant.works(&other, &service).await.unwrap();
        tenant.log_holds(&service).await;
        // And the chain goes on.
        service.delete_account(&tenant.organization, &tenant.account).await.unwrap();
        tenant.log_holds(&service).await;
    }
    let platform = service.audit(&AuditQuery { limit: 1_000, ..AuditQuery::default() }).await.unwrap();
    let restores = platform.links.iter().filter(|link| link.entry.contains("platform.restore")).count();
    assert_eq!(restores, 2, "each restore is in the log");
    let whole = AuditQuery { limit: AuditQuery::MAX_LIMIT, ..AuditQuery::default() };
    audit::verify(service.as_ref(), &whole).await.unwrap();
}

#[tokio::test]
async fn the_master_keys_that_are_needed_are_named_and_must_be_the_same() {
    let world = world().await;
    let service = world.idle_service().await;
    let tenant = tenant(&service, "One").await;
    let bytes = taken(&world, &world.store).await;
    let backup = Backup::open(Cursor::new(&bytes), world.keys.as_ref()).await.unwrap();
    let needed = &backup.summary().master_keys["1"].records;
    assert_eq!((needed["accounts"], needed["API keys"]), (1, 1), "{needed:?}");
    assert_eq!(backup.summary().records["accounts"], 1);

    let store = MemoryStore::default();
    let without = FixedKeys::in_memory(vec![master_key("2", 5)]);
    let error = restored(&world, &bytes, &without, Arc::new(store.clone()), FILL).await.unwrap_err();
    assert!(matches!(&error, BackupError::KeysMissing { missing, .. } if missing == &["1"]), "{error}");
    let other = FixedKeys::in_memory(vec![master_key("1", 6)]);
    let error = restored(&world, &bytes, &other, Arc::new(store.clone()), FILL).await.unwrap_err();
    assert!(matches!(&error, BackupError::OtherKey(id) if id == "1"), "{error}");

    // After a rotation both are needed: accounts have moved, and keys have not been used since.
    world.keys.set(vec![master_key("1", 5), master_key("2", 6)]);
    // The service from above, which holds the first alone, was heard of too long ago to be waited for.
    world.clock.advance(Duration::from_secs(91));
    let running = world.service().await;
    running.rotate_master_key(Some("2".into())).await.unwrap();
    eventually("everything is sealed anew", async || {
        running.master_keys().await.unwrap().rotation.is_some_and(|rotation| rotation.done)
    })
    .await;
    let bytes = taken(&world, &world.store).await;
    let only_new = FixedKeys::in_memory(vec![master_key("2", 6)]);
    let error = restored(&world, &bytes, &only_new, Arc::new(store.clone()), FILL).await.unwrap_err();
    assert!(
        matches!(&error, BackupError::KeysMissing { needed, missing } if needed == &["1", "2"] && missing == &["1"]),
        "{error}"
    );
    assert!(store.list("").await.unwrap().is_empty(), "nothing was written");
    // The present key is the present one again, whichever comes first.
    restored(&world, &bytes, world.keys.as_ref(), Arc::new(store.clone()), FILL).await.unwrap();
    let other = another_world(&world, store).await;
    tenant.works(&other, &*other.idle_service().await).await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_used_or_not_empty_is_left_alone() {
    let world = world().await;
    let service = world.idle_service().await;
    let one = tenant(&service, "One").await;
    let bytes = taken(&world, &world.store).await;
    let late = tenant(&service, "Late").await;
    let store: Arc<dyn Store> = Arc::new(world.store.clone());
    let before = world.store.dump().await;
    let error = restored(&world, &bytes, world.keys.as_ref(), store.clone(), FILL).await.unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty(2)), "{error}");
    let shared = Replace { all: true, alone: false };
    let error = restored(&world, &bytes, world.keys.as_ref(), store.clone(), shared).await.unwrap_err();
    assert!(matches!(error, BackupError::Running(1)), "{error}");
    assert_eq!(world.store.dump().await, before, "nothing was written");

    // Nobody heard of it for a while.
    world.clock.advance(Duration::from_secs(91));
    restored(&world, &bytes, world.keys.as_ref(), store, shared).await.unwrap();
    let service = world.idle_service().await;
    one.works(&world, &service).await.unwrap();
    assert!(late.works(&world, &service).await.is_err(), "what came later is gone");
}

#[tokio::test]
async fn what_was_revoked_meanwhile_stays_revoked() {
    let world = world().await;
    let service = world.idle_service().await;
    let (one, two, three) =
        (tenant(&service, "One").await, tenant(&service, "Two").await, tenant(&service, "Three").await);
    let bytes = taken(&world, &world.store).await;
    let key = service.verify_key(&one.key).await.unwrap().key_id;
    service.revoke_key(&one.organization, &key).await.unwrap();
    let what = Revoked::Account(two.account.clone());
    service.revoke(Revoke { organization: two.organization.clone(), what, reason: "leaked".into() }).await.unwrap();
    let what = Revoked::Organization;
    service.revoke(Revoke { organization: three.organization.clone(), what, reason: "leaked".into() }).await.unwrap();

    let store: Arc<dyn Store> = Arc::new(world.store.clone());
    let done = restored(&world, &bytes, world.keys.as_ref(), store, REPLACE).await.unwrap();
    // The key, the account, the organization and its account.
    assert_eq!(done.revocations_kept, 4);
    let service = world.idle_service().await;
    assert!(service.verify_key(&one.key).await.is_err());
    service.verify_key(&two.key).await.unwrap();
    assert_eq!(service.accounts(&two.organization).await.unwrap()[0].state, AccountState::Revoked);
    assert!(two.works(&world, &service).await.is_err());
    assert!(service.verify_key(&three.key).await.is_err());
    for tenant in [&one, &two, &three] {
        tenant.log_holds(&service).await;
    }

    // Into another store: nobody there knows of them.
    let elsewhere = MemoryStore::default();
    let done = restored(&world, &bytes, world.keys.as_ref(), Arc::new(elsewhere.clone()), FILL).await.unwrap();
    assert_eq!(done.revocations_kept, 0);
    let other = another_world(&world, elsewhere).await;
    one.works(&other, &*other.idle_service().await).await.unwrap();
}

#[tokio::test]
async fn a_restore_that_does_not_end_lets_nobody_in() {
    let world = world().await;
    let service = world.idle_service().await;
    let one = tenant(&service, "One").await;
    let bytes = taken(&world, &world.store).await;
    let store = MemoryStore::default();
    // As a restore that was killed leaves it.
    let mark = Write::put("platform/restoring", r#"{"v":1,"record":{"taken_at":0}}"#, Expect::Absent);
    let half = Write::put(format!("org/{}", one.organization), "half", Expect::Absent);
    store.commit(vec![mark, half], None).await.unwrap();
    let other = another_world(&world, store.clone()).await;
    let refused = other.unopened_service().await.open_key_ring().await.unwrap_err();
    assert!(refused.to_string().contains("restore"), "{refused}");
    // It is made again, without being told to replace anything.
    restored(&world, &bytes, world.keys.as_ref(), Arc::new(store), FILL).await.unwrap();
    one.works(&other, &*other.idle_service().await).await.unwrap();
}

#[tokio::test]
async fn what_works_once_does_not_come_back() {
    let world = world_with(Config { public_url: "https://connect.example".into(), ..Config::default() }).await;
    let service = world.service().await;
    let one = tenant(&service, "One").await;
    let key = service.verify_key(&one.key).await.unwrap().key_id;
    let session = NewConnectSession {
        organization: one.organization.clone(),
        key,
        subject: None,
        services: Vec::new(),
        return_url: None,
        by_call: false,
        mend_only: false,
    };
    service.create_session(session).await.unwrap();
    let bytes = taken(&world, &world.store).await;
    let store = MemoryStore::default();
    restored(&world, &bytes, world.keys.as_ref(), Arc::new(store.clone()), FILL).await.unwrap();
    let names = |records: Vec<(String, _)>| records.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let fleeting = |names: &[String]| {
        names.iter().filter(|name| name.starts_with("connect-") || name.starts_with("platform/holder/")).count()
    };
    assert!(fleeting(&names(world.store.dump().await)) >= 3);
    assert_eq!(fleeting(&names(store.list("").await.unwrap())), 0);
}
