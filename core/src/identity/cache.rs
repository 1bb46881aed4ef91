//! Caches of keys, accounts and credentials that a revocation cannot miss.
//!
//! An entry counts only while the auth service's change stream is alive: its last beat must be younger than
//! [`FRESH_FOR`] at the moment of use. A lost broadcast, a partition or a paused process therefore never serves a
//! revoked key; it only costs a round trip.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hashbrown::DefaultHashBuilder;
use moka::sync::Cache;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{
    Account, AccountChange, Change, Directory, Grant, IdentityError, IssuedKey, Key, NewAccount, NewKey, Organization,
    Principal, Vault,
};
use crate::clock::Clock;
use crate::ids::{AccountId, KeyId, OrganizationId, ServiceKey};
use crate::readiness::Health;
use crate::secret::{AccountFields, Secret};

/// A cache under a beat older than this is not used. Beats come every 100 ms.
pub const FRESH_FOR: Duration = Duration::from_millis(500);

/// Whoever has heard no beat for so long is not ready.
const MISSED_FOR: Duration = Duration::from_secs(5);

/// Decrypted credentials stay in memory this long at most.
const CREDENTIALS_FOR: Duration = Duration::from_secs(2);

/// When those that are used are asked for again. Accounts that came in one moment are soon asked for in different ones; all
/// at once, they would hold up every call for some milliseconds.
const RENEWED_AFTER_MS: Range<u64> = 800..1_600;

/// A principal is asked for again after this long, so that the auth service learns which keys are in use.
const PRINCIPALS_FOR: Duration = Duration::from_secs(60);

/// When the last beat came, how often everything was dropped, and how many changes were told.
#[derive(Debug, Default)]
pub struct Freshness {
    state: RwLock<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    beat: Option<Instant>,
    /// The last beat there was, also on a stream that has broken since.
    heard: Option<Instant>,
    epoch: u64,
    changes: u64,
}

/// The moment before asking. What comes back may be cached only if nothing was told meanwhile: the answer could be
/// older than the change, and the change will not be told twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    epoch: u64,
    changes: u64,
}

impl Freshness {
    /// The present mark if the stream is alive. An entry is usable only in the epoch it was fetched in.
    fn mark(&self) -> Option<Mark> {
        let state = *self.state.read();
        let alive = state.beat.is_some_and(|at| at.elapsed() < FRESH_FOR);
        alive.then_some(Mark { epoch: state.epoch, changes: state.changes })
    }

    /// Whether an answer asked for at `mark` may be kept. Checked after inserting: a change told before the check is
    /// seen here, one told after it finds the entry and removes it.
    fn still(&self, mark: Mark) -> bool {
        let state = *self.state.read();
        mark == Mark { epoch: state.epoch, changes: state.changes }
    }

    pub fn is_fresh(&self) -> bool {
        self.mark().is_some()
    }

    /// While no beat comes everything is asked for anew, which is slower and no less safe. Only when none has come for a
    /// while, the auth service is likely not there at all: its restart alone must not make all who stand on it unready at
    /// once.
    pub fn health(&self) -> Health {
        let heard = self.state.read().heard;
        match heard.map(|at| at.elapsed()) {
            Some(_) if self.is_fresh() => Health::Up,
            Some(ago) if ago < MISSED_FOR => Health::Reduced("no beat: everything is asked for anew"),
            _ => Health::Down("no connection"),
        }
    }

    fn beat(&self) {
        let now = Some(Instant::now());
        let mut state = self.state.write();
        (state.beat, state.heard) = (now, now);
    }

    fn changed(&self) {
        self.state.write().changes += 1;
    }

    /// The stream broke or missed something: entries of the old epoch are worthless.
    fn broken(&self) {
        let mut state = self.state.write();
        state.beat = None;
        state.epoch += 1;
    }
}

