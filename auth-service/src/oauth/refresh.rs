//! New tokens: one request at a time over all processes, and none used before it is durable.
//!
//! Within a process a lock makes one flight of all callers. Between processes a lease says who asks the vendor; it is
//! taken, moved on and given back by compare-and-set, but it is only manners: the fence is the version of the account's
//! record. Whoever loses reads again and finds the winner's tokens.
//!
//! The lease says whether the refresh token may have left (`sent`). A holder that died before is simply followed. A
//! holder that died after, at a vendor that replaces the token at each use, took the only new token with it: asking again
//! would look like theft and end whatever lives. Such an account ends as `needs_reauth` (`refresh_lost`). If the holder
//! was only stopped and comes back with the answer, the answer wins.
//!
//! | what | value |
//! | --- | --- |
//! | a lease | 20 s; the request inside takes 8 s at most |
//! | whoever waits for another process looks again | every 50 ms, for 12 s |
//! | after a failure the vendor is left alone for | 5 s |
//! | new tokens that cannot be stored are tried to be stored for | 10 min |

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use plugboard_core::clock::Millis;
use plugboard_core::failpoint::failpoint;
use plugboard_core::identity::{AccountState, IdentityError};
use plugboard_core::ids::{AccountId, OrganizationId};
use plugboard_core::manifest::{FlowKind, OAuthFlow};
use plugboard_core::secret::{AccountFields, Secret};
use plugboard_core::store::{Expect, Write};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::records::{self as names, LeaseRecord};
use super::redeem::{Exchange, Tokens, grant, times, tokens};
use super::{ACCESS_TOKEN, OAuth, REFRESH_TOKEN, flow_of};
use crate::accounts::{NO_ACCOUNT, changed, open, told};
use crate::chance;
use crate::oauth::authorize::random_id;
use crate::records::{self, AccountRecord};
use crate::token_endpoint::Failure;
use plugboard_core::broken::broken;

const LEASE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_secs(5);
const STORE_FOR: Duration = Duration::from_secs(10 * 60);
const STORE_EVERY: Duration = Duration::from_millis(500);
/// A token this young is not replaced again, whoever says it was refused.
const YOUNG: Duration = Duration::from_secs(5);

type Key = (OrganizationId, AccountId);

/// What the last attempt of this process came to, if it failed.
#[derive(Default)]
struct Flight {
    failed: Option<(Failure, Millis)>,
}

pub(crate) struct Refresh {
    oauth: Arc<OAuth>,
    flights: Cache<Key, Arc<Mutex<Flight>>>,
    /// A refresh under way is finished, whoever stops waiting for it.
    tasks: TaskTracker,
}

/// What a refresh is made with.
struct Attempt {
    record: AccountRecord,
    version: u64,
    lease: LeaseRecord,
    lease_version: u64,
    holds_lease: bool,
}

/// How an attempt at the lease came out.
enum Turn {
    Ours(Box<Attempt>),
    /// Somebody else has refreshed.
    Done(Box<AccountRecord>),
    Wait,
}

impl Refresh {
    pub(crate) fn new(oauth: Arc<OAuth>) -> Arc<Self> {
        let flights = Cache::builder().max_capacity(50_000).time_to_idle(Duration::from_secs(60 * 60)).build();
        Arc::new(Self { oauth, flights, tasks: TaskTracker::new() })
    }

    /// The account with a token that can be used. `refused`: the vendor has just refused the present one.
    pub(crate) async fn usable(
        self: &Arc<Self>,
        record: AccountRecord,
        refused: bool,
    ) -> Result<AccountRecord, IdentityError> {
        let Some(sign_in) = &record.sign_in else { return Ok(record) };
        let now = self.oauth.clock.now();
        let passed = |at: Option<i64>| at.is_some_and(|at| Millis(at) <= now);
        let (dead, due) = (passed(sign_in.expires_at), passed(sign_in.refresh_at));
        if refused && now < Millis(sign_in.obtained_at).plus(YOUNG) {
            return Ok(record);
        }
        if !sign_in.refreshable {
            return if dead || refused { Err(IdentityError::NeedsReauth) } else { Ok(record) };
        }
        if !dead && !refused {
            if due {
                // There is time: nobody waits for it.
                self.spawn(&record, sign_in.generation);
            }
            return Ok(record);
        }
        let renewed = self.spawn(&record, sign_in.generation).await;
        renewed.map_err(|_| IdentityError::Unavailable("a refresh did not come to its end".into()))?
    }

