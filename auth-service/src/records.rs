//! What is stored, and under which names.
//!
//! | name | record |
//! | --- | --- |
//! | `platform/bootstrap` | [`BootstrapRecord`]: the first start has happened |
//! | `org/<organization>` | [`OrganizationRecord`] |
//! | `key/<place>` | [`KeyRecord`]; the place is derived from the key's keyed hash |
//! | `org-key/<organization>/<key id>` | [`KeyPointer`] |
//! | `key-used/<key id>` | [`UsedRecord`] |
//! | `account/<organization>/<account>` | [`AccountRecord`] |
//! | `agent/<organization>/<agent>` | [`AgentRecord`] |
//! | `kill/<organization>` | [`KillRecord`]: the organization, or all accounts of a service, are revoked |
//! | `revocation/<organization>/<account>` | [`RevocationRecord`]: what is still to be said to a vendor, and what it said |
//! | `revocation-due/<organization>/<account>` | [`DueRecord`]: there is something to be said |
//! | `audit/<chain>/<number>` | [`plugboard_core::identity::AuditLink`] |
//! | `audit-head/<chain>` | [`crate::audit::HeadRecord`] |
//! | `platform/keyring` | [`crate::keyring::KeyringRecord`] |
//! | `platform/rotation` | [`crate::rotation::RotationRecord`] |
//! | `platform/holder/<instance>` | [`crate::keyring::HolderRecord`]: the master keys that an auth service holds |
//! | `label/<organization>/<service>/<SHA-256 of the folded label>` | [`LabelRecord`]: keeps labels unique |
//!
//! Records are JSON with a version of their own; a version that is not known is refused, never guessed at.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::future::try_join_all;
use plugboard_core::clock::Millis;
use plugboard_core::identity::{Account, AccountState, Change, IdentityError, Key, Scope, Scopes, fold_label};
use plugboard_core::ids::{AccountId, AgentId, KeyId, OrganizationId, ServiceKey, Subject};
use plugboard_core::store::{Expect, Store, StoreError, Versioned, Write};
use plugboard_proto::auth::v1 as proto;
use prost::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::audit::{self, Event, Scribe};
use crate::crypto::Sealed;

const VERSION: u8 = 1;

pub(crate) const BOOTSTRAP: &str = "platform/bootstrap";