/// Keeps `follow` connected to the change stream until told to stop.
async fn follow_changes<'a>(
    open: impl Fn() -> BoxFuture<'a, Result<BoxStream<'static, Change>, IdentityError>>,
    freshness: &Freshness,
    stop: &CancellationToken,
    mut apply: impl FnMut(&Change),
) {
    while !stop.is_cancelled() {
        if let Ok(mut stream) = open().await {
            loop {
                let change = tokio::select! {
                    () = stop.cancelled() => return,
                    // A stream that does not even beat is dead, whatever its socket says.
                    change = tokio::time::timeout(Duration::from_secs(2), stream.next()) => change,
                };
                match change {
                    Ok(Some(Change::Beat)) => freshness.beat(),
                    Ok(Some(Change::Reset)) => {
                        freshness.broken();
                    }
                    Ok(Some(change)) => {
                        freshness.changed();
                        apply(&change);
                    }
                    Ok(None) | Err(_) => break,
                }
            }
        }
        freshness.broken();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
}

/// A [`Directory`] that answers from memory while that is safe.
pub struct CachedDirectory {
    inner: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    freshness: Freshness,
    /// By SHA-256 of the key: the cache holds no plaintext key.
    principals: Cache<[u8; 32], (u64, Arc<Principal>), DefaultHashBuilder>,
    accounts: Cache<OrganizationId, (u64, Arc<Vec<Account>>), DefaultHashBuilder>,
}

impl CachedDirectory {
    pub fn new(inner: Arc<dyn Directory>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            clock,
            freshness: Freshness::default(),
            principals: Cache::builder()
                .max_capacity(50_000)
                .time_to_live(PRINCIPALS_FOR)
                .build_with_hasher(DefaultHashBuilder::default()),
            accounts: Cache::builder().max_capacity(10_000).build_with_hasher(DefaultHashBuilder::default()),
        })
    }

    /// Follows the change stream; run it as a supervised task.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let open = || self.inner.changes();
        follow_changes(open, &self.freshness, &stop, |change| match change {
            Change::KeyRevoked(key) => self.forget_key(key),
            Change::AccountsChanged(organization) => self.accounts.invalidate(organization),
            Change::OrganizationChanged(organization) => {
                self.accounts.invalidate(organization);
                self.forget_keys(|principal| principal.organization.as_ref() == Some(organization));
            }
            Change::Beat | Change::Reset => {}
        })
        .await;
    }

    pub fn is_fresh(&self) -> bool {
        self.freshness.is_fresh()
    }

    /// Of the auth service, as far as is known here.
    pub fn health(&self) -> Health {
        self.freshness.health()
    }

    /// Revocations are rare; a scan is cheaper than a second index on every call.
    fn forget_keys(&self, concerns: impl Fn(&Principal) -> bool) {
        let stale: Vec<_> = self.principals.iter().filter(|(_, (_, p))| concerns(p)).map(|(hash, _)| *hash).collect();
        stale.iter().for_each(|hash| self.principals.invalidate(hash));
    }

    fn forget_key(&self, key: &KeyId) {
        self.forget_keys(|principal| principal.key_id == *key);
    }

    /// After a change that concerns a whole organization, made by way of this gateway.
    pub fn forget_organization(&self, organization: &OrganizationId) {
        self.forget_accounts(organization);
        self.forget_keys(|principal| principal.organization.as_ref() == Some(organization));
    }

    /// After a write of our own, which our next call must see: what was asked for before it is not kept either.
    pub fn forget_accounts(&self, organization: &OrganizationId) {
        self.freshness.changed();
        self.accounts.invalidate(organization);
    }

    /// # Errors
    /// As [`Directory::verify_key`].
    pub async fn verify_key(&self, key: &str) -> Result<Arc<Principal>, IdentityError> {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mark = self.freshness.mark();
        if let Some(mark) = mark
            && let Some((at, principal)) = self.principals.get(&hash)
            && at == mark.epoch
            && principal.expires_at > self.clock.now()
        {
            return Ok(principal);
        }
        let principal = Arc::new(self.inner.verify_key(&Secret::new(key)).await?);
        if let Some(mark) = mark {
            self.principals.insert(hash, (mark.epoch, principal.clone()));
            if !self.freshness.still(mark) {
                self.principals.invalidate(&hash);
            }
        }
        Ok(principal)
    }

    /// What is known without asking.
    pub fn accounts_now(&self, organization: &OrganizationId) -> Option<Arc<Vec<Account>>> {
        let mark = self.freshness.mark()?;
        let (at, accounts) = self.accounts.get(organization)?;
        (at == mark.epoch).then_some(accounts)
    }

    /// # Errors
    /// As [`Directory::accounts`].
    pub async fn accounts(&self, organization: &OrganizationId) -> Result<Arc<Vec<Account>>, IdentityError> {
        if let Some(accounts) = self.accounts_now(organization) {
            return Ok(accounts);
        }
        let mark = self.freshness.mark();
        let accounts = Arc::new(self.inner.accounts(organization).await?);
        if let Some(mark) = mark {
            self.accounts.insert(organization.clone(), (mark.epoch, accounts.clone()));
            if !self.freshness.still(mark) {
                self.accounts.invalidate(organization);
            }
        }
        Ok(accounts)
    }

    /// Everything that is not read on every call goes straight to the auth service.
    pub fn uncached(&self) -> &dyn Directory {
        self.inner.as_ref()
    }

    /// # Errors
    /// As [`Directory::create_organization`].
    pub async fn create_organization(&self, name: &str) -> Result<(Organization, IssuedKey), IdentityError> {
        self.inner.create_organization(name).await
    }

    /// # Errors
    /// As [`Directory::issue_key`].
    pub async fn issue_key(&self, request: NewKey) -> Result<IssuedKey, IdentityError> {
        self.inner.issue_key(request).await
    }

    /// # Errors
    /// As [`Directory::revoke_key`].
    pub async fn revoke_key(&self, organization: &OrganizationId, key: &KeyId) -> Result<Key, IdentityError> {
        let revoked = self.inner.revoke_key(organization, key).await?;
        self.freshness.changed();
        self.forget_key(key);
        Ok(revoked)
    }

    /// # Errors
    /// As [`Directory::create_account`].
    pub async fn create_account(&self, request: NewAccount) -> Result<Account, IdentityError> {
        let organization = request.organization.clone();
        let account = self.inner.create_account(request).await?;
        self.forget_accounts(&organization);
        Ok(account)
    }

    /// # Errors
    /// As [`Directory::update_account`].
    pub async fn update_account(&self, request: AccountChange) -> Result<Account, IdentityError> {
        let organization = request.organization.clone();
        let account = self.inner.update_account(request).await?;
        self.forget_accounts(&organization);
        Ok(account)
    }

    /// # Errors
    /// As [`Directory::delete_account`].
    pub async fn delete_account(
        &self,
        organization: &OrganizationId,
        account: &AccountId,
    ) -> Result<Account, IdentityError> {
        let account = self.inner.delete_account(organization, account).await?;
        self.forget_accounts(organization);
        Ok(account)
    }
}