    /// Waits for what is under way.
    pub(crate) async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn spawn(
        self: &Arc<Self>,
        record: &AccountRecord,
        generation: u64,
    ) -> tokio::task::JoinHandle<Result<AccountRecord, IdentityError>> {
        let (this, key) = (self.clone(), (record.organization.clone(), record.id.clone()));
        self.tasks.spawn(async move { this.renew(key, generation).await })
    }

    /// Tokens newer than `generation`.
    async fn renew(&self, key: Key, generation: u64) -> Result<AccountRecord, IdentityError> {
        let flight = self.flights.get_with(key.clone(), Arc::default);
        let mut flight = flight.lock().await;
        if let Some((failure, _)) = flight.failed.clone().filter(|(_, until)| self.oauth.clock.now() < *until) {
            let (record, _) = self.account(&key).await?;
            let renewed = record.sign_in.as_ref().is_some_and(|sign_in| sign_in.generation != generation);
            return if renewed { Ok(record) } else { Err(failure.into()) };
        }
        let began = tokio::time::Instant::now();
        loop {
            match self.turn(&key, generation).await? {
                Turn::Done(record) => {
                    flight.failed = None;
                    return Ok(*record);
                }
                Turn::Wait if began.elapsed() > PATIENCE => {
                    return Err(IdentityError::VendorDown { message: "another process is still asking".into() });
                }
                Turn::Wait => tokio::time::sleep(LOOK_AGAIN).await,
                Turn::Ours(attempt) => {
                    return match self.ask(*attempt).await {
                        Ok(record) => Ok(record),
                        Err(Ended::Identity(error)) => Err(error),
                        Err(Ended::Failed(failure)) => {
                            flight.failed = Some((failure.clone(), self.oauth.clock.now().plus(PAUSE)));
                            Err(failure.into())
                        }
                    };
                }
            }
        }
    }

    async fn account(&self, key: &Key) -> Result<(AccountRecord, u64), IdentityError> {
        let found: Option<(AccountRecord, u64)> = self.oauth.records.get(&records::account(&key.0, &key.1)).await?;
        found.ok_or(NO_ACCOUNT)
    }

    async fn turn(&self, key: &Key, generation: u64) -> Result<Turn, IdentityError> {
        let (record, version) = self.account(key).await?;
        let now = self.oauth.clock.now();
        if record.state(now).state == AccountState::Revoked {
            return Err(IdentityError::Revoked);
        }
        let sign_in = record.sign_in.as_ref().ok_or(IdentityError::NeedsReauth)?;
        if !record.state(now).state.is_usable() {
            return Err(IdentityError::NeedsReauth);
        }
        if sign_in.generation != generation {
            return Ok(Turn::Done(Box::new(record)));
        }
        let name = names::lease(&key.0, &key.1);
        let held: Option<(LeaseRecord, u64)> = self.oauth.records.get(&name).await?;
        let (expect, next) = match &held {
            None => (Expect::Absent, 1),
            Some((lease, _)) if Millis(lease.until) > now => return Ok(Turn::Wait),
            Some((lease, at)) if lease.sent && lease.generation == generation && self.rotates(&record)? => {
                let freed = Write::delete(name, Expect::Version(*at));
                return self.mark(record, version, AccountState::NeedsReauth, "refresh_lost", vec![freed]).await;
            }
            Some((_, at)) => (Expect::Version(*at), at + 1),
        };
        let lease = LeaseRecord { owner: random_id()?, generation, until: now.plus(LEASE).0, sent: false };
        let write = records::put(name, &lease, compared(expect))?;
        if self.oauth.records.commit(vec![write], None).await?.is_err() {
            return Ok(Turn::Wait);
        }
        // The record was read before the lease was ours: whoever held it may have stored new tokens and given it back in
        // between, and the refresh token read then has been used; or somebody may have ended the account, since it may have.
        let (record, version) = self.account(key).await?;
        let attempt = Attempt { record, version, lease, lease_version: next, holds_lease: true };
        let present = attempt.record.sign_in.as_ref().map(|sign_in| sign_in.generation);
        if present != Some(generation) || !attempt.record.state(now).state.is_usable() {
            self.give_back(&attempt).await?;
            return Ok(Turn::Wait);
        }
        Ok(Turn::Ours(Box::new(attempt)))
    }