#[derive(Serialize, Deserialize)]
struct Document<R> {
    v: u8,
    record: R,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u8,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BootstrapRecord {
    /// The operator's present key.
    pub operator_key: KeyPointer,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OrganizationRecord {
    pub id: OrganizationId,
    pub name: String,
    pub created_at: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub id: KeyId,
    /// HMAC-SHA-256 of the key, hex.
    pub hash: String,
    /// `None`: the platform operator's.
    pub organization: Option<OrganizationId>,
    pub name: String,
    pub prefix: String,
    pub scopes: Vec<String>,
    pub subject: Option<Subject>,
    pub created_at: i64,
    pub expires_at: i64,
    pub revoked_at: Option<i64>,
    #[serde(default)]
    pub agent: Option<AgentId>,
    /// Master key that the pepper of `hash` is derived from.
    #[serde(default = "first_master_key")]
    pub pepper: String,
}

/// Before there was a ring there was one key.
fn first_master_key() -> String {
    crate::key_source::FIRST.to_owned()
}

/// Where a key's record is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyPointer {
    pub id: KeyId,
    pub place: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct UsedRecord {
    pub at: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    pub id: AccountId,
    pub organization: OrganizationId,
    pub service: ServiceKey,
    pub label: String,
    pub owner: Option<Subject>,
    pub state: String,
    /// Why it is in this state; empty when all is well.
    #[serde(default)]
    pub state_reason: String,
    /// 0: since the account was made.
    #[serde(default)]
    pub state_since: i64,
    /// What must be claimed before it is usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Of an account that signed in at the vendor; its tokens are in `sealed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInRecord>,
    /// Public fields, for lists only. What a call uses is in `sealed`, where a store cannot change it.
    pub public: BTreeMap<String, String>,
    pub created_at: i64,
    pub updated_at: i64,
    /// Grows with each write; the envelope is bound to it.
    pub version: u64,
    /// All fields, public ones too.
    pub sealed: Sealed,
}

/// How an account signed in, and how long its tokens last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignInRecord {
    /// Kind of the flow.
    pub flow: String,
    /// The client was the platform's, not the organization's own.
    pub platform_client: bool,
    pub client_id: String,
    /// Grows with every set of tokens.
    pub generation: u64,
    pub obtained_at: i64,
    /// `None`: does not end.
    pub expires_at: Option<i64>,
    pub refresh_at: Option<i64>,
    pub refreshable: bool,
    /// A refresh brought no answer: the vendor may have replaced the token all the same.
    pub unanswered: bool,
    /// What the vendor calls the account.
    pub account_name: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AgentRecord(pub plugboard_core::identity::Agent);

/// Makes everything of an organization, or of a service in it, unusable at once, however many accounts there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KillRecord {
    pub organization: Option<Kill>,
    /// While its accounts are being revoked one by one.
    pub services: BTreeMap<ServiceKey, Kill>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kill {
    pub reason: String,
    pub at: i64,
}

/// A revoked account, from the moment of its revocation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RevocationRecord {
    pub report: plugboard_core::identity::RevokedAccount,
    pub organization: OrganizationId,
    /// What the vendor must be told with; `None` when that is over. Sealed for the account's place at `version`.
    pub sealed: Option<Sealed>,
    pub version: u64,
    /// Not before.
    pub next_at: i64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct DueRecord {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LabelRecord {
    pub account: AccountId,
}

/// The reason of an account whose token has ended and cannot be renewed.
pub(crate) const TOKEN_EXPIRED: &str = "token_expired";

/// An account's state at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub state: AccountState,
    pub reason: String,
    pub since: Millis,
}

impl KeyRecord {
    pub(crate) fn scopes(&self) -> Scopes {
        // A scope that this version does not know permits nothing here.
        self.scopes.iter().filter_map(|name| Scope::parse(name)).collect()
    }

    pub(crate) fn pointer(&self, place: &str) -> KeyPointer {
        KeyPointer { id: self.id.clone(), place: place.to_owned() }
    }

    /// As lists show it; only an organization's keys are listed.
    pub(crate) fn listed(&self, organization: &OrganizationId, used: Option<UsedRecord>) -> Key {
        Key {
            id: self.id.clone(),
            organization: organization.clone(),
            name: self.name.clone(),
            prefix: self.prefix.clone(),
            scopes: self.scopes(),
            subject: self.subject.clone(),
            agent: self.agent.clone(),
            created_at: Millis(self.created_at),
            expires_at: Millis(self.expires_at),
            revoked_at: self.revoked_at.map(Millis),
            last_used_at: used.map(|used| Millis(used.at)),
        }
    }
}

impl AccountRecord {
    /// The stored state, with what time alone has changed since. An unreadable state is the one that permits nothing.
    pub(crate) fn state(&self, now: Millis) -> State {
        let state = AccountState::parse(&self.state).unwrap_or(AccountState::NeedsReauth);
        let since = if self.state_since == 0 { self.created_at } else { self.state_since };
        let stored = State { state, reason: self.state_reason.clone(), since: Millis(since) };
        let Some(sign_in) = self.sign_in.as_ref().filter(|sign_in| !sign_in.refreshable && state.is_usable()) else {
            return stored;
        };
        let passed = |at: Option<i64>| at.map(Millis).filter(|at| *at <= now);
        let aged = |state, since| State { state, reason: TOKEN_EXPIRED.to_owned(), since };
        match (passed(sign_in.expires_at), passed(sign_in.refresh_at)) {
            (Some(ended), _) => aged(AccountState::NeedsReauth, ended),
            (None, Some(nears)) => State { reason: String::new(), ..aged(AccountState::Expiring, nears) },
            (None, None) => stored,
        }
    }

    pub(crate) fn set_state(&mut self, state: AccountState, reason: &str, now: Millis) {
        if self.state != state.as_str() {
            self.state_since = now.0;
        }
        state.as_str().clone_into(&mut self.state);
        reason.clone_into(&mut self.state_reason);
    }