/// The service belongs to it: fields of one vendor are never an answer for another.
type Whose = (OrganizationId, ServiceKey, AccountId);

fn whose(grant: &Grant) -> Whose {
    (grant.organization.clone(), grant.service.clone(), grant.account.clone())
}

/// A [`Vault`] that keeps decrypted fields for at most two seconds, under a fresh beat only. What is in use is asked for
/// again before that, by one call for all: those of a busy account would otherwise all come to the end of it at once.
pub struct CachedVault {
    shelf: Arc<Shelf>,
}

struct Shelf {
    inner: Arc<dyn Vault>,
    freshness: Freshness,
    fields: Cache<Whose, Arc<Kept>, DefaultHashBuilder>,
    spread: DefaultHashBuilder,
}

struct Kept {
    epoch: u64,
    fields: Arc<AccountFields>,
    renewed_from: Instant,
    /// Somebody asks for the next.
    renewing: AtomicBool,
}

impl Shelf {
    /// What can be used at this moment without asking.
    fn kept(&self, whose: &Whose) -> Option<Arc<Kept>> {
        let mark = self.freshness.mark()?;
        self.fields.get(whose).filter(|kept| kept.epoch == mark.epoch)
    }

    /// Another for each account and process, but always the same: those of one moment drift apart.
    fn age_of_renewal(&self, whose: &Whose) -> Duration {
        let Range { start, end } = RENEWED_AFTER_MS;
        Duration::from_millis(start + self.spread.hash_one(whose) % (end - start))
    }