    /// Ends an account by its state; a look again is all that is left to do.
    async fn mark(
        &self,
        record: AccountRecord,
        version: u64,
        state: AccountState,
        reason: &str,
        mut writes: Vec<Write>,
    ) -> Result<Turn, IdentityError> {
        let now = self.oauth.clock.now();
        let marked = self.oauth.accounts.resealed(&record, |record, _| record.set_state(state, reason, now))?;
        writes.push(records::put(marked.name(), &marked, Expect::Version(version))?);
        let event = told(&marked, "account.expire").note(reason);
        if self.oauth.records.commit_told(writes, Some(changed(&marked)), vec![event]).await?.is_ok() {
            tracing::warn!(account = %marked.id, service = %marked.service, reason, "an account must be connected again");
            metrics::counter!("plugboard_accounts_ended_total", "reason" => reason.to_owned()).increment(1);
        }
        Ok(Turn::Wait)
    }

    fn rotates(&self, record: &AccountRecord) -> Result<bool, IdentityError> {
        self.with_flow(record, |_, oauth| oauth.refresh.rotates)
    }

    fn with_flow<T>(
        &self,
        record: &AccountRecord,
        read: impl FnOnce(&plugboard_core::manifest::Manifest, &OAuthFlow) -> T,
    ) -> Result<T, IdentityError> {
        let connector = self.oauth.connector(&record.service)?;
        let kind = record.sign_in.as_ref().and_then(|sign_in| FlowKind::parse(&sign_in.flow));
        let (_, oauth) = flow_of(&connector, kind.ok_or(IdentityError::NeedsReauth)?)?;
        Ok(read(connector.manifest(), oauth))
    }

    /// The lease is ours: asks the vendor and stores what it says.
    async fn ask(&self, mut attempt: Attempt) -> Result<AccountRecord, Ended> {
        let connector = self.oauth.connector(&attempt.record.service)?;
        let record = &attempt.record;
        let sign_in = record.sign_in.clone().ok_or(IdentityError::NeedsReauth)?;
        let kind = FlowKind::parse(&sign_in.flow).ok_or(IdentityError::NeedsReauth)?;
        let (_, oauth) = flow_of(&connector, kind)?;
        let client = self
            .oauth
            .same_client(&record.organization, &record.service, oauth, sign_in.platform_client, &sign_in.client_id)
            .await?;
        let Some(client) = client else { return Err(self.refuse(attempt, "client_changed").await) };
        let mut secret = open(&self.oauth.masters, record)?;
        let refresh_token = secret.remove(REFRESH_TOKEN).ok_or(IdentityError::NeedsReauth)?;
        secret.remove(ACCESS_TOKEN);
        let fields = AccountFields::of_secrets(secret);
        let exchange = Exchange {
            manifest: connector.manifest(),
            oauth,
            client: &client,
            url: oauth.refresh.url.as_deref().unwrap_or(&oauth.token_url),
            fields: &fields,
            once: true,
        };
        if !self.about_to_send(&mut attempt).await? {
            // The lease was taken from us: nothing has left.
            return Err(Ended::Identity(IdentityError::Unavailable("another process refreshes this account".into())));
        }
        let parameters = vec![("grant_type", grant(oauth, "refresh_token")), ("refresh_token", refresh_token)];
        let answer = async {
            let reply =
                exchange.call(&exchange.url()?, parameters)?.send(&*self.oauth.egress, &oauth.dialect.errors).await?;
            tokens(oauth, &reply)
        };
        let answer = answer.await;
        count(&answer);
        match answer {
            Ok(tokens) => {
                let id = attempt.record.id.clone();
                failpoint("refresh_received_before_persist", id.as_str());
                let stored = self.store(attempt, tokens).await?;
                failpoint("refresh_persisted_before_reply", id.as_str());
                Ok(stored)
            }
            Err(failure) if failure.code() == Some("invalid_grant") => {
                // Of an answer that never came, the vendor's "no" tells that it was a yes.
                let reason = if sign_in.unanswered { "refresh_lost" } else { "invalid_grant" };
                Err(self.refuse(attempt, reason).await)
            }
            Err(failure) => Err(self.fail(attempt, failure).await),
        }
    }