    pub(crate) fn account(&self, now: Millis) -> Account {
        let State { state, reason, since } = self.state(now);
        Account {
            id: self.id.clone(),
            organization: self.organization.clone(),
            service: self.service.clone(),
            label: self.label.clone(),
            owner: self.owner.clone(),
            state,
            state_reason: reason,
            state_since: since,
            public_fields: self.public.clone(),
            created_at: Millis(self.created_at),
            updated_at: Millis(self.updated_at),
        }
    }

    pub(crate) fn name(&self) -> String {
        account(&self.organization, &self.id)
    }

    pub(crate) fn label_name(&self) -> String {
        label(&self.organization, &self.service, &self.label)
    }
}

pub(crate) const ORGANIZATIONS: &str = "org/";

pub(crate) fn organization(id: &OrganizationId) -> String {
    format!("{ORGANIZATIONS}{id}")
}

pub(crate) fn key(place: &str) -> String {
    format!("key/{place}")
}

pub(crate) fn keys_of(organization: &OrganizationId) -> String {
    format!("org-key/{organization}/")
}

pub(crate) fn key_of(organization: &OrganizationId, id: &KeyId) -> String {
    format!("org-key/{organization}/{id}")
}

pub(crate) fn key_used(id: &KeyId) -> String {
    format!("key-used/{id}")
}

pub(crate) fn accounts_of(organization: &OrganizationId) -> String {
    format!("account/{organization}/")
}

pub(crate) fn account(organization: &OrganizationId, id: &AccountId) -> String {
    format!("account/{organization}/{id}")
}

pub(crate) fn agents_of(organization: &OrganizationId) -> String {
    format!("agent/{organization}/")
}

pub(crate) fn agent(organization: &OrganizationId, id: &AgentId) -> String {
    format!("agent/{organization}/{id}")
}

pub(crate) fn kill(organization: &OrganizationId) -> String {
    format!("kill/{organization}")
}

pub(crate) fn revocations_of(organization: &OrganizationId) -> String {
    format!("revocation/{organization}/")
}

pub(crate) fn revocation(organization: &OrganizationId, account: &AccountId) -> String {
    format!("revocation/{organization}/{account}")
}

pub(crate) const REVOCATIONS_DUE: &str = "revocation-due/";

pub(crate) fn revocation_due(organization: &OrganizationId, account: &AccountId) -> String {
    format!("{REVOCATIONS_DUE}{organization}/{account}")
}

pub(crate) const AUDIT_HEADS: &str = "audit-head/";

pub(crate) fn audit_head(chain: &str) -> String {
    format!("{AUDIT_HEADS}{chain}")
}

pub(crate) fn audit_of(chain: &str) -> String {
    format!("audit/{chain}/")
}

/// Numbers with leading zeros: their order as text is their order.
pub(crate) fn audit_link(chain: &str, seq: u64) -> String {
    format!("audit/{chain}/{seq:020}")
}

pub(crate) fn label(organization: &OrganizationId, service: &ServiceKey, label: &str) -> String {
    let folded = hex::encode(Sha256::digest(fold_label(label)));
    format!("label/{organization}/{service}/{folded}")
}

/// The store, speaking in records.
#[derive(Clone)]
pub(crate) struct Records {
    store: Arc<dyn Store>,
    /// Told after each commit with a notice, so that watchers need not wait for the next look at the log.
    committed: Arc<Notify>,
    scribe: Scribe,
}

impl Records {
    pub(crate) fn new(store: Arc<dyn Store>, committed: Arc<Notify>, scribe: Scribe) -> Self {
        Self { store, committed, scribe }
    }

    pub(crate) fn scribe(&self) -> &Scribe {
        &self.scribe
    }

    /// A record and the store's version of it.
    pub(crate) async fn get<R: DeserializeOwned>(&self, name: &str) -> Result<Option<(R, u64)>, IdentityError> {
        let found = self.store.get(name).await.map_err(unavailable)?;
        found.map(|found| Ok((decode(name, &found)?, found.version))).transpose()
    }