    /// Asks, and keeps the answer if it is certain to be the newest.
    async fn ask(&self, whose: Whose, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
        let mark = self.freshness.mark();
        let mut fields = self.inner.resolve(grant).await?;
        let Some(mark) = mark else { return Ok(fields) };
        // Who has the old ones need not wonder whether these are the same.
        if let Some(kept) = self.kept(&whose).filter(|kept| kept.fields.same_as(&fields)) {
            fields = kept.fields.clone();
        }
        let renewed_from = Instant::now() + self.age_of_renewal(&whose);
        let kept = Kept { epoch: mark.epoch, fields: fields.clone(), renewed_from, renewing: false.into() };
        self.fields.insert(whose.clone(), Arc::new(kept));
        if !self.freshness.still(mark) {
            self.fields.invalidate(&whose);
        }
        Ok(fields)
    }
}

impl CachedVault {
    pub fn new(inner: Arc<dyn Vault>) -> Arc<Self> {
        let fields = Cache::builder()
            .max_capacity(10_000)
            .time_to_live(CREDENTIALS_FOR)
            .build_with_hasher(DefaultHashBuilder::default());
        let (freshness, spread) = (Freshness::default(), DefaultHashBuilder::default());
        Arc::new(Self { shelf: Arc::new(Shelf { inner, freshness, fields, spread }) })
    }

    /// Follows the change stream; run it as a supervised task.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let Shelf { inner, freshness, fields, .. } = &*self.shelf;
        let following = follow_changes(
            || inner.changes(),
            freshness,
            &stop,
            |change| {
                if let Change::AccountsChanged(organization) | Change::OrganizationChanged(organization) = change {
                    let stale: Vec<_> =
                        fields.iter().map(|(key, _)| key).filter(|key| key.0 == *organization).collect();
                    stale.iter().for_each(|key| fields.invalidate(key.as_ref()));
                }
            },
        );
        tokio::select! {
            () = following => {}
            () = self.sweep() => {}
        }
    }

    /// The cache drops what has expired only when it is used; credentials must go while nobody calls, too.
    async fn sweep(&self) {
        loop {
            tokio::time::sleep(CREDENTIALS_FOR / 2).await;
            self.shelf.fields.run_pending_tasks();
        }
    }

    pub fn is_fresh(&self) -> bool {
        self.shelf.freshness.is_fresh()
    }

    /// Of the auth service, as far as is known here.
    pub fn health(&self) -> Health {
        self.shelf.freshness.health()
    }
}

#[async_trait]
impl Vault for CachedVault {
    async fn resolve(&self, grant: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
        let whose = whose(grant);
        if !grant.refresh
            && let Some(kept) = self.shelf.kept(&whose)
        {
            if Instant::now() >= kept.renewed_from && !kept.renewing.swap(true, Ordering::Relaxed) {
                let (shelf, grant) = (self.shelf.clone(), grant.clone());
                // If it fails, the next call asks for itself when these have had their time, and is told why.
                tokio::spawn(async move { shelf.ask(whose, &grant).await.map(drop) });
            }
            return Ok(kept.fields.clone());
        }
        self.shelf.ask(whose, grant).await
    }