    /// The last moment to stop. From here on the token counts as used.
    async fn about_to_send(&self, attempt: &mut Attempt) -> Result<bool, IdentityError> {
        attempt.lease.sent = true;
        attempt.lease.until = self.oauth.clock.now().plus(LEASE).0;
        let name = names::lease(&attempt.record.organization, &attempt.record.id);
        let write = records::put(name, &attempt.lease, compared(Expect::Version(attempt.lease_version)))?;
        attempt.lease_version += 1;
        match self.oauth.records.commit(vec![write], None).await {
            Ok(written) => Ok(written.is_ok()),
            Err(error) => {
                // It may have been written. Nothing has left, and nobody may think that it has.
                self.give_back(attempt).await?;
                Err(error)
            }
        }
    }

    /// Durable before anybody uses it. While the store is away the tokens live in this task alone.
    async fn store(&self, mut attempt: Attempt, tokens: Tokens) -> Result<AccountRecord, IdentityError> {
        let began = tokio::time::Instant::now();
        loop {
            match self.try_store(&mut attempt, &tokens).await {
                Ok(Some(record)) => return Ok(record),
                Ok(None) => {}
                Err(error) if began.elapsed() > STORE_FOR => {
                    tracing::error!(account = %attempt.record.id, "ALARM: new tokens were lost: {error}");
                    return Err(error);
                }
                Err(error) => {
                    tracing::error!(account = %attempt.record.id, "ALARM: new tokens are not stored yet: {error}");
                    tokio::time::sleep(STORE_EVERY).await;
                    if let Ok((record, version)) = self.again(&attempt).await {
                        (attempt.record, attempt.version) = (record, version);
                    }
                }
            }
        }
    }

    async fn again(&self, attempt: &Attempt) -> Result<(AccountRecord, u64), IdentityError> {
        self.account(&(attempt.record.organization.clone(), attempt.record.id.clone())).await
    }

    /// `None`: the record has changed, and another look is worth it.
    async fn try_store(&self, attempt: &mut Attempt, new: &Tokens) -> Result<Option<AccountRecord>, IdentityError> {
        let present = attempt.record.sign_in.as_ref().map(|sign_in| sign_in.generation);
        if present != Some(attempt.lease.generation) {
            // Somebody has connected the account anew, or revoked it; or our own write had arrived after all.
            self.end_unwanted(attempt, new).await;
            self.give_back(attempt).await?;
            return Ok(Some(attempt.record.clone()));
        }
        let now = self.oauth.clock.now();
        let (expires_at, refresh_at) = times(now, new.life, chance::number());
        let renewed = self.oauth.accounts.resealed(&attempt.record, |record, secret| {
            secret.insert(ACCESS_TOKEN.to_owned(), new.access.clone());
            secret.extend(new.refresh.iter().map(|refresh: &Secret| (REFRESH_TOKEN.to_owned(), refresh.clone())));
            if let Some(sign_in) = &mut record.sign_in {
                sign_in.generation += 1;
                (sign_in.obtained_at, sign_in.expires_at, sign_in.refresh_at) = (now.0, expires_at, refresh_at);
                sign_in.unanswered = false;
            }
            // Also over a `refresh_lost` that was written while we were stopped. A revoked account stays revoked.
            let lost = record.state_reason == "refresh_lost";
            if lost || record.state == AccountState::VendorDown.as_str() {
                record.set_state(AccountState::Connected, "", now);
            }
        })?;
        let mut writes = vec![records::put(renewed.name(), &renewed, Expect::Version(attempt.version))?];
        let lease = names::lease(&renewed.organization, &renewed.id);
        if attempt.holds_lease {
            writes.push(Write::delete(lease.clone(), Expect::Version(attempt.lease_version)));
        }
        match self.oauth.records.commit(writes, Some(changed(&renewed))).await? {
            Ok(()) => return Ok(Some(renewed)),
            // It was taken from us while we waited for the answer, which counts all the same.
            Err(name) if name == lease => attempt.holds_lease = false,
            Err(_) => (attempt.record, attempt.version) = self.again(attempt).await?,
        }
        Ok(None)
    }