    pub(crate) async fn list<R: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<R>, IdentityError> {
        let found = self.store.list(prefix).await.map_err(unavailable)?;
        found.iter().map(|(name, found)| decode(name, found)).collect()
    }

    /// The next records after `after`, for walks.
    pub(crate) async fn page<R: DeserializeOwned>(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<R>, IdentityError> {
        let found = self.store.page(prefix, Some(after), limit).await.map_err(unavailable)?;
        found.iter().map(|(name, found)| decode(name, found)).collect()
    }

    /// The same, unread.
    pub(crate) async fn raw_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, IdentityError> {
        self.store.page(prefix, after, limit).await.map_err(unavailable)
    }

    pub(crate) async fn raw(&self, name: &str) -> Result<Option<Versioned>, IdentityError> {
        self.store.get(name).await.map_err(unavailable)
    }

    /// Writes, and enters in the audit log what was done, in one commit. `Ok(Err(name))` as [`Records::commit`]; an entry
    /// that others raced is entered after theirs.
    pub(crate) async fn commit_told(
        &self,
        writes: Vec<Write>,
        change: Option<Change>,
        events: Vec<Event>,
    ) -> Result<Result<(), String>, IdentityError> {
        for _ in 0..audit::ATTEMPTS {
            let mut all = writes.clone();
            let mut raced = HashSet::new();
            // Of different chains, so none of them waits for another.
            let entering = try_join_all(events.iter().map(|event| self.scribe.enter(self, event))).await?;
            for entering in entering.into_iter().flatten() {
                all.extend(entering.writes);
                raced.extend([entering.head, entering.link]);
            }
            if all.is_empty() && change.is_none() {
                return Ok(Ok(()));
            }
            match self.commit(all, change.clone()).await? {
                Err(name) if raced.contains(&name) => {}
                decided => return Ok(decided),
            }
        }
        Err(contended())
    }

    /// As [`Records::list`], with each record's name and version.
    pub(crate) async fn list_named<R: DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, R, u64)>, IdentityError> {
        let found = self.store.list(prefix).await.map_err(unavailable)?;
        let read = |(name, found): (String, Versioned)| Ok((name.clone(), decode(&name, &found)?, found.version));
        found.into_iter().map(read).collect()
    }

    /// `Ok(Err(name))`: the record of that name was not as expected, and nothing was written.
    pub(crate) async fn commit(
        &self,
        writes: Vec<Write>,
        change: Option<Change>,
    ) -> Result<Result<(), String>, IdentityError> {
        let notice = change.map(|change| proto::Change::from(&change).encode_to_vec().into());
        let told = notice.is_some();
        match self.store.commit(writes, notice).await {
            Ok(()) => {
                if told {
                    self.committed.notify_one();
                }
                Ok(Ok(()))
            }
            Err(StoreError::Conflict { key }) => Ok(Err(key)),
            Err(error) => Err(unavailable(error)),
        }
    }
}

pub(crate) fn put<R: Serialize>(name: String, record: R, expect: Expect) -> Result<Write, IdentityError> {
    let json = serde_json::to_vec(&Document { v: VERSION, record })
        .map_err(|error| IdentityError::Unavailable(format!("a record cannot be written: {error}")))?;
    Ok(Write::put(name, json, expect))
}

pub(crate) fn decode<R: DeserializeOwned>(name: &str, found: &Versioned) -> Result<R, IdentityError> {
    let unreadable = |why: String| unavailable(StoreError::Unreadable(format!("{name}: {why}")));
    // serde's messages can quote what they stumble over, so only the place of the error is told.
    let place = |error: serde_json::Error| unreadable(format!("line {}, column {}", error.line(), error.column()));
    let VersionOnly { v } = serde_json::from_slice(&found.value).map_err(place)?;
    if v != VERSION {
        return Err(unreadable(format!("version {v} is not known here")));
    }
    serde_json::from_slice::<Document<R>>(&found.value).map(|document| document.record).map_err(place)
}

fn unavailable(error: StoreError) -> IdentityError {
    IdentityError::Unavailable(error.to_string())
}

/// Somebody else kept writing the same records.
pub(crate) fn contended() -> IdentityError {
    IdentityError::Unavailable("others keep changing the same records; try again".into())
}