    fn holds(&self, grant: &Grant, fields: &Arc<AccountFields>) -> bool {
        self.shelf.kept(&whose(grant)).is_some_and(|kept| Arc::ptr_eq(&kept.fields, fields))
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
        self.shelf.inner.changes().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::manifest::Effect;
    use crate::testing::JobBuilder;

    #[test]
    fn one_broken_stream_is_no_reason_to_be_unready() {
        let freshness = Freshness::default();
        assert!(matches!(freshness.health(), Health::Down(_)), "nobody was ever heard");
        freshness.beat();
        assert_eq!(freshness.health(), Health::Up);
        freshness.broken();
        assert!(!freshness.is_fresh());
        assert!(matches!(freshness.health(), Health::Reduced(_)));
        let long_ago = Instant::now().checked_sub(MISSED_FOR).unwrap();
        freshness.state.write().heard = Some(long_ago);
        assert!(matches!(freshness.health(), Health::Down(_)), "nobody was heard for long");
    }

    fn grant(organization: &OrganizationId) -> Grant {
        let job = JobBuilder::new(Effect::Read).organization(organization).build();
        Grant {
            execution_id: job.execution_id,
            organization: job.organization,
            service: job.service,
            account: AccountId::sandbox(),
            request_hash: job.request_hash,
            deadline: job.deadline,
            ticket: job.ticket,
            refresh: false,
        }
    }

    /// Counts how often it is asked; each answer is another object, and what it says changes when it is told to.
    #[derive(Default)]
    struct Counted {
        asked: AtomicU32,
        password: AtomicU32,
        away: AtomicBool,
    }

    #[async_trait]
    impl Vault for Counted {
        async fn resolve(&self, _: &Grant) -> Result<Arc<AccountFields>, IdentityError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.away.load(Ordering::Relaxed) {
                return Err(IdentityError::Unavailable("away".into()));
            }
            let secret = Secret::new(format!("p-{}", self.password.load(Ordering::Relaxed)));
            Ok(Arc::new(AccountFields::of_secrets([("password".to_owned(), secret)].into())))
        }

        async fn changes(&self) -> Result<BoxStream<'static, Change>, IdentityError> {
            Ok(futures::stream::pending().boxed())
        }
    }

    /// As if what is kept had been asked for some time ago.
    fn age(vault: &CachedVault, grant: &Grant) {
        let whose = whose(grant);
        let kept = vault.shelf.kept(&whose).unwrap();
        let renewed_from = Instant::now();
        let aged = Kept { epoch: kept.epoch, fields: kept.fields.clone(), renewed_from, renewing: false.into() };
        vault.shelf.fields.insert(whose, Arc::new(aged));
    }

    #[tokio::test]
    async fn what_is_in_use_is_asked_for_again_by_one_and_nobody_waits() {
        let inner = Arc::new(Counted::default());
        let vault = CachedVault::new(inner.clone());
        let grant = grant(&OrganizationId::generate());
        let asked = || inner.asked.load(Ordering::Relaxed);
        vault.shelf.freshness.beat();
        let first = vault.resolve(&grant).await.unwrap();
        for _ in 0..10 {
            assert!(Arc::ptr_eq(&vault.resolve(&grant).await.unwrap(), &first));
        }
        assert_eq!(asked(), 1);

        age(&vault, &grant);
        for _ in 0..10 {
            assert!(Arc::ptr_eq(&vault.resolve(&grant).await.unwrap(), &first), "nobody waits");
        }
        tokio::task::yield_now().await;
        assert_eq!(asked(), 2);
        assert!(vault.holds(&grant, &first), "they are the same");

        // What has changed meanwhile is there as soon as it was asked for.
        age(&vault, &grant);
        inner.password.store(1, Ordering::Relaxed);
        vault.resolve(&grant).await.unwrap();
        tokio::task::yield_now().await;
        assert!(!vault.holds(&grant, &first));
        assert!(!vault.resolve(&grant).await.unwrap().same_as(&first));
        assert_eq!(asked(), 3);

        // Who fails to renew them takes nothing from anybody, and is not followed by all.
        age(&vault, &grant);
        inner.away.store(true, Ordering::Relaxed);
        for _ in 0..10 {
            assert!(vault.resolve(&grant).await.is_ok());
            tokio::task::yield_now().await;
        }
        assert_eq!(asked(), 4);
    }
}