    /// New tokens of an account that was revoked while the vendor was asked: nobody else knows them, so nobody else can
    /// have the vendor end them.
    async fn end_unwanted(&self, attempt: &Attempt, new: &Tokens) {
        let record = &attempt.record;
        if record.state(self.oauth.clock.now()).state != AccountState::Revoked {
            return;
        }
        let refresh = new.refresh.iter().map(|token| (REFRESH_TOKEN.to_owned(), token.clone()));
        let tokens = [(ACCESS_TOKEN.to_owned(), new.access.clone())].into_iter().chain(refresh).collect();
        if let Err(error) = self.oauth.revoke_tokens(&record.organization, &record.service, &tokens).await {
            tracing::error!(account = %record.id, %error, "ALARM: tokens of a revoked account could not be ended");
        }
    }

    /// The vendor's "no" counts only if nobody has refreshed meanwhile.
    async fn refuse(&self, attempt: Attempt, reason: &str) -> Ended {
        let result = self.mark(attempt.record.clone(), attempt.version, AccountState::NeedsReauth, reason, Vec::new());
        let marked = result.await;
        if let Err(error) = self.give_back(&attempt).await.and(marked) {
            return Ended::Identity(error);
        }
        match self.again(&attempt).await {
            Ok((record, _)) if record.sign_in.as_ref().is_some_and(|now| now.generation > attempt.lease.generation) => {
                Ended::Identity(IdentityError::Unavailable("another process has refreshed this account".into()))
            }
            Ok(_) => Ended::Identity(IdentityError::NeedsReauth),
            Err(error) => Ended::Identity(error),
        }
    }

    /// No answer, or one that says nothing about the account.
    async fn fail(&self, attempt: Attempt, failure: Failure) -> Ended {
        let now = self.oauth.clock.now();
        let down = match &failure {
            Failure::Down { said, not_sent } => Some((said.clone(), !not_sent)),
            Failure::Refused { .. } => None,
        };
        if let Some((said, unanswered)) = down {
            let marked = self.oauth.accounts.resealed(&attempt.record, |record, _| {
                record.set_state(AccountState::VendorDown, &said, now);
                if let Some(sign_in) = &mut record.sign_in {
                    sign_in.unanswered |= unanswered;
                }
            });
            let written = async {
                let marked = marked?;
                let write = records::put(marked.name(), &marked, Expect::Version(attempt.version))?;
                self.oauth.records.commit(vec![write], Some(changed(&marked))).await
            };
            if let Err(error) = written.await {
                // What the vendor said is known, whether it is written down or not.
                let _ = self.give_back(&attempt).await;
                return Ended::Identity(error);
            }
        }
        match self.give_back(&attempt).await {
            Ok(()) => Ended::Failed(failure),
            Err(error) => Ended::Identity(error),
        }
    }

    /// Lets the next one in: nothing is under way any more. A lease that goes on saying that the token may have left would
    /// cost the account when it ends, so while the store is away this is tried for as long as the lease lives.
    async fn give_back(&self, attempt: &Attempt) -> Result<(), IdentityError> {
        loop {
            match self.try_give_back(attempt).await {
                Err(_) if self.oauth.clock.now() < Millis(attempt.lease.until) => tokio::time::sleep(STORE_EVERY).await,
                ended => return ended,
            }
        }
    }

    /// A lease that was taken from us is not ours to give.
    async fn try_give_back(&self, attempt: &Attempt) -> Result<(), IdentityError> {
        let name = names::lease(&attempt.record.organization, &attempt.record.id);
        let held: Option<(LeaseRecord, u64)> = self.oauth.records.get(&name).await?;
        let Some((_, at)) = held.filter(|(lease, _)| lease.owner == attempt.lease.owner) else { return Ok(()) };
        let write = Write::delete(name, Expect::Version(at));
        self.oauth.records.commit(vec![write], None).await.map(drop)
    }
}

fn count(answer: &Result<Tokens, Failure>) {
    let result = match answer {
        Ok(_) => "ok",
        Err(Failure::Refused { .. }) => "refused",
        Err(Failure::Down { .. }) => "failed",
    };
    metrics::counter!("plugboard_refreshes_total", "result" => result).increment(1);
}

/// What a write of the lease is compared with.
fn compared(expect: Expect) -> Expect {
    if broken("lock_without_cas") { Expect::Anything } else { expect }
}

/// Why there are no new tokens.
enum Ended {
    Failed(Failure),
    Identity(IdentityError),
}

impl From<IdentityError> for Ended {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}
